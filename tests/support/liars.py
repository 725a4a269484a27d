"""Replicas of a zone that lie, and an honest one on the host: what a verifying client must tell apart.

Not a model of the canister's rules: the host's zone answers the queries of a verified read only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ic.principal import Principal

from localnet.certificates import Certifier, self_described
from localnet.hash_tree import tree, uleb128
from localnet.principal import canister_id
from tests.support.network import Network
from tests.support.stores import Reads, arguments, decoded, encoded
from zone_canister.messages import MessageStore
from zones.agent import Agent

CANISTER = canister_id(5)
ROOT, SUBNET = Certifier(b"root"), Certifier(b"subnet")
Lie = Callable[[Any], Any]
"""What a liar makes of a decoded reply."""


def certificate(
    data: bytes,
    time: float,
    *,
    canister: bytes = CANISTER,
    root: Certifier = ROOT,
    subnet: Certifier | None = SUBNET,
    ranges: tuple[int, int] = (0, 9),
    sharded: bool = False,
    more: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """A certificate over a canister's certified data, by a subnet with these canisters that the root delegated to.

    `more` is what it has of the canister beside that.
    """
    known_of_it = {b"certified_data": data, **(more or {})}
    content = tree({b"time": uleb128(int(time * 1e9)), b"canister": {canister: known_of_it}})
    signed = {"tree": content.witness([()]), "signature": (subnet or root).sign(content.hash)}
    if subnet is None:
        return self_described(signed)
    own = self_described([[canister_id(ranges[0]), canister_id(ranges[1])]])
    shards = {canister_id(ranges[0]): own, canister_id(100): self_described([[canister_id(100), canister_id(200)]])}
    known: dict[bytes, Any] = {b"public_key": subnet.der_public_key}
    parent: dict[bytes, Any] = {b"subnet": {subnet.subnet_id: known}, b"time": uleb128(1)}
    if sharded:
        parent[b"canister_ranges"] = {subnet.subnet_id: shards}
    else:
        known[b"canister_ranges"] = own
    delegated = tree(parent)
    inner = {"tree": delegated.witness([()]), "signature": root.sign(delegated.hash)}
    signed["delegation"] = {"subnet_id": subnet.subnet_id, "certificate": self_described(inner)}
    return self_described(signed)


class HostZone:
    """An honest replica: an agent that answers from a store on the host, at a time (s) that its owner sets.

    It certifies as the canister does: what has expired is certified until the canister works next (`work`).
    """

    def __init__(self, store: MessageStore, now: float) -> None:
        self.store = store
        self.now = now
        self.queries: list[str] = []

    def sender(self) -> bytes:
        return b"\x04"

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        assert canister == CANISTER
        self.queries.append(method)
        reads = Reads(self.store, int(self.now))
        values = arguments(method, argument)
        if method == "get_certified_head":
            value: Any = {**reads.head(), "certificate": certificate(self.store.certified_data(), self.now)}
        elif method == "get_digest_page":
            entries = reads.digest_page(*values)
            value = [{"first_id": first_id, "chain": chain, "gone": gone} for first_id, chain, gone in entries]
        elif method == "get_messages_meta_by_range":
            value = reads.metas(*values)
        else:
            assert method == "get_messages_since"
            value = reads.since(values[0]["after_id"], values[0]["key_id"], values[0]["limit"])
        return encoded(method, value)

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        raise AssertionError(f"a verified read called {method} as an update: {(canister, argument, effective)}")


class Caller:
    """An agent for one principal of a network under test."""

    def __init__(self, network: Network, principal: Principal) -> None:
        self.network = network
        self.principal = principal

    def sender(self) -> bytes:
        return self.principal.bytes

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        return self.network.query(Principal(canister), method, argument, self.principal)

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        assert effective is None
        return self.network.update(Principal(canister), method, argument, self.principal)


class Liar:
    """An agent between a client and an honest one that changes replies on their way."""

    def __init__(self, honest: Agent, **lies: Lie) -> None:
        self.honest = honest
        self.lies = lies
        """By method: what becomes of its decoded reply."""

    def sender(self) -> bytes:
        return self.honest.sender()

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        reply = self.honest.query(canister, method, argument)
        lie = self.lies.get(method)
        return reply if lie is None else encoded(method, lie(decoded(method, reply)))

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        return self.honest.update(canister, method, argument, effective=effective)


def in_messages(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Lie:
    """A lie about the messages in a reply of get_messages_since."""
    return lambda page: {**page, "messages": change(page["messages"])}


def altered(message_id: int, **fields: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Records with the fields of one message changed."""
    return lambda records: [{**record, **fields} if record["id"] == message_id else record for record in records]


def without(message_id: int) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Records without one message's."""
    return lambda records: [record for record in records if record["id"] != message_id]


def swapped(one: int, other: int) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Records of which two have changed places, and ids."""

    def swap(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        by_id = {record["id"]: record for record in records}
        partner = {one: other, other: one}
        return [
            {**by_id.get(partner.get(record["id"], record["id"]), record), "id": record["id"]} for record in records
        ]

    return swap
