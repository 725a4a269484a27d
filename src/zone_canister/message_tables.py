"""Packed hash tables in the heap: from hashes to message ids, and from keys to the newest message of each.

The heap's half of the message index. Not for messages: ids below `first_id` may linger here and count as free. Tables
are split into 2 048 shards by a hash's low bits, so that one grows in a small step and can be read back alone from
the hint that an upgrade leaves:

    hint map   nat32 kind << 24  -> u32 end of each shard's bytes in the parts that follow, counted from 0
               kind << 24 | part -> parts from 1 on: 8 192 bytes of all shards in order, each u64 entries | u64 words
"""

import struct

from kybra import StableBTreeMap, blob, nat32

SHARDS = 2_048
SHARD_MASK = SHARDS - 1
SHARD_BITS = 11
LOW = 0xFFFFFFFF
HIGH = LOW << 32
FIRST_ENTRIES = 4
PART_BYTES = 8_192
KIND_SHIFT = 24
ENDS = struct.Struct(f"<{SHARDS}I")
BOUNDS = struct.Struct("<II")
COUNT = struct.Struct("<Q")


class Shards:
    """What the two kinds of table have in common: shards, and the hint they are read back from."""

    words = 1  # of an entry

    def __init__(self, kind: int, hints: StableBTreeMap[nat32, blob]):
        self._base = kind << KIND_SHIFT
        self._hints = hints
        self.start(False, 1)

    def start(self, hinted: bool, first_id: int) -> None:
        """Forgets everything; with `hinted`, shards are read from the hint when they are needed first."""
        self._tables: list = [None] * SHARDS
        self._counts = [0] * SHARDS
        self._ends = b""
        self._hinted = hinted
        self.first_id = first_id

    def save(self) -> None:
        """Writes all shards to the hint, in place of the one there."""
        parts: list[bytes] = []
        ends = []
        end = 0
        for shard in range(SHARDS):
            table = self._tables[shard] or (self._load(shard) if self._hinted else None)
            if table is not None and self._counts[shard]:
                parts.append(COUNT.pack(self._counts[shard]))
                parts.append(table.tobytes())
                end += COUNT.size + len(parts[-1])
            ends.append(end)
        data = b"".join(parts)
        former = part_count(self._hints.get(self._base))
        for number in range(part_count(ENDS.pack(*ends))):
            self._hints.insert(self._base + 1 + number, data[number * PART_BYTES : (number + 1) * PART_BYTES])
        for number in range(part_count(ENDS.pack(*ends)), former):
            self._hints.remove(self._base + 1 + number)
        self._hints.insert(self._base, ENDS.pack(*ends))

    def _load(self, shard: int) -> memoryview:
        """A shard's table, from the hint if it has one."""
        data = self._hint_of(shard) if self._hinted else b""
        if data:
            (self._counts[shard],) = COUNT.unpack_from(data)
            table = memoryview(bytearray(data[COUNT.size :])).cast("Q")
        else:
            table = free_words(FIRST_ENTRIES * self.words)
        self._tables[shard] = table
        return table

    def _hint_of(self, shard: int) -> bytes:
        if not self._ends:
            self._ends = self._hints.get(self._base) or bytes(ENDS.size)
        start, end = BOUNDS.unpack_from(bytes(4) + self._ends, 4 * shard)
        data = b""
        for part in range(start // PART_BYTES, -(-end // PART_BYTES)):
            data += self._hints.get(self._base + 1 + part) or b""
        return data[start % PART_BYTES :][: end - start]

    def _grow(self, shard: int) -> None:
        """Moves a shard's live entries to a table with room for as many again."""
        table = self._tables[shard]
        entries = [
            table[at : at + self.words].tolist()
            for at in range(0, len(table), self.words)
            if table[at + self.words - 1] & LOW >= self.first_id
        ]
        size = FIRST_ENTRIES
        while size < 2 * len(entries):
            size *= 2
        larger = free_words(size * self.words)
        for entry in entries:
            at = self._place(larger, entry[0])
            for offset, word in enumerate(entry):
                larger[at + offset] = word
        self._tables[shard] = larger
        self._counts[shard] = len(entries)

    def _place(self, table: memoryview, first: int) -> int:
        """A free place for an entry that begins with this word."""
        raise NotImplementedError


class HashTable(Shards):
    """From 64-bit hashes to ids. An entry is a word: the hash's high half and an id.

    Whoever finds an id checks its message: two hashes may have their high half and their shard in common.
    """

    def find(self, value: int) -> tuple[int, ...]:
        """Ids that may have been put under this hash."""
        table = self._tables[value & SHARD_MASK] or self._load(value & SHARD_MASK)
        mask = len(table) - 1
        mark = value >> 32
        at = mark & mask
        found: tuple[int, ...] = ()
        word = table[at]
        while word:
            if word >> 32 == mark and word & LOW >= self.first_id:
                found += (word & LOW,)
            at = at + 1 & mask
            word = table[at]
        return found

    def put(self, value: int, message_id: int, former: int = 0) -> None:
        """Puts an id under a hash, in the place of a former id found under it if there is one."""
        shard = value & SHARD_MASK
        table = self._tables[shard] or self._load(shard)
        mask = len(table) - 1
        at = value >> 32 & mask
        sought = value & HIGH | former if former else 0
        word = table[at]
        while word and word != sought:
            at = at + 1 & mask
            word = table[at]
        table[at] = value & HIGH | message_id
        if not word:
            self._counts[shard] += 1
            if self._counts[shard] * 4 > len(table) * 3:
                self._grow(shard)

    def _place(self, table: memoryview, first: int) -> int:
        mask = len(table) - 1
        at = first >> 32 & mask
        while table[at]:
            at = at + 1 & mask
        return at


class KeyTable(Shards):
    """From keys, by 96 bits of their digests, to the newest id of each: two words an entry."""

    words = 2

    def last(self, tag: int, rest: int) -> int:
        """The newest id put for a key, 0 for none; `tag` has 64 bits of its digest, `rest` 32."""
        table = self._tables[tag & SHARD_MASK] or self._load(tag & SHARD_MASK)
        last = table[self._find(table, tag, rest) + 1] & LOW
        return last if last >= self.first_id else 0

    def put(self, tag: int, rest: int, message_id: int) -> None:
        """Makes an id the newest of a key."""
        shard = tag & SHARD_MASK
        table = self._tables[shard] or self._load(shard)
        at = self._find(table, tag, rest)
        is_new = not table[at + 1]
        table[at] = tag
        table[at + 1] = rest << 32 | message_id
        if is_new:
            self._counts[shard] += 1
            if self._counts[shard] * 8 > len(table) * 3:
                self._grow(shard)

    @staticmethod
    def _find(table: memoryview, tag: int, rest: int) -> int:
        mask = len(table) - 1
        at = tag >> SHARD_BITS << 1 & mask
        while table[at + 1]:
            if table[at] == tag and table[at + 1] >> 32 == rest:
                break
            at = at + 2 & mask
        return at

    def _place(self, table: memoryview, first: int) -> int:
        mask = len(table) - 1
        at = first >> SHARD_BITS << 1 & mask
        while table[at + 1]:
            at = at + 2 & mask
        return at


def free_words(number: int) -> memoryview:
    """A table of free words."""
    return memoryview(bytearray(8 * number)).cast("Q")


def part_count(ends: bytes | None) -> int:
    """How many parts the shards fill whose ends these are."""
    return 0 if ends is None else -(-ENDS.unpack(ends)[-1] // PART_BYTES)
