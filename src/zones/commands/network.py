"""`zones network`: start, stop and look at the local network.

Not for other networks: those run without us.
"""

from __future__ import annotations

import json
import signal
import threading

from zones import network
from zones.commands import Add, Subparsers
from zones.context import Context, Result


def register(commands: Subparsers, add: Add) -> None:
    """Add the commands of this group."""
    group = commands.add_parser(
        "network",
        help="start, stop or show the local network",
        description="Start, stop or show the local network.",
        epilog="example: zones network start",
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = add(
        actions,
        "start",
        "start an Internet Computer and a membership contract on this machine, with what was deployed before",
        _start,
        "zones network start --port 4943",
        local=True,
    )
    start.add_argument(
        "--port", type=int, default=network.DEFAULT_PORT, help="TCP port on 127.0.0.1, 0 for a free one (default: 4943)"
    )
    start.add_argument("--fresh", action="store_true", help="start empty: what was deployed before is gone")
    start.add_argument("--foreground", action="store_true", help="stay until Ctrl-C, then stop it again")
    add(
        actions,
        "stop",
        "stop the local network; `start` brings it back with what was deployed",
        _stop,
        "zones network stop",
        local=True,
    )
    add(
        actions, "status", "show whether the local network runs, and where", _status, "zones network status", local=True
    )


def _start(context: Context) -> Result | None:
    foreground = context.options.foreground
    # From here on a signal ends the network in an orderly way, however early it comes.
    ended = on_end_signal() if foreground else None
    started = network.start(context.state, context.options.port, stay=not foreground, fresh=context.options.fresh)
    data = network.describe(started, context.state.logs)
    lines = [
        f"network     {started.url} (process {started.localnet.pid})",
        f"membership  {started.membership_url} as https://{started.rpc_host}/ (process {started.membership.pid})",
        f"logs        {context.state.logs}",
    ]
    if ended is None:
        next_step = "deploy" if context.state.factory(started.url) is None else "status"
        return Result(data, [*lines, f"next: zones {next_step}"])
    print(json.dumps(data) if context.options.json else "\n".join([*lines, "stop with Ctrl-C"]), flush=True)
    try:
        wait_for_signal(ended)
    finally:
        network.stop(context.state)
    return None


def on_end_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set from now on."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    return ended


def wait_for_signal(ended: threading.Event) -> None:
    """Return once the event of `on_end_signal` is set."""
    while not ended.wait(timeout=1.0):  # a wait without a timeout would not notice signals everywhere
        pass


def _stop(context: Context) -> Result:
    stopped = network.stop(context.state)
    if stopped is None:
        return Result({"stopped": False}, ["no local network was running"])
    return Result({"stopped": True, "url": stopped.url}, [f"stopped {stopped.url}"])


def _status(context: Context) -> Result:
    known = network.find(context.state)
    if known is None:
        return Result({"running": False}, ["no local network is running", "next: zones network start"])
    data = network.describe(known, context.state.logs)
    if not known.alive():
        parts = {"localnet": known.localnet, "membership": known.membership}
        dead = ", ".join(name for name, process in parts.items() if not process.alive())
        return Result(data, [f"{known.url} has ended ({dead}): see {context.state.logs}", "next: zones network start"])
    return Result(data, [f"{key.replace('_', ' '):<15} {value}" for key, value in data.items()])
