"""A factory on a network under test, with an admin and a release: what most tests of the factory start from."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ic.principal import Principal

from tests.localnet.wat import canister
from tests.support.actor import Actor
from tests.support.network import ANONYMOUS, CallRejected, Network
from tests.support.zones import RPC_HOST, TEAM, ZONE_ID

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
        self.id = network.deploy(wallet_wasm(), cycles=cycles)

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
        payload = self.factory.encode(method, *values)
        name = method.encode()
        head = cycles.to_bytes(8, "little") + len(self.factory.id.bytes).to_bytes(4, "little")
        head += len(name).to_bytes(4, "little") + len(payload).to_bytes(4, "little")
        return head + self.factory.id.bytes + name + payload


def wallet_wasm() -> bytes:
    """Wasm of `Wallet`: the argument is u64 cycles, u32 sizes of the callee's id, the method and the payload; these."""
    body = """
    (table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
    (func (export "canister_update pay")
      (local $callee i32) (local $name i32)
      (drop (call $argument (i32.const 1000)))
      (local.set $callee (i32.load (i32.const 1008)))
      (local.set $name (i32.load (i32.const 1012)))
      (call $call_new (i32.const 1020) (local.get $callee)
        (i32.add (i32.const 1020) (local.get $callee)) (local.get $name)
        (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
      (call $call_data_append
        (i32.add (i32.add (i32.const 1020) (local.get $callee)) (local.get $name)) (i32.load (i32.const 1016)))
      (call $call_cycles_add128 (i64.const 0) (i64.load (i32.const 1000)))
      (if (call $call_perform) (then unreachable)))
    (func $on_reply (param i32)
      (call $msg_arg_data_copy (i32.const 2000) (i32.const 0) (call $msg_arg_data_size))
      (call $answer (i32.const 2000) (call $msg_arg_data_size)))
    (func $on_reject (param i32)
      (call $msg_reject_msg_copy (i32.const 2000) (i32.const 0) (call $msg_reject_msg_size))
      (call $msg_reject (i32.const 2000) (call $msg_reject_msg_size)))
    """
    return canister(body)
