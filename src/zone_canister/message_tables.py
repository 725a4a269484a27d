"""Packed tables in the heap: from hashes to message ids, and from keys to the newest message of each.

The heap's half of the message index. Not for messages: entries with ids below `first_id` may linger and mean nothing.
A table is split into 65 536 shards by the first two bytes of a digest; a shard is a bytearray of entries, each some
further bytes of the digest and a u32 id. A million messages make shards of some 15 entries, which a search over their
bytes runs through faster than Python looks into one slot.

Kept over upgrades as a hint (`message_hints`), read back in groups of 32 shards when one of them is needed first. A
group is for each of its shards

    u32 length | entries
"""

import struct

from kybra import StableBTreeMap, blob, nat32

from zone_canister.message_hints import HintGroups
from zone_canister.message_pages import U32

SHARDS = 1 << 16
GROUP_BITS = 5
GROUP_SHARDS = 1 << GROUP_BITS
GROUPS = SHARDS >> GROUP_BITS
SWEPT_ENTRIES = 16


class Table:
    """From digests to ids, by `tag_bytes` of the digest beside its first two."""

    def __init__(self, kind: int, tag_bytes: int, hints: StableBTreeMap[nat32, blob]):
        self._tag_bytes = tag_bytes
        self._width = tag_bytes + U32.size
        self._many = SWEPT_ENTRIES * self._width
        self._groups = HintGroups(kind, GROUPS, hints)
        self._entry = struct.Struct(f"<{tag_bytes}sI").pack
        self.split = struct.Struct(f"<H{tag_bytes}s").unpack_from
        """The shard and the tag of a digest, as `find` and `add` take them."""
        self.start(False, 1)

    def start(self, hinted: bool, first_id: int) -> None:
        """Forgets everything; with `hinted`, shards are read from the hint when they are needed first."""
        self.shards: list = [None] * SHARDS
        self._hinted = hinted
        self.first_id = first_id

    def find(self, shard: int, tag: bytes) -> list[int]:
        """Ids that may have been added under a digest: others may have its tag."""
        entries = self.shards[shard]
        if entries is None:
            entries = self.load(shard)
        at = entries.find(tag)
        found = []
        while at >= 0:
            if at % self._width == 0:
                (message_id,) = U32.unpack_from(entries, at + self._tag_bytes)
                if message_id >= self.first_id:
                    found.append(message_id)
            at = entries.find(tag, at + 1)
        return found

    def id_at(self, entries: bytearray, place: int) -> int:
        """The id of the entry whose tag was found at a place of a shard, 0 where no entry begins there."""
        return U32.unpack_from(entries, place + self._tag_bytes)[0] if place % self._width == 0 else 0

    def locate(self, shard: int, tag: bytes) -> tuple[int, int]:
        """The id of a digest's only entry and where it lies, until something is added; (0, -1) for none."""
        entries = self.shards[shard]
        if entries is None:
            entries = self.load(shard)
        at = entries.find(tag)
        while at >= 0:
            if at % self._width == 0:
                at += self._tag_bytes
                (message_id,) = U32.unpack_from(entries, at)
                return (message_id, at) if message_id >= self.first_id else (0, at)
            at = entries.find(tag, at + 1)
        return 0, -1

    def add(self, shard: int, tag: bytes, message_id: int) -> None:
        """Adds an id under a digest.

        Entries of messages that are gone are dropped from the front, where the oldest are, and now and then from all.
        """
        entries = self.shards[shard]
        if entries is None:
            entries = self.load(shard)
        first_id = self.first_id
        if first_id > 1:
            unpack, tag_bytes = U32.unpack_from, self._tag_bytes
            while entries and unpack(entries, tag_bytes)[0] < first_id:
                del entries[: self._width]
            if len(entries) >= self._many:
                count = len(entries) // self._width
                # Powers of two: whoever fills one shard on purpose cannot make the sweeps dearer than his messages.
                if count & count - 1 == 0:
                    self._sweep(entries)
        entries += self._entry(tag, message_id)

    def put(self, shard: int, tag: bytes, message_id: int, former: int) -> None:
        """Puts an id in the place of a former id of the same digest (0: of none)."""
        if former:
            entries = self.shards[shard]
            sought = self._entry(tag, former)
            at = entries.find(sought)
            while at >= 0:
                if at % self._width == 0:
                    U32.pack_into(entries, at + self._tag_bytes, message_id)
                    return
                at = entries.find(sought, at + 1)
        self.add(shard, tag, message_id)

    def save(self) -> None:
        """Writes all shards to the hint, in place of the one there."""
        self._groups.save([self._group(group) for group in range(GROUPS)])

    def _group(self, group: int) -> bytes:
        """A group's bytes in the hint; none where all of its shards are empty."""
        first = group << GROUP_BITS
        shards = self.shards[first : first + GROUP_SHARDS]
        if not any(shards):
            # None of them was touched since the start, or they are all empty.
            return self._groups.read(group) if self._hinted and shards[0] is None else b""
        return b"".join([U32.pack(len(entries or b"")) + (entries or b"") for entries in shards])

    def load(self, shard: int) -> bytearray:
        """The entries of a shard that was not touched yet."""
        shards = self.shards
        group = shard >> GROUP_BITS
        data = self._groups.read(group) if self._hinted else b""
        if not data:
            shards[shard] = bytearray()
            return shards[shard]
        unpack, at = U32.unpack_from, 0
        for number in range(group << GROUP_BITS, (group + 1) << GROUP_BITS):
            end = at + 4 + unpack(data, at)[0]
            shards[number] = bytearray(data[at + 4 : end])
            at = end
        return shards[shard]

    def _sweep(self, entries: bytearray) -> None:
        """Drops the entries of a shard whose messages are gone."""
        tag_bytes, width, first_id = self._tag_bytes, self._width, self.first_id
        kept = [
            entries[at : at + width]
            for at in range(0, len(entries), width)
            if U32.unpack_from(entries, at + tag_bytes)[0] >= first_id
        ]
        entries[:] = b"".join(kept)
