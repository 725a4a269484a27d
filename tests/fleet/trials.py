"""One flow with one fault: runs it, checks that nothing was lost, asks again, checks that the purpose is reached.

Runs in a fork (`inprocess.forked`): what it does to the fleet is gone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from canister_kit.in_flight import COUNTED_FOR
from factory.returner import RETURNER_HASH
from factory.sweep import BEAT_SECONDS
from localnet.canister import Status
from tests.fleet.faults import ANY_MESSAGE, LOSING, Fault, Made, Probe
from tests.fleet.flows import NO_CODE, PATIENCE, TEAM, Fleet, Flow
from tests.fleet.inprocess import forked, unaccounted
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


Choice = Callable[[Flow, list[Made]], list[tuple[Fault, Made]]]
"""Which of a flow's calls are to be spoiled, and how."""


def trials(fleet: Fleet, flow: Flow, choice: Choice) -> list[Made]:
    """A flow without a fault, then with one after the other, each in a fork from where it begins; its calls."""
    flow.prepare(fleet)
    fleet.network.settle()
    calls = forked(lambda: trial(fleet, flow)).calls
    assert calls, f"nothing is called for: {flow.name}"
    for fault, made in choice(flow, calls):
        told = forked(lambda fault=fault, made=made: trial(fleet, flow, fault, made))
        assert told.struck, f"{fault.name} did not come about at {made}"
    return calls


def trial(fleet: Fleet, flow: Flow, fault: Fault | None = None, target: Made | None = None) -> Told:
    """Runs a flow with a fault at one of its calls, or with none. Raises AssertionError when something was lost."""
    before = books(fleet)
    stopped = {one.id for one in fleet.made() if one.status is Status.STOPPED}
    earlier = None if flow.road is None else probe_at(fleet, *flow.road)
    probe = Probe(fleet.network, fleet.factory.id.bytes, fault, target)
    run_flow(fleet, flow, probe)
    told = Told(own_calls(flow, probe.calls), probe.struck)
    assert earlier is None or earlier.struck, f"{flow.road} did not come about"
    probe.stop()
    assert_sound(fleet, probe, before, stopped)
    _mend(fleet, probe)
    _ask_until_done(fleet, flow, probe)
    assert_sound(fleet, probe, before, stopped)
    assert not fleet.orphans(), "a canister is an orphan"
    assert_kept(fleet, probe)
    assert probe.returned() == given_back(fleet), "what a child gave back is not in the books"
    assert_no_call_is_open(fleet, fault in LOSING and probe.struck)
    return told


def probe_at(fleet: Fleet, fault: Fault, site: str) -> Probe:
    """A fault at the first call from a site, whenever that is."""
    return Probe(fleet.network, fleet.factory.id.bytes, fault, Made(site, "", b"", 0, ANY_MESSAGE))


def own_calls(flow: Flow, calls: list[Made]) -> list[Made]:
    """The calls of a flow that are to be spoiled."""
    if flow.road is None:
        return list(calls)
    return calls[[made.site for made in calls].index(flow.road[1]) + 1 :]


def run_flow(fleet: Fleet, flow: Flow, probe: Probe) -> None:
    """Rounds until nothing is left to do; does to a call that is held what its fault says."""
    network = fleet.network
    asked = flow.ask(fleet)
    passed = 0
    for _ in range(ROUNDS):
        if fleet.writer is not None:
            fleet.writer.send()
        network.tick()
        if flow.outcalls:
            network.answer_outcalls(flow.outcalls)
        if probe.held is not None:
            _hold(fleet, flow, probe)
        if network.ic.scheduler.busy or (flow.outcalls and network.ic.outcalls.pending):
            continue
        is_lost = probe.fault in LOSING and probe.struck
        if passed < flow.seconds:
            passed += STEP
            network.advance(STEP)
        elif asked is None or is_lost or network.ic.ingress[asked].response is not None:
            if fleet.writer is not None:
                fleet.writer.collect()
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
            # What waits for a child that does not stop is answered by time alone: the platform waits 5 minutes.
            network.advance(0 if network.ic.scheduler.busy else STEP)
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
        run_flow(fleet, flow, probe)
    assert flow.is_done(fleet), f"asked {TRIES} times for: {flow.name}"


def is_hopeless(fleet: Fleet, probe: Probe) -> bool:
    """Whether the child that the flow is for was deleted."""
    return bool(probe.touched) and probe.touched not in fleet.network.ic.canisters


def _wait(fleet: Fleet) -> None:
    for _ in range(-(-PATIENCE // BEAT_SECONDS)):
        fleet.network.advance(BEAT_SECONDS)
        fleet.network.settle(ROUNDS)


def assert_sound(fleet: Fleet, probe: Probe, before: dict[str, int], stopped: set[bytes]) -> None:
    """Nothing is lost: no cycles, no canister, no child left stopped; the deposits' books are right.

    `stopped` are children that were stopped before. A canister whose creation's answer was lost is known as a creation
    that waits to be settled.
    """
    assert unaccounted(fleet.network.ic) == 0
    assert_books(fleet, probe, before)
    assert len(fleet.orphans()) <= len(fleet.lost_creations())
    for canister in fleet.made():
        if canister.module is not None and canister.module.hash == RETURNER_HASH:
            assert canister.settings.controllers == [fleet.factory.id.bytes], "others can take its cycles"
        is_free = canister.id in (probe.touched, *stopped) or fleet.stage(canister.id) == "retiring"
        assert canister.status is Status.RUNNING or is_free, f"{canister.id.hex()} is left stopped"


def assert_kept(fleet: Fleet, probe: Probe) -> None:
    """Every acknowledged message is there under its id; no snapshot was loaded but after a check, before members came
    back."""
    if fleet.writer is not None and not is_hopeless(fleet, probe):
        assert fleet.writer.lost() == []
    started = checked = cleared = False
    for made in probe.calls:
        step = made.site.split(":")[0]
        if step == "change_flow.flag_step":
            started = checked = cleared = False
        started = started or step == "change_flow.start_step"
        # The check begins with reading what runs; when that can't be read, the check has failed.
        checked = checked or (started and step in ("examination.examine", "change_flow.check_step"))
        cleared = cleared or step == "change_flow.clear_step"
        assert step != "change_flow.load_step" or (checked and not cleared), "a snapshot was loaded"


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
        own = [entry for entry in entries if entry["canister"] == canister and entry["attached"]]
        assert child["paid"] == sum(entry["attached"] - entry["refunded"] for entry in own)
    used = fleet.factory.call("get_aggregate_quota_settings")["cyclesUsed"]
    assert used in (0, sum(e["attached"] - e["refunded"] for e in entries if e["canister"] and e["attached"]))
    assert given_back(fleet) <= probe.returned()


def given_back(fleet: Fleet) -> int:
    """What retired children gave back, by the books."""
    return fleet.factory.call("get_deposits", None, 0)["sums"]["returned"]["refunded"]


def assert_no_call_is_open(fleet: Fleet, was_lost: bool) -> None:
    """No mark of an open call is left, at the latest a day after an answer was lost: `pre_upgrade` lets go.

    The code is replaced by none, which ends the factory: starting its own again would take most of a trial's time.
    """
    if was_lost:
        fleet.network.advance(COUNTED_FOR // SECOND + 1)
    fleet.network.settle(ROUNDS)
    fleet.network.upgrade(fleet.factory.id, NO_CODE, sender=TEAM)


def is_applicable(fault: Fault, made: Made, flow: Flow) -> bool:
    """Whether a fault can happen to a call: a child has to be there to be stopped or deleted, and not be waiting."""
    is_of_child = fault in (Fault.CHILD_STOPPED, Fault.CHILD_DELETED)
    # Who waits for an answer from outside can be neither stopped nor deleted.
    return not is_of_child or bool(made.child and flow.outcalls)
