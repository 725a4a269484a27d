"""When a canister may be asked to pay for a role lookup: the rules that keep strangers from spending its cycles.

Pure. At most one lookup of a key a minute and one in flight. Whoever is no member shares a daily budget; members share
another one, of which each has a part. The budgets are kept in the settings map; the marks of the last minute and the
members' parts live in the heap, because losing them in an upgrade costs a lookup or a part, never more than the budget.

    settings "outcalls"  u32 day since 1970 | u32 lookups of non-members on that day | u32 those of members
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.in_flight import InFlight

SECOND = 1_000_000_000
INTERVAL = 60 * SECOND
DAY = 86_400 * SECOND
DAILY_FOR_OTHERS = 200
DAILY_FOR_MEMBERS = 2_000
DAILY_FOR_A_MEMBER = 100
MAX_MARKS = 1_000
BUDGET = struct.Struct("<III")
BUDGET_KEY = "outcalls"


class KeyMarks:
    """One lookup of a key a minute, one in flight. Heap only. All times in nanoseconds."""

    def __init__(self):
        self._started: dict[bytes, int] = {}
        self._in_flight = InFlight()

    def fault(self, principal: bytes, now: int) -> str:
        """Why this principal's role cannot be looked up now, or ""."""
        if self._in_flight.running(principal, now):
            return "a role lookup for this key is in flight: wait for its answer"
        started = self._started.get(principal)
        if started is not None and now - started < INTERVAL:
            wait = -(-(INTERVAL - (now - started)) // SECOND)
            return f"one role lookup per key and {INTERVAL // SECOND} seconds: try again in {wait} seconds"
        return ""

    def start(self, principal: bytes, now: int) -> None:
        """A lookup of this principal's role begins."""
        if len(self._started) >= MAX_MARKS:
            self._started = {key: time for key, time in self._started.items() if now - time < INTERVAL}
        self._started[principal] = now
        self._in_flight.start(principal, now)

    def finish(self, principal: bytes) -> None:
        """The lookup of this principal has ended, however it ended."""
        self._in_flight.finish(principal)


class OutcallRules:
    """Admits role lookups, one key at a time. All times in nanoseconds."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings
        self._by_member: dict[bytes, int] = {}
        self._marks = KeyMarks()

    def admit(self, principal: bytes, member: bytes, now: int) -> str:
        """Takes a lookup of this principal's role into account and returns "", or says why it must wait.

        `member` is who asks for it, empty for one who is no member.
        """
        day, others, by_members = self._budget(now)
        fault = self._marks.fault(principal, now) or self._budget_fault(member, others, by_members)
        if fault:
            return fault
        if member:
            self._by_member[member] = self._by_member.get(member, 0) + 1
            by_members += 1
        else:
            others += 1
        self._settings.insert(BUDGET_KEY, BUDGET.pack(day, others, by_members))
        self._marks.start(principal, now)
        return ""

    def finished(self, principal: bytes) -> None:
        """The lookup of this principal has ended, however it ended."""
        self._marks.finish(principal)

    def _budget_fault(self, member: bytes, others: int, by_members: int) -> str:
        if not member and others >= DAILY_FOR_OTHERS:
            return (
                f"the {DAILY_FOR_OTHERS} role lookups a day for non-members are used up: "
                "ask a member to do it, or try again tomorrow (UTC)"
            )
        if member and self._by_member.get(member, 0) >= DAILY_FOR_A_MEMBER:
            return f"the {DAILY_FOR_A_MEMBER} role lookups a day of one member are used up: try again tomorrow (UTC)"
        if member and by_members >= DAILY_FOR_MEMBERS:
            return f"the {DAILY_FOR_MEMBERS} role lookups a day of all members are used up: try again tomorrow (UTC)"
        return ""

    def _budget(self, now: int) -> tuple[int, int, int]:
        """Today, and what non-members and members have used of it."""
        today = now // DAY
        stored = self._settings.get(BUDGET_KEY)
        if stored is not None and int.from_bytes(stored[:4], "little") == today:
            # A canister of the first layout counted non-members alone.
            _, others, by_members = BUDGET.unpack(stored[: BUDGET.size].ljust(BUDGET.size, b"\0"))
            return today, others, by_members
        self._by_member.clear()
        return today, 0, 0
