"""Whether the timer for background work is armed.

Heap only: timers die at every upgrade, and so does this. A trap in the work undoes that it was disarmed, so an armed
timer that is long overdue counts as lost. Not for the work itself.
"""

LOST_SECONDS = 60


class Background:
    """The state of one timer. Times in seconds."""

    STEP_SECONDS = 1

    def __init__(self):
        self._due = 0
        self.rest_page = -1
        """Up to this page adding leaves the background no work that would not wait; -1 until everything is ready."""

    def arm(self, now: int, delay: int) -> bool:
        """Notes a timer that fires after `delay`; False when one is armed that fires no later."""
        if self._due and self._due <= now + delay and now <= self._due + LOST_SECONDS:
            return False
        self._due = now + delay
        return True

    def disarm(self) -> None:
        """The timer has fired."""
        self._due = 0
