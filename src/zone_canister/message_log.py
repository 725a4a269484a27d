"""The messages as they are stored, and reading them: where a record lies, what stands for all of them.

Pure. What every part of the message store works on; not for adding (`messages`) and evicting (`message_eviction`), nor
for what clients see of it (`message_reader`). `docs/storage.md` explains the layout.
"""

import hashlib
import struct

from kybra import StableBTreeMap, blob, nat32, text

from zone_canister.message_directory import Directory
from zone_canister.message_index import MessageIndex
from zone_canister.message_pages import FIXED_TAIL_BYTES, IDS, PAGE_BYTES, U32, OpenPage, Page, chained, record_of
from zone_canister.message_state import Limits, State

PAGE_RESERVED_BYTES = PAGE_BYTES + 64  # with its share of the directory and of the maps' own bookkeeping
INDEX_BYTES = 48  # of a message, in the heap and in the hint of an upgrade
CACHED_PAGES = 8
CHANCE_FACTOR = 6_364_136_223_846_793_005  # of Knuth's MMIX generator
CHANCE_MASK = 2**64 - 1
HEAD_ENDS = struct.Struct("<I32s")
HEAD_DOMAIN = b"\x1bdiode zone messages head v1"


class MessageLog:
    """The stored messages of a zone over its stable maps."""

    def __init__(
        self,
        settings: StableBTreeMap[text, blob],
        states: StableBTreeMap[nat32, blob],
        pages: StableBTreeMap[nat32, blob],
        directory: StableBTreeMap[nat32, blob],
        hints: StableBTreeMap[nat32, blob],
    ):
        self.state = State(states)
        self.limits = Limits(settings)
        self.directory = Directory(states, directory)
        self.index = MessageIndex(hints, self.state.first_id, self.state.last_id)
        self._pages = pages
        self._open: OpenPage | None = None
        self._cache: dict[int, Page] = {}
        self._begin_head()

    @property
    def unindexed(self) -> int:
        """Messages that the index does not cover yet."""
        return self.state.last_id - self.index.covered

    def index_more(self, most: int) -> bool:
        """Indexes again what an upgrade left without an index, about so many messages. Returns whether that was all."""
        state, index = self.state, self.index
        while index.covered < state.last_id and most > 0:
            first_id = index.covered + 1
            page = self.page(self.page_number(first_id))
            for message_id in range(first_id, page.last_id + 1):
                record = self.record(message_id)
                digest = record[-40:-8]
                index.put_again(record, self._newest(digest, index.with_hash(digest)) or (0, b""))
            most -= page.last_id + 1 - first_id
        return index.covered >= state.last_id

    def sample_more(self, most_pages: int, chance: int) -> bool:
        """Takes samples of up to so many full pages. Returns whether those were all.

        Of each page from one of its first 8 messages on every 5th to 12th: `chance`, which nobody knew when they were
        stored, says which. So no order of keys keeps the messages of one from being samples.
        """
        samples, state = self.index.samples, self.state
        end = state.next_page - state.is_open
        # Pages that wait to be removed may be what is left of a record.
        number = max(samples.next_page, self.page_number(state.first_id) if state.count else end)
        last = min(end, number + most_pages)
        while number < last:
            page = Page(self._pages.get(number) or b"")
            chance = chance * CHANCE_FACTOR + 1 & CHANCE_MASK
            first, step = chance >> 61, 5 + (chance >> 58 & 7)
            if not page.spans:
                samples.take(page.keys(first, step), page.first_id + first, step)
                number += 1
                continue
            if not first:
                samples.take([self.span_ends(number, page)[-82:-41]], page.first_id, step)
            number = self.page_after(number)
        samples.moved_to(number, state.first_id)
        return number >= end

    def usage(self) -> int:
        """Bytes taken: whole pages with their share of the directory, and the index."""
        state = self.state
        pages, count = state.next_page - state.first_page, state.last_id + 1 - state.first_id
        return pages * PAGE_RESERVED_BYTES + count * INDEX_BYTES

    def first_id(self, now: int) -> int:
        """The first id stored that has not expired; last + 1 when there is none."""
        state = self.state
        if not self.limits.max_age_seconds or state.first_id > state.last_id:
            return state.first_id
        oldest = now - self.limits.max_age_seconds
        number = self.directory.last_page_before(oldest, state.first_page, state.next_page)
        if number < state.first_page:
            return state.first_id
        low = max(self.directory.first_id(number), state.first_id)
        high = self._first_id_of(self.page_after(number))
        while low < high:
            middle = (low + high) >> 1
            if U32.unpack(self.record(middle)[-4:])[0] < oldest:
                low = middle + 1
            else:
                high = middle
        return low

    def page(self, number: int) -> Page:
        """A stored page that begins with a record."""
        page = self._cache.get(number)
        if page is None:
            page = Page(self._pages.get(number) or b"")
            if len(self._cache) >= CACHED_PAGES:
                self._cache.clear()
            self._cache[number] = page
        return page

    def page_number(self, message_id: int) -> int:
        """Where the record of a stored id begins."""
        return self.directory.page_of(message_id, self.state)

    def page_after(self, page: int) -> int:
        """The next page that begins with a record, given one that does."""
        first_id = self.directory.first_id(page)
        page += 1
        while page < self.state.next_page and self.directory.first_id(page) == first_id:
            page += 1
        return page

    def span(self, number: int, page: Page) -> bytes:
        """The record of a page that goes on in the following ones."""
        parts = [page.first_part()]
        size = len(parts[0])
        while size < page.size:
            number += 1
            parts.append(self._pages.get(number) or b"")
            size += len(parts[-1])
        return b"".join(parts)

    def span_ends(self, number: int, page: Page) -> bytes:
        """The same record without its ciphertext, however large that is: its first 8 bytes and its last 83."""
        first = page.first_part()
        left = page.size - len(first)
        if left <= 0:
            return first[: IDS.size] + first[-FIXED_TAIL_BYTES:]
        last = number + -(-left // PAGE_BYTES)
        tail = self._pages.get(last) or b""
        if len(tail) < FIXED_TAIL_BYTES:
            tail = (first if last - 1 == number else self._pages.get(last - 1) or b"") + tail
        return first[: IDS.size] + tail[-FIXED_TAIL_BYTES:]

    def record(self, message_id: int) -> bytes:
        """The record of a stored id as it lies in its page: links as they were known when it was written.

        Of one that goes on in the following pages it lacks the ciphertext: see `span_ends`.
        """
        number = self.page_number(message_id)
        page = self.page(number)
        if page.spans:
            return self.span_ends(number, page)
        return page.record(message_id - page.first_id)

    def lone_record(self, message_id: int) -> bytes:
        """The record of a stored id, nothing if it goes on; no page is kept at hand for more of its records."""
        number = self.directory.page_of(message_id, self.state)
        return record_of(self._pages.get(number) or b"", message_id)

    def sender(self, message_id: int) -> bytes:
        """The principal that sent a stored message."""
        page = self.page(self.page_number(message_id))
        return page.senders()[message_id - page.first_id]

    def _newest(self, digest: bytes, stored: list[int]) -> tuple[int, bytes] | None:
        """Id and key of the newest stored message with a hash, among ids the index found."""
        for message_id in sorted(stored, reverse=True):
            record = self.record(message_id)
            if record[-40:-8] == digest:
                return message_id, record[-82:-41]
        return None

    def newest_with(self, digest: bytes) -> int:
        """The newest stored id with this hash, 0 for none."""
        newest = self._newest(digest, self.index.with_hash(digest))
        return newest[0] if newest else 0

    def certified_data(self) -> bytes:
        """32 bytes that stand for all messages stored: where they begin and end, and their chain."""
        head = self._head_begun.copy()
        head.update(HEAD_ENDS.pack(self.state.last_id, self.state.head))
        return head.digest()

    def _begin_head(self) -> None:
        """Hashes what only eviction changes, the first block: `certified_data` has to hash the second alone."""
        self._head_begun = hashlib.sha256(HEAD_DOMAIN + HEAD_ENDS.pack(self.state.first_id, self.state.anchor))

    def chain_before(self, message_id: int) -> bytes:
        """The chain value before the group of an id, at most the last + 1."""
        if message_id > self.state.last_id:
            return self.state.head
        chain = b""
        for first_id, value in self.group_values(self.page_number(message_id)):
            if first_id <= message_id:
                chain = value
        return chain

    def group_values(self, number: int) -> list[tuple[int, bytes]]:
        """The first id of each group of a page, and the chain value before it."""
        page = self.page(number)
        found = []
        chain, position = page.chain, 0
        groups = page.groups()
        for count, sender in groups:
            found.append((page.first_id + position, chain))
            if len(found) < len(groups):
                records = [page.record(at) for at in range(position, position + count)]
                (time,) = U32.unpack(records[0][-4:])
                marks = [record[-83:-8] for record in records]
                chain = chained(chain, page.first_id + position, time, sender, marks)
            position += count
        return found

    def _first_id_of(self, page: int) -> int:
        return self.directory.first_id(page) if page < self.state.next_page else self.state.last_id + 1

    def _first_kept_page(self, now: int) -> int:
        first_id = self.first_id(now)
        if first_id > self.state.last_id:
            return self.state.next_page
        return self.page_number(first_id)
