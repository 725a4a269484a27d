"""Roles, the contract's request and answer, and the rules for asking, on the host."""

import contextlib
import hashlib
import json

import pytest
from Crypto.Hash import keccak
from hypothesis import given
from hypothesis import strategies as st

from canister_kit.keccak import keccak_256
from canister_kit.keys import address_of, principal_of
from canister_kit.oracle import Json, OracleError, role_call, role_of
from canister_kit.outcalls import (
    DAILY_FOR_A_MEMBER,
    DAILY_FOR_MEMBERS,
    DAILY_FOR_OTHERS,
    INTERVAL,
    MAX_MARKS,
    OutcallRules,
)
from tests.support.maps import maps_of
from zone_canister.members import MemberCache

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
VECTORS = [
    (
        "0406777bd9e804bc47039449737c98e8aceaf7d48f5df7b85c41e09628de8f17fb"
        "e09e0e5d8c0d8eee079c4019078a92158c8bb027ad5c8954b30ddc113cea71d5",
        "fd86d5ea6d811556da1470de4fcfe0a52fe8832e",
        "bttkd-bzrdv-bctq7-ofkxw-jhke6-6yfww-3kuxq-o2jzs-gmbar-lygq6-rae",
    ),
    (
        "046a10bdf40be277bafc0fa90878b8e3c49f24c1d251cb99cfacdf68d7c3fbc474"
        "fde62d093ebe62bdcf6f081f2f1b6b3decd074aded8c86abdd5a0ada74967c3b",
        "feb524a4455be248b7e49a024d5d6891a31647ee",
        "42gbo-uiwfn-oq452-ql6yp-4jsqn-a6bxk-n7l4z-ni7os-yptq6-3htob-vqe",
    ),
]


@pytest.mark.parametrize(("public_key", "address", "principal"), VECTORS)
def test_the_contracts_vectors_hold(public_key, address, principal):
    from ic.principal import Principal

    assert address_of(bytes.fromhex(public_key)).hex() == address
    assert Principal(principal_of(bytes.fromhex(public_key))).to_str() == principal


@given(st.binary(max_size=300))
def test_keccak_agrees_with_a_library(data):
    reference = keccak.new(digest_bits=256)
    reference.update(data)
    assert keccak_256(data) == reference.digest()


def test_the_request_is_byte_exact():
    plain = role_call("0x" + "ab" * 20, None, bytes(range(20)))
    assert plain == (
        b'{"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": "0x' + b"ab" * 20 + b'", '
        b'"data": "0xd4322d7d' + b"0" * 24 + bytes(range(20)).hex().encode() + b'"}, "latest"]}'
    )
    with_token = role_call("0x" + "ab" * 20, b"\x11" * 32, bytes(20))
    assert b'"data": "0xba8f89b4' + b"11" * 32 + b"0" * 64 + b'"' in with_token


@pytest.mark.parametrize(
    "body",
    [
        '{"jsonrpc":"2.0","id":1,"result":"0x%s"}',
        '{"result" : "0x%s" , "id": 1}',
        '{"note":"\\"result\\":\\"0x01\\"","extra":{"result":"0x02","l":[{"a":[]}]},"error":null,"result":"0x%s"}\n',
    ],
)
@pytest.mark.parametrize("role", [0, 200, 400, 2**256 - 1])
def test_a_role_is_read_wherever_the_result_stands(body, role):
    assert role_of(200, (body % role.to_bytes(32, "big").hex()).encode()) == role


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (500, b"oops", "HTTP status 500, body 'oops'"),
        (404, b'{"result":"0x01"}', "HTTP status 404"),
        (200, b'{"error":{"code":-32000,"message":"execution reverted"},"id":1}', "JSON-RPC error"),
        (200, b'{"id":1}', "expected a result"),
        (200, b'{"result":"0x"}', "expected a result"),
        (200, b'{"result":"0xzz"}', "expected a result"),
        (200, b'{"result":"0x012"}', "expected a result"),
        (200, b'{"result":"0x0 1 "}', "expected a result"),
        (200, b'{"result":"0x0_1_"}', "expected a result"),
        (200, b'{"result":12}', "expected a result"),
        (200, b'{"result":"0x' + b"11" * 33 + b'"}', "expected a result"),
        (200, b'{"result":"0x01","result":"0x02"}', "twice"),
        (200, b"", "'{' expected"),
        (200, b"[]", "'{' expected"),
        (200, b'{"result":"0x01"} x', "more after the object"),
        (200, b'{"result":"0x01', "a string without an end"),
        (200, b'{"a":' + b"[" * 40, "nested too deep"),
    ],
)
def test_anything_but_a_role_is_refused_with_what_came_back(status, body, text):
    with pytest.raises(OracleError, match="role lookup failed") as caught:
        role_of(status, body)
    assert text in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(alphabet="abcdef", max_size=4), json_values, max_size=4))
def test_the_members_of_any_object_are_found(value):
    found = Json(json.dumps(value).encode()).members()
    assert {name: json.loads(text) for name, text in found.items()} == value


@given(st.binary(max_size=60))
def test_no_body_does_worse_than_an_oracle_error(body):
    with contextlib.suppress(OracleError):
        assert role_of(200, body) >= 0


def test_a_role_of_zero_is_not_stored_and_ends_a_membership():
    members = MemberCache(maps_of("zone_canister").members_map)
    members.store(b"a", 0, 1)
    assert members._members.len() == 0
    members.store(b"a", 400, 2)
    assert members.role(b"a") == 400
    members.store(b"a", 0, 3)
    assert members.role(b"a") == 0
    assert members._members.len() == 0


MEMBER = b"a member"


def rules() -> OutcallRules:
    return OutcallRules(maps_of("zone_canister").settings_map)


def test_a_key_is_looked_up_once_a_minute():
    asked = rules()
    assert asked.admit(b"a", MEMBER, 0) == ""
    asked.finished(b"a")
    assert asked.admit(b"a", MEMBER, INTERVAL - 1) == "one role lookup per key and 60 seconds: try again in 1 seconds"
    assert asked.admit(b"b", MEMBER, INTERVAL - 1) == ""
    assert asked.admit(b"a", MEMBER, INTERVAL) == ""


def test_a_key_has_one_lookup_in_flight():
    asked = rules()
    assert asked.admit(b"a", MEMBER, 0) == ""
    assert "in flight" in asked.admit(b"a", MEMBER, INTERVAL + 1)
    assert asked.admit(b"a", MEMBER, 11 * INTERVAL) == ""


def test_strangers_share_a_daily_budget_that_members_do_not_touch():
    asked = rules()
    for number in range(DAILY_FOR_OTHERS):
        assert asked.admit(hashlib.sha224(bytes([number])).digest(), b"", number) == ""
    assert "used up" in asked.admit(b"one more", b"", SECOND)
    assert asked.admit(b"one more", MEMBER, SECOND) == ""
    assert asked.admit(b"tomorrow", b"", DAY) == ""


def test_a_member_has_a_part_of_a_daily_budget_that_all_members_share():
    asked = rules()
    for number in range(DAILY_FOR_MEMBERS):
        member = bytes([number // DAILY_FOR_A_MEMBER])
        assert asked.admit(number.to_bytes(4, "big"), member, number) == ""
        asked.finished(number.to_bytes(4, "big"))
    assert "the 100 role lookups a day of one member" in asked.admit(b"next", bytes([3]), SECOND)
    assert "the 2000 role lookups a day of all members" in asked.admit(b"next", b"another", SECOND)
    assert asked.admit(b"stranger", b"", SECOND) == ""
    assert asked.admit(b"next", bytes([3]), DAY) == ""


def test_the_marks_of_recent_lookups_are_bounded():
    asked = rules()
    for number in range(MAX_MARKS):
        assert asked.admit(number.to_bytes(4, "big"), bytes([number // 100]), 0) == ""
    assert asked.admit(b"next", b"one more", INTERVAL) == ""
    assert len(asked._marks._started) == 1


def test_the_budget_of_a_canister_that_counted_non_members_alone_is_read():
    maps = maps_of("zone_canister")
    maps.settings_map.insert("outcalls", (0).to_bytes(4, "little") + DAILY_FOR_OTHERS.to_bytes(4, "little"))
    asked = OutcallRules(maps.settings_map)
    assert "used up" in asked.admit(b"stranger", b"", 1)
    assert asked.admit(b"a", MEMBER, 1) == ""
