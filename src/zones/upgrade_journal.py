"""What an owner's upgrade of a zone has done so far, in a file: an upgrade that was killed is taken up from it.

Not for the upgrade itself (`zones.upgrading`). Written before each step that can't be read off the canister afterwards.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zones.errors import UserError
from zones.state import State, record_of

ENDLESS = 2**64
"""End of a maintenance flag that does not end by itself."""
KEPT = ("installation_id", "layout", "messages", "first_id", "last_id", "members")
"""What an upgrade must leave as it is."""


@dataclass
class Entry:
    """An upgrade under way: to which release, from which code, and how the zone was before."""

    version: int
    wasm_hash: str
    """SHA-256 of the release, hexadecimal."""
    former_hash: str
    """The code that the zone ran before, hexadecimal."""
    former_snapshots: list[str]
    """Snapshots that were there before."""
    before: dict[str, Any] = field(default_factory=dict)
    """The zone's health under the flag, before anything was changed; empty until it is known."""
    until: int = 0
    """When the maintenance flag ends by itself, ns since 1970."""
    snapshot: str = ""
    """The snapshot that was taken of the stopped zone."""
    going_back: bool = False
    """Whether the check failed and the snapshot is to be loaded."""


class Journal:
    """The file that tells of a zone's upgrade while there is one."""

    def __init__(self, state: State, path: Path) -> None:
        self._state = state
        self._path = path

    def load(self) -> Entry | None:
        """Return the upgrade that was begun and not ended; raises UserError for a file that holds none."""
        record = self._state.read(self._path)
        if not record:
            return None
        try:
            entry = record_of(Entry, record)
            for digits in (entry.wasm_hash, entry.former_hash, entry.snapshot):
                bytes.fromhex(digits)
            if entry.before and not entry.before.keys() >= {*KEPT, "version"}:
                raise ValueError(f"before is {entry.before!r}")
            return entry
        except (TypeError, ValueError) as error:
            raise UserError(f"{self._path} holds no upgrade: {error}", "remove it") from error

    def keep(self, entry: Entry) -> None:
        """Write down how far an upgrade is."""
        self._state.write(self._path, asdict(entry))

    def forget(self) -> None:
        """An upgrade has ended."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from the same upgrade; raises UserError where one is at it."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._path.with_suffix(".lock").open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError("another `zones upgrade` of this zone runs", "wait for its end") from error
            yield
