"""Samples of keys: a search finds what a look at every message finds, and begins near it."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.maps import maps_of
from tests.support.stores import add, message_store
from zone_canister.message_index import SAMPLES
from zone_canister.message_links import Links
from zone_canister.message_reader import Reader
from zone_canister.message_samples import SWEPT_PAGES
from zone_canister.message_state import MIB

STRIDE = 8
"""Messages of a key to a sample of it, about."""
SENDER = b"\x01" * 29


def key_of(number: int) -> bytes:
    return bytes([20]) + number.to_bytes(20, "big") + bytes(20)


class Zone:
    """A store and the keys of its messages, oldest first."""

    def __init__(self) -> None:
        self.maps: Any = maps_of("zone_canister")
        self.store = message_store(self.maps)
        self.keys: list[int] = []

    def add(self, keys: list[int]) -> None:
        """One small message under each of these keys."""
        for start in range(0, len(keys), 1_000):
            batch = [
                (key_of(key), (len(self.keys) + n).to_bytes(8, "big")) for n, key in enumerate(keys[start:][:1_000])
            ]
            self.keys += keys[start:][:1_000]
            add(self.store, batch, SENDER, 1)

    def sample(self, seed: int) -> None:
        """What the background does, until there is no more to do."""
        chance = random.Random(seed)
        while not self.store.sample_more(50, chance.getrandbits(64)):
            pass

    def upgrade(self, *, hint: bool) -> None:
        """A new start with what is left behind, or with nothing."""
        if hint:
            self.store.index.save()
        self.store = message_store(self.maps)
        self.store.index_more(10**9)

    def ids_of(self, key: int) -> list[int]:
        """The stored ids of a key."""
        first_id = self.store.state.first_id
        return [number for number in range(first_id, len(self.keys) + 1) if self.keys[number - 1] == key]

    def distances(self, key: int) -> list[int]:
        """How many messages of a key lie between each of its messages and where a search for it begins."""
        found, ids, samples = [], self.ids_of(key), self.store.index.samples
        for at, low in enumerate(ids):
            found.append(ids.index(samples.first_from(key_of(key), low) or ids[-1], at) - at)
        return found


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 400)),
            st.tuples(st.just("sample"), st.integers(1, 9)),
            st.tuples(st.just("evict"), st.integers(1, 400)),
            st.tuples(st.just("upgrade"), st.integers(0, 1)),
        ),
        max_size=12,
    ),
    seed=st.integers(0, 2**32),
)
def test_a_search_finds_the_neighbours_of_every_id_whatever_came_before(steps, seed):
    choice = random.Random(seed)
    zone = Zone()
    for name, number in steps:
        if name == "add":
            zone.add(choice.choices(range(4), [1, 9, 90, 900], k=number))
        elif name == "sample":
            zone.store.sample_more(number, choice.getrandbits(64))
        elif name == "evict":
            zone.store.move_first(min(zone.store.state.first_id + number, len(zone.keys) + 1))
            zone.store.reclaim(1, 500)
        else:
            zone.upgrade(hint=bool(number))
        reader = Reader(zone.store, 1)
        for key in range(4):
            ids = zone.ids_of(key)
            for bound in (0, choice.randint(0, len(zone.keys) + 1), choice.randint(0, len(zone.keys) + 1)):
                assert reader.oldest_of_key(key_of(key), bound) == min([n for n in ids if n >= bound], default=0)
                assert reader.newest_of_key(key_of(key), bound) == max([n for n in ids if n <= bound], default=0)


PATTERNS: dict[str, Callable[[int, random.Random], int]] = {
    "one key": lambda _number, _choice: 0,
    "ten in turns": lambda number, _choice: number % 10,
    "as many in turns as lie between two samples": lambda number, _choice: number % STRIDE,
    "one that was silent for long": lambda number, _choice: int(number % 1_000 > 900 or 10_000 < number < 25_000),
    "few of one and many of another": lambda _number, choice: int(choice.random() < 0.01),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("hint", [False, True])
def test_a_search_begins_near_what_it_finds_however_many_messages_a_key_has(pattern, hint):
    choice = random.Random(1)
    zone = Zone()
    zone.add([PATTERNS[pattern](number, choice) for number in range(30_000)])
    zone.sample(2)
    if hint:
        zone.upgrade(hint=True)
    for key in set(zone.keys):
        distances = zone.distances(key)
        assert sum(distances) / len(distances) <= 1.5 * STRIDE
        assert max(distances) <= 20 * STRIDE


def test_an_open_page_and_what_was_looked_at_before_are_left_alone():
    zone = Zone()
    zone.add([0] * 1_000)
    assert zone.store.sample_more(10**6, 5)
    taken = dict(zone.store.index.samples._groups[int.from_bytes(key_of(0), "big") % 251])
    assert zone.store.sample_more(10**6, 6)
    assert zone.store.index.samples._groups[int.from_bytes(key_of(0), "big") % 251] == taken
    ids = taken[key_of(0)]
    assert all(before < after for before, after in pairwise(ids))
    assert ids[-1] < zone.store.directory.first_id(zone.store.state.next_page - 1)


def test_what_is_left_of_a_large_message_that_is_being_removed_is_passed_over():
    zone = Zone()
    add(zone.store, [(key_of(1), bytes(30_000)), (key_of(2), b"small"), (key_of(1), bytes(7_000))], SENDER, 1)
    zone.store.move_first(2)
    assert zone.store.reclaim(1, 2)
    zone.sample(1)
    assert zone.store.index.samples.next_page == zone.store.state.next_page
    assert Reader(zone.store, 1).oldest_of_key(key_of(1), 1) == 3


def test_samples_of_messages_that_are_gone_are_forgotten():
    zone = Zone()
    zone.store.limits.change(MIB, None, None)
    groups = zone.store.index.samples._groups
    # Each key once, so that nothing but the sweep forgets them.
    for start in range(0, 120_000, 10_000):
        zone.add(list(range(start, start + 10_000)))
        zone.sample(start)
    kept = sum(len(ids) for keys in groups if keys for ids in keys.values())
    stored = zone.store.state.count
    turn = SWEPT_PAGES * len(groups) * stored // zone.store.state.pages
    assert zone.store.state.evicted > 2 * stored
    assert kept <= 1.2 * (stored + turn) / STRIDE


def test_what_an_upgrade_leaves_is_read_when_it_is_needed():
    zone = Zone()
    zone.add([number % 300 for number in range(20_000)])
    zone.sample(3)
    zone.upgrade(hint=True)
    samples = zone.store.index.samples
    assert samples._groups.count(None) == len(samples._groups)
    assert Reader(zone.store, 1).oldest_of_key(key_of(7), 9_000) == 9_008
    assert samples._groups.count(None) == len(samples._groups) - 1
    before = {number: value for number, value in zone.maps.message_hints_map.entries.items() if number >> 24 == SAMPLES}
    zone.upgrade(hint=True)
    after = {number: value for number, value in zone.maps.message_hints_map.entries.items() if number >> 24 == SAMPLES}
    assert before == after


def test_following_a_key_leads_to_its_oldest_message():
    links = Links(4, maps_of("zone_canister").message_hints_map)
    links.add(1, [0, 0, 1, 3, 2, 4], [3, 5, 4, 6, 0, 0])
    assert [links.first_from(6, low) for low in (1, 2, 3, 4, 5, 6)] == [1, 3, 3, 4, 6, 6]
