"""The networks of one server process, their auto-progress threads and their HTTP gateways."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from localnet.checkpoint import Setup
from localnet.errors import BadRequest
from localnet.image import StateError
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.outcall_client import OutcallClient
from localnet.prices import Capacity, Limits
from localnet.progress import AutoProgress
from localnet.runtime import Shims
from localnet.state_folder import StateFolder
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
    folder: StateFolder | None = None
    """Where its state is kept, if anywhere."""
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

    def close(self) -> None:
        """Stop it for good, saving its state where it has a folder. Raises `StateError` when that fails."""
        self.stop_progress()
        if self.folder is not None:
            with self.network.lock:
                self.folder.close()


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

    def create(self, kinds: Sequence[str], start: int | None = None, state_dir: Path | None = None) -> Instance:
        """Create a network of subnets of these kinds; ``start`` is its first time in nanoseconds.

        With ``state_dir`` its state is kept in that folder. If there is one already the network goes on from it, as
        on PocketIC: it has the subnets it had, whatever the kinds are, and ``start`` counts unless its time is later.
        Raises `StateError` when the folder can't be used, `BadRequest` for another seed, or without any subnet.
        """
        folder = StateFolder(state_dir) if state_dir is not None else None
        try:
            network = folder.load(self._network) if folder is not None else None
            if network is None:
                if not kinds:
                    raise BadRequest("SubnetConfigSet must contain at least one subnet")
                network = self._network(
                    Setup(list(kinds), self._options.seed, self._options.limits, self._options.capacity)
                )
                if start is not None:
                    network.clock.now = start
                if folder is not None:
                    folder.attach(network)
            elif folder is not None:
                if network.seed != self._options.seed:
                    text = f"the state folder holds a network of seed {network.seed}, not {self._options.seed}"
                    raise BadRequest(text)
                folder.attach(network)
                wanted = self._options.limits, self._options.capacity
                if (network.limits, network.capacity) != wanted:
                    network.set_limits(*(list(astuple(bounds)) for bounds in wanted))
                if start is not None and start > network.clock.now:
                    network.set_time(start)
        except BaseException:
            if folder is not None:
                folder.close()
            raise
        with self._lock:
            instance = Instance(len(self._all), network, self._client, folder)
            self._all.append(instance)
        return instance

    def _network(self, setup: Setup) -> Network:
        return Network(
            setup.kinds,
            self._modules,
            seed=setup.seed,
            limits=setup.limits,
            capacity=setup.capacity,
            shims=self._shims,
            verbose=self._options.verbose,
        )

    def get(self, number: str) -> Instance:
        """The instance with that number. Raises `BadRequest`."""
        known = _NUMBER.fullmatch(number) and int(number) < len(self._all)
        instance = self._all[int(number)] if known else None
        if instance is None:
            raise BadRequest(f"no instance {number!r}", 404)
        return instance

    def delete(self, number: str) -> None:
        """Delete an instance, saving its state where it has a folder. Raises `StateError` when that fails."""
        instance = self.get(number)
        self._all[instance.id] = None
        instance.close()

    def close(self) -> None:
        """Stop every network, saving those that have a folder. Raises `StateError` for the first that can't be."""
        failures = []
        for instance in self._all:
            if instance is not None:
                try:
                    instance.close()
                except StateError as error:
                    failures.append(error)
        self._all = [None] * len(self._all)
        if failures:
            raise failures[0]

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
