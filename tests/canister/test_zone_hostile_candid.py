"""Arguments that nobody honest sends, to every method of the zone: refused at a bounded cost, and nothing changes.

In one process with localnet, which tells what a call cost, and without `inspect_message`: another canister's calls do
not go through it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ic.principal import Principal

from localnet import candid as wire
from localnet.candid import uleb
from tests.support.actor import argument_types, plain
from tests.support.effort import examples
from tests.support.hostile_candid import BLOB, BOMBS, CALL_BYTES, alone, calls, many
from tests.support.local_zone import LocalZone
from tests.support.network import ANONYMOUS
from tests.support.zones import key_id, member

STRANGER = member(99)
STRANGERS_COST = 5_000_000
MEMBERS_COST = 200_000_000

pytestmark = pytest.mark.localnet_only("the instructions of a call are told")


@pytest.fixture(scope="module")
def zone(zone_build) -> LocalZone:
    zone = LocalZone(zone_build)
    items = [{"0": key_id(number % 3), "1": b"%d" % number * number} for number in range(40)]
    assert zone.call("add_messages", zone.encode("add_messages", items), zone.admin).reply
    zone.local.advance(2)
    return zone


KEY = uleb(41) + key_id(1)


def after_a_message(types: bytes, count: int, value: bytes) -> bytes:
    """Arguments of `add_message` and then a value; the types' indices start at 1."""
    return b"DIDL" + uleb(1 + count) + BLOB + types + b"\x03\x00\x00\x01" + KEY + b"\x01x" + value


def after_a_batch(types: bytes, count: int, value: bytes) -> bytes:
    """An argument of `add_messages` and then a value; the types' indices start at 1."""
    ends = b"\x6c\x02\x00\x00\x01\x00\x6d" + uleb(count + 1)
    return (
        b"DIDL"
        + uleb(3 + count)
        + BLOB
        + types
        + ends
        + b"\x02"
        + uleb(count + 2)
        + b"\x01\x01"
        + KEY
        + b"\x01x"
        + value
    )


def check(zone: LocalZone, method: str, payload: bytes, sender: Principal) -> bool:
    """Calls a method: whether it was let through. Where it was not, the cost was bounded."""
    answer = zone.call(method, payload, sender)
    if answer.reply is None:
        is_member = sender in (zone.admin, member(1))
        assert answer.instructions <= (MEMBERS_COST if is_member else STRANGERS_COST)
    return answer.reply is not None


@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_a_bomb_is_refused_whoever_sends_it_and_where(zone: LocalZone, bomb: str):
    before = zone.state()
    payloads = [BOMBS[bomb](alone, size) for size in (CALL_BYTES, 900)]
    for method, declared in zone.methods.items():
        for sender in (ANONYMOUS, STRANGER, zone.admin):
            for payload in payloads:
                let_through = check(zone, method, payload, sender)
                # A method without arguments does not look at what comes instead.
                assert not (let_through and declared.args), f"{method} takes {len(payload)} bytes"
    assert zone.state() == before


@pytest.mark.parametrize(
    "bomb", sorted(set(BOMBS) - {"nothing", "the start alone", "garbage", "many values", "no end"})
)
@pytest.mark.parametrize(("method", "put"), [("add_message", after_a_message), ("add_messages", after_a_batch)])
def test_a_bomb_behind_a_message_is_refused(zone: LocalZone, method: str, put: Callable, bomb: str):
    before = zone.state()
    assert not check(zone, method, BOMBS[bomb](put, CALL_BYTES), zone.admin)
    assert zone.state() == before


def test_more_messages_than_a_batch_may_have_are_refused_from_their_number(zone: LocalZone):
    head = b"DIDL\x03" + BLOB + b"\x6c\x02\x00\x00\x01\x00\x6d\x01\x01\x02"
    payload = head + many(b"\x00\x00", CALL_BYTES)
    answer = zone.call("add_messages", payload, zone.admin)
    assert answer.reject == "too many messages: 1000000, at most 10000 in one call"
    # With a type that only the decoder knows in front of it.
    hidden = (
        b"DIDL\x04\x6a\x00\x00\x00" + BLOB + b"\x6c\x02\x00\x01\x01\x01\x6d\x02\x01\x03" + many(b"\x00\x00", CALL_BYTES)
    )
    answer = zone.call("add_messages", hidden, zone.admin)
    assert answer.reject == "not a batch of messages: a type of kind -22"
    assert answer.instructions < 20_000_000


def test_whatever_bytes_come_they_are_refused_or_mean_what_they_say(zone: LocalZone):
    methods = sorted(name for name, method in zone.methods.items() if method.args)
    honest = {method: honest_payload(zone, method) for method in methods}

    @settings(max_examples=examples(300))
    @given(call=calls(methods, honest), sender=st.sampled_from([ANONYMOUS, STRANGER, member(1), zone.admin]))
    @example(call=("set_message_limits", b"DIDL\x01\x6c\x00\x01\x00"), sender=member(1))
    def fuzz(call: tuple[str, bytes], sender: Principal) -> None:
        method, payload = call
        watched = not zone.is_query(method)
        before = zone.state() if watched else {}
        if check(zone, method, payload, sender):
            # What was let through is a message of the declared types for an independent decoder, too.
            wire.decode(payload, argument_types(zone.interface, method))
        elif watched:
            assert zone.state() == before

    fuzz()


def honest_payload(zone: LocalZone, method: str) -> bytes:
    values = {
        "add_message": (key_id(1), b"honest"),
        "add_messages": ([{"0": key_id(1), "1": b"one"}, {"0": key_id(2), "1": b"two"}],),
    }
    if method in values:
        return zone.encode(method, *values[method])
    return wire.encode(
        kinds := argument_types(zone.interface, method), [plain(kind, member(1).bytes) for kind in kinds]
    )
