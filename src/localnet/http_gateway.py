"""Web pages of canisters: HTTP requests to ``ID.raw.localhost`` go to the canister's ``http_request``.

Only the raw domain is served: elsewhere a gateway must check that the canister certified its response, which this one
does not do, and refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from localnet import candid
from localnet.bodies import receive as receive_body
from localnet.errors import BadRequest, ErrorCode, Reject
from localnet.message import Reply
from localnet.network import Network
from localnet.prices import MAX_INGRESS_BYTES
from localnet.principal import ANONYMOUS, from_text
from localnet.workers import Workers

RAW_DOMAIN = ".raw.localhost"
DOMAIN = ".localhost"
UPGRADE_SECONDS = 30.0
"""How long an update call may take."""
_PAIR = candid.Type("record", fields=((0, "0", candid.TEXT), (1, "1", candid.TEXT)))
REQUEST = candid.record(
    method=candid.TEXT,
    url=candid.TEXT,
    headers=candid.vec(_PAIR),
    body=candid.BLOB,
    certificate_version=candid.opt(candid.NAT16),
)
RESPONSE = candid.record(
    status_code=candid.NAT16,
    headers=candid.vec(_PAIR),
    body=candid.BLOB,
    upgrade=candid.opt(candid.BOOL),
    streaming_strategy=candid.opt(candid.variant(Callback=candid.RESERVED)),
)
_HOP_HEADERS = {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}


class HttpGateway:
    """Answers what no other route is for, where the host names a canister."""

    def __init__(self, network_of: Callable[[Request], Network], workers: Workers, otherwise: ASGIApp) -> None:
        self._network_of = network_of
        self._workers = workers
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass it on to ``otherwise`` when it names no canister."""
        if scope["type"] != "http" or not _names_a_canister(Request(scope)):
            await self._otherwise(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except BadRequest as error:
            answer = PlainTextResponse(str(error), status_code=error.status)
        except Reject as reject:
            status = 400 if reject.error_code == ErrorCode.CANISTER_NOT_FOUND else 503
            answer = PlainTextResponse(f"the canister did not answer: {reject.message}", status_code=status)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        host = _host(request)
        if not host.endswith(RAW_DOMAIN):
            raise BadRequest(
                "this gateway does not verify responses: ask ID.raw.localhost instead of ID.localhost or canisterId=ID"
            )
        try:
            canister = from_text(host.removesuffix(RAW_DOMAIN))
        except ValueError as error:
            raise BadRequest(str(error)) from error
        network = self._network_of(request)
        argument = await _argument(request)
        found = _decode(await self._workers.run(_query, network, canister, argument))
        if found["upgrade"]:
            found = _decode(await self._update(network, canister, argument))
        if found["streaming_strategy"] is not None:
            raise BadRequest("streaming_strategy is not supported by this gateway", 501)
        return _response(found)

    async def _update(self, network: Network, canister: bytes, argument: bytes) -> bytes:
        """The reply of ``http_request_update``; somebody has to execute rounds meanwhile."""
        rid = await self._workers.run(_submit, network, canister, argument)
        entry = network.ingress[rid]
        deadline = asyncio.get_running_loop().time() + UPGRADE_SECONDS
        while entry.response is None:
            if asyncio.get_running_loop().time() > deadline:
                raise BadRequest(f"http_request_update did not answer within {UPGRADE_SECONDS:.0f} seconds", 504)
            await asyncio.sleep(0.005)
        if isinstance(entry.response, Reply):
            return entry.response.data
        raise BadRequest(f"the canister did not answer: {entry.response.message}", 503)


def _host(request: Request) -> str:
    """The host a browser asked, without its port. Taken by hand: what was sent need not be part of any URL."""
    return request.headers.get("host", "").partition(":")[0].lower()


def _names_a_canister(request: Request) -> bool:
    return _host(request).endswith(DOMAIN) or "canisterId" in request.query_params


async def _argument(request: Request) -> bytes:
    """Candid of the request."""
    path = request.scope["raw_path"]
    query = request.scope["query_string"]
    value = {
        "method": request.method,
        "url": (path + (b"?" + query if query else b"")).decode("latin-1"),
        "headers": [{"0": name, "1": text} for name, text in request.headers.items()],
        "body": await receive_body(request, MAX_INGRESS_BYTES),
        "certificate_version": 2,
    }
    return candid.encode([REQUEST], [value])


def _query(network: Network, canister: bytes, argument: bytes) -> bytes:
    with network.lock:
        return network.query(ANONYMOUS, canister, "http_request", argument)


def _submit(network: Network, canister: bytes, argument: bytes) -> bytes:
    with network.lock:
        return network.submit(ANONYMOUS, canister, "http_request_update", argument)


def _decode(reply: bytes) -> dict[str, Any]:
    try:
        return candid.decode(reply, [RESPONSE])[0]
    except candid.CandidError as error:
        raise BadRequest(f"the canister's reply is no HTTP response: {error}", 502) from error


def _response(found: dict[str, Any]) -> Response:
    status = found["status_code"]
    if not 200 <= status < 600:
        raise BadRequest(f"the canister's reply has the status code {status}", 502)
    response = Response(found["body"], status_code=status)
    try:
        for header in found["headers"]:
            name, text = header["0"].lower(), header["1"]
            if not name or not f"{name}{text}".isprintable():
                raise ValueError(f"header {name!r} has characters that cannot be sent")
            if name not in _HOP_HEADERS:
                response.raw_headers.append((name.encode("ascii"), text.encode("latin-1")))
    except ValueError as error:
        raise BadRequest(f"the canister's reply cannot be sent: {error}", 502) from error
    return response
