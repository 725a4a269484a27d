"""Time of a network: virtual and moved by the client, or following the machine's clock.

Times are nanoseconds since 1970. The clock never goes back while rounds are executed.
"""

from __future__ import annotations

import time

GENESIS = 1_620_328_630_000_000_000
"""Where virtual time starts (6 May 2021 19:17:10 UTC), as on PocketIC."""


class Clock:
    """The time of the current round, in nanoseconds."""

    def __init__(self, start: int = GENESIS) -> None:
        self.now = start
        self.real = False

    def set(self, nanoseconds: int) -> None:
        """Set virtual time. Raises ``ValueError`` when that would be before the current time."""
        if nanoseconds < self.now:
            raise ValueError(f"time cannot go back from {self.now} to {nanoseconds}")
        self.now = nanoseconds

    def next_round(self) -> int:
        """The time of the next round: one nanosecond later in virtual time, else the machine's, never going back."""
        return max(self.now + 1, time.time_ns() if self.real else 0)
