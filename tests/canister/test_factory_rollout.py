"""A release on its way to children: which of them change, how failures are undone, and that nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.actor import Actor
from tests.support.factories import T, deploy_factory, publish, set_policy
from tests.support.network import CallRejected
from tests.support.rollouts import BURST, LOSES, TRAPS, VERSION, Writer, make_zones, outcomes, rollout, run, states
from tests.support.variants import build_zone_variant
from tests.support.zones import TEAM, ask_role, key_id, member, role_answer

PLAN = {"release": 1001, "canary": 1, "batch": 2, "pause_on_failures": 5}


CLEARS = (
    "    refuse_foreign_layout(state.settings_map, KIND)\n",
    "    refuse_foreign_layout(state.settings_map, KIND)\n"
    '    if config.zone_id().endswith("c"):\n'
    "        from zone_canister.context import maintenance\n"
    "        maintenance.end(b'', [], 0)\n",
)
LIES = (
    '        "version": VERSION,\n        "layout"',
    '        "version": VERSION + config.zone_id().endswith("c"),\n        "layout"',
)


@pytest.fixture(scope="session")
def next_release(tmp_path_factory) -> bytes:
    """Version 1001: its upgrade traps in zones that end in `a`, its check fails in those that end in `b`.

    In those that end in `c` its check fails, too, when somebody has cleared the maintenance flag before.
    """
    return build_zone_variant(tmp_path_factory.mktemp("next"), VERSION, TRAPS, LOSES, CLEARS, LIES)


@pytest.fixture
def factory(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build)
    publish(factory, zone_build.wasm)
    shares = {"daily_cycles": 400 * T, "unproven_cycles": 400 * T}
    set_policy(factory, daily_creations=100, unproven_creations=100, **shares)
    return factory


def answer_while_stopping(zone: Actor, call: Any, outcall: Any) -> None:
    """Answers an outcall of a zone that is told to stop: the platform does not run its transform any more."""
    zone.network.answer(outcall, role_answer(200))
    with pytest.raises(CallRejected, match="is stopping"):
        zone.wait("update_role", call)


def test_failing_children_are_put_back_and_no_message_is_lost(factory, zone_build, next_release):
    zones = make_zones(factory, zone_build.did, "12ab3")
    publish(factory, next_release, 1001)
    writer = Writer(zones)
    writer.send()
    writer.collect()
    # One zone waits for an answer from outside when it is told to stop: members write to it meanwhile.
    call, outcall = ask_role(zones["1"], 2)
    assert factory.call("start_rollout", {**PLAN, "canary": 0, "batch": 3}, sender=TEAM) == ("ok", 1)
    for _ in range(3):
        writer.send()
        factory.network.advance(3)
        writer.collect()
    assert any("is stopping" in refusal for refusal in writer.refusals)
    assert rollout(factory)["under_way"] == [zones["1"].id.bytes]
    answer_while_stopping(zones["1"], call, outcall)
    told = run(factory, writer=writer)
    found = outcomes(told, zones)
    assert found == {"1": "upgraded", "2": "upgraded", "3": "upgraded", "a": "failed", "b": "restored"}
    assert told["state"] == ("done", None)
    assert {name: count for name, count in told["counts"].items() if count} == {
        "upgraded": 3,
        "failed": 1,
        "restored": 1,
    }
    faults = {change["outcome"][0]: change["fault"] for change in told["changes"]}
    assert "no new layout for this one" in faults["failed"]
    assert "the check failed: messages: " in faults["restored"]
    assert states(factory, zones) == {"running"}
    writer.send()
    writer.collect()
    assert writer.lost() == []
    versions = {name: zone.call("get_version") for name, zone in zones.items()}
    assert versions == {"1": 1001, "2": 1001, "3": 1001, "a": 1000, "b": 1000}
    for zone in zones.values():
        assert zone.network.snapshots(zone.id, sender=factory.id) == []


def test_a_zone_whose_flag_was_cleared_is_not_put_back(factory, zone_build, next_release):
    zones = make_zones(factory, zone_build.did, "c")
    publish(factory, next_release, 1001)
    writer = Writer(zones)
    assert factory.call("start_rollout", {**PLAN, "canary": 0}, sender=TEAM) == ("ok", 1)
    told = run(factory, writer=writer)
    assert outcomes(told, zones) == {"c": "failed"}
    snapshots = factory.network.snapshots(zones["c"].id, sender=factory.id)
    assert len(snapshots) == 1
    fault = told["changes"][0]["fault"]
    assert "the check failed: it says version 1002" in fault
    assert "not under maintenance: what it holds by now may not be taken back; the snapshot" in fault
    writer.send()
    writer.collect()
    assert len(writer.acknowledged["c"]) > BURST
    assert writer.lost() == []
    assert zones["c"].call("get_version") == 1001


def test_zones_that_are_gone_or_stopped_are_no_failures(factory, zone_build, next_release):
    network = factory.network
    zones = make_zones(factory, zone_build.did, "123")
    publish(factory, next_release, 1001)
    network.stop(zones["1"].id, sender=factory.id)
    network.delete(zones["1"].id, sender=factory.id)
    network.stop(zones["3"].id, sender=factory.id)
    plan = {**PLAN, "canary": 2, "pause_on_failures": 1}
    assert factory.call("start_rollout", plan, sender=TEAM) == ("ok", 1)
    told = run(factory)
    assert told["state"] == ("done", None)
    assert outcomes(told, zones) == {"1": "skipped", "2": "upgraded", "3": "upgraded"}
    assert states(factory, {name: zones[name] for name in "23"}) == {"running"}
    assert [change["fault"] for change in told["changes"] if change["fault"]] == ["it was deleted"]


def test_a_child_that_does_not_stop_is_let_go_after_a_while_and_tried_again(factory, zone_build, next_release):
    zones = make_zones(factory, zone_build.did, "12")
    publish(factory, next_release, 1001)
    call, outcall = ask_role(zones["1"], 2)
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 1)
    factory.network.advance(3)
    assert "stopping" in states(factory, zones)
    started = factory.network.time()
    while (change := factory.call("get_code_change", zones["1"].id.bytes))["outcome"] == ("open", None):
        factory.network.advance(5)
        assert factory.network.time() - started < 60 * 10**9
    assert (change["outcome"], change["snapshot"]) == (("busy", None), None)
    assert "stop request was cancelled" in change["fault"]
    assert zones["1"].call("add_message", key_id(1), b"meanwhile", sender=member(1)) == ("ok", 1)
    factory.network.answer(outcall, role_answer(200))
    assert zones["1"].wait("update_role", call) == 200
    told = run(factory)
    assert outcomes(told, zones) == {"1": "upgraded", "2": "upgraded"}
    assert told["counts"]["busy"] == 0
    assert states(factory, zones) == {"running"}


def test_a_failing_canary_pauses_the_rollout_until_it_is_resumed_or_aborted(factory, zone_build, next_release):
    zones = make_zones(factory, zone_build.did, "a12")
    publish(factory, next_release, 1001)
    plan = {**PLAN, "canary": 3, "pause_on_failures": 9}
    for method in ("pause_rollout", "resume_rollout", "abort_rollout"):
        assert factory.call(method, sender=TEAM)[0] == "err"
    assert factory.call("start_rollout", {**plan, "batch": 11}, sender=TEAM) == ("err", "batch is from 1 to 10, got 11")
    assert factory.call("start_rollout", {**plan, "release": 7}, sender=TEAM)[0] == "err"
    assert factory.call("start_rollout", {**plan, "batch": 1}, sender=TEAM) == ("ok", 1)
    assert "abort it first" in factory.call("start_rollout", plan, sender=TEAM)[1]
    told = run(factory)
    assert (told["state"], told["reason"], told["counts"]["failed"]) == (("paused", None), "a canary failed", 1)
    assert factory.call("resume_rollout", sender=TEAM) == ("ok", None)
    told = run(factory)
    assert outcomes(told, zones) == {"a": "failed", "1": "upgraded", "2": "upgraded"}
    assert factory.call("abort_rollout", sender=TEAM)[0] == "err"


def test_a_paused_rollout_takes_nobody_and_an_aborted_one_ends(factory, zone_build, next_release):
    zones = make_zones(factory, zone_build.did, "123")
    publish(factory, next_release, 1001)
    assert factory.call("start_rollout", {**PLAN, "batch": 1}, sender=TEAM) == ("ok", 1)
    assert factory.call("pause_rollout", sender=TEAM) == ("ok", None)
    told = run(factory)
    assert told["counts"]["upgraded"] == 1
    for _ in range(4):
        factory.network.advance(15)
    assert rollout(factory)["counts"] == told["counts"]
    assert factory.call("abort_rollout", sender=TEAM) == ("ok", None)
    assert rollout(factory)["state"] == ("aborted", None)
    assert factory.call("resume_rollout", sender=TEAM)[0] == "err"
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 2)
    told = run(factory)
    assert sorted(outcomes(told, zones).values()) == ["current", "upgraded", "upgraded"]
    actions = [act["action"] for act in factory.call("get_audit_log", None, 9)["entries"]]
    assert actions.count("change_code") == 4


def test_a_rollout_survives_upgrades_of_the_factory_clean_or_not(factory, factory_build, zone_build, next_release):
    network = factory.network
    zones = make_zones(factory, zone_build.did, "12b")
    publish(factory, next_release, 1001)
    call, outcall = ask_role(zones["1"], 2)
    assert factory.call("start_rollout", {**PLAN, "canary": 0, "batch": 3}, sender=TEAM) == ("ok", 1)
    network.advance(3)
    assert rollout(factory)["under_way"] == [zones["1"].id.bytes]
    with pytest.raises(CallRejected, match="calls in flight: stop the factory first"):
        network.upgrade(factory.id, factory_build.wasm, sender=TEAM)
    # The worst there is: the answers of open calls are lost.
    network.upgrade(factory.id, factory_build.wasm, sender=TEAM, skip_pre_upgrade=True)
    answer_while_stopping(zones["1"], call, outcall)
    told = run(factory)
    assert outcomes(told, zones) == {"1": "upgraded", "2": "upgraded", "b": "restored"}
    assert states(factory, zones) == {"running"}
    network.stop(factory.id, sender=TEAM)
    network.upgrade(factory.id, factory_build.wasm, sender=TEAM)
    network.start(factory.id, sender=TEAM)
    assert rollout(factory) == told
