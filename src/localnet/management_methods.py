"""The management canister's methods about a canister's life: cycles, running state, information, the world outside.

Settings are `management_settings`', code is `management_code`'s, snapshots are `management_snapshots`'.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from localnet import accounts, candid
from localnet import management_types as types
from localnet.canister import CallOrigin, Change, Status
from localnet.errors import ErrorCode, Reject
from localnet.management_calls import EMPTY_REPLY, Access, Call, Deferred, method
from localnet.message import Rejection
from localnet.prices import MAX_LOGS_REPLY_BYTES
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.management import Management


@method(types.CANISTER_ID, Access.CANISTERS)
def deposit_cycles(_management: Management, call: Call, _value: dict[str, Any]) -> bytes:
    """Give the attached cycles to a canister."""
    call.target.cycles += call.cycles
    call.cycles = 0
    return EMPTY_REPLY


@method(types.PROVISIONAL_TOP_UP, Access.ANYONE)
def provisional_top_up_canister(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """Give cycles out of nothing to a canister."""
    accounts.mint(management.network, call.target, value["amount"])
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
    if canister.queue:
        raise Reject(
            ErrorCode.CANISTER_QUEUE_NOT_EMPTY,
            f"Canister {name} has messages in its queues and cannot be deleted now. Please retry after some time.",
        )
    accounts.drain(management.network, canister)
    del management.network.canisters[canister.id]
    return EMPTY_REPLY


# Information -------------------------------------------------------------------------------------


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


@method(types.METADATA_ARGS, Access.CANISTERS)
def canister_metadata(_management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """A metadata section of the module; private ones are the controllers'."""
    canister = call.target
    name = to_text(canister.id)
    if canister.module is None:
        text = f"The canister {name} has no Wasm module and hence no metadata is available."
        raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)
    public, content = canister.module.metadata.get(value["name"], (False, None))
    if content is None or not (public or call.caller in canister.settings.controllers):
        text = f"The canister {name} has no metadata section with the name {value['name']}."
        raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)
    return candid.encode([types.METADATA], [{"value": content}])


@method(types.FETCH_LOGS, Access.LOG_VIEWER)
def fetch_canister_logs(management: Management, call: Call, value: dict[str, Any]) -> bytes:
    """What the canister printed, oldest first; canisters pay for the reply."""
    network, canister = management.network, call.target
    prices = network.prices_of(canister)
    most = 0 if call.by_user else prices.logs(MAX_LOGS_REPLY_BYTES)
    if call.cycles < most:
        text = f"fetch_canister_logs request sent with {call.cycles} cycles, but {most} cycles are required."
        raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)
    lines = canister.logs
    if value["filter"] is not None:
        kind, limits = value["filter"]
        key = operator.attrgetter("index" if kind == "by_idx" else "time")
        lines = [line for line in lines if limits["start"] <= key(line) < limits["end"]]
    records = [{"idx": line.index, "timestamp_nanos": line.time, "content": line.content} for line in lines]
    reply = candid.encode([types.LOGS], [{"canister_log_records": records}])
    if not call.by_user:
        fee = prices.logs(len(reply))
        call.cycles -= fee
        network.burned += fee
    return reply


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
