"""The networks of one server process, their auto-progress threads and their HTTP gateways."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

from localnet.errors import BadRequest
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.outcall_client import OutcallClient
from localnet.prices import Capacity, Limits
from localnet.progress import AutoProgress
from localnet.runtime import Shims
from localnet.system_api import signatures

_NUMBER = re.compile("[0-9]{1,9}")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket without Nagle's delay. Raises ``OSError``."""
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # asyncio sets this only on sockets that name TCP as their protocol, which create_server's don't.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@dataclass
class Instance:
    """A network and its number."""

    id: int
    network: Network
    client: OutcallClient
    _progress: AutoProgress | None = field(default=None)

    @property
    def auto_progress(self) -> bool:
        """True while rounds are executed without the client asking for them."""
        return self._progress is not None

    def start_progress(self) -> None:
        """Switch auto-progress on."""
        if self._progress is None:
            self._progress = AutoProgress(self.network, self.client)
            self._progress.start()

    def stop_progress(self) -> None:
        """Switch auto-progress off. The network's lock must not be held."""
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.stop()


@dataclass
class Gateway:
    """An HTTP server for one instance's ``/api/v2``."""

    instance: int
    port: int
    server: uvicorn.Server
    task: asyncio.Task[None]


@dataclass(frozen=True)
class Options:
    """What every network of a process is created with."""

    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    capacity: Capacity = field(default_factory=Capacity)
    outcalls: Sequence[str] = ()
    verbose: bool = False


class Instances:
    """Creates and finds the networks of the process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._client = OutcallClient(options.outcalls)
        self._modules = ModuleCache(signatures())
        self._shims = Shims(self._modules.engine)
        self._all: list[Instance | None] = []
        self._lock = threading.Lock()
        self.gateways: dict[int, Gateway] = {}
        self._next_gateway = 0
        self.gateway_app: Callable[[Instance], Starlette] | None = None

    def create(self, kinds: Iterable[str], start: int | None = None) -> Instance:
        """Create a network of subnets of these kinds; ``start`` is its first time in nanoseconds."""
        options = self._options
        network = Network(
            kinds,
            self._modules,
            seed=options.seed,
            limits=options.limits,
            capacity=options.capacity,
            shims=self._shims,
            verbose=options.verbose,
        )
        if start is not None:
            network.clock.now = start
        with self._lock:
            instance = Instance(len(self._all), network, self._client)
            self._all.append(instance)
        return instance

    def get(self, number: str) -> Instance:
        """The instance with that number. Raises `BadRequest`."""
        known = _NUMBER.fullmatch(number) and int(number) < len(self._all)
        instance = self._all[int(number)] if known else None
        if instance is None:
            raise BadRequest(f"no instance {number!r}", 404)
        return instance

    def delete(self, number: str) -> None:
        """Delete an instance and everything in it."""
        instance = self.get(number)
        instance.stop_progress()
        self._all[instance.id] = None

    def network_of_root_key(self, der_key: bytes) -> Network | None:
        """The network with that root key, if one has it."""
        for instance in self._all:
            if instance is not None and instance.network.root.certifier.der_public_key == der_key:
                return instance.network
        return None

    def states(self) -> list[str]:
        """``Available`` or ``Deleted`` for every instance ever created."""
        return ["Deleted" if instance is None else "Available" for instance in self._all]

    async def open_gateway(self, instance: Instance, address: str, port: int) -> tuple[int, int]:
        """Listen on an address; returns the gateway's number and port. Raises ``OSError``."""
        assert self.gateway_app is not None
        listener = listen(address, port)
        config = uvicorn.Config(self.gateway_app(instance), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        number = self._next_gateway
        self._next_gateway += 1
        self.gateways[number] = Gateway(instance.id, listener.getsockname()[1], server, task)
        return number, self.gateways[number].port

    async def close_gateway(self, number: str) -> None:
        """Stop a gateway. Raises `BadRequest` when there is none with that number."""
        gateway = self.gateways.pop(int(number), None) if _NUMBER.fullmatch(number) else None
        if gateway is None:
            raise BadRequest(f"no HTTP gateway {number!r}", 404)
        gateway.server.should_exit = True
        await gateway.task
