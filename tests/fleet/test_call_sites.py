"""Every call of the factory to another canister fails in every way, one at a time, and nothing is lost.

How a call is known by its site: the syntax tree gives all sites (`sites`), a build of the factory with one log line
before each of them tells at run time which site a call came from, and a call without one fails the test. Each flow
(`flows`) runs once without a fault, which lists its calls; then its calls are spoiled (`faults`), each in a fork of the
process. After each fault the fleet must be sound, and asking again must reach the flow's purpose (`trials`).

FULL_FLEET=1 spoils every call of every flow in every way; without it every site is spoiled once, in ways that rotate.
"""

from __future__ import annotations

import os
from itertools import cycle

import pytest

from tests.fleet.faults import Fault, Made
from tests.fleet.flows import FLOWS, Fleet, Flow
from tests.fleet.inprocess import forked
from tests.fleet.sites import build_marked, call_sites
from tests.fleet.trials import Told, is_applicable, trial

IS_FULL = "FULL_FLEET" in os.environ


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, zone_build) -> Fleet:
    return Fleet.build_it(build_marked(tmp_path_factory.mktemp("marked")), zone_build.wasm)


@pytest.fixture(scope="module")
def good_runs(fleet: Fleet) -> dict[str, Told]:
    """What each flow calls when nothing goes wrong."""
    return {flow.name: forked(lambda flow=flow: trial(fleet, flow)) for flow in FLOWS}


def plan(good_runs: dict[str, Told]) -> dict[str, list[tuple[Fault, Made]]]:
    """What is to be spoiled in each flow."""
    if IS_FULL:
        return {
            name: [(fault, made) for fault in Fault for made in told.calls if is_applicable(fault, made)]
            for name, told in good_runs.items()
        }
    chosen: dict[str, list[tuple[Fault, Made]]] = {}
    spoiled: set[str] = set()
    ways = cycle(Fault)
    for name, told in good_runs.items():
        fresh = {made.site: made for made in told.calls if made.site not in spoiled}
        spoiled |= set(fresh)
        chosen[name] = [(next(way for way in ways if is_applicable(way, made)), made) for made in fresh.values()]
    return chosen


@pytest.mark.localnet_only("looks into the network")
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_nothing_is_lost_when_one_call_fails(fleet: Fleet, good_runs: dict[str, Told], flow: Flow):
    assert good_runs[flow.name].calls
    for fault, made in plan(good_runs)[flow.name]:
        told = forked(lambda fault=fault, made=made: trial(fleet, flow, fault, made))
        assert told.struck, f"{fault.name} did not come about at {made}"


LATER = ("change_flow", "install_flow", "rollout_flow", "api_install", "settling", "installation.install_whole")


@pytest.mark.localnet_only("looks into the network")
def test_every_call_site_is_reached(good_runs: dict[str, Told]):
    reached = {made.site for told in good_runs.values() for made in told.calls}
    assert [site.name for site in call_sites() if site.name not in reached and not site.name.startswith(LATER)] == []
