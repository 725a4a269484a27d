"""Code that admins put on single children: which code, on whose canister, and what it can't do by mistake."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ic.principal import Principal

from tests.support.actor import Actor, init_argument
from tests.support.factories import T, Wallet, deploy_factory, publish, rejection, set_policy, wish
from tests.support.network import CallRejected
from tests.support.variants import build_zone_variant
from tests.support.zones import RPC_HOST, TEAM, ZONE_ID, ask_role, join, key_id, member, role_answer, zone_init

VERSION = ("\nVERSION = 1000\n", "\nVERSION = 1001\n")
TRAPS = (
    "    refuse_foreign_layout(state.settings_map, KIND)\n",
    '    ic.trap("not this time")\n    refuse_foreign_layout(state.settings_map, KIND)\n',
)
EMPTY = b"DIDL\x00\x00"
OWNERS = [member(1).bytes, member(2).bytes]


@pytest.fixture(scope="session")
def next_release(tmp_path_factory) -> bytes:
    return build_zone_variant(tmp_path_factory.mktemp("next"), VERSION)


@pytest.fixture(scope="session")
def broken_release(tmp_path_factory) -> bytes:
    return build_zone_variant(tmp_path_factory.mktemp("broken"), VERSION, TRAPS)


@pytest.fixture
def factory(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build)
    publish(factory, zone_build.wasm)
    return factory


@pytest.fixture
def zone(factory, zone_build):
    created = factory.call("create_zone_availability_canister", ZONE_ID, RPC_HOST, "/", sender=member(1))
    return Actor(factory.network, Principal(created), zone_build.did)


def admin(factory: Actor, method: str, *values: Any) -> Any:
    """A call as an admin."""
    return factory.call(method, *values, sender=TEAM)


def refused(factory: Actor, method: str, *values: Any) -> str:
    """What an admin's call is refused with."""
    return rejection(factory, method, *values, sender=TEAM)


def test_a_status_is_told_as_the_contract_declares_it(factory, zone, network):
    status = admin(factory, "canister_status", zone.id.bytes)
    assert status["status"] == ("running", None)
    assert status["settings"]["controllers"] == [factory.id.bytes]
    assert status["settings"]["log_visibility"] == ("controllers", None)
    assert status["module_hash"] == factory.call("get_release")["wasm_hash"]
    assert status["cycles"] == network.cycles(zone.id)
    assert "is no child of this factory" in refused(factory, "canister_status", factory.id.bytes)


def test_a_stopped_child_is_started(factory, zone, network):
    network.stop(zone.id, sender=factory.id)
    assert admin(factory, "canister_status", zone.id.bytes)["status"] == ("stopped", None)
    assert admin(factory, "start_canister", zone.id.bytes) is None
    assert zone.call("get_message_count") == 0
    assert "is no child" in refused(factory, "start_canister", member(1).bytes)


def test_a_child_is_upgraded_by_wasm_or_by_the_hash_of_a_release(factory, zone, zone_build, next_release):
    join(zone, 1)
    assert zone.call("add_message", key_id(1), b"kept", sender=member(1)) == ("ok", 1)
    publish(factory, next_release, 1001)
    assert admin(factory, "upgrade_code", zone.id.bytes, next_release, EMPTY) is None
    assert zone.call("get_version") == 1001
    assert admin(factory, "upgrade_code", zone.id.bytes, hashlib.sha256(zone_build.wasm).digest(), EMPTY) is None
    assert zone.call("get_version") == 1000
    assert zone.call("add_message", key_id(1), b"more", sender=member(1)) == ("ok", 2)
    change = factory.call("get_code_change", zone.id.bytes)
    assert (change["outcome"], change["release"], change["rollout"]) == (("upgraded", None), 1000, None)


def test_an_upgrade_that_fails_leaves_the_child_running(factory, zone, broken_release):
    publish(factory, broken_release, 1001)
    text = refused(factory, "upgrade_code", zone.id.bytes, broken_release, EMPTY)
    assert text.startswith("failed: ")
    assert "not this time" in text
    assert admin(factory, "canister_status", zone.id.bytes)["status"] == ("running", None)
    join(zone, 1)
    assert zone.call("add_message", key_id(1), b"works", sender=member(1)) == ("ok", 1)
    assert zone.network.snapshots(zone.id, sender=factory.id) == []


def test_code_that_is_no_release_needs_a_controllers_word_for_that_child_within_the_hour(
    factory, zone, network, next_release
):
    digest = hashlib.sha256(next_release).digest()
    assert "is no release: a controller" in refused(factory, "upgrade_code", zone.id.bytes, next_release, EMPTY)
    allowance = {"canister": zone.id.bytes, "wasm_hash": digest}
    other = {**allowance, "canister": factory.id.bytes}
    assert "is no child" in admin(factory, "allow_code", other)[1]
    assert admin(factory, "allow_code", {**allowance, "wasm_hash": b"x"}) == (
        "err",
        "wasm_hash must be 32 bytes, got 1",
    )
    assert admin(factory, "allow_code", allowance)[0] == "ok"
    network.advance(3_601)
    assert "is no release" in refused(factory, "upgrade_code", zone.id.bytes, next_release, EMPTY)
    assert admin(factory, "allow_code", allowance)[0] == "ok"
    assert admin(factory, "upgrade_code", zone.id.bytes, next_release, EMPTY) is None
    assert zone.call("get_version") == 1001
    actions = [act["action"] for act in factory.call("get_audit_log", None, 9)["entries"]]
    assert actions[:4] == ["change_code", "upgrade_code", "allow_code", "allow_code"]
    # It runs code that was not published now: its methods are not called, and a release still gets it back.
    release = factory.call("get_release")["wasm_hash"]
    assert admin(factory, "upgrade_code", zone.id.bytes, release, EMPTY) is None
    assert zone.call("get_version") == 1000


def test_a_child_that_holds_something_is_wiped_only_by_name(factory, zone, zone_build):
    release = factory.call("get_release")["wasm_hash"]
    argument = init_argument(zone_build.did, zone_init(rpc_path="/new", cycles_requester_id=factory.id.bytes))
    assert admin(factory, "install_code", zone.id.bytes, release, argument) is None
    join(zone, 1)
    assert "it holds 0 messages and 1 members" in refused(factory, "install_code", zone.id.bytes, release, argument)
    assert zone.call("add_message", key_id(1), b"kept", sender=member(1)) == ("ok", 1)
    assert "it holds 1 messages" in refused(factory, "install_code", zone.id.bytes, zone_build.wasm, argument)
    wrong = refused(factory, "reinstall_code", zone.id.bytes, "yes", release, argument)
    assert f"everything in {zone.id.to_str()} would be lost" in wrong
    assert zone.call("get_message_count") == 1
    assert zone.call("add_message", key_id(1), b"open", sender=member(1)) == ("ok", 2)
    assert admin(factory, "reinstall_code", zone.id.bytes, zone.id.to_str(), release, argument) is None
    assert zone.call("get_message_count") == 0
    assert zone.call("get_role", member(1).bytes) == 0


@pytest.fixture
def shared(factory, zone_build):
    set_policy(factory, funded_open=True)
    wallet = Wallet(factory.network, factory)
    label, _ = wallet.call("create_zone", wish(owners=OWNERS, custody=("shared", None)), cycles=10 * T)
    assert label == "ok"
    zone = Actor(factory.network, Principal(factory.call("get_cycles_manager_children")[0]), zone_build.did)
    join(zone, 1)
    return zone


def test_a_shared_child_waits_for_an_owner(factory, shared, next_release):
    publish(factory, next_release, 1001)
    plan = {"release": 1001, "canary": 0, "batch": 1, "pause_on_failures": 1}
    assert admin(factory, "start_rollout", plan) == ("ok", 1)
    for _ in range(4):
        factory.network.advance(15)
    told = factory.call("get_rollout", None, 10)
    assert (told["state"], told["counts"]["waiting"]) == (("done", None), 1)
    assert "call accept_release" in refused(factory, "upgrade_code", shared.id.bytes, next_release, EMPTY)
    assert "not an owner" in factory.call("accept_release", shared.id.bytes, 1001, sender=member(3))[1]
    assert factory.call("accept_release", shared.id.bytes, 1002, sender=member(2)) == (
        "err",
        "there is no release 1002",
    )
    assert shared.call("get_version") == 1000
    assert factory.call("accept_release", shared.id.bytes, 1001, sender=member(2)) == ("ok", None)
    for _ in range(4):
        factory.network.advance(15)
    counts = factory.call("get_rollout", None, 10)["counts"]
    assert (counts["upgraded"], counts["waiting"]) == (1, 0)
    assert shared.call("get_version") == 1001


def test_a_shared_child_is_wiped_only_when_each_owner_agreed_to_that(factory, shared, zone_build, network):
    argument = init_argument(zone_build.did, zone_init(cycles_requester_id=factory.id.bytes))
    target = shared.id.bytes, shared.id.to_str(), factory.call("get_release")["wasm_hash"], argument
    assert "call accept_release" in refused(factory, "reinstall_code", *target)
    assert factory.call("accept_release", shared.id.bytes, 1000, sender=member(1)) == ("ok", None)
    assert "2 of 2 owners have yet to agree that all the canister holds is lost" in refused(
        factory, "reinstall_code", *target
    )
    wipe = shared.id.bytes, 1000, shared.id.to_str()
    assert "not an owner" in factory.call("accept_reinstall", *wipe, sender=member(3))[1]
    assert "not an owner" in factory.call("accept_reinstall", *wipe, sender=TEAM)[1]
    assert (
        "would be lost: repeat its principal"
        in factory.call("accept_reinstall", shared.id.bytes, 1000, "yes", sender=member(1))[1]
    )
    assert factory.call("accept_reinstall", *wipe, sender=member(1)) == ("ok", None)
    assert "1 of 2 owners" in refused(factory, "reinstall_code", *target)
    network.advance(86_400)
    assert factory.call("accept_reinstall", *wipe, sender=member(2)) == ("ok", None)
    assert "1 of 2 owners" in refused(factory, "reinstall_code", *target), "the first consent is over"
    assert shared.call("my_role", sender=member(1)) > 0
    assert factory.call("accept_reinstall", *wipe, sender=member(1)) == ("ok", None)
    assert admin(factory, "reinstall_code", *target) is None
    assert shared.call("my_role", sender=member(1)) == 0
    assert "2 of 2 owners" in refused(factory, "reinstall_code", *target), "it counted once"


def test_a_sovereign_child_is_left_to_its_owners(factory, shared, next_release, network):
    network.update_settings(shared.id, sender=factory.id, controllers=[member(1)])
    digest = publish(factory, next_release, 1001)
    plan = {"release": 1001, "canary": 0, "batch": 1, "pause_on_failures": 1}
    assert admin(factory, "start_rollout", plan) == ("ok", 1)
    for _ in range(4):
        factory.network.advance(15)
    assert factory.call("get_rollout", None, 10)["counts"]["skipped"] == 1
    assert "does not control" in refused(factory, "upgrade_code", shared.id.bytes, digest, EMPTY)
    with pytest.raises(CallRejected):
        admin(factory, "start_canister", shared.id.bytes)
    # Its owner gives it back without a word to the zone, which still knows itself as his.
    shared.call("refresh_controllers", sender=member(1))
    network.update_settings(shared.id, sender=member(1), controllers=[factory.id])
    network.advance(60)
    assert admin(factory, "upgrade_code", shared.id.bytes, digest, EMPTY) is None
    assert shared.call("get_version") == 1001


def test_custody_is_not_handed_over_while_the_code_changes(factory, shared, next_release):
    publish(factory, next_release, 1001)
    assert factory.call("accept_release", shared.id.bytes, 1001, sender=member(1)) == ("ok", None)
    offer = {"canister": shared.id.bytes, "custody": ("sovereign", None), "owners": OWNERS}
    call, outcall = ask_role(shared, 2)
    plan = {"release": 1001, "canary": 0, "batch": 1, "pause_on_failures": 1}
    assert admin(factory, "start_rollout", plan) == ("ok", 1)
    factory.network.advance(3)
    assert factory.call("get_code_change", shared.id.bytes)["step"] == "stop"
    label, text = factory.call("offer_custody", offer, sender=member(1))
    assert (label, "is being changed (step stop)" in text) == ("err", True)
    factory.network.answer(outcall, role_answer(200))
    with pytest.raises(CallRejected):
        shared.wait("update_role", call)
    factory.network.advance(15)
    assert shared.call("get_version") == 1001
    assert factory.call("offer_custody", offer, sender=member(1))[0] == "ok"
    factory.network.advance(3)
    with pytest.raises(CallRejected, match=r"ontroller"):
        factory.network.stop(shared.id, sender=factory.id)
