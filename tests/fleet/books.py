"""What the factory's own books say left the battery, held against the policy's limits, window by window.

Reads only queries; knows nothing of who asked. A window begins with the first use after the one before is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from factory.battery import AGGREGATE_LIMIT
from factory.policy import CHILD_WINDOW, SHARED_WINDOW
from tests.fleet.flows import Fleet

SECOND = 10**9
DAY = 86_400
PAGE = 200


def deposits(fleet: Fleet) -> list[dict[str, Any]]:
    """All deposits, oldest first, those of creations among them (they name no canister)."""
    found: list[dict[str, Any]] = []
    before = None
    while entries := fleet.factory.call("get_deposits", before, PAGE)["entries"]:
        found += entries
        before = entries[-1]["number"]
    return found[::-1]


def net(entries: Iterable[dict[str, Any]]) -> int:
    """What left the battery with some deposits."""
    return sum(entry["attached"] - entry["refunded"] for entry in entries)


def most_in_a_window(uses: Iterable[tuple[int, int]], seconds: int) -> int:
    """The largest sum of amounts in a window; uses are pairs of time (ns) and amount, in the order of time."""
    most = used = ends_at = 0
    for time, amount in uses:
        if time >= ends_at:
            used, ends_at = 0, time + seconds * SECOND
        used += amount
        most = max(most, used)
    return most


def assert_within_quotas(fleet: Fleet, shared: Iterable[bytes] = ()) -> None:
    """No window of any quota holds more than its limit: all children's, each child's, sponsored creations'.

    `shared` are children that the factory never controlled alone.
    """
    to_children = [entry for entry in deposits(fleet) if entry["canister"] is not None]
    uses = [(entry["begun_at"], net([entry])) for entry in to_children]
    assert most_in_a_window(uses, DAY) <= AGGREGATE_LIMIT
    policy = fleet.factory.call("get_battery_policy")
    for child in {entry["canister"] for entry in to_children}:
        own = [(entry["begun_at"], net([entry])) for entry in to_children if entry["canister"] == child]
        assert most_in_a_window(own, CHILD_WINDOW) <= policy["child_limit"]
        if child in shared:
            assert most_in_a_window(own, SHARED_WINDOW) <= policy["shared_limit"]
    creation = fleet.factory.call("get_creation_policy")
    made = [one for one in fleet.creations().values() if one["zone_id"] and one["stage"][0] != "failed"]
    unproven = [one for one in made if one["funding"][0] == "sponsored" and not one["proven"]]
    counted = most_in_a_window([(one["asked_at"], 1) for one in unproven], DAY)
    assert counted <= creation["unproven"]["creations"]
    spent = most_in_a_window([(one["asked_at"], one["cycles"]) for one in unproven], DAY)
    assert spent <= creation["unproven"]["cycles"]
