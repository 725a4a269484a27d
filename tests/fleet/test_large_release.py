"""A release as large as Kybra's build of a zone, 14 MB gzipped, goes all the way from an admin to zones that run it.

The zone's own Wasm with noise in it: it needs the platform's chunks, and works. What each step costs the factory is
held below what `docs/factory.md` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from ic.principal import Principal

from factory.releases import CHUNK_BYTES
from tests.fleet.inprocess import InProcess
from tests.support.actor import Actor
from tests.support.builds import Built
from tests.support.factories import T, deploy_factory, publish, wish
from tests.support.padding import padded
from tests.support.rollouts import run
from tests.support.zones import TEAM, member

SIZE = 14_000_000
CHUNKS = 14
M = 10**6
G = 10**9

pytestmark = pytest.mark.localnet_only("the instructions of a call are told")


@dataclass(frozen=True)
class Cost:
    """What a step took of the factory."""

    instructions: int
    cycles: int


class Meter:
    """Runs steps and tells what each took of a factory."""

    def __init__(self, network: InProcess, factory: Actor):
        self.canister = network.ic.canisters[factory.id.bytes]

    def of(self, step: Callable[[], Any]) -> tuple[Any, Cost]:
        """A step's result and cost."""
        instructions, cycles = self._executed(), self.canister.cycles
        result = step()
        cost = Cost(self._executed() - instructions, cycles - self.canister.cycles)
        print(f"{cost.instructions / M:,.1f} M instructions, {cost.cycles / G:,.2f} G cycles")
        return result, cost

    def _executed(self) -> int:
        assert self.canister.runtime is not None
        return sum(self.canister.runtime.executed)


def test_a_release_of_14_mb_is_uploaded_published_installed_and_rolled_out(factory_build: Built, zone_build: Built):
    network = InProcess()
    factory = deploy_factory(network, factory_build)
    meter = Meter(network, factory)
    publish(factory, zone_build.wasm, version=999)
    _, old = factory.call("create_zone", wish(), sender=member(1))
    wasm = padded(zone_build.wasm, SIZE)
    digest = hashlib.sha256(wasm).digest()
    chunks = [wasm[start : start + CHUNK_BYTES] for start in range(0, len(wasm), CHUNK_BYTES)]
    assert len(chunks) == CHUNKS

    for index, data in enumerate(chunks):
        chunk = {"wasm_hash": digest, "index": index, "data": data}
        told, cost = meter.of(lambda chunk=chunk: factory.call("upload_release_chunk", chunk, sender=TEAM))
        assert told == ("ok", index + 1)
        assert cost.instructions < 100 * M
        assert cost.cycles < 2.5 * G

    notice = {"version": 1000, "wasm_hash": digest, "notes": "large"}
    told, cost = meter.of(lambda: factory.call("publish_release", notice, sender=TEAM))
    assert told == ("ok", None)
    assert cost.instructions < 1_300 * M
    handed_out = [factory.call("get_release_chunk", digest, index)[1] for index in range(CHUNKS)]
    assert hashlib.sha256(b"".join(handed_out)).digest() == digest

    made_of_it = []
    for number, most in [(2, 900 * M), (3, 5 * M)]:
        # The second one finds the platform's chunk store filled.
        asked = wish(zone_id=f"0x{number:040x}")
        (label, made), cost = meter.of(lambda asked=asked: factory.call("create_zone", asked, sender=member(2)))
        assert label == "ok", made
        assert cost.instructions < most
        assert cost.cycles - 2 * T < 25 * G
        made_of_it.append(made["canister"])

    def roll_out() -> dict[str, Any]:
        plan = {"release": 1000, "canary": 1, "batch": 1, "pause_on_failures": 1}
        assert factory.call("start_rollout", plan, sender=TEAM) == ("ok", 1)
        return run(factory)

    told, cost = meter.of(roll_out)
    assert {change["canister"]: change["outcome"][0] for change in told["changes"]} == {
        old["canister"]: "upgraded",
        **dict.fromkeys(made_of_it, "current"),
    }
    assert cost.instructions < 15 * M
    for canister in [old["canister"], *made_of_it]:
        zone = Actor(network, Principal(canister), zone_build.did)
        module = network.ic.canisters[canister].module
        assert module is not None
        assert module.hash == digest
        assert zone.call("get_version") == 1000
