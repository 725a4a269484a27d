"""Quotas of members against a plain list of what was added."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.support.maps import maps_of
from zone_canister.quotas import HOUR, WINDOW_HOURS, MemberQuotas

DAY = 24 * HOUR
MEMBER = b"\x01" * 29
MOST_MESSAGES, MOST_BYTES = 10, 1_000

additions = st.tuples(
    st.sampled_from([0, 1, HOUR - 1, HOUR, 5 * HOUR, DAY, 40 * HOUR]), st.integers(1, 6), st.integers(0, 600)
)


@given(st.lists(additions, max_size=30), st.integers(0, HOUR))
def test_no_day_holds_more_than_the_quota_and_the_time_told_is_when_it_frees_up(steps, start):
    maps = maps_of("zone_canister")
    quotas = MemberQuotas(maps.settings_map, maps.member_quotas_map)
    assert quotas.change(MOST_MESSAGES, MOST_BYTES) == ""
    now, added = 10**9 + start, []
    for seconds, messages, size in steps:
        now += seconds
        quotas.forget_idle(now, 1)
        fault = quotas.fault(quotas.window(MEMBER, now), messages, size, now)
        if fault:
            wait = int(fault.rsplit("try again in ", 1)[1].removesuffix(" seconds"))
            # Another one over the same maps, as after an upgrade, and so that this one's hours do not pass.
            later = MemberQuotas(maps.settings_map, maps.member_quotas_map)
            assert later.fault(later.window(MEMBER, now + wait - 1), messages, size, now + wait - 1)
            assert later.fault(later.window(MEMBER, now + wait), messages, size, now + wait) == ""
            continue
        quotas.count(MEMBER, quotas.window(MEMBER, now), messages, size)
        added.append((now, messages, size))
        last_day = [entry for entry in added if entry[0] > now - DAY]
        assert sum(count for _, count, _ in last_day) <= MOST_MESSAGES
        assert sum(size for _, _, size in last_day) <= MOST_BYTES
        two_days = [entry for entry in added if entry[0] > now - 26 * HOUR]
        used = quotas.used(MEMBER, now)
        assert sum(count for _, count, _ in last_day) <= used[0] <= sum(count for _, count, _ in two_days)


def test_members_who_add_nothing_for_a_day_take_no_room_and_looking_for_them_is_bounded():
    maps = maps_of("zone_canister")
    quotas, hour = MemberQuotas(maps.settings_map, maps.member_quotas_map), 10**6
    members = [number.to_bytes(2, "big") + b"\x02" for number in range(1_000)]
    for number, member in enumerate(members):
        now = (hour + number % 2 * 20) * HOUR
        quotas.count(member, quotas.window(member, now), 1, 5)
    now = (hour + 26) * HOUR
    steps = 1
    while not quotas.forget_idle(now, 100):
        assert len(maps.member_quotas_map.entries) >= 1_000 - 100 * steps
        steps += 1
    assert steps == 10
    assert sorted(maps.member_quotas_map.entries) == members[1::2]
    assert quotas.used(members[0], now) == (0, 0)
    assert quotas.used(members[1], now) == (1, 5)
    # All are looked at again after a day, or by the next version.
    assert quotas.forget_idle(now + 20 * HOUR, 10**6)
    assert len(maps.member_quotas_map.entries) == 500
    assert quotas.forget_idle(now + 25 * HOUR, 10**6)
    assert not maps.member_quotas_map.entries


def test_a_duplicate_takes_no_bytes_even_where_none_are_left():
    maps = maps_of("zone_canister")
    quotas = MemberQuotas(maps.settings_map, maps.member_quotas_map)
    quotas.count(MEMBER, quotas.window(MEMBER, 10**9), 1, 5_000)
    assert quotas.change(None, 100) == ""
    assert quotas.fault(quotas.window(MEMBER, 10**9), 1, 0, 10**9) == ""
    assert quotas.fault(quotas.window(MEMBER, 10**9), 1, 1, 10**9).startswith("5000 bytes in 24 hours and 1 more")


@given(st.integers(0, 30), st.integers(0, 2**32 - 1), st.integers(0, 2**63))
def test_what_the_former_layout_holds_counts_on(hours, messages, size):
    maps = maps_of("zone_canister")
    hour = 10**9 // HOUR
    buckets = [(messages, size) if at == hour % WINDOW_HOURS else (0, 0) for at in range(WINDOW_HOURS)]
    numbers = [number for bucket in buckets for number in bucket]
    maps.member_quotas_map.insert(MEMBER, struct.pack("<IIQ" + WINDOW_HOURS * "IQ", hour, messages, size, *numbers))
    quotas = MemberQuotas(maps.settings_map, maps.member_quotas_map)
    now = (hour + hours) * HOUR
    assert quotas.used(MEMBER, now) == ((messages, size) if hours < WINDOW_HOURS else (0, 0))
    quotas.count(MEMBER, quotas.window(MEMBER, now), 0, 0)
    again = MemberQuotas(maps.settings_map, maps.member_quotas_map)
    assert again.used(MEMBER, now) == quotas.used(MEMBER, now)
