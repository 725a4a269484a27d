"""The management canister's methods about settings: creating canisters with them, changing and showing them.

Everything is checked before anything is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localnet import accounts, candid
from localnet import management_types as types
from localnet.canister import Canister, Settings, Status
from localnet.envelope import hash_of_map
from localnet.errors import ErrorCode, Reject
from localnet.management_calls import EMPTY_REPLY, Access, Call, method, record
from localnet.prices import (
    DEFAULT_PROVISIONAL_CYCLES,
    GLOBAL_BYTES,
    MAX_CONTROLLERS,
    MAX_ENVIRONMENT_TEXT_BYTES,
    MAX_ENVIRONMENT_VARIABLES,
    MAX_LOG_BYTES,
    MAX_VIEWERS,
    MIN_LOG_BYTES,
)

if TYPE_CHECKING:
    from localnet.management import Management
    from localnet.network import Network

_BOUNDS = {
    "compute_allocation": 101,
    "memory_allocation": 1 << 64,
    "freezing_threshold": 1 << 64,
    "reserved_cycles_limit": 1 << 128,
    "wasm_memory_limit": 1 << 48,
    "wasm_memory_threshold": 1 << 48,
    "minimum_incoming_canister_call_cycles": 1 << 128,
}
_VISIBILITIES = ("log_visibility", "snapshot_visibility", "status_visibility")


# Checks ------------------------------------------------------------------------------------------


def _check_numbers(value: dict[str, Any]) -> None:
    for name, bound in _BOUNDS.items():
        number = value.get(name)
        if number is not None and number >= bound:
            text = f"{name} is {number}, it must be in the range [0..{bound - 1}]"
            raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, text)
    limit = value.get("log_memory_limit")
    if limit and limit < MIN_LOG_BYTES:
        text = f"The canister log memory limit {limit} is too low. It must be at least {MIN_LOG_BYTES}."
        raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)
    if limit and limit > MAX_LOG_BYTES:
        text = f"The canister log memory limit {limit} is too high. It must be at most {MAX_LOG_BYTES}."
        raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)


def _check_lists(value: dict[str, Any]) -> None:
    controllers = value.get("controllers")
    if controllers is not None and len(controllers) > MAX_CONTROLLERS:
        raise _invalid(f"{len(controllers)} controllers given, at most {MAX_CONTROLLERS} are allowed")
    for name in _VISIBILITIES:
        viewers = (value.get(name) or ("", None))[1]
        if viewers is not None and len(viewers) > MAX_VIEWERS:
            raise _invalid(f"{name} lists {len(viewers)} viewers, at most {MAX_VIEWERS} are allowed")
    variables = value.get("environment_variables") or []
    names = [variable["name"] for variable in variables]
    if len(names) > MAX_ENVIRONMENT_VARIABLES:
        raise _invalid(f"Too many environment variables: {len(names)} (max: {MAX_ENVIRONMENT_VARIABLES})")
    if len(set(names)) < len(names):
        raise _invalid("the names of environment variables are not unique")
    for kind in ("name", "value"):
        for text in (variable[kind] for variable in variables):
            if len(text.encode()) > MAX_ENVIRONMENT_TEXT_BYTES:
                raise _invalid(
                    f'Environment variable {kind} "{text}" exceeds the maximum allowed length of '
                    f"{MAX_ENVIRONMENT_TEXT_BYTES}."
                )


def _invalid(text: str) -> Reject:
    return Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)


def _merge(old: Settings, value: dict[str, Any]) -> Settings:
    """The settings with those given changed."""
    names = (*_BOUNDS, *_VISIBILITIES, "log_memory_limit")
    given: dict[str, Any] = {name: value[name] for name in names if value.get(name) is not None}
    if value.get("controllers") is not None:
        given["controllers"] = list(dict.fromkeys(value["controllers"]))
    if value.get("environment_variables") is not None:
        given["environment_variables"] = {item["name"]: item["value"] for item in value["environment_variables"]}
    return replace(old, **given)


@dataclass(frozen=True)
class _Plan:
    """Settings that passed every check, and the cycles to reserve for the memory they take."""

    settings: Settings
    reservation: int


def _plan(network: Network, canister: Canister, value: dict[str, Any]) -> _Plan:
    """Check new settings against the canister and its subnet. Raises `Reject`."""
    _check_numbers(value)
    _check_lists(value)
    old, new = canister.settings, _merge(canister.settings, value)
    before = accounts.allocated(canister)
    try:
        canister.settings = new
        after = accounts.allocated(canister)
        threshold = accounts.freezing_cycles(canister, network.prices_of(canister))
    finally:
        canister.settings = old
    reservation = accounts.growth_reservation(network, canister, before, after)
    _check_compute(network, canister, new.compute_allocation)
    missing = threshold - canister.cycles
    if missing > 0 and new.compute_allocation > old.compute_allocation:
        text = f"Cannot increase compute allocation to {new.compute_allocation}% due to insufficient cycles."
        raise Reject(
            ErrorCode.INSUFFICIENT_CYCLES_IN_COMPUTE_ALLOCATION,
            f"{text} At least {missing} additional cycles are required.",
        )
    if missing > 0 and new.memory_allocation > old.memory_allocation:
        raise _no_cycles_for_memory(new.memory_allocation, missing)
    _check_reserved(canister, new, reservation)
    return _Plan(new, reservation)


def _check_compute(network: Network, canister: Canister, wanted: int) -> None:
    others = sum(
        other.settings.compute_allocation
        for other in network.canisters.values()
        if other.subnet == canister.subnet and other is not canister
    )
    available = max(0, network.capacity.compute - others)
    if wanted > max(available, canister.settings.compute_allocation):
        raise Reject(
            ErrorCode.SUBNET_OVERSUBSCRIBED,
            f"Canister requested a compute allocation of {wanted}% which cannot be satisfied because the Subnet's "
            f"remaining compute capacity is {available}%.",
        )


def _check_reserved(canister: Canister, new: Settings, reservation: int) -> None:
    limit = new.reserved_cycles_limit
    if canister.reserved > limit:
        raise Reject(
            ErrorCode.RESERVED_CYCLES_LIMIT_IS_TOO_LOW,
            f"Cannot set the reserved cycles limit {limit} below the reserved cycles balance of the canister "
            f"{canister.reserved}.",
        )
    excess = canister.reserved + reservation - limit
    if excess > 0:
        raise Reject(
            ErrorCode.RESERVED_CYCLES_LIMIT_EXCEEDED_IN_MEMORY_ALLOCATION,
            f"Cannot increase memory allocation to {new.memory_allocation} due to its reserved cycles limit. The "
            f"current limit ({limit}) would be exceeded by {excess}.",
        )
    if canister.cycles < reservation:
        raise _no_cycles_for_memory(new.memory_allocation, reservation - canister.cycles)


def _no_cycles_for_memory(allocation: int, missing: int) -> Reject:
    return Reject(
        ErrorCode.INSUFFICIENT_CYCLES_IN_MEMORY_ALLOCATION,
        f"Cannot increase memory allocation to {allocation} due to insufficient cycles. At least {missing} additional "
        "cycles are required.",
    )


def _apply(canister: Canister, plan: _Plan) -> None:
    canister.settings = plan.settings
    canister.trim_logs()
    accounts.reserve(canister, plan.reservation)


# Methods -----------------------------------------------------------------------------------------


@method(types.CREATE, Access.LOCAL_CANISTERS, target=None)
def create_canister(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Create a canister from the attached cycles, less the creation fee."""
    network = management.network
    fee = network.prices_on(call.subnet).canister_creation
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
    management.network.minted += amount
    return candid.encode([types.CANISTER_ID], [{"canister_id": canister.id}])


def _create(
    management: Management, call: Call, value: dict[str, Any], cycles: int, specified: bytes | None
) -> Canister:
    network = management.network
    given = value["settings"] or {}
    subnet = network.home_of(specified) if specified is not None else call.subnet
    now = network.clock.now
    canister = Canister(b"", subnet.id, cycles, Settings(controllers=[call.caller]), now, charged_until=now)
    plan = _plan(network, canister, given)
    canister.id = specified if specified is not None else network.allocate_id(subnet)
    _apply(canister, plan)
    network.canisters[canister.id] = canister
    variables = canister.settings.environment_variables
    details = {
        "controllers": list(canister.settings.controllers),
        "environment_variables_hash": None
        if given.get("environment_variables") is None
        else hash_of_map(dict(variables)),
    }
    record(management, call, canister, value["sender_canister_version"], ("creation", details))
    return canister


@method(types.UPDATE_SETTINGS, Access.CONTROLLER)
def update_settings(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Change settings; those not given stay."""
    canister = call.target
    _apply(canister, _plan(management.network, canister, value["settings"]))
    if value["settings"]["controllers"] is None:
        canister.version += 1
    else:
        details = ("controllers_change", {"controllers": list(canister.settings.controllers)})
        record(management, call, canister, value["sender_canister_version"], details)
    return EMPTY_REPLY


@method(types.CANISTER_ID, Access.STATUS_VIEWER)
def canister_status(management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Status, settings, memory and cycles."""
    canister = call.target
    module = canister.module
    status = {
        "status": (canister.status.name.lower(), None),
        "ready_for_migration": canister.status is Status.STOPPED and not canister.queue,
        "version": canister.version,
        "settings": _definite(canister.settings),
        "module_hash": module.hash if module else None,
        "memory_size": canister.memory_usage,
        "memory_metrics": {
            "wasm_memory_size": canister.heap_bytes,
            "stable_memory_size": canister.stable_bytes,
            "global_memory_size": GLOBAL_BYTES * len(module.globals) if module else 0,
            "wasm_binary_size": module.size if module else 0,
            "custom_sections_size": module.metadata_size if module else 0,
            "canister_history_size": canister.history_bytes,
            "wasm_chunk_store_size": canister.chunk_bytes,
            "snapshots_size": canister.snapshot_bytes,
            "log_memory_store_size": canister.settings.log_memory_limit,
        },
        "cycles": canister.cycles,
        "reserved_cycles": canister.reserved,
        "idle_cycles_burned_per_day": accounts.idle_burn_per_day(canister, management.network.prices_of(canister)),
        "query_stats": {
            "num_calls_total": canister.query_calls,
            "num_instructions_total": canister.query_instructions,
            "request_payload_bytes_total": canister.query_request_bytes,
            "response_payload_bytes_total": canister.query_response_bytes,
        },
    }
    return candid.encode([types.STATUS], [status])


def _definite(settings: Settings) -> dict[str, Any]:
    shown: dict[str, Any] = {label: getattr(settings, label) for _, label, _ in types.DEFINITE_SETTINGS.fields}
    shown["environment_variables"] = [
        {"name": name, "value": text} for name, text in sorted(settings.environment_variables.items())
    ]
    return shown
