"""A factory with many children that burn cycles at rates of their own: what tests of the battery at work start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ic.principal import Principal

from factory.sweep import BEAT_SECONDS
from tests.localnet.wat import canister
from tests.support.actor import Actor
from tests.support.factories import T, publish, set_policy
from tests.support.network import Network
from tests.support.network_agent import NetworkAgent
from tests.support.zones import RPC_HOST, member
from zones import fleet, fleet_report
from zones.battery import Battery
from zones.factory import Factory
from zones.fleet_report import FleetReport
from zones.readings import Readings
from zones.zone_index import ZoneIndex

DAY = 86_400
SWEEP_SECONDS = 21_600

BURNER = """
(global $rate (mut i64) (i64.const 0))
(global $since (mut i64) (i64.const 0))
(func $again
  (global.set $since (call $time))
  (drop (call $global_timer_set (i64.add (call $time) (i64.const 21000000000000)))))
(func $burn
  (call $cycles_burn128 (i64.const 0)
    (i64.mul (global.get $rate) (i64.div_u (i64.sub (call $time) (global.get $since)) (i64.const 1000000000)))
    (i32.const 100)))
(func (export "canister_init") (call $again))
(func (export "canister_update burn_at")
  (drop (call $argument (i32.const 200))) (global.set $rate (i64.load (i32.const 200)))
  (call $again) (call $msg_reply))
(func (export "canister_global_timer") (call $burn) (call $again))
"""
"""Burns so many cycles a second (`burn_at`, u64), taken every 21 000 s; it takes any arguments."""


def burner() -> bytes:
    """Wasm that burns cycles, to be published as the zones' release."""
    return canister(BURNER)


class Fleet:
    """Children of one factory on one network, by the cycles a day they burn."""

    def __init__(self, network: Network, factory: Actor) -> None:
        self.network = network
        self.factory = factory
        self.children: dict[Principal, int] = {}
        self.ticks = 0
        """Rounds that the last sweep took."""

    def grow(self, burns: list[int]) -> None:
        """Creates a child for each rate (cycles a day); the release is a burner's."""
        if not self.children:
            publish(self.factory, burner())
            allow_creations(self.factory)
        for burn in burns:
            number = len(self.children)
            zone_id = f"0x{number:040x}"
            arguments = (zone_id, RPC_HOST, "/")
            made = self.factory.call("create_zone_availability_canister", *arguments, sender=member(number))
            child = Principal(made)
            self.network.update(child, "burn_at", (burn // DAY).to_bytes(8, "little"))
            self.children[child] = burn

    def sweep(self) -> dict[str, Any]:
        """Waits until the timer's next sweep, and until it is over; returns the battery's status."""
        number = self.status()["sweep"]["number"]
        self.network.advance(SWEEP_SECONDS)
        self.ticks = 1
        for _ in range(3):
            for _ in range(len(self.children) // 8 + 20):
                status = self.status()
                if status["sweep"]["number"] > number and status["sweep"]["ended_at"]:
                    return status
                self.network.tick()
                self.ticks += 1
            self.network.advance(BEAT_SECONDS)
        raise AssertionError(f"no sweep ended: {self.status()['sweep']}")

    def status(self) -> dict[str, Any]:
        """The battery's status."""
        return self.factory.call("get_battery_status")

    def pages(self, limit: int = 7) -> Iterator[dict[str, Any]]:
        """All children as `get_fleet` tells, page by page."""
        after = None
        while True:
            page = self.factory.call("get_fleet", after, limit)
            yield from page["children"]
            after = page["next_after"]
            if after is None:
                return

    def report(self) -> FleetReport:
        """The fleet's report, as `zones fleet report` reads it."""
        agent, factory = NetworkAgent(self.network), self.factory.id.bytes
        client, readings = Factory(agent, factory), Readings(agent, factory)
        zones = fleet.children(readings, client, ZoneIndex(agent, factory))
        now = self.network.time() // 10**9
        battery = Battery(agent, factory)
        return fleet_report.collect("the network under test", now, client, battery, readings, zones, lambda *_: None)

    def balances(self) -> dict[bytes, int]:
        """What each child holds."""
        return {child.bytes: self.network.cycles(child) for child in self.children}


def allow_creations(factory: Actor) -> None:
    """Lets any number of zones be created."""
    most = {"daily_creations": 1_000, "daily_cycles": 10_000 * T}
    set_policy(factory, **most, unproven_creations=1_000, unproven_cycles=10_000 * T)


def drain(factory: Actor, canister: Principal, below: int) -> None:
    """Lets time take a child's cycles until they are below an amount, within an hour or two."""
    factory.network.update_settings(canister, sender=factory.id, compute_allocation=50, freezing_threshold=0)
    while factory.network.cycles(canister) >= below:
        factory.network.advance(100)
    factory.network.update_settings(canister, sender=factory.id, compute_allocation=0, freezing_threshold=2_592_000)
