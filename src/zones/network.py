"""The local network: localnet and a membership contract beside it, as background processes of a state folder.

Not for other networks, which are only named here (`resolve`); nobody starts those from here.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from zones import processes
from zones.agent import IcAgent
from zones.errors import UserError
from zones.identity import Anonymous
from zones.membership import Roles
from zones.processes import Running
from zones.state import State, record_of

DEFAULT_PORT = 4943
"""The port dfx's local network has, too: tools find either there."""
IC_URL = "https://icp-api.io"
_HOST = re.compile(r"[A-Za-z0-9.:-]+")
_STOPPED = "stopped"
"""What was deployed to the local network is noted under this name, not a URL, while it is not running."""
_NETWORKS = "name local, ic or a URL such as http://127.0.0.1:4943"
RPC_HOST = "contract.zone.test"
"""Host name that zones on a local network reach their membership contract by (mapped to 127.0.0.1 by localnet)."""


@dataclass(frozen=True)
class LocalNetwork:
    """A running local network: its URL, the two processes, where the membership contract answers."""

    url: str
    rpc_host: str
    membership_url: str
    localnet: Running
    membership: Running
    kept: bool = True
    """Whether its state is kept in the state folder."""
    root_key: str = ""
    """Public key that it certifies with, in hexadecimal digits."""

    def stop(self) -> None:
        """End both processes."""
        self.localnet.stop()
        self.membership.stop()

    def alive(self) -> bool:
        """Tell whether both processes run."""
        return self.localnet.alive() and self.membership.alive()


def resolve(state: State, named: str) -> str:
    """Return the URL of the network `named`: local, ic or a URL."""
    if named == "ic":
        return IC_URL
    if named == "local":
        local = find(state)
        return f"http://127.0.0.1:{DEFAULT_PORT}" if local is None else local.url
    try:
        url = httpx.URL(named.rstrip("/"))
    except (httpx.InvalidURL, ValueError) as error:
        raise UserError(f"{named!r} is no network: {error}", _NETWORKS) from error
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.host):
        raise UserError(f"{named!r} is no network", _NETWORKS)
    return str(url)


def find(state: State) -> LocalNetwork | None:
    """Return the local network recorded in the state folder, running or not."""
    record = state.network()
    if not record:
        return None
    try:
        both = {name: record_of(Running, record[name]) for name in ("localnet", "membership")}
        return record_of(LocalNetwork, {**record, **both})
    except (KeyError, TypeError) as error:
        raise UserError(f"{state.network_file} is no record of a network: {error}", "remove it") from error


def start(
    state: State, port: int = DEFAULT_PORT, *, stay: bool = True, fresh: bool = False, kept: bool = True
) -> LocalNetwork:
    """Start the two processes and record them; port 0 takes a free one. With `stay` they outlive this process.

    The network goes on with the state it had when it ended, however it ended; with `fresh` it starts empty. Without
    `kept` it is another one, which is gone at its end.
    """
    known = find(state)
    if known is not None and known.alive():
        raise UserError(
            f"a network of this state folder runs already at {known.url} (process {known.localnet.pid})",
            "stop it with `zones network stop`",
        )
    if known is not None:
        _end(state, known)
    if port:
        processes.require_free_port(port)
    if fresh:
        _remove_state(state)
    goes_on = kept and state.localnet.exists()
    Roles.load(state.roles_file).save(state.roles_file)
    membership, membership_port = _start_module(state, "zones.membership", ["--roles", str(state.roles_file)], stay)
    membership_url = f"http://127.0.0.1:{membership_port}"
    try:
        options = ["--listen", f"127.0.0.1:{port}", "--auto-progress", "--outcall", f"{RPC_HOST}={membership_url}"]
        if kept:
            options += ["--state-dir", str(state.localnet)]
        localnet, port = _start_module(state, "localnet", options, stay)
    except BaseException:
        membership.stop()
        raise
    url = f"http://127.0.0.1:{port}"
    try:
        root_key = _root_key(url)
    except BaseException:
        localnet.stop()
        membership.stop()
        raise
    network = LocalNetwork(url, RPC_HOST, membership_url, localnet, membership, kept, root_key.hex())
    if goes_on:
        state.move(_STOPPED, network.url)
    else:
        state.forget(network.url)  # a new network is empty
        state.forget_zones(root_key)
    state.write(state.network_file, asdict(network))
    return network


def _root_key(url: str) -> bytes:
    agent = IcAgent(url, Anonymous())
    try:
        return agent.status()["root_key"]
    finally:
        agent.close()


def _end(state: State, network: LocalNetwork) -> None:
    """End the processes and the record of a network; what was deployed to it is kept where its state is."""
    network.stop()
    if network.kept:
        state.move(network.url, _STOPPED)
    else:
        state.forget(network.url)
    state.network_file.unlink(missing_ok=True)
    for port_file in state.root.glob("*.port"):
        port_file.unlink(missing_ok=True)


def _remove_state(state: State) -> None:
    try:
        shutil.rmtree(state.localnet)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f"{state.localnet} can't be removed: {error}", "remove it yourself") from error
    state.forget(_STOPPED)


def _start_module(state: State, module: str, options: list[str], stay: bool) -> tuple[Running, int]:
    port_file = state.root / f"{module}.port"
    command = [sys.executable, "-m", module, *options, "--port-file", str(port_file)]
    return processes.start(command, state.logs / f"{module}.log", port_file, stay=stay)


def stop(state: State) -> LocalNetwork | None:
    """End the local network; returns what was stopped, None when nothing ran."""
    network = find(state)
    if network is None:
        return None
    was_running = network.localnet.alive() or network.membership.alive()
    _end(state, network)
    return network if was_running else None


def describe(network: LocalNetwork, logs: Path) -> dict[str, Any]:
    """Return what `--json` shows of a network."""
    return {
        "url": network.url,
        "running": network.alive(),
        "localnet_pid": network.localnet.pid,
        "membership_url": network.membership_url,
        "membership_pid": network.membership.pid,
        "rpc_host": network.rpc_host,
        "root_key": network.root_key,
        "logs": str(logs),
    }


def contract_of(state: State, url: str) -> LocalNetwork | None:
    """Return the local network when `url` is it and it runs: then this folder's roles file is the contract."""
    network = find(state)
    return network if network is not None and network.url == url and network.alive() else None
