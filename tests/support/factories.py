"""A factory on a network under test, with an admin and a release: what most tests of the factory start from."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ic.principal import Principal

from tests.support.actor import Actor
from tests.support.network import ANONYMOUS, CallRejected, Network
from tests.support.zones import TEAM

CHUNK = 1_000_000
T = 10**12


def deploy_factory(network: Network, build: Any, cycles: int = 100 * T) -> Actor:
    """Installs a factory controlled by TEAM, who is made its only admin beside the contract's."""
    factory = Actor(network, network.deploy(build.wasm, cycles=cycles, controllers=[TEAM], sender=TEAM), build.did)
    factory.call("refresh_controllers", sender=TEAM)
    assert factory.call("add_admin", TEAM.bytes, sender=TEAM) == ("ok", None)
    return factory


def upload(factory: Actor, wasm: bytes) -> bytes:
    """Uploads a zone Wasm as TEAM; returns its hash."""
    digest = hashlib.sha256(wasm).digest()
    for index, start in enumerate(range(0, len(wasm), CHUNK)):
        chunk = {"wasm_hash": digest, "index": index, "data": wasm[start : start + CHUNK]}
        assert factory.call("upload_release_chunk", chunk, sender=TEAM) == ("ok", index + 1)
    return digest


def publish(factory: Actor, wasm: bytes, version: int = 1000) -> bytes:
    """Makes a zone Wasm the factory's release as TEAM; returns its hash."""
    digest = upload(factory, wasm)
    notice = {"version": version, "wasm_hash": digest, "notes": "first"}
    assert factory.call("publish_release", notice, sender=TEAM) == ("ok", None)
    return digest


def rejection(canister: Actor, method: str, *values: Any, sender: Principal = ANONYMOUS) -> str:
    """The reject text of a call that is refused."""
    with pytest.raises(CallRejected) as caught:
        canister.call(method, *values, sender=sender)
    return caught.value.message
