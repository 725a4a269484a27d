"""Alerts: what an operator should look at, raised once and cleared once each.

Pure. An alert is a kind and a canister (none for the battery itself); while it is open, raising it again changes
nothing. The last 2 000 are kept, and open ones longer. Times in ns.

    settings "alerts"  u64 number of the next | u64 oldest kept; numbers begin at 0
    alerts       u64 number -> u8 kind | u64 raised at | u64 cleared at, 0 while open | u8 length, canister
                               | details
    open_alerts  u8 kind | canister -> u64 number
"""

import struct

from kybra import StableBTreeMap, blob, nat64, text

from canister_kit.short_bytes import packed, unpacked
from factory.audit import cut

LOW_RUNWAY = 1
FOREIGN_CODE = 2
UNREACHABLE = 3
QUOTA_REACHED = 4
BATTERY_LOW = 5
UNUSUAL_BURN = 6
LAST_KIND = UNUSUAL_BURN

MAX_KEPT = 2_000
MAX_PAGE = 200
MAX_DETAIL_BYTES = 240
STATE_KEY = "alerts"
ENDS = struct.Struct("<QQ")
NUMBER = struct.Struct("<Q")
HEAD = struct.Struct("<BQQ")


class Alert:
    """One alert."""

    def __init__(self, number: int, kind: int, canister: bytes, raised_at: int, details: str):
        self.number = number
        self.kind = kind
        self.canister = canister
        self.raised_at = raised_at
        self.cleared_at = 0
        self.details = details

    def encode(self) -> bytes:
        """The alert as it is stored."""
        return b"".join(
            [
                HEAD.pack(self.kind, self.raised_at, self.cleared_at),
                packed(self.canister),
                cut(self.details.encode(), MAX_DETAIL_BYTES),
            ]
        )


def decode_alert(number: int, stored: bytes) -> Alert:
    """The alert that `encode` wrote."""
    kind, raised_at, cleared_at = HEAD.unpack_from(stored)
    (canister,), at = unpacked(stored, HEAD.size, 1)
    alert = Alert(number, kind, canister, raised_at, stored[at:].decode())
    alert.cleared_at = cleared_at
    return alert


class Alerts:
    """The alerts over their stable maps."""

    def __init__(
        self,
        settings: StableBTreeMap[text, blob],
        alerts: StableBTreeMap[nat64, blob],
        open_alerts: StableBTreeMap[blob, blob],
    ):
        self._settings = settings
        self._alerts = alerts
        self._open = open_alerts
        self._open_numbers: list[int] | None = None
        """Of the open alerts, ascending; read when they are asked for the first time, and kept up to date."""

    def report(self, is_so: bool, kind: int, canister: bytes, details: str, now: int) -> None:
        """Raises an alert, or clears it; nothing when it is open, or not, already."""
        key = bytes([kind]) + canister
        opened = self._open.get(key)
        if is_so and opened is None:
            number = self._append(Alert(0, kind, canister, now, details))
            self._open.insert(key, NUMBER.pack(number))
            self._list(number)
            self._compact()
        elif not is_so and opened is not None:
            (number,) = NUMBER.unpack(opened)
            alert = self._get(number)
            if alert is not None:
                alert.cleared_at = now
                self._alerts.insert(number, alert.encode())
            self._open.remove(key)
            self._unlist(number)

    def clear_all(self, canister: bytes, now: int) -> None:
        """Clears everything about a canister, because it has ended."""
        for kind in range(1, LAST_KIND + 1):
            self.report(False, kind, canister, "", now)

    def page(self, before: int | None, most: int) -> list[Alert]:
        """Alerts with numbers below `before`, newest first, at most so many and at most 200."""
        next_number, oldest = self.ends()
        newest = next_number if before is None else min(before, next_number)
        last = max(newest - min(most, MAX_PAGE), oldest)
        found = [self._get(number) for number in range(newest - 1, last - 1, -1)]
        return [alert for alert in found if alert is not None]

    def open(self, before: int | None, most: int) -> list[Alert]:
        """Open alerts with numbers below `before`, newest first, at most so many and at most 200."""
        found = []
        for number in reversed(self._open_list()):
            if len(found) >= min(most, MAX_PAGE):
                break
            alert = self._get(number) if before is None or number < before else None
            if alert is not None:
                found.append(alert)
        return found

    def open_count(self) -> int:
        """How many alerts are open."""
        return self._open.len()

    def ends(self) -> tuple[int, int]:
        """The number of the next alert and of the oldest that is kept."""
        stored = self._settings.get(STATE_KEY)
        if stored is None:
            return 0, 0
        next_number, oldest = ENDS.unpack(stored)
        return next_number, oldest

    def _open_list(self) -> list[int]:
        if self._open_numbers is None:
            self._open_numbers = sorted([NUMBER.unpack(stored)[0] for stored in self._open.values()])
        return self._open_numbers

    def _list(self, number: int) -> None:
        if self._open_numbers is not None:
            self._open_numbers.append(number)

    def _unlist(self, number: int) -> None:
        if self._open_numbers is not None:
            self._open_numbers.remove(number)

    def _get(self, number: int) -> Alert | None:
        stored = self._alerts.get(number)
        return None if stored is None else decode_alert(number, stored)

    def _append(self, alert: Alert) -> int:
        number, oldest = self.ends()
        self._alerts.insert(number, alert.encode())
        self._settings.insert(STATE_KEY, ENDS.pack(number + 1, oldest))
        return number

    def _compact(self) -> None:
        """Forgets the two oldest; one that is open moves to the newest place with its time."""
        for _ in range(2):
            next_number, oldest = self.ends()
            if next_number - oldest <= MAX_KEPT:
                return
            alert = self._get(oldest)
            self._alerts.remove(oldest)
            self._settings.insert(STATE_KEY, ENDS.pack(next_number, oldest + 1))
            if alert is not None and not alert.cleared_at:
                number = self._append(alert)
                self._open.insert(bytes([alert.kind]) + alert.canister, NUMBER.pack(number))
                self._unlist(oldest)
                self._list(number)
