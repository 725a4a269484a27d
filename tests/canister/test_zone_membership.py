"""Roles, the role lookup by outcall, and what strangers can cost a zone, on the Wasm."""

import json

import pytest

from canister_kit.keys import address_of
from tests.support.network import ANONYMOUS, CallRejected
from tests.support.zones import (
    RPC_HOST,
    TEAM,
    ZONE_ID,
    ask_role,
    deploy_zone,
    join,
    member,
    public_key,
    role_answer,
)


@pytest.fixture
def zone(network, zone_build):
    return deploy_zone(network, zone_build.wasm, zone_build.did)


def rejection(zone, method, *values, sender=ANONYMOUS) -> str:
    with pytest.raises(CallRejected) as caught:
        zone.call(method, *values, sender=sender)
    return caught.value.message


def test_a_role_is_looked_up_at_the_zones_own_contract(zone):
    call, outcall = ask_role(zone, 1)
    assert outcall.url == f"https://{RPC_HOST}/"
    assert outcall.method.upper() == "POST"
    assert outcall.max_response_bytes == 1024
    assert outcall.headers == [
        ("Host", RPC_HOST),
        ("User-Agent", "diode_oracle_canister"),
        ("Content-Type", "application/json"),
    ]
    request = json.loads(outcall.body)
    assert request["params"][0] == {
        "to": ZONE_ID,
        "data": "0xd4322d7d" + "0" * 24 + address_of(public_key(1)).hex(),
    }
    zone.network.answer(outcall, role_answer(400), headers=[("Date", "today")])
    assert zone.wait("update_role", call) == 400
    assert zone.call("my_role", sender=member(1)) == 400
    assert zone.call("get_role", member(1).bytes) == 400
    assert zone.call("my_role", sender=member(2)) == 0


def test_the_call_token_goes_along(network, zone_build):
    zone = deploy_zone(network, zone_build.wasm, zone_build.did, call_token=b"\x11" * 32)
    _, outcall = ask_role(zone, 1)
    assert json.loads(outcall.body)["params"][0]["data"].startswith("0xba8f89b4" + "11" * 32 + "0" * 24)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (500, b"overloaded", "HTTP status 500, body 'overloaded'"),
        (200, b'{"id":1,"error":{"code":-32000,"message":"reverted"}}', "reverted"),
        (200, b"<html>", "unreadable body"),
        (200, b'{"result":"0x"}', "expected a result of 1 to 32 bytes"),
    ],
)
def test_a_failing_node_removes_nobody(zone, status, body, text):
    join(zone, 1)
    zone.network.advance(61)
    call, outcall = ask_role(zone, 1)
    zone.network.answer(outcall, body, status)
    with pytest.raises(CallRejected) as caught:
        zone.wait("update_role", call)
    assert text in caught.value.message
    assert zone.call("my_role", sender=member(1)) == 200


def test_an_outcall_that_fails_is_told_and_changes_nothing(zone):
    call, outcall = ask_role(zone, 1)
    zone.network.refuse(outcall, "no route to host")
    with pytest.raises(CallRejected) as caught:
        zone.wait("update_role", call)
    assert "no route to host" in caught.value.message
    assert zone.call("my_role", sender=member(1)) == 0


def test_a_removed_member_loses_access_with_the_next_lookup(zone):
    join(zone, 1)
    join(zone, 2)
    zone.network.advance(61)
    call, outcall = ask_role(zone, 1, sender=member(2))
    zone.network.answer(outcall, role_answer(0))
    assert zone.wait("update_role", call) == 0
    assert "Not a member" in rejection(zone, "get_messages_by_range", 0, 1, sender=member(1))


def test_only_the_keys_principal_or_a_member_may_ask(zone):
    assert "Anonymous callers are refused" in rejection(zone, "update_role", public_key(1))
    assert "own principal or a member" in rejection(zone, "update_role", public_key(1), sender=member(2))
    assert rejection(zone, "update_role", bytes(64), sender=member(1)).endswith("Invalid public key size: 64")
    assert zone.network.outcalls() == []
    join(zone, 2)
    call, outcall = ask_role(zone, 1, sender=member(2))
    zone.network.answer(outcall, role_answer(200))
    assert zone.wait("update_role", call) == 200


def test_a_key_has_one_lookup_a_minute_and_one_in_flight(zone):
    call, outcall = ask_role(zone, 1)
    assert "in flight" in rejection(zone, "update_role", public_key(1), sender=member(1))
    zone.network.answer(outcall, role_answer(200))
    assert zone.wait("update_role", call) == 200
    assert "try again in" in rejection(zone, "update_role", public_key(1), sender=member(1))
    zone.network.advance(61)
    ask_role(zone, 1)


def test_the_transform_drops_headers_only(zone):
    response = {"status": 200, "headers": [{"name": "Date", "value": "x"}], "body": b"body"}
    transformed = zone.call("oracle_transform_function", {"response": response, "context": b"eth_call"})
    assert transformed == {**response, "headers": []}


def test_the_balance_hardly_moves_under_a_strangers_hands(zone):
    before = zone.network.cycles(zone.id)
    for number in range(10):
        rejection(zone, "update_role", public_key(1), sender=member(50 + number))
        rejection(zone, "add_message", bytes(41), b"x", sender=member(50 + number))
    spent = before - zone.network.cycles(zone.id)
    assert spent < 20 * 15_000_000


def test_long_calls_of_strangers_are_not_even_paid_for(zone):
    join(zone, 1)
    before = zone.network.cycles(zone.id)
    for number in range(3):
        text = rejection(zone, "add_message", bytes(41), bytes(1_900_000), sender=member(50 + number))
        assert "rejected the message" in text
    assert "rejected the message" in rejection(zone, "update_role", bytes(1_900_000), sender=member(60))
    assert before - zone.network.cycles(zone.id) < 100_000_000
    assert zone.call("add_message", b"\x14" * 41, bytes(1_900_000), sender=member(1)) == ("ok", 1)


def test_the_system_methods_tell_about_the_canister(zone):
    assert zone.call("get_zone_id") == ZONE_ID
    assert zone.call("get_version") == 1000
    installed = zone.call("get_installation_id")
    assert abs(installed - zone.network.time()) < 60 * 10**9
    assert zone.call("get_cycles_balance") == zone.network.cycles(zone.id)
    physical = zone.call("get_stable_storage_size")
    assert physical * 65_536 == len(zone.network.stable_memory(zone.id))
    assert 0 < zone.call("get_logical_stable_storage_size") <= physical


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"zone_id": "0x12"}, "Invalid zone_id '0x12'"),
        ({"rpc_host": "https://x"}, "Invalid rpc_host 'https://x'"),
        ({"rpc_path": "no"}, "Invalid rpc_path 'no'"),
        ({"call_token": b"short"}, "Invalid call token size: 5"),
    ],
)
def test_arguments_that_could_never_work_fail_the_installation(network, zone_build, change, text):
    with pytest.raises(CallRejected) as caught:
        deploy_zone(network, zone_build.wasm, zone_build.did, **change)
    assert text in caught.value.message


def test_controllers_are_no_members(zone):
    assert "Not a member" in rejection(zone, "get_messages_by_range", 0, 1, sender=TEAM)
