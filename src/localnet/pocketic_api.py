"""PocketIC's REST interface, as its clients 3.x use it (JSON; principals and payloads in base64).

A thin translation between JSON and `Network`; every call is answered at once (200), never with "started".
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from localnet.bodies import receive
from localnet.certified import certified_data
from localnet.errors import BadRequest
from localnet.image import StateError
from localnet.instances import Instance, Instances
from localnet.pocketic_config import GatewayConfiguration, configuration, gateway_configuration
from localnet.pocketic_json import binary, field, shortened, topology
from localnet.pocketic_operations import OPERATIONS, Operation
from localnet.signatures import is_canister_key, verify
from localnet.workers import Workers

MAX_BODY_BYTES = 128 * 1024 * 1024
"""Of a JSON body: room for the mocked responses of 40 nodes in base64."""
MAX_BLOB_BYTES = 1 << 30
MAX_BLOBS_BYTES = 4 << 30
"""Of all blobs together."""


def routes(instances: Instances, workers: Workers) -> list[Route]:
    """All routes of the interface."""
    api = PocketIcApi(instances, workers)
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/status", "GET", api.status),
        ("/instances", "POST", api.create_instance),
        ("/instances", "GET", api.list_instances),
        ("/instances/{instance}", "DELETE", api.delete_instance),
        ("/instances/{instance}/stop_progress", "POST", api.stop_progress),
        ("/verify_signature", "POST", api.verify_signature),
        ("/blobstore", "POST", api.put_blob),
        ("/blobstore/{blob}", "GET", api.get_blob),
        ("/http_gateway", "GET", api.list_gateways),
        ("/http_gateway", "POST", api.create_gateway),
        ("/http_gateway/{gateway}/stop", "POST", api.stop_gateway),
    ]
    found = [Route(path, _guarded(handler, path in _CREATING), methods=[method]) for path, method, handler in table]
    for (method, path), operation in OPERATIONS.items():
        handler = _guarded(api.operation(operation))
        found.append(Route("/instances/{instance}/" + path, handler, methods=[method]))
    return found


_CREATING = ("/instances", "/http_gateway")
"""Where PocketIC answers with ``Created`` or ``Error``."""


def _guarded(
    handler: Callable[[Request], Awaitable[Response]], creating: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadRequest as error:
            message = {"message": str(error)}
            return JSONResponse({"Error": message} if creating else message, status_code=error.status)
        except StateError as error:
            message = {"message": str(error)}
            return JSONResponse({"Error": message} if creating else message, status_code=400)

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
                    instance.network.check()
                    return operation(instance, body)

            if isinstance(body, dict):
                body.pop("content", None)
                if "blob_id" in body:
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
        """Create an instance with the configured subnets, and its gateway if it is to have one."""
        wanted = configuration(await _json(request))
        instance = await self._workers.run(self._instances.create, wanted.kinds, wanted.start, wanted.state_dir)
        if wanted.auto_progress:
            instance.start_progress()
        created = {"instance_id": instance.id, "topology": topology(instance.network), "http_gateway_info": None}
        if wanted.gateway is not None:
            try:
                created["http_gateway_info"] = await self._open_gateway(instance, wanted.gateway)
            except BadRequest:
                await self._workers.run(self._instances.delete, str(instance.id))
                raise
        return JSONResponse({"Created": created}, status_code=201)

    async def list_instances(self, _request: Request) -> Response:
        """State of every instance ever created."""
        return JSONResponse(self._instances.states())

    async def delete_instance(self, request: Request) -> Response:
        """Delete an instance."""
        await self._workers.run(self._instances.delete, request.path_params["instance"])
        return Response(status_code=200)

    async def verify_signature(self, request: Request) -> Response:
        """Whether a canister signature holds under the root key of one of the server's networks."""
        body = await _json(request)
        message, signature, key, root = (binary(body, name) for name in ("msg", "sig", "pubkey", "root_pubkey"))
        if not is_canister_key(key):
            raise BadRequest("pubkey is no public key of a canister signature")
        network = self._instances.network_of_root_key(root)
        if network is None:
            raise BadRequest("root_pubkey is not the root key of a network of this server: only those can be checked")
        try:
            await self._workers.run(verify, key, signature, message, partial(certified_data, network))
        except BadRequest as error:
            return JSONResponse({"Err": str(error)})
        return JSONResponse({"Ok": None})

    async def put_blob(self, request: Request) -> Response:
        """Store a blob; answers its id in hex."""
        body = await receive(request, MAX_BLOB_BYTES)
        encoding = request.headers.get("content-encoding")
        if encoding == "gzip":
            body = _gunzip(body)
        elif encoding not in (None, "identity"):
            raise BadRequest(f"Content-Encoding {encoding!r}: only gzip is supported")
        blob = hashlib.sha256(body).hexdigest()
        if sum(map(len, self._blobs.values())) + len(body) > MAX_BLOBS_BYTES and blob not in self._blobs:
            raise BadRequest(f"the blob store is full: it holds {MAX_BLOBS_BYTES} bytes", 413)
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
        forward = field(body, "forward_to", dict)
        if set(forward) != {"PocketIcInstance"}:
            raise BadRequest(f"forward_to is {shortened(forward)}, only PocketIcInstance is supported")
        wanted = gateway_configuration(body)
        instance = self._instances.get(str(field(forward, "PocketIcInstance", int)))
        return JSONResponse({"Created": await self._open_gateway(instance, wanted)}, status_code=201)

    async def _open_gateway(self, instance: Instance, wanted: GatewayConfiguration) -> dict[str, int]:
        try:
            number, port = await self._instances.open_gateway(instance, wanted.address, wanted.port)
        except OSError as error:
            raise BadRequest(f"cannot listen on {wanted.address!r}, port {wanted.port}: {error}") from error
        return {"instance_id": number, "port": port}

    async def stop_gateway(self, request: Request) -> Response:
        """Stop a gateway."""
        await self._instances.close_gateway(request.path_params["gateway"])
        return JSONResponse(None)


# Parsing ----------------------------------------------------------------------------------------------


async def _json(request: Request) -> Any:
    body = await receive(request, MAX_BODY_BYTES)
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
