"""The management canister's methods that deploying and upgrading need: code, status, snapshots, stop and start, top up.

Not for what a factory does with its own canisters: that happens inside it. Amounts are cycles.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from localnet import candid as c
from localnet.principal import MANAGEMENT
from zones.agent import Agent, IcAgent
from zones.calls import Method
from zones.errors import NetworkError, RejectedError, UserError

CHUNK_BYTES = 1_048_576
"""Most bytes of one chunk in the management canister's chunk store (IC interface specification)."""
WHOLE_BYTES = 1_900_000
"""A Wasm up to this size is installed in one message (2 MiB with argument and envelope)."""

_MODE = c.variant(install=c.NULL, reinstall=c.NULL, upgrade=c.opt(c.record()))
_ID = c.record(canister_id=c.PRINCIPAL)
_CHUNK_HASH = c.record(hash=c.BLOB)
_SETTINGS = c.record(controllers=c.opt(c.vec(c.PRINCIPAL)))
_CREATE = Method(
    "provisional_create_canister_with_cycles",
    [c.record(amount=c.opt(c.NAT), settings=c.opt(_SETTINGS), specified_id=c.opt(c.PRINCIPAL))],
    [_ID],
)
_INSTALL = Method("install_code", [c.record(mode=_MODE, canister_id=c.PRINCIPAL, wasm_module=c.BLOB, arg=c.BLOB)])
_INSTALL_CHUNKED = Method(
    "install_chunked_code",
    [
        c.record(
            mode=_MODE,
            target_canister=c.PRINCIPAL,
            store_canister=c.opt(c.PRINCIPAL),
            chunk_hashes_list=c.vec(_CHUNK_HASH),
            wasm_module_hash=c.BLOB,
            arg=c.BLOB,
        )
    ],
)
_UPLOAD = Method("upload_chunk", [c.record(canister_id=c.PRINCIPAL, chunk=c.BLOB)], [_CHUNK_HASH])
_CLEAR = Method("clear_chunk_store", [_ID])
_TOP_UP = Method("provisional_top_up_canister", [c.record(canister_id=c.PRINCIPAL, amount=c.NAT)])
_STATUS = Method(
    "canister_status",
    [_ID],
    [
        c.record(
            status=c.variant(running=c.NULL, stopping=c.NULL, stopped=c.NULL),
            settings=c.record(controllers=c.vec(c.PRINCIPAL)),
            module_hash=c.opt(c.BLOB),
            memory_size=c.NAT,
            cycles=c.NAT,
        )
    ],
)
_STOP = Method("stop_canister", [_ID])
_START = Method("start_canister", [_ID])
_DELETE = Method("delete_canister", [_ID])
_SNAPSHOT = Method(
    "take_canister_snapshot", [c.record(canister_id=c.PRINCIPAL, replace_snapshot=c.opt(c.BLOB))], [c.record(id=c.BLOB)]
)
_SNAPSHOTS = Method("list_canister_snapshots", [_ID], [c.vec(c.record(id=c.BLOB))])
_OF_SNAPSHOT = [c.record(canister_id=c.PRINCIPAL, snapshot_id=c.BLOB)]
_LOAD_SNAPSHOT = Method("load_canister_snapshot", _OF_SNAPSHOT)
_DELETE_SNAPSHOT = Method("delete_canister_snapshot", _OF_SNAPSHOT)

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


def create_canister(agent: IcAgent, amount: int) -> bytes:
    """Create a canister with `amount` cycles out of nothing, which only local networks allow; returns its id."""
    try:
        reply = _CREATE(agent, MANAGEMENT, {"amount": amount}, effective=_default_effective_id(agent))
    except RejectedError as error:
        raise UserError(
            f"{agent.url} gives no cycles away: {error.message}",
            "create the canister with dfx or the cycles ledger and name it with --factory",
        ) from error
    return reply["canister_id"]


def _default_effective_id(agent: IcAgent) -> bytes:
    """Return the canister id that routes a creation to an application subnet: local networks name one."""
    response = agent.get("/_/topology")
    if response.status_code != 200:
        return MANAGEMENT
    try:
        return base64.b64decode(response.json()["default_effective_canister_id"]["canister_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise NetworkError(f"{agent.url}/_/topology names no default canister id: {error}") from error


def install(
    agent: Agent,
    canister: bytes,
    wasm: bytes,
    argument: bytes,
    *,
    mode: str = "install",
    progress: Progress | None = None,
) -> None:
    """Install `wasm` (gzipped or not); `mode` is install, reinstall or upgrade. Large Wasm goes in chunks."""
    report = progress or (lambda _done, _all: None)
    if len(wasm) + len(argument) <= WHOLE_BYTES:
        install_whole = {"mode": (mode, None), "canister_id": canister, "wasm_module": wasm, "arg": argument}
        _INSTALL(agent, MANAGEMENT, install_whole, effective=canister)
        report(len(wasm), len(wasm))
        return
    hashes: list[dict[str, bytes]] = []
    for at in range(0, len(wasm), CHUNK_BYTES):
        chunk = wasm[at : at + CHUNK_BYTES]
        hashes.append(_UPLOAD(agent, MANAGEMENT, {"canister_id": canister, "chunk": chunk}, effective=canister))
        report(at + len(chunk), len(wasm))
    install_chunks = {
        "mode": (mode, None),
        "target_canister": canister,
        "chunk_hashes_list": hashes,
        "wasm_module_hash": hashlib.sha256(wasm).digest(),
        "arg": argument,
    }
    _INSTALL_CHUNKED(agent, MANAGEMENT, install_chunks, effective=canister)
    _CLEAR(agent, MANAGEMENT, {"canister_id": canister}, effective=canister)


def canister_status(agent: Agent, canister: bytes) -> dict[str, Any]:
    """Return status, controllers, module hash, memory (bytes) and cycles; for controllers of the canister only."""
    return _STATUS(agent, MANAGEMENT, {"canister_id": canister}, effective=canister)


def top_up(agent: Agent, canister: bytes, amount: int) -> None:
    """Give a canister `amount` cycles out of nothing, which only local networks allow."""
    _TOP_UP(agent, MANAGEMENT, {"canister_id": canister, "amount": amount}, effective=canister)


def stop(agent: Agent, canister: bytes) -> None:
    """Stop a canister; returns when it has stopped."""
    _STOP(agent, MANAGEMENT, {"canister_id": canister}, effective=canister)


def start(agent: Agent, canister: bytes) -> None:
    """Start a canister."""
    _START(agent, MANAGEMENT, {"canister_id": canister}, effective=canister)


def delete(agent: Agent, canister: bytes) -> None:
    """Delete a stopped canister, with the cycles that it holds."""
    _DELETE(agent, MANAGEMENT, {"canister_id": canister}, effective=canister)


def take_snapshot(agent: Agent, canister: bytes) -> bytes:
    """Take a snapshot of a canister; returns its id."""
    return _SNAPSHOT(agent, MANAGEMENT, {"canister_id": canister, "replace_snapshot": None}, effective=canister)["id"]


def snapshots(agent: Agent, canister: bytes) -> list[bytes]:
    """Return the ids of a canister's snapshots."""
    return [found["id"] for found in _SNAPSHOTS(agent, MANAGEMENT, {"canister_id": canister}, effective=canister)]


def load_snapshot(agent: Agent, canister: bytes, snapshot: bytes) -> None:
    """Put a stopped canister back to a snapshot."""
    _LOAD_SNAPSHOT(agent, MANAGEMENT, {"canister_id": canister, "snapshot_id": snapshot}, effective=canister)


def delete_snapshot(agent: Agent, canister: bytes, snapshot: bytes) -> None:
    """Delete a snapshot."""
    _DELETE_SNAPSHOT(agent, MANAGEMENT, {"canister_id": canister, "snapshot_id": snapshot}, effective=canister)
