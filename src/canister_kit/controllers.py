"""Who controls this canister, as it read last from its own canister status.

Pure. A canister cannot ask the platform who its controllers are within a call (Kybra has no `is_controller`), so they
are cached with their age; `refresh_controllers` reads them again. Not for what controllers may do.

    settings "controllers"  u64 when they were read (ns) | per controller u8 length, principal
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.short_bytes import all_unpacked, packed

SECOND = 1_000_000_000
REFRESH_INTERVAL = 5 * SECOND
# Whoever was a controller keeps for so long what controllers may do; who lost that can be replaced, data cannot.
MOST_AGE = 86_400 * SECOND
READ_AT = struct.Struct("<Q")
CONTROLLERS_KEY = "controllers"


class ControllerCache:
    """The cached controllers. Principals are bytes."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings

    def all(self) -> list[bytes]:
        """The controllers, as read last; empty before the first reading."""
        stored = self._settings.get(CONTROLLERS_KEY)
        if stored is None:
            return []
        return all_unpacked(stored, READ_AT.size)

    def current(self, now: int) -> list[bytes]:
        """The controllers, unless they were read more than a day before `now` (ns): then nobody is known as one."""
        return self.all() if now - self.read_at() <= MOST_AGE else []

    def read_at(self) -> int:
        """When they were read (ns), 0 for never."""
        stored = self._settings.get(CONTROLLERS_KEY)
        return 0 if stored is None else READ_AT.unpack_from(stored)[0]

    def due(self, now: int) -> bool:
        """Whether the controllers may be read again, at `now` (ns)."""
        return not self.read_at() or now - self.read_at() >= REFRESH_INTERVAL

    def store(self, controllers: list[bytes], now: int) -> None:
        """Keeps the controllers read at `now` (ns)."""
        self._settings.insert(CONTROLLERS_KEY, READ_AT.pack(now) + packed(*controllers))
