"""The index over stored messages: which of them has a hash, a key, a place in its key's order.

Lives in the heap (`message_tables`, `message_links`) and can be made again from the pages. `save` leaves it in a stable
map as a hint with the last id it covers; messages after that, all of them without a hint, are indexed again page by
page. Not for reading pages: the caller hands them in.

    hint map  0 -> u8 version, 1 | u32 last id covered
"""

import hashlib
import struct

from kybra import StableBTreeMap, blob, nat32

from zone_canister.message_links import Links
from zone_canister.message_pages import IDS
from zone_canister.message_tables import HashTable, KeyTable

HASHES = 1
PAIRS = 2
KEYS = 3
LINKS = 4
HINT_KEY = 0
HINT_VERSION = 1
HINT = struct.Struct("<BI")
TAG = struct.Struct("<QI")
WORD = struct.Struct("<Q")


class MessageIndex:
    """Looks ids up by hash and key. It covers the ids up to `covered`."""

    def __init__(self, hints: StableBTreeMap[nat32, blob], first_id: int, last_id: int):
        self._hints = hints
        self.hashes = HashTable(HASHES, hints)
        self.pairs = HashTable(PAIRS, hints)
        self.keys = KeyTable(KEYS, hints)
        self.links = Links(LINKS, hints)
        stored = hints.get(HINT_KEY)
        version, self.covered = (HINT_VERSION, 0) if stored is None else HINT.unpack(stored)
        hinted = stored is not None and version == HINT_VERSION and self.covered <= last_id
        if not hinted:
            self.covered = 0
        for table in (self.hashes, self.pairs, self.keys):
            table.start(hinted, first_id)
        self.links.start(hinted)
        self.covered = max(self.covered, first_id - 1)

    def save(self) -> None:
        """Leaves the index as a hint for the next start."""
        for table in (self.hashes, self.pairs, self.keys):
            table.save()
        self.links.save()
        self._hints.insert(HINT_KEY, HINT.pack(HINT_VERSION, self.covered))

    def moved_first(self, former_first: int, first_id: int) -> None:
        """Ids below `first_id` are gone."""
        for table in (self.hashes, self.pairs, self.keys):
            table.first_id = first_id
        self.links.drop_below(former_first, first_id)
        self.covered = max(self.covered, first_id - 1)

    def last_of_key(self, key_id: bytes) -> int:
        """The newest id of a key, 0 for none."""
        return self.keys.last(*key_tag(key_id))

    def put(self, message_id: int, key_id: bytes, digest: bytes, newest: tuple[int, bytes]) -> None:
        """Makes a message findable by hash.

        `newest` is the newest earlier message with the same hash as (id, key_id), (0, b"") for none. Pairs of hash and
        key are told apart only where a hash is stored under more than one key.
        """
        former, former_key = newest
        self.hashes.put(WORD.unpack_from(digest)[0], message_id, former)
        if former:
            word = pair_word(digest, former_key)
            if former not in self.pairs.find(word):
                self.pairs.put(word, former)
            self.pairs.put(pair_word(digest, key_id), message_id)

    def put_again(self, record: bytes, newest: tuple[int, bytes]) -> None:
        """Indexes a stored record, the next after those covered; `newest` as in `put`."""
        message_id, previous = IDS.unpack_from(record)
        key_id = record[-82:-41]
        self.put(message_id, key_id, record[-40:-8], newest)
        self.keys.put(*key_tag(key_id), message_id)
        self.links.add(message_id, previous)
        self.covered = message_id


def key_tag(key_id: bytes) -> tuple[int, int]:
    """96 bits that stand for a key in the tables."""
    return TAG.unpack_from(hashlib.sha256(key_id).digest())


def pair_word(digest: bytes, key_id: bytes) -> int:
    """The hash under which a (ciphertext, key) pair is found."""
    return WORD.unpack_from(hashlib.sha256(digest + key_id).digest())[0]
