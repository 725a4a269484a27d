"""The IC's HTTP interface: status, call, read_state and query, in CBOR (IC interface specification).

Serves one network. Authentication is in `envelope`, certificates are in `state_tree`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import cbor2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from localnet import candid, cbor, envelope, state_tree
from localnet.bodies import receive
from localnet.certified import certified_data
from localnet.envelope import Targets
from localnet.errors import BadRequest, Reject
from localnet.ingress import Ingress
from localnet.management_calls import METHODS
from localnet.message import Rejection
from localnet.network import Network, Subnet
from localnet.prices import MAX_INGRESS_BYTES
from localnet.principal import MANAGEMENT, from_text, to_text
from localnet.state_tree import CertifiedState
from localnet.waiting import Answer
from localnet.workers import Workers

CONTENT_TYPE = "application/cbor"
MAX_BODY_BYTES = 4 * 1024 * 1024
SYNC_CALL_SECONDS = 10.0
"""How long a v3 call waits for its answer before it is accepted like a v2 call."""

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
    return Response(cbor2.dumps(value), media_type=CONTENT_TYPE)


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
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[CertifiedState] = loop.create_future()

        def answer(state: CertifiedState) -> None:
            # The loop is closed already when the server ends in the middle of a round.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: answered.done() or answered.set_result(state))

        entry = await self._submit(request, network, answer)
        if isinstance(entry, Response):
            return entry
        try:
            state = await asyncio.wait_for(answered, SYNC_CALL_SECONDS)
        except TimeoutError:
            await self._workers.run(_stop_waiting, network, entry.request_id, answer)
            return Response(status_code=202)
        return _cbor({"status": "replied", "certificate": state.certificate([(b"request_status", entry.request_id)])})

    async def _submit(self, request: Request, network: Network, answer: Answer | None = None) -> Ingress | Response:
        """Take a call in and have ``answer`` told of its answer. A response is that to a call not taken in."""
        effective = _principal(request.path_params["effective"])
        body = await _body(request)
        if len(body) > MAX_INGRESS_BYTES:
            raise BadRequest(f"Request of {len(body)} bytes is too large, at most {MAX_INGRESS_BYTES} are allowed", 413)

        def submit() -> Ingress | None:
            message, wanted = _parse(body, "call")
            callee, method, arg = wanted.call
            _check_effective(callee, method, arg, effective)
            _authenticate(network, message, wanted)
            with network.lock:
                if wanted.id in network.replays and wanted.id not in network.ingress:
                    return None
                network.submit(wanted.sender, callee, method, arg, effective, wanted.id, wanted.expiry)
                if answer is not None:
                    network.waiting.add(wanted.id, answer)
                return network.ingress[wanted.id]

        try:
            entry = await self._workers.run(submit)
        except Reject as reject:
            return _cbor({"status": "non_replicated_rejection", **_rejection(Rejection.of(reject))})
        # A call that was carried out and whose answer is forgotten: accepted, with nothing to wait for.
        return Response(status_code=202) if entry is None else entry

    async def query(self, request: Request) -> Response:
        """Evaluate a query."""
        network = self._network_of(request)
        effective = _principal(request.path_params["effective"])
        body = await _body(request)
        message, wanted = await self._workers.run(_parse, body, "query")
        callee, method, arg = wanted.call
        _check_effective(callee, method, arg, effective)

        def evaluate() -> bytes:
            _authenticate(network, message, wanted)
            with network.lock:
                return network.query(wanted.sender, callee, method, arg)

        try:
            reply = await self._workers.run(evaluate)
            answer: dict[str, Any] = {"status": "replied", "reply": {"arg": reply}}
        except Reject as reject:
            answer = {"status": "rejected", **_rejection(Rejection.of(reject))}
        subnet = network.subnet_of(effective) or network.default_subnet()
        time = network.clock.now
        digest = envelope.request_id({**answer, "timestamp": time, "request_id": wanted.id})
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
        body = await _body(request)

        def read() -> bytes:
            message, wanted = _parse(body, "read_state")
            targets = _authenticate(network, message, wanted)
            with network.lock:
                _check_paths(network, wanted, targets, effective)
            return self._certify(network, subnet, wanted.paths)

        return _cbor({"certificate": await self._workers.run(read)})

    @staticmethod
    def _certify(network: Network, subnet: Subnet, paths: list[Any]) -> bytes:
        with network.lock:
            network.check()
            state = state_tree.current(network, subnet)
        # Signing takes a while and needs no lock: the tree doesn't change any more.
        return state.certificate([tuple(path) for path in paths])


def _stop_waiting(network: Network, request_id: bytes, answer: Answer) -> None:
    with network.lock:
        network.waiting.remove(request_id, answer)


def _principal(text: str) -> bytes:
    try:
        return from_text(text)
    except ValueError as error:
        raise BadRequest(str(error)) from error


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").lower() != CONTENT_TYPE:
        raise BadRequest(f"Unexpected content-type, expected {CONTENT_TYPE}.")
    return await receive(request, MAX_BODY_BYTES)


def _parse(body: bytes, kind: str) -> tuple[dict[str, Any], envelope.Request]:
    try:
        message = cbor.decode(body)
    except cbor.CborError as error:
        raise BadRequest(f"Could not parse body as CBOR: {error}") from error
    return message, envelope.read(message, kind)


def _authenticate(network: Network, message: dict[str, Any], wanted: envelope.Request) -> Targets:
    """Check expiry and sender. Signatures take a while: the network's lock must not be held."""
    now = network.clock.now
    envelope.check_expiry(wanted, now)
    return envelope.authenticate(message, wanted, now, partial(certified_data, network))


def _check_effective(callee: bytes, method: str, arg: bytes, effective: bytes) -> None:
    """The effective canister id must be the callee, or the canister a management call is about."""
    if callee != MANAGEMENT:
        if callee != effective:
            raise BadRequest(
                f"Specified CanisterId {to_text(callee)} does not match effective canister id in URL "
                f"{to_text(effective)}"
            )
        return
    row = METHODS.get(method)
    if row is None:
        raise BadRequest(f"Management canister has no method {method[:100]!r}")
    if row.target is None:
        return
    try:
        (value,) = candid.decode(arg, [candid.record(**{row.target: candid.PRINCIPAL})])
    except candid.CandidError as error:
        raise BadRequest(f"the argument of {method} names no canister: {error}") from error
    if value[row.target] != effective:
        raise BadRequest(f"effective canister id {to_text(effective)} is not {to_text(value[row.target])}")


_STATUS_FIELDS = (b"status", b"reply", b"reject_code", b"reject_message", b"error_code")


def _check_paths(network: Network, wanted: envelope.Request, targets: Targets, effective: bytes | None) -> None:
    """Who may read what (IC interface specification, "Request: Read state"). Raises `BadRequest`.

    ``effective`` is None where a subnet is asked instead of a canister.
    """
    ids = {path[1] for path in wanted.paths if path[:1] == [b"request_status"] and len(path) > 1}
    if len(ids) > 1:
        raise BadRequest(f"More than one request id in request_status paths: {len(ids)} of them.")
    for path in wanted.paths:
        if path == [b"time"] or _is_public(path):
            continue
        if effective is None:
            raise BadRequest("Invalid path requested.", 404)
        match path:
            case [b"request_status", rid] | [b"request_status", rid, _] if not path[2:] or path[2] in _STATUS_FIELDS:
                _check_status(network, rid, wanted.sender, targets, effective)
            case [b"canister", named, b"module_hash" | b"controllers"]:
                _check_named(named, effective)
            case [b"canister", named, b"metadata", name]:
                _check_named(named, effective)
                _check_metadata(network, named, name, wanted.sender)
            case _:
                raise BadRequest("Invalid path requested.", 404)


def _is_public(path: list[bytes]) -> bool:
    """Paths about subnets, which anybody may read."""
    match path:
        case [b"subnet"] | [b"subnet", _] | [b"canister_ranges", _] | [b"canister_ranges", _, _]:
            return True
        case [b"subnet", _, b"public_key" | b"canister_ranges" | b"node"]:
            return True
        case [b"subnet", _, b"node", _] | [b"subnet", _, b"node", _, b"public_key"]:
            return True
    return False


def _check_named(named: bytes, effective: bytes) -> None:
    if named != effective:
        raise BadRequest(f"Effective canister id in URL {to_text(effective)} does not match the path's {named.hex()}")


def _check_status(network: Network, rid: bytes, sender: bytes, targets: Targets, effective: bytes) -> None:
    if len(rid) != 32:
        raise BadRequest(f"Invalid request id in paths: {len(rid)} bytes instead of 32.")
    entry = network.ingress.get(rid)
    if entry is None:
        return
    if entry.sender != sender:
        raise BadRequest("The user tries to access Request ID not signed by the caller.", 403)
    if targets is not None and entry.callee not in targets:
        raise BadRequest(
            "The user tries to access request IDs for canisters not belonging to sender delegation targets.", 403
        )
    if entry.effective != effective:
        raise BadRequest("The request's effective canister id does not match the one of this URL.", 403)


def _check_metadata(network: Network, canister_id: bytes, name: bytes, sender: bytes) -> None:
    try:
        section = name.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"Could not parse the custom section name: {error}.") from error
    canister = network.canisters.get(canister_id)
    if canister is None or canister.module is None:
        return
    public, _ = canister.module.metadata.get(section, (True, b""))
    if not public and sender not in canister.settings.controllers:
        raise BadRequest(
            f"Custom section {section[:100]} can only be requested by the controllers of the canister.", 403
        )


def _rejection(response: Rejection) -> dict[str, Any]:
    return {
        "reject_code": int(response.code),
        "reject_message": response.message,
        "error_code": f"IC{response.error_code:04}",
    }
