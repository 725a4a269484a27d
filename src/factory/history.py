"""Cycles over time: readings in rings, dense where they are recent and sparse where they are old.

Pure. A subject has three rings: every reading (the last 28, a week of sweeps), one a day (31), one a week (52). Amounts
are kept in millions of cycles, times in seconds since 1970.

    samples  canister | u8 ring -> per reading u32 time | u64 balance | u64 paid to it ever              20 bytes
    fleet    u8 ring            -> per reading u32 time | u64 the battery's balance | u64 the children's together
                                   | u64 passed on ever | u64 the children's burn a day | u32 children   40 bytes
"""

import struct

from kybra import StableBTreeMap, blob

from factory.policy import DAY

UNIT = 1_000_000
CHILD_POINT = struct.Struct("<IQQ")
FLEET_POINT = struct.Struct("<IQQQQI")
RECENT = 0
DAILY = 1
WEEKLY = 2
GAPS = [600, DAY, 7 * DAY]
LENGTHS = [28, 31, 52]
LEAST_SPAN = 3_000

Point = tuple[int, ...]


class History:
    """Rings of readings over a stable map; the first two figures of a reading are its time and a balance."""

    def __init__(self, rings: StableBTreeMap[blob, blob], point: struct.Struct):
        self._rings = rings
        self._point = point

    def add(self, subject: bytes, point: Point) -> None:
        """Adds a reading to the rings whose last one is old enough."""
        packed = self._point.pack(*point)
        for ring, gap in enumerate(GAPS):
            key = subject + bytes([ring])
            stored = self._rings.get(key) or b""
            if not stored or point[0] >= self._point.unpack(stored[-self._point.size :])[0] + gap:
                self._rings.insert(key, (stored + packed)[-LENGTHS[ring] * self._point.size :])

    def forget(self, subject: bytes) -> None:
        """Drops all readings of what has ended."""
        for ring in range(len(GAPS)):
            self._rings.remove(subject + bytes([ring]))

    def ring(self, subject: bytes, ring: int) -> list[Point]:
        """The readings of one ring, oldest first."""
        return list(self._point.iter_unpack(self._rings.get(subject + bytes([ring])) or b""))

    def points(self, subject: bytes) -> list[Point]:
        """All readings, oldest first: sparse ones as far as denser ones do not reach back."""
        merged = self.ring(subject, RECENT)
        for ring in (DAILY, WEEKLY):
            first = merged[0][0] if merged else 2**32
            merged = [point for point in self.ring(subject, ring) if point[0] < first] + merged
        return merged


def in_units(cycles: int) -> int:
    """Cycles as a reading holds them."""
    return max(0, min(cycles // UNIT, 2**64 - 1))


def burn_a_day(points: list[Point], flow: int, sign: int, since: int, until: int) -> int | None:
    """Cycles a day that a balance lost between two times (s), None when that is too short to tell.

    `flow` is the position of the figure that counts what was paid to (`sign` 1) or passed on from (-1) the balance.
    Where a balance grew by more than was paid, somebody else paid, and that stretch counts as no burn.
    """
    chosen = [point for point in points if since <= point[0] <= until]
    if not chosen or chosen[-1][0] - chosen[0][0] < LEAST_SPAN:
        return None
    burnt = 0
    before = chosen[0]
    for point in chosen[1:]:
        burnt += max(0, before[1] - point[1] + sign * (point[flow] - before[flow]))
        before = point
    return burnt * UNIT * DAY // (chosen[-1][0] - chosen[0][0])


class Burn:
    """What a child burns: lately, and usually."""

    def __init__(self, recent: int | None, usual: int | None):
        self.recent = recent
        """Cycles a day over the last day or so, None when it is too early to tell."""
        self.usual = usual
        """Cycles a day over the month before that."""

    def is_unusual(self, times: int, cycles: int) -> bool:
        """Whether a child burns so many times what it did, and more than so many cycles a day more."""
        if self.recent is None or self.usual is None:
            return False
        return self.recent > times * self.usual and self.recent - self.usual > cycles


def child_burn(samples: History, canister: bytes, now: int) -> Burn:
    """A child's burn by its readings up to now (s)."""
    recent_since = now - DAY - LEAST_SPAN
    recent = burn_a_day(samples.ring(canister, RECENT), 2, 1, recent_since, now)
    days = samples.ring(canister, DAILY)
    usual = burn_a_day(days, 2, 1, now - 31 * DAY, recent_since + DAY // 2)
    return Burn(recent, usual)


def battery_burn(fleet: History, now: int) -> int:
    """Cycles a day that the battery itself burns, by its readings of the last week up to now (s)."""
    return burn_a_day(fleet.ring(b"", RECENT), 3, -1, now - 7 * DAY, now) or 0
