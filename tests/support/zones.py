"""A zone with members, on a network under test: what most canister tests start from."""

from __future__ import annotations

import hashlib
from typing import Any

from ic.principal import Principal

from canister_kit.keys import principal_of
from tests.support.actor import Actor, init_argument
from tests.support.network import Network, Outcall

ZONE_ID = "0x90851525ee3b126e27ad74e381f9dc9c38f92319"
RPC_HOST = "prenet.diode.io:8443"
TEAM = Principal(b"\x07" * 28 + b"\x02")
BATTERY = Principal(b"\x08" * 9 + b"\x01")


def public_key(number: int) -> bytes:
    """A member's 65-byte public key (no point of the curve: the canister does not look)."""
    return b"\x04" + hashlib.sha512(b"member %d" % number).digest()


def member(number: int) -> Principal:
    """The principal of a member's key."""
    return Principal(principal_of(public_key(number)))


def key_id(number: int) -> bytes:
    """A key_id as the App builds it."""
    return bytes([20]) + hashlib.sha256(b"key %d" % number).digest()[:20] + bytes(20)


def zone_init(**changes: Any) -> dict[str, Any]:
    """A zone's init record."""
    return {
        "zone_id": ZONE_ID,
        "rpc_host": RPC_HOST,
        "rpc_path": "/",
        "cycles_requester_id": BATTERY.bytes,
        "call_token": None,
        **changes,
    }


def deploy_zone(network: Network, wasm: bytes, did: str, cycles: int | None = None, **changes: Any) -> Actor:
    """Installs a zone canister controlled by TEAM."""
    argument = init_argument(did, zone_init(**changes))
    canister_id = network.deploy(wasm, argument, cycles, controllers=[TEAM], sender=TEAM)
    return Actor(network, canister_id, did)


def role_answer(role: int) -> bytes:
    """What the contract's node answers for a role."""
    return b'{"jsonrpc":"2.0","id":1,"result":"0x' + role.to_bytes(32, "big").hex().encode() + b'"}'


def ask_role(zone: Actor, number: int, sender: Principal | None = None) -> tuple[Any, Outcall]:
    """Has a member's role looked up; returns the open call and the outcall that waits for an answer."""
    call = zone.submit("update_role", public_key(number), sender=sender or member(number))
    return call, zone.network.next_outcall()


def join(zone: Actor, number: int, role: int = 200) -> Principal:
    """Makes a principal a member of the zone with a role, through the outcall."""
    call, outcall = ask_role(zone, number)
    zone.network.answer(outcall, role_answer(role))
    assert zone.wait("update_role", call) == role
    return member(number)
