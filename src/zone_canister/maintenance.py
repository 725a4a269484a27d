"""The maintenance flag: while a zone's code is being changed, nothing may be written that going back would lose.

Pure. The flag lies in the settings and so outlives the upgrade it is for. It ends by itself after half an hour, by the
clock alone, unless going back to a snapshot has begun: then only whoever set it, or the snapshot, takes it away. No
other controller can take away or set again what one has set: what members wrote meanwhile would be lost then. Not for
who may set it. Times in ns, principals in bytes.

    settings "maintenance"  u64 since | u64 until, 0 for as long as it takes | who set it; absent without the flag
"""

import struct

from kybra import StableBTreeMap, blob, text

LONGEST = 1_800 * 1_000_000_000
KEY = "maintenance"
FLAG = struct.Struct("<QQ")
BEING_UPGRADED = "zone is being upgraded, retry"
NOT_UNDER_MAINTENANCE = "the zone is not under maintenance: what it holds by now may not be taken back"
ANOTHERS = "another controller has set the maintenance flag: it stays until that one clears it, or it ends by itself"


class Maintenance:
    """The flag over the settings map; at hand, because every update asks for it."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings
        stored = settings.get(KEY)
        self.since, self._until = (0, 0) if stored is None else FLAG.unpack_from(stored)
        self._holder = b"" if stored is None else stored[FLAG.size :]

    def is_on(self, now: int) -> bool:
        """Whether the flag holds at a time."""
        return self.since > 0 and (self._until == 0 or now < self._until)

    def fault(self, now: int) -> str:
        """Why nothing may be written now, or ""."""
        return BEING_UPGRADED if self.is_on(now) else ""

    def until(self, now: int) -> int | None:
        """When the flag ends by itself, 0 for not at all; None without one."""
        return self._until if self.is_on(now) else None

    def begin(self, who: bytes, keepers: list[bytes], now: int) -> str:
        """Sets the flag, or sets it again, for half an hour from now, a flag that is kept excepted; or says why not."""
        fault = self._fault(who, keepers, now)
        if not fault:
            is_on = self.is_on(now)
            self._holder = who
            self._store(self.since if is_on else now, 0 if is_on and not self._until else now + LONGEST)
        return fault

    def hold(self, who: bytes, keepers: list[bytes], now: int) -> str:
        """Keeps a flag that holds until it is taken away, for going back to a snapshot; or says why not."""
        if not self.is_on(now):
            return NOT_UNDER_MAINTENANCE
        fault = self._fault(who, keepers, now)
        if not fault:
            self._holder = who
            self._store(self.since, 0)
        return fault

    def end(self, who: bytes, keepers: list[bytes], now: int) -> str:
        """Takes the flag away; or says why not."""
        fault = self._fault(who, keepers, now)
        if not fault:
            self.since = self._until = 0
            self._holder = b""
            self._settings.remove(KEY)
        return fault

    def _fault(self, who: bytes, keepers: list[bytes], now: int) -> str:
        return ANOTHERS if self.is_on(now) and self._holder != who and self._holder in keepers else ""

    def _store(self, since: int, until: int) -> None:
        self.since, self._until = since, until
        self._settings.insert(KEY, FLAG.pack(since, until) + self._holder)
