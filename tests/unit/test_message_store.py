"""The message store against a plain model, on maps that refuse what stable maps would refuse."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.maps import maps_of
from tests.support.stores import message_store
from zone_canister.messages import MAX_BATCH, REPLY_BYTES

KEYS = [bytes([20]) + bytes([number]) * 20 + bytes(20) for number in range(4)]
SENDER = b"\x01" * 29
pairs = st.tuples(st.sampled_from(KEYS), st.binary(max_size=12) | st.integers(0, 9_000).map(lambda n: b"\x07" * n))
batches = st.lists(st.lists(pairs, max_size=8), max_size=12)


class Model:
    """What a message store does, in a list."""

    def __init__(self):
        self.messages: list[tuple[bytes, bytes, int]] = []

    def add(self, key_id: bytes, ciphertext: bytes, now: int) -> int:
        for number, (known_key, known, _) in enumerate(self.messages, 1):
            if (known_key, known) == (key_id, ciphertext):
                return number
        self.messages.append((key_id, ciphertext, now))
        return len(self.messages)

    def ids_of(self, key_id: bytes) -> list[int]:
        return [number for number, message in enumerate(self.messages, 1) if message[0] == key_id]

    def record(self, number: int) -> dict:
        key_id, ciphertext, now = self.messages[number - 1]
        ids = self.ids_of(key_id)
        at = ids.index(number)
        return {
            "id": number,
            "timestamp": now,
            "key_id": key_id,
            "next_msg_id": ids[at + 1] if at + 1 < len(ids) else 0,
            "prev_msg_id": ids[at - 1] if at else 0,
            "hash": hashlib.sha256(ciphertext).digest(),
            "ciphertext": ciphertext,
        }


@settings(max_examples=150, deadline=None)
@given(batches, st.integers(0, 60), st.integers(0, 60))
def test_every_read_agrees_with_the_model(sequence, low, high):
    store, model = message_store(), Model()
    for now, batch in enumerate(sequence):
        assert store.fault(batch, single=False) == ""
        assert store.add(batch, SENDER, now) == [model.add(key, text, now) for key, text in batch]
    count = len(model.messages)
    records = [model.record(number) for number in range(1, count + 1)]
    assert (store.count(), store.max_id(), store.min_id()) == (count, count, min(count, 1))
    assert [store.by_id(number) for number in range(1, count + 1)] == records
    assert store.by_range(low, high) == [record for record in records if low <= record["id"] <= high]
    for key in KEYS:
        ids = model.ids_of(key)
        assert (store.first_id_of_key(key), store.last_id_of_key(key)) == ((ids[0], ids[-1]) if ids else (None, None))
        expected = [model.record(number) for number in reversed(ids) if low <= number <= high]
        assert store.by_range_for_key(key, low, high) == expected
    for record in records:
        newest = max(other["id"] for other in records if other["hash"] == record["hash"])
        assert store.by_hash(record["hash"]) == records[newest - 1]


def test_an_empty_store_answers_every_read_with_nothing():
    store = message_store()
    assert store.by_range(0, 0) == []
    assert store.by_range(0, 2**32 - 1) == []
    assert store.by_range_for_key(KEYS[0], 5, 1) == []
    assert store.by_id(0) is None
    assert store.by_id(1) is None
    assert store.by_hash(bytes(32)) is None
    assert store.by_hash(b"short") is None
    assert store.usage() == 0


def test_the_same_ciphertext_under_another_key_is_another_message():
    store = message_store()
    assert store.add([(key, b"same") for key in KEYS], SENDER, 1) == [1, 2, 3, 4]
    assert store.add([(key, b"same") for key in KEYS], SENDER, 2) == [1, 2, 3, 4]
    newest = store.by_hash(hashlib.sha256(b"same").digest())
    assert newest is not None
    assert newest["id"] == 4


def test_a_range_stops_at_a_full_reply_and_goes_on_after_its_last_id():
    store = message_store()
    big = REPLY_BYTES // 3
    store.add([(KEYS[0], bytes([number]) * big) for number in range(7)], SENDER, 1)
    found = []
    while True:
        page = store.by_range(found[-1] + 1 if found else 0, 2**32 - 1)
        if not page:
            break
        assert sum(len(message["ciphertext"]) for message in page) <= REPLY_BYTES
        found += [message["id"] for message in page]
    assert found == [1, 2, 3, 4, 5, 6, 7]


def test_a_message_larger_than_a_reply_still_leaves_in_one_of_its_own():
    store = message_store()
    store.add([(KEYS[0], bytes(REPLY_BYTES + 1)), (KEYS[0], b"small")], SENDER, 1)
    assert [message["id"] for message in store.by_range(1, 2)] == [1]


def test_long_key_chains_cross_posting_chunks_in_both_directions():
    store = message_store()
    for start in range(0, 400, 50):
        store.add([(KEYS[number % 2], number.to_bytes(2, "big")) for number in range(start, start + 50)], SENDER, 1)
    newest_first = [message["id"] for message in store.by_range_for_key(KEYS[1], 0, 2**32 - 1)]
    assert newest_first == list(range(400, 0, -2))
    first = store.by_id(1)
    assert first is not None
    walked = [1]
    while first is not None and first["next_msg_id"]:
        walked.append(first["next_msg_id"])
        first = store.by_id(first["next_msg_id"])
    assert walked == list(range(1, 400, 2))


@pytest.mark.parametrize("size", [0, 20, 40, 42])
def test_a_key_of_another_size_is_refused_with_the_contracts_text(size):
    store = message_store()
    assert store.fault([(bytes(size), b"x")], single=True) == "key_id must be 41 bytes"
    items = [(KEYS[0], b"x"), (bytes(size), b"x")]
    assert store.fault(items, single=False) == f"item 1: key_id must be 41 bytes, got {size}"


def test_a_batch_has_a_largest_size():
    store = message_store()
    fault = store.fault([(KEYS[0], b"")] * (MAX_BATCH + 1), single=False)
    assert fault == "too many messages: 10001, at most 10000 in one call"


def test_a_batch_writes_each_page_once():
    maps = maps_of("zone_canister")
    store = message_store(maps)
    store.add([(KEYS[0], number.to_bytes(200, "big")) for number in range(100)], SENDER, 1)
    assert maps.message_pages_map.writes == 5
    assert maps.message_postings_map.writes == 2
