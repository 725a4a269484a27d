"""What becomes of a change of code when an owner acts on his zone meanwhile, or when the zone cannot pay for it.

A call of the factory is held back at the worst moment, the owner acts, and the call goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ic.principal import Principal

from factory.installation import LEAST_CYCLES
from localnet import accounts
from localnet.canister import Canister, Status
from localnet.message import OutgoingCall
from tests.fleet.faults import Fault, Made, Probe
from tests.fleet.inprocess import InProcess, packed_anew
from tests.support.actor import Actor
from tests.support.builds import Built
from tests.support.factories import T, Wallet, deploy_factory, publish, set_policy, wish
from tests.support.rollouts import LOSES, VERSION, outcomes, run
from tests.support.variants import build_zone_variant
from tests.support.zones import TEAM, member

PLAN = {"release": 1001, "canary": 0, "batch": 1, "pause_on_failures": 9}
OWNER = member(1)
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
    publish(factory, next_release, 1001)
    assert factory.call("accept_release", zone.id.bytes, 1001, sender=OWNER) == ("ok", None)
    before = {"install": ["take_canister_snapshot"], "load": ["stop_canister", "stop_canister"]}
    hold = Hold(network, factory, *before[moment], "canister_info")
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 1)
    while not hold.struck:
        network.advance(SECONDS)
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


def test_a_shared_zone_that_its_owner_stopped_is_left_alone(
    network: InProcess, factory: Actor, zone_build: Built, next_release: bytes
):
    zone = zone_of(factory, zone_build, WORKS)
    publish(factory, next_release, 1001)
    assert factory.call("accept_release", zone.id.bytes, 1001, sender=OWNER) == ("ok", None)
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
    publish(factory, next_release, 1001)
    assert factory.call("accept_release", zone.id.bytes, 1001, sender=OWNER) == ("ok", None)
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
    account.cycles = held = frozen + LEAST_CYCLES - T // 1000
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 1)
    assert outcomes(run(factory), {"1": zone}) == {"1": "failed"}
    fault = change_of(factory, zone)["fault"]
    (needed,) = map(int, re.findall(f"it holds {held} cycles, a change of its code needs ([0-9]+); .*reserve", fault))
    assert needed == pytest.approx(frozen + LEAST_CYCLES, abs=T // 1000)
    assert "stop_canister" not in [made.method for made in calls.calls]
    account.cycles = needed
    assert factory.call("start_rollout", PLAN, sender=TEAM) == ("ok", 2)
    assert outcomes(run(factory), {"1": zone}) == {"1": "upgraded"}
    assert account.cycles > frozen
