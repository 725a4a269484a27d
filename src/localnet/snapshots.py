"""A canister's snapshots: what one holds, how it is taken from a canister and put into one.

Who may do that, what it costs and what it is called are `management_snapshots`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localnet.errors import ErrorCode, Reject
from localnet.message import Mode
from localnet.modules import CompiledModule
from localnet.prices import GLOBAL_BYTES, MAX_CHUNK_BYTES
from localnet.principal import to_text
from localnet.runtime import Runtime
from localnet.wasm import InvalidWasm

if TYPE_CHECKING:
    from localnet.canister import Canister
    from localnet.network import Network

MAX_SNAPSHOTS = 10
"""Snapshots a canister may have (replica configuration, ``MAX_NUMBER_OF_SNAPSHOTS_PER_CANISTER``)."""


@dataclass
class Snapshot:
    """The state of a canister at one moment, taken from it or uploaded piece by piece.

    ``id`` is the number of the snapshot (8 bytes, big-endian), counted for each canister, and the
    canister's id. Memories are whole Wasm pages.
    """

    id: bytes
    taken_at: int
    """Nanoseconds since 1970."""
    version: int
    """The canister's version then."""
    uploaded: bool
    module: bytes | bytearray
    globals: Sequence[tuple[str, int | float]]
    """Type (``i32``, ``i64``, ``f32``, ``f64``) and value of each global that is mutable."""
    heap: bytes | bytearray
    stable: bytes | bytearray
    certified_data: bytes
    global_timer: int | None
    """Nanoseconds since 1970; 0 is inactive, None says nothing about it (uploaded snapshots only)."""
    hook: str | None
    """State of ``canister_on_low_wasm_memory`` (`LowMemory`'s values), None as for the timer."""
    chunks: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def canister(self) -> bytes:
        """The id of the canister it belongs to."""
        return self.id[8:]

    @property
    def size(self) -> int:
        """Bytes the canister pays storage for."""
        memories = len(self.heap) + len(self.stable)
        chunks = MAX_CHUNK_BYTES * len(self.chunks)
        return len(self.module) + memories + GLOBAL_BYTES * len(self.globals) + chunks + len(self.certified_data)


def next_id(canister: Canister) -> bytes:
    """The id of the canister's next snapshot; never used again."""
    number = canister.next_snapshot
    canister.next_snapshot += 1
    return number.to_bytes(8, "big") + canister.id


def size_of(canister: Canister) -> int:
    """Bytes a snapshot taken of the canister now would have."""
    module = canister.module
    code = module.size + GLOBAL_BYTES * len(module.globals) if module is not None else 0
    memories = canister.heap_bytes + canister.stable_bytes
    return code + memories + canister.chunk_bytes + len(canister.certified_data)


def check_full(canister: Canister) -> None:
    """Raise `Reject` when the canister is empty: there is nothing to take a snapshot of."""
    if canister.module is None:
        text = f"Failed to create snapshot for empty canister {to_text(canister.id)}:"
        raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)


def take(canister: Canister, now: int) -> Snapshot:
    """A snapshot of a canister that is not empty."""
    runtime = canister.runtime
    assert canister.module is not None
    assert runtime is not None
    return Snapshot(
        id=next_id(canister),
        taken_at=now,
        version=canister.version,
        uploaded=False,
        module=canister.module.source,
        globals=runtime.globals(),
        heap=runtime.heap_content(),
        stable=runtime.stable.read(),
        certified_data=canister.certified_data,
        global_timer=canister.global_timer,
        hook=canister.low_memory.value,
        chunks=dict(canister.chunks),
    )


@dataclass(frozen=True)
class Loaded:
    """A snapshot brought to life, ready to be put into a canister by `put`."""

    module: CompiledModule
    runtime: Runtime


def load(network: Network, canister: Canister, snapshot: Snapshot) -> Loaded:
    """An instance with the snapshot's code and memory; changes nothing. Raises `Reject`."""
    try:
        module = network.modules.get(bytes(snapshot.module))
    except InvalidWasm as error:
        text = f"Error from Canister {to_text(canister.id)}: Canister's Wasm module is not valid: {error}"
        raise Reject(ErrorCode.CANISTER_INVALID_WASM, text) from error
    services = network.services(network.prices_of(canister))
    context = network.scheduler.context(canister, Mode.START, network.limits.install)
    runtime = Runtime(module, services, network.shims, network.pool, context, snapshot.stable)
    if [kind for kind, _ in runtime.globals()] != [kind for kind, _ in snapshot.globals]:
        raise _inconsistent("Wasm exported globals of canister module and snapshot metadata do not match.")
    if len(snapshot.heap) < runtime.heap_bytes:
        raise _inconsistent(
            f"Wasm memory of the snapshot has {len(snapshot.heap)} bytes, its module starts with {runtime.heap_bytes}."
        )
    runtime.load(bytes(snapshot.heap), [value for _, value in snapshot.globals])
    return Loaded(module, runtime)


def put(canister: Canister, snapshot: Snapshot, loaded: Loaded) -> None:
    """Replace the canister's code and state by the snapshot's.

    Timer and low-memory hook stay as they are, unless the snapshot was uploaded and says what they should be.
    Raises `Reject`, and then nothing is changed, when that cannot be.
    """
    before = canister.module, canister.runtime
    canister.module, canister.runtime = loaded.module, loaded.runtime
    if snapshot.uploaded and snapshot.hook is not None:
        low = canister.is_low_on_memory
        if low != (snapshot.hook != "condition_not_satisfied"):
            canister.module, canister.runtime = before
            raise _inconsistent(
                f"Hook status ({snapshot.hook}) of uploaded snapshot is inconsistent with the canister's state (hook "
                f"condition satisfied: {str(low).lower()})."
            )
        canister.low_memory = type(canister.low_memory)(snapshot.hook)
    canister.chunks = dict(snapshot.chunks)
    canister.certified_data = snapshot.certified_data
    if snapshot.uploaded and snapshot.global_timer is not None:
        canister.global_timer = snapshot.global_timer


def _inconsistent(text: str) -> Reject:
    return Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)
