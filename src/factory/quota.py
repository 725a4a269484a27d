"""A quota over fixed windows: so much within so many seconds, counted from the window's first use.

Pure values. A reservation carries the window it was made in, so that giving it back after the window has turned
neither underflows nor credits the next one.

    u128 limit | u64 window (s) | u128 used | u64 window ends at (ns)     48 bytes, little-endian
"""

SECOND = 1_000_000_000
QUOTA_BYTES = 48


class Quota:
    """One quota and what is used of it."""

    def __init__(self, limit: int, window: int, used: int = 0, ends_at: int = 0):
        self.limit = limit
        self.window = window
        self.used = used
        self.ends_at = ends_at

    def turn(self, now: int) -> None:
        """Begins a new window when the last one is over. `now` in ns."""
        if now >= self.ends_at:
            self.used = 0
            self.ends_at = now + self.window * SECOND

    def left(self, now: int) -> int:
        """What may still be used in the window of `now`."""
        self.turn(now)
        return max(0, self.limit - self.used)

    def take(self, amount: int) -> int:
        """Uses an amount that is left, and returns the window it was taken in."""
        self.used += amount
        return self.ends_at

    def give_back(self, amount: int, window_end: int) -> None:
        """Returns an amount taken in the window that ends at window_end; nothing once that window is over."""
        if self.ends_at == window_end:
            self.used -= min(amount, self.used)

    def encode(self) -> bytes:
        """The quota as it is stored."""
        return (
            self.limit.to_bytes(16, "little")
            + self.window.to_bytes(8, "little")
            + self.used.to_bytes(16, "little")
            + self.ends_at.to_bytes(8, "little")
        )


def decode_quota(stored: bytes) -> Quota:
    """The quota that `encode` wrote."""
    return Quota(
        int.from_bytes(stored[:16], "little"),
        int.from_bytes(stored[16:24], "little"),
        int.from_bytes(stored[24:40], "little"),
        int.from_bytes(stored[40:48], "little"),
    )
