"""How much one member may add: messages and bytes in any 24 hours.

Pure. Counted in hours: what was added in the hour now and the 24 before it, so that no 24 hours hold more. Not for
the limits of the whole zone (`message_state`). Admins have quotas like everyone.

    quota map  principal -> u32 hour since 1970 | u32 messages and u64 bytes in its window
                            | for each of 25 hours, by hour mod 25: u32 messages | u64 bytes
    settings "member_quota" -> u32 messages | u64 bytes
"""

import struct

from kybra import StableBTreeMap, blob, text

HOUR = 3_600
WINDOW_HOURS = 25
QUOTA_KEY = "member_quota"
QUOTA = struct.Struct("<IQ")
HEAD = struct.Struct("<IIQ")
BUCKET = struct.Struct("<IQ")
DEFAULT_MESSAGES = 200_000
DEFAULT_BYTES = 64 << 20
MAX_MESSAGES = 2**32 - 1
MAX_BYTES = 2**63
RECENT_MEMBERS = 64


class MemberQuotas:
    """Admits and counts what members add. Times in seconds since 1970."""

    def __init__(self, settings: StableBTreeMap[text, blob], windows: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._windows = windows
        self._recent: dict[bytes, bytearray] = {}
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
        _, messages, size = HEAD.unpack_from(self.window(member, now))
        return messages, size

    def fault(self, window: bytearray, messages: int, size: int, now: int) -> str:
        """Why a member with this window may not add so much now and when he may, or ""."""
        _, used_messages, used_bytes = HEAD.unpack_from(window)
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
        return f"{what}: try again in {self._free_after(window, over_messages, over_bytes, now)} seconds"

    def count(self, member: bytes, window: bytearray, messages: int, size: int) -> None:
        """Counts in a member's window what he has added."""
        hour, used_messages, used_bytes = HEAD.unpack_from(window)
        HEAD.pack_into(window, 0, hour, used_messages + messages, used_bytes + size)
        at = bucket_at(hour)
        hour_messages, hour_bytes = BUCKET.unpack_from(window, at)
        BUCKET.pack_into(window, at, hour_messages + messages, hour_bytes + size)
        self._windows.insert(member, bytes(window))

    def window(self, member: bytes, now: int) -> bytearray:
        """What a member has added, with the hours that have passed taken off."""
        hour = now // HOUR
        window = self._recent.get(member)
        if window is None:
            window = self._read(member, hour)
        last, messages, size = HEAD.unpack_from(window)
        if last != hour:
            for passed in range(last + 1, min(hour, last + WINDOW_HOURS) + 1):
                hour_messages, hour_bytes = BUCKET.unpack_from(window, bucket_at(passed))
                messages -= hour_messages
                size -= hour_bytes
                BUCKET.pack_into(window, bucket_at(passed), 0, 0)
            HEAD.pack_into(window, 0, hour, messages, size)
        return window

    def forget_idle(self, now: int, most: int) -> bool:
        """Removes what is kept of members who have added nothing for a day, looking at so many members at most.

        Looks at all once a day. Returns whether there is no more to do until then.
        """
        hour = now // HOUR
        if not self._to_look_at and hour >= self._look_again:
            self._to_look_at = self._windows.keys()
            self._look_again = hour + WINDOW_HOURS
        for _ in range(min(most, len(self._to_look_at))):
            member = self._to_look_at.pop()
            last, _, _ = HEAD.unpack_from(self._windows.get(member) or bytes(HEAD.size))
            if last + WINDOW_HOURS <= hour:
                self._windows.remove(member)
                self._recent.pop(member, None)
        return not self._to_look_at

    def _read(self, member: bytes, hour: int) -> bytearray:
        """A member's window as it is stored; kept at hand for his next call."""
        stored = self._windows.get(member)
        if stored is None:
            window = bytearray(HEAD.size + WINDOW_HOURS * BUCKET.size)
            HEAD.pack_into(window, 0, hour, 0, 0)
        else:
            window = bytearray(stored)
        if len(self._recent) >= RECENT_MEMBERS:
            self._recent.clear()
        self._recent[member] = window
        return window

    @staticmethod
    def _free_after(window: bytearray, over_messages: int, over_bytes: int, now: int) -> int:
        (hour, _, _) = HEAD.unpack_from(window)
        for ago in range(WINDOW_HOURS - 1, -1, -1):
            messages, size = BUCKET.unpack_from(window, bucket_at(hour - ago))
            over_messages -= messages
            over_bytes -= size
            if over_messages <= 0 and over_bytes <= 0:
                return (hour - ago + WINDOW_HOURS) * HOUR - now
        return WINDOW_HOURS * HOUR


def bucket_at(hour: int) -> int:
    """Where an hour's numbers lie in a member's record."""
    return HEAD.size + hour % WINDOW_HOURS * BUCKET.size
