"""A factory on a network under test, with an admin and a release: what most tests of the factory start from."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ic.principal import Principal

from tests.support.actor import Actor
from tests.support.network import ANONYMOUS, CallRejected, Network
from tests.support.zones import RPC_HOST, TEAM, ZONE_ID
from zones.paying import payer_argument, payer_wasm

CHUNK = 1_000_000
T = 10**12
POLICY_FIELDS = (
    "mode",
    "funded_open",
    "creation_cycles",
    "daily_creations",
    "daily_cycles",
    "unproven_creations",
    "unproven_cycles",
    "pool_size",
    "trusted_nodes",
    "lookup_cycles",
    "owner_role",
    "daily_takings_up",
    "funded_fee",
    "freezing_seconds",
    "reserved_limit",
    "wasm_memory_limit",
)


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


def wish(**changes: Any) -> dict[str, Any]:
    """The argument of `create_zone`."""
    return {
        "zone_id": ZONE_ID,
        "rpc_host": RPC_HOST,
        "rpc_path": "/",
        "call_token": None,
        "owners": [],
        "custody": ("managed", None),
        "public_key": None,
        **changes,
    }


def set_policy(factory: Actor, **changes: Any) -> None:
    """Changes the creation policy as TEAM."""
    fields = dict.fromkeys(POLICY_FIELDS) | changes
    assert factory.call("set_creation_policy", fields, sender=TEAM) == ("ok", None)


class Wallet:
    """A canister that sends cycles along with the calls it is asked to make."""

    def __init__(self, network: Network, factory: Actor, cycles: int = 100 * T) -> None:
        self.network = network
        self.factory = factory
        self.id = network.deploy(payer_wasm(), cycles=cycles)

    @property
    def cycles(self) -> int:
        """What it holds."""
        return self.network.cycles(self.id)

    def call(self, method: str, *values: Any, cycles: int = 0) -> Any:
        """Calls a method of the factory with cycles; `CallRejected` with the factory's text when it rejects."""
        return self.factory.decode(
            method, self.network.update(self.id, "pay", self.argument(method, *values, cycles=cycles))
        )

    def argument(self, method: str, *values: Any, cycles: int = 0) -> bytes:
        """The argument with which the canister makes a call of the factory."""
        return payer_argument(self.factory.id.bytes, method, self.factory.encode(method, *values), cycles)
