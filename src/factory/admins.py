"""Who administers the factory: its controllers, as it read them last from its own canister status.

Pure. A canister cannot ask the platform who its controllers are within a call (Kybra has no `is_controller`), so they
are cached; `refresh_controllers` reads them again.

    settings "controllers"  u64 when they were read (ns) | per controller u8 length, principal
"""

import struct

from kybra import StableBTreeMap, blob, text

SECOND = 1_000_000_000
REFRESH_INTERVAL = 60 * SECOND
READ_AT = struct.Struct("<Q")
CONTROLLERS_KEY = "controllers"


class Admins:
    """The cached controllers. Principals are bytes."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings

    def all(self) -> list[bytes]:
        """The controllers, as read last; empty before the first reading."""
        stored = self._settings.get(CONTROLLERS_KEY)
        if stored is None:
            return []
        controllers = []
        at = READ_AT.size
        while at < len(stored):
            end = at + 1 + stored[at]
            controllers.append(stored[at + 1 : end])
            at = end
        return controllers

    def refusal(self, caller: bytes) -> str:
        """Why this caller is no admin, or ""."""
        controllers = self.all()
        if not controllers:
            return "The factory does not know its controllers yet: call refresh_controllers once"
        return "" if caller in controllers else "Unauthorized access. Caller is not an admin."

    def due(self, now: int) -> bool:
        """Whether the controllers may be read again, at `now` (ns)."""
        stored = self._settings.get(CONTROLLERS_KEY)
        return stored is None or now - READ_AT.unpack_from(stored)[0] >= REFRESH_INTERVAL

    def store(self, controllers: list[bytes], now: int) -> None:
        """Keeps the controllers read at `now` (ns)."""
        parts = [READ_AT.pack(now)]
        for controller in controllers:
            parts.append(bytes([len(controller)]) + controller)
        self._settings.insert(CONTROLLERS_KEY, b"".join(parts))
