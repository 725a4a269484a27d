"""Which root key a command trusts: the one that is named, mainnet's, or the local network's.

Not for what a key proves (`zones.certificates`).
"""

from __future__ import annotations

import argparse

from zones import certificates, network
from zones.context import Context, checked
from zones.errors import UserError
from zones.network import IC_URL

LOCAL = b"local"
"""Stands for the root key that the local network of the state folder was started with."""


def add_option(command: argparse.ArgumentParser, purpose: str, default: str) -> None:
    """Add --root-key."""
    command.add_argument(
        "--root-key",
        type=checked(_root_key),
        metavar="HEX|FILE",
        help=f"root key of the network {purpose}, `local` for the local network's (default: {default})",
    )


def named(context: Context) -> bytes | None:
    """Return the key that --root-key names, None without it."""
    key = context.options.root_key
    if key != LOCAL:
        return key
    local = network.find(context.state)
    if local is None:
        raise UserError("--root-key local: no network was started from this state folder", "zones network start")
    return certificates.root_key(local.root_key)


def known(context: Context) -> bytes | None:
    """Return the key that --root-key names, else the network's where it is known: mainnet's, the local network's."""
    key = named(context)
    if key is not None:
        return key
    if context.url == IC_URL:
        return certificates.MAINNET_ROOT_KEY
    local = network.contract_of(context.state, context.url)
    return None if local is None else certificates.root_key(local.root_key)


def _root_key(text: str) -> bytes:
    """Return the root key that is given, `LOCAL` for the one that the local network started with."""
    return LOCAL if text == LOCAL.decode() else certificates.root_key(text)
