"""Client of the factory canister: zone releases, admins and what they did, figures.

Not for installing the factory itself (`zones.deployment`) or creating zones (`zones.creations`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from zones.agent import Agent
from zones.calls import Method, ok_or_raise, pages
from zones.management import Progress

CHUNK_BYTES = 1_048_576
"""Most bytes of one chunk of a release."""
PAGE = 200
"""Most entries of the audit log in one reply."""
RELEASES_PAGE = 100
"""Most releases in one reply."""

_UPLOAD = Method(
    "upload_release_chunk",
    [c.record(wasm_hash=c.BLOB, index=c.NAT32, data=c.BLOB)],
    [c.variant(ok=c.NAT32, err=c.TEXT)],
)
_PUBLISH = Method(
    "publish_release",
    [c.record(version=c.NAT, wasm_hash=c.BLOB, notes=c.TEXT)],
    [c.variant(ok=c.NULL, err=c.TEXT)],
)
_RELEASE_RECORD = c.record(
    version=c.NAT,
    wasm_hash=c.BLOB,
    size=c.NAT64,
    notes=c.TEXT,
    published_at=c.NAT64,
    retired_at=c.opt(c.NAT64),
    chunks=c.NAT32,
)
_RELEASE = Method("get_release", [], [c.opt(_RELEASE_RECORD)], query=True)
_RELEASES = Method(
    "get_releases",
    [c.opt(c.NAT), c.NAT32],
    [c.record(releases=c.vec(_RELEASE_RECORD), total=c.NAT32)],
    query=True,
)
_RETIRE = Method("retire_release", [c.NAT], [c.variant(ok=c.NULL, err=c.TEXT)])
_CHUNK = Method("get_release_chunk", [c.BLOB, c.NAT32], [c.variant(ok=c.BLOB, err=c.TEXT)], query=True)
_UPLOADED = Method("get_release_upload", [c.BLOB], [c.opt(c.record(chunks=c.NAT32, bytes=c.NAT64))], query=True)
_REFRESH_CONTROLLERS = Method("refresh_controllers", [], [c.vec(c.PRINCIPAL)])
_ADMINS = Method("get_admins", [], [c.vec(c.PRINCIPAL)], query=True)
_ADD_ADMIN = Method("add_admin", [c.PRINCIPAL], [c.variant(ok=c.NULL, err=c.TEXT)])
_REMOVE_ADMIN = Method("remove_admin", [c.PRINCIPAL], [c.variant(ok=c.NULL, err=c.TEXT)])
_ACT = c.record(
    number=c.NAT64,
    time=c.NAT64,
    caller=c.PRINCIPAL,
    subject=c.opt(c.PRINCIPAL),
    action=c.TEXT,
    details=c.TEXT,
)
_LOGS = [
    Method(name, [c.opt(c.NAT64), c.NAT32], [c.record(entries=c.vec(_ACT), next_number=c.NAT64)], query=True)
    for name in ("get_audit_log", "get_owner_log")
]
_SHARE = c.record(creations=c.NAT32, cycles=c.NAT)
_POLICY = Method(
    "get_creation_policy",
    [],
    [c.record(daily_creations=c.NAT32, daily_cycles=c.NAT, unproven=_SHARE)],
    query=True,
)
_SET_POLICY = Method(
    "set_creation_policy",
    [
        c.record(
            daily_creations=c.opt(c.NAT32),
            daily_cycles=c.opt(c.NAT),
            unproven_creations=c.opt(c.NAT32),
            unproven_cycles=c.opt(c.NAT),
        )
    ],
    [c.variant(ok=c.NULL, err=c.TEXT)],
)
_CHILDREN_COUNT = Method("get_cycles_manager_children_count", [], [c.NAT], query=True)
_VERSION = Method("get_version", [], [c.NAT], query=True)
_CYCLES = Method("get_cycles_balance", [], [c.NAT], query=True)


@dataclass(frozen=True)
class CreationShares:
    """Zones that the battery pays for in a day and their cycles, in all and for callers without a proof."""

    daily_creations: int
    daily_cycles: int
    unproven_creations: int
    unproven_cycles: int


@dataclass(frozen=True)
class Factory:
    """A factory canister seen through an agent; `canister` is its principal."""

    agent: Agent
    canister: bytes

    def refresh_controllers(self) -> list[bytes]:
        """Make the factory look up its own controllers, who keep its list of admins; returns them.

        They are read at most once in 5 seconds: sooner those read last are returned.
        """
        return _REFRESH_CONTROLLERS(self.agent, self.canister)

    def admins(self) -> list[bytes]:
        """Return the principals of the factory's admins."""
        return _ADMINS(self.agent, self.canister)

    def add_admin(self, admin: bytes) -> None:
        """Make a principal an admin; for the factory's controllers."""
        ok_or_raise("add_admin", _ADD_ADMIN(self.agent, self.canister, admin))

    def remove_admin(self, admin: bytes) -> None:
        """Take an admin's rights; the last one stays. For the factory's controllers."""
        ok_or_raise("remove_admin", _REMOVE_ADMIN(self.agent, self.canister, admin))

    def acts(self, *, owners: bool = False) -> Iterator[dict[str, Any]]:
        """Yield what admins did, newest first: number, time (ns), caller, subject, action, details.

        With `owners` what owners and creators of zones did.
        """
        log = _LOGS[owners]
        return pages(lambda before: log(self.agent, self.canister, before, PAGE)["entries"], "number")

    def upload_release(self, wasm: bytes, progress: Progress) -> bytes:
        """Upload a zone Wasm in chunks, from where an earlier upload of it ended; returns its SHA-256."""
        digest = hashlib.sha256(wasm).digest()
        uploaded = _UPLOADED(self.agent, self.canister, digest)
        start = uploaded["chunks"] if uploaded else 0
        progress(min(start * CHUNK_BYTES, len(wasm)), len(wasm))
        for index in range(start, -(-len(wasm) // CHUNK_BYTES)):
            chunk = {"wasm_hash": digest, "index": index, "data": wasm[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]}
            ok_or_raise("upload_release_chunk", _UPLOAD(self.agent, self.canister, chunk))
            progress(min((index + 1) * CHUNK_BYTES, len(wasm)), len(wasm))
        return digest

    def publish_release(self, version: int, wasm_hash: bytes, notes: str) -> None:
        """Make an uploaded Wasm the release that new zones get."""
        release = {"version": version, "wasm_hash": wasm_hash, "notes": notes}
        ok_or_raise("publish_release", _PUBLISH(self.agent, self.canister, release))

    def release(self) -> dict[str, Any] | None:
        """Return the current release, None before the first: see `releases`."""
        return _RELEASE(self.agent, self.canister)

    def releases(self) -> Iterator[dict[str, Any]]:
        """Yield all releases, newest first: version, wasm_hash, size, chunks, notes, published_at, retired_at (ns)."""
        return pages(lambda before: _RELEASES(self.agent, self.canister, before, RELEASES_PAGE)["releases"], "version")

    def retire_release(self, version: int) -> None:
        """Drop the code of a former release; for admins."""
        ok_or_raise("retire_release", _RETIRE(self.agent, self.canister, version))

    def find_release(self, version: int) -> dict[str, Any] | None:
        """Return the release with a version, None when there is none; without chunks its code is gone."""
        found = _RELEASES(self.agent, self.canister, version + 1, 1)["releases"]
        return found[0] if found and found[0]["version"] == version else None

    def release_chunk(self, wasm_hash: bytes, index: int) -> bytes:
        """Return one chunk of a release's gzipped Wasm."""
        return ok_or_raise("get_release_chunk", _CHUNK(self.agent, self.canister, wasm_hash, index))

    def creation_shares(self) -> CreationShares:
        """Return how many zones a day the battery pays for, and whose."""
        found = _POLICY(self.agent, self.canister)
        unproven = found["unproven"]
        return CreationShares(
            found["daily_creations"], found["daily_cycles"], unproven["creations"], unproven["cycles"]
        )

    def set_creation_shares(self, shares: CreationShares) -> None:
        """Set how many zones a day the battery pays for, and whose; for admins."""
        ok_or_raise("set_creation_policy", _SET_POLICY(self.agent, self.canister, vars(shares)))

    def cycles(self) -> int:
        """Return the balance in cycles."""
        return _CYCLES(self.agent, self.canister)

    def status(self) -> dict[str, Any]:
        """Return version, cycles, number of zones and the current release."""
        return {
            "version": _VERSION(self.agent, self.canister),
            "cycles": self.cycles(),
            "zones": _CHILDREN_COUNT(self.agent, self.canister),
            "release": self.release(),
        }
