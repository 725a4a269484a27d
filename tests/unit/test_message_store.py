"""The message store against a plain model, on maps that refuse what stable maps would refuse."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant

from tests.support.effort import examples
from tests.support.maps import FakeMap, maps_of
from tests.support.message_machine import KEYS, MessageMachine, Pairs
from tests.support.message_model import LAST
from tests.support.rollback import remember, restored
from tests.support.stores import Reads, add, message_store
from zone_canister.message_batch import batch_fault
from zone_canister.message_eviction import Refused
from zone_canister.message_index import DROPPED_IDS, LINKS
from zone_canister.message_log import HEAD_DOMAIN, INDEX_BYTES, PAGE_RESERVED_BYTES
from zone_canister.message_pages import GROUP_BYTES
from zone_canister.message_reader import REPLY_BYTES
from zone_canister.message_state import MIB
from zone_canister.messages import MAX_BATCH, MAX_CIPHERTEXT_BYTES

SENDER = b"\x01" * 29


class StoreMachine(MessageMachine):
    """The store itself, over maps in a dict."""

    senders = (SENDER, b"\x02" * 29, b"\x03" * 10)

    def __init__(self) -> None:
        super().__init__()
        self.maps = maps_of("zone_canister")
        self.store = message_store(self.maps)
        self.store.limits.change(MIB, None, None)
        self.now = 1_000

    def time(self) -> int:
        return self.now

    def wait(self, seconds: int) -> None:
        self.now += seconds

    def reads(self) -> Reads:
        return Reads(self.store, self.now)

    def send(self, batch: Pairs, sender: bytes) -> list[int] | str:
        self.store.expire(self.now)
        if len(batch) == 1:
            # As the zone does: the general way decides only where the short one leaves it to it.
            before = self.written()
            message_id, taken = self.store.add_one(*batch[0], sender, self.now, 2**63)
            if message_id:
                assert self.moved(before) <= taken
                return [message_id]
        prepared = self.store.prepare(batch)
        before = self.written()
        try:
            self.store.add(prepared, sender, self.now)
        except Refused as refused:
            return str(refused)
        assert self.moved(before) <= prepared.size
        return prepared.ids

    def written(self) -> tuple[int, int]:
        """The last page, and where the next message would be written: in bytes from the first one ever."""
        state, page = self.store.state, self.store._resume()
        left = page.room + GROUP_BYTES if page is not None else 0
        return state.next_page - 1, state.next_page * PAGE_RESERVED_BYTES - left + state.last_id * INDEX_BYTES

    def moved(self, before: tuple[int, int]) -> int:
        """By how much that has moved on; what is left on a page that was evicted is nobody's."""
        page, at = before
        return self.written()[1] - at if page >= self.store.state.first_page else 0

    def change_limits(self, max_bytes: int, most: int, age: int) -> None:
        self.store.expire(self.now)
        assert self.store.limits.change(max_bytes, most, age) == ""
        self.store.note_pending(self.now)

    def prune_to(self, up_to_id: int) -> None:
        self.store.move_first(up_to_id + 1)
        self.store.note_pending(self.now)

    def reclaim(self, most_pages: int) -> None:
        more = self.store.reclaim(self.now, most_pages)
        self.store.sample_more(most_pages, self.now)
        assert bool(self.store.state.pending_since) == more

    def replace_code(self, hint: bool, pages_at_once: int) -> None:
        if hint:
            self.store.index.save()
        self.store = message_store(self.maps)
        while not self.store.index_more(pages_at_once):
            pass

    def snapshot(self) -> Any:
        return remember((self.store, self.maps))

    def load(self, snapshot: Any) -> None:
        self.store, self.maps = restored(snapshot)

    @invariant()
    def usage_is_what_the_formula_says(self) -> None:
        state = self.store.state
        pages = len(self.maps.message_pages_map.entries)
        assert self.store.usage() == pages * PAGE_RESERVED_BYTES + state.count * INDEX_BYTES


TestTheStore = StoreMachine.TestCase
TestTheStore.settings = settings(max_examples=examples(60), stateful_step_count=50, deadline=None)


def test_an_empty_store_answers_every_read_with_nothing():
    reads = Reads(message_store(), 1)
    assert reads.by_range(0, 0) == reads.by_range(0, LAST) == reads.metas(0, LAST) == []
    assert reads.by_range_for_key(KEYS[0], 5, 1) == []
    assert reads.by_id(0) is reads.by_id(1) is None
    assert reads.by_hash(bytes(32)) is reads.by_hash(b"short") is None
    assert reads.since(0) == {"messages": [], "next_after_id": 0, "complete": True, "min_id": 0, "max_id": 0}
    assert message_store().usage() == 0


def test_the_same_ciphertext_under_another_key_is_another_message():
    store = message_store()
    assert add(store, [(key, b"same") for key in KEYS], SENDER, 1) == [1, 2, 3, 4, 5]
    assert add(store, [(key, b"same") for key in KEYS], SENDER, 2) == [1, 2, 3, 4, 5]
    newest = Reads(store, 2).by_hash(hashlib.sha256(b"same").digest())
    assert newest is not None
    assert newest["id"] == 5


def test_a_range_fills_a_reply_and_goes_on_after_its_last_id():
    store = message_store()
    for start in range(0, 20_000, 1_000):
        add(store, [(KEYS[n % 5], n.to_bytes(4, "big") * 58) for n in range(start, start + 1_000)], SENDER, 1)
    reads, found = Reads(store, 1), []
    while not found or found[-1] < store.state.last_id:
        page = reads.by_range(found[-1] + 1 if found else 0, LAST)
        size = sum(len(message["ciphertext"]) + 95 for message in page)
        assert size >= 1_790_000 or page[-1]["id"] == store.state.last_id
        found += [message["id"] for message in page]
    assert found == list(range(1, 20_001))
    newest_first: list[int] = []
    while page := reads.by_range_for_key(KEYS[3], 0, newest_first[-1] - 1 if newest_first else LAST):
        newest_first += [message["id"] for message in page]
    assert newest_first == list(range(19_999, 0, -5))


def test_a_message_as_large_as_a_reply_still_leaves_in_one_of_its_own():
    store = message_store()
    large = bytes(MAX_CIPHERTEXT_BYTES)
    add(store, [(KEYS[0], large), (KEYS[0], b"small")], SENDER, 1)
    reads = Reads(store, 1)
    assert [message["id"] for message in reads.by_range(1, 2)] == [1]
    message = reads.by_id(1)
    assert message is not None
    assert (message["ciphertext"], message["next_msg_id"]) == (large, 2)
    assert len(large) > REPLY_BYTES


def test_a_reply_ends_early_where_the_next_message_would_not_fit_it_and_goes_on_there():
    store = message_store()
    sizes = [300_000, 1_800_000, 300_000, 100_000]
    add(store, [(KEYS[0], bytes([number]) * size) for number, size in enumerate(sizes)], SENDER, 1)
    reads, pages = Reads(store, 1), []
    while not pages or pages[-1][-1] < store.state.last_id:
        page = reads.by_range(pages[-1][-1] + 1 if pages else 0, LAST)
        pages.append([message["id"] for message in page])
    assert pages == [[1], [2], [3, 4]]
    since = reads.since(0, KEYS[0])
    assert [message["id"] for message in since["messages"]] == [1]
    assert (since["next_after_id"], since["complete"]) == (1, False)
    assert [message["id"] for message in reads.by_range_for_key(KEYS[0], 0, 2)] == [2]


class CountedMap(FakeMap):
    """A map that counts what is read of it and removed."""

    read = removed = 0

    def get(self, key: Any) -> Any:
        CountedMap.read += 1
        return super().get(key)

    def remove(self, key: Any) -> Any:
        CountedMap.removed += 1
        return super().remove(key)


@pytest.mark.parametrize("size", [6_000, 6_144 - 60, 6_144 * 2 - 60, 6_144 * 2 - 150, 200_000])
def test_what_is_asked_of_large_messages_but_their_ciphertexts_is_read_from_few_pages(size):
    maps = maps_of("zone_canister")
    store = message_store(maps)
    # Sizes around those where the end of a record lies on two pages.
    texts = [bytes([number]) * (size + number) for number in range(40)]
    add(store, [(KEYS[number % 2], text) for number, text in enumerate(texts)], SENDER, 1)
    maps.message_pages_map.__class__ = CountedMap
    store, CountedMap.read = message_store(maps), 0
    while not store.index_more(10):
        pass
    assert CountedMap.read <= 3 * len(texts)
    CountedMap.read = 0
    while not store.sample_more(10, 1):
        pass
    assert CountedMap.read <= 3 * len(texts)
    reads, CountedMap.read = Reads(store, 1), 0
    metas = reads.metas(0, LAST)
    assert CountedMap.read <= 3 * len(texts)
    assert [meta["hash"] for meta in metas] == [hashlib.sha256(text).digest() for text in texts]
    assert [message["ciphertext"] for message in reads.by_range(0, 3)] == texts[:3]


def test_pruning_many_messages_is_bounded_in_one_call_and_leaves_nothing_of_their_index():
    maps = maps_of("zone_canister")
    store = message_store(maps)
    for start in range(0, 100_000, 10_000):
        add(store, [(KEYS[0], number.to_bytes(4, "big")) for number in range(start, start + 10_000)], SENDER, 1)
    store.index.save()
    store = message_store(maps)
    hints = maps.message_hints_map
    hints.__class__ = CountedMap
    links, CountedMap.removed = (number >> 24 == LINKS for number in hints.entries), 0
    assert sum(links) > 190
    store.move_first(90_001)
    assert CountedMap.removed <= DROPPED_IDS // 512
    store.state.save()
    # The code is replaced twice before the background gets on with it, without and with a word from the version before.
    store = message_store(maps)
    assert not store.index.drop_more(512)
    store.index.save()
    store = message_store(maps)
    while not store.index.drop_more(10_000):
        pass
    assert min(number & 0xFFFFFF for number in hints.entries if number >> 24 == LINKS) == 90_001 >> 9
    assert Reads(store, 1).ends_of_key(KEYS[0]) == (90_001, 100_000)


def test_what_has_expired_is_told_to_the_message():
    store = message_store()
    for time in (10, 11, 11, 11, 14, 15, 15, 20):
        add(store, [(KEYS[0], bytes([store.state.last_id]))], SENDER, time)
    add(store, [(KEYS[0], bytes(20_000)), (KEYS[1], bytes(30_000))], SENDER, 25)
    store.limits.change(None, None, 10)
    firsts = [Reads(store, now).min_id for now in (20, 21, 22, 24, 25, 26, 30, 31, 35, 36)]
    assert firsts == [1, 2, 5, 5, 6, 8, 8, 9, 9, 0]


def test_a_key_of_another_size_is_refused_with_the_contracts_text():
    store = message_store()
    for size in (0, 20, 40, 42):
        assert store.fault([(bytes(size), b"x")], single=True) == "key_id must be 41 bytes"
        fault = store.fault([(KEYS[0], b"x"), (bytes(size), b"x")], single=False)
        assert fault == f"item 1: key_id must be 41 bytes, got {size}"


def test_what_can_never_fit_is_refused_with_both_numbers():
    store = message_store()
    store.limits.change(MIB, None, None)
    fault = store.fault([(KEYS[0], bytes(MIB + 1))], single=True)
    assert fault == f"the ciphertext has {MIB + 1} bytes, at most {MIB} can be stored"
    with pytest.raises(Refused, match=f"the zone's limit is {MIB}"):
        store.add(store.prepare([(KEYS[0], bytes([n]) * 300_000) for n in range(4)]), SENDER, 1)
    assert store.state.count == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ((0, None, None), f"max_bytes is 0: it must be from {MIB} to 4294967296"),
        ((MIB - 1, None, None), f"max_bytes is {MIB - 1}: it must be from {MIB} to 4294967296"),
        ((None, 2**32, None), "max_messages is 4294967296: it must be from 1 to 4294967295, or 0 for no limit"),
        ((None, None, 2**32), "max_age_seconds is 4294967296: it must be from 1 to 3162240000, or 0 for no limit"),
    ],
)
def test_limits_out_of_range_change_nothing(change, fault):
    store = message_store()
    before = store.limits.max_bytes, store.limits.max_messages, store.limits.max_age_seconds
    assert store.limits.change(*change) == fault
    assert (store.limits.max_bytes, store.limits.max_messages, store.limits.max_age_seconds) == before


def test_an_add_evicts_no_more_than_a_page_beyond_its_need():
    store = message_store()
    store.limits.change(MIB, None, None)
    for number in range(6_000):
        usage = store.usage()
        add(store, [(KEYS[number % 5], number.to_bytes(4, "big") * 58)], SENDER, 1)
        if store.usage() < usage:
            assert store.usage() > MIB - 2 * PAGE_RESERVED_BYTES - 60 * INDEX_BYTES
    assert store.state.evicted > 0
    assert store.state.first_id == store.state.evicted + 1


def test_the_certified_data_binds_both_ends_and_the_chain():
    store = message_store()
    seen = {store.certified_data()}
    for number in range(3):
        add(store, [(KEYS[0], bytes([number]))], SENDER, number)
        state = store.state
        ends = struct.pack("<I32sI32s", state.first_id, state.anchor, state.last_id, state.head)
        assert store.certified_data() == hashlib.sha256(HEAD_DOMAIN + ends).digest()
        seen.add(store.certified_data())
    store.move_first(2)
    seen.add(store.certified_data())
    assert len(seen) == 5


def test_a_batch_that_is_too_long_is_told_from_its_first_bytes():
    vector_of_pairs = b"DIDL\x02\x6d\x01\x6c\x02\x00\x02\x01\x02"
    header = b"DIDL\x03\x6d\x01\x6c\x02\x00\x02\x01\x02\x6d\x7b\x01\x00"
    assert batch_fault(header + b"\x90\x4e") == ""
    assert batch_fault(header + b"\x91\x4e") == f"too many messages: 10001, at most {MAX_BATCH} in one call"
    assert batch_fault(header + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f").startswith("too many messages")
    for broken in (b"", b"DIDL", vector_of_pairs, b"DIDL\x00\x01\x7e\x01", b"x" * 40, header):
        assert batch_fault(broken).startswith("not a batch of messages: ")


def test_the_length_of_a_batch_cannot_be_hidden_behind_types_and_values_that_nobody_sends():
    pairs = b"\x6d\x01\x6c\x02\x00\x02\x01\x02\x6d\x7b"
    func = b"\x6a\x00\x00\x00"
    assert (
        batch_fault(b"DIDL\x04" + pairs + func + b"\x01\x00\x91\x4e") == "not a batch of messages: a type of kind -22"
    )
    many_types = batch_fault(b"DIDL\x44" + pairs + b"\x6d\x7b" * 65 + b"\x01\x00\x91\x4e")
    assert many_types == "not a batch of messages: 68 types, at most 64 are read"
    many_values = batch_fault(b"DIDL\x03" + pairs + b"\xff\xff\x7f" + b"\x00" + b"\x7e" * 2_000_000)
    assert many_values == "not a batch of messages: 2097151 values, at most 64 are read"


def test_what_a_lowered_limit_leaves_to_evict_is_told_at_once():
    store = message_store()
    for number in range(200):
        add(store, [(KEYS[0], bytes([number]) * 5_000)], SENDER, 1)
    assert (store.pending_bytes(7), store.state.pending_since) == (0, 0)
    store.limits.change(None, 150, None)
    assert store.note_pending(7)
    assert (store.pending_bytes(7), store.state.pending_since) == (50 * PAGE_RESERVED_BYTES, 7)
    store.limits.change(MIB, 0, None)
    assert store.note_pending(9)
    assert (store.pending_bytes(9), store.state.pending_since) == (store.usage() - MIB, 7)
    assert not store.reclaim(9, 500)
    assert (store.pending_bytes(9), store.state.pending_since) == (0, 0)
