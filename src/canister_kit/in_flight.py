"""Which calls this canister is waiting for, by a key of the caller's choice.

Heap only: an upgrade forgets it, and the platform drops the callbacks of a canister that is upgraded without being
stopped first. Not for results; a call's owner writes those to stable maps itself.
"""

SECOND = 1_000_000_000
# A trap in a callback undoes the mark's removal. So a mark counts as lost after this time, well beyond what the
# platform takes to answer or time out a call to the management canister.
LOST_AFTER = 600 * SECOND


class InFlight:
    """Marks of open calls. Times in nanoseconds."""

    def __init__(self):
        self._started: dict[bytes, int] = {}

    def start(self, key: bytes, now: int) -> None:
        """A call with this key begins."""
        self._started[key] = now

    def finish(self, key: bytes) -> None:
        """The call with this key has ended, however it ended."""
        self._started.pop(key, None)

    def running(self, key: bytes, now: int) -> bool:
        """Whether a call with this key is open."""
        started = self._started.get(key)
        return started is not None and now - started < LOST_AFTER

    def count(self, now: int) -> int:
        """How many calls are open."""
        return sum(now - started < LOST_AFTER for started in self._started.values())
