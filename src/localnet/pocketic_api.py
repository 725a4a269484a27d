"""PocketIC's REST interface, as its clients 3.x use it (JSON; principals and payloads in base64).

A thin translation between JSON and `Network`; every call is answered at once (200), never with "started".
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from localnet.errors import BadRequest
from localnet.instances import Instances
from localnet.pocketic_json import binary, configuration, topology
from localnet.pocketic_operations import OPERATIONS, Operation
from localnet.workers import Workers

MAX_BODY_BYTES = 512 * 1024 * 1024
MAX_BLOB_BYTES = 1 << 30


def routes(instances: Instances, workers: Workers) -> list[Route]:
    """All routes of the interface."""
    api = PocketIcApi(instances, workers)
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/status", "GET", api.status),
        ("/instances", "POST", api.create_instance),
        ("/instances", "GET", api.list_instances),
        ("/instances/{instance}", "DELETE", api.delete_instance),
        ("/instances/{instance}/stop_progress", "POST", api.stop_progress),
        ("/blobstore", "POST", api.put_blob),
        ("/blobstore/{blob}", "GET", api.get_blob),
        ("/http_gateway", "GET", api.list_gateways),
        ("/http_gateway", "POST", api.create_gateway),
        ("/http_gateway/{gateway}/stop", "POST", api.stop_gateway),
    ]
    found = [Route(path, _guarded(handler), methods=[method]) for path, method, handler in table]
    for (method, path), operation in OPERATIONS.items():
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

            if isinstance(body, dict) and "blob_id" in body:
                body["content"] = self._blob(binary(body, "blob_id").hex())
            return JSONResponse(await self._workers.run(locked))

        return handler

    async def stop_progress(self, request: Request) -> Response:
        """Switch an instance's auto-progress off: waits for its thread, so without the lock."""
        instance = self._instances.get(request.path_params["instance"])
        await self._workers.run(instance.stop_progress)
        return JSONResponse(None)

    async def status(self, _request: Request) -> Response:
        """Alive."""
        return PlainTextResponse("ok")

    async def create_instance(self, request: Request) -> Response:
        """Create an instance with the configured subnets."""
        kinds, auto_progress, start = configuration(await _json(request))
        instance = await self._workers.run(self._instances.create, kinds, start)
        if auto_progress:
            instance.start_progress()
        created = {"instance_id": instance.id, "topology": topology(instance.network), "http_gateway_info": None}
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
