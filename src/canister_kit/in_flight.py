"""Which calls this canister is waiting for, by a key of the caller's choice.

Heap only: an upgrade forgets it, and the platform drops the callbacks of a canister that is upgraded without being
stopped first. Not for results; a call's owner writes those to stable maps itself.
"""

SECOND = 1_000_000_000
# A trap in a callback undoes the mark's removal. So a mark stops keeping others waiting after this time, well beyond
# what the platform takes to answer or time out a call to the management canister.
LOST_AFTER = 600 * SECOND
# An upgrade loses the answer for good, so there a mark counts longer: time jumps when a subnet stood still.
COUNTED_FOR = 86_400 * SECOND


class InFlight:
    """Marks of open calls. Times in nanoseconds."""

    def __init__(self):
        self._started: dict[bytes, list[int]] = {}

    def start(self, key: bytes, now: int) -> None:
        """A call with this key begins; those that are open with the same key stay so."""
        self._started.setdefault(key, []).append(now)

    def finish(self, key: bytes) -> None:
        """A call with this key has ended, however it ended.

        The youngest mark goes: what a trap left behind must grow old, not be renewed by the calls that come after.
        """
        started = self._started.get(key)
        if started:
            started.pop()
        if not started:
            self._started.pop(key, None)

    def running(self, key: bytes, now: int) -> bool:
        """Whether a call with this key is open and may be waited for."""
        return any(now - started < LOST_AFTER for started in self._started.get(key, []))

    def waited_for(self, now: int) -> int:
        """How many calls are open and may be waited for."""
        return sum(now - started < LOST_AFTER for key in self._started for started in self._started[key])

    def count(self, now: int) -> int:
        """How many calls may be open, those that nobody waits for any more included."""
        return sum(now - started < COUNTED_FOR for key in self._started for started in self._started[key])
