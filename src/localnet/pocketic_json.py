"""PocketIC's JSON: reading the fields of requests, writing topologies, results and errors.

Says what is wrong with a field, and what is allowed; it never touches a network.
"""

from __future__ import annotations

import base64
from typing import Any

from localnet import principal
from localnet.errors import BadRequest, ErrorCode, RejectCode, camel_case
from localnet.message import Rejection, Reply
from localnet.message import Response as CallResponse
from localnet.network import LISTED_KINDS, NAMED_KINDS, Network
from localnet.outcalls import HttpReply


def field(body: Any, name: str, kind: type[Any]) -> Any:
    """A field of the given type. Raises `BadRequest` naming the field, its value and the type."""
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadRequest(f"field {name} of the request is {value!r}, it must be a {kind.__name__}")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"field {name} of the request is no valid text: {value!r}") from error
    return value


def binary(body: Any, name: str) -> bytes:
    """A field in base64."""
    text = field(body, name, str)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadRequest(f"field {name} is not base64: {error}") from error


def text64(data: bytes) -> str:
    """Base64 of bytes."""
    return base64.b64encode(data).decode()


def configuration(body: Any) -> tuple[list[str], bool, int | None]:
    """Kinds of the subnets, whether to start with auto-progress, and the first time."""
    config = field(body, "subnet_config_set", dict)
    kinds: list[str] = []
    for name, kind in NAMED_KINDS.items():
        if config.get(name):
            kinds += [kind]
            _check_spec(name, config[name])
    for name, kind in LISTED_KINDS.items():
        wanted = config.get(name) or []
        specs = [{}] * wanted if isinstance(wanted, int) else wanted
        for spec in specs:
            _check_spec(name, spec)
            kinds.append(kind)
    if config.get("cloud_engine"):
        raise BadRequest("subnets of kind cloud_engine are not supported")
    if not kinds:
        raise BadRequest("SubnetConfigSet must contain at least one subnet")
    if body.get("state_dir") is not None:
        raise BadRequest("state_dir is not supported: this network keeps its state in memory")
    features = [name for name, value in (body.get("icp_features") or {}).items() if value]
    if features:
        raise BadRequest(f"icp_features are not supported: {', '.join(features)}")
    initial = body.get("initial_time")
    if isinstance(initial, dict) and "Timestamp" in initial:
        return kinds, False, field(initial["Timestamp"], "nanos_since_epoch", int)
    return kinds, isinstance(initial, dict) and "AutoProgress" in initial, None


def _check_spec(name: str, spec: Any) -> None:
    if isinstance(spec, dict):
        state = spec.get("state_config", "New")
        if state != "New":
            raise BadRequest(f"state_config of {name} is {state!r}, only New is supported")


def topology(network: Network) -> dict[str, Any]:
    """Subnets with kinds, keys and canister ranges."""
    subnets = {}
    for subnet in network.subnets.values():
        ends = {
            "start": {"canister_id": text64(principal.canister_id(subnet.first))},
            "end": {"canister_id": text64(principal.canister_id(subnet.last))},
        }
        subnets[principal.to_text(subnet.id)] = {
            "subnet_kind": subnet.kind,
            "subnet_seed": list(subnet.seed),
            "instruction_config": "Production",
            "node_ids": [{"node_id": text64(subnet.node.node_id)}],
            "canister_ranges": [ends],
        }
    default = principal.canister_id(network.default_subnet().first)
    return {"subnet_configs": subnets, "default_effective_canister_id": {"canister_id": text64(default)}}


def result(response: CallResponse, certified: bool) -> dict[str, Any]:
    """``Ok`` with the reply, or ``Err`` with the rejection."""
    if isinstance(response, Reply):
        return {"Ok": text64(response.data)}
    return {"Err": error(response, certified)}


def error(rejection: Rejection, certified: bool) -> dict[str, Any]:
    """Codes by name, and the text."""
    return {
        "reject_code": camel_case(rejection.code),
        "reject_message": rejection.message,
        "error_code": camel_case(ErrorCode(rejection.error_code)),
        "certified": certified,
    }


def effective(body: Any) -> bytes | None:
    """The subnet or canister a management call goes to, if the request says."""
    value = body.get("effective_principal")
    if value in (None, "None"):
        return None
    if isinstance(value, dict):
        for kind in ("SubnetId", "CanisterId"):
            if kind in value:
                return binary(value, kind)
    raise BadRequest(f"effective_principal is {value!r}, it must be None, SubnetId or CanisterId")


def http_answer(item: Any) -> HttpReply | Rejection:
    """A mocked response to an outcall."""
    reply, reject = item.get("CanisterHttpReply"), item.get("CanisterHttpReject")
    if isinstance(reply, dict):
        headers = [(field(h, "name", str), field(h, "value", str)) for h in reply.get("headers", [])]
        return HttpReply(field(reply, "status", int), headers, binary(reply, "body"))
    if isinstance(reject, dict):
        code = field(reject, "reject_code", int)
        if code not in [int(known) for known in RejectCode]:
            raise BadRequest(f"reject_code is {code}, it must be one of {[int(known) for known in RejectCode]}")
        return Rejection(RejectCode(code), field(reject, "message", str), code * 100)
    raise BadRequest("a mocked response must be CanisterHttpReply or CanisterHttpReject")
