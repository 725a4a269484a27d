"""One flow with one fault: runs it, checks that nothing was lost, asks again, checks that the purpose is reached.

Runs in a fork (`inprocess.forked`): what it does to the fleet is gone afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from canister_kit.in_flight import COUNTED_FOR
from factory.sweep import BEAT_SECONDS
from localnet.canister import Status
from tests.fleet.faults import HELD, LOSING, Fault, Made, Probe
from tests.fleet.flows import PATIENCE, TEAM, Fleet, Flow
from tests.fleet.inprocess import unaccounted
from tests.support.network import CallRejected

ROUNDS = 200
TRIES = 6
SECOND = 10**9
STEP = 15


@dataclass
class Told:
    """What a trial tells: the calls that were made, and whether the fault came about."""

    calls: list[Made]
    struck: bool
    unsent: list[str] = field(default_factory=list)


def trial(fleet: Fleet, flow: Flow, fault: Fault | None = None, target: Made | None = None) -> Told:
    """Runs a flow with a fault at one of its calls, or with none. Raises AssertionError when something was lost."""
    flow.prepare(fleet)
    fleet.network.settle()
    before = books(fleet)
    probe = Probe(fleet.network, fleet.factory.id.bytes, fault, target)
    _run(fleet, flow, probe)
    told = Told(list(probe.calls), probe.struck, list(probe.unsent))
    probe.stop()
    assert_sound(fleet, probe, before)
    _mend(fleet, probe)
    _ask_until_done(fleet, flow, probe)
    assert_sound(fleet, probe, before)
    assert not fleet.orphans(), "a canister is an orphan"
    assert_upgradable(fleet, fault in LOSING and probe.struck)
    assert is_hopeless(fleet, probe) or flow.is_done(fleet), "it is undone by an upgrade"
    return told


def _run(fleet: Fleet, flow: Flow, probe: Probe) -> None:
    """Rounds until nothing is left to do; does to a call that is held what its fault says."""
    network = fleet.network
    asked = flow.ask(fleet)
    passed = 0
    for _ in range(ROUNDS):
        network.tick()
        if flow.outcalls:
            network.answer_outcalls(flow.outcalls)
        if probe.held is not None:
            _hold(fleet, flow, probe)
        if network.ic.scheduler.busy or network.ic.outcalls.pending:
            continue
        is_lost = probe.fault in LOSING and probe.struck
        if passed < flow.seconds:
            passed += STEP
            network.advance(STEP)
        elif asked is None or is_lost or network.ic.ingress[asked].response is not None:
            return
    raise AssertionError(f"no answer within {ROUNDS} rounds")


def _hold(fleet: Fleet, flow: Flow, probe: Probe) -> None:
    """Upgrades the factory while a call of it is open: bare, or as the tools do it, or by force."""
    network, factory, wasm = fleet.network, fleet.factory.id, fleet.build.wasm
    if probe.fault is Fault.UPGRADE_TRIED:
        with pytest.raises(CallRejected) as refused:
            network.upgrade(factory, wasm, sender=TEAM)
        assert "calls in flight: stop the factory first" in refused.value.message
        probe.release()
    elif probe.fault is Fault.UPGRADED:
        stopping = fleet.submit_about("stop_canister", factory)
        network.tick(2)
        assert fleet.canister(factory).status is Status.STOPPING
        probe.release()
        while network.status(stopping) is None:
            network.tick()
            if flow.outcalls:
                network.answer_outcalls(flow.outcalls)
        network.upgrade(factory, wasm, sender=TEAM)
        network.start(factory, sender=TEAM)
    else:
        network.upgrade(factory, wasm, sender=TEAM, skip_pre_upgrade=True)
        probe.release()


def _mend(fleet: Fleet, probe: Probe) -> None:
    """Undoes what somebody else did to a child."""
    touched = fleet.network.ic.canisters.get(probe.touched)
    if touched is not None:
        assert touched.status is Status.STOPPED
        touched.status = Status.RUNNING


def _ask_until_done(fleet: Fleet, flow: Flow, probe: Probe) -> None:
    """Asks again until the purpose is reached, with patience; a child that is gone can't be served."""
    if is_hopeless(fleet, probe):
        return
    if probe.fault_was in LOSING:
        _wait(fleet)
        fleet.settle_lost()
    for attempt in range(TRIES):
        if flow.is_done(fleet):
            return
        if attempt:
            _wait(fleet)
        _run(fleet, flow, probe)
    assert flow.is_done(fleet), f"asked {TRIES} times for: {flow.name}"


def is_hopeless(fleet: Fleet, probe: Probe) -> bool:
    """Whether the child that the flow is for was deleted."""
    return bool(probe.touched) and probe.touched not in fleet.network.ic.canisters


def _wait(fleet: Fleet) -> None:
    for _ in range(-(-PATIENCE // BEAT_SECONDS)):
        fleet.network.advance(BEAT_SECONDS)
        fleet.network.settle(ROUNDS)


def assert_sound(fleet: Fleet, probe: Probe, before: dict[str, int]) -> None:
    """Nothing is lost: no cycles, no canister, no child left stopped; the deposits' books are right.

    A canister whose creation's answer was lost is known as a creation that waits to be settled.
    """
    assert unaccounted(fleet.network.ic) == 0
    assert_books(fleet, probe, before)
    assert len(fleet.orphans()) <= len(fleet.lost_creations())
    for canister in fleet.made():
        is_free = canister.id == probe.touched or fleet.stage(canister.id) == "retiring"
        assert canister.status is Status.RUNNING or is_free, f"{canister.id.hex()} is left stopped"


def books(fleet: Fleet) -> dict[str, int]:
    """What left the battery by outcome, from the sums, which agree with the single deposits."""
    page = fleet.factory.call("get_deposits", None, 200)
    nets: dict[str, int] = {}
    for outcome, total in page["sums"].items():
        entries = [entry for entry in page["entries"] if entry["outcome"][0] == outcome]
        nets[outcome] = total["attached"] - total["refunded"]
        assert total["count"] == len(entries)
        assert total["attached"] == sum(entry["attached"] for entry in entries)
        assert total["refunded"] == sum(entry["refunded"] for entry in entries)
    return nets


def assert_books(fleet: Fleet, probe: Probe, before: dict[str, int]) -> None:
    """The deposits' records and sums agree with each other and with the cycles that arrived, to the cycle."""
    nets = books(fleet)
    assert nets["failed"] == 0
    settled = nets["settled"] - before["settled"]
    uncertain = nets["unknown"] + nets["pending"]
    assert settled <= probe.arrived() <= settled + uncertain, f"{settled} {probe.arrived()} {uncertain}"
    entries = fleet.factory.call("get_deposits", None, 200)["entries"]
    for canister, child in fleet.children().items():
        own = [entry for entry in entries if entry["canister"] == canister]
        assert child["paid"] == sum(entry["attached"] - entry["refunded"] for entry in own)
    used = fleet.factory.call("get_aggregate_quota_settings")["cyclesUsed"]
    assert used in (0, sum(e["attached"] - e["refunded"] for e in entries if e["canister"] is not None))


def assert_upgradable(fleet: Fleet, was_lost: bool) -> None:
    """No mark of an open call is left: the factory can be upgraded, at the latest a day after an answer was lost."""
    if was_lost:
        fleet.network.advance(COUNTED_FOR // SECOND + 1)
    fleet.network.settle(ROUNDS)
    fleet.upgrade()
    fleet.network.settle(ROUNDS)
    assert fleet.factory.call("get_version") > 0


def is_applicable(fault: Fault, made: Made) -> bool:
    """Whether a fault can happen to a call: a child has to be there to be stopped, a held call be the
    platform's."""
    if fault in (Fault.CHILD_STOPPED, Fault.CHILD_DELETED):
        return bool(made.child)
    return not (fault in HELD and made.is_to_canister)
