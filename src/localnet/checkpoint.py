"""A network's whole state as plain data, and the checkpoint file that holds it.

Here stands which attributes are state and which are made anew; one that stands nowhere is an error, not a loss.
How objects become plain data is `image`'s business, when checkpoints are taken `state_folder`'s.

| offset | size | content of a checkpoint file |
|---|---|---|
| 0 | 8 | `LNETCHK` and a zero byte |
| 8 | 4 | format version, little-endian like all numbers here |
| 12 | 8 | length of the CBOR |
| 20 | 32 | SHA-256 of the CBOR |
| 52 | | CBOR: `Stored` as a map: number, versions, classes, setup, state, page index |
"""

from __future__ import annotations

import hashlib
import struct
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cbor2

from localnet.image import DIGEST_BYTES, NO_DIGEST, Blobs, Decoder, Encoder, PageStore, StateError
from localnet.message import Mode
from localnet.modules import WASMTIME_VERSION, CompiledModule
from localnet.network import Network, Subnet
from localnet.pages import Digests
from localnet.prices import Capacity, Limits
from localnet.runtime import HOUSEKEEPING_FUEL, Runtime
from localnet.wasm import InvalidWasm

FORMAT = 1
"""Raise it whenever files of before can't be read any more."""
_MAGIC = b"LNETCHK\0"
_HEADER = struct.Struct("<8sIQ32s")

_PARTS: dict[str, tuple[set[str], set[str]]] = {
    "": (
        {"round_number", "minted", "burned", "canisters", "_nonce", "_random_count"},
        {
            # made anew from the setup, or by use
            "lock", "work", "clock", "limits", "capacity", "modules", "shims", "pool", "prices", "seed", "verbose",
            "subnets", "certified", "root", "scheduler", "streams", "management", "outcalls", "queries", "replays",
            "recorder", "queried", "ingress", "certified_parts", "waiting",
        },
    ),
    "ingress": ({"entries", "waiting_bytes", "answer_bytes", "_answered"}, {"changed"}),
    "clock": ({"now"}, {"real"}),
    "scheduler": (set(), {"_network", "instructions", "_spent"}),
    "streams": ({"messages"}, {"_network"}),
    "management": ({"queue"}, {"network", "installer"}),
    "outcalls": ({"_next", "pending"}, {"_network"}),
    "replays": ({"_ids", "_by_expiry"}, set()),
    "queries": (set(), {"_network", "_active", "_budget"}),
}  # fmt: skip
"""Of the network ("") and its parts: the attributes that are saved, and those that aren't."""
_SUBNET = ["next_index", "full_at"], {"id", "kind", "seed", "first", "certifier", "node"}
"""Of a subnet: the fields that are saved, and those that follow from the setup."""


@dataclass(frozen=True)
class Setup:
    """What a network is created with."""

    kinds: list[str]
    seed: int
    limits: Limits
    capacity: Capacity

    @staticmethod
    def of(network: Network) -> Setup:
        """The setup of a network."""
        return Setup(
            [subnet.kind for subnet in network.subnets.values()], network.seed, network.limits, network.capacity
        )


@dataclass
class Stored:
    """The content of a checkpoint file."""

    number: int
    localnet: str
    wasmtime: str
    classes: dict[str, list[str]]
    setup: Any
    state: Any
    pages: Any
    """Index of the page files, see `pages`."""

    @property
    def writer(self) -> str:
        """The program that wrote it, for messages."""
        return f"localnet {self.localnet} with wasmtime {self.wasmtime}"


class Saver:
    """Turns a network into plain data, again and again; remembers what didn't change in between."""

    def __init__(self) -> None:
        self._runtimes: weakref.WeakKeyDictionary[Runtime, tuple[int, list[Any]]] = weakref.WeakKeyDictionary()
        self._blobs: Blobs = {}

    def state(self, network: Network, pages: PageStore) -> tuple[dict[str, list[str]], Any, Any]:
        """Classes, setup and state in plain data. Raises `StateError` for what can't be saved."""
        codecs = {Runtime: self._runtime, CompiledModule: self._module}
        encoder = Encoder(pages, codecs, self._blobs)
        setup = encoder.encode(Setup.of(network))
        state = encoder.encode(_attributes(network))
        self._blobs = encoder.blobs
        return encoder.classes, setup, state

    @staticmethod
    def _module(encoder: Encoder, module: CompiledModule) -> list[Any]:
        return ["module", encoder.encode(module.source)]

    def _runtime(self, encoder: Encoder, runtime: Runtime) -> list[Any]:
        known = self._runtimes.get(runtime)
        if known is not None and known[0] == runtime.changes:
            return known[1]
        data = [
            "runtime",
            encoder.encode(runtime.compiled),
            encoder.memory(runtime.heap_view()),
            encoder.memory(runtime.stable.view()),
            encoder.encode([value for _, value in runtime.globals()]),
        ]
        self._runtimes[runtime] = runtime.changes, data
        return data


def _attributes(network: Network) -> dict[str, dict[str, Any]]:
    """The attributes that are state, by part. Raises `StateError` when one isn't listed here."""
    found = {}
    for part, (saved, derived) in _PARTS.items():
        owner = getattr(network, part) if part else network
        have = vars(owner)
        unknown = set(have) ^ (saved | derived)
        if unknown:
            raise StateError(f"of {type(owner).__name__}, checkpoint does not know whether to save {sorted(unknown)}")
        found[part] = {name: have[name] for name in sorted(saved)}
    saved, derived = _SUBNET
    unknown = {item.name for item in fields(Subnet)} ^ {*saved, *derived}
    if unknown:
        raise StateError(f"of Subnet, checkpoint does not know whether to save {sorted(unknown)}")
    found["subnets"] = {
        subnet.id: {name: getattr(subnet, name) for name in saved} for subnet in network.subnets.values()
    }
    return found


def needed_pages(data: Any) -> set[bytes]:
    """Digests of the pages that plain data refers to."""
    found: set[bytes] = set()
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if not isinstance(item, list):
            continue
        if item and item[0] == "m":
            found.update(item[2][at : at + DIGEST_BYTES] for at in range(0, len(item[2]), DIGEST_BYTES))
        else:
            waiting += item
    return found - {NO_DIGEST}


def state_hash(network: Network) -> str:
    """A hash over everything that is saved of a network, memories included: equal states have equal hashes."""
    return hashlib.sha256(cbor2.dumps(Saver().state(network, Digests()))).hexdigest()


# Files ------------------------------------------------------------------------------------------------


def stored(number: int, content: tuple[dict[str, list[str]], Any, Any], pages: Any) -> Stored:
    """A checkpoint of this program from what `Saver.state` gave."""
    return Stored(number, version("zone-availability"), WASMTIME_VERSION, *content, pages)


def pack(checkpoint: Stored) -> bytes:
    """The checkpoint's file."""
    body = cbor2.dumps(vars(checkpoint))
    return _HEADER.pack(_MAGIC, FORMAT, len(body), hashlib.sha256(body).digest()) + body


def unpack(path: Path) -> Stored:
    """Read a checkpoint's file. Raises `StateError` for another format or a damaged file."""
    data = path.read_bytes()
    magic, number, size, digest = _HEADER.unpack_from(data.ljust(_HEADER.size, b"\0"))
    if magic != _MAGIC:
        raise StateError(f"{path} is no checkpoint")
    if number != FORMAT:
        raise StateError(f"{path} has format {number}, this localnet reads format {FORMAT}")
    body = data[_HEADER.size :]
    if len(body) != size or hashlib.sha256(body).digest() != digest:
        raise StateError(f"{path} is damaged: its checksum does not match")
    return Stored(**cbor2.loads(body))


# Loading ----------------------------------------------------------------------------------------------


@dataclass
class _Dormant:
    """A runtime as it was saved."""

    compiled: CompiledModule
    heap: list[Any]
    stable: list[Any]
    globals: list[int | float]


def load_setup(checkpoint: Stored, pages: PageStore) -> Setup:
    """What the saved network was created with."""
    return Decoder(pages, checkpoint.classes, {}).decode(checkpoint.setup)


def restore(network: Network, checkpoint: Stored, pages: PageStore) -> None:
    """Give a new network, made with the saved setup, the saved state. Raises `StateError`."""
    modules: dict[bytes, CompiledModule] = {}

    def module(decoder: Decoder, rest: list[Any]) -> CompiledModule:
        source = decoder.decode(rest[0])
        try:
            # One object for each module, as before: whoever saves again finds it unchanged.
            compiled = network.modules.get(source)
        except InvalidWasm as error:
            raise StateError(f"a canister's module cannot be compiled any more: {error}") from error
        return modules.setdefault(compiled.hash, compiled)

    def runtime(decoder: Decoder, rest: list[Any]) -> _Dormant:
        compiled, heap, stable, globals_ = rest
        return _Dormant(decoder.decode(compiled), heap, stable, decoder.decode(globals_))

    decoder = Decoder(pages, checkpoint.classes, {"module": module, "runtime": runtime})
    state: Mapping[str, Any] = decoder.decode(checkpoint.state)
    if state["subnets"].keys() != network.subnets.keys():
        raise StateError("the subnets' keys follow from seed and kinds in another way than when it was saved")
    for subnet_id, values in state["subnets"].items():
        vars(network.subnets[subnet_id]).update(values)
    for part, (saved, _) in _PARTS.items():
        have = sorted(state.get(part, ()))
        if set(have) != saved:
            raise StateError(f"it holds {have} of {part or 'the network'}, not {sorted(saved)}")
        vars(getattr(network, part) if part else network).update(state[part])
    network.ingress.changed.update(network.ingress)
    for canister in network.canisters.values():
        dormant: Any = canister.runtime
        canister.runtime = None
        if dormant is not None:
            context = network.scheduler.context(canister, Mode.START, HOUSEKEEPING_FUEL)
            services = network.services(network.prices_of(canister))
            awake = Runtime(dormant.compiled, services, network.shims, network.pool, context, starts=False)
            heap, stable = ((memory[1], decoder.pieces(memory)) for memory in (dormant.heap, dormant.stable))
            awake.restore(*heap, *stable, dormant.globals)
            canister.runtime = awake
