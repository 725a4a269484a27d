"""The factory's Candid interface: code, start and status of single children, after the wire contract, for admins."""

from kybra import Async, Manual, Principal, blob, ic, text, update, void

from factory.context import children, note, open_calls, require_admin, require_admin_with_code
from factory.custody import live_fault
from factory.examination import examine_controlled
from factory.install_flow import choose, code_fault, install, upgrade
from factory.marks import change_fault, retirement_fault
from factory.services import ChildStatus, management
from factory.types_code import CanisterRunState, CanisterStatus


@update(guard=require_admin_with_code)
def upgrade_code(canister_id: Principal, wasm_module: blob, arg: blob) -> Async[Manual[void]]:
    """Upgrades a child as a rollout does, and never leaves it stopped; takes a Wasm or the SHA-256 of a release."""
    canister, chosen = canister_id.bytes, choose(wasm_module)
    fault = code_fault(canister, chosen)
    if not fault:
        note("upgrade_code", canister, chosen.wasm_hash.hex())
        fault = yield upgrade(canister, chosen, arg)
    answer(fault)


@update(guard=require_admin_with_code)
def install_code(canister_id: Principal, wasm_module: blob, arg: blob) -> Async[Manual[void]]:
    """Installs a child anew that holds nothing; one that holds something is left as it is."""
    canister, chosen = canister_id.bytes, choose(wasm_module)
    fault = code_fault(canister, chosen)
    if not fault:
        note("install_code", canister, chosen.wasm_hash.hex())
        fault = yield install(canister, chosen, arg, False)
    answer(fault)


@update(guard=require_admin_with_code)
def reinstall_code(canister_id: Principal, again: text, wasm_module: blob, arg: blob) -> Async[Manual[void]]:
    """Installs a child anew and wipes what it holds; `again` is its principal once more, as text."""
    canister, chosen = canister_id.bytes, choose(wasm_module)
    fault = code_fault(canister, chosen)
    if not fault and again != canister_id.to_str():
        fault = f"everything in {canister_id.to_str()} would be lost: repeat its principal as text, got {again[:64]!r}"
    if not fault:
        note("reinstall_code", canister, chosen.wasm_hash.hex())
        fault = yield install(canister, chosen, arg, True)
    answer(fault)


@update(guard=require_admin)
def start_canister(canister_id: Principal) -> Async[Manual[void]]:
    """Starts a child that is live."""
    key = b"start" + canister_id.bytes
    open_calls.start(key, ic.time())
    fault = start_fault(canister_id.bytes)
    if not fault:
        fault = yield examine_controlled(canister_id.bytes)
        fault = fault or start_fault(canister_id.bytes)
    if not fault:
        note("start_canister", canister_id.bytes)
        started = yield management.start_canister({"canister_id": canister_id})
        fault = started.Err or ""
    open_calls.finish(key)
    answer(fault)


def start_fault(canister: bytes) -> str:
    """Why a child may not be started, or ""; of one whose end has begun anybody could have the cycles sent back."""
    child = children.get(canister)
    fault = "" if child is None else live_fault(child)
    return fault or change_fault(canister) or retirement_fault(canister)


@update(guard=require_admin)
def canister_status(canister_id: Principal) -> Async[Manual[CanisterStatus]]:
    """What the platform tells controllers of a child."""
    if children.get(canister_id.bytes) is None:
        ic.reject(f"{canister_id.to_str()} is no child of this factory")
        return
    note("canister_status", canister_id.bytes)
    key = b"status" + canister_id.bytes
    open_calls.start(key, ic.time())
    found = yield management.canister_status({"canister_id": canister_id})
    open_calls.finish(key)
    if found.Err is not None:
        ic.reject(found.Err)
        return
    ic.reply(contract_status(found.Ok))


def answer(fault: str) -> void:
    """Replies with nothing, or rejects."""
    if fault:
        ic.reject(fault)
    else:
        ic.reply(None)


def contract_status(status: ChildStatus) -> CanisterStatus:
    """A status as the contract declares it; logs that some viewers may read count as the controllers'."""
    settings, stats = status["settings"], status["query_stats"]
    state: CanisterRunState = {"running": None}
    if "running" not in status["status"]:
        state = {"stopped": None} if "stopped" in status["status"] else {"stopping": None}
    is_public = settings["log_visibility"] is not None and "public" in settings["log_visibility"]
    return {
        "status": state,
        "memory_size": status["memory_size"],
        "cycles": status["cycles"],
        "settings": {
            "freezing_threshold": settings["freezing_threshold"],
            "controllers": settings["controllers"],
            "reserved_cycles_limit": settings["reserved_cycles_limit"],
            "log_visibility": {"public": None} if is_public else {"controllers": None},
            "wasm_memory_limit": settings["wasm_memory_limit"],
            "memory_allocation": settings["memory_allocation"],
            "compute_allocation": settings["compute_allocation"],
        },
        "query_stats": {
            "response_payload_bytes_total": stats["response_payload_bytes_total"],
            "num_instructions_total": stats["num_instructions_total"],
            "num_calls_total": stats["num_calls_total"],
            "request_payload_bytes_total": stats["request_payload_bytes_total"],
        },
        "idle_cycles_burned_per_day": status["idle_cycles_burned_per_day"],
        "module_hash": status["module_hash"],
        "reserved_cycles": status["reserved_cycles"],
    }
