"""Messages of the first layout, moved to the pages of today in the background, step by step, with their ids.

Only for canisters that were installed with version 1000's first store: one index record a message and a log of
payloads. Not for new messages: none are taken until all old ones have been moved.

    settings "messages"  u32 last id | u64 end of the payload log; absent once everything has been moved
    index    nat32 id     -> u32 timestamp (s) | u32 number within its key | u32 previous id of the key
                             | u64 payload offset | u32 payload length | 32 hash | 41 key_id | u8 length, sender
    pages    nat32 page   -> up to 4096 bytes of the payload log; offset = page * 4096
    lookup   32 hash | 32 hash + 41 key_id -> u32 id
    postings 41 key_id | 41 key_id + u32 chunk (big-endian) -> numbers of a key's messages, 128 a chunk
"""

import struct

from kybra import StableBTreeMap, blob, nat32, text

from zone_canister.messages import MessageStore

HEAD_KEY = "messages"
HEAD = struct.Struct("<IQ")
RECORD = struct.Struct("<IIIQI32s41sB")
PAGE_BYTES = 4_096
CHUNK_IDS = 128


class FirstLayout:
    """What is left of the first layout over its maps."""

    def __init__(
        self,
        settings: StableBTreeMap[text, blob],
        index: StableBTreeMap[nat32, blob],
        pages: StableBTreeMap[nat32, blob],
        lookup: StableBTreeMap[blob, blob],
        postings: StableBTreeMap[blob, blob],
    ):
        self._settings = settings
        self._index = index
        self._pages = pages
        self._lookup = lookup
        self._postings = postings
        self.is_pending = settings.get(HEAD_KEY) is not None

    def move(self, store: MessageStore, most: int) -> bool:
        """Moves up to so many messages, oldest first. Returns whether that was all."""
        stored = self._settings.get(HEAD_KEY)
        if stored is None:
            return True
        last_id, end = HEAD.unpack(stored)
        next_id = store.state.last_id + 1
        for message_id in range(next_id, min(next_id + most, last_id + 1)):
            self._move_one(store, message_id)
        if store.state.last_id < last_id:
            return False
        self._pages.remove(end // PAGE_BYTES)
        self._settings.remove(HEAD_KEY)
        self.is_pending = False
        return True

    def _move_one(self, store: MessageStore, message_id: int) -> None:
        record = self._index.get(message_id) or b""
        time, number, _, offset, length, digest, key_id, sender_bytes = RECORD.unpack_from(record)
        sender = record[RECORD.size : RECORD.size + sender_bytes]
        store.add(store.prepare([(key_id, self._payload(offset, length))]), sender, time)
        self._index.remove(message_id)
        self._lookup.remove(digest)
        self._lookup.remove(digest + key_id)
        self._postings.remove(key_id)
        self._postings.remove(key_id + (number // CHUNK_IDS).to_bytes(4, "big"))
        for page in range(offset // PAGE_BYTES, (offset + length) // PAGE_BYTES):
            self._pages.remove(page)

    def _payload(self, offset: int, length: int) -> bytes:
        number, start = divmod(offset, PAGE_BYTES)
        data = b""
        while len(data) < start + length:
            data += self._pages.get(number) or b""
            number += 1
        return data[start : start + length]
