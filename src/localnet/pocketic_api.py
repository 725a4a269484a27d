"""PocketIC's REST interface, as its clients 3.x use it (JSON; principals and payloads in base64).

A thin translation between JSON and `Network`; every call is answered at once (200), never with "started".
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from localnet import principal
from localnet.canister import Canister
from localnet.errors import BadRequest, ErrorCode, Reject, RejectCode, camel_case
from localnet.instances import Instance, Instances
from localnet.message import Rejection, Reply
from localnet.message import Response as CallResponse
from localnet.network import LISTED_KINDS, NAMED_KINDS, Network
from localnet.outcalls import HttpReply
from localnet.prices import WASM_PAGE
from localnet.workers import Workers

MAX_BODY_BYTES = 512 * 1024 * 1024
MAX_BLOB_BYTES = 1 << 30
MAX_ROUNDS = 100
"""Rounds ``await_ingress_message`` executes before it gives up."""

Operation = Callable[[Instance, Any], Any]


def routes(instances: Instances, workers: Workers) -> list[Route]:
    """All routes of the interface."""
    api = PocketIcApi(instances, workers)
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/status", "GET", api.status),
        ("/instances", "POST", api.create_instance),
        ("/instances", "GET", api.list_instances),
        ("/instances/{instance}", "DELETE", api.delete_instance),
        ("/blobstore", "POST", api.put_blob),
        ("/blobstore/{blob}", "GET", api.get_blob),
        ("/http_gateway", "GET", api.list_gateways),
        ("/http_gateway", "POST", api.create_gateway),
        ("/http_gateway/{gateway}/stop", "POST", api.stop_gateway),
    ]
    found = [Route(path, _guarded(handler), methods=[method]) for path, method, handler in table]
    for (method, path), operation in _OPERATIONS.items():
        handler = _guarded(api.operation(operation))
        found.append(Route("/instances/{instance}/" + path, handler, methods=[method]))
    return found


def _guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadRequest as error:
            return JSONResponse({"message": str(error)}, status_code=error.status)

    return guarded


_OPERATIONS: dict[tuple[str, str], Operation] = {}


def _operation(method: str, path: str) -> Callable[[Operation], Operation]:
    """Register an operation on an instance; it runs in a worker thread under the instance's lock."""

    def register(operation: Operation) -> Operation:
        _OPERATIONS[method, path] = operation
        return operation

    return register


class PocketIcApi:
    """Handlers that are about the server rather than one instance."""

    def __init__(self, instances: Instances, workers: Workers) -> None:
        self._instances = instances
        self._workers = workers
        self._blobs: dict[str, bytes] = {}

    def operation(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        """A handler that runs an operation on the instance named in the path."""

        async def handler(request: Request) -> Response:
            instance = self._instances.get(request.path_params["instance"])
            body: Any = await _json(request) if request.method == "POST" else None

            def locked() -> Any:
                with instance.network.lock:
                    return operation(instance, body)

            if operation is _set_stable_memory:
                body["content"] = self._blob(_bytes(body, "blob_id").hex())
            if operation is _stop_progress:
                await self._workers.run(instance.stop_progress)
                return JSONResponse(None)
            return JSONResponse(await self._workers.run(locked))

        return handler

    async def status(self, _request: Request) -> Response:
        """Alive."""
        return PlainTextResponse("ok")

    async def create_instance(self, request: Request) -> Response:
        """Create an instance with the configured subnets."""
        kinds, auto_progress, start = _configuration(await _json(request))
        instance = await self._workers.run(self._instances.create, kinds, start)
        if auto_progress:
            instance.start_progress()
        created = {
            "instance_id": instance.id,
            "topology": _topology(instance.network),
            "http_gateway_info": None,
        }
        return JSONResponse({"Created": created}, status_code=201)

    async def list_instances(self, _request: Request) -> Response:
        """State of every instance ever created."""
        return JSONResponse(self._instances.states())

    async def delete_instance(self, request: Request) -> Response:
        """Delete an instance."""
        await self._workers.run(self._instances.delete, request.path_params["instance"])
        return Response(status_code=200)

    async def put_blob(self, request: Request) -> Response:
        """Store a blob; answers its id in hex."""
        body = await _body(request, MAX_BLOB_BYTES)
        encoding = request.headers.get("content-encoding")
        if encoding == "gzip":
            body = _gunzip(body)
        elif encoding not in (None, "identity"):
            raise BadRequest(f"Content-Encoding {encoding!r}: only gzip is supported")
        blob = hashlib.sha256(body).hexdigest()
        self._blobs[blob] = body
        return PlainTextResponse(blob)

    async def get_blob(self, request: Request) -> Response:
        """Read a blob."""
        return Response(self._blob(request.path_params["blob"]), media_type="application/octet-stream")

    def _blob(self, blob: str) -> bytes:
        if blob not in self._blobs:
            raise BadRequest(f"no blob {blob!r} in the blob store", 404)
        return self._blobs[blob]

    async def list_gateways(self, _request: Request) -> Response:
        """The HTTP gateways that run."""
        return JSONResponse(
            [
                {
                    "instance_id": number,
                    "port": gateway.port,
                    "forward_to": {"PocketIcInstance": gateway.instance},
                    "domains": None,
                    "https_config": None,
                }
                for number, gateway in self._instances.gateways.items()
            ]
        )

    async def create_gateway(self, request: Request) -> Response:
        """Serve an instance's ``/api/v2`` on a port of its own."""
        body = await _json(request)
        forward = body.get("forward_to")
        if not isinstance(forward, dict) or "PocketIcInstance" not in forward:
            message = f"forward_to is {forward!r}, only PocketIcInstance is supported"
            return JSONResponse({"Error": {"message": message}}, status_code=400)
        if body.get("https_config") is not None:
            message = "https_config is not supported: the gateway speaks HTTP only"
            return JSONResponse({"Error": {"message": message}}, status_code=400)
        instance = self._instances.get(str(forward["PocketIcInstance"]))
        try:
            number, port = await self._instances.open_gateway(
                instance, body.get("ip_addr") or "127.0.0.1", body.get("port") or 0
            )
        except OSError as error:
            return JSONResponse({"Error": {"message": f"cannot listen: {error}"}}, status_code=400)
        return JSONResponse({"Created": {"instance_id": number, "port": port}}, status_code=201)

    async def stop_gateway(self, request: Request) -> Response:
        """Stop a gateway."""
        await self._instances.close_gateway(request.path_params["gateway"])
        return Response(status_code=200)


# Parsing ----------------------------------------------------------------------------------------------


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BadRequest(f"request body of more than {limit} bytes", 413)
    return bytes(body)


async def _json(request: Request) -> Any:
    body = await _body(request, MAX_BODY_BYTES)
    if not body:
        return {}
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def _gunzip(body: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj(wbits=31)
        content = unpacker.decompress(body, MAX_BLOB_BYTES)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BadRequest(f"the body is not gzip: {error}") from error
    if not unpacker.eof:
        raise BadRequest(f"the gzip stream is cut off or holds more than {MAX_BLOB_BYTES} bytes")
    return content


def _field(body: Any, name: str, kind: type[Any]) -> Any:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadRequest(f"field {name} of the request is {value!r}, it must be a {kind.__name__}")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"field {name} of the request is no valid text: {value!r}") from error
    return value


def _bytes(body: Any, name: str) -> bytes:
    text = _field(body, name, str)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadRequest(f"field {name} is not base64: {error}") from error


def _text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _canister(instance: Instance, body: Any) -> Canister:
    canister_id = _bytes(body, "canister_id")
    canister = instance.network.canisters.get(canister_id)
    if canister is None:
        raise BadRequest(f"Canister {principal.to_text(canister_id)} not found")
    return canister


def _configuration(body: Any) -> tuple[list[str], bool, int | None]:
    """Kinds of the subnets, whether to start with auto-progress, and the first time."""
    config = _field(body, "subnet_config_set", dict)
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
        return kinds, False, _field(initial["Timestamp"], "nanos_since_epoch", int)
    return kinds, isinstance(initial, dict) and "AutoProgress" in initial, None


def _check_spec(name: str, spec: Any) -> None:
    if isinstance(spec, dict):
        state = spec.get("state_config", "New")
        if state != "New":
            raise BadRequest(f"state_config of {name} is {state!r}, only New is supported")


def _topology(network: Network) -> dict[str, Any]:
    subnets = {}
    for subnet in network.subnets.values():
        ends = {
            "start": {"canister_id": _text64(principal.canister_id(subnet.first))},
            "end": {"canister_id": _text64(principal.canister_id(subnet.last))},
        }
        subnets[principal.to_text(subnet.id)] = {
            "subnet_kind": subnet.kind,
            "subnet_seed": list(subnet.seed),
            "instruction_config": "Production",
            "node_ids": [{"node_id": _text64(subnet.node.node_id)}],
            "canister_ranges": [ends],
        }
    default = principal.canister_id(network.default_subnet().first)
    return {
        "subnet_configs": subnets,
        "default_effective_canister_id": {"canister_id": _text64(default)},
    }


def _result(response: CallResponse, certified: bool) -> dict[str, Any]:
    if isinstance(response, Reply):
        return {"Ok": _text64(response.data)}
    return {"Err": _error(response, certified)}


def _error(rejection: Rejection, certified: bool) -> dict[str, Any]:
    return {
        "reject_code": camel_case(rejection.code),
        "reject_message": rejection.message,
        "error_code": camel_case(ErrorCode(rejection.error_code)),
        "certified": certified,
    }


def _effective(body: Any) -> bytes | None:
    value = body.get("effective_principal")
    if value in (None, "None"):
        return None
    if isinstance(value, dict):
        for kind in ("SubnetId", "CanisterId"):
            if kind in value:
                return _bytes(value, kind)
    raise BadRequest(f"effective_principal is {value!r}, it must be None, SubnetId or CanisterId")


# Operations on an instance ----------------------------------------------------------------------------


@_operation("GET", "read/topology")
def _read_topology(instance: Instance, _body: Any) -> Any:
    return _topology(instance.network)


@_operation("GET", "read/get_time")
def _get_time(instance: Instance, _body: Any) -> Any:
    return {"nanos_since_epoch": instance.network.clock.now}


@_operation("POST", "update/set_time")
@_operation("POST", "update/set_certified_time")
def _set_time(instance: Instance, body: Any) -> Any:
    try:
        instance.network.clock.set(_field(body, "nanos_since_epoch", int))
    except ValueError as error:
        raise BadRequest(f"SettingTimeIntoPast: {error}") from error


@_operation("POST", "update/tick")
def _tick(instance: Instance, _body: Any) -> Any:
    instance.network.tick()


@_operation("POST", "read/get_subnet")
def _get_subnet(instance: Instance, body: Any) -> Any:
    canister = instance.network.canisters.get(_bytes(body, "canister_id"))
    return None if canister is None else {"subnet_id": _text64(canister.subnet)}


@_operation("POST", "read/pub_key")
def _pub_key(instance: Instance, body: Any) -> Any:
    subnet = instance.network.subnets.get(_bytes(body, "subnet_id"))
    if subnet is None:
        raise BadRequest(f"no subnet with the id {body['subnet_id']!r}")
    return list(subnet.certifier.der_public_key)


@_operation("POST", "read/get_controllers")
def _get_controllers(instance: Instance, body: Any) -> Any:
    return [{"principal_id": _text64(c)} for c in _canister(instance, body).settings.controllers]


@_operation("POST", "read/get_cycles")
def _get_cycles(instance: Instance, body: Any) -> Any:
    return {"cycles": _canister(instance, body).cycles}


@_operation("POST", "update/add_cycles")
def _add_cycles(instance: Instance, body: Any) -> Any:
    amount = _field(body, "amount", int)
    if not 0 <= amount < 1 << 128:
        raise BadRequest(f"amount is {amount}, it must be a number of cycles below 2^128")
    canister = _canister(instance, body)
    canister.cycles += amount
    return {"cycles": canister.cycles}


@_operation("POST", "read/get_stable_memory")
def _get_stable_memory(instance: Instance, body: Any) -> Any:
    runtime = _canister(instance, body).runtime
    return {"blob": _text64(runtime.stable.read() if runtime is not None else b"")}


@_operation("POST", "update/set_stable_memory")
def _set_stable_memory(instance: Instance, body: Any) -> Any:
    runtime = _canister(instance, body).runtime
    if runtime is None:
        raise BadRequest("the canister is empty: stable memory needs an installed module")
    content = body["content"]
    runtime.set_stable(content + bytes(-len(content) % WASM_PAGE))


@_operation("POST", "update/submit_ingress_message")
def _submit(instance: Instance, body: Any) -> Any:
    callee, sender = _bytes(body, "canister_id"), _bytes(body, "sender")
    method, payload = _field(body, "method", str), _bytes(body, "payload")
    try:
        rid = instance.network.submit(sender, callee, method, payload, _effective(body))
    except Reject as reject:
        return {"Err": _error(Rejection.of(reject), certified=False)}
    message_id = {
        "effective_principal": body.get("effective_principal") or "None",
        "message_id": _text64(rid),
    }
    return {"Ok": message_id}


def _entry(instance: Instance, message: Any) -> Any:
    return instance.network.ingress.get(_bytes(message, "message_id"))


@_operation("POST", "read/ingress_status")
def _ingress_status(instance: Instance, body: Any) -> Any:
    entry = _entry(instance, _field(body, "raw_message_id", dict))
    caller = body.get("raw_caller")
    if entry is not None and caller is not None and _bytes(caller, "principal_id") != entry.sender:
        raise BadRequest("The user tries to access Request ID not signed by the caller.", 403)
    if entry is None or entry.response is None:
        return None
    return _result(entry.response, certified=True)


@_operation("POST", "update/await_ingress_message")
def _await_ingress(instance: Instance, body: Any) -> Any:
    entry = _entry(instance, body)
    if entry is None:
        raise BadRequest("no such message was submitted")
    for _ in range(MAX_ROUNDS):
        if entry.response is not None:
            return _result(entry.response, certified=True)
        instance.network.tick()
    raise BadRequest(f"PocketIC did not complete the update call within {MAX_ROUNDS} rounds")


@_operation("POST", "read/query")
def _query(instance: Instance, body: Any) -> Any:
    callee, sender = _bytes(body, "canister_id"), _bytes(body, "sender")
    method, payload = _field(body, "method", str), _bytes(body, "payload")
    try:
        return {"Ok": _text64(instance.network.query(sender, callee, method, payload))}
    except Reject as reject:
        return {"Err": _error(Rejection.of(reject), certified=False)}


@_operation("GET", "read/get_canister_http")
def _get_canister_http(instance: Instance, _body: Any) -> Any:
    return [
        {
            "subnet_id": {"subnet_id": _text64(outcall.subnet)},
            "request_id": outcall.id,
            "http_method": outcall.method,
            "url": outcall.url,
            "headers": [{"name": name, "value": value} for name, value in outcall.headers],
            "body": _text64(outcall.body),
            "max_response_bytes": outcall.max_response_bytes,
        }
        for outcall in instance.network.outcalls.pending.values()
        if not outcall.answers
    ]


@_operation("POST", "update/mock_canister_http")
def _mock_canister_http(instance: Instance, body: Any) -> Any:
    number = _field(body, "request_id", int)
    mocked = [_field(body, "response", dict), *(body.get("additional_responses") or [])]
    if not instance.network.outcalls.answer(number, [_http_answer(item) for item in mocked]):
        raise BadRequest(f"InvalidMockCanisterHttpResponses: no outcall with request id {number} is pending")


def _http_answer(item: Any) -> HttpReply | Rejection:
    reply, reject = item.get("CanisterHttpReply"), item.get("CanisterHttpReject")
    if isinstance(reply, dict):
        headers = [(_field(h, "name", str), _field(h, "value", str)) for h in reply.get("headers", [])]
        return HttpReply(_field(reply, "status", int), headers, _bytes(reply, "body"))
    if isinstance(reject, dict):
        code = _field(reject, "reject_code", int)
        if code not in [int(known) for known in RejectCode]:
            raise BadRequest(f"reject_code is {code}, it must be one of {[int(known) for known in RejectCode]}")
        return Rejection(RejectCode(code), _field(reject, "message", str), code * 100)
    raise BadRequest("a mocked response must be CanisterHttpReply or CanisterHttpReject")


@_operation("POST", "auto_progress")
def _auto_progress(instance: Instance, _body: Any) -> Any:
    instance.start_progress()


@_operation("GET", "auto_progress")
def _auto_progress_enabled(instance: Instance, _body: Any) -> Any:
    return instance.auto_progress


@_operation("POST", "stop_progress")
def _stop_progress(_instance: Instance, _body: Any) -> Any:
    raise AssertionError("runs without the lock: see PocketIcApi.operation")
