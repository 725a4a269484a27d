"""A fault at every write of stable memory in turn, in everything that writes messages: all or nothing is done.

A fault ends the call; the platform takes stable memory and heap back, as `tests.support.rollback` does here. What the
store does then must be what it does undisturbed, and no fault may be swallowed on the way.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.effort import examples
from tests.support.maps import FakeMap, maps_of
from tests.support.message_machine import KEYS, Pairs
from tests.support.message_model import LAST
from tests.support.rollback import remember, restored
from tests.support.stores import Reads, add, message_store
from tests.unit.test_message_store import SENDER, StoreMachine
from zone_canister.message_migration import HEAD, HEAD_KEY, PAGE_BYTES, RECORD, FirstLayout
from zone_canister.message_reader import Reader
from zone_canister.message_state import MIB
from zone_canister.messages import MessageStore
from zone_canister.quotas import MemberQuotas

T = TypeVar("T")


class Fault(Exception):
    """A stable map's write that failed."""


class FaultyMap(FakeMap):
    """A map whose writes fail once a common counter runs out."""

    left = -1

    def _count(self) -> None:
        FaultyMap.left -= 1
        if FaultyMap.left == -1:
            raise Fault

    def insert(self, key: Any, value: Any) -> Any:
        self._count()
        return super().insert(key, value)

    def remove(self, key: Any) -> Any:
        self._count()
        return super().remove(key)


class Zone:
    """What a zone keeps of messages: its stores over its maps."""

    def __init__(self, maps: Any = None):
        self.maps = maps or maps_of("zone_canister")
        for found in vars(self.maps).values():
            found.__class__ = FaultyMap
        self.start()

    def start(self) -> None:
        """Stores over what lies in the maps, as after an upgrade."""
        maps = self.maps
        self.messages: MessageStore = message_store(maps)
        self.quotas = MemberQuotas(maps.settings_map, maps.member_quotas_map)
        first = (maps.first_index_map, maps.first_pages_map, maps.first_lookup_map, maps.first_postings_map)
        self.first_layout = FirstLayout(maps.settings_map, *first)

    def add(self, pairs: Pairs, sender: bytes, now: int) -> list[int]:
        """What the zone does for a call that adds messages."""
        self.messages.expire(now)
        window = self.quotas.window(sender, now)
        batch = self.messages.prepare(pairs)
        assert self.quotas.fault(window, len(pairs), batch.size, now) == ""
        self.messages.add(batch, sender, now)
        self.quotas.count(sender, window, len(pairs), batch.size)
        return batch.ids

    def seen(self, now: int) -> tuple[Any, ...]:
        """Everything that is stored, and what clients see of it, in the bytes of their replies."""
        reader = Reader(self.messages, now)
        of_keys = [(reader.oldest_of_key(key, 1), reader.by_range_for_key(key, 0, LAST)) for key in KEYS]
        state = {name: value for name, value in vars(self.messages.state).items() if name != "_states"}
        stored = {name: dict(found.entries) for name, found in vars(self.maps).items()}
        seen = reader.by_range(0, LAST, LAST), reader.metas(0, LAST), of_keys
        return stored, state, seen, self.quotas.used(SENDER, now)


def with_faults(zone: Zone, act: Callable[[Zone], T], now: int) -> tuple[Zone, T, int]:
    """Does something with a fault at each of its writes in turn, and then without: the zone, its answer, the writes."""
    before, kept = zone.seen(now), remember(zone)
    for writes in count():
        FaultyMap.left = writes
        try:
            answer = act(zone)
        except Fault:
            zone = restored(kept)
        else:
            assert FaultyMap.left >= 0, "a fault was swallowed"
            return zone, answer, writes
        finally:
            FaultyMap.left = -1
        assert zone.seen(now) == before
    raise AssertionError("unreachable")


# Each writer ---------------------------------------------------------------------------------------------


def full_zone() -> Zone:
    """A zone at its limit of 1 MiB, after an upgrade: keys in turns, a message a second, a large one among them."""
    zone = Zone()
    zone.messages.limits.change(MIB, None, None)
    for number in range(160):
        add(zone.messages, [(KEYS[number % 3], bytes([number]) * 6_000)], SENDER, number)
    add(zone.messages, [(KEYS[3], bytes(30_000)), (KEYS[3], b"small")], SENDER, 160)
    for number in range(600):
        add(zone.messages, [(KEYS[number % 5], number.to_bytes(2, "big") * 40)], SENDER, 161)
    zone.messages.sample_more(10**6, 1)
    zone.messages.index.save()
    zone.start()
    return zone


def add_batch(zone: Zone) -> list[int]:
    batch = [(KEYS[0], bytes([7, number]) * 1_500) for number in range(30)]
    return zone.add([*batch, (KEYS[1], bytes(30_000)), (KEYS[3], b"small"), batch[0]], SENDER, 1_000)


def add_one(zone: Zone) -> list[int]:
    return zone.add([(KEYS[2], b"new")], SENDER, 1_000)


def add_expired(zone: Zone) -> list[int]:
    zone.messages.limits.change(None, None, 900)
    return add_one(zone)


def prune(zone: Zone) -> bool:
    zone.messages.move_first(zone.messages.state.first_id + 200)
    return zone.messages.note_pending(1_000)


def prune_all(zone: Zone) -> bool:
    zone.messages.move_first(zone.messages.state.last_id + 1)
    zone.messages.note_pending(1_000)
    return zone.messages.reclaim(1_000, 10_000)


def expire(zone: Zone) -> bool:
    zone.messages.limits.change(None, None, 900)
    return zone.messages.expire(1_000)


def lower_limits(zone: Zone) -> bool:
    zone.messages.limits.change(MIB, 50, None)
    return zone.messages.note_pending(1_000)


def reclaim(zone: Zone) -> bool:
    lower_limits(zone)
    return zone.messages.reclaim(1_001, 30)


def change_quota(zone: Zone) -> str:
    return zone.quotas.change(50, 10**6)


def leave_index(zone: Zone) -> None:
    add_batch(zone)
    zone.messages.index.save()


WRITERS = {
    add_batch: 30,
    add_one: 3,
    add_expired: 5,
    prune: 1,
    prune_all: 100,
    expire: 2,
    lower_limits: 2,
    reclaim: 30,
    change_quota: 1,
    leave_index: 40,
}
"""What writes, and how many writes it makes at least."""


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_after_a_fault_at_any_write_all_is_as_before_and_goes_on_as_if_nothing_had_been(writer):
    zone = full_zone()
    undisturbed = restored(remember(zone))
    expected = writer(undisturbed)
    zone, answer, writes = with_faults(zone, writer, 1_000)
    assert writes >= WRITERS[writer]
    assert (answer, zone.seen(1_000)) == (expected, undisturbed.seen(1_000))
    # The heap is right, too: it leads to the same messages from here on, and so does what is made of stable memory.
    for again in (zone, undisturbed):
        again.add([(KEYS[4], bytes([number]) * 700) for number in range(9)], SENDER, 1_001)
    assert zone.seen(1_001) == undisturbed.seen(1_001)
    zone.start()
    zone.messages.index_more(10**6)
    assert zone.seen(1_001) == undisturbed.seen(1_001)


def first_layout_maps(pairs: Pairs) -> Any:
    """Maps as the first store left them: see `message_migration`."""
    maps, log, newest = maps_of("zone_canister"), b"", {}
    for message_id, (key_id, text) in enumerate(pairs, 1):
        digest = hashlib.sha256(text).digest()
        number, previous = newest.get(key_id, (-1, 0))
        newest[key_id] = number + 1, message_id
        record = RECORD.pack(message_id, number + 1, previous, len(log), len(text), digest, key_id, len(SENDER))
        maps.first_index_map.insert(message_id, record + SENDER)
        maps.first_lookup_map.insert(digest, struct.pack("<I", message_id))
        maps.first_lookup_map.insert(digest + key_id, struct.pack("<I", message_id))
        maps.first_postings_map.insert(key_id + bytes(4), b"")
        log += text
    for number in range(0, len(log), PAGE_BYTES):
        maps.first_pages_map.insert(number // PAGE_BYTES, log[number : number + PAGE_BYTES])
    maps.settings_map.insert(HEAD_KEY, HEAD.pack(len(pairs), len(log)))
    return maps


def test_a_fault_while_messages_move_from_the_first_layout_loses_none():
    pairs = [(KEYS[number % 3], bytes([number]) * (number * 90)) for number in range(40)]
    zone, moved, writes = Zone(first_layout_maps(pairs)), False, 0
    while not moved:
        zone, moved, more = with_faults(zone, lambda found: found.first_layout.move(found.messages, 7), 1_000)
        writes += more
    assert writes > 40 * 6
    found = Reads(zone.messages, 1_000).by_range(0, LAST)
    assert [(message["key_id"], message["ciphertext"], message["timestamp"]) for message in found] == [
        (key_id, text, message_id) for message_id, (key_id, text) in enumerate(pairs, 1)
    ]
    for name in ("first_index_map", "first_pages_map", "first_lookup_map"):
        assert getattr(zone.maps, name).is_empty()


# In any order -------------------------------------------------------------------------------------------


class FaultyMachine(StoreMachine):
    """The store's state machine, where everything that writes is tried with a fault at each write first."""

    faults: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.zone = Zone(self.maps)
        self.zone.messages.limits.change(MIB, None, None)
        self.zone.quotas.change(2**32 - 1, 2**62)
        self.store = self.zone.messages

    def act(self, name: str, act: Callable[[], T]) -> T:
        """What an act of the machine answers, after it has failed at each of its writes."""

        def on(zone: Zone) -> T:
            self.zone, self.store, self.maps = zone, zone.messages, zone.maps
            return act()

        zone, answer, writes = with_faults(self.zone, on, self.now)
        assert zone is self.zone
        FaultyMachine.faults[name] += writes
        return answer

    def send(self, batch: Pairs, sender: bytes) -> list[int] | str:
        return self.act("send", lambda: super(FaultyMachine, self).send(batch, sender))

    def change_limits(self, max_bytes: int, most: int, age: int) -> None:
        self.act("limits", lambda: super(FaultyMachine, self).change_limits(max_bytes, most, age))

    def prune_to(self, up_to_id: int) -> None:
        self.act("prune", lambda: super(FaultyMachine, self).prune_to(up_to_id))

    def reclaim(self, most_pages: int) -> None:
        self.act("reclaim", lambda: super(FaultyMachine, self).reclaim(most_pages))

    def replace_code(self, hint: bool, pages_at_once: int) -> None:
        self.act("upgrade", lambda: super(FaultyMachine, self).replace_code(hint, pages_at_once))
        self.zone.messages = self.store

    def load(self, snapshot: Any) -> None:
        super().load(snapshot)
        self.zone = Zone(self.maps)
        self.zone.messages = self.store


def test_whatever_happens_with_faults_at_every_write_the_store_agrees_with_the_model():
    run_state_machine_as_test(
        FaultyMachine, settings=settings(max_examples=examples(12), stateful_step_count=25, deadline=None)
    )
    assert set(FaultyMachine.faults) == {"send", "limits", "prune", "reclaim", "upgrade"}
    assert min(FaultyMachine.faults.values()) > 0
