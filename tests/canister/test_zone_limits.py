"""Limits, eviction, quotas and paging of the message store, as clients of the Wasm see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.actor import Actor
from tests.support.network import CallRejected, Network
from tests.support.zone_reads import ZoneReads
from tests.support.zones import TEAM, deploy_zone, join, key_id, member
from zone_canister.message_eviction import MAX_EVICTED_PAGES
from zone_canister.message_log import INDEX_BYTES, PAGE_RESERVED_BYTES
from zone_canister.message_state import MIB
from zone_canister.quotas import HOUR, WINDOW_HOURS

LAST = 2**32 - 1
ADMIN, ONE, TWO = member(0), member(1), member(2)


@pytest.fixture(scope="module")
def joined(zone_build) -> Iterator[tuple[Actor, bytes]]:
    """A zone of an admin and two members, and a snapshot of it as it is still empty."""
    with Network() as network:
        zone = deploy_zone(network, zone_build.wasm, zone_build.did)
        join(zone, 0, 400)
        join(zone, 1)
        join(zone, 2)
        yield zone, network.take_snapshot(zone.id, TEAM)["id"]


@pytest.fixture
def zone(joined) -> Actor:
    """The zone without any message, at its default limits."""
    zone, empty = joined
    zone.network.load_snapshot(zone.id, empty, TEAM)
    return zone


def batch(first: int, count: int, size: int, keys: int = 3) -> list[dict[str, bytes]]:
    """Messages of different texts under some keys in turn."""
    return [
        {"0": key_id(n % keys), "1": n.to_bytes(4, "big") + bytes([n % 251]) * (size - 4)}
        for n in range(first, first + count)
    ]


def add(zone: Actor, items: list[dict[str, bytes]], sender: Any = ONE) -> Any:
    """The ids of messages added, or why none was."""
    return zone.call("add_messages", items, sender=sender)[1]


def set_limits(zone: Actor, max_bytes: int | None = None, most: int | None = None, age: int | None = None) -> None:
    changed = {"max_bytes": max_bytes, "max_messages": most, "max_age_seconds": age}
    assert zone.call("set_message_limits", changed, sender=ADMIN) == ("ok", None)


def set_quota(zone: Actor, messages: int | None = None, size: int | None = None) -> None:
    quota = {"max_messages": messages, "max_bytes": size}
    assert zone.call("set_member_quota", quota, sender=ADMIN) == ("ok", None)


# Limits ----------------------------------------------------------------------------------------------------


def test_a_message_larger_than_the_limit_is_refused_with_both_numbers(zone: Actor):
    set_limits(zone, MIB)
    fault = f"the ciphertext has {MIB + 1} bytes, at most {MIB} can be stored"
    assert zone.call("add_message", key_id(1), bytes(MIB + 1), sender=ONE) == ("err", fault)
    label, fault = zone.call("add_message", key_id(1), bytes(MIB), sender=ONE)
    assert label == "err"
    taken = 171 * PAGE_RESERVED_BYTES + INDEX_BYTES
    assert fault == f"the messages take {taken} bytes, the zone's limit is {MIB}"
    assert add(zone, batch(0, 4, 300_000)).endswith(f"bytes, the zone's limit is {MIB}")
    assert ZoneReads(zone, ONE).max_id == 0


def test_a_lowered_limit_is_worked_off_in_the_background_and_shown(zone: Actor):
    for start in range(0, 1_500, 250):
        assert add(zone, batch(start, 250, 5_000))
    quiet = zone.call("get_eviction_info")
    assert (quiet["pending_bytes"], quiet["pending_since"], quiet["messages_evicted"]) == (0, None, 0)
    usage = ZoneReads(zone, ONE).usage
    assert usage > 8 * MIB
    since = zone.network.time() // 10**9
    set_limits(zone, MIB)
    shown = zone.call("get_eviction_info")
    assert (shown["pending_bytes"], shown["pending_since"]) == (usage - MIB, since)
    assert add(zone, batch(9_000, 1, 100)) == [1_501]
    after_an_add = zone.call("get_eviction_info")
    # It fits the last page, so what it makes room for is an index entry and a page.
    assert PAGE_RESERVED_BYTES <= after_an_add["bytes_evicted"] <= 2 * PAGE_RESERVED_BYTES
    steps = 0
    while zone.call("get_eviction_info")["pending_bytes"]:
        before = zone.call("get_eviction_info")
        zone.network.advance(1)
        now = zone.call("get_eviction_info")
        assert now["messages_evicted"] > before["messages_evicted"]
        assert now["first_id"] == now["messages_evicted"] + 1 == zone.call("get_min_message_id")
        steps += 1
        assert steps < 10
    assert steps > 1
    end = zone.call("get_eviction_info")
    assert (end["pending_bytes"], end["pending_since"]) == (0, None)
    assert ZoneReads(zone, ONE).usage <= MIB


def test_eviction_that_a_call_cannot_finish_stores_nothing_says_so_and_goes_on(zone: Actor):
    for start in range(0, 4_320, 360):
        assert len(add(zone, batch(start, 360, 5_000), TWO if start >= 2_160 else ONE)) == 360
    set_limits(zone, most=10)
    reads = ZoneReads(zone, ONE)
    fault = add(zone, batch(9_000, 1, 100))
    gone = zone.call("get_max_message_id") - 9
    assert fault == (
        f"{gone} pages would have to be evicted in this call, at most {MAX_EVICTED_PAGES} are: "
        "eviction goes on in the background, try again in a minute"
    )
    assert (ZoneReads(zone, ONE).max_id, ZoneReads(zone, ONE).count) == (reads.max_id, reads.count)
    zone.network.advance(1)
    assert ZoneReads(zone, ONE).count < reads.count
    for _ in range(10):
        zone.network.advance(1)
    assert ZoneReads(zone, ONE).count <= 10
    assert add(zone, batch(9_000, 1, 100)) == [reads.max_id + 1]


def test_what_has_expired_disappears_from_every_read_at_once(zone: Actor):
    add(zone, batch(0, 6, 50))
    zone.network.advance(20)
    add(zone, batch(6, 3, 50))
    set_limits(zone, age=30)
    hashes = [message["hash"] for message in zone.call("get_messages_by_range", 0, LAST, sender=ONE)]
    # Time alone: no round in which the background could do anything.
    zone.network.pic.advance_time(15 * 10**9)
    reads = ZoneReads(zone, ONE)
    assert (reads.count, reads.min_id, reads.max_id) == (3, 7, 9)
    assert [reads.by_id(number) for number in (1, 6)] == [None, None]
    assert [reads.sender(number) for number in (1, 6)] == [None, None]
    assert [reads.by_hash(digest) for digest in hashes[:6]] == [None] * 6
    assert [message["id"] for message in reads.by_range(0, LAST)] == [7, 8, 9]
    assert [meta["id"] for meta in reads.metas(0, LAST)] == [7, 8, 9]
    assert [message["id"] for message in reads.since(0, None, 100)["messages"]] == [7, 8, 9]
    for key in range(3):
        (message,) = reads.by_range_for_key(key_id(key), 0, LAST)
        assert (message["id"], message["prev_msg_id"]) == (7 + key, 0)
        assert reads.ends_of_key(key_id(key)) == (7 + key, 7 + key)
    assert zone.call("get_message_count") == 3
    zone.network.tick(3)
    info = zone.call("get_eviction_info")
    assert (info["messages_evicted"], info["first_id"]) == (6, 7)
    zone.network.advance(60)
    assert ZoneReads(zone, ONE).by_range(0, LAST) == []
    # The same text is a new message once the old one has expired.
    assert add(zone, batch(6, 3, 50)) == [10, 11, 12]


def test_at_a_constant_limit_stable_memory_stops_growing_after_two_turnovers(zone: Actor):
    set_limits(zone, MIB)
    sizes = []
    for turnover in range(4):
        # Large and small ones: pages are filled in different ways.
        for start in range(0, 190, 38):
            add(zone, batch(1_000 * turnover + start, 38, 5_700))
        add(zone, batch(1_000 * turnover + 900, 20, 9_000))
        info = zone.call("get_eviction_info")
        assert info["bytes_evicted"] >= turnover * MIB
        sizes.append((zone.call("get_stable_storage_size"), zone.call("get_logical_stable_storage_size")))
    assert sizes[2] == sizes[3] == sizes[1]


# Quotas ----------------------------------------------------------------------------------------------------


def use_of(zone: Actor, who: Any) -> tuple[int, int]:
    use = zone.call("get_my_quota_use", sender=who)
    return use["messages"], use["bytes"]


def test_a_quota_is_enforced_before_anything_is_stored_and_says_when_it_frees_up(zone: Actor):
    set_quota(zone, messages=10)
    assert add(zone, batch(0, 6, 50)) == [1, 2, 3, 4, 5, 6]
    zone.network.advance(2 * HOUR)
    assert add(zone, batch(6, 3, 50)) == [7, 8, 9]
    used = use_of(zone, ONE)
    fault = add(zone, batch(20, 2, 50))
    start, _, rest = fault.partition(": try again in ")
    assert start == "9 messages in 24 hours and 2 more: a member's quota is 10"
    assert (use_of(zone, ONE), ZoneReads(zone, ONE).max_id) == (used, 9)
    assert add(zone, batch(20, 11, 50)).endswith("less than this call alone: send less at once")
    assert add(zone, batch(20, 2, 50), TWO) == [10, 11]
    wait = int(rest.removesuffix(" seconds"))
    assert 0 < wait <= WINDOW_HOURS * HOUR
    zone.network.advance(wait - 1)
    assert "try again in 1 seconds" in add(zone, batch(30, 2, 50))
    zone.network.advance(1)
    assert add(zone, batch(30, 2, 50)) == [12, 13]


def test_bytes_have_a_quota_and_a_duplicate_costs_a_count_and_no_bytes(zone: Actor):
    set_quota(zone, messages=100, size=13_000)
    # It takes two pages of its own.
    assert add(zone, batch(0, 1, 9_000)) == [1]
    used = use_of(zone, ONE)
    assert used[0] == 1
    assert 2 * PAGE_RESERVED_BYTES < used[1] < 2 * PAGE_RESERVED_BYTES + 100
    assert add(zone, batch(0, 1, 9_000)) == [1]
    assert use_of(zone, ONE) == (2, used[1])
    fault = add(zone, batch(1, 1, 900))
    assert fault.startswith(f"{used[1]} bytes in 24 hours and ")
    assert "a member's quota is 13000: try again in" in fault
    # Where the quota is lowered below what has been used a duplicate still costs no bytes.
    set_quota(zone, size=100)
    assert add(zone, batch(0, 1, 9_000)) == [1]


def test_admins_have_the_same_quota(zone: Actor):
    set_quota(zone, messages=3)
    assert add(zone, batch(0, 3, 50), ADMIN) == [1, 2, 3]
    assert add(zone, batch(3, 1, 50), ADMIN).startswith("3 messages in 24 hours and 1 more: a member's quota is 3")
    assert ZoneReads(zone, ADMIN).max_id == 3


def test_a_quota_outlives_an_upgrade(zone: Actor, zone_build):
    set_quota(zone, messages=3)
    add(zone, batch(0, 3, 50))
    zone.network.upgrade(zone.id, zone_build.wasm, sender=TEAM, skip_pre_upgrade=True)
    assert add(zone, batch(3, 1, 50)).startswith("3 messages in 24 hours and 1 more")


@pytest.mark.parametrize(
    "sizes", [(232,), (3_100,), (6_000,), (4, 6_000), (9_000, 4)], ids=lambda sizes: " and ".join(map(str, sizes))
)
def test_a_member_cannot_evict_more_of_the_others_messages_than_his_quota(zone: Actor, sizes: tuple[int, ...]):
    set_limits(zone, MIB)
    quota = MIB // 4
    for start in range(0, 150, 50):
        add(zone, batch(start, 50, 5_700), TWO)
    set_quota(zone, size=quota)
    kept, number = ZoneReads(zone, ONE).usage, 1_000
    while True:
        pairs = [batch(number + at, 1, sizes[at % len(sizes)])[0] for at in range(6)]
        if isinstance(add(zone, pairs, ONE), str):
            break
        number += len(pairs)
    assert quota - 6 * 3 * PAGE_RESERVED_BYTES < use_of(zone, ONE)[1] <= quota
    with pytest.raises(CallRejected, match="message not found: 1"):
        zone.call("get_message_by_id", 1, sender=ONE)
    others = [meta for meta in ZoneReads(zone, ONE).metas(0, LAST) if meta["sender"] == TWO.bytes]
    lost = kept - len(others) * (PAGE_RESERVED_BYTES + INDEX_BYTES)
    # A batch makes room for as many pages as it may begin, and eviction goes by whole pages.
    assert 0 < lost <= quota + 2 * PAGE_RESERVED_BYTES


# Paging ----------------------------------------------------------------------------------------------------


def test_a_client_pages_through_twenty_thousand_messages(zone: Actor):
    for start in range(0, 20_000, 4_000):
        assert len(add(zone, batch(start, 4_000, 232, keys=5))) == 4_000
    found: list[int] = []
    while not found or found[-1] < zone.call("get_max_message_id"):
        page = zone.call("get_messages_by_range", found[-1] + 1 if found else 0, LAST, sender=TWO)
        found += [message["id"] for message in page]
        # Full, or the end: a client that reads today's replies goes on after the last id.
        assert len(page) * 327 > 1_790_000 or found[-1] == 20_000
    assert found == list(range(1, 20_001))
    newest_first: list[int] = []
    first_of_key = zone.call("get_min_message_id_by_key", key_id(3), sender=TWO)
    while not newest_first or newest_first[-1] > first_of_key:
        below = newest_first[-1] - 1 if newest_first else zone.call("get_max_message_id")
        page = zone.call("get_messages_by_range_for_key", key_id(3), 0, below, sender=TWO)
        newest_first += [message["id"] for message in page]
    assert newest_first == list(range(19_999, 0, -5))
