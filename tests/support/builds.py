"""The two canisters as built by the template."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

import canister_build


@dataclass(frozen=True)
class Built:
    """A built canister: its gzipped Wasm and its Candid."""

    wasm: bytes
    did: str


def built(name: str) -> Built:
    """A canister of this repository; one process builds, the others wait."""
    out = Path(__file__).parents[2] / "build" / name
    out.mkdir(parents=True, exist_ok=True)
    with (out.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        artifact = canister_build.build(name, builder="template", out=out)
    return Built(artifact.wasm_gz.read_bytes(), artifact.did.read_text())
