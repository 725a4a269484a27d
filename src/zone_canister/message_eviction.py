"""Eviction: the oldest messages go, by whole pages, when limits, age or pruning say so or a batch needs room.

Pure; takes time in seconds. `docs/storage.md` has the formula of what messages take.
"""

from zone_canister.message_log import INDEX_BYTES, PAGE_RESERVED_BYTES, MessageLog
from zone_canister.message_pages import (
    CAPACITY,
    GROUP_BYTES,
    PAGE_ROOM,
    RECORD_MARKS_BYTES,
    RECORD_OVERHEAD,
    U32,
    pages_of_span,
)

MAX_EVICTED_PAGES = 4_000  # in one call: well within the instructions of an update
MAX_IDLE_SECONDS = 3_600
MESSAGE_BYTES = RECORD_OVERHEAD + RECORD_MARKS_BYTES  # of a page, beside the ciphertext
PAGE_OVERHEAD = PAGE_RESERVED_BYTES - CAPACITY


class Refused(Exception):
    """A batch that cannot be stored; its text says why and what to do. Nothing was changed."""


class Batch:
    """What a call would add: which of its messages are new, and the ids of all."""

    def __init__(self):
        self.ids: list[int] = []
        self.fresh: list[tuple[bytes, bytes, bytes, int, bytes]] = []
        self.newest: dict[int, tuple[int, bytes]] = {}
        self.pages = 0
        """Pages that the new messages begin, at most."""
        self.size = 0
        """Bytes that they take, as they are counted against quotas: `reserved`."""


class EvictingLog(MessageLog):
    """Stored messages that give room."""

    def move_first(self, first_id: int) -> None:
        """Lets the store begin with an id, at most the last + 1; pages before it wait to be removed."""
        state = self.state
        if first_id <= state.first_id:
            return
        state.anchor = self.chain_before(first_id)
        former = state.first_id
        state.evicted += first_id - former
        state.first_id = first_id
        self._begin_head()
        self.index.moved_first(first_id)

    def expire(self, now: int) -> bool:
        """Lets the store begin with the first message that has not expired; whether that changed anything."""
        first_id = self.first_id(now)
        if first_id <= self.state.first_id:
            return False
        self.move_first(first_id)
        self.state.save()
        return True

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

    def pending_bytes(self, now: int) -> int:
        """Bytes that limits, age and pruning leave to be evicted in the background."""
        state, most = self.state, self.limits.max_messages
        page = self._first_kept_page(now)
        if most and state.count > most:
            page = max(page, self.page_after(self.page_number(state.last_id - most)))
        pages = page - state.first_page
        over = self.usage() - pages * PAGE_RESERVED_BYTES - self.limits.max_bytes
        return pages * PAGE_RESERVED_BYTES + max(0, over)

    def next_expiry(self, now: int) -> int:
        """Seconds until the oldest message expires, at least 1 and at most an hour; 0 when nothing ever will."""
        state, age = self.state, self.limits.max_age_seconds
        if not age or not state.count:
            return 0
        oldest = U32.unpack(self.record(state.first_id)[-4:])[0]
        return min(max(oldest + age + 1 - now, 1), MAX_IDLE_SECONDS)

    def _evict_to(self, page: int) -> None:
        """Removes all pages before one that begins with a record."""
        self.move_first(max(self._first_id_of(page), self.state.first_id))
        self._remove_pages(page)

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

    def _make_room(self, pages: int, count: int) -> None:
        """Evicts the oldest pages until so many more pages and messages fit. Raises `Refused`."""
        limits, state = self.limits, self.state
        added = pages * PAGE_RESERVED_BYTES + count * INDEX_BYTES
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


def reserved(sizes: list[int], room: int) -> tuple[int, int]:
    """How many pages ciphertexts of these sizes begin at most, and the bytes they take, one after the other.

    `room` is what is left on the open page. Bytes are those by which the end of what is written moves on, and those of
    the index: who leaves room on a page behind, because his message does not fit it, takes that as well.
    """
    if not sizes:
        return 0, 0
    largest = max(sizes)
    if min(sizes) < largest or largest > PAGE_ROOM - MESSAGE_BYTES:
        return _reserved_one_by_one(sizes, room)
    count, size = len(sizes), largest + MESSAGE_BYTES
    here = min(count, room // size)
    pages, left = 0, 0
    if here < count:
        on_a_page = PAGE_ROOM // size
        pages = -(-(count - here) // on_a_page)
        left = room - here * size + (pages - 1) * (PAGE_ROOM - on_a_page * size)
    return pages, count * (size + INDEX_BYTES) + left + pages * PAGE_OVERHEAD + (pages + 1) * GROUP_BYTES


def _reserved_one_by_one(sizes: list[int], room: int) -> tuple[int, int]:
    pages, taken = 0, GROUP_BYTES + len(sizes) * INDEX_BYTES
    for ciphertext in sizes:
        size = ciphertext + MESSAGE_BYTES
        if size > PAGE_ROOM:
            spanned = pages_of_span(size)
            pages += spanned
            taken += room + spanned * PAGE_RESERVED_BYTES
            room = 0
            continue
        if size > room:
            pages += 1
            taken += room + PAGE_OVERHEAD + GROUP_BYTES
            room = PAGE_ROOM
        taken += size
        room -= size
    return pages, taken
