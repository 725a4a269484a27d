"""A zone canister alone on a network in this process, filled with random messages and metered: for benchmarks.

Its one member is an admin and is lifted above every quota. Not for what is measured or asserted: see `bench.messages`
and `bench.soak`.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import canister_build
from bench.inprocess import CIPHERTEXT_BYTES, DirectAgent, accesses, create, zone_argument
from localnet import candid as c
from localnet.management_types import INSTALL
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.runtime import Runtime
from localnet.system_api import signatures
from zones import management
from zones.calls import Method, ok_or_raise
from zones.identity import principal_of
from zones.zone import Zone

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PUBLIC_KEY = b"\x04" + bytes(64)
FILL_BATCH = 1_000
CYCLES = 10**18
SECOND = 10**9
MOST_BYTES = 4 << 30
"""Largest limit a zone's messages may have."""

Pair = tuple[bytes, bytes]

_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_LIMITS = c.record(max_bytes=c.opt(c.NAT64), max_messages=c.opt(c.NAT32), max_age_seconds=c.opt(c.NAT32))
_SET_LIMITS = Method("set_message_limits", [_LIMITS], [_ACK])
_SET_QUOTA = Method(
    "set_member_quota",
    [c.record(max_messages=c.opt(c.NAT32), max_bytes=c.opt(c.NAT64))],
    [c.variant(ok=c.NULL, err=c.TEXT)],
)
_INSTALL = Method("install_code", [INSTALL])


@dataclass(frozen=True)
class Cost:
    """What calls cost: instructions of the canister's code and of its system calls, and its stable accesses."""

    fuel: int
    system_calls: int
    stable_reads: int
    bytes_read: int
    stable_writes: int
    bytes_written: int

    def __sub__(self, earlier: Cost) -> Cost:
        """What came after `earlier`."""
        return Cost(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


class MessageZone:
    """The zone, the pairs that were sent to it, and what calls cost it."""

    def __init__(self, seed: int, keys: int):
        self.random = random.Random(seed)
        self.network = Network(["Application"], ModuleCache(signatures()), seed=seed)
        self.agent = DirectAgent(self.network, principal_of(PUBLIC_KEY))
        self.id = create(self.agent, CYCLES)
        self.keys = [bytes([20]) + self.random.randbytes(20) + bytes(20) for _ in range(keys)]
        self.sent = 0
        self._wasm = zone_artifact().wasm_gz.read_bytes()
        management.install(self.agent, self.id, self._wasm, zone_argument())
        self.zone = Zone(self.agent, self.id)
        self.zone.update_role(PUBLIC_KEY)
        ok_or_raise("quota", _SET_QUOTA(self.agent, self.id, {"max_messages": 2**32 - 1, "max_bytes": 2**63}))
        self.limit(MOST_BYTES)

    # Messages ----------------------------------------------------------------------------------------

    def pairs(self, count: int, size: int = CIPHERTEXT_BYTES) -> list[Pair]:
        """So many new (key_id, ciphertext) pairs, the keys in turns."""
        start, self.sent = self.sent, self.sent + count
        keys = self.keys
        return [(keys[number % len(keys)], self.random.randbytes(size)) for number in range(start, start + count)]

    def fill(self, last_id: int, added: Callable[[list[Pair]], None] = lambda _pairs: None) -> None:
        """Adds messages in batches until the last id is `last_id`; each batch is shown to `added`."""
        at = self.zone.id_range()[1]
        while at < last_id:
            batch = self.pairs(min(FILL_BATCH, last_id - at))
            at = self.zone.add_messages(batch)[-1]
            added(batch)

    def limit(self, max_bytes: int) -> None:
        """Sets the limit of the zone's messages in bytes."""
        limits = {"max_bytes": max_bytes, "max_messages": None, "max_age_seconds": None}
        ok_or_raise("limits", _SET_LIMITS(self.agent, self.id, limits))

    # The canister ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Lets background work go on until there is no more to do."""
        for _ in range(100):
            before = self.cost()
            self.network.clock.set(self.network.clock.now + 2 * SECOND)
            self.network.tick()
            if self.cost() == before:
                return
        raise SystemExit("background work does not end")

    def upgrade(self, *, skip_pre_upgrade: bool = False) -> int:
        """Upgrades the canister to the same code; returns the instructions that took."""
        options = {"skip_pre_upgrade": skip_pre_upgrade, "wasm_memory_persistence": None}
        install = {"mode": ("upgrade", options), "canister_id": self.id, "wasm_module": self._wasm, "arg": b"DIDL\0\0"}
        _INSTALL(self.agent, management.MANAGEMENT, install, effective=self.id)
        return self.agent.instructions

    def cost(self) -> Cost:
        """What everything cost since the canister's last installation or upgrade."""
        return Cost(*self._runtime.executed, *accesses(self.network, self.id))

    @property
    def heap_bytes(self) -> int:
        """Size of the canister's heap."""
        return self._runtime.heap_bytes

    @property
    def stable_pages(self) -> int:
        """Pages of 64 KiB of stable memory."""
        return self._runtime.stable.pages

    @property
    def _runtime(self) -> Runtime:
        runtime = self.network.canister(self.id).runtime
        assert runtime is not None, "installed in __init__"
        return runtime


@cache
def zone_artifact() -> canister_build.Artifact:
    """The zone canister, built once however long a benchmark runs."""
    return canister_build.build("zone_canister", builder="template")


def origin(seed: int, *, name: str = "zone") -> dict[str, Any]:
    """What a result must say to be repeated: seed, commit, and the zone's or factory's manifest with its hashes."""
    artifact = zone_artifact() if name == "zone" else canister_build.build(name, builder="template")
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, encoding="utf-8", check=False).stdout.strip()
    return {"seed": seed, "commit": commit or None, name: json.loads(artifact.manifest.read_text(encoding="utf-8"))}


def save(name: str, result: dict[str, Any]) -> None:
    """Keeps a result in `bench/results`."""
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
