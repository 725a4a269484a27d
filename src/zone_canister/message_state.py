"""What the message store knows about itself: where it begins and ends, its chain, its limits, what it evicted.

Records only, over the state map and the settings map. Not for what follows from them: that is in `messages`.

    state map  0  -> u8 version, 2 | u8 1 while the last page takes records | u32 last id given out
                     | u32 first id stored (last + 1 when there is none) | u32 first page | u32 next page
                     | 32 anchor: chain value before the first id | 32 head: chain value of the last id
                     | u64 messages evicted ever | u64 bytes evicted ever
                     | u64 since when there is something left to evict (s), 0 = nothing
    settings "message_limits" -> u64 bytes | u32 messages | u32 age in seconds; 0 = no limit
"""

import struct

from kybra import StableBTreeMap, blob, nat32, text

VERSION = 2
STATE_KEY = 0
LIMITS_KEY = "message_limits"
STATE = struct.Struct("<BBIIII32s32sQQQ")
LIMITS = struct.Struct("<QII")
FIRST_CHAIN = bytes(32)

MIB = 1 << 20
MIN_BYTES = MIB
MAX_BYTES = 4 << 30
DEFAULT_BYTES = 256 * MIB
MAX_COUNT = 2**32 - 1
MAX_AGE_SECONDS = 100 * 366 * 86_400


class StateError(Exception):
    """A stored state of another version."""


class State:
    """The state record as attributes; `save` writes it."""

    def __init__(self, states: StableBTreeMap[nat32, blob]):
        self._states = states
        stored = states.get(STATE_KEY)
        fields = (VERSION, 0, 0, 1, 0, 0, FIRST_CHAIN, FIRST_CHAIN, 0, 0, 0) if stored is None else STATE.unpack(stored)
        version, is_open, self.last_id, self.first_id, self.first_page, self.next_page = fields[:6]
        self.anchor, self.head, self.evicted, self.evicted_bytes, self.pending_since = fields[6:]
        if version != VERSION:
            raise StateError(f"the message store has version {version}: this code reads {VERSION}")
        self.is_open = is_open == 1

    @property
    def count(self) -> int:
        """Messages stored."""
        return self.last_id + 1 - self.first_id

    @property
    def pages(self) -> int:
        """Pages taken."""
        return self.next_page - self.first_page

    def save(self) -> None:
        """Writes the record."""
        self._states.insert(
            STATE_KEY,
            STATE.pack(
                VERSION,
                self.is_open,
                self.last_id,
                self.first_id,
                self.first_page,
                self.next_page,
                self.anchor,
                self.head,
                self.evicted,
                self.evicted_bytes,
                self.pending_since,
            ),
        )


class Limits:
    """How much the store may hold; 0 stands for no limit."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings
        stored = settings.get(LIMITS_KEY)
        self.max_bytes, self.max_messages, self.max_age_seconds = (
            (DEFAULT_BYTES, 0, 0) if stored is None else LIMITS.unpack(stored)
        )

    def change(self, max_bytes: int | None, max_messages: int | None, max_age_seconds: int | None) -> str:
        """Sets the limits that are given, all or none, and returns "", or says what is allowed."""
        if max_bytes is not None and not MIN_BYTES <= max_bytes <= MAX_BYTES:
            return f"max_bytes is {max_bytes}: it must be from {MIN_BYTES} to {MAX_BYTES}"
        if max_messages is not None and max_messages > MAX_COUNT:
            return f"max_messages is {max_messages}: it must be from 1 to {MAX_COUNT}, or 0 for no limit"
        if max_age_seconds is not None and max_age_seconds > MAX_AGE_SECONDS:
            return f"max_age_seconds is {max_age_seconds}: it must be from 1 to {MAX_AGE_SECONDS}, or 0 for no limit"
        if max_bytes is not None:
            self.max_bytes = max_bytes
        if max_messages is not None:
            self.max_messages = max_messages
        if max_age_seconds is not None:
            self.max_age_seconds = max_age_seconds
        self._settings.insert(LIMITS_KEY, LIMITS.pack(self.max_bytes, self.max_messages, self.max_age_seconds))
        return ""
