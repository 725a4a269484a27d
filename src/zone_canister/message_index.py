"""The index over stored messages: which of them has a hash, a key, a place in its key's order.

Lives in the heap (`message_tables`, `message_links`, `message_samples`) and can be made again from the pages. `save`
leaves it in a stable map as a hint with the last id it covers; messages after that, all of them without a hint, are
indexed again page by page. Not for reading pages: the caller hands records in.

    hint map  0 -> u8 version, 2 | u32 last id covered | u32 id below which the hint holds no links
"""

import hashlib
import struct

from kybra import StableBTreeMap, blob, nat32

from zone_canister.message_links import Links
from zone_canister.message_pages import HASH_MARK, IDS, KEY_MARK, U32
from zone_canister.message_samples import Samples
from zone_canister.message_tables import Table

HASHES = 1
PAIRS = 2
KEYS = 3
LINKS = 4
SAMPLES = 5
HASH_TAG_BYTES = 6  # whoever finds an id checks its message
KEY_TAG_BYTES = 10  # 96 bits of a SHA-256 with the shard: taken for the key
PLACES = 16_384  # keys remembered with what was derived from them
HINT_KEY = 0
HINT_VERSION = 2
HINT = struct.Struct("<BII")
DROPPED_IDS = 32_768  # in a call that evicts; what is left of more goes in the background


class MessageIndex:
    """Looks ids up by hash and key. It covers the ids up to `covered`."""

    def __init__(self, hints: StableBTreeMap[nat32, blob], first_id: int, last_id: int):
        self._hints = hints
        self.hashes = Table(HASHES, HASH_TAG_BYTES, hints)
        self.pairs = Table(PAIRS, HASH_TAG_BYTES, hints)
        self.keys = Table(KEYS, KEY_TAG_BYTES, hints)
        self.links = Links(LINKS, hints)
        self.samples = Samples(SAMPLES, hints)
        self._places: dict[bytes, tuple[int, bytes, bytes]] = {}
        stored = hints.get(HINT_KEY) or b""
        version, covered, dropped = HINT.unpack(stored) if len(stored) == HINT.size else (0, 0, 0)
        hinted = version == HINT_VERSION and covered <= last_id
        self._dropped_below = dropped if hinted else first_id
        for table in (self.hashes, self.pairs, self.keys):
            table.start(hinted, first_id)
        self.links.start(hinted)
        self.samples.start(hinted)
        self.covered = max(covered if hinted else 0, first_id - 1)

    def save(self) -> None:
        """Leaves the index as a hint for the next start."""
        for table in (self.hashes, self.pairs, self.keys):
            table.save()
        self.links.save()
        self.samples.save()
        self._hints.insert(HINT_KEY, HINT.pack(HINT_VERSION, self.covered, self._dropped_below))

    def moved_first(self, first_id: int) -> None:
        """Ids below `first_id` are gone."""
        for table in (self.hashes, self.pairs, self.keys):
            table.first_id = first_id
        self.covered = max(self.covered, first_id - 1)
        self.drop_more(DROPPED_IDS)

    def drop_more(self, most: int) -> bool:
        """Forgets the links of so many ids that are gone. Returns whether those were all."""
        first_id, former = self.hashes.first_id, self._dropped_below
        self._dropped_below = min(first_id, former + most)
        self.links.drop_below(former, self._dropped_below)
        return self._dropped_below == first_id

    def oldest_of_key(self, key_id: bytes, low: int) -> int:
        """The oldest id of a key from `low` on, 0 for none; all ids from there on are stored."""
        message_id = self.last_of_key(key_id)
        if message_id < low:
            return 0
        message_id = self.samples.first_from(key_id, low) or message_id
        return self.links.first_from(message_id, low)

    def last_of_key(self, key_id: bytes) -> int:
        """The newest id of a key, 0 for none."""
        shard, tag, _ = self.place(key_id)
        return self.keys.locate(shard, tag)[0]

    def place(self, key_id: bytes) -> tuple[int, bytes, bytes]:
        """A key's shard and tag in the tables, and its encoding in a record; remembered for the next time."""
        place = self._places.get(key_id)
        if place is None:
            shard, tag = self.keys.split(hashlib.sha256(key_id).digest())
            if len(self._places) >= PLACES:
                self._places.clear()
            place = self._places[key_id] = shard, tag, KEY_MARK + key_id + HASH_MARK
        return place

    def set_last(self, heads: list[list]) -> None:
        """Makes ids the newest of their keys; a head is the id, a shard, a tag and where `locate` found the entry."""
        shards, put, fresh = self.keys.shards, U32.pack_into, []
        for head in heads:
            message_id, shard, _, at = head
            if at >= 0:
                put(shards[shard], at, message_id)
            else:
                fresh.append(head)
        for message_id, shard, tag, _ in fresh:
            self.keys.add(shard, tag, message_id)

    def with_hash(self, digest: bytes) -> list[int]:
        """Ids of messages that may have this hash: the newest of those that have it is among them."""
        return self.hashes.find(*self.hashes.split(digest))

    def with_pair(self, digest: bytes, key_id: bytes) -> list[int]:
        """Ids of messages that may have this hash and key, where the hash is stored under several keys."""
        return self.pairs.find(*self.pairs.split(pair_digest(digest, key_id)))

    def put(self, message_id: int, key_id: bytes, digest: bytes, former: tuple[int, bytes]) -> None:
        """Makes a message findable by hash.

        `former` is the newest earlier message with the same hash as (id, key_id), (0, b"") for none. Pairs of hash and
        key are told apart only where a hash is stored under more than one key.
        """
        former_id, former_key = former
        shard, tag = self.hashes.split(digest)
        self.hashes.put(shard, tag, message_id, former_id)
        if former_id:
            if former_id not in self.with_pair(digest, former_key):
                self._put_pair(digest, former_key, former_id)
            self._put_pair(digest, key_id, message_id)

    def _put_pair(self, digest: bytes, key_id: bytes, message_id: int) -> None:
        shard, tag = self.pairs.split(pair_digest(digest, key_id))
        self.pairs.add(shard, tag, message_id)

    def put_again(self, record: bytes, former: tuple[int, bytes]) -> None:
        """Indexes a stored record, the next after those covered; `former` as in `put`."""
        message_id, previous = IDS.unpack_from(record)
        key_id = record[-82:-41]
        self.put(message_id, key_id, record[-40:-8], former)
        shard, tag, _ = self.place(key_id)
        self.set_last([[message_id, shard, tag, self.keys.locate(shard, tag)[1]]])
        self.links.add(message_id, [previous], [0])
        if previous >= self.hashes.first_id:
            self.links.link(previous, message_id)
        self.covered = message_id


def pair_digest(digest: bytes, key_id: bytes) -> bytes:
    """What stands for a (ciphertext, key) pair in the tables."""
    return hashlib.sha256(digest + key_id).digest()
