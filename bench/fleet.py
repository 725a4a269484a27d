"""What the battery's sweeps cost a child, with 10 and 100 children: `make bench-fleet ARGS='--json'`.

Runs a factory with burners for children on a network of its own and counts what the sweeps take: cycles of the
factory's own (fees and instructions), its stable memory, network rounds. Times are left out: they say more about the
machine than about the factory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("POCKET_IC_BIN", str(Path(sys.executable).parent / "localnet"))

from factory.sweep import BEAT_SECONDS
from tests.support.builds import built
from tests.support.factories import T, deploy_factory
from tests.support.fleets import DAY, SWEEP_SECONDS, Fleet
from tests.support.network import Network

SWEEPS = 40
BEATS = 60
G = 10**9


@dataclass(frozen=True)
class Row:
    """A fleet of one size. Cycles are the factory's own, without what it passed on."""

    children: int
    idle_cycles_a_day: int
    """Cycles for the factory's memory alone."""
    cycles_a_beat: int
    """Cycles for a look at the clock, every 600 s."""
    cycles_a_sweep: int
    cycles_a_child: int
    rounds_a_sweep: int
    stable_pages: int
    stable_pages_before: int


def measure(size: int) -> Row:
    """Sweeps a fleet of this size for ten days."""
    with Network() as network:
        factory = deploy_factory(network, built("factory"), (3 * size + 100) * T)
        fleet = Fleet(network, factory)
        fleet.grow([0])
        empty = factory.call("get_stable64_size")
        fleet.grow([number % 10 * G for number in range(1, size)])
        fleet.sweep()
        rounds = 0
        before = network.cycles(factory.id) + fleet.status()["passed_on"]
        for _ in range(SWEEPS):
            fleet.sweep()
            rounds += fleet.ticks
        status = fleet.status()
        burnt = before - network.cycles(factory.id) - status["passed_on"]
        idle = status_of(network, fleet)
        a_sweep = (burnt - idle * SWEEPS * SWEEP_SECONDS // DAY) // SWEEPS
        beat = cycles_a_beat(network, fleet, idle)
        pages = factory.call("get_stable64_size")
    return Row(size, idle, beat, a_sweep, a_sweep // size, rounds // SWEEPS, pages, empty)


def cycles_a_beat(network: Network, fleet: Fleet, idle: int) -> int:
    """What the timer takes when nothing is due."""
    before = network.cycles(fleet.factory.id)
    for _ in range(BEATS):
        network.advance(BEAT_SECONDS)
    return (before - network.cycles(fleet.factory.id) - idle * BEATS * BEAT_SECONDS // DAY) // BEATS


def status_of(network: Network, fleet: Fleet) -> int:
    """Cycles a day that the factory burns without doing anything."""
    return network.canister_status(fleet.factory.id, sender=fleet.factory.id)["idle_cycles_burned_per_day"]


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    rows = [measure(size) for size in (10, 100)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    names = list(asdict(rows[0]))
    print("  ".join(names))
    for row in rows:
        print("  ".join(f"{figure:>{len(name)},}" for name, figure in asdict(row).items()))


if __name__ == "__main__":
    main()
