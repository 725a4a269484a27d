"""The two canisters as built by the template, and networks to run them on."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import canister_build
from tests.support.network import Network


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


@pytest.fixture(scope="session")
def zone_build() -> Built:
    """The zone canister."""
    return built("zone_canister")


@pytest.fixture(scope="session")
def factory_build() -> Built:
    """The factory."""
    return built("factory")


@pytest.fixture
def network() -> Iterator[Network]:
    """A fresh network of one application subnet."""
    with Network() as fresh:
        yield fresh
