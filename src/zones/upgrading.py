"""An owner's upgrade of his own zone canister to a release, as the factory does it for those it controls.

The code's SHA-256 is checked before anything is touched; the maintenance flag, a snapshot and a check afterwards make
sure that a release that does not do can be undone without losing a message. Not for rollouts by the factory.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from zones import management
from zones.agent import Agent
from zones.calls import Method, ok_or_raise
from zones.errors import RejectedError, UserError, ZonesError
from zones.factory import Factory

FLAG_MARGIN_SECONDS = 60
"""How long before the maintenance flag ends by itself nothing is taken back any more."""

_SET_MAINTENANCE = Method(
    "set_maintenance", [c.record(on=c.BOOL, restoring=c.BOOL)], [c.variant(ok=c.NAT64, err=c.TEXT)]
)
_HEALTH = Method(
    "get_health",
    [],
    [
        c.record(
            version=c.NAT,
            installation_id=c.INT,
            maintenance_until=c.opt(c.NAT64),
            messages=c.NAT,
            first_id=c.NAT32,
            last_id=c.NAT32,
            members=c.NAT,
        )
    ],
    query=True,
)
_REFRESH = Method("refresh_controllers", [], [c.record()])
KEPT = ("installation_id", "messages", "first_id", "last_id", "members")
"""What an upgrade must leave as it is."""

Progress = Callable[[str], None]
"""Called with what is being done."""


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade came to: versions of the code, the release's SHA-256, False where it ran already."""

    before: int
    after: int
    digest: bytes
    changed: bool


def find_release(factory: Factory, version: int | None, sha256: bytes | None) -> dict[str, Any]:
    """Return a release of the factory, the current one without a version; `sha256` is what its hash has to be."""
    release = factory.release() if version is None else factory.find_release(version)
    if release is None:
        raise UserError(
            "the factory has no release yet" if version is None else f"the factory has no release {version}"
        )
    if not release["chunks"]:
        raise UserError(f"the code of release {release['version']} is not kept by the factory any more")
    if sha256 is not None and release["wasm_hash"] != sha256:
        raise UserError(f"release {release['version']} has SHA-256 {release['wasm_hash'].hex()}, not {sha256.hex()}")
    return release


def download(factory: Factory, release: dict[str, Any]) -> bytes:
    """Fetch the code of a release chunk by chunk; raises UserError unless it has the release's SHA-256."""
    wasm = b"".join(factory.release_chunk(release["wasm_hash"], index) for index in range(release["chunks"]))
    digest = hashlib.sha256(wasm).digest()
    if digest != release["wasm_hash"]:
        raise UserError(
            f"what the factory sent has SHA-256 {digest.hex()}, release {release['version']} has "
            f"{release['wasm_hash'].hex()}: nothing was changed"
        )
    return wasm


def upgrade(agent: Agent, canister: bytes, factory: Factory, release: dict[str, Any], progress: Progress) -> Upgraded:
    """Upgrade a zone canister that the caller controls; puts it back and raises RejectedError when its check fails."""
    status = management.canister_status(agent, canister)
    if status["status"][0] != "running":
        raise UserError(f"the canister is {status['status'][0]}: start it first")
    progress("reading how the zone is")
    before = _health(agent, canister)
    if status["module_hash"] == release["wasm_hash"]:
        return Upgraded(before["version"], before["version"], release["wasm_hash"], False)
    progress("fetching the release")
    wasm = download(factory, release)
    until = _flag(agent, canister, restoring=False)
    is_cleared = False
    try:
        before = _health(agent, canister)
        fault = _change(agent, canister, wasm, release["version"], before, until, progress)
        _SET_MAINTENANCE(agent, canister, {"on": False, "restoring": False})
        is_cleared = True
    finally:
        if not is_cleared:
            progress("something went wrong: the maintenance flag ends by itself within half an hour")
    if fault:
        raise RejectedError(fault)
    return Upgraded(before["version"], release["version"], release["wasm_hash"], True)


def _change(
    agent: Agent, canister: bytes, wasm: bytes, version: int, before: dict[str, Any], until: int, progress: Progress
) -> str:
    """Stop, snapshot, install, start, check, and back where that fails; returns what went wrong, or ""."""
    progress("stopping the zone")
    fault, snapshot = "", b""
    try:
        management.stop(agent, canister)
        snapshot = management.take_snapshot(agent, canister)
        progress("installing the release")
        management.install(agent, canister, wasm, c.encode([], []), mode="upgrade")
    except RejectedError as error:
        fault = f"the zone runs the code it ran before: {error.message}"
    finally:
        management.start(agent, canister)
    if not fault:
        progress("checking the zone")
        problem = _problem(agent, canister, version, before)
        fault = f"{problem}: {_go_back(agent, canister, snapshot, until)}" if problem else ""
    if snapshot:
        management.delete_snapshot(agent, canister, snapshot)
    return fault


def _problem(agent: Agent, canister: bytes, version: int, before: dict[str, Any]) -> str:
    try:
        after = _health(agent, canister)
    except ZonesError as error:
        return f"the new code does not tell its health: {error.message}"
    if after["version"] != version:
        return f"the zone says version {after['version']}, the release is {version}"
    changed = [f"{name} was {before[name]} and is {after[name]}" for name in KEPT if before[name] != after[name]]
    return ", ".join(changed)


def _go_back(agent: Agent, canister: bytes, snapshot: bytes, until: int) -> str:
    """Load the snapshot, unless members may have been let in since it was taken; says what was done."""
    # Code that is too broken to be told may still be stopped in time: before the flag ends by itself.
    with contextlib.suppress(ZonesError):
        until = _flag(agent, canister, restoring=True) or 2**64
    management.stop(agent, canister)
    try:
        if time.time() + FLAG_MARGIN_SECONDS >= until / 1e9:
            return "it was too late to go back, the new code stays"
        management.load_snapshot(agent, canister, snapshot)
    finally:
        management.start(agent, canister)
    return "the zone was put back to what it was before"


def _flag(agent: Agent, canister: bytes, *, restoring: bool) -> int:
    """Set or hold the maintenance flag; returns when it ends by itself (ns), 0 for not."""
    return ok_or_raise("set_maintenance", _SET_MAINTENANCE(agent, canister, {"on": True, "restoring": restoring}))


def _health(agent: Agent, canister: bytes) -> dict[str, Any]:
    """Return how the zone is; it learns that the caller controls it if it does not know yet."""
    try:
        return _HEALTH(agent, canister)
    except RejectedError as error:
        if "refresh_controllers" not in error.message:
            raise
    _REFRESH(agent, canister)
    return _HEALTH(agent, canister)
