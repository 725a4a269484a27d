"""Client of the factory's methods for who owns a zone and controls its canister, and for how it ends.

Not for reading that (`zones.zone_index`).
Principals in bytes, amounts in cycles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from localnet.principal import to_text
from zones.agent import Agent
from zones.calls import Method, ok_or_raise
from zones.tables import iso
from zones.zone_index import CUSTODY

_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_TERMS = c.record(canister=c.PRINCIPAL, custody=CUSTODY, owners=c.vec(c.PRINCIPAL))
_OFFER, _ACCEPT = (Method(name, [_TERMS], [_ACK]) for name in ("offer_custody", "accept_custody"))
_CANCEL, _WAIVE, _REFRESH = (
    Method(name, [c.PRINCIPAL], [_ACK]) for name in ("cancel_custody_offer", "waive_repayment", "refresh_custody")
)
_REPAY = Method("repay", [c.PRINCIPAL], [c.variant(ok=c.NAT, err=c.TEXT)])
_RETIRE = Method("retire_child", [c.PRINCIPAL, c.TEXT], [c.variant(ok=c.NAT, err=c.TEXT)])
_ACCEPT_RELEASE = Method("accept_release", [c.PRINCIPAL, c.NAT], [_ACK])
_ACCEPT_REINSTALL = Method("accept_reinstall", [c.PRINCIPAL, c.NAT, c.TEXT], [_ACK])

Send = Callable[[bytes, str, bytes, int], bytes]
"""Makes a call with cycles: callee, method, argument, cycles; returns the reply."""


@dataclass(frozen=True)
class Custody:
    """Custody of a factory's zones seen through an agent; `canister` is the factory's principal.

    All methods raise RejectedError with what stands against it.
    """

    agent: Agent
    canister: bytes

    def offer(self, zone: bytes, custody: str, owners: list[bytes]) -> None:
        """Offer a zone to owners; carried out once each new one, and each who loses it, has accepted."""
        self._on_terms(_OFFER, zone, custody, owners)

    def accept(self, zone: bytes, custody: str, owners: list[bytes]) -> None:
        """Accept a zone that is offered to just these owners; the last acceptance carries the transfer out."""
        self._on_terms(_ACCEPT, zone, custody, owners)

    def accept_reinstall(self, zone: bytes, release: int, again: str) -> None:
        """Let the factory wipe a shared zone with a release, once within a day; `again` is its canister once more."""
        answer = _ACCEPT_REINSTALL(self.agent, self.canister, zone, release, again)
        ok_or_raise(_ACCEPT_REINSTALL.name, answer)

    def cancel(self, zone: bytes) -> None:
        """Take back an offer, and the caller's wish to retire the zone. For its owners."""
        self._acknowledged(_CANCEL, zone)

    def waive(self, zone: bytes) -> None:
        """Let a zone be handed over without what is owed for it. For admins of the factory."""
        self._acknowledged(_WAIVE, zone)

    def refresh(self, zone: bytes) -> None:
        """Have the factory read a zone's controllers from the platform; at most once a minute. For anybody."""
        self._acknowledged(_REFRESH, zone)

    def retire(self, zone: bytes, again: str) -> int:
        """Destroy a zone with all its data; returns the cycles that came back. `again` is its canister as text.

        For every owner of the zone: the last one who asks has it done. Without owners for its creator and admins.
        """
        return ok_or_raise(_RETIRE.name, _RETIRE(self.agent, self.canister, zone, again))

    def repay(self, zone: bytes, cycles: int, send: Send) -> int:
        """Repay what is owed for a zone with at most so many cycles, which `send` attaches; returns what is owed then.

        For anybody. `send` has a canister make a call: callee, method, argument, cycles; see `zones.paying`.
        """
        reply = send(self.canister, _REPAY.name, c.encode(_REPAY.arguments, [zone]), cycles)
        return ok_or_raise(_REPAY.name, _REPAY.read(reply))

    def accept_release(self, zone: bytes, release: int) -> None:
        """Let the factory install a release on a shared zone. For its owners."""
        ok_or_raise(_ACCEPT_RELEASE.name, _ACCEPT_RELEASE(self.agent, self.canister, zone, release))

    def _on_terms(self, method: Method, zone: bytes, custody: str, owners: list[bytes]) -> None:
        terms = {"canister": zone, "custody": (custody, None), "owners": owners}
        ok_or_raise(method.name, method(self.agent, self.canister, terms))

    def _acknowledged(self, method: Method, zone: bytes) -> None:
        ok_or_raise(method.name, method(self.agent, self.canister, zone))


def missing(wanted: list[bytes], there: list[bytes]) -> list[bytes]:
    """Return those who have yet to ask for a zone's end."""
    return [principal for principal in wanted if principal not in there]


def custody_row(zone: dict[str, Any]) -> dict[str, Any]:
    """Return a zone of the index as its custody is shown; `owed` in cycles."""
    offered = zone["offered_custody"]
    return {
        "canister": to_text(zone["canister"]),
        "zone_id": zone["zone_id"],
        "stage": zone["stage"],
        "custody": zone["custody"],
        "funding": zone["funding"],
        "creator": to_text(zone["creator"]),
        "proven": zone["proven"],
        "owners": list(map(to_text, zone["owners"])),
        "controlled": zone["controlled"],
        "controllers": list(map(to_text, zone["controllers"])),
        "read_at": iso(zone["info_read_at"]),
        "owed": zone["owed"],
        "offer": offered
        and {
            "custody": offered,
            "owners": list(map(to_text, zone["offered"])),
            "waits_for": list(map(to_text, zone["awaited"])),
        },
        "agreed_to_retire": list(map(to_text, zone["agreed_to_retire"])),
    }
