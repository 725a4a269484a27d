"""Verified reads of the zone's Wasm: an honest replica's are proven, a lying one's are refused with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import httpx
import pytest
from ic.principal import Principal

from localnet.certificates import Certifier
from tests.support.actor import Actor
from tests.support.builds import Built
from tests.support.liars import Caller, Liar, Lie, altered, certificate, in_messages, swapped, without
from tests.support.network import Network
from tests.support.zones import TEAM, deploy_zone, join, key_id
from zones.errors import ProofError
from zones.state import State
from zones.verification import Proven, SeenHead, Verifier, head_digest
from zones.zone import Head, Message, Zone

MINE, THEIRS = key_id(1), key_id(2)


@dataclass
class World:
    """A zone with two members; `agent` is the first one's."""

    network: Network
    actor: Actor
    alice: Principal
    bob: Principal
    root_key: bytes

    @property
    def agent(self) -> Caller:
        return Caller(self.network, self.alice)

    @property
    def canister(self) -> bytes:
        return self.actor.id.bytes

    def add(self, who: Principal, *pairs: tuple[bytes, bytes]) -> None:
        Zone(Caller(self.network, who), self.canister).add_messages(pairs)

    def verifier(self, folder: Path, agent: Any = None, root_key: bytes | None = None) -> Verifier:
        key = root_key or self.root_key
        seen = SeenHead(State(folder), self.canister, key)
        zone = Zone(agent or self.agent, self.canister)
        return Verifier(zone, key, seen, clock=lambda: self.network.time() / 1e9, sleep=lambda _: None)

    def read(self, folder: Path, key: bytes | None = None) -> tuple[Proven, list[Message]]:
        check = self.verifier(folder)
        proven = check.prove(key_id=key)
        return proven, list(check.messages(proven, key))


def world_on(network: Network, build: Built) -> World:
    actor = deploy_zone(network, build.wasm, build.did)
    status = cbor2.loads(httpx.get(f"{network.url}/api/v2/status", trust_env=False).content)
    return World(network, actor, join(actor, 1), join(actor, 2), status["root_key"])


@pytest.fixture
def world(network: Network, zone_build: Built) -> World:
    return world_on(network, zone_build)


@pytest.fixture(scope="module")
def lived(zone_build: Built) -> Iterator[World]:
    """A zone whose 12 messages came in four calls of two members; tests only read it."""
    with Network() as network:
        world = world_on(network, zone_build)
        world.add(world.alice, *((MINE, b"a%d" % n) for n in range(4)))
        network.advance(10)
        world.add(world.bob, *((THEIRS if n % 2 else MINE, b"b%d" % n) for n in range(5)))
        world.add(world.bob, (THEIRS, b"c"))
        network.advance(10)
        world.add(world.alice, (MINE, b"d"), (THEIRS, b"e"))
        yield world


def test_an_honest_zone_is_proven_with_senders_and_ciphertexts(lived: World, tmp_path: Path) -> None:
    proven, messages = lived.read(tmp_path)
    assert [meta.id for meta in proven.messages] == list(range(1, 13))
    assert [message.ciphertext for message in messages] == [
        *(b"a%d" % n for n in range(4)),
        *(b"b%d" % n for n in range(5)),
        *(b"c", b"d", b"e"),
    ]
    assert [meta.sender for meta in proven.messages] == [lived.alice.bytes] * 4 + [lived.bob.bytes] * 6 + [
        lived.alice.bytes
    ] * 2
    assert [message.id for message in lived.read(tmp_path, THEIRS)[1]] == [6, 8, 10, 12]


LIES: list[tuple[str, dict[str, Lie], str]] = [
    ("the last message withheld", {"get_messages_meta_by_range": without(12)}, "message 12 is withheld"),
    ("a message withheld", {"get_messages_meta_by_range": without(6)}, "message 6 is withheld"),
    ("the last ciphertext withheld", {"get_messages_since": in_messages(without(12))}, "message 12 is withheld"),
    ("a ciphertext withheld", {"get_messages_since": in_messages(without(6))}, "message 6 is withheld: .* 7 in its"),
    ("the first withheld", {"get_messages_since": in_messages(without(1))}, "message 1 is withheld"),
    ("all withheld", {"get_messages_since": in_messages(lambda _: [])}, "message 1 is withheld.*the reply is empty"),
    (
        "a ciphertext altered",
        {"get_messages_since": in_messages(altered(6, ciphertext=b"pay mallory"))},
        "message 6: its ciphertext has the SHA-256 .*, the chain has",
    ),
    (
        "a ciphertext altered with its hash",
        {
            "get_messages_since": in_messages(altered(6, ciphertext=b"pay mallory")),
            "get_messages_meta_by_range": altered(6, hash=hashlib.sha256(b"pay mallory").digest()),
        },
        "does not end in the certified head",
    ),
    ("a key altered", {"get_messages_since": in_messages(altered(6, key_id=MINE))}, "message 6: its key or time"),
    ("a key altered twice", {"get_messages_meta_by_range": altered(6, key_id=MINE)}, "does not end in the certified"),
    ("a time altered", {"get_messages_since": in_messages(altered(6, timestamp=1))}, "message 6: its key or time"),
    ("a time altered twice", {"get_messages_meta_by_range": altered(10, timestamp=1)}, "does not end in the certified"),
    ("one time of a call altered", {"get_messages_meta_by_range": altered(6, timestamp=1)}, "5 to 9 came in one call"),
    ("a sender altered", {"get_messages_meta_by_range": altered(10, sender=b"\x04")}, "does not end in the certified"),
    ("one sender of a call altered", {"get_messages_meta_by_range": altered(6, sender=b"\x04")}, "5 to 9 came in one"),
    ("messages reordered", {"get_messages_meta_by_range": swapped(6, 7)}, "does not end in the certified head"),
    ("messages of calls reordered", {"get_messages_meta_by_range": swapped(10, 12)}, "does not end in|in one call"),
    ("ciphertexts reordered", {"get_messages_since": in_messages(swapped(6, 7))}, "message 6: its ciphertext"),
    (
        "one message put in",
        {"get_messages_meta_by_range": lambda metas: [*metas[:5], *metas[4:]]},
        "message 6 is withheld",
    ),
    ("a shorter head", {"get_certified_head": lambda head: {**head, "max_id": 10}}, "is not the one that the certif"),
    ("another start", {"get_certified_head": lambda head: {**head, "first_id": 5}}, "is not the one that the certif"),
    ("no certificate", {"get_certified_head": lambda head: {**head, "certificate": None}}, "without a certificate"),
    ("digests withheld", {"get_digest_page": lambda _: []}, "the digests of messages 1 to 12 are withheld"),
    ("the first call withheld", {"get_digest_page": lambda entries: entries[1:]}, "messages 1 to 4 are withheld"),
    ("a call hidden", {"get_digest_page": lambda entries: [entries[0], *entries[2:]]}, "1 to 9 came in one call"),
]


@pytest.mark.parametrize(("lies", "said"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_lie_is_refused_with_what_was_found(lived: World, tmp_path: Path, lies: dict[str, Lie], said: str) -> None:
    check = lived.verifier(tmp_path, Liar(lived.agent, **lies))
    with pytest.raises(ProofError, match=said):
        list(check.messages(check.prove()))


def test_a_message_of_one_key_cannot_be_withheld(lived: World, tmp_path: Path) -> None:
    check = lived.verifier(tmp_path, Liar(lived.agent, get_messages_since=in_messages(without(8))))
    proven = check.prove(key_id=THEIRS)
    with pytest.raises(ProofError, match="message 8 is withheld: the reply has 10"):
        list(check.messages(proven, THEIRS))
    hidden = Liar(lived.agent, get_messages_meta_by_range=altered(8, key_id=MINE))
    with pytest.raises(ProofError, match="does not end in the certified head"):
        lived.verifier(tmp_path, hidden).prove(key_id=THEIRS)


def test_another_root_key_is_refused(lived: World, tmp_path: Path) -> None:
    other = Certifier(b"another network").der_public_key
    with pytest.raises(ProofError, match=r"not signed by the key .*--root-key"):
        lived.verifier(tmp_path, root_key=other).prove()


def test_a_whole_history_that_another_root_key_signed_is_refused(lived: World, tmp_path: Path) -> None:
    """The liar invents a consistent zone: head, chain, certificate; only the signature can't be had."""

    def invent(head: dict[str, Any]) -> dict[str, Any]:
        made = {**head, "first_id": 1, "max_id": 0, "anchor": bytes(32), "head": bytes(32)}
        data = head_digest(Head(**{**made, "certificate": None}))
        signer = Certifier(b"another network")
        made["certificate"] = certificate(
            data, lived.network.time() / 1e9, canister=lived.canister, root=signer, subnet=None
        )
        return made

    with pytest.raises(ProofError, match="the certificate is not signed by the key"):
        lived.verifier(tmp_path, Liar(lived.agent, get_certified_head=invent)).prove()
    forger = Certifier(b"another network").der_public_key
    assert lived.verifier(tmp_path, Liar(lived.agent, get_certified_head=invent), forger).prove().messages == []


def recorded(world: World) -> Lie:
    """The head of now, to be told again later."""
    reply = world.actor.call("get_certified_head", sender=world.alice)
    return lambda _: reply


def test_an_old_head_is_refused_by_its_age_and_by_the_last_one_seen(world: World, tmp_path: Path) -> None:
    world.add(world.alice, (MINE, b"1"))
    old = recorded(world)
    world.add(world.alice, (MINE, b"2"))
    stale = world.verifier(tmp_path, Liar(world.agent, get_certified_head=old))
    assert [meta.id for meta in stale.prove().messages] == [1]
    assert [meta.id for meta in world.read(tmp_path)[0].messages] == [1, 2]
    with pytest.raises(ProofError, match=r"\(ids 1 to 1\) is behind the last one seen \(ids 1 to 2\)"):
        stale.prove()
    world.network.advance(301)
    with pytest.raises(ProofError, match="s old, at most 300 s are accepted"):
        stale.prove()


def test_another_canisters_head_is_refused(world: World, zone_build: Built, tmp_path: Path) -> None:
    other = world_on(world.network, zone_build)
    liar = Liar(world.agent, get_certified_head=recorded(other))
    with pytest.raises(ProofError, match="has no certified data of the canister"):
        world.verifier(tmp_path, liar).prove()


def test_a_snapshot_that_is_loaded_is_noticed(world: World, tmp_path: Path) -> None:
    world.add(world.alice, (MINE, b"1"))
    snapshot = world.network.take_snapshot(world.actor.id, TEAM)
    world.add(world.alice, (MINE, b"2"))
    world.read(tmp_path)
    world.network.stop(world.actor.id, TEAM)
    world.network.load_snapshot(world.actor.id, snapshot["id"], TEAM)
    world.network.start(world.actor.id, TEAM)
    with pytest.raises(ProofError, match="is behind the last one seen"):
        world.read(tmp_path)


def test_honest_reads_are_proven_through_pruning_expiry_eviction_and_an_upgrade(
    world: World, zone_build: Built, tmp_path: Path
) -> None:
    admin = join(world.actor, 3, role=400)

    def ids() -> list[int]:
        proven, messages = world.read(tmp_path)
        assert [message.id for message in messages] == [meta.id for meta in proven.messages]
        return [meta.id for meta in proven.messages]

    world.add(world.alice, *((MINE, b"a%d" % n) for n in range(10)))
    assert ids() == list(range(1, 11))
    assert world.actor.call("prune_messages", 3, sender=admin) == ("ok", 3)
    assert ids() == list(range(4, 11))
    world.network.upgrade(world.actor.id, zone_build.wasm, sender=TEAM)
    assert ids() == list(range(4, 11))
    limits = {"max_bytes": None, "max_messages": None, "max_age_seconds": 100}
    assert world.actor.call("set_message_limits", limits, sender=admin) == ("ok", None)
    world.network.advance(60)
    world.add(world.bob, (THEIRS, b"later"))
    world.network.advance(60)
    world.network.tick(3)
    assert ids() == [11]
    limits = {"max_bytes": None, "max_messages": 5, "max_age_seconds": 0}
    assert world.actor.call("set_message_limits", limits, sender=admin) == ("ok", None)
    for call in range(4):
        world.add(world.bob, *((THEIRS, b"%d %d" % (call, n)) for n in range(3)))
        world.network.advance(5)
    left = ids()
    assert left[-1] == 23
    assert len(left) <= 5
    assert world.actor.call("prune_messages", 23, sender=admin)[0] == "ok"
    assert ids() == []
