"""The options that tell where a zone's contract is asked. Not for the contract's address, the zone's id."""

from __future__ import annotations

import argparse

from zones import checks
from zones.context import checked


def add(command: argparse.ArgumentParser, host: str) -> None:
    """Add --rpc-host, of which `host` is the help, --rpc-path and --call-token."""
    command.add_argument("--rpc-host", type=checked(checks.host), metavar="HOST", help=host)
    command.add_argument("--rpc-path", default="/", metavar="PATH", help="path on that host (default: /)")
    command.add_argument(
        "--call-token", type=checked(checks.call_token), metavar="HEX", help="32-byte token the contract asks for"
    )
