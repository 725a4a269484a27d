"""Client of the factory's index of zones, and of its policy for creating them.

Not for cycles (`zones.readings`) or code (`zones.rollouts`). Principals in bytes, times in ns since 1970, amounts in
cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from zones.agent import Agent
from zones.calls import Method, ok_or_raise, pages

PAGE = 100
"""Most zones or principals in one reply."""
RETIRED = "retired"
MODES = ("open", "allowlist", "closed")
"""Who may have zones created that the battery pays for: anyone, those on the allowlist, nobody."""
CYCLES_FIGURES = (
    "creation_cycles",
    "daily_cycles",
    "unproven_cycles",
    "funded_fee",
    "lookup_cycles",
    "reserved_limit",
)
COUNT_FIGURES = ("daily_creations", "unproven_creations", "pool_size")
OTHER_FIGURES = ("owner_role", "daily_takings_up", "freezing_seconds", "wasm_memory_limit")

CUSTODIES = ("managed", "shared", "sovereign")
"""Who controls a zone's canister: the factory, the factory and owners, owners alone."""
CUSTODY = c.variant(**dict.fromkeys(CUSTODIES, c.NULL))
FUNDING = c.variant(sponsored=c.NULL, funded=c.NULL)
_ENTRY = c.record(
    canister=c.PRINCIPAL,
    zone_id=c.TEXT,
    creator=c.PRINCIPAL,
    created_at=c.NAT64,
    stage=c.variant(created=c.NULL, live=c.NULL, retiring=c.NULL, retired=c.NULL),
    custody=CUSTODY,
    funding=FUNDING,
    proven=c.BOOL,
    canonical=c.BOOL,
    owners=c.vec(c.PRINCIPAL),
    offered=c.vec(c.PRINCIPAL),
    accepted=c.vec(c.PRINCIPAL),
    awaited=c.vec(c.PRINCIPAL),
    offered_custody=c.opt(CUSTODY),
    agreed_to_retire=c.vec(c.PRINCIPAL),
    owed=c.NAT,
    controlled=c.BOOL,
    controllers=c.vec(c.PRINCIPAL),
    info_read_at=c.opt(c.NAT64),
)
_LIST = Method("list_zones", [c.opt(c.PRINCIPAL), c.NAT32], [c.vec(_ENTRY)], query=True)
_ZONE = Method("get_zone", [c.PRINCIPAL], [c.opt(_ENTRY)], query=True)
_BY_ID = Method(
    "get_zones_by_id",
    [c.TEXT, c.NAT32, c.NAT32],
    [c.record(zones=c.vec(_ENTRY), next=c.opt(c.NAT32), canonical=c.opt(c.PRINCIPAL))],
    query=True,
)
_SHARE = c.record(creations=c.NAT32, creations_used=c.NAT32, cycles=c.NAT, cycles_used=c.NAT, window_ends_at=c.NAT64)
_MODE = c.variant(**dict.fromkeys(MODES, c.NULL))
_POLICY = Method(
    "get_creation_policy",
    [],
    [
        c.record(
            mode=_MODE,
            funded_open=c.BOOL,
            creation_cycles=c.NAT,
            funded_price=c.NAT,
            daily_creations=c.NAT32,
            daily_cycles=c.NAT,
            proven=_SHARE,
            unproven=_SHARE,
            pool_size=c.NAT32,
            pooled=c.NAT32,
            lookup_cycles=c.NAT,
            funded_fee=c.NAT,
            reserved_limit=c.NAT,
            **dict.fromkeys(OTHER_FIGURES, c.NAT),
            trusted_nodes=c.vec(c.TEXT),
        )
    ],
    query=True,
)
_CHANGES = {
    "mode": c.opt(_MODE),
    "funded_open": c.opt(c.BOOL),
    **dict.fromkeys((*CYCLES_FIGURES, *OTHER_FIGURES), c.opt(c.NAT)),
    **dict.fromkeys(COUNT_FIGURES, c.opt(c.NAT32)),
    "trusted_nodes": c.opt(c.vec(c.TEXT)),
}
_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_SET_POLICY = Method("set_creation_policy", [c.record(**_CHANGES)], [_ACK])
_CHANGE_LIST = Method(
    "change_creation_allowlist", [c.record(add=c.vec(c.PRINCIPAL), remove=c.vec(c.PRINCIPAL))], [_ACK]
)
_ALLOWLIST = Method("get_creation_allowlist", [c.opt(c.PRINCIPAL), c.NAT32], [c.vec(c.PRINCIPAL)], query=True)


@dataclass(frozen=True)
class ZoneIndex:
    """A factory's index seen through an agent; `canister` is the factory's principal."""

    agent: Agent
    canister: bytes

    def zones(self) -> Iterator[dict[str, Any]]:
        """Yield every zone canister that has not ended, in the order of principals; stage and custody are words."""
        found = pages(lambda after: _LIST(self.agent, self.canister, after, PAGE), "canister")
        return map(_entry, found)

    def zone(self, canister: bytes) -> dict[str, Any] | None:
        """Return a zone canister as `zones` does, None for what is none."""
        found = _ZONE(self.agent, self.canister, canister)
        return None if found is None else _entry(found)

    def of_id(self, zone_id: str) -> tuple[bytes | None, list[dict[str, Any]]]:
        """Return the canister whose creator the zone's contract named an owner, and all that were created for an id.

        At most 100 of them, the oldest first; retired ones are left out.
        """
        page = _BY_ID(self.agent, self.canister, zone_id, 0, PAGE)
        zones = [zone for zone in map(_entry, page["zones"]) if zone["stage"] != RETIRED]
        return page["canonical"], zones

    def policy(self) -> dict[str, Any]:
        """Return the policy for creations, and what is used of this day's shares; `mode` is a word."""
        found = _POLICY(self.agent, self.canister)
        return {**found, "mode": found["mode"][0]}

    def set_policy(self, changes: dict[str, Any]) -> None:
        """Set what is given of the policy and leave the rest. For admins."""
        given: dict[str, Any] = {**dict.fromkeys(_CHANGES), **changes}
        if given["mode"] is not None:
            given["mode"] = (given["mode"], None)
        ok_or_raise("set_creation_policy", _SET_POLICY(self.agent, self.canister, given))

    def change_allowlist(self, add: list[bytes], remove: list[bytes]) -> None:
        """Put principals on the allowlist and take others off. For admins."""
        change = {"add": add, "remove": remove}
        ok_or_raise("change_creation_allowlist", _CHANGE_LIST(self.agent, self.canister, change))

    def allowlist(self) -> list[bytes]:
        """Return all principals on the allowlist."""
        found: list[bytes] = []
        while page := _ALLOWLIST(self.agent, self.canister, found[-1] if found else None, PAGE):
            found += page
        return found


def _entry(record: dict[str, Any]) -> dict[str, Any]:
    words = {name: record[name][0] for name in ("stage", "custody", "funding")}
    offered = record["offered_custody"]
    return {**record, **words, "offered_custody": offered and offered[0]}
