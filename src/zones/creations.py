"""Client of the factory's records of creations: a zone asked for with owners and a proof, how far it is, its settling.

Not for the policy (`zones.zone_index`). Zones that are paid for by the call's cycles are asked for by canisters.
Principals in bytes, times in ns since 1970, amounts in cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from localnet.principal import to_text
from zones.agent import Agent
from zones.calls import Method, ok_or_raise
from zones.tables import iso
from zones.zone_index import CUSTODY, FUNDING

_STAGES = ("reserved", "created", "installed", "live", "failed", "pooled", "taken")
_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_CREATION = c.record(
    id=c.NAT64,
    stage=c.variant(**dict.fromkeys(_STAGES, c.NULL)),
    creator=c.PRINCIPAL,
    zone_id=c.TEXT,
    canister=c.opt(c.PRINCIPAL),
    owners=c.vec(c.PRINCIPAL),
    custody=CUSTODY,
    funding=FUNDING,
    proven=c.BOOL,
    cycles=c.NAT,
    asked_at=c.NAT64,
    changed_at=c.NAT64,
    running=c.BOOL,
    fault=c.TEXT,
)
_WISH = c.record(
    zone_id=c.TEXT,
    rpc_host=c.TEXT,
    rpc_path=c.TEXT,
    call_token=c.opt(c.BLOB),
    owners=c.vec(c.PRINCIPAL),
    custody=CUSTODY,
    public_key=c.opt(c.BLOB),
)
_CREATE = Method("create_zone", [_WISH], [c.variant(ok=c.record(canister=c.PRINCIPAL, creation=c.NAT64), err=c.TEXT)])
_GET = Method("get_creation", [c.NAT64], [c.opt(_CREATION)], query=True)
_GET_MINE = Method("get_my_creation", [c.TEXT], [c.opt(_CREATION)], query=True)
_SETTLE = Method("settle_creation", [c.record(id=c.NAT64, canister=c.opt(c.PRINCIPAL))], [_ACK])


@dataclass(frozen=True)
class Wish:
    """What is asked of the factory: a zone's contract, who owns the zone, and a proof that the caller does.

    `call_token` is 32 bytes or None, `public_key` the caller's 65 bytes where the contract shall name him an owner.
    """

    zone_id: str
    rpc_host: str
    rpc_path: str = "/"
    call_token: bytes | None = None
    owners: Sequence[bytes] = ()
    public_key: bytes | None = None


@dataclass(frozen=True)
class Creations:
    """A factory's creations seen through an agent; `canister` is the factory's principal."""

    agent: Agent
    canister: bytes

    def create(self, wish: Wish) -> bytes:
        """Ask for a sponsored zone, which begins as managed; returns its canister, the same when asked again."""
        record = {**vars(wish), "owners": list(wish.owners), "custody": ("managed", None)}
        return ok_or_raise(_CREATE.name, _CREATE(self.agent, self.canister, record))["canister"]

    def creation(self, number: int) -> dict[str, Any] | None:
        """Return how far a creation got, None for an unknown number; stage, custody and funding are words."""
        return _creation(_GET(self.agent, self.canister, number))

    def mine(self, zone_id: str) -> dict[str, Any] | None:
        """Return the creation that has the caller's place for a zone id."""
        return _creation(_GET_MINE(self.agent, self.canister, zone_id))

    def settle(self, number: int, canister: bytes | None) -> None:
        """Say which canister a creation got whose answer was lost, None for none. For admins."""
        answer = {"id": number, "canister": canister}
        ok_or_raise(_SETTLE.name, _SETTLE(self.agent, self.canister, answer))


def _creation(record: dict[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {**record, **{name: record[name][0] for name in ("stage", "custody", "funding")}}


def creation_row(creation: dict[str, Any]) -> dict[str, Any]:
    """Return a creation as a row; one for the pool has no zone id."""
    canister = creation["canister"]
    return {
        **creation,
        "zone_id": creation["zone_id"] or None,
        "creator": to_text(creation["creator"]),
        "canister": canister and to_text(canister),
        "owners": list(map(to_text, creation["owners"])),
        "asked_at": iso(creation["asked_at"]),
        "changed_at": iso(creation["changed_at"]),
        "fault": creation["fault"] or None,
    }
