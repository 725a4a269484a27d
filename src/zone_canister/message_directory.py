"""Which page holds an id: the first id and time of every page, in chunks that are read when they are needed.

Pure. Pages are numbered from 0 in the order they are written, and numbers are never reused. Not for what a page holds.

    directory map  nat32 page >> 7 -> for each of 128 pages: u32 first id | u32 time of that message (s); a page that
                                      goes on with the record of the page before has the same first id
    state map      1               -> u32 first chunk that is kept | u32 first id of each chunk
"""

import struct

from kybra import StableBTreeMap, blob, nat32

from zone_canister.message_state import State

CHUNK_BITS = 7
CHUNK_PAGES = 1 << CHUNK_BITS
CHUNK_MASK = CHUNK_PAGES - 1
CHUNK_BYTES = 8 * CHUNK_PAGES
LAST_OF_CHUNK = CHUNK_MASK << 1
TRIES = (1, 2, 3)
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

    def page_of(self, message_id: int, state: State) -> int:
        """The page in which the record of a stored id begins."""
        first_page, next_page, last_id = state.first_page, state.next_page, state.last_id
        # Pages hold about as many messages each: mostly the page is where it should be, or where the next guess says.
        count, stored = next_page - first_page, last_id + 1 - state.first_id
        guess = first_page + (message_id - state.first_id) * count // stored
        for _ in TRIES:
            pages = self._chunks.get(guess >> CHUNK_BITS)
            at = (guess & CHUNK_MASK) << 1
            if pages is None or at == LAST_OF_CHUNK:
                break
            first_id = pages[at]
            if first_id < message_id < pages[at + 2]:
                return guess
            guess += (message_id - first_id) * count // stored or 1
        low = first_not_below(self._firsts, message_id)
        # The chunk before `low` begins below the id. Only where all of its pages do, `low` may begin with it.
        if low == 0:
            return first_page
        base = (self._first_chunk + low - 1) << CHUNK_BITS
        first, end = max(first_page - base, 0), min(next_page - base, CHUNK_PAGES)
        firsts = self._chunk(base >> CHUNK_BITS)[2 * first : 2 * end : 2]
        found = first_not_below(firsts, message_id)
        if found < len(firsts):
            begins = found == 0 or firsts[found] == message_id
        else:
            begins = message_id == (self._firsts[low] if low < len(self._firsts) else last_id + 1)
        return base + first + found - (0 if begins else 1)

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


def first_not_below(ids: list[int] | memoryview, low: int) -> int:
    """Where the first of some ascending ids lies that is not below one."""
    start, end = 0, len(ids)
    while start < end:
        middle = (start + end) >> 1
        if ids[middle] < low:
            start = middle + 1
        else:
            end = middle
    return start
