"""What a factory's children cost it in cycles, instructions and memory: `make bench-fleet ARGS='--json --save'`.

Runs a factory on a network in this process, with canisters for children that were created and registered as zones are
but run a burner's code: the factory reads and fuels a canister, whatever it runs. Times are left out: they say more
about the machine than about the factory.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import pairwise

from bench.message_zone import origin, save
from factory.sweep import BEAT_SECONDS
from tests.fleet.inprocess import InProcess
from tests.support.builds import built
from tests.support.factories import T, deploy_factory
from tests.support.fleets import DAY, SWEEP_SECONDS, Fleet

SIZES = (10, 200, 1_000)
SWEEPS = 8
BEATS = 20
"""Fewer than there are between two sweeps."""
PAGE = 4_096
"""Bytes of the pieces of stable memory of which those written to are counted."""
G = 10**9
EACH = ("cycles_a_sweep", "instructions_a_sweep", "instructions_a_beat", "heap_bytes", "stable_bytes", "written_bytes")
"""Figures of a fleet that are told for each child that is added."""


class Metered(InProcess):
    """A network that counts the instructions of its rounds: the factory's, and some 100 for each burner that wakes."""

    instructions = 0

    def tick(self, rounds: int = 1) -> None:
        """Execute rounds."""
        for _ in range(rounds):
            super().tick()
            self.instructions += self.ic.scheduler.instructions


@dataclass(frozen=True)
class Row:
    """A fleet of one size. Cycles are the factory's own, without what it passed on; bytes are those at the end."""

    children: int
    idle_cycles_a_day: int
    """Cycles for the factory's memory alone."""
    cycles_a_beat: int
    """Cycles for a look at the clock, every 600 s."""
    instructions_a_beat: int
    cycles_a_sweep: int
    instructions_a_sweep: int
    instructions_a_creation: int
    rounds_a_sweep: int
    heap_bytes: int
    stable_bytes: int
    """Stable memory that the factory has taken, and pays for."""
    written_bytes: int
    """What of it was ever written to, in pieces of 4 KiB."""


@dataclass(frozen=True)
class Growth:
    """What each further child adds between two sizes."""

    from_children: int
    to_children: int
    cycles_a_sweep: int
    instructions_a_sweep: int
    instructions_a_creation: int
    """How much more the mean creation takes in the larger fleet, in all."""
    instructions_a_beat: int
    heap_bytes: int
    stable_bytes: int
    written_bytes: int


def measure(size: int, seed: int, sweeps: int) -> Row:
    """Creates a fleet of this size and sweeps it."""
    network = Metered(seed)
    factory = deploy_factory(network, built("factory"), (3 * size + 100) * T)
    fleet = Fleet(network, factory)
    fleet.grow([0])
    before = network.instructions
    fleet.grow([number % 10 * G for number in range(1, size)])
    creation = (network.instructions - before) // (size - 1)
    fleet.sweep()
    rounds, instructions = 0, network.instructions
    held = network.cycles(factory.id) + fleet.status()["passed_on"]
    for _ in range(sweeps):
        fleet.sweep()
        rounds += fleet.ticks
    instructions = network.instructions - instructions
    burnt = held - network.cycles(factory.id) - fleet.status()["passed_on"]
    idle = network.canister_status(factory.id, sender=factory.id)["idle_cycles_burned_per_day"]
    sweep = (burnt - idle * sweeps * SWEEP_SECONDS // DAY) // sweeps
    beat, steps = a_beat(network, fleet, idle)
    runtime = network.ic.canisters[factory.id.bytes].runtime
    assert runtime is not None
    stable = runtime.stable.read()
    return Row(
        children=size,
        idle_cycles_a_day=idle,
        cycles_a_beat=beat,
        instructions_a_beat=steps,
        cycles_a_sweep=sweep,
        instructions_a_sweep=instructions // sweeps,
        instructions_a_creation=creation,
        rounds_a_sweep=rounds // sweeps,
        heap_bytes=runtime.heap_bytes,
        stable_bytes=len(stable),
        written_bytes=sum(any(stable[at : at + PAGE]) for at in range(0, len(stable), PAGE)) * PAGE,
    )


def a_beat(network: Metered, fleet: Fleet, idle: int) -> tuple[int, int]:
    """Cycles and instructions that the timer takes when nothing is due."""
    cycles, instructions = network.cycles(fleet.factory.id), network.instructions
    for _ in range(BEATS):
        network.advance(BEAT_SECONDS)
    burnt = cycles - network.cycles(fleet.factory.id) - idle * BEATS * BEAT_SECONDS // DAY
    return burnt // BEATS, (network.instructions - instructions) // BEATS


def growth(small: Row, large: Row) -> Growth:
    """What each of the children of a larger fleet added to a smaller one."""
    more = large.children - small.children
    each = {name: (getattr(large, name) - getattr(small, name)) // more for name in EACH}
    creation = large.instructions_a_creation - small.instructions_a_creation
    return Growth(small.children, large.children, instructions_a_creation=creation, **each)


def main() -> None:
    """Prints tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--save", action="store_true", help="keep the result in bench/results/fleet.json")
    parser.add_argument("--seed", type=int, default=1, help="seed of the network (default: 1)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of children, ascending")
    parser.add_argument("--sweeps", type=int, default=SWEEPS, help=f"how many are measured (default: {SWEEPS})")
    options = parser.parse_args()
    source = origin(options.seed, name="factory")
    rows = [measure(size, options.seed, options.sweeps) for size in options.sizes]
    grown = [growth(*pair) for pair in pairwise(rows)]
    tables = {"rows": [asdict(row) for row in rows], "growth": [asdict(step) for step in grown]}
    result = {**source, "sweeps": options.sweeps, **tables}
    if options.save:
        save("fleet", result)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"seed {options.seed}, commit {result['commit']}, template {str(result['factory']['template_hash'])[:16]}")
    for name, table in tables.items():
        print(f"\n{name}")
        for figure in table[0] if table else ():
            print(f"{figure:26}" + "".join(f"{row[figure]:>18,}" for row in table))


if __name__ == "__main__":
    main()
