"""Every call of the factory to another canister fails in every way, one at a time, and nothing is lost.

How a call is known by its site: the syntax tree gives all sites (`sites`), a build of the factory with one log line
before each of them tells at run time which site a call came from, and a call without one fails the test. Each flow
(`flows`) runs once without a fault, which lists its calls; then its calls are spoiled (`faults`), each in a fork of the
process. After each fault the fleet must be sound, and asking again must reach the flow's purpose (`trials`).

Every site is spoiled once, in ways that rotate; FULL_FLEET=1 also spoils the first and the last call from every site in
every flow in every way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from tests.fleet.code_flows import FLOWS
from tests.fleet.faults import Fault, Made
from tests.fleet.flows import Fleet, Flow
from tests.fleet.inprocess import forked
from tests.fleet.sites import build_marked, call_sites
from tests.fleet.trials import is_applicable, trials

IS_FULL = "FULL_FLEET" in os.environ
WAYS = list(Fault)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, zone_build) -> Fleet:
    return Fleet.build_it(build_marked(tmp_path_factory.mktemp("marked")), zone_build)


class Once:
    """Each site once, in another way than the one before it."""

    def __init__(self) -> None:
        self.reached: set[str] = set()

    def __call__(self, flow: Flow, calls: Sequence[Made]) -> list[tuple[Fault, Made]]:
        fresh = {made.site: made for made in calls if made.site not in self.reached}
        turns = enumerate(fresh.values(), len(self.reached))
        return [(_way(turn, flow, made), made) for turn, made in turns]


def _way(turn: int, flow: Flow, made: Made) -> Fault:
    in_turn = [WAYS[(turn + step) % len(WAYS)] for step in range(len(WAYS))]
    return next(fault for fault in in_turn if is_applicable(fault, made, flow))


def in_every_way(flow: Flow, calls: Sequence[Made]) -> list[tuple[Fault, Made]]:
    """The first and the last call from each site, in every way."""
    first = {made.site: made for made in reversed(calls)}
    last = {made.site: made for made in calls}
    chosen = [*first.values(), *(made for made in last.values() if made is not first[made.site])]
    return [(fault, made) for fault in WAYS for made in chosen if is_applicable(fault, made, flow)]


@pytest.mark.localnet_only("looks into the network")
def test_every_call_site_is_reached_and_nothing_is_lost_when_its_call_fails(fleet: Fleet):
    once = Once()
    for flow in FLOWS:
        calls = forked(lambda flow=flow: trials(fleet, flow, once))
        once.reached |= {made.site for made in calls}
    assert [site.name for site in call_sites() if site.name not in once.reached] == []


if IS_FULL:

    @pytest.mark.localnet_only("looks into the network")
    @pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
    def test_nothing_is_lost_whichever_call_of_a_flow_fails_in_whatever_way(fleet: Fleet, flow: Flow):
        forked(lambda: trials(fleet, flow, in_every_way))
