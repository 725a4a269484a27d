"""Random runs of the factory's Wasm on a network: creations, deposits, failures, custody, upgrades, ends, and time.

Hypothesis picks what happens and which call goes wrong; each run is a fork of one network. After each step and at the
end: cycles are conserved to the cycle over the whole network, the deposits' books are exact, no canister is lost to the
factory, quotas and reserve hold; and in the end whatever was begun can be brought to its end. FULL_FLEET=1 runs deep.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ic.principal import Principal

from canister_kit.in_flight import COUNTED_FOR
from factory.policy import CHILD_WINDOW
from localnet.canister import Status
from tests.fleet.books import DAY, deposits, most_in_a_window, net
from tests.fleet.faults import Fault
from tests.fleet.flows import PATIENCE, Fleet
from tests.fleet.inprocess import forked, packed_anew, unaccounted
from tests.fleet.world import ACTS, World
from tests.support.builds import Built
from tests.support.effort import examples
from tests.support.factories import T, Wallet, set_policy, wish
from tests.support.zones import RPC_HOST, TEAM

IS_FULL = "FULL_FLEET" in os.environ
RUNS = 150 if IS_FULL else 10
STEPS = 24 if IS_FULL else 8
G = 10**9
GAS = T // 5
"""Most that a run's calls, lookups and installations cost the battery besides what its books show."""
TRIES = 12_000
"""Seconds in which a change has been taken up as often as it ever is."""
IDLE = 5 * G
"""Most that its memory and its beats cost it a day."""

pytestmark = pytest.mark.localnet_only("looks into the network")


@pytest.fixture(scope="module")
def world(factory_build: Built, zone_build: Built) -> World:
    """A fleet, and two more releases, of which the second tells another version than it is published with."""
    fleet = Fleet.build_it(factory_build, zone_build)
    fleet.wallet = Wallet(fleet.network, fleet.factory, 1_000 * T)
    fleet.set_policy(sweep_seconds=21_600)
    set_policy(fleet.factory, trusted_nodes=[f"{RPC_HOST}/"])
    return World(fleet, [packed_anew(zone_build.wasm, level) for level in (2, 3)])


class Run:
    """One run in a fork, and what has to hold all along."""

    def __init__(self, world: World):
        self.world = world
        self.fleet = world.fleet
        self.first = len(deposits(self.fleet))
        self.held = self.fleet.network.cycles(self.fleet.factory.id)
        self.begun = self.fleet.network.time()

    def step(self, acts: list[tuple[str, int, int]], spoiled: tuple[Fault, int] | None) -> None:
        """Things that happen together, and a call that goes wrong meanwhile."""
        if spoiled is not None:
            self.world.chaos.arm(*spoiled)
        for act in acts:
            self.world.act(*act)
        self.world.run()
        self.world.chaos.stop()
        self.check()

    def check(self) -> None:
        """What holds whenever nothing is under way."""
        fleet, chaos = self.fleet, self.world.chaos
        assert unaccounted(fleet.network.ic) == 0
        entries = deposits(fleet)
        given = [entry for entry in entries if entry["outcome"][0] != "returned"]
        self.check_books(entries, given)
        self.check_quotas([entry for entry in given if entry["canister"] is not None])
        self.check_shares()
        assert chaos.overspent <= G, f"the battery went {chaos.overspent} cycles below its reserve"
        assert len(fleet.orphans()) <= len(fleet.lost_creations())
        spent = net(entries[self.first :])
        left = fleet.network.cycles(fleet.factory.id) - self.held - self.world.added
        gas = GAS + IDLE * (fleet.network.time() - self.begun) // (10**9 * DAY)
        assert left >= -spent - gas, f"{-spent - left} cycles left the battery and are in no book"
        others = chaos.stopped | self.world.stopped
        stopped = [one.id for one in fleet.made() if one.status is not Status.RUNNING]
        assert [one for one in stopped if one not in others and not self.is_worked_on(one)] == []

    def is_worked_on(self, canister: bytes) -> bool:
        """Whether a child is being retired, or its code changed, which a timer brings to its end."""
        change = self.fleet.factory.call("get_code_change", canister)
        is_open = change is not None and change["outcome"][0] == "open"
        return is_open or self.fleet.stage(canister) == "retiring"

    def check_books(self, entries: list[dict[str, Any]], given: list[dict[str, Any]]) -> None:
        """Single deposits, their sums, each child's total and what arrived on the network say the same."""
        page = self.fleet.factory.call("get_deposits", None, 1)
        nets: dict[str, int] = {}
        for outcome, total in page["sums"].items():
            of_it = [entry for entry in entries if entry["outcome"][0] == outcome]
            nets[outcome] = total["attached"] - total["refunded"]
            assert total["count"] == len(of_it)
            assert nets[outcome] == net(of_it)
        assert nets["failed"] == 0
        settled = nets["settled"] - net(entries[: self.first])
        arrived = self.world.chaos.arrived()
        assert settled <= arrived <= settled + nets["unknown"] + nets["pending"]
        assert -nets["returned"] <= self.world.chaos.returned()
        for canister, child in self.fleet.children().items():
            assert child["paid"] == net(entry for entry in given if entry["canister"] == canister)
            zone = self.fleet.factory.call("get_zone", canister)
            assert zone["owed"] <= 2 * T + child["paid"]

    def check_quotas(self, entries: list[dict[str, Any]]) -> None:
        """No window of any quota holds more than its limit."""
        policy = self.fleet.factory.call("get_battery_policy")
        limit = self.fleet.factory.call("get_aggregate_quota_settings")["maxAmount"]
        assert most_in_a_window([(entry["begun_at"], net([entry])) for entry in entries], DAY) <= limit
        for child in {entry["canister"] for entry in entries}:
            own = [(entry["begun_at"], net([entry])) for entry in entries if entry["canister"] == child]
            # A window that began under the limit of one custody may end under that of another.
            windows = 2 if child in self.world.once_held else 1
            assert most_in_a_window(own, CHILD_WINDOW) <= windows * policy["child_limit"]

    def check_shares(self) -> None:
        """Sponsored creations without a proof have no more than their share of any day."""
        policy = self.fleet.factory.call("get_creation_policy")
        asked = [one for one in self.fleet.creations().values() if one["zone_id"] and one["funding"][0] == "sponsored"]
        unproven = [one for one in asked if not one["proven"]]
        counted = [(one["asked_at"], int(one["stage"][0] != "failed")) for one in unproven]
        assert most_in_a_window(counted, DAY) <= policy["unproven"]["creations"]
        spent = [(one["asked_at"], one["cycles"] if one["stage"][0] != "failed" else 0) for one in unproven]
        assert most_in_a_window(spent, DAY) <= policy["unproven"]["cycles"]

    def finish(self) -> None:
        """Mends what others did, and brings everything that was begun to its end."""
        world, fleet = self.world, self.fleet
        for canister in fleet.made():
            if canister.id in world.chaos.stopped | world.stopped and canister.status is Status.STOPPED:
                canister.status = Status.RUNNING
        world.chaos.stopped.clear()
        world.stopped.clear()
        world.keep(5 * T)
        world.feed_battery(0, 60)
        world.settle(PATIENCE + 600)
        fleet.settle_lost()
        world.settle(COUNTED_FOR // 10**9 + 600)
        self.check()
        # No mark of an open call is left: else this would be refused.
        fleet.network.upgrade(fleet.factory.id, fleet.build.wasm, sender=TEAM)
        world.run()
        assert fleet.orphans() == []
        assert fleet.lost_creations() == []
        sums = fleet.factory.call("get_deposits", None, 1)["sums"]
        assert sums["pending"]["count"] == 0
        for child in fleet.children():
            change = fleet.factory.call("get_code_change", child)
            assert change is None or change["outcome"][0] != "open", change
        for creation in fleet.creations().values():
            self.complete(creation)
        self.check()
        self.check_index()

    def complete(self, creation: dict[str, Any]) -> None:
        """A creation that stopped half way comes to its end when its creator asks again."""
        fleet, canister = self.fleet, creation["canister"]
        if creation["stage"][0] not in ("created", "installed") or canister not in fleet.network.ic.canisters:
            return
        account = fleet.network.ic.canisters[canister]
        if fleet.factory.id.bytes not in account.settings.controllers or account.cycles < T // 2:
            return
        if account.module is not None and account.module.hash not in self.world.released:
            return
        fleet.network.advance(61)
        wanted = wish(
            zone_id=creation["zone_id"],
            owners=creation["owners"],
            custody=creation["custody"],
            public_key=None,
        )
        label, told = fleet.factory.call("create_zone", wanted, sender=Principal(creation["creator"]))
        assert label == "ok", told
        assert told["canister"] == canister
        assert fleet.stage(canister) == "live"

    def check_index(self) -> None:
        """Whatever the factory created and that still exists is found by canister, by zone and by creator."""
        fleet = self.fleet
        pooled = {one["canister"] for one in fleet.creations().values() if one["stage"][0] == "pooled"}
        for canister in fleet.made():
            zone = fleet.factory.call("get_zone", canister.id)
            if canister.id in pooled:
                assert zone is None
                continue
            assert zone is not None
            for page in (
                fleet.factory.call("get_zones_by_id", zone["zone_id"], 0, 100),
                fleet.factory.call("get_zones_by_creator", zone["creator"], 0, 100),
            ):
                assert canister.id in [found["canister"] for found in page["zones"]]


def deleted_in_a_change(world: World, skip: int) -> str:
    """What comes of a zone's change of code when the zone is deleted at one of its calls; "" when there is none."""
    world.publish(0, 9)
    world.chaos.arm(Fault.CHILD_DELETED, skip)
    zone = world.zones()[0]
    world.submit("upgrade_code", zone.bytes, world.released[-1], b"DIDL\0\0", sender=TEAM)
    world.run()
    world.settle(TRIES)
    change = world.fleet.factory.call("get_code_change", zone.bytes)
    if not world.chaos.struck:
        return ""
    return "refused" if change is None else change["outcome"][0]


def test_a_change_of_code_ends_when_its_zone_is_deleted_meanwhile(world: World):
    outcomes = [forked(lambda skip=skip: deleted_in_a_change(world, skip)) for skip in range(16)]
    struck = [outcome for outcome in outcomes if outcome]
    assert len(struck) >= 8
    assert "open" not in struck, outcomes


numbers = st.integers(0, 9)
acts = st.lists(st.tuples(st.sampled_from(ACTS), numbers, numbers), min_size=2, max_size=4)
skips = st.one_of(st.integers(0, 2), st.integers(0, 12))
faults = st.one_of(st.none(), st.tuples(st.sampled_from(Fault), skips), st.tuples(st.sampled_from(Fault), skips))


def test_nothing_is_lost_whatever_happens_and_whatever_fails(world: World):
    @settings(max_examples=examples(RUNS))
    @given(steps=st.lists(st.tuples(acts, faults), min_size=STEPS // 2, max_size=STEPS))
    def runs(steps: list[tuple[list[tuple[str, int, int]], tuple[Fault, int] | None]]) -> None:
        def go() -> None:
            run = Run(world)
            for step in steps:
                run.step(*step)
            run.finish()

        forked(go)

    runs()
