"""A run of a network by a seed, in a process of its own: prints what came of it as JSON, one line a step."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any

from localnet import state_tree
from localnet.checkpoint import Setup, state_hash
from localnet.message import Rejection, Response
from localnet.prices import Capacity, Limits
from tests.localnet.wat import canister
from tests.localnet.worlds import REQUEST, World, make

STEPS = 60
DICE = canister(
    """
    (table 2 funcref)
    (elem (i32.const 0) $on_answer $on_reject)
    (func $on_answer (param i32) (call $answer (i32.const 1000) (call $argument (i32.const 1000))))
    (func $on_reject (param i32) (call $answer32 (call $msg_reject_code)))
    (func (export "canister_update roll")
      (call $call_new (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 8)
        (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
      (call $call_data_append (i32.const 200) (i32.const 6))
      (drop (call $call_perform)))
    """,
    {100: b"raw_rand", 200: b"DIDL\0\0"},
)
"""Answers with the management canister's randomness."""


class Run:
    """A network and the calls that were made on it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.world = World(make(Setup(["Application", "System"], seed, Limits(), Capacity())))
        self._calls: list[bytes] = []
        self._busy = [self.world.deploy(subnet) for subnet in (0, 1, 0)]
        self._dice = [self._deploy_dice(subnet) for subnet in (0, 1)]

    def _deploy_dice(self, subnet: int) -> bytes:
        world = self.world
        before = set(world.ids)
        world.create(subnet)
        world.network.tick()
        (made,) = set(world.ids) - before
        world.install(made, module=DICE)
        world.network.tick()
        return made

    def step(self) -> None:
        """A few calls of random kinds, then a round or more."""
        world, choose = self.world, self._random.choice
        one, other = choose(self._busy), choose(self._busy)
        kinds: list[Callable[[], Any]] = [
            lambda: world.submit(one, choose(["count", "wake", "certify", "print", "grow", "grow_and_trap"])),
            lambda: world.submit(one, "call", other + REQUEST),
            lambda: world.submit(one, "fetch", REQUEST),
            lambda: world.submit(choose(self._dice), "roll"),
            lambda: world.create(choose([0, 1])),
            lambda: world.install(one, choose(["upgrade", "reinstall"])),
            lambda: world.upload(one, self._random.randbytes(100)),
            lambda: world.take_snapshot(one),
            lambda: world.load_snapshot(one),
            lambda: world.query(one, choose(["read", "write_and_read"])),
            lambda: world.answer_outcall(choose([0, 200, 404])),
        ]
        for _ in range(self._random.randint(1, 5)):
            made = choose(kinds)()
            if isinstance(made, bytes) and made in world.network.ingress:
                self._calls.append(made)
        for _ in range(self._random.randint(1, 3)):
            world.tick(choose([0, 0.5, 4, 100]))

    def seen(self) -> dict[str, Any]:
        """What a client could see, and a hash over all the rest."""
        network = self.world.network
        states = [state_tree.current(network, subnet) for subnet in network.subnets.values()]
        answers = {rid.hex(): shown(network.ingress[rid].response) for rid in self._calls if rid in network.ingress}
        self._calls = [rid for rid in self._calls if rid in network.ingress and network.ingress[rid].response is None]
        return {
            "time": network.clock.now,
            "canisters": {found.id.hex(): found.cycles for found in network.canisters.values()},
            "burned": network.burned,
            "answers": answers,
            "certificates": [state.certificate([()]).hex() for state in states],
            "state": state_hash(network),
        }


def shown(response: Response | None) -> Any:
    """An answer as JSON."""
    if response is None:
        return None
    if isinstance(response, Rejection):
        return [int(response.code), response.error_code, response.message]
    return response.data.hex()


if __name__ == "__main__":
    run = Run(int(sys.argv[1]))
    for _ in range(STEPS):
        run.step()
        print(json.dumps(run.seen()))
