"""PocketIC's JSON: reading the fields of requests, writing topologies, results and errors.

Says what is wrong with a field, and what is allowed; it never touches a network.
"""

from __future__ import annotations

import base64
import reprlib
from typing import Any

from localnet import principal
from localnet.errors import BadRequest, ErrorCode, RejectCode, camel_case
from localnet.message import Rejection, Reply
from localnet.message import Response as CallResponse
from localnet.network import Network
from localnet.outcalls import HttpReply


def shortened(value: Any) -> str:
    """A value for an error message, cut where it is long or deep."""
    return reprlib.repr(value)


def field(body: Any, name: str, kind: type[Any]) -> Any:
    """A field of the given type. Raises `BadRequest` naming the field, its value and the type."""
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadRequest(f"field {name} of the request is {shortened(value)}, it must be a {kind.__name__}")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"field {name} of the request is no valid text: {shortened(value)}") from error
    return value


def optional(body: Any, name: str, kind: type[Any]) -> Any:
    """A field of the given type, or None where it is absent or null."""
    if not isinstance(body, dict):
        raise BadRequest(f"the request is {shortened(body)}, it must be an object")
    return None if body.get(name) is None else field(body, name, kind)


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


def message_id(body: Any) -> bytes:
    """The request id in a message id, which must be whole."""
    effective(body)
    return binary(body, "message_id")


def effective(body: Any) -> bytes | None:
    """The subnet or canister a management call goes to, if the request says."""
    value = body.get("effective_principal") if isinstance(body, dict) else None
    if value in (None, "None"):
        return None
    if isinstance(value, dict):
        for kind in ("SubnetId", "CanisterId"):
            if kind in value:
                return binary(value, kind)
    raise BadRequest(f"effective_principal is {shortened(value)}, it must be None, SubnetId or CanisterId")


def http_answer(item: Any) -> HttpReply | Rejection:
    """A mocked response to an outcall."""
    reply, reject = optional(item, "CanisterHttpReply", dict), optional(item, "CanisterHttpReject", dict)
    if reply is not None:
        headers = [(field(h, "name", str), field(h, "value", str)) for h in optional(reply, "headers", list) or []]
        status = field(reply, "status", int)
        if not 0 <= status < 1 << 16:
            raise BadRequest(f"status is {shortened(status)}, it must be a 16-bit number")
        return HttpReply(status, headers, binary(reply, "body"))
    if reject is not None:
        code = field(reject, "reject_code", int)
        if code not in [int(known) for known in RejectCode]:
            known = [int(known) for known in RejectCode]
            raise BadRequest(f"reject_code is {shortened(code)}, it must be one of {known}")
        return Rejection(RejectCode(code), field(reject, "message", str), code * 100)
    raise BadRequest("a mocked response must be CanisterHttpReply or CanisterHttpReject")
