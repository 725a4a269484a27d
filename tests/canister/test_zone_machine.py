"""The state machine of the message store on the canister's Wasm, with upgrades and snapshots."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from localnet import cbor
from localnet.hash_tree import look_up
from tests.support.actor import Actor
from tests.support.effort import examples
from tests.support.message_machine import KEYS, MIB, MessageMachine, Pairs
from tests.support.network import Network
from tests.support.zone_reads import ZoneReads
from tests.support.zones import TEAM, deploy_zone, join, member
from zone_canister.message_log import HEAD_DOMAIN

ADMIN = member(0)
SENDERS = tuple(member(number) for number in range(1, 4))


def pairs_of(batch: Pairs) -> list[dict[str, bytes]]:
    return [{"0": key_id, "1": ciphertext} for key_id, ciphertext in batch]


class ZoneMachine(MessageMachine):
    """The zone canister, which each example finds empty: a snapshot of it is loaded first."""

    senders = tuple(sender.bytes for sender in SENDERS)
    keys = KEYS[:3]
    zone: Actor
    wasm: bytes
    empty: bytes

    def __init__(self) -> None:
        super().__init__()
        self.network = self.zone.network
        self.network.load_snapshot(self.zone.id, self.empty, TEAM)

    def teardown(self) -> None:
        for snapshot, _ in self.saved:
            self.network.delete_snapshot(self.zone.id, snapshot, TEAM)

    def time(self) -> int:
        return self.network.time() // 10**9

    def wait(self, seconds: int) -> None:
        self.network.advance(seconds)

    def reads(self) -> ZoneReads:
        return ZoneReads(self.zone, ADMIN)

    def send(self, batch: Pairs, sender: bytes) -> list[int] | str:
        caller = SENDERS[self.senders.index(sender)]
        if len(batch) == 1:
            label, answer = self.zone.call("add_message", *batch[0], sender=caller)
            return [answer] if label == "ok" else answer
        return self.zone.call("add_messages", pairs_of(batch), sender=caller)[1]

    def change_limits(self, max_bytes: int, most: int, age: int) -> None:
        limits = {"max_bytes": max_bytes, "max_messages": most, "max_age_seconds": age}
        assert self.zone.call("set_message_limits", limits, sender=ADMIN) == ("ok", None)

    def prune_to(self, up_to_id: int) -> None:
        first_id = self.reads().max_id + 1 - self.reads().count
        label, count = self.zone.call("prune_messages", up_to_id, sender=ADMIN)
        assert label == "ok"
        assert count >= max(0, up_to_id + 1 - first_id)

    def reclaim(self, most_pages: int) -> None:  # noqa: ARG002 (the canister chooses)
        self.network.advance(1)

    def replace_code(self, hint: bool, pages_at_once: int) -> None:
        self.network.upgrade(self.zone.id, self.wasm, sender=TEAM, skip_pre_upgrade=not hint)
        if pages_at_once == 1:
            # Before the background has made the index again, too.
            self.reconcile(may_evict=False)
            self.every_read_agrees_with_the_model()
        self.network.advance(1)

    def snapshot(self) -> bytes:
        return self.network.take_snapshot(self.zone.id, TEAM)["id"]

    def load(self, snapshot: bytes) -> None:
        self.network.load_snapshot(self.zone.id, snapshot, TEAM)

    @invariant()
    def the_certificate_is_about_the_head(self) -> None:
        """The platform certifies the head that the canister tells."""
        head = self.reads().head()
        tree = cbor.decode(head["certificate"])["tree"]
        ends = struct.pack("<I32sI32s", head["first_id"], head["anchor"], head["max_id"], head["head"])
        certified = look_up(tree, (b"canister", self.zone.id.bytes, b"certified_data"))
        assert certified == hashlib.sha256(HEAD_DOMAIN + ends).digest()


@pytest.fixture
def machine(zone_build) -> Iterator[type[ZoneMachine]]:
    with Network() as network:
        zone = deploy_zone(network, zone_build.wasm, zone_build.did)
        join(zone, 0, 400)
        for number in range(1, 4):
            join(zone, number)
        limits = {"max_bytes": MIB, "max_messages": None, "max_age_seconds": None}
        assert zone.call("set_message_limits", limits, sender=ADMIN) == ("ok", None)
        network.advance(2)
        empty = network.take_snapshot(zone.id, TEAM)["id"]
        yield type("Machine", (ZoneMachine,), {"zone": zone, "wasm": zone_build.wasm, "empty": empty})


def test_whatever_happens_the_wasm_agrees_with_the_model(machine):
    run_state_machine_as_test(machine, settings=settings(max_examples=examples(6), stateful_step_count=30))
