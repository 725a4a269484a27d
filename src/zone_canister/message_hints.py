"""Parts of the message index in the hints map, which an upgrade leaves for the next version to read when it needs them.

Not for what they hold: `message_tables`, `message_samples`. Each kind of part has keys of its own in the map.

    hint map  nat32 kind << 24  -> u32 end of each group's bytes in the parts that follow, counted from 0
              kind << 24 | part -> parts from 1 on: 8 192 bytes of all groups in order
"""

import struct

from kybra import StableBTreeMap, blob, nat32

from zone_canister.message_pages import U32

PART_BYTES = 8_192
KIND_SHIFT = 24
BOUNDS = struct.Struct("<II")


class HintGroups:
    """A number of groups of bytes, written all at once and read one by one."""

    def __init__(self, kind: int, groups: int, hints: StableBTreeMap[nat32, blob]):
        self._base = kind << KIND_SHIFT
        self._count = groups
        self._hints = hints
        self._ends = b""

    def read(self, group: int) -> bytes:
        """A group as it was saved last, no bytes when there is none."""
        if not self._ends:
            self._ends = self._hints.get(self._base) or bytes(U32.size * self._count)
        start, end = (
            BOUNDS.unpack_from(self._ends, U32.size * (group - 1)) if group else (0, *U32.unpack_from(self._ends))
        )
        data = b""
        for part in range(start // PART_BYTES, -(-end // PART_BYTES)):
            data += self._hints.get(self._base + 1 + part) or b""
        return data[start % PART_BYTES :][: end - start]

    def save(self, groups: list[bytes]) -> None:
        """Writes all groups in place of those there."""
        ends = []
        end = 0
        for group in groups:
            end += len(group)
            ends.append(end)
        data = b"".join(groups)
        former, now = part_count(self._hints.get(self._base)), -(-len(data) // PART_BYTES)
        for number in range(now):
            self._hints.insert(self._base + 1 + number, data[number * PART_BYTES : (number + 1) * PART_BYTES])
        for number in range(now, former):
            self._hints.remove(self._base + 1 + number)
        self._ends = struct.pack(f"<{self._count}I", *ends)
        self._hints.insert(self._base, self._ends)


def part_count(ends: bytes | None) -> int:
    """How many parts the groups fill whose ends these are."""
    return 0 if ends is None else -(-U32.unpack_from(ends, len(ends) - U32.size)[0] // PART_BYTES)
