"""Which page holds an id: the first id and time of every page, in chunks that are read when they are needed.

Pure. Pages are numbered from 0 in the order they are written, and numbers are never reused. Not for what a page holds.

    directory map  nat32 page >> 7 -> for each of 128 pages: u32 first id | u32 time of that message (s); a page that
                                      goes on with the record of the page before has the same first id
    state map      1               -> u32 first chunk that is kept | u32 first id of each chunk
"""

import struct

from kybra import StableBTreeMap, blob, nat32

CHUNK_BITS = 7
CHUNK_PAGES = 1 << CHUNK_BITS
CHUNK_MASK = CHUNK_PAGES - 1
CHUNK_BYTES = 8 * CHUNK_PAGES
GUESSES = 4
ROOT_KEY = 1
ROOT = struct.Struct("<I")


class Directory:
    """First ids and times of the pages from `first_page` to `next_page - 1`."""

    def __init__(self, states: StableBTreeMap[nat32, blob], chunks: StableBTreeMap[nat32, blob]):
        self._states = states
        self._map = chunks
        self._chunks: dict = {}
        self._changed: dict = {}
        root = states.get(ROOT_KEY) or bytes(ROOT.size)
        (self._first_chunk,) = ROOT.unpack_from(root)
        self._firsts = list(struct.unpack_from(f"<{len(root) // 4 - 1}I", root, 4))

    def append(self, page: int, first_id: int, time: int) -> None:
        """Notes a new page; `save` writes it."""
        number = page >> CHUNK_BITS
        if page & CHUNK_MASK == 0:
            if not self._firsts:
                self._first_chunk = number
            self._firsts.append(first_id)
            self._chunks[number] = memoryview(bytearray(CHUNK_BYTES)).cast("I")
            self._save_root()
        chunk = self._chunk(number)
        at = (page & CHUNK_MASK) << 1
        chunk[at] = first_id
        chunk[at + 1] = time
        self._changed[number] = True

    def save(self) -> None:
        """Writes the chunks that changed."""
        for number in self._changed:
            self._map.insert(number, self._chunks[number].tobytes())
        self._changed = {}

    def drop_before(self, page: int) -> None:
        """Removes the chunks whose pages all come before this one."""
        dropped = False
        while self._firsts and self._first_chunk < page >> CHUNK_BITS:
            self._map.remove(self._first_chunk)
            self._chunks.pop(self._first_chunk, None)
            self._changed.pop(self._first_chunk, None)
            self._first_chunk += 1
            del self._firsts[0]
            dropped = True
        if dropped:
            self._save_root()

    def first_id(self, page: int) -> int:
        """The first id of a page."""
        return self._chunk(page >> CHUNK_BITS)[(page & CHUNK_MASK) << 1]

    def time(self, page: int) -> int:
        """The time of a page's first message."""
        return self._chunk(page >> CHUNK_BITS)[((page & CHUNK_MASK) << 1) + 1]

    def page_of(self, message_id: int, first_page: int, next_page: int, last_id: int) -> int:
        """The page in which the record of a stored id begins."""
        firsts = self._firsts
        low, high = 0, len(firsts)
        while low < high:
            middle = (low + high) >> 1
            if firsts[middle] < message_id:
                low = middle + 1
            else:
                high = middle
        # The chunk before `low` begins below the id. Only where all of its pages do, `low` may begin with it.
        if low == 0:
            return first_page
        number = self._first_chunk + low - 1
        chunk = self._chunk(number)
        base = number << CHUNK_BITS
        first, end = max(first_page - base, 0), min(next_page - base, CHUNK_PAGES)
        after = firsts[low] if low < len(firsts) else last_id + 1
        found = first_not_below(chunk, message_id, first, end, after)
        if found < end:
            return base + found if found == first or chunk[found << 1] == message_id else base + found - 1
        return base + end if after == message_id else base + end - 1

    def last_page_before(self, time: int, first_page: int, next_page: int) -> int:
        """The last page whose first message is older than a time, `first_page - 1` for none."""
        low, high = first_page, next_page
        while low < high:
            middle = (low + high) >> 1
            if self.time(middle) < time:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def _chunk(self, number: int) -> memoryview:
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = memoryview(bytearray(self._map.get(number) or bytes(CHUNK_BYTES))).cast("I")
            self._chunks[number] = chunk
        return chunk

    def _save_root(self) -> None:
        self._states.insert(ROOT_KEY, struct.pack(f"<I{len(self._firsts)}I", self._first_chunk, *self._firsts))


def first_not_below(chunk: memoryview, message_id: int, first: int, end: int, after: int) -> int:
    """The first page of a chunk from `first` to `end` - 1 whose first id is not below an id, `end` for none.

    Pages hold about as many messages each, so it is looked for where it should be before the search halves what is
    left; `after` is the id that comes after the chunk.
    """
    begin = chunk[first << 1]
    span = after - begin
    low, high = first, end
    guess = first + (message_id - begin) * (end - first) // span if span > 0 else first
    step = 0
    while low < high:
        middle = min(max(guess, low), high - 1) if step < GUESSES else (low + high) >> 1
        if chunk[middle << 1] < message_id:
            low = guess = middle + 1
        else:
            high = middle
            guess = middle - 1
        step += 1
    return low
