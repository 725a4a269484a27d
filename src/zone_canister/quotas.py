"""How much one member may add: messages and bytes in any 24 hours.

Pure. Counted in hours: what was added in the hour now and the 24 before it, so that no 24 hours hold more. Not for
the limits of the whole zone (`message_state`). Admins have quotas like everyone.

    quota map  principal        -> hour since 1970 | messages and bytes in its window | those in this hour
               principal | 0xff -> for each of 25 hours, by hour mod 25: messages | bytes; written when the hour changes
               (all u64, little-endian)
    settings "member_quota" -> u32 messages | u64 bytes
"""

import struct

from kybra import StableBTreeMap, blob, text

HOUR = 3_600
WINDOW_HOURS = 25
QUOTA_KEY = "member_quota"
QUOTA = struct.Struct("<IQ")
HOURS_SUFFIX = b"\xff"  # no principal ends with it
HOUR_NOW = 0  # places in `Window.now`
USED_MESSAGES = 1
USED_BYTES = 2
HOUR_MESSAGES = 3
HOUR_BYTES = 4
# Of version 1000: hour and sums, then each hour's messages and bytes.
FORMER_WINDOW = struct.Struct("<IIQ" + WINDOW_HOURS * "IQ")
DEFAULT_MESSAGES = 200_000
DEFAULT_BYTES = 64 << 20
MAX_MESSAGES = 2**32 - 1
MAX_BYTES = 2**63
RECENT_MEMBERS = 64


class Window:
    """What a member added: sums and the hour now in `now`, as they are stored with every call, and the hours before."""

    __slots__ = ("has_moved", "hours", "now")

    def __init__(self, now: memoryview, hours: memoryview):
        self.now = now
        self.hours = hours
        self.has_moved = False
        """Whether `hours` is not stored as it is."""

    def move_to(self, hour: int) -> None:
        """Takes off the hours that have passed."""
        now, hours = self.now, self.hours
        last = now[HOUR_NOW]
        at = last % WINDOW_HOURS * 2
        hours[at], hours[at + 1] = now[HOUR_MESSAGES], now[HOUR_BYTES]
        for passed in range(last + 1, min(hour, last + WINDOW_HOURS) + 1):
            at = passed % WINDOW_HOURS * 2
            now[USED_MESSAGES] -= hours[at]
            now[USED_BYTES] -= hours[at + 1]
            hours[at] = hours[at + 1] = 0
        now[HOUR_NOW] = hour
        now[HOUR_MESSAGES] = now[HOUR_BYTES] = 0
        self.has_moved = True

    def free_after(self, over_messages: int, over_bytes: int, now: int) -> int:
        """In how many seconds so many messages and bytes are taken off."""
        hour = self.now[HOUR_NOW]
        for ago in range(WINDOW_HOURS - 1, 0, -1):
            at = (hour - ago) % WINDOW_HOURS * 2
            over_messages -= self.hours[at]
            over_bytes -= self.hours[at + 1]
            if over_messages <= 0 and over_bytes <= 0:
                return (hour - ago + WINDOW_HOURS) * HOUR - now
        return (hour + WINDOW_HOURS) * HOUR - now


class MemberQuotas:
    """Admits and counts what members add. Times in seconds since 1970."""

    def __init__(self, settings: StableBTreeMap[text, blob], windows: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._windows = windows
        self._recent: dict[bytes, Window] = {}
        self._to_look_at: list[bytes] = []
        self._look_again = 0
        stored = settings.get(QUOTA_KEY)
        self.max_messages, self.max_bytes = (
            (DEFAULT_MESSAGES, DEFAULT_BYTES) if stored is None else QUOTA.unpack(stored)
        )

    def change(self, max_messages: int | None, max_bytes: int | None) -> str:
        """Sets the quota, as far as it is given, and returns "", or says what is allowed."""
        if max_messages is not None and not 1 <= max_messages <= MAX_MESSAGES:
            return f"max_messages is {max_messages}: it must be from 1 to {MAX_MESSAGES}"
        if max_bytes is not None and not 1 <= max_bytes <= MAX_BYTES:
            return f"max_bytes is {max_bytes}: it must be from 1 to {MAX_BYTES}"
        self.max_messages = self.max_messages if max_messages is None else max_messages
        self.max_bytes = self.max_bytes if max_bytes is None else max_bytes
        self._settings.insert(QUOTA_KEY, QUOTA.pack(self.max_messages, self.max_bytes))
        return ""

    def used(self, member: bytes, now: int) -> tuple[int, int]:
        """Messages and bytes in the member's window."""
        window = self.window(member, now).now
        return window[USED_MESSAGES], window[USED_BYTES]

    def left(self, window: Window) -> int:
        """How many bytes a member with this window may add now in one message; below 0 for not even a duplicate."""
        now = window.now
        return self.max_bytes - now[USED_BYTES] if now[USED_MESSAGES] < self.max_messages else -1

    def fault(self, window: Window, messages: int, size: int, now: int) -> str:
        """Why a member with this window may not add so much now and when he may, or ""."""
        used_messages, used_bytes = window.now[USED_MESSAGES], window.now[USED_BYTES]
        over_messages = used_messages + messages - self.max_messages
        # Duplicates take no bytes: they are let through where a quota was lowered below what has been used.
        over_bytes = used_bytes + size - self.max_bytes if size else 0
        if over_messages <= 0 and over_bytes <= 0:
            return ""
        if over_messages > 0:
            what = f"{used_messages} messages in 24 hours and {messages} more: a member's quota is {self.max_messages}"
        else:
            what = f"{used_bytes} bytes in 24 hours and {size} more: a member's quota is {self.max_bytes}"
        if messages > self.max_messages or size > self.max_bytes:
            return f"{what}, less than this call alone: send less at once"
        return f"{what}: try again in {window.free_after(over_messages, over_bytes, now)} seconds"

    def count(self, member: bytes, window: Window, messages: int, size: int) -> None:
        """Counts in a member's window what he has added."""
        now = window.now
        now[USED_MESSAGES] += messages
        now[HOUR_MESSAGES] += messages
        if size:
            now[USED_BYTES] += size
            now[HOUR_BYTES] += size
        if window.has_moved:
            window.has_moved = False
            self._windows.insert(member + HOURS_SUFFIX, window.hours.tobytes())
        self._windows.insert(member, now.tobytes())

    def window(self, member: bytes, now: int) -> Window:
        """What a member has added, with the hours that have passed taken off."""
        hour = now // HOUR
        window = self._recent.get(member)
        if window is None:
            window = self._read(member, hour)
        if window.now[HOUR_NOW] != hour:
            window.move_to(hour)
        return window

    def forget_idle(self, now: int, most: int) -> bool:
        """Removes what is kept of members who have added nothing for a day, looking at so many entries at most.

        Looks at all once a day. Returns whether there is no more to do until then.
        """
        hour = now // HOUR
        if not self._to_look_at and hour >= self._look_again:
            self._to_look_at = self._windows.keys()
            self._look_again = hour + WINDOW_HOURS
        for _ in range(min(most, len(self._to_look_at))):
            member = self._to_look_at.pop()
            stored = None if member.endswith(HOURS_SUFFIX) else self._windows.get(member)
            # Version 1000, too, began with the hour.
            if stored is not None and int.from_bytes(stored[:4], "little") + WINDOW_HOURS <= hour:
                self._windows.remove(member)
                self._windows.remove(member + HOURS_SUFFIX)
                self._recent.pop(member, None)
        return not self._to_look_at

    def _read(self, member: bytes, hour: int) -> Window:
        """A member's window as it is stored; kept at hand for his next call."""
        stored = self._windows.get(member)
        if stored is not None and len(stored) == FORMER_WINDOW.size:
            window = former_window(stored)
        else:
            hours = self._windows.get(member + HOURS_SUFFIX) or bytes(16 * WINDOW_HOURS)
            window = Window(numbers(stored or struct.pack("<5Q", hour, 0, 0, 0, 0)), numbers(hours))
        if len(self._recent) >= RECENT_MEMBERS:
            self._recent.clear()
        self._recent[member] = window
        return window


def numbers(stored: bytes) -> memoryview:
    """Stored u64 as numbers that can be changed."""
    return memoryview(bytearray(stored)).cast("Q")


def former_window(stored: bytes) -> Window:
    """A window as version 1000 stored it."""
    hour, messages, size, *hours = FORMER_WINDOW.unpack(stored)
    at = hour % WINDOW_HOURS * 2
    window = Window(
        numbers(struct.pack("<5Q", hour, messages, size, hours[at], hours[at + 1])),
        numbers(struct.pack(f"<{len(hours)}Q", *hours)),
    )
    window.hours[at] = window.hours[at + 1] = 0
    window.has_moved = True
    return window
