"""What each method of the management canister does; who may call it is checked in `management`.

Code goes through `installer`, outcalls through `outcalls`; types are in `management_types`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localnet import accounts, candid
from localnet import management_types as types
from localnet.candid import Type
from localnet.canister import CallMessage, CallOrigin, Canister, Change, IngressOrigin, Origin, Settings, Status
from localnet.errors import ErrorCode, Reject
from localnet.installer import InstallRequest
from localnet.message import Rejection
from localnet.prices import DEFAULT_PROVISIONAL_CYCLES, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_CONTROLLERS
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.management import Management
    from localnet.network import Subnet

UPLOAD_CHUNK_INSTRUCTIONS = 200_000_000
"""Instructions an upload to the chunk store is charged for (replica configuration)."""
_EMPTY_REPLY = candid.encode([], [])
_U64 = 1 << 64
_U128 = 1 << 128


@dataclass
class Call:
    """A management call being executed."""

    origin: Origin
    subnet: Subnet
    cycles: int

    @property
    def caller(self) -> bytes:
        """Who called."""
        return self.origin.caller

    @property
    def by_user(self) -> bool:
        """True for a call from outside."""
        return isinstance(self.origin, IngressOrigin)


class Deferred(Exception):
    """Raised by a method that will answer later; the cycles went with it."""


Handler = Callable[["Management", Call, Any], bytes]
METHODS: dict[str, tuple[Type | None, Handler]] = {}
FREE_INGRESS = {"provisional_create_canister_with_cycles", "provisional_top_up_canister"}
CANISTERS_ONLY = {"create_canister", "deposit_cycles", "raw_rand", "http_request", "canister_info"}
OWN = {"canister_status", "upload_chunk", "clear_chunk_store", "stored_chunks"}
"""Methods a canister may call on itself, besides its controllers."""
TARGETS = {"install_chunked_code": "target_canister"}


def _method(argument: Type | None) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        METHODS[handler.__name__] = (argument, handler)
        return handler

    return register


def _record(
    management: Management, canister: Canister, call: Call, version: int | None, details: tuple[str, object]
) -> None:
    canister.version += 1
    change = Change(management.network.clock.now, canister.version, call.origin, version, details)
    canister.add_change(change)


# Creation, settings, cycles ------------------------------------------------------------------------


@_method(types.CREATE)
def create_canister(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Create a canister from the attached cycles, less the creation fee."""
    network = management.network
    creator = network.canisters[call.caller]
    fee = network.prices_of(creator).canister_creation
    if call.cycles < fee:
        raise Reject(
            ErrorCode.INSUFFICIENT_CYCLES_FOR_CREATE_CANISTER,
            f"Creating a canister requires a fee of {fee} that is deducted from the canister's initial balance "
            f"but only {call.cycles} cycles were received with the create_canister request.",
        )
    canister = _create(management, call, value, call.cycles - fee, None)
    network.burned += fee
    call.cycles = 0
    return candid.encode([types.CANISTER_ID], [{"canister_id": canister.id}])


@_method(types.PROVISIONAL_CREATE)
def provisional_create_canister_with_cycles(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Create a canister with cycles out of nothing."""
    amount = value["amount"] if value["amount"] is not None else DEFAULT_PROVISIONAL_CYCLES
    canister = _create(management, call, value, amount, value["specified_id"])
    return candid.encode([types.CANISTER_ID], [{"canister_id": canister.id}])


def _create(
    management: Management, call: Call, value: dict[str, Any], cycles: int, specified: bytes | None
) -> Canister:
    settings = Settings(controllers=[call.caller])
    _apply_settings(settings, value["settings"] or {})
    canister_id, subnet = management.network.allocate_id(call.subnet, specified)
    now = management.network.clock.now
    canister = Canister(canister_id, subnet.id, cycles, settings, now, charged_until=now)
    management.network.canisters[canister_id] = canister
    details = ("creation", {"controllers": list(settings.controllers)})
    _record(management, canister, call, value["sender_canister_version"], details)
    return canister


def _apply_settings(settings: Settings, value: dict[str, Any]) -> None:
    """Check all new settings, then change them. Raises `Reject` naming the value and what is allowed."""
    limits = {
        "compute_allocation": 101,
        "memory_allocation": (1 << 48) + 1,
        "freezing_threshold": _U64,
        "reserved_cycles_limit": _U128,
        "wasm_memory_limit": (1 << 48) + 1,
        "wasm_memory_threshold": _U64,
    }
    controllers = value.get("controllers")
    if controllers is not None and len(controllers) > MAX_CONTROLLERS:
        text = f"{len(controllers)} controllers given, at most {MAX_CONTROLLERS} are allowed"
        raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)
    for name, bound in limits.items():
        number = value.get(name)
        if number is not None and number >= bound:
            text = f"{name} is {number}, it must be less than {bound}"
            raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)
    for name in (*limits, "log_visibility"):
        if value.get(name) is not None:
            setattr(settings, name, value[name])
    if controllers is not None:
        settings.controllers = list(dict.fromkeys(controllers))


@_method(types.UPDATE_SETTINGS)
def update_settings(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Change settings; those not given stay."""
    canister = management.target(call, value["canister_id"], "update_settings")
    _apply_settings(canister.settings, value["settings"])
    canister.version += 1
    if value["settings"]["controllers"] is not None:
        canister.version -= 1
        details = ("controllers_change", {"controllers": list(canister.settings.controllers)})
        _record(management, canister, call, value["sender_canister_version"], details)
    return _EMPTY_REPLY


@_method(types.CANISTER_ID)
def deposit_cycles(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Give the attached cycles to a canister."""
    canister = management.network.canister(value["canister_id"])
    canister.cycles += call.cycles
    call.cycles = 0
    return _EMPTY_REPLY


@_method(types.PROVISIONAL_TOP_UP)
def provisional_top_up_canister(management: Management, _call: Call, value: dict[str, Any]) -> bytes:
    """Give cycles out of nothing to a canister."""
    management.network.canister(value["canister_id"]).cycles += value["amount"]
    return _EMPTY_REPLY


# Code --------------------------------------------------------------------------------------------


@_method(types.INSTALL)
def install_code(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Install, reinstall or upgrade code given in the message."""
    canister = management.target(call, value["canister_id"], "install_code")
    _install(management, call, canister, value, value["wasm_module"])
    return _EMPTY_REPLY


def _install(management: Management, call: Call, canister: Canister, value: dict[str, Any], module: bytes) -> None:
    kind, options = value["mode"]
    request = InstallRequest(kind, options or {}, module, value["arg"], call.caller)
    management.installer.install(canister, request)
    assert canister.module is not None
    details = ("code_deployment", {"mode": (kind, None), "module_hash": canister.module.hash})
    _record(management, canister, call, value["sender_canister_version"], details)


@_method(types.INSTALL_CHUNKED)
def install_chunked_code(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Install code from a canister's chunk store."""
    canister = management.target(call, value["target_canister"], "install_chunked_code")
    store_id = value["store_canister"] or value["target_canister"]
    store = canister
    if store_id != canister.id:
        store = management.network.canister(store_id)
        if call.caller != store_id:
            store = management.target(call, store_id, "install_chunked_code")
    if store.subnet != canister.subnet:
        raise Reject(
            ErrorCode.CANISTER_NOT_HOSTED_BY_SUBNET,
            f"store canister {to_text(store_id)} is not on the subnet of {to_text(canister.id)}",
        )
    parts = []
    for item in value["chunk_hashes_list"]:
        if item["hash"] not in store.chunks:
            text = f"Error from Wasm chunk store: Chunk {item['hash'].hex()} was not found"
            raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, text)
        parts.append(store.chunks[item["hash"]])
    module = b"".join(parts)
    digest = hashlib.sha256(module).digest()
    if digest != value["wasm_module_hash"]:
        text = f"Error from Wasm chunk store: Wasm module hash {digest.hex()} does not match given hash "
        raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, text + value["wasm_module_hash"].hex())
    _install(management, call, canister, value, module)
    return _EMPTY_REPLY


@_method(types.UPLOAD_CHUNK)
def upload_chunk(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Keep up to a MiB in the chunk store, by its SHA-256."""
    canister = management.target(call, value["canister_id"], "upload_chunk")
    chunk = value["chunk"]
    if len(chunk) > MAX_CHUNK_BYTES:
        raise Reject(
            ErrorCode.CANISTER_CONTRACT_VIOLATION,
            "Error from Wasm chunk store: Wasm chunk size exceeds the maximum chunk size of "
            f"{MAX_CHUNK_BYTES} bytes: {len(chunk)}",
        )
    digest = hashlib.sha256(chunk).digest()
    if digest not in canister.chunks:
        if len(canister.chunks) >= MAX_CHUNKS:
            raise Reject(
                ErrorCode.CANISTER_CONTRACT_VIOLATION,
                f"Error from Wasm chunk store: Wasm chunk store has already reached maximum capacity of "
                f"{MAX_CHUNKS} chunks",
            )
        prices = management.network.prices_of(canister)
        accounts.withdraw(canister, prices.execution(UPLOAD_CHUNK_INSTRUCTIONS), prices)
        canister.chunks[digest] = chunk
    return candid.encode([types.CHUNK_HASH], [{"hash": digest}])


@_method(types.CANISTER_ID)
def clear_chunk_store(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Drop every chunk."""
    management.target(call, value["canister_id"], "clear_chunk_store").chunks.clear()
    return _EMPTY_REPLY


@_method(types.CANISTER_ID)
def stored_chunks(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """The hashes of the chunks kept."""
    canister = management.target(call, value["canister_id"], "stored_chunks")
    return candid.encode([types.STORED_CHUNKS], [[{"hash": digest} for digest in sorted(canister.chunks)]])


@_method(types.UNINSTALL)
def uninstall_code(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Remove code and state."""
    canister = management.target(call, value["canister_id"], "uninstall_code")
    management.installer.uninstall(canister, call.origin, value["sender_canister_version"], "canister was uninstalled")
    return _EMPTY_REPLY


# Running state -----------------------------------------------------------------------------------


@_method(types.CANISTER_ID)
def start_canister(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Run again; a request to stop that is still waiting is rejected."""
    canister = management.target(call, value["canister_id"], "start_canister")
    text = f"Canister {to_text(canister.id)}'s stop request was cancelled"
    for origin, cycles, _ in canister.stop_waiters:
        rejection = Rejection.of(Reject(ErrorCode.CANISTER_STOPPING_CANCELLED, text))
        management.network.scheduler.respond(origin, rejection, cycles)
    canister.stop_waiters.clear()
    canister.status = Status.RUNNING
    canister.version += 1
    return _EMPTY_REPLY


@_method(types.CANISTER_ID)
def stop_canister(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Take no more calls; answers once every open call is finished."""
    canister = management.target(call, value["canister_id"], "stop_canister")
    if canister.status is Status.STOPPED:
        return _EMPTY_REPLY
    if canister.status is Status.RUNNING:
        canister.status = Status.STOPPING
        canister.version += 1
    canister.stop_waiters.append((call.origin, call.cycles, management.network.clock.now))
    management.network.scheduler.finish_stopping(canister)
    raise Deferred


@_method(types.CANISTER_ID)
def delete_canister(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Remove a stopped canister; its cycles are gone."""
    canister = management.target(call, value["canister_id"], "delete_canister")
    name = to_text(canister.id)
    if call.caller == canister.id:
        raise Reject(ErrorCode.CANISTER_INVALID_CONTROLLER, f"Canister {name} cannot delete itself")
    if canister.status is not Status.STOPPED:
        raise Reject(ErrorCode.CANISTER_NOT_STOPPED, f"Canister {name} must be stopped before it is deleted.")
    for message in canister.queue:
        if isinstance(message, CallMessage):
            reject = Reject(ErrorCode.CANISTER_NOT_FOUND, f"Canister {name} not found")
            management.network.scheduler.respond(message.origin, Rejection.of(reject), message.cycles)
    del management.network.canisters[canister.id]
    return _EMPTY_REPLY


# Information -------------------------------------------------------------------------------------


@_method(types.CANISTER_ID)
def canister_status(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Status, settings, memory and cycles; for controllers and the canister itself."""
    canister = management.target(call, value["canister_id"], "canister_status")
    settings, module = canister.settings, canister.module
    names = [label for _, label, _ in types.DEFINITE_SETTINGS.fields]
    metrics = {
        "wasm_memory_size": canister.heap_bytes,
        "stable_memory_size": canister.stable_bytes,
        "global_memory_size": 8 * len(module.globals) if module else 0,
        "wasm_binary_size": module.size if module else 0,
        "custom_sections_size": module.metadata_size if module else 0,
        "canister_history_size": 0,
        "wasm_chunk_store_size": canister.chunk_bytes,
        "snapshots_size": 0,
    }
    metrics["canister_history_size"] = canister.memory_usage - sum(metrics.values())
    status = {
        "status": (canister.status.name.lower(), None),
        "settings": {name: getattr(settings, name) for name in names},
        "module_hash": module.hash if module else None,
        "memory_size": canister.memory_usage,
        "memory_metrics": metrics,
        "cycles": canister.cycles,
        "reserved_cycles": 0,
        "idle_cycles_burned_per_day": accounts.idle_burn_per_day(canister, management.network.prices_of(canister)),
        "query_stats": {
            "num_calls_total": canister.query_calls,
            "num_instructions_total": canister.query_instructions,
            "request_payload_bytes_total": canister.query_request_bytes,
            "response_payload_bytes_total": canister.query_response_bytes,
        },
    }
    return candid.encode([types.STATUS], [status])


@_method(types.INFO_ARGS)
def canister_info(management: Management, _call: Call, value: dict[str, Any]) -> bytes:
    """Module hash, controllers and the newest entries of the history; for any canister."""
    canister = management.network.canister(value["canister_id"])
    count = value["num_requested_changes"] or 0
    recent = canister.history[-count:] if count else []
    info = {
        "total_num_changes": canister.total_changes,
        "recent_changes": [_change(change) for change in recent],
        "module_hash": canister.module.hash if canister.module else None,
        "controllers": canister.settings.controllers,
    }
    return candid.encode([types.INFO], [info])


@_method(types.CANISTER_ID)
def fetch_canister_logs(_management: Management, _call: Call, _value: dict[str, Any]) -> bytes:
    """Only a query method."""
    raise Reject(
        ErrorCode.CANISTER_REJECTED_MESSAGE, "fetch_canister_logs API is only accessible in non-replicated mode"
    )


@_method(None)
def raw_rand(management: Management, _call: Call, _value: None) -> bytes:
    """32 bytes of the network's randomness."""
    return candid.encode([candid.BLOB], [management.network.random()])


@_method(types.HTTP_REQUEST)
def http_request(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Start an HTTPS outcall; answers when a response came in."""
    canister = management.network.canisters[call.caller]
    management.network.outcalls.request(canister, call.origin, call.cycles, value)
    raise Deferred


def _change(change: Change) -> dict[str, Any]:
    if isinstance(change.origin, CallOrigin):
        origin = {"canister_id": change.origin.caller, "canister_version": change.origin_version}
        named = ("from_canister", origin)
    else:
        named = ("from_user", {"user_id": change.origin.caller})
    return {
        "timestamp_nanos": change.time,
        "canister_version": change.version,
        "origin": named,
        "details": change.details,
    }
