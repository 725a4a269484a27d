"""The message store against a plain model, on maps that refuse what stable maps would refuse."""

from __future__ import annotations

import copy
import hashlib
import struct
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.maps import FakeMap, maps_of
from tests.support.message_model import LAST, MessageModel
from tests.support.stores import Reads, add, message_store
from zone_canister.message_batch import batch_fault
from zone_canister.message_reader import REPLY_BYTES
from zone_canister.message_state import MIB
from zone_canister.messages import (
    HEAD_DOMAIN,
    INDEX_BYTES,
    MAX_BATCH,
    MAX_CIPHERTEXT_BYTES,
    PAGE_RESERVED_BYTES,
    MessageStore,
    Refused,
)

KEYS = [bytes([20]) + bytes([number]) * 20 + bytes(20) for number in range(5)]
SENDERS = [b"\x01" * 29, b"\x02" * 29, b"\x03" * 10]
SENDER = SENDERS[0]
ciphertexts = (
    st.binary(max_size=12)
    | st.sampled_from([b"", b"same", b"again"])
    | st.tuples(st.integers(0, 255), st.sampled_from([200, 5_900, 6_100, 20_000])).map(lambda n: bytes([n[0]]) * n[1])
)
pairs = st.tuples(st.sampled_from(KEYS), ciphertexts)


def chain_of(store: MessageStore, model: MessageModel, now: int) -> None:
    """Checks that the digest chain leads from the anchor to the head over what a client can read."""
    reader = Reads(store, now).reader
    groups: list[tuple[int, bytes, bytes]] = []
    at = reader.first_id
    while at <= reader.last_id:
        groups += reader.digest_page(at)
        at = store.page(store.page_number(groups[-1][0])).last_id + 1
    if not groups:
        return
    ends = [first_id for first_id, _, _ in groups[1:]] + [reader.last_id + 1]
    values = [value for _, value, _ in groups[1:]] + [store.state.head]
    for (first_id, value, gone), end, next_value in zip(groups, ends, values, strict=True):
        numbers = range(max(first_id, reader.first_id), end)
        first = model.messages[numbers[0]]
        marks = b"".join(b"\x29" + model.messages[n].key_id + b"\x20" + model.messages[n].hash for n in numbers)
        context = struct.pack("<II", first_id, first.timestamp) + bytes([len(first.sender)]) + first.sender
        assert hashlib.sha256(value + context + gone + marks).digest() == next_value
    if reader.first_id == store.state.first_id:
        assert groups[0][1] == store.state.anchor


class StoreMachine(RuleBasedStateMachine):
    """Everything that can happen to a store, in any order; after each step all reads are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = maps_of("zone_canister")
        self.store = message_store(self.maps)
        self.store.limits.change(MIB, None, None)
        self.model = MessageModel()
        self.now = 1_000
        self.over_limits = False

    def reconcile(self) -> None:
        """The model learns what the store evicted; the store may evict the oldest alone."""
        first_id = Reads(self.store, self.now).reader.first_id
        assert first_id >= self.model.first_id
        self.model.forget_below(first_id)

    @rule(batch=st.lists(pairs, max_size=12), copies=st.sampled_from([1, 1, 1, 25]), sender=st.sampled_from(SENDERS))
    def add(self, batch: list[tuple[bytes, bytes]], copies: int, sender: bytes) -> None:
        many = [(key, text + bytes([n]) * bool(n)) for n in range(copies) for key, text in batch]
        self.reconcile()
        self.store.expire(self.now)
        before = copy.deepcopy(self.model)
        ids = self.model.add(many, sender, self.now)
        prepared = self.store.prepare(many)
        assert prepared.ids == ids
        try:
            self.store.add(prepared, sender, self.now)
        except Refused:
            self.model = before
            return
        self.reconcile()
        if not self.over_limits:
            assert self.store.usage() <= self.store.limits.max_bytes
            most = self.store.limits.max_messages
            assert not most or self.store.state.count <= most

    @rule(most=st.sampled_from([0, 3, 40]), age=st.sampled_from([0, 5, 50]))
    def set_limits(self, most: int, age: int) -> None:
        self.store.expire(self.now)
        assert self.store.limits.change(None, most, age) == ""
        self.over_limits = True
        self.reconcile()

    @rule(seconds=st.sampled_from([1, 7, 60]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        self.reconcile()

    @rule(count=st.integers(0, 9))
    def prune(self, count: int) -> None:
        self.store.move_first(min(self.store.state.first_id + count, self.store.state.last_id + 1))
        self.store.state.save()
        self.reconcile()

    @rule(pages=st.sampled_from([1, 3, 500]))
    def work(self, pages: int) -> None:
        more = self.store.reclaim(self.now, pages)
        assert bool(self.store.state.pending_since) == more
        self.over_limits = more
        self.reconcile()

    @rule(hint=st.booleans(), pages_at_once=st.sampled_from([1, 10**6]))
    def upgrade(self, hint: bool, pages_at_once: int) -> None:
        if hint:
            self.store.index.save()
        self.store = message_store(self.maps)
        while not self.store.index_more(pages_at_once):
            pass

    @invariant()
    def every_read_agrees_with_the_model(self) -> None:
        reads, model = Reads(self.store, self.now), self.model
        numbers = list(model.messages)
        assert (reads.reader.count, reads.reader.min_id) == (len(numbers), numbers[0] if numbers else 0)
        assert self.store.state.last_id == model.last_id
        assert reads.by_range(0, LAST) == model.by_range(0, LAST)
        middle = (model.first_id + model.last_id) // 2
        for low, high in ((middle, LAST), (0, middle), (middle, middle), (middle + 1, middle)):
            assert reads.by_range(low, high) == model.by_range(low, high)
        for key in KEYS:
            ids = model.ids_of(key)
            ends = reads.reader.oldest_of_key(key, 1), reads.reader.newest_of_key(key, LAST)
            assert ends == ((ids[0], ids[-1]) if ids else (0, 0))
            for low, high in ((0, LAST), (middle, LAST), (0, middle)):
                assert reads.by_range_for_key(key, low, high) == model.by_range_for_key(key, low, high)
            page = reads.since(middle, key, 2)
            later = [number for number in ids if number > middle]
            assert [message["id"] for message in page["messages"]] == later[:2]
            assert page["complete"] == (len(later) <= 2)
        metas = reads.metas(0, LAST)
        assert [(meta["id"], meta["sender"]) for meta in metas] == [(n, model.messages[n].sender) for n in numbers]
        for number in numbers[:2] + numbers[-2:]:
            assert reads.by_id(number) == model.record(number)
            assert reads.reader.sender(number) == model.messages[number].sender
            digest = model.messages[number].hash
            assert reads.by_hash(digest) == model.record(model.newest_with(digest))
        assert reads.by_id(model.first_id - 1) is None
        assert reads.by_id(model.last_id + 1) is None

    @invariant()
    def the_chain_leads_to_the_head(self) -> None:
        chain_of(self.store, self.model, self.now)

    @invariant()
    def usage_is_what_the_formula_says(self) -> None:
        state = self.store.state
        pages = len(self.maps.message_pages_map.entries)
        assert self.store.usage() == pages * PAGE_RESERVED_BYTES + state.count * INDEX_BYTES


TestTheStore = StoreMachine.TestCase
TestTheStore.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


class Fault(Exception):
    """A stable map's write that failed."""


class FaultyMap(FakeMap):
    """A map whose writes fail once a common counter runs out."""

    left = -1

    def _count(self) -> None:
        if FaultyMap.left == 0:
            raise Fault
        FaultyMap.left -= 1

    def insert(self, key: Any, value: Any) -> Any:
        self._count()
        return super().insert(key, value)

    def remove(self, key: Any) -> Any:
        self._count()
        return super().remove(key)


def test_after_a_fault_at_any_write_the_store_is_as_before():
    maps = maps_of("zone_canister")
    for found in vars(maps).values():
        found.__class__ = FaultyMap
    store = message_store(maps)
    store.limits.change(MIB, None, None)
    for number in range(160):
        add(store, [(KEYS[number % 3], bytes([number]) * 6_000)], SENDER, number)
    batch = [(KEYS[0], bytes([7, number]) * 1_500) for number in range(30)] + [(KEYS[1], bytes(30_000))]
    before = copy.deepcopy(maps)
    state = vars(message_store(copy.deepcopy(before)).state)
    writes = 0
    while True:
        tried = copy.deepcopy(before)
        faulty = message_store(tried)
        faulty.index_more(10**6)
        FaultyMap.left = writes
        try:
            faulty.add(faulty.prepare(batch), SENDER, 1_000)
        except Fault:
            # As the platform does: a trap takes the stable maps back, and the heap with them.
            FaultyMap.left = -1
            again = message_store(before)
            assert {name: value for name, value in vars(again.state).items() if name != "_states"} == {
                name: value for name, value in state.items() if name != "_states"
            }
            writes += 1
            continue
        break
    FaultyMap.left = -1
    assert writes > 20
    assert faulty.state.evicted > 0


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
        assert batch_fault(broken) == ""
