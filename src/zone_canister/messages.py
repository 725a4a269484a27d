"""The message store: encrypted messages in the order they came, indexed by id, by key and by hash.

Pure: it works on four maps and a settings map that the caller hands in, and takes time and sender as arguments. It
knows nothing of membership. Nothing here deletes; ids start at 1, are consecutive and are never reused.

Layouts (integers little-endian unless said otherwise):

    settings "messages"      u32 last id | u64 end of the payload log
    index    nat32 id     -> u32 timestamp (s) | u32 number within its key, from 0 | u32 previous id of the key, or 0
                             | u64 payload offset | u32 payload length | 32 hash | 41 key_id | u8 length, sender
    pages    nat32 page   -> up to 4096 bytes of the payload log; offset = page * 4096
    lookup   32 hash             -> u32 newest id with this hash
             32 hash + 41 key_id -> u32 id, written only once a hash is stored under a second key
    postings 41 key_id                      -> u32 first id | u32 last id | u32 messages of this key
             41 key_id + u32 chunk (big-e.) -> u32 ids, 128 a chunk
"""

from __future__ import annotations

import hashlib
import struct

from kybra import StableBTreeMap, blob, nat32, text

from zone_canister.candid_types import Message

KEY_ID_BYTES = 41
PAGE_BYTES = 4096
CHUNK_IDS = 128
MAX_MESSAGE_ID = 2**32 - 1
MAX_BATCH = 10_000
REPLY_BYTES = 1_850_000  # under the platform's 2 MB for a reply, with room for Candid framing
MESSAGE_OVERHEAD_BYTES = 128  # framing and fixed fields of one message in a reply
INDEX_BYTES = 128  # one index record with a full sender, and its lookup and posting entries, as counted by `usage`

HEAD = struct.Struct("<IQ")
RECORD = struct.Struct("<IIIQI32s41sB")
KEY_HEAD = struct.Struct("<III")
ID = struct.Struct("<I")
HEAD_KEY = "messages"


class MessageStore:
    """All messages of a zone over its stable maps. Methods that add take effect wholly or not at all."""

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

    def add(self, messages: list[tuple[bytes, bytes]], sender: bytes, now: int) -> list[int]:
        """Stores (key_id, ciphertext) pairs and returns their ids in order; the same pair again has the same id.

        `now` is in seconds. The caller has checked the pairs with `fault`.
        """
        last_id, end = self._head()
        batch = Batch(self, last_id, end)
        ids = [batch.add(key_id, ciphertext, sender, now) for key_id, ciphertext in messages]
        if batch.last_id > last_id:
            batch.write(end)
        return ids

    def fault(self, messages: list[tuple[bytes, bytes]], single: bool) -> str:
        """What is wrong with the first bad pair, or "". A batch's error says which item."""
        if len(messages) > MAX_BATCH:
            return f"too many messages: {len(messages)}, at most {MAX_BATCH} in one call"
        if self.max_id() + len(messages) > MAX_MESSAGE_ID:
            return f"no message ids left: the last is {self.max_id()} of {MAX_MESSAGE_ID}"
        for position, (key_id, _) in enumerate(messages):
            if len(key_id) != KEY_ID_BYTES:
                if single:
                    return f"key_id must be {KEY_ID_BYTES} bytes"
                return f"item {position}: key_id must be {KEY_ID_BYTES} bytes, got {len(key_id)}"
        return ""

    def max_id(self) -> int:
        """The last id given out, 0 when there is none."""
        return self._head()[0]

    def min_id(self) -> int:
        """The first id stored, 0 when there is none."""
        return 1 if self.max_id() else 0

    def count(self) -> int:
        """How many messages are stored."""
        return self.max_id()

    def usage(self) -> int:
        """Bytes taken: whole payload pages and 128 bytes of index a message."""
        last_id, end = self._head()
        return -(-end // PAGE_BYTES) * PAGE_BYTES + last_id * INDEX_BYTES

    def first_id_of_key(self, key_id: bytes) -> int | None:
        """The first id stored under a key, None for an unknown key."""
        head = self._postings.get(key_id) if len(key_id) == KEY_ID_BYTES else None
        return None if head is None else KEY_HEAD.unpack(head)[0]

    def last_id_of_key(self, key_id: bytes) -> int | None:
        """The last id stored under a key, None for an unknown key."""
        head = self._postings.get(key_id) if len(key_id) == KEY_ID_BYTES else None
        return None if head is None else KEY_HEAD.unpack(head)[1]

    def by_id(self, message_id: int) -> Message | None:
        """The message as its Candid record, None when there is none."""
        return Reader(self).message(message_id)

    def by_hash(self, message_hash: bytes) -> Message | None:
        """The newest message with this SHA-256 of its ciphertext, None when there is none."""
        if len(message_hash) != 32:
            return None
        found = self._lookup.get(message_hash)
        return None if found is None else self.by_id(ID.unpack(found)[0])

    def by_range(self, min_id: int, max_id: int) -> list[Message]:
        """Messages from min_id to max_id, both included and clamped, oldest first, as many as a reply holds."""
        reader = Reader(self)
        first = max(min_id, 1)
        return reader.fill(range(first, min(max_id, self.max_id()) + 1))

    def by_range_for_key(self, key_id: bytes, min_id: int, max_id: int) -> list[Message]:
        """Messages of one key with ids from min_id to max_id, both included, newest first, as many as a reply holds."""
        if len(key_id) != KEY_ID_BYTES:
            return []
        head = self._postings.get(key_id)
        if head is None:
            return []
        count = KEY_HEAD.unpack(head)[2]
        reader = Reader(self)
        stop = reader.first_position(key_id, count, max_id + 1)
        start = reader.first_position(key_id, count, min_id)
        return reader.fill(range(stop - 1, start - 1, -1), key_id)

    def _head(self) -> tuple[int, int]:
        stored = self._settings.get(HEAD_KEY)
        if stored is None:
            return 0, 0
        last_id, end = HEAD.unpack(stored)
        return last_id, end


class Batch:
    """What one call adds, gathered in the heap so that each page, posting chunk and key head is written once."""

    def __init__(self, store: MessageStore, last_id: int, end: int):
        self.last_id = last_id
        self._store = store
        self._end = end
        self._payload = bytearray()
        self._records: dict[int, bytes] = {}
        self._lookups: dict[bytes, int] = {}
        self._heads: dict[bytes, tuple[int, int, int]] = {}
        self._chunks: dict[bytes, bytes] = {}

    def add(self, key_id: bytes, ciphertext: bytes, sender: bytes, now: int) -> int:
        """The id of the pair: the stored one, or the next."""
        digest = hashlib.sha256(ciphertext).digest()
        known = self._find(digest, key_id)
        if known:
            return known
        self.last_id += 1
        message_id = self.last_id
        first, last, count = self._heads.get(key_id) or self._stored_head(key_id)
        self._records[message_id] = (
            RECORD.pack(now, count, last, self._end, len(ciphertext), digest, key_id, len(sender)) + sender
        )
        self._payload += ciphertext
        self._end += len(ciphertext)
        self._post(key_id, count, message_id)
        self._heads[key_id] = (first or message_id, message_id, count + 1)
        self._lookups[digest] = message_id
        return message_id

    def write(self, start: int) -> None:
        """Writes everything gathered; `start` is where the payload log ended before."""
        store = self._store
        write_payload(store._pages, start, self._payload)
        for message_id, record in self._records.items():
            store._index.insert(message_id, record)
        for key, message_id in self._lookups.items():
            store._lookup.insert(key, ID.pack(message_id))
        for key, ids in self._chunks.items():
            store._postings.insert(key, ids)
        for key_id, head in self._heads.items():
            store._postings.insert(key_id, KEY_HEAD.pack(*head))
        store._settings.insert(HEAD_KEY, HEAD.pack(self.last_id, self._end))

    def _find(self, digest: bytes, key_id: bytes) -> int:
        """The id stored for this hash under this key, 0 for none; prepares the lookup for a second key."""
        newest = self._looked_up(digest)
        if newest == 0:
            return 0
        record = self._records.get(newest) or self._store._index.get(newest) or b""
        newest_key = RECORD.unpack_from(record)[6]
        if newest_key == key_id:
            return newest
        found = self._looked_up(digest + key_id)
        if found == 0:
            self._lookups[digest + newest_key] = newest
            self._lookups[digest + key_id] = self.last_id + 1
        return found

    def _looked_up(self, key: bytes) -> int:
        if key in self._lookups:
            return self._lookups[key]
        stored = self._store._lookup.get(key)
        return 0 if stored is None else ID.unpack(stored)[0]

    def _stored_head(self, key_id: bytes) -> tuple[int, int, int]:
        stored = self._store._postings.get(key_id)
        if stored is None:
            return 0, 0, 0
        first, last, count = KEY_HEAD.unpack(stored)
        return first, last, count

    def _post(self, key_id: bytes, position: int, message_id: int) -> None:
        key = chunk_key(key_id, position // CHUNK_IDS)
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = b"" if position % CHUNK_IDS == 0 else self._store._postings.get(key) or b""
        self._chunks[key] = chunk + ID.pack(message_id)


class Reader:
    """Reads of one call, with the last page and the posting chunks it touched kept at hand."""

    def __init__(self, store: MessageStore):
        self._store = store
        self._page_number = -1
        self._page = b""
        self._chunks: dict[bytes, bytes] = {}
        self._heads: dict[bytes, int] = {}

    def fill(self, numbers: range, key_id: bytes | None = None) -> list[Message]:
        """Messages in this order until a reply is full, at least one when there is one.

        The numbers are ids, or positions within a key's messages when a key is given.
        """
        messages: list[Message] = []
        size = 0
        for number in numbers:
            message = self.message(number if key_id is None else self.posting(key_id, number))
            if message is None:
                break
            size += len(message["ciphertext"]) + MESSAGE_OVERHEAD_BYTES
            if messages and size > REPLY_BYTES:
                break
            messages.append(message)
        return messages

    def message(self, message_id: int) -> Message | None:
        """One message as its Candid record, None when there is none."""
        record = self._store._index.get(message_id) if 0 < message_id <= MAX_MESSAGE_ID else None
        if record is None:
            return None
        timestamp, position, previous, offset, length, digest, key_id, _ = RECORD.unpack_from(record)
        return {
            "id": message_id,
            "timestamp": timestamp,
            "key_id": key_id,
            "next_msg_id": self.posting(key_id, position + 1) if position + 1 < self._count(key_id) else 0,
            "prev_msg_id": previous,
            "hash": digest,
            "ciphertext": self._payload(offset, length),
        }

    def posting(self, key_id: bytes, position: int) -> int:
        """The id at a position within a key's messages; the position must exist."""
        key = chunk_key(key_id, position // CHUNK_IDS)
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = self._store._postings.get(key) or b""
            self._chunks[key] = chunk
        return ID.unpack_from(chunk, position % CHUNK_IDS * ID.size)[0]

    def first_position(self, key_id: bytes, count: int, message_id: int) -> int:
        """How many of a key's `count` messages have an id below message_id."""
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if self.posting(key_id, middle) < message_id:
                low = middle + 1
            else:
                high = middle
        return low

    def _count(self, key_id: bytes) -> int:
        if key_id not in self._heads:
            self._heads[key_id] = KEY_HEAD.unpack(self._store._postings.get(key_id) or b"")[2]
        return self._heads[key_id]

    def _payload(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            number, start = divmod(offset, PAGE_BYTES)
            if number != self._page_number:
                self._page = self._store._pages.get(number) or b""
                self._page_number = number
            part = self._page[start : start + length]
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)


def write_payload(pages: StableBTreeMap[nat32, blob], start: int, payload: bytearray) -> None:
    """Appends to the payload log at byte `start`, page by page; only the first page is read back."""
    number, filled = divmod(start, PAGE_BYTES)
    data = bytes(payload)
    if filled:
        data = (pages.get(number) or b"") + data
    for position in range(0, len(data), PAGE_BYTES):
        pages.insert(number, data[position : position + PAGE_BYTES])
        number += 1


def chunk_key(key_id: bytes, chunk: int) -> bytes:
    """The postings key of one chunk of a key's ids."""
    return key_id + chunk.to_bytes(4, "big")
