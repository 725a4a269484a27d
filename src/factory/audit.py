"""Two logs of the last 10 000 acts, newest first: of admins and controllers, and of everybody else.

Pure. Logs apart, because an owner can act as often as he likes: what admins did is not pushed out by it. An act is
written in the message in which it begins; what came of it, where it takes calls, is an act of its own. Times in ns,
principals in bytes. Texts are cut to what an entry holds.

    settings "audit", "owners' audit"  u64 number of the next entry
    audit, owner_acts
             u64 number -> u64 time | u8 length, caller | u8 length, subject (empty for none) | u8 length, action
                           | u16 length, details
"""

import struct

from kybra import StableBTreeMap, blob, nat64, text

from canister_kit.short_bytes import packed, unpacked

MAX_ENTRIES = 10_000
MAX_PAGE = 200
MAX_ACTION_BYTES = 64
MAX_DETAIL_BYTES = 480
NEXT = struct.Struct("<Q")
ADMINS_KEY = "audit"
OWNERS_KEY = "owners' audit"


class Act:
    """One entry of the log."""

    def __init__(self, number: int, time: int, caller: bytes, subject: bytes, action: str, details: str):
        self.number = number
        self.time = time
        self.caller = caller
        self.subject = subject
        self.action = action
        self.details = details


class AuditLog:
    """One log over its stable map."""

    def __init__(self, settings: StableBTreeMap[text, blob], acts: StableBTreeMap[nat64, blob], next_key: str):
        self._settings = settings
        self._acts = acts
        self._next_key = next_key

    def next_number(self) -> int:
        """The number that the next entry gets; numbers begin at 0."""
        stored = self._settings.get(self._next_key)
        return 0 if stored is None else NEXT.unpack(stored)[0]

    def record(self, now: int, caller: bytes, action: str, subject: bytes = b"", details: str = "") -> None:
        """Writes an act down; the oldest goes when the log is full."""
        number = self.next_number()
        action_bytes = action.encode()[:MAX_ACTION_BYTES]
        detail_bytes = cut(details.encode(), MAX_DETAIL_BYTES)
        entry = b"".join(
            [
                NEXT.pack(now),
                packed(caller, subject, action_bytes),
                len(detail_bytes).to_bytes(2, "little"),
                detail_bytes,
            ]
        )
        self._acts.insert(number, entry)
        self._settings.insert(self._next_key, NEXT.pack(number + 1))
        if number >= MAX_ENTRIES:
            self._acts.remove(number - MAX_ENTRIES)

    def page(self, before: int, most: int) -> list[Act]:
        """Acts with numbers below `before`, newest first, at most so many and at most 200."""
        newest = min(before, self.next_number())
        oldest = max(newest - min(most, MAX_PAGE), 0)
        found = []
        for number in range(newest - 1, oldest - 1, -1):
            stored = self._acts.get(number)
            if stored is not None:
                found.append(decode_act(number, stored))
        return found


def cut(text_bytes: bytes, most: int) -> bytes:
    """UTF-8 text cut to so many bytes, between characters."""
    if len(text_bytes) <= most:
        return text_bytes
    while most and text_bytes[most] & 0xC0 == 0x80:
        most -= 1
    return text_bytes[:most]


def decode_act(number: int, stored: bytes) -> Act:
    """The entry that `record` wrote."""
    (time,) = NEXT.unpack_from(stored)
    (caller, subject, action), at = unpacked(stored, NEXT.size, 3)
    return Act(number, time, caller, subject, action.decode(), stored[at + 2 :].decode())
