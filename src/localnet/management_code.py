"""The management canister's methods about code: installing it, the chunk store it comes from, uninstalling it.

How code is installed is `installer`'s.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from localnet import accounts, candid
from localnet import management_types as types
from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.installer import InstallRequest
from localnet.management_calls import EMPTY_REPLY, Access, Call, method, record
from localnet.prices import MAX_CHUNK_BYTES, MAX_CHUNKS
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.management import Management

UPLOAD_CHUNK_INSTRUCTIONS = 200_000_000
"""Instructions an upload to the chunk store is charged for (replica configuration)."""
HASH_BYTES = 32


def check_chunk(store: dict[bytes, bytes], chunk: bytes) -> None:
    """Raise `Reject` when a chunk is too large, or new and the store is full."""
    if len(chunk) > MAX_CHUNK_BYTES:
        raise _store_error(f"Wasm chunk size exceeds the maximum chunk size of {MAX_CHUNK_BYTES} bytes: {len(chunk)}")
    if len(store) >= MAX_CHUNKS and hashlib.sha256(chunk).digest() not in store:
        raise _store_error(f"Wasm chunk store has already reached maximum capacity of {MAX_CHUNKS} chunks")


def _store_error(text: str) -> Reject:
    return Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, f"Error from Wasm chunk store: {text}")


@method(types.INSTALL, Access.CONTROLLER)
def install_code(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Install, reinstall or upgrade code given in the message."""
    canister = call.target
    _install(management, call, canister, value, value["wasm_module"])
    return EMPTY_REPLY


def _install(
    management: Management, call: Call, canister: Canister, value: dict[str, Any], module: bytes, chunks: int = 0
) -> None:
    kind, options = value["mode"]
    request = InstallRequest(kind, options or {}, module, value["arg"], call.caller, chunks * MAX_CHUNK_BYTES)
    management.installer.install(canister, request)
    assert canister.module is not None
    details = ("code_deployment", {"mode": (kind, None), "module_hash": canister.module.hash})
    record(management, call, canister, value["sender_canister_version"], details)


@method(types.INSTALL_CHUNKED, Access.CONTROLLER, target="target_canister")
def install_chunked_code(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Install code from a canister's chunk store."""
    canister = call.target
    store_id = value["store_canister"] or value["target_canister"]
    store = management.network.canister(store_id)
    if store.subnet != canister.subnet:
        raise Reject(
            ErrorCode.CANISTER_NOT_HOSTED_BY_SUBNET,
            f"store canister {to_text(store_id)} is not on the subnet of {to_text(canister.id)}",
        )
    if store_id not in (canister.id, call.caller):
        management.check_access(Access.CONTROLLER, store, call.caller)
    hashes = [item["hash"] for item in value["chunk_hashes_list"]]
    module = _assemble(store, hashes, value["wasm_module_hash"])
    _install(management, call, canister, value, module, len(hashes))
    return EMPTY_REPLY


def _assemble(store: Canister, hashes: list[bytes], module_hash: bytes) -> bytes:
    """The module that the chunks make up. Raises `Reject`."""
    if len(hashes) > MAX_CHUNKS:
        text = f"{len(hashes)} chunks given, at most {MAX_CHUNKS} are allowed"
        raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)
    for digest in hashes:
        if len(digest) != HASH_BYTES:
            raise _store_error(f"Chunk hash is invalid. The length is not {HASH_BYTES}")
        if digest not in store.chunks:
            raise _store_error(f"Chunk {digest.hex()} was not found")
    module = b"".join(store.chunks[digest] for digest in hashes)
    found = hashlib.sha256(module).digest()
    if found != module_hash:
        raise _store_error(f"Wasm module hash {found.hex()} does not match given hash {module_hash.hex()}")
    return module


@method(types.UPLOAD_CHUNK, Access.CONTROLLER_OR_SELF)
def upload_chunk(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Keep up to a MiB in the chunk store, by its SHA-256."""
    network, canister, chunk = management.network, call.target, value["chunk"]
    prices = network.prices_of(canister)
    fee = prices.execution(UPLOAD_CHUNK_INSTRUCTIONS)
    try:
        accounts.withdraw(canister, fee, prices)
    except Reject as reject:
        raise _store_error(f"Error charging for 'upload_chunk': {reject.message}") from reject
    network.burned += fee
    check_chunk(canister.chunks, chunk)
    digest = hashlib.sha256(chunk).digest()
    if digest not in canister.chunks:
        accounts.pay_for_operation(network, canister, 0, MAX_CHUNK_BYTES)
        canister.chunks[digest] = chunk
    return candid.encode([types.CHUNK_HASH], [{"hash": digest}])


@method(types.CANISTER_ID, Access.CONTROLLER_OR_SELF)
def clear_chunk_store(_management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Drop every chunk."""
    call.target.chunks.clear()
    return EMPTY_REPLY


@method(types.CANISTER_ID, Access.CONTROLLER_OR_SELF)
def stored_chunks(_management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """The hashes of the chunks kept."""
    canister = call.target
    return candid.encode([types.STORED_CHUNKS], [[{"hash": digest} for digest in sorted(canister.chunks)]])


@method(types.UNINSTALL, Access.CONTROLLER)
def uninstall_code(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Remove code and state."""
    management.installer.uninstall(call.target, call.origin, value["sender_canister_version"])
    return EMPTY_REPLY
