"""Which message of the same key comes next and before: two u32 for each id, in the heap.

The next id of a record that was written before it was known is found here when the record leaves. Not for keys; kept
over upgrades as a hint, in blocks of 512 ids:

    hint map  kind << 24 | id >> 9 -> u32 next id of each of 512 ids | u32 previous id of each
"""

import struct

from kybra import StableBTreeMap, blob, nat32

from zone_canister.message_hints import KIND_SHIFT

BLOCK_BITS = 9
BLOCK_IDS = 1 << BLOCK_BITS
BLOCK_MASK = BLOCK_IDS - 1


class Links:
    """Next and previous ids within a key; 0 where there is none."""

    def __init__(self, kind: int, hints: StableBTreeMap[nat32, blob]):
        self._base = kind << KIND_SHIFT
        self._hints = hints
        self.start(False)

    def start(self, hinted: bool) -> None:
        """Forgets everything; with `hinted`, blocks are read from the hint when they are needed first."""
        self._blocks: dict = {}
        self._changed: dict = {}
        self._hinted = hinted

    def add(self, first_id: int, before: list[int], after: list[int]) -> None:
        """Notes consecutive messages from an id on: the previous and next id of each."""
        start = 0
        while start < len(before):
            message_id = first_id + start
            at = message_id & BLOCK_MASK
            count = min(BLOCK_IDS - at, len(before) - start)
            block = self._change(message_id)
            block[at : at + count] = packed(after[start : start + count])
            block[at + BLOCK_IDS : at + BLOCK_IDS + count] = packed(before[start : start + count])
            start += count

    def add_one(self, message_id: int, previous: int) -> None:
        """Notes a message, the last of its key, that comes after another one of it (0: after none)."""
        number = message_id >> BLOCK_BITS
        self._changed[number] = True
        block = self._blocks.get(number) or self._load(number)
        block[(message_id & BLOCK_MASK) + BLOCK_IDS] = previous
        if previous >> BLOCK_BITS == number:
            block[previous & BLOCK_MASK] = message_id
        elif previous:
            self.link(previous, message_id)

    def link(self, message_id: int, next_id: int) -> None:
        """Notes what comes after a message."""
        self._change(message_id)[message_id & BLOCK_MASK] = next_id

    def next(self, message_id: int) -> int:
        """The next message of the same key."""
        block = self._blocks.get(message_id >> BLOCK_BITS) or self._load(message_id >> BLOCK_BITS)
        return block[message_id & BLOCK_MASK]

    def following(self, first: int, last: int) -> list[int]:
        """The next messages of the keys of all messages from first to last."""
        number, at = first >> BLOCK_BITS, first & BLOCK_MASK
        block = self._blocks.get(number) or self._load(number)
        end = at + last + 1 - first
        found = block[at : min(end, BLOCK_IDS)].tolist()
        return found if end <= BLOCK_IDS else found + self.following(first + BLOCK_IDS - at, last)

    def previous(self, message_id: int) -> int:
        """The message of the same key before, though it may be gone."""
        block = self._blocks.get(message_id >> BLOCK_BITS) or self._load(message_id >> BLOCK_BITS)
        return block[(message_id & BLOCK_MASK) + BLOCK_IDS]

    def first_from(self, message_id: int, low: int) -> int:
        """The oldest message from `low` on of the key of a message that is not below."""
        blocks = self._blocks
        while True:
            block = blocks.get(message_id >> BLOCK_BITS) or self._load(message_id >> BLOCK_BITS)
            before = block[(message_id & BLOCK_MASK) + BLOCK_IDS]
            if before < low:
                return message_id
            message_id = before

    def drop_below(self, former_first: int, first_id: int) -> None:
        """Forgets the blocks from `former_first` on whose ids all lie below `first_id`."""
        for number in range(former_first >> BLOCK_BITS, first_id >> BLOCK_BITS):
            self._blocks.pop(number, None)
            self._changed.pop(number, None)
            if self._hinted:
                self._hints.remove(self._base + number)

    def save(self) -> None:
        """Writes the blocks that changed to the hint."""
        for number in self._changed:
            self._hints.insert(self._base + number, self._blocks[number].tobytes())

    def _change(self, message_id: int) -> memoryview:
        number = message_id >> BLOCK_BITS
        self._changed[number] = True
        return self._blocks.get(number) or self._load(number)

    def _load(self, number: int) -> memoryview:
        stored = self._hints.get(self._base + number) if self._hinted else None
        block = memoryview(bytearray(stored or bytes(8 * BLOCK_IDS))).cast("I")
        self._blocks[number] = block
        return block


def packed(ids: list[int]) -> memoryview:
    """Ids as u32, to be copied into a block."""
    return memoryview(struct.pack(f"<{len(ids)}I", *ids)).cast("I")
