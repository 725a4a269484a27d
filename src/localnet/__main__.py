"""The program ``localnet``: reads the command line and starts the server.

PocketIC's clients start the program for every instance they create: one that finds its port file taken by a
server that answers ends at once, so everything heavy is imported after that check.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from localnet.prices import Capacity, Limits

DEFAULT_TTL_SECONDS = 60.0
EPILOG = """\
examples:
  localnet --port-file /tmp/port                  as POCKET_IC_BIN: clients create instances
  localnet --listen 127.0.0.1:4943 --auto-progress --outcall rpc.example.org=http://127.0.0.1:8545
                                                  one network for agents, in real time
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = Limits()
    found = argparse.ArgumentParser(
        prog="localnet",
        description="An Internet Computer on this machine, with PocketIC's and the IC's HTTP interfaces.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--port-file", type=Path, metavar="FILE", help="write the port and a newline to this file")
    found.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    found.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="standalone: create one network at once and serve its /api/v2 at this address; implies --keep-alive",
    )
    found.add_argument("--auto-progress", action="store_true", help="with --listen: real time, rounds by themselves")
    found.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="with --listen: keep the network's state in this folder, and go on from what is there",
    )
    found.add_argument(
        "--outcall",
        action="append",
        default=[],
        metavar="HOST=http://127.0.0.1:PORT",
        help="send HTTPS outcalls for HOST to this address (with auto-progress; may be repeated)",
    )
    found.add_argument(
        "--ttl",
        type=float,
        default=DEFAULT_TTL_SECONDS,
        metavar="SECONDS",
        help="end after this long without a request (default %(default)s)",
    )
    found.add_argument("--keep-alive", action="store_true", help="never end by itself")
    found.add_argument("--seed", type=int, default=0, help="fixes keys, ids and randomness (default %(default)s)")
    for kind in ("update", "query", "install"):
        found.add_argument(
            f"--instruction-limit-{kind}",
            type=int,
            default=getattr(defaults, kind),
            metavar="N",
            help=f"instructions of one {kind} message (default %(default)s)",
        )
    for name, text in (("memory", "bytes"), ("memory-threshold", "bytes without reservation"), ("compute", "percent")):
        found.add_argument(
            f"--subnet-{name}",
            type=int,
            default=getattr(Capacity(), name.replace("-", "_")),
            metavar="N",
            help=f"{text} the canisters of one subnet can have together (default %(default)s)",
        )
    found.add_argument("--verbose", action="store_true", help="show what canisters print")
    return found


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"--listen {text!r} is no address of the form HOST:PORT")
    return host.strip("[]"), int(port)


def claim(port_file: Path) -> bool:
    """Reserve a port file. False when a running server has it; one left behind by a dead server is replaced."""
    try:
        port_file.touch(exist_ok=False)
    except FileExistsError:
        text = port_file.read_text(encoding="utf-8").strip()
        if not text.isdigit():
            # Another server is just starting.
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(text)), timeout=1):
            return False
        port_file.write_text("", encoding="utf-8")
    return True


def program(arguments: list[str] | None = None) -> int:
    """Run the server until it is stopped. Returns the exit code: 0, or 2 for a wrong command line."""
    faulthandler.enable()
    found = parser()

    options = found.parse_args(arguments)
    if options.port_file is not None and not claim(options.port_file):
        return 0
    try:
        return run(options)
    finally:
        if options.port_file is not None:
            options.port_file.unlink(missing_ok=True)


def run(options: argparse.Namespace) -> int:
    """Run the server with parsed options. Returns the exit code: 1 when a network's state could not be saved."""
    from localnet.errors import BadRequest
    from localnet.image import StateError
    from localnet.instances import Options
    from localnet.outcall_client import parse_mapping
    from localnet.server import LocalServer

    try:
        for mapping in options.outcall:
            parse_mapping(mapping)
        host, port = _address(options.listen) if options.listen else ("127.0.0.1", options.port)
        if options.auto_progress and not options.listen:
            raise ValueError("--auto-progress needs --listen: other networks are switched by their client")
        if options.state_dir is not None and not options.listen:
            raise ValueError("--state-dir needs --listen: other networks get their folder from their client")
        if options.ttl <= 0:
            raise ValueError(f"--ttl {options.ttl} must be more than 0 seconds")
    except ValueError as error:
        print(f"localnet: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    limits = Limits(
        update=options.instruction_limit_update,
        query=options.instruction_limit_query,
        install=options.instruction_limit_install,
    )
    capacity = Capacity(options.subnet_memory, options.subnet_memory_threshold, options.subnet_compute)
    try:
        server = LocalServer(
            Options(options.seed, limits, capacity, options.outcall, options.verbose),
            ttl=None if options.keep_alive or options.listen else options.ttl,
            standalone=bool(options.listen),
            auto_progress=options.auto_progress,
            state_dir=options.state_dir,
        )
    except (StateError, BadRequest) as error:
        print(f"localnet: {error}", file=sys.stderr)
        return 2
    try:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(server.serve(host, port, options.port_file))
        finally:
            server.close()
    except StateError as error:
        print(f"localnet: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"localnet: cannot listen on {host}:{port}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def main() -> None:
    """Entry point of the command line: ends the process even while threads still run a canister."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        code = program()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
