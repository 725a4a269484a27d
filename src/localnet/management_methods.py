"""The management canister's methods about a canister's life: creation, settings, running state, information.

Code is `management_code`'s, snapshots are `management_snapshots`'; who may call what is checked in `management`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localnet import accounts, candid
from localnet import management_types as types
from localnet.canister import CallMessage, CallOrigin, Canister, Change, Settings, Status
from localnet.errors import ErrorCode, Reject
from localnet.management_calls import EMPTY_REPLY, Access, Call, Deferred, method, record
from localnet.message import Rejection
from localnet.prices import DEFAULT_PROVISIONAL_CYCLES, MAX_CONTROLLERS
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.management import Management

_U64 = 1 << 64
_U128 = 1 << 128


# Creation, settings, cycles ------------------------------------------------------------------------


@method(types.CREATE, Access.LOCAL_CANISTERS, target=None)
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


@method(types.PROVISIONAL_CREATE, Access.ANYONE, target=None)
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
    record(management, call, canister, value["sender_canister_version"], details)
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
    for name in (*limits, "log_visibility", "snapshot_visibility"):
        if value.get(name) is not None:
            setattr(settings, name, value[name])
    if controllers is not None:
        settings.controllers = list(dict.fromkeys(controllers))


@method(types.UPDATE_SETTINGS, Access.CONTROLLER)
def update_settings(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Change settings; those not given stay."""
    canister = call.target
    _apply_settings(canister.settings, value["settings"])
    canister.version += 1
    if value["settings"]["controllers"] is not None:
        canister.version -= 1
        details = ("controllers_change", {"controllers": list(canister.settings.controllers)})
        record(management, call, canister, value["sender_canister_version"], details)
    return EMPTY_REPLY


@method(types.CANISTER_ID, Access.CANISTERS)
def deposit_cycles(_management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Give the attached cycles to a canister."""
    call.target.cycles += call.cycles
    call.cycles = 0
    return EMPTY_REPLY


@method(types.PROVISIONAL_TOP_UP, Access.ANYONE)
def provisional_top_up_canister(_management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Give cycles out of nothing to a canister."""
    call.target.cycles += value["amount"]
    return EMPTY_REPLY


# Running state -----------------------------------------------------------------------------------


@method(types.CANISTER_ID, Access.CONTROLLER)
def start_canister(management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Run again; a request to stop that is still waiting is rejected."""
    canister = call.target
    text = f"Canister {to_text(canister.id)}'s stop request was cancelled"
    for origin, cycles, _ in canister.stop_waiters:
        rejection = Rejection.of(Reject(ErrorCode.CANISTER_STOPPING_CANCELLED, text))
        management.network.scheduler.respond(origin, rejection, cycles)
    canister.stop_waiters.clear()
    canister.status = Status.RUNNING
    canister.version += 1
    return EMPTY_REPLY


@method(types.CANISTER_ID, Access.CONTROLLER)
def stop_canister(management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Take no more calls; answers once every open call is finished."""
    canister = call.target
    if canister.status is Status.STOPPED:
        return EMPTY_REPLY
    if canister.status is Status.RUNNING:
        canister.status = Status.STOPPING
        canister.version += 1
    canister.stop_waiters.append((call.origin, call.cycles, management.network.clock.now))
    management.network.scheduler.finish_stopping(canister)
    raise Deferred


@method(types.CANISTER_ID, Access.CONTROLLER)
def delete_canister(management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Remove a stopped canister; its cycles are gone."""
    canister = call.target
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
    return EMPTY_REPLY


# Information -------------------------------------------------------------------------------------


@method(types.CANISTER_ID, Access.CONTROLLER_OR_SELF)
def canister_status(management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Status, settings, memory and cycles; for controllers and the canister itself."""
    canister = call.target
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
        "snapshots_size": canister.snapshot_bytes,
    }
    metrics["canister_history_size"] = canister.memory_usage - sum(metrics.values())
    status = {
        "status": (canister.status.name.lower(), None),
        "ready_for_migration": canister.status is Status.STOPPED and not canister.queue,
        "version": canister.version,
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


@method(types.INFO_ARGS, Access.CANISTERS)
def canister_info(_management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Module hash, controllers and the newest entries of the history; for any canister."""
    canister = call.target
    count = value["num_requested_changes"] or 0
    recent = canister.history[-count:] if count else []
    info = {
        "total_num_changes": canister.total_changes,
        "recent_changes": [_change(change) for change in recent],
        "module_hash": canister.module.hash if canister.module else None,
        "controllers": canister.settings.controllers,
    }
    return candid.encode([types.INFO], [info])


@method(types.CANISTER_ID, Access.LOG_VIEWER)
def fetch_canister_logs(_management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """What the canister printed, oldest first."""
    records = [{"idx": line.index, "timestamp_nanos": line.time, "content": line.content} for line in call.target.logs]
    return candid.encode([types.LOGS], [{"canister_log_records": records}])


@method(None, Access.LOCAL_CANISTERS, target=None)
def raw_rand(management: Management, _call: Call, _value: None) -> bytes:
    """32 bytes of the network's randomness."""
    return candid.encode([candid.BLOB], [management.network.random()])


@method(types.HTTP_REQUEST, Access.LOCAL_CANISTERS, target=None)
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
