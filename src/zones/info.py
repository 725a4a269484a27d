"""What is known of a zone canister beside what its factory says: the platform's certificate, itself, and its contract.

Not for the factory's own readings (`zones.fleet`). Reads only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from localnet.principal import to_text
from zones import fleet
from zones.agent import IcAgent
from zones.certificates import Running, certified_running, running_paths
from zones.chain import Contract, contract_at
from zones.errors import UserError
from zones.tables import NS, iso

BUILD_MANIFEST = Path("build/zone_canister/zone_canister.json")
"""Where building here leaves what it built."""
LOCAL_BUILD = "local build"
OWNERLESS = "0x000000000000000000000000000000000000dead"
"""The address that an owner who gives a contract up hands it to."""


@dataclass(frozen=True)
class Sources:
    """Where to look: the network and the root key that its certificates are checked with, releases, nodes of chains.

    Without a key (None) nothing is certified: controllers and code are then those the factory has read.
    """

    agent: IcAgent
    root_key: bytes | None
    releases: dict[bytes, int]
    """Version of each release, by module hash."""
    build: bytes | None
    """Module hash of what was built here."""
    nodes: Sequence[tuple[str, str]]
    """Name and URL of the nodes that are asked for contracts; none for not asking."""
    client: httpx.Client
    names: dict[str, str]
    """Names of addresses (0x...)."""


def local_build() -> bytes | None:
    """Return the module hash of the zone canister that was built in this folder, None for none."""
    try:
        return bytes.fromhex(json.loads(BUILD_MANIFEST.read_text(encoding="utf-8"))["wasm_gz_sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{BUILD_MANIFEST} is no manifest of a build: {error!r}", "build again, or remove it"
        ) from error


def row(sources: Sources, canister: bytes, entry: dict[str, Any] | None) -> dict[str, Any]:
    """Return what is known of a canister; `entry` is its record in the factory's index. Raises ProofError."""
    name = to_text(canister)
    said = fleet.ask(sources.agent, name)
    running = _running(sources, canister)
    read = entry or {"controllers": [], "info_read_at": None}
    module = None if running is None else running.module_hash
    return {
        "canister": name,
        "zone_id": said.get("zone_id") or (entry and entry["zone_id"]),
        "version": said["version"],
        "cycles": said.get("cycles"),
        "code": _code(sources, running),
        "module_hash": module and module.hex(),
        "controllers": list(map(to_text, read["controllers"] if running is None else running.controllers)),
        "certified_at": iso(int(running.time) * NS) if running else None,
        "read_at": iso(read["info_read_at"]),
        **_contract(sources, said.get("zone_id")),
        "fault": said["fault"],
    }


def _running(sources: Sources, canister: bytes) -> Running | None:
    if sources.root_key is None:
        return None
    certificate = sources.agent.read_certificate(canister, running_paths(canister))
    return certified_running(certificate, canister, sources.root_key, time.time())


def _code(sources: Sources, running: Running | None) -> str:
    if running is None:
        return "unknown"
    if running.module_hash is None:
        return "none"
    release = sources.releases.get(running.module_hash)
    if release is not None:
        return f"release {release}"
    return LOCAL_BUILD if running.module_hash == sources.build else "foreign"


def _contract(sources: Sources, zone_id: str | None) -> dict[str, Any]:
    found = Contract()
    if zone_id is not None and sources.nodes:
        found = contract_at(sources.client, sources.nodes, zone_id)
    owner = found.owner
    return {
        "node": found.node,
        "contract_version": found.version,
        "owner": owner,
        "owner_name": "given up" if owner == OWNERLESS else sources.names.get(owner or ""),
        "node_fault": found.fault,
    }
