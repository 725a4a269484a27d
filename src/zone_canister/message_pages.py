"""Pages: how messages lie in stable memory, in the very bytes in which they leave in a reply.

Pure encoding. Not for which pages there are (`message_directory`) nor for what is stored when (`messages`).

A page holds whole records of consecutive ids, at most 6 144 bytes (integers little-endian):

    offset  size  field
    0       1     layout version, 2
    1       1     1 where a single record goes on in the following pages, else 0
    2       2     records
    4       4     first id
    8       32    chain value before the first id
    40      4     smallest previous id but 0 that a record names, or 2^32 - 1
    44      4     bytes of all records (of the whole record where it goes on)
    48            records
                  u16 end of each record, counted from offset 48 (absent where the record goes on)
                  u16 runs, and for each: u16 records | u8 length | principal of their sender
                  u16 tails, and for each: u16 number of a record whose next id is not in it (absent where it goes on)

A record is the Candid encoding of a `Message`, its fields in the order of their hashes:

    u32 id | u32 previous id | LEB128 length, ciphertext | 0x29, 41 key_id | 0x20, 32 hash | u32 next id | u32 timestamp

A record that does not fit a page starts one of its own: the runs come first there (at offset 48), then the record's
first bytes. The following pages are its other bytes and nothing else.
"""

import struct

LAYOUT = 2
PAGE_BYTES = 6_144
NO_PREVIOUS = 2**32 - 1
KEY_ID_BYTES = 41
HASH_BYTES = 32
FIXED_TAIL_BYTES = 83  # key_id, hash, next id and timestamp, with the lengths of the blobs
RECORD_OVERHEAD = 8 + 4 + FIXED_TAIL_BYTES  # with the longest length of a ciphertext that fits a call
RECORD_MARKS_BYTES = 4  # a record's end and, at worst, its place among the tails
RUN_BYTES = 3 + 29

HEADER = struct.Struct("<BBHI32sII")
IDS = struct.Struct("<II")
U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
RUN = struct.Struct("<HB")
TABLES_BYTES = 2 * U16.size
CAPACITY = PAGE_BYTES - HEADER.size - TABLES_BYTES


class PageError(Exception):
    """Stored bytes that are no page of this layout."""


def leb128(value: int) -> bytes:
    """An unsigned number as Candid writes lengths."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Page:
    """A page being read: its records as they leave, where each ends, who sent them."""

    def __init__(self, value: bytes):
        layout, spans, self.count, self.first_id, self.chain, self.smallest_previous, self.size = HEADER.unpack_from(
            value
        )
        if layout != LAYOUT:
            raise PageError(f"a message page has the layout {layout}: this version reads {LAYOUT}")
        self.spans = spans == 1
        self._value = value
        self._ends_at = HEADER.size + self.size

    @property
    def last_id(self) -> int:
        """The id of the last record."""
        return self.first_id + self.count - 1

    def first_part(self) -> bytes:
        """What this page holds of a record that goes on."""
        _, at = self._read_runs(HEADER.size)
        return self._value[at:]

    def ends(self) -> tuple[int, ...]:
        """Where each record ends, counted from the first record's start."""
        return struct.unpack_from(f"<{self.count}H", self._value, self._ends_at)

    def end(self, position: int) -> int:
        """Where one record ends; 0 for the position before the first."""
        return U16.unpack_from(self._value, self._ends_at + 2 * position)[0] if position >= 0 else 0

    def records(self, first: int, last: int) -> bytes:
        """The bytes of the records at positions `first` to `last`, both included."""
        return self._value[HEADER.size + self.end(first - 1) : HEADER.size + self.end(last)]

    def runs(self) -> list[tuple[int, bytes]]:
        """How many records in a row each sender sent."""
        at = HEADER.size if self.spans else self._ends_at + U16.size * self.count
        return self._read_runs(at)[0]

    def senders(self) -> list[bytes]:
        """The sender of each record."""
        return [sender for count, sender in self.runs() for _ in range(count)]

    def tails(self) -> tuple[int, ...]:
        """Positions of the records that do not name the next message of their key."""
        _, at = self._read_runs(self._ends_at + U16.size * self.count)
        (count,) = U16.unpack_from(self._value, at)
        return struct.unpack_from(f"<{count}H", self._value, at + U16.size)

    def positions(self, key_id: bytes) -> list[int]:
        """Positions of the records with this key."""
        found = []
        ends = self.ends()
        needle = KEY_MARK + key_id + HASH_MARK
        at = self._value.find(needle, HEADER.size, self._ends_at)
        while at >= 0:
            end = at - HEADER.size + FIXED_TAIL_BYTES
            # The same bytes may stand within a ciphertext: only where a record ends they are its key.
            if end in ends:
                found.append(ends.index(end))
            at = self._value.find(needle, at + 1, self._ends_at)
        return found

    def _read_runs(self, at: int) -> tuple[list[tuple[int, bytes]], int]:
        (number,) = U16.unpack_from(self._value, at)
        at += U16.size
        runs = []
        for _ in range(number):
            count, length = RUN.unpack_from(self._value, at)
            at += RUN.size
            runs.append((count, self._value[at : at + length]))
            at += length
        return runs, at


KEY_MARK = bytes([KEY_ID_BYTES])
HASH_MARK = bytes([HASH_BYTES])


class OpenPage:
    """The last page, which still takes records."""

    def __init__(self, number: int, first_id: int, chain: bytes):
        self.number = number
        self.first_id = first_id
        self._chain = chain
        self._records: list[bytes] = []
        self._runs: list[list] = []
        self._smallest_previous = NO_PREVIOUS
        self.room = CAPACITY

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self._records)

    def takes(self, record: bytes) -> bool:
        """Whether a record fits, whoever sent it."""
        return len(record) + RECORD_MARKS_BYTES + RUN_BYTES <= self.room

    def append(self, record: bytes, previous: int, sender: bytes) -> None:
        """Adds a record that fits."""
        self._records.append(record)
        self.room -= len(record) + RECORD_MARKS_BYTES
        if previous and previous < self._smallest_previous:
            self._smallest_previous = previous
        if self._runs and self._runs[-1][1] == sender:
            self._runs[-1][0] += 1
        else:
            self._runs.append([1, sender])
            self.room -= RUN.size + len(sender)

    def link(self, position: int, next_id: int) -> None:
        """Notes the next message of a record's key."""
        record = self._records[position]
        self._records[position] = record[:-8] + U32.pack(next_id) + record[-4:]

    def value(self) -> bytes:
        """The page's bytes."""
        records = self._records
        body = b"".join(records)
        ends = []
        tails = []
        end = 0
        for position, record in enumerate(records):
            end += len(record)
            ends.append(end)
            if record.endswith(NO_NEXT, 0, -4):
                tails.append(position)
        header = HEADER.pack(LAYOUT, 0, len(records), self.first_id, self._chain, self._smallest_previous, len(body))
        numbers = struct.pack(f"<{len(ends)}H", *ends)
        marks = struct.pack(f"<{len(tails) + 1}H", len(tails), *tails)
        return b"".join((header, body, numbers, encode_runs(self._runs), marks))

    @staticmethod
    def resumed(number: int, value: bytes) -> "OpenPage":
        """The open page again, from its stored bytes."""
        page = Page(value)
        found = OpenPage(number, page.first_id, page.chain)
        start = 0
        for end, sender in zip(page.ends(), page.senders(), strict=True):
            record = page._value[HEADER.size + start : HEADER.size + end]
            found.append(record, IDS.unpack_from(record)[1], sender)
            start = end
        return found


NO_NEXT = bytes(4)


def encode_runs(runs: list) -> bytes:
    """The table of senders."""
    parts = [U16.pack(len(runs))]
    for count, sender in runs:
        parts.append(RUN.pack(count, len(sender)) + sender)
    return b"".join(parts)


def spanning_pages(first_id: int, chain: bytes, record: bytes, previous: int, sender: bytes) -> list[bytes]:
    """The pages of a record that does not fit one."""
    header = HEADER.pack(LAYOUT, 1, 1, first_id, chain, previous or NO_PREVIOUS, len(record))
    first = header + encode_runs([[1, sender]])
    room = PAGE_BYTES - len(first)
    pages = [first + record[:room]]
    pages.extend(record[at : at + PAGE_BYTES] for at in range(room, len(record), PAGE_BYTES))
    return pages


def pages_of_span(size: int) -> int:
    """How many pages a record of this size takes at most when it does not fit one."""
    return 1 + -(-max(0, size - CAPACITY + RUN_BYTES) // PAGE_BYTES)
