"""The message store: encrypted messages in the order they came, kept within limits by evicting the oldest.

Pure: it works on stable maps that the caller hands in, and takes time (seconds) and sender as arguments. It knows
nothing of membership and quotas. Ids start at 1, are consecutive and are never reused. `docs/storage.md` explains the
layout; it is drawn in `message_pages`, `message_directory`, `message_state` and the modules of the index.
"""

import hashlib
import struct

from kybra import StableBTreeMap, blob, nat32, text

from zone_canister.message_directory import Directory
from zone_canister.message_index import MessageIndex
from zone_canister.message_pages import (
    CAPACITY,
    GROUP_BYTES,
    IDS,
    KEY_ID_BYTES,
    PAGE_BYTES,
    RECORD_FIXED_BYTES,
    RECORD_MARKS_BYTES,
    RECORD_OVERHEAD,
    U32,
    OpenPage,
    Page,
    chained,
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
HEAD_ENDS = struct.Struct("<I32sI32s")
HEAD_DOMAIN = b"\x1bdiode zone messages head v1"


class Refused(Exception):
    """A batch that cannot be stored; its text says why and what to do. Nothing was changed."""


class Batch:
    """What a call would add: which of its messages are new, and the ids of all."""

    def __init__(self):
        self.ids: list[int] = []
        self.fresh: list[tuple[bytes, bytes, bytes, int, bytes]] = []
        self.newest: dict[int, tuple[int, bytes]] = {}
        self.size = 0
        """Bytes that the new messages take, as they are counted against quotas."""


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
        largest = self.limits.max_bytes
        if largest > MAX_CIPHERTEXT_BYTES:
            largest = MAX_CIPHERTEXT_BYTES
        position = 0
        for key_id, ciphertext in messages:
            if len(key_id) != KEY_ID_BYTES or len(ciphertext) > largest:
                return pair_fault(key_id, ciphertext, largest, None if single else position)
            position += 1  # noqa: SIM113 (enumerate costs a tuple an item)
        return ""

    def prepare(self, messages: list[tuple[bytes, bytes]]) -> Batch:
        """Finds out which (key_id, ciphertext) pairs are new; the caller has checked them with `fault`."""
        batch = Batch()
        ids, fresh = batch.ids, batch.fresh
        hashes = self.index.hashes
        sha256, split, shards = hashlib.sha256, hashes.split, hashes.shards
        seen: dict = {}
        size, next_id = 0, self.state.last_id + 1
        for key_id, ciphertext in messages:
            digest = sha256(ciphertext).digest()
            shard, tag = split(digest)
            entries = shards[shard]
            if entries is None:
                entries = hashes.load(shard)
            if entries.find(tag) >= 0 or digest in seen:
                known = self._known(digest, key_id, hashes.find(shard, tag), seen, batch, next_id)
                if known:
                    ids.append(known)
                    continue
            else:
                seen[digest] = next_id
            ids.append(next_id)
            fresh.append((key_id, ciphertext, digest, shard, tag))
            size += len(ciphertext)
            next_id += 1
        batch.size = size + len(fresh) * (RECORD_OVERHEAD + INDEX_BYTES)
        return batch

    def _known(self, digest: bytes, key_id: bytes, stored: list[int], seen: dict, batch: Batch, next_id: int) -> int:
        """The id of a pair whose hash was seen before, 0 for a new pair; keeps note of what it comes after.

        `seen` has the newest id of a digest in this batch, and of a digest with a key where there are several.
        """
        known = seen.get(digest + key_id, 0)
        in_batch = seen.get(digest, 0)
        if in_batch:
            newest = in_batch, batch.fresh[in_batch - self.state.last_id - 1][0]
        else:
            newest = self._newest(digest, stored)
        if not known and newest:
            known = newest[0] if newest[1] == key_id else self._known_pair(digest, key_id)
        if known:
            return known
        seen[digest + key_id] = seen[digest] = next_id
        if newest:
            batch.newest[next_id] = newest
            seen[digest + newest[1]] = newest[0]
        return 0

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

    def _known_pair(self, digest: bytes, key_id: bytes) -> int:
        for message_id in self.index.with_pair(digest, key_id):
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
        page = self._resume()
        before, after, keys = self._link(batch, state.last_id + 1)
        pack = IDS.pack
        room, end = (page.room, page.size) if page is not None else (-1, 0)
        size, over, length = -1, 0, b""
        parts: list[bytes] = []
        marks: list[bytes] = []
        ends: list[int] = []
        message_id = first_id = state.last_id
        start = 0
        for (_, ciphertext, digest, _, _), previous, next_id, mark in zip(
            batch.fresh, before, after, keys, strict=True
        ):
            message_id += 1
            if len(ciphertext) != size:
                size = len(ciphertext)
                length = leb128(size)
                over = len(length) + RECORD_FIXED_BYTES
            room -= size + over + RECORD_MARKS_BYTES
            if room < 0:
                if page is not None:
                    self._close_group(page, (parts, marks, ends), before[start:], after[start:], sender, now)
                    self._write(page)
                start = message_id - first_id - 1
                parts, marks, ends, end = [], [], [], 0
                room = CAPACITY - GROUP_BYTES - size - over - RECORD_MARKS_BYTES
                if room < 0:
                    record = b"".join(
                        (pack(message_id, previous), length, ciphertext, mark, digest, pack(next_id, now))
                    )
                    self._add_span(record, message_id, previous, sender, now)
                    page = None
                    start += 1
                    continue
                page = self._new_page(message_id, now)
            parts += (pack(message_id, previous), length, ciphertext, mark, digest, pack(next_id, now))
            marks += (mark, digest)
            end += size + over
            ends.append(end)
        if page is not None:
            self._close_group(page, (parts, marks, ends), before[start:], after[start:], sender, now)
            self._write(page)
        self._open = page
        state.is_open = page is not None
        state.last_id = self.index.covered = message_id
        self.directory.save()
        state.save()

    def _link(self, batch: Batch, first_id: int) -> tuple[list[int], list[int], list[bytes]]:
        """Puts a batch into the index.

        Returns the previous id, the next id as far as known, and the encoded key of each message.
        """
        index = self.index
        add, fresh, newest = index.hashes.add, batch.fresh, batch.newest
        heads: dict = {}
        before: list[int] = []
        after = [0] * len(fresh)
        keys: list[bytes] = []
        message_id = first_id
        for key_id, _, digest, shard, tag in fresh:
            head = heads.get(key_id)
            if head is None:
                head = heads[key_id] = self._head(key_id, message_id)
            previous = head[0]
            head[0] = message_id
            before.append(previous)
            keys.append(head[4])
            if previous >= first_id:
                after[previous - first_id] = message_id
            if newest and message_id in newest:
                index.put(message_id, key_id, digest, newest[message_id])
            else:
                add(shard, tag, message_id)
            message_id += 1
        index.set_last([head[:4] for head in heads.values()])
        index.links.add(first_id, before, after)
        return before, after, keys

    def _head(self, key_id: bytes, next_id: int) -> list:
        """A key's newest id, its place in the index, and its encoding in a record; links its newest message on."""
        index = self.index
        shard, tag, key = index.place(key_id)
        last, at = index.keys.locate(shard, tag)
        if last:
            index.links.link(last, next_id)
            page = self._open
            if page is not None and last >= page.first_id:
                page.link(last - page.first_id, next_id)
        return [last, shard, tag, at, key]

    def _resume(self) -> OpenPage | None:
        """The page that still takes records."""
        if self._open is None and self.state.is_open:
            number = self.state.next_page - 1
            self._open = OpenPage.resumed(number, self._pages.get(number) or b"")
        return self._open

    def _close_group(
        self, page: OpenPage, group: tuple, before: list[int], after: list[int], sender: bytes, now: int
    ) -> None:
        """Ends what a call adds to a page, if anything: the chain goes on."""
        parts, marks, ends = group
        if ends:
            count = len(ends)
            first_id = page.first_id + page.count
            page.add(parts, ends, before[:count], after[:count], sender)
            self.state.head = chained(self.state.head, first_id, now, sender, marks)

    def _new_page(self, message_id: int, now: int) -> OpenPage:
        """A page that begins with this id."""
        state = self.state
        self.directory.append(state.next_page, message_id, now)
        state.next_page += 1
        return OpenPage(state.next_page - 1, message_id, state.head)

    def _add_span(self, record: bytes, message_id: int, previous: int, sender: bytes, now: int) -> None:
        """Stores a record that takes pages of its own."""
        state = self.state
        for value in spanning_pages(message_id, state.head, record, previous, sender):
            self.directory.append(state.next_page, message_id, now)
            self._pages.insert(state.next_page, value)
            state.next_page += 1
        state.head = chained(state.head, message_id, now, sender, [record[-83:-8]])

    def _write(self, page: OpenPage) -> None:
        self._pages.insert(page.number, page.value())
        self._cache.pop(page.number, None)

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

    # Limits ------------------------------------------------------------------------------------------

    def usage(self) -> int:
        """Bytes taken: whole pages with their share of the directory, and the index."""
        state = self.state
        pages, count = state.next_page - state.first_page, state.last_id + 1 - state.first_id
        return pages * PAGE_RESERVED_BYTES + count * INDEX_BYTES

    def pending_bytes(self, now: int) -> int:
        """Bytes that limits, age and pruning leave to be evicted in the background."""
        state, most = self.state, self.limits.max_messages
        page = self._first_kept_page(now)
        if most and state.count > most:
            page = max(page, self.page_after(self.page_number(state.last_id - most)))
        pages = page - state.first_page
        over = self.usage() - pages * PAGE_RESERVED_BYTES - self.limits.max_bytes
        return pages * PAGE_RESERVED_BYTES + max(0, over)

    @staticmethod
    def _new_pages(batch: Batch) -> int:
        """How many pages a batch takes at most: room that is left on the open page is not counted on."""
        room = CAPACITY - GROUP_BYTES
        if len(batch.fresh) == 1 and batch.size <= room:
            return 1
        sizes = [len(item[1]) for item in batch.fresh]
        largest = max(sizes) + RECORD_OVERHEAD + RECORD_MARKS_BYTES
        if min(sizes) == max(sizes) and largest <= room:
            return -(-len(sizes) // (room // largest))
        pages, left = 0, 0
        for ciphertext in sizes:
            size = ciphertext + RECORD_OVERHEAD + RECORD_MARKS_BYTES
            if size > room:
                pages += pages_of_span(size)
                left = 0
            else:
                if size > left:
                    pages += 1
                    left = room
                left -= size
        return pages

    def _make_room(self, batch: Batch) -> None:
        """Evicts the oldest pages until a batch fits. Raises `Refused`."""
        limits, state = self.limits, self.state
        count = len(batch.fresh)
        added = self._new_pages(batch) * PAGE_RESERVED_BYTES + count * INDEX_BYTES
        if added > limits.max_bytes:
            raise Refused(f"the messages take {added} bytes, the zone's limit is {limits.max_bytes}")
        if limits.max_messages and count > limits.max_messages:
            raise Refused(f"{count} messages: the zone's limit is {limits.max_messages}")
        usage = self.usage()
        if usage + added <= limits.max_bytes and not limits.max_messages:
            return
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

    def expire(self, now: int) -> bool:
        """Lets the store begin with the first message that has not expired; whether that changed anything."""
        first_id = self.first_id(now)
        if first_id <= self.state.first_id:
            return False
        self.move_first(first_id)
        self.state.save()
        return True

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
        self.expire(now)
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
        return self.note_pending(now)

    def note_pending(self, now: int) -> bool:
        """Keeps since when something waits to be evicted, and returns whether anything does."""
        state, more = self.state, self.has_pending(now)
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
        return self.page_number(first_id)

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
        if not self.limits.max_age_seconds or state.first_id > state.last_id:
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
        state = self.state
        return self.directory.page_of(message_id, state.first_page, state.next_page, state.last_id)

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
        ends = HEAD_ENDS.pack(state.first_id, state.anchor, state.last_id, state.head)
        return hashlib.sha256(HEAD_DOMAIN + ends).digest()

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
                records = [page.records(at, at) for at in range(position, position + count)]
                (time,) = U32.unpack(records[0][-4:])
                marks = [record[-83:-8] for record in records]
                chain = chained(chain, page.first_id + position, time, sender, marks)
            position += count
        return found


def pair_fault(key_id: bytes, ciphertext: bytes, largest: int, position: int | None) -> str:
    """What is wrong with a pair, in the contract's words for a single one; a batch's item has a position."""
    where = "" if position is None else f"item {position}: "
    if len(key_id) == KEY_ID_BYTES:
        return f"{where}the ciphertext has {len(ciphertext)} bytes, at most {largest} can be stored"
    return (
        f"key_id must be {KEY_ID_BYTES} bytes"
        if position is None
        else (f"{where}key_id must be {KEY_ID_BYTES} bytes, got {len(key_id)}")
    )
