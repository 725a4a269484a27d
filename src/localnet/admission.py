"""Whether a canister takes a call, and where the call enters it; whether it may keep the heap it has grown.

Only checks: they read a `Canister` and raise or return a `Reject`.
"""

from __future__ import annotations

from localnet.canister import CallMessage, CallOrigin, Canister, Status
from localnet.errors import ErrorCode, Reject
from localnet.message import Mode
from localnet.modules import CompiledModule
from localnet.principal import to_text


def entry_point(canister: Canister, message: CallMessage) -> tuple[Mode, str]:
    """Mode and export to execute a call with. Raises `Reject` when the canister cannot take it."""
    least = canister.settings.minimum_incoming_canister_call_cycles
    origin = message.origin
    if isinstance(origin, CallOrigin) and origin.caller != canister.id and message.cycles < least:
        raise Reject(
            ErrorCode.INSUFFICIENT_CYCLES_IN_CALL,
            f"Canister {to_text(canister.id)} requires at least {least} cycles with a call, but {message.cycles} "
            "were sent.",
        )
    check_running(canister)
    kind = module_of(canister).methods.get(message.method)
    if kind == "composite_query":
        raise Reject(
            ErrorCode.COMPOSITE_QUERY_CALLED_IN_REPLICATED_MODE,
            "Composite query cannot be called in replicated mode",
        )
    if kind is None:
        raise Reject(
            ErrorCode.CANISTER_METHOD_NOT_FOUND,
            f"Error from Canister {to_text(canister.id)}: Canister has no update method '{message.method}'.",
        )
    mode = Mode.UPDATE if kind == "update" else Mode.REPLICATED_QUERY
    return mode, f"canister_{kind} {message.method}"


def check_running(canister: Canister) -> None:
    """Raise `Reject` when the canister takes no calls because it is stopped or stopping."""
    if canister.status is Status.STOPPED:
        raise Reject(ErrorCode.CANISTER_STOPPED, f"Canister {to_text(canister.id)} is stopped")
    if canister.status is Status.STOPPING:
        raise Reject(ErrorCode.CANISTER_STOPPING, f"Canister {to_text(canister.id)} is stopping")


def module_of(canister: Canister) -> CompiledModule:
    """The canister's module. Raises `Reject` when it is empty."""
    if canister.module is None:
        raise Reject(
            ErrorCode.CANISTER_WASM_MODULE_NOT_FOUND,
            f"Error from Canister {to_text(canister.id)}: Attempted to execute a message, but the canister "
            "contains no Wasm module.",
        )
    return canister.module


def wasm_memory_error(canister: Canister, heap_bytes: int) -> Reject | None:
    """The error of an update or installation that left the heap larger than the Wasm memory limit (0: none)."""
    limit = canister.settings.wasm_memory_limit
    if not limit or heap_bytes <= limit:
        return None
    return Reject(
        ErrorCode.CANISTER_WASM_MEMORY_LIMIT_EXCEEDED,
        f"Error from Canister {to_text(canister.id)}: Canister exceeded its current Wasm memory limit of {limit} "
        f"bytes. The peak Wasm memory usage was {heap_bytes} bytes.",
    )
