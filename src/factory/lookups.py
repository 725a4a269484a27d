"""When the factory pays for a role lookup: rules under which strangers can hold owners up, and never shut them out.

Pure. What a lookup costs is asked for at no price, so strangers' lookups are held against cycles an hour, by what each
really cost, and against lookups at a time. Principals on the allowlist have an hourly amount of their own. Amounts in
cycles, times in ns.

    settings "lookups strangers", "lookups listed"  quotas (see `quota`)
"""

from kybra import StableBTreeMap, blob, text

from canister_kit.in_flight import InFlight
from canister_kit.outcalls import KeyMarks
from factory.creation_policy import CreationRules
from factory.quota import SECOND, Quota, decode_quota

STRANGERS = "strangers"
LISTED = "listed"
HOUR = 3_600
MAX_OPEN = 8
# Counted while the answer is out and where it is lost: five times what a subnet of 13 nodes takes, more than one of 34.
ASSUMED_CYCLES = 300_000_000


class Lookup:
    """A lookup under way: whose it is, and what was counted for it in which window."""

    def __init__(self, principal: bytes, budget: str, window: int):
        self.principal = principal
        self.budget = budget
        self.window = window


class Lookups:
    """Admits lookups over the settings map; who asked in the last minute is known on the heap alone."""

    def __init__(self, settings: StableBTreeMap[text, blob], rules: CreationRules):
        self._settings = settings
        self._rules = rules
        self._marks = KeyMarks()
        self._strangers = InFlight()

    def budget_of(self, principal: bytes) -> str:
        """Which amount a caller's lookup is held against."""
        return LISTED if self._rules.is_allowed(principal) else STRANGERS

    def fault(self, principal: bytes, budget: str, now: int) -> str:
        """Why a lookup cannot be made now, or ""."""
        fault = self._marks.fault(principal, now)
        if fault:
            return fault
        if budget == STRANGERS and self._strangers.waited_for(now) >= MAX_OPEN:
            return f"{MAX_OPEN} role lookups are under way: ask again in a few seconds"
        quota = self._quota(budget)
        if quota.left(now) >= ASSUMED_CYCLES:
            return ""
        wait = (quota.ends_at - now) // SECOND + 1
        return (
            f"the {quota.limit} cycles an hour for role lookups are used up: try again in {wait} seconds, "
            "or have an admin put you on the allowlist"
        )

    def begin(self, principal: bytes, budget: str, now: int) -> Lookup:
        """Counts a lookup that is about to be made."""
        self._marks.start(principal, now)
        if budget == STRANGERS:
            self._strangers.start(principal, now)
        return Lookup(principal, budget, self._take(budget, ASSUMED_CYCLES, now))

    def end(self, lookup: Lookup, spent: int | None, now: int) -> None:
        """Corrects what was counted by what the lookup cost; None where the platform did not tell."""
        self._marks.finish(lookup.principal)
        if lookup.budget == STRANGERS:
            self._strangers.finish(lookup.principal)
        if spent is None:
            return
        if spent > ASSUMED_CYCLES:
            self._take(lookup.budget, spent - ASSUMED_CYCLES, now)
            return
        quota = self._quota(lookup.budget)
        quota.give_back(ASSUMED_CYCLES - spent, lookup.window)
        self._store(lookup.budget, quota)

    def _take(self, budget: str, amount: int, now: int) -> int:
        quota = self._quota(budget)
        quota.turn(now)
        window = quota.take(amount)
        self._store(budget, quota)
        return window

    def _quota(self, budget: str) -> Quota:
        limit = self._rules.figure("lookup_cycles")
        stored = self._settings.get(key_of(budget))
        quota = Quota(limit, HOUR) if stored is None else decode_quota(stored)
        quota.limit = limit
        return quota

    def _store(self, budget: str, quota: Quota) -> None:
        self._settings.insert(key_of(budget), quota.encode())


def key_of(budget: str) -> str:
    """The settings key of an hourly amount."""
    return f"lookups {budget}"
