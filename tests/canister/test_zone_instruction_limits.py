"""Every update method of the zone, stopped at 200 and more evenly spaced points: the stores are as they were.

In one process with localnet, which lets a test choose the limit of a message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from ic.principal import Principal

from tests.support.local_canister import Answer
from tests.support.local_zone import LocalZone
from tests.support.zones import TEAM, key_id, member, public_key
from zone_canister.message_state import MIB

POINTS = 210
ADMIN = member(0)

pytestmark = pytest.mark.localnet_only("the instruction limit of a message is chosen")


@dataclass
class Case:
    """How a method is called for the n-th time and by whom, and what must pass before it can be called again."""

    payload: Callable[[LocalZone, int], bytes]
    sender: Principal = ADMIN
    seconds: int = 0
    seconds_after: int = 0
    """What must pass before other methods can be called again."""


def message(number: int, size: int) -> bytes:
    return number.to_bytes(4, "big") + bytes([number % 251]) * (size - 4)


def one_message(zone: LocalZone, number: int) -> bytes:
    return zone.encode("add_message", key_id(number % 5), message(number, 20_000))


def batch(zone: LocalZone, number: int) -> bytes:
    items = [{"0": key_id(n % 5), "1": message(100 * number + n, 3_000 + n)} for n in range(9)]
    return zone.encode("add_messages", [*items, *items[:2]])


def limits(zone: LocalZone, number: int) -> bytes:
    changed = {"max_bytes": MIB, "max_messages": 10**6 - number, "max_age_seconds": 10**6}
    return zone.encode("set_message_limits", changed)


def maintenance(zone: LocalZone, _: int) -> bytes:
    return zone.encode("set_maintenance", {"on": True, "restoring": False})


def prune(zone: LocalZone, _: int) -> bytes:
    return zone.encode("prune_messages", zone.read("get_min_message_id"))


def quota(zone: LocalZone, number: int) -> bytes:
    return zone.encode("set_member_quota", {"max_messages": 10**6 - number, "max_bytes": 10**9})


CASES = {
    "add_message": Case(one_message),
    "add_messages": Case(batch),
    "set_message_limits": Case(limits),
    "prune_messages": Case(prune),
    "set_member_quota": Case(quota),
    "set_maintenance": Case(maintenance, sender=TEAM, seconds_after=1_801),
    "update_role": Case(lambda zone, number: zone.encode("update_role", public_key(100 + number))),
    "refresh_controllers": Case(lambda zone, _: zone.encode("refresh_controllers"), seconds=61),
    "request_topup_if_low": Case(lambda zone, _: zone.encode("request_topup_if_low"), seconds=601),
}


@pytest.fixture(scope="module")
def full_zone(zone_build) -> LocalZone:
    """A zone at its limit of bytes, with few enough cycles to ask for more."""
    zone = LocalZone(zone_build, cycles=690 * 10**9)
    assert zone.call("set_message_limits", limits(zone, 0), zone.admin).reply
    for number in range(60):
        assert zone.call("add_message", one_message(zone, 10_000 + number), zone.admin).reply
    assert zone.call("refresh_controllers", b"DIDL\x00\x00", zone.admin).reply
    zone.local.advance(2)
    return zone


class Attempts:
    """Calls of one method, numbered, so that no two are alike."""

    def __init__(self, zone: LocalZone, method: str):
        self.zone = zone
        self.method = method
        self.number = 0

    def prepare(self) -> None:
        """Makes one more call possible."""
        self.number += 1
        if CASES[self.method].seconds:
            self.zone.local.advance(CASES[self.method].seconds)

    def call(self, limit: int | None = None) -> Answer:
        """The call that was prepared, in which no message may take more instructions than the limit."""
        payload = CASES[self.method].payload(self.zone, self.number)
        with self.zone.update_limit(limit or self.zone.network.limits.update):
            return self.zone.call(self.method, payload, CASES[self.method].sender)

    def least_limit(self) -> int:
        """Instructions that the longest message of such a call takes, to within some hundredths."""
        self.prepare()
        limit = self.call().instructions
        # The interpreter makes what runs often cheaper, so the way is down, with calls that last.
        while True:
            self.prepare()
            if self.call(limit).reply is None:
                return limit
            limit = limit * 31 // 32

    def seen(self, point: int) -> dict[str, Any]:
        """All that can be read; all ciphertexts, which take long to read, at some points alone."""
        found = {**self.zone.state(ciphertexts=point % 70 == 0), "controllers": self.zone.read("get_controllers")}
        found["health"] = self.zone.call("get_health", b"DIDL\x00\x00", TEAM).reply
        assert found["health"] is not None
        if CASES[self.method].seconds:
            # Hours pass between these calls, and with them what counts against a quota.
            del found["get_my_quota_use"]
        return found


@pytest.mark.parametrize("method", sorted(CASES))
def test_a_call_stopped_anywhere_changes_nothing(full_zone: LocalZone, method: str):
    attempts = Attempts(full_zone, method)
    limit = attempts.least_limit()
    before = attempts.seen(0)
    for point in range(1, POINTS + 1):
        attempts.prepare()
        answer = attempts.call(limit * point // (POINTS + 1))
        assert answer.reply is None
        assert "instructions" in answer.reject
        seen = attempts.seen(point)
        assert seen == {name: before[name] for name in seen}
        assert full_zone.read("get_role", member(100 + attempts.number).bytes) == 0
    attempts.prepare()
    assert attempts.call().reply is not None
    full_zone.local.advance(CASES[method].seconds_after)


def test_every_update_method_is_stopped_here(full_zone: LocalZone):
    assert set(CASES) == {method for method in full_zone.methods if not full_zone.is_query(method)}
