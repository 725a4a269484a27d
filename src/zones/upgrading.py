"""An owner's upgrade of his own zone canister to a release, as the factory does it for those it controls.

The code's SHA-256 is checked before anything is touched; the maintenance flag, a snapshot and a check afterwards make
sure that a release that does not do can be undone without losing a message. What was interrupted is taken up. Not for
rollouts by the factory.
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
from zones.errors import RejectedError, ReplyError, UserError, ZonesError
from zones.factory import Factory
from zones.upgrade_journal import ENDLESS, KEPT, Entry, Journal

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
            layout=c.TEXT,
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
MOST_REFRESHES = 6
"""How often a zone is told to read who controls it, a second apart."""

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


def upgrade(
    agent: Agent, canister: bytes, factory: Factory, release: dict[str, Any], progress: Progress, journal: Journal
) -> Upgraded:
    """Upgrade a zone canister that the caller controls; puts it back and raises RejectedError when its check fails.

    An upgrade that was interrupted is taken up first, from the journal. A zone that is stopped is started.
    """
    with journal.held():
        former = journal.load()
        if former is not None:
            progress(f"taking up the upgrade to release {former.version} that was interrupted")
            done = _Upgrade(agent, canister, progress, journal, former).finish()
            if done is not None and done.digest == release["wasm_hash"]:
                return done
        return _upgrade(agent, canister, factory, release, progress, journal)


def _upgrade(
    agent: Agent, canister: bytes, factory: Factory, release: dict[str, Any], progress: Progress, journal: Journal
) -> Upgraded:
    status = management.canister_status(agent, canister)
    if status["status"][0] != "running":
        progress(f"starting the zone, which is {status['status'][0]}")
        management.start(agent, canister)
    progress("reading how the zone is")
    before = _health(agent, canister)
    if status["module_hash"] == release["wasm_hash"]:
        return Upgraded(before["version"], before["version"], release["wasm_hash"], False)
    progress("fetching the release")
    wasm = download(factory, release)
    snapshots = [snapshot.hex() for snapshot in management.snapshots(agent, canister)]
    former = (status["module_hash"] or b"").hex()
    entry = Entry(release["version"], release["wasm_hash"].hex(), former, snapshots)
    return _Upgrade(agent, canister, progress, journal, entry).carry_out(wasm)


class _Upgrade:
    """One upgrade, written down as it goes on."""

    def __init__(self, agent: Agent, canister: bytes, progress: Progress, journal: Journal, entry: Entry) -> None:
        self._agent = agent
        self._canister = canister
        self._progress = progress
        self._journal = journal
        self._entry = entry

    def carry_out(self, wasm: bytes) -> Upgraded:
        """Flag, stop, snapshot, install, start, check, and back where that fails."""
        entry = self._entry
        self._journal.keep(entry)
        entry.until = _flag(self._agent, self._canister)
        is_over = False
        try:
            entry.before = _health(self._agent, self._canister)
            self._journal.keep(entry)
            fault = self._change(wasm)
            is_over = True
        finally:
            if not is_over:
                self._progress(
                    "something went wrong: `zones upgrade` again takes it up; the maintenance flag ends by itself "
                    "within half an hour"
                )
        return self._end(fault)

    def finish(self) -> Upgraded | None:
        """Bring an upgrade that was interrupted to its end; None where it changed nothing, or the change was undone."""
        entry = self._entry
        if not entry.before:
            self._progress("that upgrade had not changed anything yet")
            self._clear("it got no further than the flag, which may not have been set, or be another's")
            return None
        status = management.canister_status(self._agent, self._canister)
        module = (status["module_hash"] or b"").hex()
        self._find_snapshot()
        if module == entry.wasm_hash and entry.going_back:
            return self._end(f"the check failed: {self._go_back()}")
        if status["status"][0] != "running":
            management.start(self._agent, self._canister)
        if module not in (entry.wasm_hash, entry.former_hash):
            self._journal.forget()
            kept = f"; the snapshot {entry.snapshot} is kept" if entry.snapshot else ""
            raise UserError(
                f"somebody installed other code on the zone meanwhile: {module or 'none'}{kept}",
                "it was started; upgrade it again",
            )
        if module == entry.former_hash:
            self._clear()
            return None
        return self._end(self._checked())

    def _change(self, wasm: bytes) -> str:
        """Stop, snapshot, install, start, check, and back where that fails; returns what went wrong, or ""."""
        agent, canister, entry = self._agent, self._canister, self._entry
        self._progress("stopping the zone")
        fault = ""
        try:
            management.stop(agent, canister)
            entry.snapshot = management.take_snapshot(agent, canister).hex()
            self._journal.keep(entry)
            self._progress("installing the release")
            management.install(agent, canister, wasm, c.encode([], []), mode="upgrade")
        except RejectedError as error:
            fault = f"the zone runs the code it ran before: {error.message}"
        finally:
            management.start(agent, canister)
        return fault or self._checked()

    def _checked(self) -> str:
        """Check the new code, and go back where that fails; returns what went wrong, or ""."""
        self._progress("checking the zone")
        problem = _problem(self._agent, self._canister, self._entry)
        return f"{problem}: {self._go_back()}" if problem else ""

    def _go_back(self) -> str:
        """Load the snapshot, unless members may have been let in since it was taken; says what was done."""
        agent, canister, entry = self._agent, self._canister, self._entry
        # Code that is too broken to be told may still be stopped in time: before the flag ends by itself.
        with contextlib.suppress(ZonesError):
            label, value = _SET_MAINTENANCE(agent, canister, {"on": True, "restoring": True})
            if label != "ok":
                return f"{self._too_late()} ({value})"
            entry.until = value or ENDLESS
        entry.going_back = True
        self._journal.keep(entry)
        management.stop(agent, canister)
        try:
            if time.time() + FLAG_MARGIN_SECONDS >= entry.until / 1e9:
                return self._too_late()
            management.load_snapshot(agent, canister, bytes.fromhex(entry.snapshot))
        finally:
            management.start(agent, canister)
        return "the zone was put back to what it was before"

    def _too_late(self) -> str:
        """Keep the snapshot for whoever looks into it."""
        snapshot, self._entry.snapshot = self._entry.snapshot, ""
        return f"it was too late to go back, the new code stays, and the snapshot {snapshot}"

    def _find_snapshot(self) -> None:
        """Learn of a snapshot that was taken and could not be written down any more."""
        if not self._entry.snapshot:
            there = [found.hex() for found in management.snapshots(self._agent, self._canister)]
            new = [found for found in there if found not in self._entry.former_snapshots]
            self._entry.snapshot = new[0] if len(new) == 1 else ""

    def _end(self, fault: str) -> Upgraded:
        self._clear(fault)
        if fault:
            raise RejectedError(fault)
        entry = self._entry
        return Upgraded(entry.before["version"], entry.version, bytes.fromhex(entry.wasm_hash), True)

    def _clear(self, fault: str = "") -> None:
        """Let members in, delete the snapshot: the upgrade is over."""
        try:
            _SET_MAINTENANCE(self._agent, self._canister, {"on": False, "restoring": False})
        except (RejectedError, ReplyError):
            if not fault:  # code that does not work can't be told; the flag ends by itself
                raise
        left = [found.hex() for found in management.snapshots(self._agent, self._canister)]
        if self._entry.snapshot in left:
            management.delete_snapshot(self._agent, self._canister, bytes.fromhex(self._entry.snapshot))
        self._journal.forget()


def _problem(agent: Agent, canister: bytes, entry: Entry) -> str:
    before = entry.before
    try:
        after = _health(agent, canister)
    except ZonesError as error:
        return f"the new code does not tell its health: {error.message}"
    if after["version"] != entry.version:
        return f"the zone says version {after['version']}, the release is {entry.version}"
    # Once the flag has ended members are let in, and what they do changes the counts.
    kept = KEPT if after["maintenance_until"] is not None else KEPT[:2]
    changed = [f"{name} was {before[name]} and is {after[name]}" for name in kept if before[name] != after[name]]
    return ", ".join(changed)


def _flag(agent: Agent, canister: bytes) -> int:
    """Set the maintenance flag; returns when it ends by itself (ns)."""
    return ok_or_raise("set_maintenance", _SET_MAINTENANCE(agent, canister, {"on": True, "restoring": False}))


def _health(agent: Agent, canister: bytes) -> dict[str, Any]:
    """Return how the zone is; it learns that the caller controls it if it does not know yet."""
    refreshes = 0
    while True:
        try:
            return _HEALTH(agent, canister)
        except RejectedError as error:
            if "refresh_controllers" not in error.message or refreshes == MOST_REFRESHES:
                raise
        if refreshes:
            # It reads them once in 5 seconds, and may have done so before they changed.
            time.sleep(1)
        _REFRESH(agent, canister)
        refreshes += 1
