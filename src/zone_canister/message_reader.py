"""Reads of one call: which stored records go into a reply, with their links as they are now.

Works on a `MessageStore` and changes nothing in it. Not for who may read; the reply's framing is in `message_wire`.
"""

from zone_canister.message_pages import IDS, U32, Page
from zone_canister.message_wire import meta
from zone_canister.messages import MessageStore

REPLY_BYTES = 1_800_000  # a reply that has as many is full
MOST_REPLY_BYTES = 2_000_000  # under the platform's 2 MiB, with room for framing
LEARNING_ROUNDS = 16
NOT_KNOWN = bytes(4)  # the next id of a record that was written before there was one
DIGEST_PAGES = 200


def learn(store: MessageStore, now: int) -> None:
    """Reads the last message in each way a few times.

    CPython makes code that runs often cheaper as it runs, but what it learns in a query is dropped with the query's
    other effects: without this, queries would cost half as much again.
    """
    last_id = store.state.last_id
    for _ in range(LEARNING_ROUNDS):
        reader = Reader(store, now)
        record = reader.message(last_id)
        reader.by_hash(record[-40:-8])
        reader.by_range(last_id - 1, last_id, 2)
        reader.by_range_for_key(record[-82:-41], last_id, last_id)
        reader.metas(last_id, last_id)
        reader.since(last_id - 1, record[-82:-41], 1)
        reader.oldest_of_key(record[-82:-41], 1)


class Reader:
    """The store as of one moment (`now` in seconds): what has expired is gone."""

    def __init__(self, store: MessageStore, now: int):
        self._store = store
        self._links = store.index.links
        self.first_id = store.first_id(now)
        self.last_id = store.state.last_id

    @property
    def count(self) -> int:
        """Messages there are."""
        return self.last_id + 1 - self.first_id

    @property
    def min_id(self) -> int:
        """The first id there is, 0 for none."""
        return self.first_id if self.count else 0

    def message(self, message_id: int) -> bytes:
        """One record as it leaves, no bytes where there is none."""
        if not self.first_id <= message_id <= self.last_id:
            return b""
        record = self._store.lone_record(message_id)
        if not record:
            number = self._store.page_number(message_id)
            record = self._store.span(number, self._store.page(number))
        _, previous = IDS.unpack_from(record)
        if record[-8:-4] != NOT_KNOWN and (previous >= self.first_id or not previous):
            return record
        next_id = self._links.next(message_id)
        previous = previous if previous >= self.first_id else 0
        return b"".join((IDS.pack(message_id, previous), record[8:-8], IDS.pack(next_id, U32.unpack(record[-4:])[0])))

    def by_hash(self, digest: bytes) -> bytes:
        """The newest record with this hash, no bytes where there is none."""
        message_id = self._store.newest_with(digest) if len(digest) == 32 else 0
        return self.message(message_id)

    def sender(self, message_id: int) -> bytes | None:
        """Who sent a message, None where there is none."""
        if not self.first_id <= message_id <= self.last_id:
            return None
        return self._store.sender(message_id)

    # Ranges, oldest first ------------------------------------------------------------------------------

    def by_range(self, low: int, high: int, most: int) -> tuple[int, list[bytes]]:
        """Records with ids from low to high, as many as a reply holds and `most` allows: their number and bytes."""
        store = self._store
        message_id, last = max(low, self.first_id), min(high, self.last_id)
        last = min(last, message_id + most - 1)
        count, size, parts = 0, 0, []
        if message_id > last:
            return 0, parts
        number = store.page_number(message_id)
        while message_id <= last and size < REPLY_BYTES:
            page = store.page(number)
            stop = min(last, page.last_id)
            part = self._part(number, page, message_id, stop)
            if size + len(part) > MOST_REPLY_BYTES and parts:
                break
            parts.append(part)
            size += len(part)
            count += stop + 1 - message_id
            message_id = stop + 1
            number = store.page_after(number) if page.spans else number + 1
        return count, parts

    def metas(self, low: int, high: int) -> tuple[int, list[bytes]]:
        """The same for what is known of messages without their ciphertexts."""
        store = self._store
        message_id, last = max(low, self.first_id), min(high, self.last_id)
        size, parts = 0, []
        if message_id > last:
            return 0, parts
        number = store.page_number(message_id)
        while message_id <= last and size < REPLY_BYTES:
            page = store.page(number)
            senders = page.senders()
            stop = min(last, page.last_id)
            for position in range(message_id - page.first_id, stop + 1 - page.first_id):
                record = store.span_ends(number, page) if page.spans else page.record(position)
                parts.append(meta(record, senders[position]))
                size += len(parts[-1])
            message_id = stop + 1
            number = store.page_after(number) if page.spans else number + 1
        return len(parts), parts

    def _part(self, number: int, page: Page, first: int, last: int) -> bytes:
        """The records of a page with ids from first to last, their links as they are now."""
        low, high = first - page.first_id, last - page.first_id
        if page.spans:
            data, start, ends, tails = self._store.span(number, page), 0, (page.size,), (0,)
        else:
            data, tails = page.records(low, high), page.tails()
            if low == high:
                tails = (low,) if low in tails else ()
            if not tails and page.smallest_previous >= self.first_id:
                return data
            start, ends = page.end(low - 1), page.ends()
        patched, put = bytearray(data), U32.pack_into
        if tails and tails[0] <= high:
            following, before = self._links.following(first, last), start + 8
            # What is not known yet is 0 there, too.
            if len(tails) == page.count:
                for end, next_id in zip(ends[low : high + 1], following, strict=True):
                    put(patched, end - before, next_id)
            else:
                for position in tails:
                    if low <= position <= high:
                        put(patched, ends[position] - before, following[position - low])
        if page.smallest_previous < self.first_id:
            at = 0
            for position in range(low, high + 1):
                if IDS.unpack_from(patched, at)[1] < self.first_id:
                    put(patched, at + 4, 0)
                at = ends[position] - start
        return bytes(patched)

    # One key ------------------------------------------------------------------------------------------

    def newest_of_key(self, key_id: bytes, high: int) -> int:
        """The newest id of a key up to `high`, 0 for none."""
        message_id = self._store.index.last_of_key(key_id)
        if message_id > high >= self.first_id:
            message_id = self._links.previous(self.oldest_of_key(key_id, high + 1))
        return message_id if self.first_id <= message_id <= high else 0

    def oldest_of_key(self, key_id: bytes, low: int) -> int:
        """The oldest id of a key from `low` on, 0 for none."""
        return self._store.index.oldest_of_key(key_id, max(low, self.first_id))

    def _place(self, message_id: int, before: tuple[int, Page] | None) -> tuple[int, Page]:
        """The page of a message and its number; `before` is that of the last one, where the next of a key often is."""
        if before is not None and before[1].first_id <= message_id < before[1].first_id + before[1].count:
            return before
        number = self._store.page_number(message_id)
        return number, self._store.page(number)

    def by_range_for_key(self, key_id: bytes, low: int, high: int) -> tuple[int, list[bytes]]:
        """Records of a key with ids from low to high, newest first, as many as a reply holds."""
        low = max(low, self.first_id)
        message_id = self.newest_of_key(key_id, min(high, self.last_id))
        size, parts, place = 0, [], None
        while message_id >= low and size < REPLY_BYTES:
            place = self._place(message_id, place)
            record = self._part(*place, message_id, message_id)
            if size + len(record) > MOST_REPLY_BYTES and parts:
                break
            parts.append(record)
            size += len(record)
            message_id = self._links.previous(message_id)
        return len(parts), parts

    def since(self, after_id: int, key_id: bytes | None, most: int) -> tuple[int, list[bytes], int, bool]:
        """Records after an id, oldest first: their number and bytes, where to go on, and whether these were all."""
        if key_id is None:
            start = max(after_id + 1, self.first_id)
            count, parts = self.by_range(start, self.last_id, most)
            last = start + count - 1
            complete = last >= self.last_id
            return count, parts, self.last_id if complete else last, complete
        message_id = self.oldest_of_key(key_id, after_id + 1)
        size, parts, place, last = 0, [], None, max(after_id, self.first_id - 1)
        while message_id and len(parts) < most and size < REPLY_BYTES:
            place = self._place(message_id, place)
            record = self._part(*place, message_id, message_id)
            if size + len(record) > MOST_REPLY_BYTES and parts:
                break
            parts.append(record)
            size += len(record)
            last = message_id
            message_id = self._links.next(message_id)
        complete = not message_id
        return len(parts), parts, self.last_id if complete else last, complete

    # The chain ----------------------------------------------------------------------------------------

    def digest_page(self, from_id: int) -> list[tuple[int, bytes, bytes]]:
        """Groups from the one that holds an id on, as many as some pages have: see `message_pages`.

        For each its first id, the chain value before it, and the keys and hashes of those of its messages that are
        gone though the group is not, as the chain takes them in.
        """
        store, found = self._store, []
        message_id = max(from_id, self.first_id)
        for _ in range(DIGEST_PAGES):
            if message_id > self.last_id:
                break
            number = store.page_number(message_id)
            page = store.page(number)
            groups = store.group_values(number)
            ends = [first_id for first_id, _ in groups[1:]] + [page.last_id + 1]
            for (first_id, chain), end in zip(groups, ends, strict=True):
                if end > message_id:
                    gone = range(first_id, min(self.first_id, end))
                    found.append((first_id, chain, b"".join([store.record(gone_id)[-83:-8] for gone_id in gone])))
            message_id = page.last_id + 1
        return found
