"""When a canister may be asked to pay for a role lookup: the rules that keep strangers from spending its cycles.

Pure. At most one lookup of a key a minute and one in flight; whoever is no member shares a daily budget. The budget is
kept in the settings map; the per-minute marks live in the heap, because a mark lost in an upgrade costs one lookup.

    settings "outcalls"  u32 day since 1970 | u32 lookups of non-members on that day
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.in_flight import InFlight

SECOND = 1_000_000_000
INTERVAL = 60 * SECOND
DAY = 86_400 * SECOND
DAILY_FOR_OTHERS = 200
MAX_MARKS = 4_096
BUDGET = struct.Struct("<II")
BUDGET_KEY = "outcalls"


class OutcallRules:
    """Admits role lookups, one key at a time. All times in nanoseconds."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings
        self._started: dict[bytes, int] = {}
        self._in_flight = InFlight()

    def admit(self, principal: bytes, by_member: bool, now: int) -> str:
        """Takes a lookup of this principal's role into account and returns "", or says why it must wait."""
        fault = self._fault(principal, by_member, now)
        if fault:
            return fault
        if not by_member:
            day, used = self._budget(now)
            self._settings.insert(BUDGET_KEY, BUDGET.pack(day, used + 1))
        self._forget(now)
        self._started[principal] = now
        self._in_flight.start(principal, now)
        return ""

    def finished(self, principal: bytes) -> None:
        """The lookup of this principal has ended, however it ended."""
        self._in_flight.finish(principal)

    def _fault(self, principal: bytes, by_member: bool, now: int) -> str:
        if self._in_flight.running(principal, now):
            return "a role lookup for this key is in flight: wait for its answer"
        started = self._started.get(principal)
        if started is not None and now - started < INTERVAL:
            wait = -(-(INTERVAL - (now - started)) // SECOND)
            return f"one role lookup per key and {INTERVAL // SECOND} seconds: try again in {wait} seconds"
        if not by_member and self._budget(now)[1] >= DAILY_FOR_OTHERS:
            return (
                f"the {DAILY_FOR_OTHERS} role lookups a day for non-members are used up: "
                "ask a member to do it, or try again tomorrow (UTC)"
            )
        if len(self._started) >= MAX_MARKS and self._oldest_mark(now) < INTERVAL:
            return f"too many role lookups within {INTERVAL // SECOND} seconds: try again in a minute"
        return ""

    def _budget(self, now: int) -> tuple[int, int]:
        today = now // DAY
        stored = self._settings.get(BUDGET_KEY)
        day, used = (today, 0) if stored is None else BUDGET.unpack(stored)
        return today, used if day == today else 0

    def _oldest_mark(self, now: int) -> int:
        return now - min(self._started.values(), default=now)

    def _forget(self, now: int) -> None:
        if len(self._started) >= MAX_MARKS:
            self._started = {key: time for key, time in self._started.items() if now - time < INTERVAL}
