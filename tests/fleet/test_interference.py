"""What becomes of a change of code when somebody acts on the zone meanwhile, or when it lacks what it needs.

A call of the factory is held back at the worst moment, the other acts, and the call goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ic.principal import Principal

from factory.change_flow import EMPTY_ARGUMENT
from factory.installation import LEAST_CYCLES, STORED_CHUNKS
from localnet import accounts
from localnet.canister import Canister, Status
from localnet.message import OutgoingCall
from tests.fleet.faults import Fault, Made, Probe
from tests.fleet.inprocess import InProcess, packed_anew
from tests.support.actor import Actor, init_argument
from tests.support.builds import Built
from tests.support.factories import T, Wallet, deploy_factory, publish, set_policy, wish
from tests.support.network import CallRejected
from tests.support.rollouts import LOSES, VERSION, outcomes, run
from tests.support.variants import build_zone_variant
from tests.support.zones import TEAM, member, zone_init

PLAN = {"release": 1001, "canary": 0, "batch": 1, "pause_on_failures": 9}
OWNER = member(1)
BROKEN = {
    "set_maintenance": (
        '    now = ic.time()\n    caller = ic.caller().bytes\n    if not args["on"]:\n',
        '    now = ic.trap("broken")\n    caller = ic.caller().bytes\n    if not args["on"]:\n',
    ),
    "get_health": (LOSES[0], '        "messages": ic.trap("broken"),\n'),
}
"""Zones whose code traps where the factory asks it before a change."""
ZONE_ID = "0x" + "9" * 39
WORKS, FAILS = ZONE_ID + "1", ZONE_ID + "b"
"""Zones in which the next release works, and in which its check fails."""
SECONDS = 3


class Hold(Probe):
    """Holds back one call of the factory's: the last of these methods, once they were called in this order."""

    def __init__(self, network: InProcess, factory: Actor, *methods: str):
        super().__init__(network, factory.id.bytes, Fault.UPGRADE_TRIED)
        self._left = list(methods)

    def _site_of(self, canister: Canister, call: OutgoingCall) -> str:
        del canister  # only marks in its log tell more
        return call.method

    def _is_target(self, made: Made) -> bool:
        if made.method == self._left[0]:
            del self._left[0]
        return not self._left


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Version 1001, whose check fails in zones that end in `b`."""
    return build_zone_variant(tmp_path_factory.mktemp("next"), VERSION, LOSES)


@pytest.fixture
def network() -> InProcess:
    return InProcess()


@pytest.fixture
def factory(network: InProcess, factory_build: Built, zone_build: Built) -> Actor:
    factory = deploy_factory(network, factory_build)
    publish(factory, zone_build.wasm)
    set_policy(factory, funded_open=True)
    return factory


def zone_of(factory: Actor, zone_build: Built, zone_id: str, custody: str = "shared") -> Actor:
    """A zone of OWNER's, which he controls beside the factory if it is shared."""
    owned = wish(zone_id=zone_id, owners=[OWNER.bytes], custody=(custody, None))
    label, made = Wallet(factory.network, factory).call("create_zone", owned, cycles=10 * T)
    assert label == "ok", made
    return Actor(factory.network, Principal(made["canister"]), zone_build.did)


def publish_agreed(factory: Actor, zone: Actor, wasm: bytes) -> bytes:
    """Makes a Wasm release 1001, to which OWNER agrees for a shared zone; returns its hash."""
    digest = publish(factory, wasm, 1001)
    assert factory.call("accept_release", zone.id.bytes, 1001, sender=OWNER) == ("ok", None)
    return digest


def roll_out_until(hold: Hold, factory: Actor) -> None:
    """Begins the first rollout and lets time pass until the call is held back."""
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 1)
    while not hold.struck:
        factory.network.advance(SECONDS)


def change_of(factory: Actor, zone: Actor) -> dict[str, Any]:
    """What came of a zone's change."""
    return factory.call("get_code_change", zone.id.bytes)


def takes_it_alone(zone: Actor, _: bytes) -> None:
    """The owner has the factory control his zone no more."""
    zone.network.update_settings(zone.id, sender=OWNER, controllers=[OWNER])


def installs_another(zone: Actor, other: bytes) -> None:
    """The owner installs code of his own."""
    zone.network.upgrade(zone.id, other, sender=OWNER)


@pytest.mark.parametrize(
    ("act", "moment", "fault"),
    [
        (takes_it_alone, "install", "the factory lost control of it"),
        (takes_it_alone, "load", "the factory lost control of it"),
        (installs_another, "install", "somebody else changed its code"),
        (installs_another, "load", "somebody else changed its code"),
    ],
)
def test_what_an_owner_did_before_an_installation_or_a_going_back_stands(
    network: InProcess,
    factory: Actor,
    zone_build: Built,
    next_release: bytes,
    act: Callable[[Actor, bytes], None],
    moment: str,
    fault: str,
):
    zone = zone_of(factory, zone_build, WORKS if moment == "install" else FAILS)
    publish_agreed(factory, zone, next_release)
    before = {"install": ["take_canister_snapshot"], "load": ["stop_canister", "stop_canister"]}
    hold = Hold(network, factory, *before[moment], "canister_info")
    roll_out_until(hold, factory)
    account = network.ic.canisters[zone.id.bytes]
    assert account.status is Status.STOPPED
    other = packed_anew(zone_build.wasm, 3)
    act(zone, other)
    found = account.module, account.settings.controllers
    hold.release()
    told = run(factory)
    change = change_of(factory, zone)
    assert outcomes(told, {"zone": zone}) == {"zone": "failed"}
    assert fault in change["fault"]
    assert (account.module, account.settings.controllers) == found
    if act is takes_it_alone:
        assert "could not start it" in change["fault"]
        network.start(zone.id, sender=OWNER)
    assert account.status is Status.RUNNING
    # A snapshot that somebody may want to look into stays where the way back was given up.
    kept = network.snapshots(zone.id, sender=OWNER)
    assert len(kept) == (moment == "load" or act is takes_it_alone)


def test_a_zone_is_neither_handed_over_nor_retired_while_its_code_is_installed_and_the_other_way_round(
    network: InProcess, factory: Actor, zone_build: Built
):
    zone = zone_of(factory, zone_build, WORKS, "managed")
    release, name = factory.call("get_release")["wasm_hash"], zone.id.to_str()
    argument = init_argument(zone_build.did, zone_init(zone_id=WORKS, cycles_requester_id=factory.id.bytes))
    wipe = zone.id.bytes, name, release, argument
    offer = {"canister": zone.id.bytes, "custody": ("shared", None), "owners": [OWNER.bytes]}
    hold = Hold(network, factory, "stored_chunks")
    call = factory.submit("reinstall_code", *wipe, sender=TEAM)
    network.tick()
    assert hold.struck
    busy = "the code of this canister is being changed: try again in a minute"
    assert factory.call("offer_custody", offer, sender=OWNER) == ("err", busy)
    assert factory.call("retire_child", zone.id.bytes, name, sender=OWNER) == ("err", busy)
    hold.release()
    hold.stop()
    factory.wait("reinstall_code", call)

    hold = Hold(network, factory, "update_settings")
    call = factory.submit("offer_custody", offer, sender=OWNER)
    network.tick()
    assert hold.struck
    busy = "a transfer of this zone is being carried out: ask again in a few seconds"
    with pytest.raises(CallRejected, match=busy):
        factory.call("reinstall_code", *wipe, sender=TEAM)
    assert factory.call("retire_child", zone.id.bytes, name, sender=OWNER) == ("err", busy)
    hold.release()
    assert factory.wait("offer_custody", call) == ("ok", None)
    assert factory.call("get_zone", zone.id.bytes)["custody"] == ("shared", None)


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_snapshot_that_a_change_left_gives_way_to_that_of_the_next(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes, is_deleted: bool
):
    zone = zone_of(factory, zone_build, FAILS)
    digest = publish_agreed(factory, zone, next_release)
    hold = Hold(network, factory, "stop_canister", "stop_canister", "canister_info")
    roll_out_until(hold, factory)
    installs_another(zone, packed_anew(zone_build.wasm, 3))
    hold.release()
    assert outcomes(run(factory), {"zone": zone}) == {"zone": "failed"}
    (left,) = network.snapshots(zone.id, sender=OWNER)
    assert change_of(factory, zone)["snapshot"] == left["id"]
    if is_deleted:
        network.delete_snapshot(zone.id, left["id"], sender=OWNER)
    assert factory.call("upgrade_code", zone.id.bytes, digest, EMPTY_ARGUMENT, sender=TEAM) is None
    assert zone.call("get_version") == 1001
    assert network.snapshots(zone.id, sender=OWNER) == []


def test_a_zone_whose_code_somebody_else_changes_has_its_turn_afterwards(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes
):
    zones = {end: zone_of(factory, zone_build, ZONE_ID + end, "managed") for end in "123"}
    publish(factory, next_release, 1001)
    hold = Hold(network, factory, "stop_canister")
    assert factory.call("start_rollout", {**PLAN, "canary": 1}, sender=TEAM) == ("ok", 1)
    while not hold.struck:
        network.advance(1)
    assert factory.call("abort_rollout", sender=TEAM) == ("ok", None)
    assert factory.call("start_rollout", {**PLAN, "batch": 3}, sender=TEAM) == ("ok", 2)
    for _ in range(9):
        network.advance(SECONDS)
    told = factory.call("get_rollout", None, 9)
    assert (told["state"], outcomes(told, zones)) == (("running", None), {"2": "upgraded", "3": "upgraded"})
    hold.release()
    told = run(factory)
    # The first rollout, aborted, brought what it had begun to its end.
    assert (told["state"], outcomes(told, zones)) == (
        ("done", None),
        {"1": "current", "2": "upgraded", "3": "upgraded"},
    )
    assert [zone.call("get_version") for zone in zones.values()] == [1001] * 3


def test_installations_that_find_the_chunk_store_full_go_one_after_the_other(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes
):
    zones = {end: zone_of(factory, zone_build, ZONE_ID + end, "managed") for end in "123"}
    publish(factory, next_release, 1001)
    stored = network.ic.canisters[factory.id.bytes].chunks
    stored.clear()
    for number in range(STORED_CHUNKS):
        stored[number.to_bytes(32, "big")] = b""
    calls = Probe(network, factory.id.bytes)
    calls._site_of = lambda _, call: call.method  # type: ignore[method-assign]
    assert factory.call("start_rollout", {**PLAN, "batch": 3}, sender=TEAM) == ("ok", 1)
    network.tick()
    # Beside the rollout a creation needs its place, too.
    zones["4"] = zone_of(factory, zone_build, ZONE_ID + "4", "managed")
    told = run(factory)
    assert set(outcomes(told, zones).values()) <= {"upgraded", "current"}
    assert [zone.call("get_version") for zone in zones.values()] == [1001] * 4
    assert [made.method for made in calls.calls].count("clear_chunk_store") == 1


def test_an_upgrade_to_what_runs_already_clears_a_flag_that_a_change_left(
    network: InProcess, factory: Actor, zone_build: Built
):
    zone = zone_of(factory, zone_build, WORKS, "managed")
    release = factory.call("get_release")["wasm_hash"]
    for restoring in (False, True):
        flag = {"on": True, "restoring": restoring}
        assert zone.call("set_maintenance", flag, sender=factory.id)[0] == "ok"
    network.advance(3_600)
    assert zone.call("get_health", sender=factory.id)["maintenance_until"] is not None
    assert factory.call("upgrade_code", zone.id.bytes, release, EMPTY_ARGUMENT, sender=TEAM) is None
    assert zone.call("get_health", sender=factory.id)["maintenance_until"] is None
    assert change_of(factory, zone)["outcome"] == ("current", None)


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        (["deposit_cycles", "canister_status"], []),
        (["set_maintenance"], ["refresh_controllers", "set_maintenance"]),
    ],
)
def test_code_that_an_owner_put_on_a_shared_zone_meanwhile_is_asked_nothing(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes, before: list[str], asked: list[str]
):
    zone = zone_of(factory, zone_build, WORKS)
    publish_agreed(factory, zone, next_release)
    hold = Hold(network, factory, *before, "canister_info")
    roll_out_until(hold, factory)
    installs_another(zone, packed_anew(zone_build.wasm, 3))
    hold.release()
    assert outcomes(run(factory), {"zone": zone}) == {"zone": "failed"}
    assert "somebody else changed its code" in change_of(factory, zone)["fault"]
    methods = ("refresh_controllers", "set_maintenance", "get_health")
    assert [made.method for made in hold.calls if made.method in methods] == asked


@pytest.mark.parametrize("method", ["set_maintenance", "get_health"])
def test_an_admin_upgrades_a_zone_of_the_factorys_alone_whose_code_cannot_answer(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes, tmp_path: Path, method: str
):
    publish(factory, build_zone_variant(tmp_path, VERSION, BROKEN[method]), 1001)
    zone = zone_of(factory, zone_build, WORKS, "managed")
    shared = zone_of(factory, zone_build, FAILS)
    digest = publish(factory, packed_anew(next_release, 4), 1002)
    assert factory.call("accept_release", shared.id.bytes, 1002, sender=OWNER) == ("ok", None)
    assert factory.call("start_rollout", {**PLAN, "release": 1002}, sender=TEAM) == ("ok", 1)
    assert outcomes(run(factory), {"1": zone, "b": shared}) == {"1": "failed", "b": "failed"}
    upgrade = digest, EMPTY_ARGUMENT
    assert factory.call("upgrade_code", zone.id.bytes, *upgrade, sender=TEAM) is None
    assert zone.call("get_health", sender=factory.id)["maintenance_until"] is None
    with pytest.raises(CallRejected):
        factory.call("upgrade_code", shared.id.bytes, *upgrade, sender=TEAM)
    for one, version in ((zone, 1001), (shared, 1001)):
        account = network.ic.canisters[one.id.bytes]
        assert (one.call("get_version"), account.status) == (version, Status.RUNNING)
    assert network.ic.canisters[zone.id.bytes].module != network.ic.canisters[shared.id.bytes].module


def test_a_shared_zone_that_its_owner_stopped_is_left_alone(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes
):
    zone = zone_of(factory, zone_build, WORKS)
    publish_agreed(factory, zone, next_release)
    network.stop(zone.id, sender=OWNER)
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 1)
    told = run(factory)
    assert (outcomes(told, {"zone": zone}), told["failures"]) == ({"zone": "skipped"}, 0)
    assert "whoever stopped it has to start it first" in change_of(factory, zone)["fault"]
    assert network.ic.canisters[zone.id.bytes].status is Status.STOPPED


def test_a_zone_that_its_owner_keeps_closed_is_busy_and_another_is_the_canary(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes
):
    zone = zone_of(factory, zone_build, WORKS)
    others = {end: zone_of(factory, zone_build, ZONE_ID + end, "managed") for end in "b2"}
    publish_agreed(factory, zone, next_release)
    zone.call("refresh_controllers", sender=OWNER)
    closed = {"on": True, "restoring": False}
    assert zone.call("set_maintenance", closed, sender=OWNER)[0] == "ok"
    assert factory.call("start_rollout", {**PLAN, "canary": 1, "batch": 2}, sender=TEAM) == ("ok", 1)
    told = run(factory)
    assert (told["state"], told["reason"]) == (("paused", None), "a canary failed")
    assert outcomes(told, {"1": zone, **others}) == {"1": "busy", "b": "restored"}
    assert zone.call("get_health", sender=OWNER)["maintenance_until"] is not None
    assert zone.call("set_maintenance", {**closed, "on": False}, sender=OWNER)[0] == "ok"
    assert factory.call("resume_rollout", sender=TEAM) == ("ok", None)
    told = run(factory)
    assert outcomes(told, {"1": zone, **others}) == {"1": "upgraded", "b": "restored", "2": "upgraded"}


def test_a_zone_that_cannot_pay_for_an_installation_is_not_stopped_for_one(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes
):
    zone = zone_of(factory, zone_build, WORKS, "managed")
    publish(factory, next_release, 1001)
    account, battery = network.ic.canisters[zone.id.bytes], network.ic.canisters[factory.id.bytes]
    battery.cycles = T  # below its reserve: it gives nothing
    frozen = accounts.freezing_cycles(account, network.ic.prices_of(account))
    calls = Probe(network, factory.id.bytes)
    calls._site_of = lambda _, call: call.method  # type: ignore[method-assign]
    account.cycles = frozen + LEAST_CYCLES - T // 1000
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 1)
    told = run(factory)
    assert (told["state"], outcomes(told, {"1": zone})) == (("done", None), {"1": "busy"}), "it is no reason to pause"
    fault = change_of(factory, zone)["fault"]
    (needed,) = map(int, re.findall("it holds [0-9]+ cycles, a change of its code needs ([0-9]+); .*reserve", fault))
    assert needed == pytest.approx(frozen + LEAST_CYCLES, abs=T // 1000)
    assert "stop_canister" not in [made.method for made in calls.calls]
    account.cycles = needed + T // 1000
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 2)
    assert outcomes(run(factory), {"1": zone}) == {"1": "upgraded"}
    assert account.cycles > frozen
