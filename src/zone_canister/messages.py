"""The message store: encrypted messages in the order they came, kept within limits by evicting the oldest.

Pure: it works on stable maps that the caller hands in, and takes time (seconds) and sender as arguments. It knows
nothing of membership and quotas. Ids start at 1, are consecutive and are never reused. `docs/storage.md` explains the
layout; it is drawn in `message_pages`, `message_directory`, `message_state` and the modules of the index.
"""

import hashlib

from kybra import StableBTreeMap, blob, nat32, text

from zone_canister.message_directory import Directory
from zone_canister.message_index import WORD, MessageIndex, key_tag, pair_word
from zone_canister.message_pages import (
    CAPACITY,
    HASH_MARK,
    IDS,
    KEY_ID_BYTES,
    KEY_MARK,
    PAGE_BYTES,
    RECORD_MARKS_BYTES,
    RECORD_OVERHEAD,
    RUN_BYTES,
    U32,
    OpenPage,
    Page,
    leb128,
    pages_of_span,
    spanning_pages,
)
from zone_canister.message_state import Limits, State

MAX_MESSAGE_ID = 2**32 - 1
MAX_BATCH = 10_000
MAX_CIPHERTEXT_BYTES = 1_900_000
PAGE_RESERVED_BYTES = PAGE_BYTES + 64  # with its share of the directory and of the maps' own bookkeeping
INDEX_BYTES = 48  # of a message, in the heap and in the hint of an upgrade
MAX_EVICTED_PAGES = 4_000  # in one call: well within the instructions of an update
MAX_IDLE_SECONDS = 3_600
CACHED_PAGES = 8
HEAD_DOMAIN = b"\x1bdiode zone messages head v1"


class Refused(Exception):
    """A batch that cannot be stored; its text says why and what to do. Nothing was changed."""


class Batch:
    """What a call would add: which of its messages are new, and the ids of all."""

    def __init__(self):
        self.ids: list[int] = []
        self.fresh: list[tuple[bytes, bytes, bytes]] = []
        self.newest: dict[int, tuple[int, bytes]] = {}

    @property
    def size(self) -> int:
        """Bytes that the new messages take, as they are counted against limits and quotas."""
        return sum([len(item[1]) for item in self.fresh]) + len(self.fresh) * (RECORD_OVERHEAD + INDEX_BYTES)


class MessageStore:
    """All messages of a zone over its stable maps."""

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

    # Adding ------------------------------------------------------------------------------------------

    def fault(self, messages: list[tuple[bytes, bytes]], single: bool) -> str:
        """What is wrong with the first bad pair, or "". A batch's error says which item."""
        if len(messages) > MAX_BATCH:
            return f"too many messages: {len(messages)}, at most {MAX_BATCH} in one call"
        if self.state.last_id + len(messages) > MAX_MESSAGE_ID:
            return f"no message ids left: the last is {self.state.last_id} of {MAX_MESSAGE_ID}"
        largest = min(MAX_CIPHERTEXT_BYTES, self.limits.max_bytes)
        for position, (key_id, ciphertext) in enumerate(messages):
            where = "" if single else f"item {position}: "
            if len(key_id) != KEY_ID_BYTES:
                return f"{where}key_id must be {KEY_ID_BYTES} bytes" + ("" if single else f", got {len(key_id)}")
            if len(ciphertext) > largest:
                return f"{where}the ciphertext has {len(ciphertext)} bytes, at most {largest} can be stored"
        return ""

    def prepare(self, messages: list[tuple[bytes, bytes]]) -> Batch:
        """Finds out which (key_id, ciphertext) pairs are new; the caller has checked them with `fault`."""
        batch = Batch()
        ids, fresh = batch.ids, batch.fresh
        sha256, word, find = hashlib.sha256, WORD.unpack_from, self.index.hashes.find
        seen: dict = {}
        next_id = self.state.last_id + 1
        for key_id, ciphertext in messages:
            digest = sha256(ciphertext).digest()
            stored = find(word(digest)[0])
            if stored or digest in seen:
                known = self._known(digest, key_id, stored, seen, batch, next_id)
                if known:
                    ids.append(known)
                    continue
            else:
                seen[digest] = (next_id, key_id)
            ids.append(next_id)
            fresh.append((key_id, ciphertext, digest))
            next_id += 1
        return batch

    def _known(self, digest: bytes, key_id: bytes, stored: tuple, seen: dict, batch: Batch, next_id: int) -> int:
        """The id of a pair whose hash was seen before, 0 for a new pair; keeps note of what it comes after."""
        known = seen.get(digest + key_id, 0)
        newest = seen.get(digest) or self._newest(digest, stored)
        if not known and newest:
            known = newest[0] if newest[1] == key_id else self._known_pair(digest, key_id)
        if known:
            return known
        seen[digest + key_id] = next_id
        seen[digest] = (next_id, key_id)
        if newest:
            batch.newest[next_id] = newest
            seen[digest + newest[1]] = newest[0]
        return 0

    def _newest(self, digest: bytes, stored: tuple) -> tuple[int, bytes] | None:
        """Id and key of the newest stored message with a hash, among ids the index found."""
        for message_id in sorted(stored, reverse=True):
            record = self.record(message_id)
            if record[-40:-8] == digest:
                return message_id, record[-82:-41]
        return None

    def newest_with(self, digest: bytes) -> int:
        """The newest stored id with this hash, 0 for none."""
        newest = self._newest(digest, self.index.hashes.find(WORD.unpack_from(digest)[0]))
        return newest[0] if newest else 0

    def _known_pair(self, digest: bytes, key_id: bytes) -> int:
        for message_id in self.index.pairs.find(pair_word(digest, key_id)):
            record = self.record(message_id)
            if record[-40:-8] == digest and record[-82:-41] == key_id:
                return message_id
        return 0

    def add(self, batch: Batch, sender: bytes, now: int) -> None:
        """Stores what is new of a batch, evicting what must go. Raises `Refused` and changes nothing if it cannot."""
        if not batch.fresh:
            return
        self._make_room(batch)
        state = self.state
        first_id = state.last_id + 1
        before, after = self._link(batch, first_id)
        join, pack, sha256, lengths = b"".join, IDS.pack, hashlib.sha256, {}
        chain, message_id = state.head, first_id
        mark = bytes([len(sender)]) + sender
        page = self._resume()
        for (key_id, ciphertext, digest), previous, next_id in zip(batch.fresh, before, after, strict=True):
            size = len(ciphertext)
            length = lengths.get(size)
            if length is None:
                length = lengths[size] = leb128(size)
            ends = pack(next_id, now)
            record = join((pack(message_id, previous), length, ciphertext, KEY_MARK, key_id, HASH_MARK, digest, ends))
            if page is None or not page.takes(record):
                page = self._next_page(page, record, message_id, chain, previous, sender, now)
            if page is not None:
                page.append(record, previous, sender)
            chain = sha256(join((chain, pack(message_id, now), digest, key_id, mark))).digest()
            message_id += 1
        if page is not None:
            self._write(page)
        self._open = page
        state.is_open = page is not None
        state.last_id = message_id - 1
        state.head = chain
        self.index.covered = state.last_id
        self.directory.save()
        state.save()

    def _link(self, batch: Batch, first_id: int) -> tuple[list[int], list[int]]:
        """Puts a batch into the index; returns the previous and the next id of each message, as far as known."""
        index = self.index
        words, put, link = WORD.unpack_from, index.hashes.put, index.links.add
        heads: dict = {}
        before = []
        after = [0] * len(batch.fresh)
        page = self._resume()
        open_from = page.first_id if page is not None else first_id
        message_id = first_id
        for key_id, _, digest in batch.fresh:
            head = heads.get(key_id)
            if head is None:
                tag, rest = key_tag(key_id)
                head = heads[key_id] = [tag, rest, index.keys.last(tag, rest)]
            previous = head[2]
            head[2] = message_id
            before.append(previous)
            if message_id in batch.newest:
                index.put(message_id, key_id, digest, batch.newest[message_id])
            else:
                put(words(digest)[0], message_id)
            link(message_id, previous)
            if previous >= first_id:
                after[previous - first_id] = message_id
            elif previous >= open_from and page is not None:
                page.link(previous - open_from, message_id)
            message_id += 1
        for tag, rest, last in heads.values():
            index.keys.put(tag, rest, last)
        return before, after

    def _resume(self) -> OpenPage | None:
        """The page that still takes records."""
        if self._open is None and self.state.is_open:
            number = self.state.next_page - 1
            self._open = OpenPage.resumed(number, self._pages.get(number) or b"")
        return self._open

    def _next_page(
        self,
        page: OpenPage | None,
        record: bytes,
        message_id: int,
        chain: bytes,
        previous: int,
        sender: bytes,
        now: int,
    ) -> OpenPage | None:
        """Closes a page and opens one for a record; None when the record took pages of its own."""
        if page is not None:
            self._write(page)
        if len(record) + RECORD_MARKS_BYTES + RUN_BYTES <= CAPACITY:
            self.directory.append(self.state.next_page, message_id, now)
            self.state.next_page += 1
            return OpenPage(self.state.next_page - 1, message_id, chain)
        for value in spanning_pages(message_id, chain, record, previous, sender):
            self.directory.append(self.state.next_page, message_id, now)
            self._pages.insert(self.state.next_page, value)
            self.state.next_page += 1
        return None

    def _write(self, page: OpenPage) -> None:
        self._pages.insert(page.number, page.value())
        self._cache.pop(page.number, None)

    def index_more(self, most_pages: int) -> bool:
        """Indexes again what an upgrade left without an index, up to so many pages. Returns whether that was all."""
        state, index = self.state, self.index
        while index.covered < state.last_id and most_pages > 0:
            page = self.page(self.page_number(index.covered + 1))
            for message_id in range(index.covered + 1, page.last_id + 1):
                record = self.record(message_id)
                digest = record[-40:-8]
                newest = self._newest(digest, index.hashes.find(WORD.unpack_from(digest)[0]))
                index.put_again(record, newest or (0, b""))
            most_pages -= 1
        return index.covered >= state.last_id

    # Limits ------------------------------------------------------------------------------------------

    def usage(self) -> int:
        """Bytes taken: whole pages with their share of the directory, and the index."""
        return self.state.pages * PAGE_RESERVED_BYTES + self.state.count * INDEX_BYTES

    def pending_bytes(self, now: int) -> int:
        """Bytes that limits, age and pruning leave to be evicted in the background."""
        pages = self._first_kept_page(now) - self.state.first_page
        over = self.usage() - pages * PAGE_RESERVED_BYTES - self.limits.max_bytes
        return pages * PAGE_RESERVED_BYTES + max(0, over)

    def _new_pages(self, batch: Batch) -> int:
        """How many pages a batch takes at most: room that is left on the open page is not counted on."""
        pages, room = 0, 0
        for _, ciphertext, _ in batch.fresh:
            size = RECORD_OVERHEAD + len(ciphertext) + RECORD_MARKS_BYTES + RUN_BYTES
            if size > CAPACITY:
                pages += pages_of_span(size)
                room = 0
            else:
                if size > room:
                    pages += 1
                    room = CAPACITY
                room -= size - RUN_BYTES
        return pages

    def _make_room(self, batch: Batch) -> None:
        """Evicts the oldest pages until a batch fits. Raises `Refused`."""
        limits, state = self.limits, self.state
        pages, count = self._new_pages(batch), len(batch.fresh)
        added = pages * PAGE_RESERVED_BYTES + count * INDEX_BYTES
        if added > limits.max_bytes:
            raise Refused(f"the messages take {added} bytes, the zone's limit is {limits.max_bytes}")
        if limits.max_messages and count > limits.max_messages:
            raise Refused(f"{count} messages: the zone's limit is {limits.max_messages}")
        usage = self.usage()
        # A lowered limit is worked off in the background; until then an add makes room for itself and a page more.
        enough = added + PAGE_RESERVED_BYTES if usage > limits.max_bytes else usage + added
        first_page, kept, freed = state.first_page, state.count, 0
        while first_page < state.next_page:
            over = usage + added - freed > limits.max_bytes and freed < enough
            many = limits.max_messages and kept + count > limits.max_messages
            if not over and not many:
                break
            after = self.page_after(first_page)
            gone = max(self._first_id_of(after), state.first_id) - (state.last_id + 1 - kept)
            freed += (after - first_page) * PAGE_RESERVED_BYTES + gone * INDEX_BYTES
            kept -= gone
            first_page = after
        if first_page - state.first_page > MAX_EVICTED_PAGES:
            raise Refused(
                f"{first_page - state.first_page} pages would have to be evicted in this call, at most "
                f"{MAX_EVICTED_PAGES} are: eviction goes on in the background, try again in a minute"
            )
        if first_page > state.first_page:
            self._evict_to(first_page)

    def _first_id_of(self, page: int) -> int:
        return self.directory.first_id(page) if page < self.state.next_page else self.state.last_id + 1

    def page_after(self, page: int) -> int:
        """The next page that begins with a record, given one that does."""
        first_id = self.directory.first_id(page)
        page += 1
        while page < self.state.next_page and self.directory.first_id(page) == first_id:
            page += 1
        return page

    def _evict_to(self, page: int) -> None:
        """Removes all pages before one that begins with a record."""
        self.move_first(max(self._first_id_of(page), self.state.first_id))
        self._remove_pages(page)

    def move_first(self, first_id: int) -> None:
        """Lets the store begin with an id, at most the last + 1; pages before it wait to be removed."""
        state = self.state
        if first_id <= state.first_id:
            return
        state.anchor = self.chain_before(first_id)
        former = state.first_id
        state.evicted += first_id - former
        state.first_id = first_id
        self.index.moved_first(former, first_id)

    def _remove_pages(self, stop: int) -> None:
        state = self.state
        for number in range(state.first_page, stop):
            self._pages.remove(number)
            self._cache.pop(number, None)
        state.evicted_bytes += (stop - state.first_page) * PAGE_RESERVED_BYTES
        state.first_page = stop
        if self._open is not None and self._open.number < stop:
            self._open = None
        if stop == state.next_page:
            state.is_open = False
        self.directory.drop_before(stop)

    def reclaim(self, now: int, most_pages: int) -> bool:
        """One background step: evicts up to so many pages that have expired, were pruned or exceed the limits.

        Returns whether there is more to do.
        """
        state, limits = self.state, self.limits
        self.move_first(self.first_id(now))
        stop = min(self._first_kept_page(now), state.first_page + most_pages)
        if stop > state.first_page:
            self._remove_pages(stop)
            most_pages -= stop - state.first_page
        page = state.first_page
        while page < state.next_page and page - state.first_page < most_pages:
            freed = (page - state.first_page) * PAGE_RESERVED_BYTES
            gone = max(0, self._first_id_of(page) - state.first_id)
            over = self.usage() - freed - gone * INDEX_BYTES > limits.max_bytes
            many = limits.max_messages and state.count - gone > limits.max_messages
            if not over and not many:
                break
            page = self.page_after(page)
        if page > state.first_page:
            self._evict_to(page)
        more = self.has_pending(now)
        state.pending_since = (state.pending_since or now) if more else 0
        state.save()
        return more

    def has_pending(self, now: int) -> bool:
        """Whether something waits to be evicted."""
        limits = self.limits
        if limits.max_messages and self.state.count > limits.max_messages:
            return True
        return self.usage() > limits.max_bytes or self._first_kept_page(now) > self.state.first_page

    def _first_kept_page(self, now: int) -> int:
        first_id = self.first_id(now)
        if first_id > self.state.last_id:
            return self.state.next_page
        return self.directory.page_of(first_id, self.state.first_page, self.state.next_page)

    def next_expiry(self, now: int) -> int:
        """Seconds until the oldest message expires, at least 1 and at most an hour; 0 when nothing ever will."""
        state, age = self.state, self.limits.max_age_seconds
        if not age or not state.count:
            return 0
        oldest = U32.unpack(self.record(state.first_id)[-4:])[0]
        return min(max(oldest + age + 1 - now, 1), MAX_IDLE_SECONDS)

    # Reading ------------------------------------------------------------------------------------------

    def first_id(self, now: int) -> int:
        """The first id stored that has not expired; last + 1 when there is none."""
        state = self.state
        if not self.limits.max_age_seconds or not state.count:
            return state.first_id
        oldest = now - self.limits.max_age_seconds
        number = self.directory.last_page_before(oldest, state.first_page, state.next_page)
        if number < state.first_page:
            return state.first_id
        first_id = self.directory.first_id(number)
        while first_id <= state.last_id and U32.unpack(self.record(first_id)[-4:])[0] < oldest:
            first_id += 1
        return max(first_id, state.first_id)

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
        return self.directory.page_of(message_id, self.state.first_page, self.state.next_page)

    def span(self, number: int, page: Page) -> bytes:
        """The record of a page that goes on in the following ones."""
        parts = [page.first_part()]
        size = len(parts[0])
        while size < page.size:
            number += 1
            parts.append(self._pages.get(number) or b"")
            size += len(parts[-1])
        return b"".join(parts)

    def record(self, message_id: int) -> bytes:
        """The record of a stored id as it lies in its page: links as they were known when it was written."""
        number = self.page_number(message_id)
        page = self.page(number)
        if page.spans:
            return self.span(number, page)
        position = message_id - page.first_id
        return page.records(position, position)

    def sender(self, message_id: int) -> bytes:
        """The principal that sent a stored message."""
        page = self.page(self.page_number(message_id))
        return page.senders()[message_id - page.first_id]

    def certified_data(self) -> bytes:
        """32 bytes that stand for all messages stored: where they begin and end, and their chain."""
        state = self.state
        ends = (HEAD_DOMAIN, U32.pack(state.first_id), state.anchor, U32.pack(state.last_id), state.head)
        return hashlib.sha256(b"".join(ends)).digest()

    def chain_before(self, message_id: int) -> bytes:
        """The chain value before an id, at most the last + 1."""
        if message_id > self.state.last_id:
            return self.state.head
        number = self.page_number(message_id)
        page = self.page(number)
        chain = page.chain
        if message_id > page.first_id:
            senders = page.senders()
            for position in range(message_id - page.first_id):
                chain = chained(chain, page.records(position, position), senders[position])
        return chain


def chained(chain: bytes, record: bytes, sender: bytes) -> bytes:
    """The chain value after a record, from the one before it."""
    key_id, digest = record[-82:-41], record[-40:-8]
    mark = bytes([len(sender)]) + sender
    return hashlib.sha256(b"".join((chain, record[:4], record[-4:], digest, key_id, mark))).digest()
