"""Client of what the factory reads of its children's cycles: now, over time, and the sweeps that read them.

Not for deposits and policy (`zones.battery`). Amounts in cycles; times in ns since 1970, in s in histories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from zones.agent import Agent
from zones.calls import Method, ok_or_raise

PAGE = 100
"""Most children in one reply."""

_STATES = ("unknown", "running", "stopping", "stopped", "deleted", "unreachable", "uncontrolled")
_CHILD = c.record(
    canister=c.PRINCIPAL,
    zone_id=c.TEXT,
    state=c.variant(**dict.fromkeys(_STATES, c.NULL)),
    controlled=c.BOOL,
    module_hash=c.opt(c.BLOB),
    read_at=c.opt(c.NAT64),
    idle_burn=c.NAT,
    recent_burn=c.opt(c.NAT),
    usual_burn=c.opt(c.NAT),
    runway_days=c.opt(c.NAT),
    quota_ends_at=c.NAT64,
    fuelled=c.BOOL,
    **dict.fromkeys(
        ("balance", "reserved", "freezing", "memory", "paid", "allowance", "quota_limit", "quota_used"), c.NAT
    ),
)
_FLEET = Method(
    "get_fleet",
    [c.opt(c.PRINCIPAL), c.NAT32],
    [c.record(children=c.vec(_CHILD), next_after=c.opt(c.PRINCIPAL), count=c.NAT64)],
    query=True,
)
_CHILD_STATUS = Method("get_child_status", [c.PRINCIPAL], [c.opt(_CHILD)], query=True)
_CHILD_HISTORY = Method(
    "get_child_history", [c.PRINCIPAL], [c.vec(c.record(time=c.NAT64, balance=c.NAT, paid=c.NAT))], query=True
)
_FLEET_HISTORY = Method(
    "get_fleet_history",
    [],
    [
        c.vec(
            c.record(time=c.NAT64, battery=c.NAT, fleet=c.NAT, passed_on=c.NAT, burn=c.NAT, children=c.NAT32),
        )
    ],
    query=True,
)
_SWEEP = c.record(
    number=c.NAT64,
    begun_at=c.NAT64,
    ended_at=c.opt(c.NAT64),
    looked_at=c.NAT32,
    refilled=c.NAT32,
    unreadable=c.NAT32,
    deposited=c.NAT,
)
_BATTERY = Method(
    "get_battery_status",
    [],
    [
        c.record(
            balance=c.NAT,
            reserve=c.NAT,
            freezing=c.NAT,
            own_burn=c.NAT,
            fleet_burn=c.NAT,
            runway_days=c.opt(c.NAT),
            passed_on=c.NAT,
            children=c.NAT64,
            open_alerts=c.NAT64,
            sweep=_SWEEP,
        )
    ],
    query=True,
)
_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_START_SWEEP = Method("start_sweep", [], [_ACK])
_SET_ALLOWANCE = Method("set_child_allowance", [c.PRINCIPAL, c.NAT], [_ACK])
_SET_FUEL = Method("set_child_fuel", [c.PRINCIPAL, c.BOOL], [_ACK])


@dataclass(frozen=True)
class Readings:
    """A factory's readings seen through an agent; `canister` is the factory's principal."""

    agent: Agent
    canister: bytes

    def children(self) -> Iterator[dict[str, Any]]:
        """Yield every child as it was read last, in the order of their principals; `state` is a word."""
        after = None
        while True:
            page = _FLEET(self.agent, self.canister, after, PAGE)
            yield from map(_child, page["children"])
            after = page["next_after"]
            if after is None:
                return

    def child(self, canister: bytes) -> dict[str, Any] | None:
        """Return a child as it was read last, None for what is no child."""
        found = _CHILD_STATUS(self.agent, self.canister, canister)
        return None if found is None else _child(found)

    def child_history(self, canister: bytes) -> list[dict[str, int]]:
        """Return a child's readings, oldest first: time (s), balance, paid to it ever. Recent ones lie closer."""
        return _CHILD_HISTORY(self.agent, self.canister, canister)

    def history(self) -> list[dict[str, int]]:
        """Return the readings of all, oldest first.

        Time (s), balance of the battery, of all children (`fleet`), passed on ever, the children's burn a day, how
        many children there are.
        """
        return _FLEET_HISTORY(self.agent, self.canister)

    def battery(self) -> dict[str, Any]:
        """Return what the battery holds, keeps and burns, and how far the present sweep is."""
        return _BATTERY(self.agent, self.canister)

    def start_sweep(self) -> None:
        """Have all children looked at now; for admins."""
        ok_or_raise("start_sweep", _START_SWEEP(self.agent, self.canister))

    def set_allowance(self, child: bytes, cycles_a_day: int) -> None:
        """Set what a child that the factory does not control is given a day, 0 for nothing; for admins."""
        ok_or_raise("set_child_allowance", _SET_ALLOWANCE(self.agent, self.canister, child, cycles_a_day))

    def set_fuel(self, child: bytes, on: bool) -> None:
        """Stop the deposits to a child, or let them be made again; for admins."""
        ok_or_raise("set_child_fuel", _SET_FUEL(self.agent, self.canister, child, on))


def _child(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "state": record["state"][0]}
