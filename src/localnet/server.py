"""The HTTP server: puts the two interfaces on one port and ends itself when nobody uses it.

Which requests there are is in `pocketic_api` and `ic_api`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localnet import ic_api, pocketic_api
from localnet.errors import BadRequest
from localnet.http_gateway import HttpGateway
from localnet.instances import Instance, Instances, Options, listen
from localnet.network import Network
from localnet.workers import Workers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TTL_CHECK_SECONDS = 0.5


class Activity:
    """Wraps an application and knows when it was last used."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._last = time.monotonic()
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting it."""
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
            self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request ended; 0 while one is running."""
        return 0.0 if self._open else time.monotonic() - self._last


def application(routes: list[Route]) -> Starlette:
    """An application whose errors say what is wrong in JSON, usable from web pages of any origin."""
    cors = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    return Starlette(routes=routes, middleware=[cors], exception_handlers={HTTPException: _explain})


async def _explain(request: Request, error: Exception) -> Response:
    """Unknown paths and methods."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.scope['path']}: {error.detail}: this server has no such endpoint"
    return JSONResponse({"message": message}, status_code=error.status_code, headers=error.headers)


class LocalServer:
    """One server process."""

    def __init__(
        self,
        options: Options,
        *,
        ttl: float | None,
        standalone: bool,
        auto_progress: bool,
        state_dir: Path | None = None,
    ) -> None:
        """Raises `StateError` or `BadRequest` when the standalone network cannot be loaded from ``state_dir``."""
        self._workers = Workers()
        self._instances = Instances(options)
        self._instances.gateway_app = self._gateway
        self._ttl = ttl
        routes = pocketic_api.routes(self._instances, self._workers)
        routes += ic_api.routes("/instances/{instance}", self._instance_network, self._workers)
        if standalone:
            instance = self._instances.create(["Application"], state_dir=state_dir)
            if auto_progress:
                instance.start_progress()
            app = self._served(routes, lambda _request: instance.network)
        else:
            app = application(routes)
        self._app = Activity(app)

    def close(self) -> None:
        """Save the networks that have a state folder. Raises `StateError` when one can't be."""
        self._instances.close()

    def _instance_network(self, request: Request) -> Network:
        return self._instances.get(request.path_params["instance"]).network

    def _gateway(self, instance: Instance) -> Starlette:
        def network(_request: Request) -> Network:
            if self._instances.states()[instance.id] == "Deleted":
                raise BadRequest("the instance behind this gateway is deleted", 404)
            return instance.network

        return self._served([], network)

    def _served(self, routes: list[Route], network_of: Callable[[Request], Network]) -> Starlette:
        """An application with one network's ``/api/v2`` at its root, and its canisters' web pages on their hosts."""
        app = application([*routes, *ic_api.routes("", network_of, self._workers)])
        app.router.default = HttpGateway(network_of, self._workers, app.router.default)
        return app

    async def serve(self, host: str, port: int, port_file: Path | None) -> None:
        """Listen until stopped or unused for too long. Raises ``OSError`` when the address is taken."""
        listener = listen(host, port)
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            http="httptools",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        if port_file is not None:
            partial = port_file.with_name(port_file.name + ".partial")
            partial.write_text(f"{listener.getsockname()[1]}\n", encoding="utf-8")
            partial.replace(port_file)
        watch = asyncio.create_task(self._watch(server))
        try:
            await server.serve(sockets=[listener])
        finally:
            watch.cancel()

    async def _watch(self, server: uvicorn.Server) -> None:
        while self._ttl is not None:
            await asyncio.sleep(min(TTL_CHECK_SECONDS, self._ttl))
            if self._app.idle_seconds > self._ttl:
                server.should_exit = True
                return
