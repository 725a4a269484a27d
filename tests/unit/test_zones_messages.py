"""Batches, sending and reading over a zone in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_agent import FakeAgent, FakeZone
from zones.encryption import ZoneKey, key_id_of
from zones.errors import NetworkError, UserError
from zones.messages import PAIR_OVERHEAD_BYTES, batches, read, read_key, send
from zones.zone import Zone

CANISTER = b"\0" * 8 + b"\x01\x01"
KEY = ZoneKey.generate()
ALICE, BOB = bytes([1]) * 20, bytes([2]) * 20


def zone_of(fake: FakeZone) -> Zone:
    return Zone(FakeAgent({CANISTER: fake}), CANISTER)


@given(
    st.lists(st.binary(max_size=200), max_size=60),
    st.integers(1, 20),
    st.integers(200 + PAIR_OVERHEAD_BYTES, 2_000),
)
def test_batches_keep_the_order_and_both_limits(texts: list[bytes], count: int, size: int) -> None:
    pairs = [(bytes(41), text) for text in texts]
    made = list(batches(pairs, max_messages=count, max_bytes=size))
    assert [pair for batch in made for pair in batch] == pairs
    for batch in made:
        assert 1 <= len(batch) <= count
        assert sum(len(text) + PAIR_OVERHEAD_BYTES for _, text in batch) <= size


def test_batches_are_as_few_as_fit() -> None:
    pairs = [(bytes(41), bytes(100))] * 10
    assert [len(batch) for batch in batches(pairs, max_messages=4)] == [4, 4, 2]
    assert [len(batch) for batch in batches(pairs, max_bytes=3 * (100 + PAIR_OVERHEAD_BYTES))] == [3, 3, 3, 1]


def test_a_message_that_fits_no_batch_is_refused_with_the_limit() -> None:
    with pytest.raises(UserError, match=r"2000000 encrypted bytes is too large.*at most 1799954 bytes"):
        list(batches([(bytes(41), bytes(2_000_000))]))


@given(st.lists(st.text(max_size=50), max_size=30), st.integers(1, 10), st.integers(1, 10), st.integers(1, 10))
def test_what_was_sent_is_read_in_order_whatever_a_reply_holds(
    texts: list[str], batch: int, reply_messages: int, page: int
) -> None:
    fake = FakeZone(reply_messages)
    zone = zone_of(fake)
    sent = send(zone, KEY, ALICE, texts, max_messages=batch)
    assert sent.ids == list(range(1, len(texts) + 1))
    assert sent.batches == len(fake.batches) == -(-len(texts) // batch)
    assert sent.plain_bytes == sum(len(text.encode()) for text in texts)
    received = list(read(zone, KEY, page=page))
    assert [message.text for message in received] == texts
    assert all(message.sender == ALICE for message in received)


def test_a_range_of_ids_is_read_alone() -> None:
    zone = zone_of(FakeZone(reply_messages=3))
    send(zone, KEY, ALICE, map(str, range(1, 21)))
    assert [message.text for message in read(zone, KEY, first=5, last=9)] == ["5", "6", "7", "8", "9"]
    assert [message.id for message in read(zone, KEY, first=19, last=1_000)] == [19, 20]
    assert list(read(zone, KEY, first=21)) == []


def test_one_senders_messages_are_read_oldest_first() -> None:
    zone = zone_of(FakeZone(reply_messages=2))
    for number in range(5):
        send(zone, KEY, ALICE, [f"a{number}"])
        send(zone, KEY, BOB, [f"b{number}"])
    assert [message.text for message in read_key(zone, KEY, BOB)] == ["b0", "b1", "b2", "b3", "b4"]
    assert [message.text for message in read_key(zone, KEY, ALICE, first=3, last=7)] == ["a1", "a2", "a3"]
    assert read_key(zone, KEY, bytes(20)) == []


def test_a_batch_whose_reply_was_lost_is_stored_once() -> None:
    fake = FakeZone()
    fake.lose_replies = 2
    sent = send(zone_of(fake), KEY, ALICE, ["one", "two"])
    assert sent.ids == [1, 2]
    assert fake.batches == [2, 2, 2]
    assert len(fake.messages) == 2


def test_a_network_that_stays_away_is_an_error() -> None:
    fake = FakeZone()
    fake.lose_replies = 100
    with pytest.raises(NetworkError, match="lost"):
        send(zone_of(fake), KEY, ALICE, ["one"])


def test_progress_counts_acknowledged_messages() -> None:
    seen: list[int] = []
    send(zone_of(FakeZone()), KEY, ALICE, ["x"] * 5, max_messages=2, progress=seen.append)
    assert seen == [2, 4, 5]


def test_a_message_that_cannot_be_read_is_shown_as_such_between_the_others() -> None:
    zone = zone_of(FakeZone())
    send(zone, KEY, ALICE, ["one"])
    send(zone, ZoneKey.generate(), ALICE, ["for another zone"])
    zone.add_messages([(key_id_of(ALICE), KEY.encrypt(b"\xff", key_id_of(ALICE))), (bytes(41), b"foreign")])
    send(zone, KEY, ALICE, ["five"])
    received = list(read(zone, KEY))
    assert [message.text for message in received] == ["one", None, None, None, "five"]
    assert "another zone" in (received[1].error or "")
    assert "no UTF-8" in (received[2].error or "")
    assert received[3].sender is None
