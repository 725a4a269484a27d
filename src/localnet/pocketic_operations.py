"""What PocketIC's clients can do with one instance, by HTTP method and path.

Each operation takes the instance and the request's JSON and returns the answer's JSON; it runs in a worker
thread under the network's lock. `pocketic_api` puts them on routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localnet import principal
from localnet.canister import Canister
from localnet.errors import BadRequest, Reject
from localnet.ingress import Ingress
from localnet.instances import Instance
from localnet.message import Rejection
from localnet.outcalls import subnet_size
from localnet.pocketic_config import check_auto_progress, nanoseconds
from localnet.pocketic_json import (
    binary,
    effective,
    error,
    field,
    http_answer,
    message_id,
    optional,
    result,
    shortened,
    text64,
    topology,
)

MAX_ROUNDS = 100
"""Rounds ``await_ingress_message`` executes before it gives up."""

Operation = Callable[[Instance, Any], Any]
OPERATIONS: dict[tuple[str, str], Operation] = {}


def _operation(method: str, path: str) -> Callable[[Operation], Operation]:
    def register(operation: Operation) -> Operation:
        OPERATIONS[method, path] = operation
        return operation

    return register


def _canister(instance: Instance, body: Any) -> Canister:
    canister_id = binary(body, "canister_id")
    canister = instance.network.canisters.get(canister_id)
    if canister is None:
        raise BadRequest(f"Canister {principal.to_text(canister_id)} not found")
    return canister


@_operation("GET", "read/topology")
def _read_topology(instance: Instance, _body: Any) -> Any:
    return topology(instance.network)


@_operation("GET", "read/get_time")
def _get_time(instance: Instance, _body: Any) -> Any:
    return {"nanos_since_epoch": instance.network.clock.now}


@_operation("POST", "update/set_time")
def _set_time(instance: Instance, body: Any) -> Any:
    try:
        instance.network.set_time(nanoseconds(body))
    except ValueError as error:
        raise BadRequest(f"SettingTimeIntoPast: {error}") from error


@_operation("POST", "update/set_certified_time")
def _set_certified_time(instance: Instance, body: Any) -> Any:
    _set_time(instance, body)
    # Certificates of this round were made with the time before.
    instance.network.certified.clear()


@_operation("POST", "update/tick")
def _tick(instance: Instance, body: Any) -> Any:
    if optional(body, "blockmakers", dict) is not None:
        raise BadRequest("blockmakers are not supported: a subnet has one node that makes every block")
    instance.network.tick()


@_operation("POST", "read/get_subnet")
def _get_subnet(instance: Instance, body: Any) -> Any:
    canister = instance.network.canisters.get(binary(body, "canister_id"))
    return None if canister is None else {"subnet_id": text64(canister.subnet)}


@_operation("POST", "read/pub_key")
def _pub_key(instance: Instance, body: Any) -> Any:
    subnet = instance.network.subnets.get(binary(body, "subnet_id"))
    if subnet is None:
        raise BadRequest(f"no subnet with the id {shortened(body['subnet_id'])}")
    return list(subnet.certifier.der_public_key)


@_operation("POST", "read/get_controllers")
def _get_controllers(instance: Instance, body: Any) -> Any:
    return [{"principal_id": text64(c)} for c in _canister(instance, body).settings.controllers]


@_operation("POST", "read/get_cycles")
def _get_cycles(instance: Instance, body: Any) -> Any:
    return {"cycles": _canister(instance, body).cycles}


@_operation("POST", "update/add_cycles")
def _add_cycles(instance: Instance, body: Any) -> Any:
    amount = field(body, "amount", int)
    if not 0 <= amount < 1 << 128:
        raise BadRequest(f"amount is {shortened(amount)}, it must be a number of cycles below 2^128")
    return {"cycles": instance.network.add_cycles(_canister(instance, body).id, amount)}


@_operation("POST", "read/get_stable_memory")
def _get_stable_memory(instance: Instance, body: Any) -> Any:
    runtime = _canister(instance, body).runtime
    return {"blob": text64(runtime.stable.read() if runtime is not None else b"")}


@_operation("POST", "update/set_stable_memory")
def _set_stable_memory(instance: Instance, body: Any) -> Any:
    canister = _canister(instance, body)
    if canister.runtime is None:
        raise BadRequest("the canister is empty: stable memory needs an installed module")
    # The content is the blob, put in by the front end.
    instance.network.set_stable_memory(canister.id, field(body, "content", bytes))


@_operation("POST", "update/submit_ingress_message")
def _submit(instance: Instance, body: Any) -> Any:
    callee, sender = binary(body, "canister_id"), binary(body, "sender")
    method, payload = field(body, "method", str), binary(body, "payload")
    try:
        rid = instance.network.submit(sender, callee, method, payload, effective(body))
    except Reject as reject:
        return {"Err": error(Rejection.of(reject), certified=False)}
    return {"Ok": {"effective_principal": body.get("effective_principal") or "None", "message_id": text64(rid)}}


def _entry(instance: Instance, message: Any) -> Ingress | None:
    return instance.network.ingress.get(message_id(message))


@_operation("POST", "read/ingress_status")
def _ingress_status(instance: Instance, body: Any) -> Any:
    entry = _entry(instance, field(body, "raw_message_id", dict))
    caller = body.get("raw_caller")
    if entry is not None and caller is not None and binary(caller, "principal_id") != entry.sender:
        raise BadRequest("The user tries to access Request ID not signed by the caller.", 403)
    if entry is None or entry.response is None:
        return None
    return result(entry.response, certified=True)


@_operation("POST", "update/await_ingress_message")
def _await_ingress(instance: Instance, body: Any) -> Any:
    entry = _entry(instance, body)
    if entry is None:
        raise BadRequest("no such message was submitted")
    for _ in range(MAX_ROUNDS):
        if entry.response is not None:
            return result(entry.response, certified=True)
        instance.network.tick()
    raise BadRequest(f"PocketIC did not complete the update call within {MAX_ROUNDS} rounds")


@_operation("POST", "read/query")
def _query(instance: Instance, body: Any) -> Any:
    callee, sender = binary(body, "canister_id"), binary(body, "sender")
    method, payload = field(body, "method", str), binary(body, "payload")
    effective(body)
    try:
        return {"Ok": text64(instance.network.query(sender, callee, method, payload))}
    except Reject as reject:
        return {"Err": error(Rejection.of(reject), certified=False)}


@_operation("GET", "read/get_canister_http")
def _get_canister_http(instance: Instance, _body: Any) -> Any:
    return [
        {
            "subnet_id": {"subnet_id": text64(outcall.subnet)},
            "request_id": outcall.id,
            "http_method": outcall.method,
            "url": outcall.url,
            "headers": [{"name": name, "value": value} for name, value in outcall.headers],
            "body": text64(outcall.body),
            "max_response_bytes": outcall.max_response_bytes,
        }
        for outcall in instance.network.outcalls.pending.values()
        if not outcall.answers
    ]


@_operation("POST", "update/mock_canister_http")
def _mock_canister_http(instance: Instance, body: Any) -> Any:
    number, subnet = field(body, "request_id", int), binary(field(body, "subnet_id", dict), "subnet_id")
    mocked = [field(body, "response", dict), *(optional(body, "additional_responses", list) or [])]
    answers = [http_answer(item) for item in mocked]
    outcall = instance.network.outcalls.pending.get(number)
    if outcall is None or outcall.subnet != subnet or outcall.answers:
        raise BadRequest(f"InvalidCanisterHttpRequestId: no outcall {shortened(number)} of that subnet is pending")
    nodes = subnet_size(instance.network.subnets[subnet].kind)
    if len(answers) not in (1, nodes):
        raise BadRequest(
            f"InvalidMockCanisterHttpResponses: {len(answers)} responses, there must be 1, or one for each of the "
            f"subnet's {nodes} nodes"
        )
    instance.network.answer_outcall(number, answers)


@_operation("POST", "auto_progress")
def _auto_progress(instance: Instance, body: Any) -> Any:
    check_auto_progress(body)
    instance.start_progress()


@_operation("GET", "auto_progress")
def _auto_progress_enabled(instance: Instance, _body: Any) -> Any:
    return instance.auto_progress
