"""Pages: how messages lie in stable memory, in the very bytes in which they leave in a reply.

Pure encoding. Not for which pages there are (`message_directory`) nor for what is stored when (`messages`).

A page holds whole records of consecutive ids, at most 6 144 bytes (integers little-endian):

    offset  size  field
    0       1     layout version, 2
    1       1     1 where a single record goes on in the following pages, else 0
    2       2     records
    4       4     first id
    8       32    chain value before the first group
    40      4     smallest previous id but 0 that a record names, or 2^32 - 1
    44      4     bytes of all records (of the whole record where it goes on)
    48            records
                  u16 end of each record, counted from offset 48 (absent where the record goes on)
                  u16 tails, and for each: u16 number of a record whose next id is not in it (absent where it goes on)
                  u16 groups, and for each: u16 records | u8 length | principal of their sender (length 255: the one
                  of the group before)

A record is the Candid encoding of a `Message`, its fields in the order of their hashes:

    u32 id | u32 previous id | LEB128 length, ciphertext | 0x29, 41 key_id | 0x20, 32 hash | u32 next id | u32 timestamp

A record that does not fit a page starts one of its own: the groups come first there (at offset 48), then the record's
first bytes. The following pages are its other bytes and nothing else.

A group is what one call added to one page. With each the digest chain goes on: the next value is the SHA-256 of

    32 chain value before | u32 first id | u32 timestamp | u8 length, sender
    | for each record 0x29, 41 key_id | 0x20, 32 hash
"""

import struct
from hashlib import sha256

LAYOUT = 2
PAGE_BYTES = 6_144
NO_PREVIOUS = 2**32 - 1
KEY_ID_BYTES = 41
HASH_BYTES = 32
FIXED_TAIL_BYTES = 83  # key_id, hash, next id and timestamp, with the lengths of the blobs
RECORD_FIXED_BYTES = 8 + FIXED_TAIL_BYTES  # all but the ciphertext and its length
RECORD_OVERHEAD = 4 + RECORD_FIXED_BYTES  # with the longest length of a ciphertext that fits a call
RECORD_MARKS_BYTES = 4  # a record's end and, at worst, its place among the tails
GROUP_BYTES = 3 + 29
LENGTHS = [bytes([length]) for length in range(30)]  # of principals
SAME_SENDER = 255

HEADER = struct.Struct("<BBHI32sII")
HEADER_BYTES = HEADER.size
PLACES = struct.Struct("<BBxxI36xI")  # of the header: layout, whether it goes on, first id, bytes of all records
IDS = struct.Struct("<II")
LENGTH = struct.Struct("<BB")
U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
BOUNDS = struct.Struct("<HH")
GROUP = struct.Struct("<HB")
TABLES_BYTES = U16.size
CAPACITY = PAGE_BYTES - HEADER.size - TABLES_BYTES
PAGE_ROOM = CAPACITY - GROUP_BYTES  # for the messages of one more call
MOST_RECORDS = CAPACITY // (RECORD_FIXED_BYTES + 1 + RECORD_MARKS_BYTES)
MARKS = [struct.Struct(f"<{2 + tails}H") for tails in range(MOST_RECORDS + 1)]  # tails, and the number of groups
KEY_MARK = bytes([KEY_ID_BYTES])
HASH_MARK = bytes([HASH_BYTES])


KEY_STARTS = FIXED_TAIL_BYTES - 1 - HEADER.size
"""How far before the end of a record, counted from the first one's start, its key begins in the page."""
KEY_ENDS = KEY_STARTS - KEY_ID_BYTES


class PageError(Exception):
    """Stored bytes that are no page of this layout."""


def leb128(value: int) -> bytes:
    """An unsigned number as Candid writes lengths."""
    if value < 0x4000:
        return LENGTH.pack(value & 0x7F | 0x80, value >> 7) if value > 0x7F else bytes([value])
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def record_of(value: bytes, message_id: int) -> bytes:
    """The bytes of one record of a page, nothing if it goes on."""
    layout, spans, first_id, size = PLACES.unpack_from(value)
    if layout != LAYOUT:
        raise wrong_layout(layout)
    if spans:
        return b""
    return record_at(value, HEADER_BYTES + size, message_id - first_id)


def record_at(value: bytes, ends_at: int, position: int) -> bytes:
    """The bytes of the record at a position of a page, given where its records end."""
    at = ends_at + 2 * position
    start, end = BOUNDS.unpack_from(value, at - 2) if position else (0, *U16.unpack_from(value, at))
    return value[HEADER_BYTES + start : HEADER_BYTES + end]


def wrong_layout(layout: int) -> PageError:
    """What is to be raised for a page of another layout."""
    return PageError(f"a message page has the layout {layout}: this version reads {LAYOUT}")


class Page:
    """A page being read: its records as they leave, where each ends, who sent them."""

    def __init__(self, value: bytes):
        layout, spans, self.count, self.first_id, self.chain, self.smallest_previous, self.size = HEADER.unpack_from(
            value
        )
        if layout != LAYOUT:
            raise wrong_layout(layout)
        self.spans = spans == 1
        self._value = value
        self._ends_at = HEADER.size + self.size

    @property
    def last_id(self) -> int:
        """The id of the last record."""
        return self.first_id + self.count - 1

    def first_part(self) -> bytes:
        """What this page holds of a record that goes on."""
        _, at = self._read_groups(HEADER.size)
        return self._value[at:]

    def ends(self) -> tuple[int, ...]:
        """Where each record ends, counted from the first record's start."""
        return struct.unpack_from(f"<{self.count}H", self._value, self._ends_at)

    def end(self, position: int) -> int:
        """Where one record ends; 0 for the position before the first."""
        return U16.unpack_from(self._value, self._ends_at + 2 * position)[0] if position >= 0 else 0

    def record(self, position: int) -> bytes:
        """The bytes of one record."""
        return record_at(self._value, self._ends_at, position)

    def records(self, first: int, last: int) -> bytes:
        """The bytes of the records at positions `first` to `last`, both included."""
        return self._value[HEADER.size + self.end(first - 1) : HEADER.size + self.end(last)]

    def keys(self, first: int, step: int) -> list[bytes]:
        """The key of every so-manieth record, from a position on; not of a record that goes on."""
        value = self._value
        return [value[end - KEY_STARTS : end - KEY_ENDS] for end in self.ends()[first::step]]

    def groups(self) -> list[tuple[int, bytes]]:
        """How many records each group has, and who sent them."""
        if self.spans:
            return self._read_groups(HEADER.size)[0]
        at = self._ends_at + U16.size * self.count
        (tails,) = U16.unpack_from(self._value, at)
        return self._read_groups(at + U16.size * (tails + 1))[0]

    def senders(self) -> list[bytes]:
        """The sender of each record."""
        return [sender for count, sender in self.groups() for _ in range(count)]

    def tails(self) -> tuple[int, ...]:
        """Positions of the records that do not name the next message of their key."""
        at = self._ends_at + U16.size * self.count
        (count,) = U16.unpack_from(self._value, at)
        return struct.unpack_from(f"<{count}H", self._value, at + U16.size) if count else ()

    def _read_groups(self, at: int) -> tuple[list[tuple[int, bytes]], int]:
        (number,) = U16.unpack_from(self._value, at)
        at += U16.size
        groups = []
        sender = b""
        for _ in range(number):
            count, length = GROUP.unpack_from(self._value, at)
            at += GROUP.size
            if length != SAME_SENDER:
                sender = self._value[at : at + length]
                at += length
            groups.append((count, sender))
        return groups, at


class OpenPage:
    """The last page, which still takes records."""

    def __init__(self, number: int, first_id: int, chain: bytes):
        self.number = number
        self.first_id = first_id
        self.count = 0
        self.size = 0
        self.room = PAGE_ROOM
        """Bytes that are left for one more group's records and their marks."""
        self._chain = chain
        self._records = bytearray()
        self._ends = bytearray()
        self._groups = bytearray()
        self._group_count = 0
        self._sender = b""
        self._tails: list[int] = []
        self._smallest_previous = NO_PREVIOUS

    def add(self, parts: list[bytes], ends: list[int], before: list[int], after: list[int], sender: bytes) -> None:
        """Adds a group of records that fit: their bytes in any parts, their ends on this page, their neighbours."""
        count, added = self.count, len(ends)
        self._records += b"".join(parts)
        self._ends += b"".join(map(U16.pack, ends))
        position = count
        for next_id in after:
            if not next_id:
                self._tails.append(position)
            position += 1
        smallest = min(before)
        if not smallest:
            smallest = min([previous for previous in before if previous], default=NO_PREVIOUS)
        if smallest < self._smallest_previous:
            self._smallest_previous = smallest
        self.size = ends[-1]
        self._close_group(added, sender)

    def add_one(self, record: bytes, previous: int, sender: bytes) -> None:
        """The same for a record alone, the last of its key."""
        self.size += len(record)
        self._records += record
        self._ends += U16.pack(self.size)
        self._tails.append(self.count)
        if 0 < previous < self._smallest_previous:
            self._smallest_previous = previous
        self._close_group(1, sender)

    def _close_group(self, added: int, sender: bytes) -> None:
        count, groups = self.count, self._groups
        if count and sender == self._sender:
            groups += GROUP.pack(added, SAME_SENDER)
        else:
            groups += GROUP.pack(added, len(sender)) + sender
            self._sender = sender
        self._group_count += 1
        self.count = count = count + added
        self.room = PAGE_ROOM - self.size - RECORD_MARKS_BYTES * count - len(groups)

    def link(self, position: int, next_id: int) -> None:
        """Notes the next message of a record's key."""
        (end,) = U16.unpack_from(self._ends, U16.size * position)
        U32.pack_into(self._records, end - 8, next_id)
        self._tails.remove(position)

    def value(self) -> bytes:
        """The page's bytes."""
        tails = self._tails
        header = HEADER.pack(LAYOUT, 0, self.count, self.first_id, self._chain, self._smallest_previous, self.size)
        marks = MARKS[len(tails)].pack(len(tails), *tails, self._group_count)
        return b"".join((header, self._records, self._ends, marks, self._groups))

    @staticmethod
    def resumed(number: int, value: bytes) -> "OpenPage":
        """The open page again, from its stored bytes."""
        page = Page(value)
        found = OpenPage(number, page.first_id, page.chain)
        position = 0
        ends = list(page.ends())
        for count, sender in page.groups():
            records = [page.records(at, at) for at in range(position, position + count)]
            before = [IDS.unpack_from(record)[1] for record in records]
            after = [IDS.unpack(record[-8:])[0] for record in records]
            found.add(records, ends[position : position + count], before, after, sender)
            position += count
        return found


def spanning_pages(first_id: int, chain: bytes, record: bytes, previous: int, sender: bytes) -> list[bytes]:
    """The pages of a record that does not fit one."""
    header = HEADER.pack(LAYOUT, 1, 1, first_id, chain, previous or NO_PREVIOUS, len(record))
    first = header + U16.pack(1) + GROUP.pack(1, len(sender)) + sender
    room = PAGE_BYTES - len(first)
    pages = [first + record[:room]]
    pages.extend(record[at : at + PAGE_BYTES] for at in range(room, len(record), PAGE_BYTES))
    return pages


def pages_of_span(size: int) -> int:
    """How many pages a record of this size takes at most when it does not fit one."""
    return 1 + -(-max(0, size - CAPACITY + GROUP_BYTES) // PAGE_BYTES)


def chained(chain: bytes, first_id: int, time: int, sender: bytes, marks: list[bytes]) -> bytes:
    """The chain value after a group; `marks` are its records' keys and hashes, each with its length before it."""
    return sha256(b"".join((chain, IDS.pack(first_id, time), LENGTHS[len(sender)], sender, *marks))).digest()
