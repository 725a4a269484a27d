"""Role lookups that the factory pays for, on the host: no stranger shuts an owner out."""

import hashlib

from factory.creation_policy import CreationRules
from factory.lookups import ASSUMED_CYCLES, HOUR, LISTED, MAX_OPEN, STRANGERS, Lookups
from tests.support.maps import maps_of

SECOND = 1_000_000_000
NOW = 10**18
PRICE = 62_000_000
"""What a lookup costs on a subnet of 13 nodes."""


def rules(lookup_cycles: int = 25 * 10**9) -> tuple[Lookups, CreationRules]:
    maps = maps_of("factory")
    creation = CreationRules(maps.settings_map, maps.allowed_map)
    policy = creation.policy()
    policy.figures["lookup_cycles"] = lookup_cycles
    assert creation.change(policy) == ""
    return Lookups(maps.settings_map, creation), creation


def name(number: int) -> bytes:
    return hashlib.sha224(b"%d" % number).digest() + b"\x02"


def flood(lookups: Lookups, now: int, price: int | None = PRICE) -> int:
    """Lookups of new names until one is refused; returns how many were made."""
    for number in range(10_000):
        if lookups.fault(name(number), lookups.budget_of(name(number)), now):
            return number
        lookups.end(lookups.begin(name(number), STRANGERS, now), price, now)
    raise AssertionError("nothing bounds strangers' lookups")


def test_strangers_spend_what_the_policy_allows_in_an_hour_and_no_more():
    lookups, _ = rules()
    made = flood(lookups, NOW)
    assert 25 * 10**9 - ASSUMED_CYCLES < made * PRICE <= 25 * 10**9
    assert flood(lookups, NOW + (HOUR - 1) * SECOND) == 0
    assert flood(lookups, NOW + HOUR * SECOND) == made


def test_a_lookup_whose_price_is_unknown_counts_as_a_dear_one():
    lookups, _ = rules()
    assert flood(lookups, NOW, None) == 25 * 10**9 // ASSUMED_CYCLES


def test_a_dear_lookup_counts_in_full():
    lookups, _ = rules(10**9)
    lookups.end(lookups.begin(name(1), STRANGERS, NOW), 2 * 10**9, NOW)
    assert "used up: try again in 3601 seconds" in lookups.fault(name(2), STRANGERS, NOW)


def test_strangers_do_not_use_up_what_the_listed_have():
    lookups, creation = rules()
    flood(lookups, NOW)
    assert "the 25000000000 cycles an hour for role lookups are used up" in lookups.fault(name(-1), STRANGERS, NOW)
    assert creation.change_allowed([name(-1)], [], NOW) == ""
    budget = lookups.budget_of(name(-1))
    assert (budget, lookups.fault(name(-1), budget, NOW)) == (LISTED, "")


def test_strangers_have_eight_lookups_under_way_at_a_time():
    lookups, _ = rules()
    open_ones = [lookups.begin(name(number), STRANGERS, NOW) for number in range(MAX_OPEN)]
    assert lookups.fault(name(99), STRANGERS, NOW) == "8 role lookups are under way: ask again in a few seconds"
    assert lookups.fault(name(99), LISTED, NOW) == ""
    lookups.end(open_ones[0], PRICE, NOW)
    assert lookups.fault(name(99), STRANGERS, NOW) == ""


def test_what_came_back_after_the_hour_is_no_credit_for_the_next():
    lookups, _ = rules(10**9)
    late = lookups.begin(name(1), STRANGERS, NOW)
    made = flood(lookups, NOW + HOUR * SECOND)
    lookups.end(late, PRICE, NOW + HOUR * SECOND)
    assert flood(lookups, NOW + HOUR * SECOND + 1) == 0
    assert made * PRICE <= 10**9
