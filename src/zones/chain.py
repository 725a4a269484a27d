"""A zone's contract on its chain, asked over JSON-RPC: which chain has it, its version, who owns it.

Not for roles: zone canisters look those up. A node is trusted as far as what it says is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from zones.membership import OWNER, VERSION

TIMEOUT_SECONDS = 10.0
WORD_BYTES, ADDRESS_BYTES = 32, 20


@dataclass(frozen=True)
class Contract:
    """What nodes say of a contract: the node that has it (None: none has), its version and owner (0x...) where told.

    `fault` says what went wrong with nodes that did not answer.
    """

    node: str | None = None
    version: int | None = None
    owner: str | None = None
    fault: str | None = None


class Reverted(Exception):
    """The contract has no such function, or refused."""


class NodeError(Exception):
    """The node did not answer as nodes do."""


def contract_at(client: httpx.Client, nodes: Sequence[tuple[str, str]], address: str) -> Contract:
    """Ask nodes, (name, URL) each, in their order for the contract at an address until one has it."""
    faults = []
    for name, url in nodes:
        try:
            version, found = _told(client, url, address, VERSION)
            if not found:
                continue
            owner, _ = _told(client, url, address, OWNER)
        except NodeError as error:
            faults.append(f"{name}: {error}")
            continue
        shown = None if owner is None else "0x" + owner.to_bytes(WORD_BYTES, "big")[-ADDRESS_BYTES:].hex()
        return Contract(name, version, shown)
    return Contract(fault="; ".join(faults) or None)


def _told(client: httpx.Client, url: str, address: str, selector: bytes) -> tuple[int | None, bool]:
    """Return the word that a function answers (None where it has none) and whether there is a contract at all."""
    try:
        word = _call(client, url, address, selector)
    except Reverted:
        return None, True
    return (int.from_bytes(word, "big"), True) if len(word) == WORD_BYTES else (None, bool(word))


def _call(client: httpx.Client, url: str, address: str, selector: bytes) -> bytes:
    """Return what a contract answers; no bytes from an address without one. Raises Reverted and NodeError."""
    call = {"to": address, "data": "0x" + selector.hex()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
    try:
        response = client.post(url, json=body, timeout=TIMEOUT_SECONDS)
        answer: Any = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, ValueError) as error:
        raise NodeError(str(error) or type(error).__name__) from error
    if not isinstance(answer, dict):
        raise NodeError(f"HTTP status {response.status_code}: {response.text[:80]!r}")
    if answer.get("error"):
        text = str(answer["error"])
        if "revert" in text:
            raise Reverted(text)
        raise NodeError(text[:200])
    try:
        return bytes.fromhex(answer["result"].removeprefix("0x"))
    except (KeyError, AttributeError, ValueError) as error:
        raise NodeError(f"the answer has no result: {str(answer)[:80]}") from error
