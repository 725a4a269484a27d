"""The factory on the Wasm: releases, creation of zones, cycles for children."""

import hashlib

import pytest
from ic.principal import Principal

from factory.admins import FIRST_ADMIN
from tests.support.actor import Actor
from tests.support.factories import T, deploy_factory, publish, rejection
from tests.support.network import ANONYMOUS, CallRejected
from tests.support.zones import BATTERY, RPC_HOST, TEAM, ZONE_ID, deploy_zone, join, key_id, member

CREATION = (ZONE_ID, RPC_HOST, "/")


@pytest.fixture
def factory(network, factory_build):
    return deploy_factory(network, factory_build)


@pytest.fixture
def ready(factory, zone_build):
    publish(factory, zone_build.wasm)
    return factory


def test_a_zone_is_created_from_the_release_and_works(ready, zone_build):
    network = ready.network
    before = network.cycles(ready.id)
    created = ready.call("create_zone_availability_canister", *CREATION, sender=member(1))
    assert ready.call("get_cycles_manager_children") == [created]
    assert ready.call("get_cycles_manager_children_count") == 1
    assert ready.call("get_my_zone", ZONE_ID, sender=member(1)) == created
    assert ready.call("get_my_zone", ZONE_ID, sender=member(2)) is None
    spent = before - network.cycles(ready.id)
    assert 2 * T < spent < 2.02 * T
    zone = Actor(network, Principal(created), zone_build.did)
    assert zone.call("get_zone_id") == ZONE_ID
    assert 1.4 * T < zone.call("get_cycles_balance") < 1.5 * T
    join(zone, 1)
    assert zone.call("add_message", key_id(1), b"first", sender=member(1)) == ("ok", 1)


def test_asking_again_returns_the_same_canister_and_spends_nothing(ready):
    created = ready.call("create_zone_availability_canister", *CREATION, sender=member(1))
    before = ready.network.cycles(ready.id)
    assert ready.call("create_zone_availability_canister", *CREATION, sender=member(1)) == created
    assert ready.call("create_zone_availability_canister_with_token", *CREATION, None, sender=member(1)) == created
    assert before - ready.network.cycles(ready.id) < 0.001 * T
    other = rejection(ready, "create_zone_availability_canister", ZONE_ID, "other.host", "/", sender=member(1))
    assert f"was created with rpc_host '{RPC_HOST}'" in other
    token = rejection(ready, "create_zone_availability_canister_with_token", *CREATION, bytes(32), sender=member(1))
    assert "another call_token" in token


def test_nobody_takes_anothers_zone_id(ready):
    first = ready.call("create_zone_availability_canister", *CREATION, sender=member(1))
    second = ready.call("create_zone_availability_canister", *CREATION, sender=member(2))
    assert first != second
    assert sorted([first, second]) == ready.call("get_cycles_manager_children")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("0x12", RPC_HOST, "/", None), "Invalid zone_id '0x12'"),
        ((ZONE_ID, 'x"; evil = "', "/", None), "Invalid rpc_host"),
        ((ZONE_ID, RPC_HOST, "", None), "Invalid rpc_path ''"),
        ((ZONE_ID, RPC_HOST, "/", b"short"), "Invalid call token size: 5"),
    ],
)
def test_bad_arguments_are_refused_before_a_cycle_is_spent(ready, values, text):
    before = ready.network.cycles(ready.id)
    assert text in rejection(ready, "create_zone_availability_canister_with_token", *values, sender=member(1))
    assert before - ready.network.cycles(ready.id) < 0.0005 * T
    assert ready.call("get_creation_policy")["unproven"]["creations_used"] == 0


def test_anonymous_callers_create_nothing(ready):
    assert "Anonymous callers are refused" in rejection(ready, "create_zone_availability_canister", *CREATION)


def test_a_poor_factory_creates_nothing_and_says_what_it_holds(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build, 6 * T)
    publish(factory, zone_build.wasm)
    refused = rejection(factory, "create_zone_availability_canister", *CREATION, sender=member(1))
    assert "this takes 2000000000000 and the reserve of 5000000000000 is never touched" in refused
    assert factory.call("get_creation_policy")["unproven"]["creations_used"] == 0


def test_without_a_release_there_is_nothing_to_install(factory):
    refused = rejection(factory, "create_zone_availability_canister", *CREATION, sender=member(1))
    assert "no release of the zone canister is published yet" in refused


def test_a_failed_installation_is_taken_up_where_it_stopped(factory, zone_build):
    network = factory.network
    publish(factory, b"\x00asm no module")
    refused = rejection(factory, "create_zone_availability_canister", *CREATION, sender=member(1))
    assert "installing the code failed" in refused
    assert "is kept: ask again" in refused
    assert factory.call("get_my_zone", ZONE_ID, sender=member(1)) is None
    publish(factory, zone_build.wasm, 1001)
    too_soon = rejection(factory, "create_zone_availability_canister", *CREATION, sender=member(1))
    assert "try again in 60 seconds" in too_soon
    network.advance(60)
    before = network.cycles(factory.id)
    created = factory.call("create_zone_availability_canister", *CREATION, sender=member(1))
    assert before - network.cycles(factory.id) < 0.1 * T
    assert Principal(created).to_str() in refused
    assert factory.call("get_cycles_manager_children") == [created]


def test_releases_are_the_admins_business(ready, zone_build):
    digest = hashlib.sha256(zone_build.wasm).digest()
    release = ready.call("get_release")
    assert release["wasm_hash"] == digest
    assert (release["version"], release["size"], release["notes"]) == (1000, len(zone_build.wasm), "first")
    assert ready.call("get_release_upload", digest) == {"chunks": 2, "bytes": len(zone_build.wasm)}
    assert ready.call("get_release_upload", bytes(32)) is None
    page = ready.call("get_releases", None, 10)
    assert page == {"releases": [release], "total": 1}
    chunks = [ready.call("get_release_chunk", digest, index) for index in range(release["chunks"])]
    assert b"".join(chunk for _, chunk in chunks) == zone_build.wasm
    assert ready.call("get_release_chunk", digest, 2) == ("err", "release 1000 has 2 chunks, there is no chunk 2")
    assert ready.call("get_release_chunk", bytes(32), 0) == ("err", f"no release has the SHA-256 {bytes(32).hex()}")
    chunk = {"wasm_hash": bytes(32), "index": 0, "data": b"x"}
    for stranger in (ANONYMOUS, member(1)):
        assert "Caller is not an admin." in rejection(ready, "upload_release_chunk", chunk, sender=stranger)
        notice = {"version": 2000, "wasm_hash": digest, "notes": ""}
        assert "Caller is not an admin." in rejection(ready, "publish_release", notice, sender=stranger)


def test_bytes_with_another_hash_are_never_published(ready):
    digest = hashlib.sha256(b"announced").digest()
    ready.call("upload_release_chunk", {"wasm_hash": digest, "index": 0, "data": b"delivered"}, sender=TEAM)
    notice = {"version": 2000, "wasm_hash": digest, "notes": ""}
    label, text = ready.call("publish_release", notice, sender=TEAM)
    assert label == "err"
    assert "upload them again" in text
    assert ready.call("get_release")["version"] == 1000


def test_admins_are_a_list_that_the_controllers_keep(network, factory_build):
    canister = network.deploy(factory_build.wasm, cycles=100 * T, controllers=[TEAM], sender=TEAM)
    factory = Actor(network, canister, factory_build.did)
    chunk = {"wasm_hash": bytes(32), "index": 0, "data": b"x"}
    assert factory.call("get_admins") == [FIRST_ADMIN.bytes]
    assert "call refresh_controllers once" in rejection(factory, "add_admin", member(5).bytes, sender=TEAM)
    assert factory.call("refresh_controllers", sender=member(1)) == [TEAM.bytes]
    assert "not a controller" in rejection(factory, "add_admin", member(5).bytes, sender=member(5))
    assert factory.call("add_admin", member(5).bytes, sender=TEAM) == ("ok", None)
    assert factory.call("upload_release_chunk", chunk, sender=member(5)) == ("ok", 1)
    assert "not an admin" in rejection(factory, "upload_release_chunk", chunk, sender=TEAM)
    assert factory.call("remove_admin", FIRST_ADMIN.bytes, sender=TEAM) == ("ok", None)
    refused = factory.call("remove_admin", member(5).bytes, sender=TEAM)
    assert refused == ("err", "the last admin stays: add another one first")
    assert factory.call("get_admins") == [member(5).bytes]
    log = factory.call("get_audit_log", None, 10)
    assert [(act["action"], act["caller"], act["subject"]) for act in log["entries"]] == [
        ("remove_admin", TEAM.bytes, FIRST_ADMIN.bytes),
        ("upload_release_chunk", member(5).bytes, None),
        ("add_admin", TEAM.bytes, member(5).bytes),
    ]


def test_controllers_are_read_again_at_most_once_a_minute(factory):
    factory.network.update_settings(factory.id, sender=TEAM, controllers=[TEAM, member(5)])
    assert factory.call("refresh_controllers", sender=member(1)) == [TEAM.bytes]
    factory.network.advance(60)
    assert sorted(factory.call("refresh_controllers", sender=member(1))) == sorted([TEAM.bytes, member(5).bytes])


def test_a_former_controller_loses_his_power_with_the_next_sweep_or_after_a_day(factory):
    network = factory.network
    network.update_settings(factory.id, sender=TEAM, controllers=[member(5)])
    assert factory.call("add_admin", member(6).bytes, sender=TEAM) == ("ok", None), "known from the last reading"
    network.advance(600)
    network.tick(5)
    assert "not a controller" in rejection(factory, "add_admin", member(7).bytes, sender=TEAM)
    assert factory.call("add_admin", member(7).bytes, sender=member(5)) == ("ok", None)
    names = factory.call("get_battery_policy")
    policy = {**dict.fromkeys(names), "sweep_seconds": 7 * 86_400}
    assert factory.call("set_battery_policy", policy, sender=TEAM) == ("ok", None)
    network.advance(86_401)
    assert "does not know its controllers for more than a day" in rejection(
        factory, "add_admin", member(8).bytes, sender=member(5)
    )
    factory.call("refresh_controllers", sender=member(1))
    assert factory.call("add_admin", member(8).bytes, sender=member(5)) == ("ok", None)


def test_the_controllers_are_not_read_twice_at_once(factory):
    network = factory.network
    network.advance(60)
    first = factory.submit("refresh_controllers", sender=member(1))
    second = factory.submit("refresh_controllers", sender=member(1))
    assert factory.wait("refresh_controllers", first) == [TEAM.bytes]
    with pytest.raises(CallRejected, match="the controllers are being read: ask again"):
        factory.wait("refresh_controllers", second)


def test_a_zone_asks_its_battery_once_in_ten_minutes(network, zone_build):
    zone = deploy_zone(network, zone_build.wasm, zone_build.did, cycles=T // 2)
    label, error = zone.call("request_topup_if_low", sender=member(1))
    assert (label, error[0]) == ("err", "other")
    assert BATTERY.to_str() in error[1]
    assert "try again in" in zone.call("request_topup_if_low", sender=member(1))[1][1]
    network.advance(600)
    assert BATTERY.to_str() in zone.call("request_topup_if_low", sender=member(1))[1][1]


@pytest.mark.parametrize("sender", [ANONYMOUS, member(1)])
def test_only_children_are_fuelled(ready, sender):
    refused = rejection(ready, "cycles_manager_transferCycles", 100_000_000_000, sender=sender)
    assert refused.endswith("Calling principal must be a canister")
