"""The IC's HTTP interface: status, call, read_state and query, in CBOR (IC interface specification).

Serves one network. Authentication is in `envelope`, certificates are in `state_tree`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import cbor2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from localnet import candid, envelope, state_tree
from localnet.errors import BadRequest, Reject
from localnet.message import Rejection
from localnet.network import Ingress, Network, Subnet
from localnet.principal import MANAGEMENT, from_text, to_text
from localnet.workers import Workers

MAX_BODY_BYTES = 4 * 1024 * 1024
SYNC_CALL_SECONDS = 10.0
"""How long a v3 call waits for its answer before it is accepted like a v2 call."""
MAX_PATHS = 1000
MAX_PATH_LABELS = 127

NetworkOf = Callable[[Request], Network]


def routes(prefix: str, network_of: NetworkOf, workers: Workers) -> list[Route]:
    """The routes below ``prefix``; ``network_of`` finds the network a request is for."""
    api = IcApi(network_of, workers)
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/api/v2/status", "GET", api.status),
        ("/api/v2/canister/{effective}/call", "POST", api.call),
        ("/api/v3/canister/{effective}/call", "POST", api.sync_call),
        ("/api/v4/canister/{effective}/call", "POST", api.sync_call),
        ("/api/v2/canister/{effective}/query", "POST", api.query),
        ("/api/v3/canister/{effective}/query", "POST", api.query),
        ("/api/v2/canister/{effective}/read_state", "POST", api.read_state),
        ("/api/v3/canister/{effective}/read_state", "POST", api.read_state),
        ("/api/v2/subnet/{subnet}/read_state", "POST", api.read_subnet_state),
        ("/api/v3/subnet/{subnet}/read_state", "POST", api.read_subnet_state),
    ]
    return [Route(prefix + path, _guarded(handler), methods=[method]) for path, method, handler in table]


def _guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadRequest as error:
            return PlainTextResponse(str(error), status_code=error.status)

    return guarded


def _cbor(value: Any) -> Response:
    # Without the self-describing tag: cbor2 6 would make it an immutable map, which ic-py takes for malformed.
    return Response(cbor2.dumps(value), media_type="application/cbor")


class IcApi:
    """Handlers of the IC's HTTP interface."""

    def __init__(self, network_of: NetworkOf, workers: Workers) -> None:
        self._network_of = network_of
        self._workers = workers

    async def status(self, request: Request) -> Response:
        """Versions and the root key."""
        network = self._network_of(request)
        return _cbor(
            {
                "ic_api_version": "0.18.0",
                "impl_version": "localnet",
                "replica_health_status": "healthy",
                "root_key": network.root.certifier.der_public_key,
            }
        )

    async def call(self, request: Request) -> Response:
        """Accept a call (202) or say why not."""
        network = self._network_of(request)
        rejected = await self._submit(request, network)
        return rejected if isinstance(rejected, Response) else Response(status_code=202)

    async def sync_call(self, request: Request) -> Response:
        """Accept a call and wait for its certified answer, for a while."""
        network = self._network_of(request)
        entry = await self._submit(request, network)
        if isinstance(entry, Response):
            return entry
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SYNC_CALL_SECONDS
        round_number = network.round_number
        while not (entry.done.is_set() and network.round_number > round_number):
            if loop.time() > deadline:
                return Response(status_code=202)
            await asyncio.sleep(0.005)
        certificate = await self._workers.run(
            self._certify, network, network.subnets[entry.subnet], [(b"request_status", entry.request_id)]
        )
        return _cbor({"status": "replied", "certificate": certificate})

    async def _submit(self, request: Request, network: Network) -> Ingress | Response:
        effective = _principal(request.path_params["effective"])
        message = await _envelope(request)
        content = message["content"]
        callee, method, arg = _call_fields(content, "call")
        nonce = content.get("nonce")
        if nonce is not None and (not isinstance(nonce, bytes) or len(nonce) > 32):
            raise BadRequest("nonce must be at most 32 bytes")
        _check_effective(callee, method, arg, effective)

        def submit() -> Ingress:
            with network.lock:
                envelope.check_expiry(content, network.clock.now)
                rid = envelope.authenticate(message, network.clock.now)
                network.submit(content["sender"], callee, method, arg, effective, rid)
                return network.ingress[rid]

        try:
            return await self._workers.run(submit)
        except Reject as reject:
            return _cbor({"status": "non_replicated_rejection", **_rejection(Rejection.of(reject))})

    async def query(self, request: Request) -> Response:
        """Evaluate a query."""
        network = self._network_of(request)
        effective = _principal(request.path_params["effective"])
        message = await _envelope(request)
        content = message["content"]
        callee, method, arg = _call_fields(content, "query")
        _check_effective(callee, method, arg, effective)

        def evaluate() -> bytes:
            with network.lock:
                envelope.check_expiry(content, network.clock.now)
                envelope.authenticate(message, network.clock.now)
                return network.query(content["sender"], callee, method, arg)

        try:
            reply = await self._workers.run(evaluate)
            answer: dict[str, Any] = {"status": "replied", "reply": {"arg": reply}}
        except Reject as reject:
            answer = {"status": "rejected", **_rejection(Rejection.of(reject))}
        subnet = network.subnet_of(effective) or network.default_subnet()
        time = network.clock.now
        rid = envelope.request_id(content)
        digest = envelope.request_id({**answer, "timestamp": time, "request_id": rid})
        signature = {"timestamp": time, "signature": subnet.node.sign(digest), "identity": subnet.node.node_id}
        return _cbor({**answer, "signatures": [signature]})

    async def read_state(self, request: Request) -> Response:
        """A certificate over paths about one canister or call."""
        network = self._network_of(request)
        effective = _principal(request.path_params["effective"])
        subnet = network.subnet_of(effective) or network.default_subnet()
        return await self._read_state(request, network, subnet, effective)

    async def read_subnet_state(self, request: Request) -> Response:
        """A certificate over paths about a subnet."""
        network = self._network_of(request)
        subnet = network.subnets.get(_principal(request.path_params["subnet"]))
        if subnet is None:
            raise BadRequest(f"no subnet {request.path_params['subnet']!r} on this network")
        return await self._read_state(request, network, subnet, None)

    async def _read_state(
        self, request: Request, network: Network, subnet: Subnet, effective: bytes | None
    ) -> Response:
        message = await _envelope(request)
        content = message["content"]
        if content.get("request_type") != "read_state":
            raise BadRequest(f"request_type is {content.get('request_type')!r}, it must be read_state")
        paths = content.get("paths")
        if not isinstance(paths, list) or len(paths) > MAX_PATHS:
            raise BadRequest(f"paths must be a list of at most {MAX_PATHS} paths")
        for path in paths:
            if not isinstance(path, list) or len(path) > MAX_PATH_LABELS or not all(isinstance(p, bytes) for p in path):
                raise BadRequest(f"a path must be a list of at most {MAX_PATH_LABELS} byte strings")

        def read() -> bytes:
            with network.lock:
                envelope.check_expiry(content, network.clock.now)
                envelope.authenticate(message, network.clock.now)
                for path in paths:
                    _check_path(network, path, content["sender"], effective)
            return self._certify(network, subnet, paths)

        return _cbor({"certificate": await self._workers.run(read)})

    @staticmethod
    def _certify(network: Network, subnet: Subnet, paths: list[Any]) -> bytes:
        with network.lock:
            state = state_tree.current(network, subnet)
        # Signing takes a while and needs no lock: the tree doesn't change any more.
        return state.certificate([tuple(path) for path in paths])


def _principal(text: str) -> bytes:
    try:
        return from_text(text)
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _plain(value: Any) -> Any:
    """Dicts and lists of decoded CBOR: what is inside a tag is decoded into immutable ones."""
    if isinstance(value, cbor2.CBORTag):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


async def _envelope(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BadRequest(f"request body of more than {MAX_BODY_BYTES} bytes", 413)
    try:
        message = cbor2.loads(bytes(body))
    except Exception as error:
        raise BadRequest(f"Could not parse body as CBOR: {error}") from error
    message = _plain(message)
    if not isinstance(message, dict) or not isinstance(message.get("content"), dict):
        raise BadRequest("the body is no envelope: a CBOR map with the map content in it")
    if not all(isinstance(key, str) for key in message["content"]):
        raise BadRequest("the keys of content must be text")
    return message


def _call_fields(content: dict[str, Any], kind: str) -> tuple[bytes, str, bytes]:
    if content.get("request_type") != kind:
        raise BadRequest(f"request_type is {content.get('request_type')!r}, it must be {kind}")
    callee, method, arg = (content.get(name) for name in ("canister_id", "method_name", "arg"))
    if not isinstance(callee, bytes) or not isinstance(method, str) or not isinstance(arg, bytes):
        raise BadRequest("canister_id and arg must be byte strings, method_name must be text")
    return callee, method, arg


def _check_effective(callee: bytes, method: str, arg: bytes, effective: bytes) -> None:
    """The effective canister id must be the callee, or the canister a management call is about."""
    if callee != MANAGEMENT:
        if callee != effective:
            raise BadRequest(f"effective canister id {to_text(effective)} is not the called canister {to_text(callee)}")
        return
    if method == "provisional_create_canister_with_cycles":
        return
    label = "target_canister" if method == "install_chunked_code" else "canister_id"
    try:
        (value,) = candid.decode(arg, [candid.record(**{label: candid.PRINCIPAL})])
    except candid.CandidError as error:
        raise BadRequest(f"the argument of {method} names no canister: {error}") from error
    if value[label] != effective:
        raise BadRequest(f"effective canister id {to_text(effective)} is not {to_text(value[label])}")


def _check_path(network: Network, path: list[bytes], sender: bytes, effective: bytes | None) -> None:
    """Who may read what (IC interface specification, "Request: Read state"). Raises `BadRequest`."""
    first = path[0] if path else b""
    if path == [b"time"] or (first in (b"subnet", b"canister_ranges") and len(path) <= 5):
        return
    if first == b"request_status" and len(path) in (2, 3):
        entry = network.ingress.get(path[1])
        if entry is not None and entry.sender != sender:
            raise BadRequest("The user tries to access Request ID not signed by the caller.", 403)
        if entry is not None and effective is not None and entry.effective != effective:
            raise BadRequest("The request's effective canister id does not match the one of this URL.", 403)
        return
    if first == b"canister" and len(path) >= 3 and effective == path[1]:
        if len(path) == 3 and path[2] in (b"module_hash", b"controllers"):
            return
        if len(path) == 4 and path[2] == b"metadata":
            canister = network.canisters.get(path[1])
            sections = canister.module.metadata if canister is not None and canister.module is not None else {}
            public, _ = sections.get(path[3].decode(errors="replace"), (True, b""))
            if public or (canister is not None and sender in canister.settings.controllers):
                return
            raise BadRequest("Custom section can only be requested by the controllers of the canister.", 403)
    raise BadRequest("Invalid path requested.", 404)


def _rejection(response: Rejection) -> dict[str, Any]:
    return {
        "reject_code": int(response.code),
        "reject_message": response.message,
        "error_code": f"IC{response.error_code:04}",
    }
