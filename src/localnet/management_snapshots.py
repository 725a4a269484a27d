"""The management canister's snapshot methods: taking, loading, listing, deleting, reading and uploading them.

What a snapshot holds is `snapshots`'.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from localnet import accounts, candid, snapshots
from localnet import management_types as types
from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.management_calls import EMPTY_REPLY, Access, Call, method, record
from localnet.management_code import check_chunk
from localnet.prices import MAX_CHUNK_BYTES, MAX_HEAP_BYTES, MAX_STABLE_PAGES, MAX_WASM_BYTES, WASM_PAGE
from localnet.principal import to_text
from localnet.snapshots import MAX_SNAPSHOTS, Snapshot
from localnet.system_api import CERTIFIED_DATA_BYTES

if TYPE_CHECKING:
    from localnet.management import Management

BASE_INSTRUCTIONS = 2_000_000_000
"""Instructions that taking, loading or creating a snapshot is charged for, besides one for each byte
(replica configuration, ``DEFAULT_CANISTERS_SNAPSHOT_BASELINE_INSTRUCTIONS``)."""
DATA_INSTRUCTIONS = 5_000_000
"""Instructions that reading a slice is charged for, besides one for each byte (replica configuration,
``DEFAULT_CANISTERS_SNAPSHOT_DATA_BASELINE_INSTRUCTIONS``)."""
MAX_SLICE_BYTES = 2_000_000
"""Bytes of one slice that is read (replica, ``MAX_SLICE_SIZE_BYTES``)."""
MAX_GLOBALS = 1_000
"""Globals in uploaded metadata (replica, ``MAX_GLOBALS``)."""


def _find(management: Management, canister: Canister, snapshot_id: bytes) -> Snapshot:
    """A snapshot of this canister. Raises `Reject`."""
    found = canister.snapshots.get(snapshot_id)
    if found is not None:
        return found
    name, number = to_text(canister.id), snapshot_id.hex()
    owner = management.network.canisters.get(snapshot_id[8:])
    if owner is not None and owner.subnet == canister.subnet and snapshot_id in owner.snapshots:
        text = f"The snapshot {number} does not belong to canister {name}."
        raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)
    raise _not_found(canister, snapshot_id)


def _not_found(canister: Canister, snapshot_id: bytes) -> Reject:
    text = f"Could not find the snapshot ID {snapshot_id.hex()} for canister {to_text(canister.id)}."
    return Reject(ErrorCode.CANISTER_SNAPSHOT_NOT_FOUND, text)


def _replaced(management: Management, canister: Canister, replace: bytes | None) -> int:
    """Bytes of the snapshot a new one replaces. Raises `Reject` when there is no room for a new one."""
    if replace is not None:
        return _find(management, canister, replace).size
    if len(canister.snapshots) >= MAX_SNAPSHOTS:
        raise Reject(
            ErrorCode.CANISTER_REJECTED_MESSAGE,
            f"Canister {to_text(canister.id)} has reached the maximum number of snapshots allowed: {MAX_SNAPSHOTS}.",
        )
    return 0


def _entry(snapshot: Snapshot) -> dict[str, Any]:
    return {"id": snapshot.id, "taken_at_timestamp": snapshot.taken_at, "total_size": snapshot.size}


@method(types.TAKE_SNAPSHOT, Access.CONTROLLER)
def take_canister_snapshot(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Keep the canister's state, in place of an older snapshot or beside it; then uninstall it if asked to."""
    network, canister = management.network, call.target
    replace = value["replace_snapshot"]
    freed = _replaced(management, canister, replace)
    snapshots.check_full(canister)
    size = snapshots.size_of(canister)
    uninstall = bool(value["uninstall_code"])
    if uninstall:
        freed += canister.code_and_state_bytes
    prices = network.prices_of(canister)
    fee = prices.execution(BASE_INSTRUCTIONS + size)
    accounts.pay_for_operation(network, canister, fee, size - freed)
    snapshot = snapshots.take(canister, network.clock.now)
    if replace is not None:
        del canister.snapshots[replace]
    canister.snapshots[snapshot.id] = snapshot
    if uninstall:
        management.installer.uninstall(canister, call.origin, value["sender_canister_version"])
    return candid.encode([types.SNAPSHOT], [_entry(snapshot)])


@method(types.LOAD_SNAPSHOT, Access.CONTROLLER)
def load_canister_snapshot(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Put the state of a snapshot, of this canister or another one of the subnet, into the canister."""
    network, canister = management.network, call.target
    snapshot = _loadable(management, call, value["snapshot_id"])
    prices = network.prices_of(canister)
    baseline = prices.execution(BASE_INSTRUCTIONS)
    accounts.check_operation(network, canister, baseline, 0)
    loaded = snapshots.load(network, canister, snapshot)
    grown = snapshot.size + loaded.module.metadata_size - len(snapshot.certified_data) - canister.code_and_state_bytes
    fee = baseline + prices.execution(snapshot.size)
    reserved = accounts.check_operation(network, canister, fee, grown)
    snapshots.put(canister, snapshot, loaded)
    accounts.burn(network, canister, fee)
    accounts.reserve(canister, reserved)
    details = {
        "from_canister_id": snapshot.canister if snapshot.canister != canister.id else None,
        "snapshot_id": snapshot.id,
        "canister_version": snapshot.version,
        "taken_at_timestamp": snapshot.taken_at,
        "source": _source(snapshot),
    }
    record(management, call, canister, value["sender_canister_version"], ("load_snapshot", details))
    return EMPTY_REPLY


def _loadable(management: Management, call: Call, snapshot_id: bytes) -> Snapshot:
    """A snapshot on the target's subnet, of a canister the caller controls. Raises `Reject`."""
    canister = call.target
    owner = management.network.canisters.get(snapshot_id[8:])
    found = None
    if owner is not None and owner.subnet == canister.subnet:
        found = owner.snapshots.get(snapshot_id)
    if owner is None or found is None:
        raise _not_found(canister, snapshot_id)
    if call.caller not in owner.settings.controllers:
        raise Reject(
            ErrorCode.CANISTER_REJECTED_MESSAGE,
            f"Only a controller of the canister that snapshot {snapshot_id.hex()} belongs to can load it on canister "
            f"{to_text(canister.id)}. Sender: {to_text(call.caller)}.",
        )
    return found


def _source(snapshot: Snapshot) -> tuple[str, None]:
    return ("metadata_upload" if snapshot.uploaded else "taken_from_canister", None)


@method(types.CANISTER_ID, Access.SNAPSHOT_VIEWER)
def list_canister_snapshots(_management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """The canister's snapshots, oldest first."""
    return candid.encode([types.SNAPSHOTS], [[_entry(snapshot) for snapshot in call.target.snapshots.values()]])


@method(types.SNAPSHOT_ID, Access.CONTROLLER)
def delete_canister_snapshot(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Drop a snapshot."""
    snapshot = _find(management, call.target, value["snapshot_id"])
    del call.target.snapshots[snapshot.id]
    return EMPTY_REPLY


# Download and upload -------------------------------------------------------------------------------


@method(types.SNAPSHOT_ID, Access.SNAPSHOT_VIEWER)
def read_canister_snapshot_metadata(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Everything about a snapshot but its data."""
    snapshot = _find(management, call.target, value["snapshot_id"])
    timer = snapshot.global_timer
    metadata = {
        "source": _source(snapshot),
        "taken_at_timestamp": snapshot.taken_at,
        "wasm_module_size": len(snapshot.module),
        "globals": list(snapshot.globals),
        "wasm_memory_size": len(snapshot.heap),
        "stable_memory_size": len(snapshot.stable),
        "wasm_chunk_store": [{"hash": digest} for digest in sorted(snapshot.chunks)],
        "canister_version": snapshot.version,
        "certified_data": snapshot.certified_data,
        "global_timer": None if timer is None else ("active", timer) if timer else ("inactive", None),
        "on_low_wasm_memory_hook_status": None if snapshot.hook is None else (snapshot.hook, None),
    }
    return candid.encode([types.SNAPSHOT_METADATA], [metadata])


@method(types.READ_SNAPSHOT_DATA, Access.SNAPSHOT_VIEWER)
def read_canister_snapshot_data(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """A slice of a snapshot's module or memories, or a chunk of its chunk store."""
    canister = call.target
    snapshot = _find(management, canister, value["snapshot_id"])
    kind, where = value["kind"]
    size = MAX_CHUNK_BYTES if kind == "wasm_chunk" else where["size"]
    if kind != "wasm_chunk" and size > MAX_SLICE_BYTES:
        text = f"Requested slice too large: {size} > {MAX_SLICE_BYTES}"
        raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)
    prices = management.network.prices_of(canister)
    fee = prices.execution(DATA_INSTRUCTIONS + size)
    accounts.pay_for_operation(management.network, canister, fee, 0)
    if kind == "wasm_chunk":
        piece = snapshot.chunks.get(where["hash"])
        if piece is None:
            text = f"Error from Wasm chunk store: WasmChunkHash {where['hash'].hex()} not found."
            raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, text)
    else:
        data = _memory(snapshot, kind)
        _check_slice(data, where["offset"], size)
        piece = bytes(data[where["offset"] : where["offset"] + size])
    return candid.encode([types.SNAPSHOT_CHUNK], [{"chunk": piece}])


def _memory(snapshot: Snapshot, kind: str) -> bytes | bytearray:
    if kind == "wasm_module":
        return snapshot.module
    return snapshot.heap if kind == "wasm_memory" else snapshot.stable


def _check_slice(data: bytes | bytearray, offset: int, size: int) -> None:
    if offset + size > len(data):
        raise Reject(
            ErrorCode.INVALID_MANAGEMENT_PAYLOAD,
            f"Invalid subslice into wasm module / main memory / stable memory: offset: {offset}, size: {size}",
        )


@method(types.UPLOAD_SNAPSHOT_METADATA, Access.CONTROLLER)
def upload_canister_snapshot_metadata(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Create a snapshot of zeros, to be filled by `upload_canister_snapshot_data`."""
    network, canister = management.network, call.target
    _check_metadata(value)
    replace = value["replace_snapshot"]
    freed = _replaced(management, canister, replace)
    timer, hook = value["global_timer"], value["on_low_wasm_memory_hook_status"]
    size = value["wasm_module_size"] + value["wasm_memory_size"] + value["stable_memory_size"]
    prices = network.prices_of(canister)
    fee = prices.execution(BASE_INSTRUCTIONS + size)
    accounts.pay_for_operation(network, canister, fee, size - freed)
    snapshot = Snapshot(
        id=snapshots.next_id(canister),
        taken_at=network.clock.now,
        version=canister.version,
        uploaded=True,
        module=bytearray(value["wasm_module_size"]),
        globals=value["globals"],
        heap=bytearray(value["wasm_memory_size"]),
        stable=bytearray(value["stable_memory_size"]),
        certified_data=value["certified_data"],
        global_timer=None if timer is None else timer[1] or 0,
        hook=None if hook is None else hook[0],
    )
    if replace is not None:
        del canister.snapshots[replace]
    canister.snapshots[snapshot.id] = snapshot
    return candid.encode([types.NEW_SNAPSHOT], [{"snapshot_id": snapshot.id}])


def _check_metadata(value: dict[str, Any]) -> None:
    """Raise `Reject` for sizes no snapshot can have."""
    limits = {
        "wasm_module_size": (1, MAX_WASM_BYTES, 1),
        "wasm_memory_size": (0, MAX_HEAP_BYTES, WASM_PAGE),
        "stable_memory_size": (0, MAX_STABLE_PAGES * WASM_PAGE, WASM_PAGE),
    }
    for name, (least, most, unit) in limits.items():
        if not least <= value[name] <= most or value[name] % unit:
            raise _invalid(f"{name} is {value[name]}, it must be {least} to {most} and a multiple of {unit}")
    if len(value["globals"]) > MAX_GLOBALS:
        raise _invalid(f"{len(value['globals'])} globals, at most {MAX_GLOBALS} are allowed")
    if any(kind == "v128" for kind, _ in value["globals"]):
        raise _invalid("globals of type v128 are not offered by this network")
    if len(value["certified_data"]) > CERTIFIED_DATA_BYTES:
        raise _invalid(f"certified_data of {len(value['certified_data'])} bytes, at most {CERTIFIED_DATA_BYTES} fit")


def _invalid(text: str) -> Reject:
    return Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, f"Snapshot Metadata contains invalid data: {text}")


@method(types.UPLOAD_SNAPSHOT_DATA, Access.CONTROLLER)
def upload_canister_snapshot_data(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Write a piece of an uploaded snapshot's module or memories, or a chunk into its chunk store."""
    canister = call.target
    snapshot = _find(management, canister, value["snapshot_id"])
    if not snapshot.uploaded:
        text = "Only canister snapshots created by metadata upload can be mutated."
        raise Reject(ErrorCode.CANISTER_SNAPSHOT_IMMUTABLE, text)
    kind, where = value["kind"]
    chunk = value["chunk"]
    prices = management.network.prices_of(canister)
    fee = prices.execution(MAX_CHUNK_BYTES if kind == "wasm_chunk" else len(chunk))
    accounts.pay_for_operation(management.network, canister, fee, 0)
    if kind == "wasm_chunk":
        digest = hashlib.sha256(chunk).digest()
        if digest not in snapshot.chunks:
            check_chunk(snapshot.chunks, chunk)
            accounts.pay_for_operation(management.network, canister, 0, MAX_CHUNK_BYTES)
            snapshot.chunks[digest] = chunk
        return EMPTY_REPLY
    data = _memory(snapshot, kind)
    assert isinstance(data, bytearray)
    _check_slice(data, where["offset"], len(chunk))
    data[where["offset"] : where["offset"] + len(chunk)] = chunk
    return EMPTY_REPLY
