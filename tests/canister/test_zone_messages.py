"""The zone canister's message methods on the Wasm."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.actor import Actor
from tests.support.network import CallRejected, Network
from tests.support.stores import Reads, add, message_store
from tests.support.zones import deploy_zone, join, key_id, member


@pytest.fixture(scope="module")
def zone(zone_build):
    with Network() as network:
        zone = deploy_zone(network, zone_build.wasm, zone_build.did)
        join(zone, 1)
        yield zone


ONE = member(1)


def test_a_message_comes_back_with_everything_the_contract_promises(zone: Actor):
    ciphertext = b"hello zone"
    first = zone.call("add_message", key_id(1), ciphertext, sender=ONE)
    label, message_id = first
    assert label == "ok"
    message = zone.call("get_message_by_id", message_id, sender=ONE)
    assert message == {
        "id": message_id,
        "timestamp": zone.network.time() // 10**9,
        "key_id": key_id(1),
        "next_msg_id": 0,
        "prev_msg_id": 0,
        "hash": hashlib.sha256(ciphertext).digest(),
        "ciphertext": ciphertext,
    }
    assert zone.call("get_message_by_hash", message["hash"], sender=ONE) == message
    assert zone.call("add_message", key_id(1), ciphertext, sender=ONE) == first
    assert zone.call("get_max_message_id") == message_id


def test_a_batch_is_stored_wholly_or_not_at_all(zone: Actor):
    before = zone.call("get_message_count")
    items = [{"0": key_id(2), "1": b"batch %d" % number} for number in range(5)]
    bad = [*items, {"0": bytes(20), "1": b"bad"}]
    answer = zone.call("add_messages", bad, sender=ONE)
    assert answer == ("err", "item 5: key_id must be 41 bytes, got 20")
    assert zone.call("get_message_count") == before
    label, ids = zone.call("add_messages", items, sender=ONE)
    assert (label, ids) == ("ok", list(range(before + 1, before + 6)))
    assert zone.call("add_messages", [], sender=ONE) == ("ok", [])
    assert zone.call("add_message", bytes(40), b"x", sender=ONE) == ("err", "key_id must be 41 bytes")


def test_an_unknown_message_is_rejected_by_name_or_null(zone: Actor):
    for unknown in (0, 4_000_000_000):
        with pytest.raises(CallRejected) as caught:
            zone.call("get_message_by_id", unknown, sender=ONE)
        assert caught.value.message.endswith(f"message not found: {unknown}")
    assert zone.call("get_message_by_hash", bytes(32), sender=ONE) is None
    assert zone.call("get_min_message_id_by_key", bytes(3), sender=ONE) is None


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("add_message", (key_id(1), b"x")),
        ("add_messages", ([],)),
        ("get_message_by_id", (1,)),
        ("get_message_by_hash", (bytes(32),)),
        ("get_messages_by_range", (0, 10)),
        ("get_messages_by_range_for_key", (key_id(1), 0, 10)),
        ("get_min_message_id_by_key", (key_id(1),)),
        ("get_max_message_id_by_key", (key_id(1),)),
    ],
)
def test_strangers_are_refused_before_their_arguments_are_decoded(zone: Actor, method, values):
    for payload in (zone.encode(method, *values), b"no candid at all"):
        send = zone.network.query if zone.methods[method].mode == "query" else zone.network.update
        with pytest.raises(CallRejected) as caught:
            send(zone.id, method, payload, member(99))
        assert caught.value.message.endswith("Not a member of the zone")
        assert "trapped" not in caught.value.message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"DIDL",
        b"DIDL\x00\x02\x71\x71\x01a\x01b",  # two texts
        b"DIDL\x00\x00",  # nothing
        b"DIDL\x01\x6d\x7b\x02\x00\x00\x05ab",  # a blob cut short
    ],
)
def test_arguments_of_other_types_never_reach_the_store(zone: Actor, payload):
    before = zone.call("get_message_count")
    with pytest.raises(CallRejected):
        zone.network.update(zone.id, "add_message", payload, ONE)
    assert zone.call("get_message_count") == before


def test_replies_are_bounded_and_can_be_continued(zone: Actor):
    start = zone.call("get_max_message_id") + 1
    for batch in range(3):
        items = [{"0": key_id(7), "1": bytes([batch, number]) * 45_000} for number in range(15)]
        assert zone.call("add_messages", items, sender=ONE)[0] == "ok"
    found = []
    while True:
        page = zone.call("get_messages_by_range", (found[-1] + 1) if found else start, 2**32 - 1, sender=ONE)
        if not page:
            break
        found += [message["id"] for message in page]
    assert found == list(range(start, start + 45))


messages = st.lists(
    st.tuples(st.integers(10, 13), st.binary(max_size=40)), min_size=1, max_size=12, unique_by=lambda item: item
)


@settings(max_examples=8)
@given(messages)
def test_what_the_store_does_on_the_host_it_does_on_the_wasm(zone: Actor, sequence):
    base = zone.call("get_max_message_id")
    tag = base.to_bytes(4, "big")
    pairs = [(key_id(1_000 * base + number), tag + text) for number, text in sequence]
    host = message_store()
    host_ids = add(host, pairs, b"", 1)
    reads = Reads(host, 1)
    label, ids = zone.call("add_messages", [{"0": key, "1": text} for key, text in pairs], sender=ONE)
    assert (label, [number - base for number in ids]) == ("ok", host_ids)
    for expected in reads.by_range(0, 2**32 - 1):
        found = zone.call("get_message_by_id", base + expected["id"], sender=ONE)
        shifted = {name: expected[name] and expected[name] + base for name in ("id", "next_msg_id", "prev_msg_id")}
        assert found == {**expected, **shifted, "timestamp": found["timestamp"]}
    for key in {key for key, _ in pairs}:
        newest_first = zone.call("get_messages_by_range_for_key", key, 0, 2**32 - 1, sender=ONE)
        expected_ids = [message["id"] + base for message in reads.by_range_for_key(key, 0, 2**32 - 1)]
        assert [message["id"] for message in newest_first] == expected_ids
