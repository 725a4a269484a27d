"""The message store: encrypted messages in the order they came, kept within limits by evicting the oldest.

Pure: it works on stable maps that the caller hands in, and takes time (seconds) and sender as arguments. It knows
nothing of membership and quotas. Ids start at 1, are consecutive and are never reused. Here messages are added; what
lies there is `message_log`, and what goes `message_eviction`.
"""

from hashlib import sha256

from zone_canister.message_eviction import (
    MESSAGE_BYTES,
    PAGE_OVERHEAD,
    Batch,
    EvictingLog,
    Refused,
    reserved,
)
from zone_canister.message_log import INDEX_BYTES, PAGE_RESERVED_BYTES
from zone_canister.message_pages import (
    CAPACITY,
    GROUP_BYTES,
    IDS,
    KEY_ID_BYTES,
    PAGE_ROOM,
    RECORD_FIXED_BYTES,
    RECORD_MARKS_BYTES,
    U32,
    OpenPage,
    chained,
    leb128,
    spanning_pages,
)

MAX_MESSAGE_ID = 2**32 - 1
MAX_BATCH = 10_000
MAX_CIPHERTEXT_BYTES = 1_900_000


class MessageStore(EvictingLog):
    """All messages of a zone."""

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
        split, shards = hashes.split, hashes.shards
        seen: dict = {}
        sizes: list[int] = []
        next_id = self.state.last_id + 1
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
            sizes.append(len(ciphertext))
            next_id += 1
        batch.pages, batch.size = reserved(sizes, self._room())
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
        self._make_room(batch.pages, len(batch.fresh))
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

    def add_one(self, key_id: bytes, ciphertext: bytes, sender: bytes, now: int, most: int) -> tuple[int, int]:
        """Stores a message that takes up to `most` bytes as they are counted against quotas, in few steps.

        Returns its id, or that of its duplicate, and the bytes that were taken; (0, 0) where it takes `fault`,
        `prepare` and `add` to decide, and nothing is changed then. They would come to the same at nearly twice the
        cost: what a batch does by loops is written out here for the call that is made most.
        """
        state, page, size = self.state, self._open, len(ciphertext) + MESSAGE_BYTES
        if page is None or most < 0 or len(key_id) != KEY_ID_BYTES or size > PAGE_ROOM:
            return 0, 0
        digest = sha256(ciphertext).digest()
        index = self.index
        hashes, keys = index.hashes, index.keys
        shard, tag = hashes.split(digest)
        entries = hashes.shards[shard]
        if entries is None:
            entries = hashes.load(shard)
        place = entries.find(tag)
        if place >= 0:
            known = hashes.id_at(entries, place) or hashes.locate(shard, tag)[0]
            record = self.lone_record(known) if known >= state.first_id else b""
            return (known, 0) if record[-40:-8] == digest and record[-82:-41] == key_id else (0, 0)
        room = page.room
        begins = size > room
        taken = size + GROUP_BYTES + INDEX_BYTES
        needed = INDEX_BYTES
        if begins:
            taken += GROUP_BYTES + PAGE_OVERHEAD + room if room > 0 else GROUP_BYTES + PAGE_OVERHEAD
            needed += PAGE_RESERVED_BYTES
        message_id = state.last_id + 1
        if taken > most or message_id > MAX_MESSAGE_ID:
            return 0, 0
        if self.limits.max_messages or self.usage() + needed > self.limits.max_bytes:
            try:
                self._make_room(1 if begins else 0, 1)
            except Refused:
                return 0, 0
            if self._open is not page:
                return 0, 0
        key_shard, key_tag, key = index.place(key_id)
        previous, at = keys.locate(key_shard, key_tag)
        if begins:
            page = self._open = self._new_page(message_id, now)
            self.directory.save()
        elif previous >= page.first_id:
            page.link(previous - page.first_id, message_id)
        index.links.add_one(message_id, previous)
        if at >= 0:
            U32.pack_into(keys.shards[key_shard], at, message_id)
        else:
            keys.add(key_shard, key_tag, message_id)
        hashes.add(shard, tag, message_id)
        mark = key + digest
        ids = IDS.pack
        record = b"".join((ids(message_id, previous), leb128(len(ciphertext)), ciphertext, mark, ids(0, now)))
        page.add_one(record, previous, sender)
        self._pages.insert(page.number, page.value())
        if self._cache:
            self._cache.pop(page.number, None)
        state.head = chained(state.head, message_id, now, sender, [mark])
        state.last_id = index.covered = message_id
        state.save()
        return message_id, taken

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

    def _room(self) -> int:
        """Bytes that are left on the last page."""
        page = self._resume()
        return page.room if page is not None and page.room > 0 else 0

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
