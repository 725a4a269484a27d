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
GUESSES = 4
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
        firsts, chunk = self._firsts, 0
        if len(firsts) > 1:
            chunk = last_not_above(firsts, message_id, 0, len(firsts), last_id + 1)
        after = firsts[chunk + 1] if chunk + 1 < len(firsts) else last_id + 1
        number = self._first_chunk + chunk
        pages = self._chunk(number)
        base = number << CHUNK_BITS
        first = first_page - base if first_page > base else 0
        end = next_page - base if next_page - base < CHUNK_PAGES else CHUNK_PAGES
        page = base + last_not_above(pages[::2], message_id, first, end, after)
        if page > first_page and self.first_id(page) == message_id == self.first_id(page - 1):
            return self._begin_of_span(message_id, first_page, page)
        return page

    def _begin_of_span(self, message_id: int, low: int, high: int) -> int:
        """The first of the pages up to `high` that have this first id."""
        while low < high:
            middle = (low + high) >> 1
            if self.first_id(middle) < message_id:
                low = middle + 1
            else:
                high = middle
        return low

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


def last_not_above(firsts: list[int] | memoryview, message_id: int, first: int, end: int, after: int) -> int:
    """The last place from `first` to `end` - 1 whose first id is not above an id; that at `first` is not.

    `after` is the id that comes after those places. Pages hold about as many messages each, so the place is where it
    should be or beside it, and only else halving what is left finds it.
    """
    begin = firsts[first]
    guess = first + (message_id - begin) * (end - first) // (after - begin)
    for _ in range(GUESSES):
        if firsts[guess] > message_id:
            guess -= 1
        elif guess + 1 < end and firsts[guess + 1] <= message_id:
            guess += 1
        else:
            return guess
    low, high = first, end
    while high - low > 1:
        middle = (low + high) >> 1
        if firsts[middle] <= message_id:
            low = middle
        else:
            high = middle
    return low
