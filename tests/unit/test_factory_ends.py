"""How zones end, on the host: between a retirement's calls everything else happens that can, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from factory import api_custody, context, retirement
from factory.children import LIVE, RETIRED, SHARED, Child
from factory.returner import RETURNER_HASH
from tests.support.platform import FACTORY, Call, Platform
from tests.unit.test_factory_sweep import T, add_child, stand

OWNER = b"\x05" * 28 + b"\x02"
OTHER = b"\x06" * 28 + b"\x02"


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    return stand(monkeypatch)


def record(canister: bytes) -> Child:
    child = context.children.get(canister)
    assert child is not None
    return child


def owned(platform: Platform, number: int, balance: int, **others: Any) -> bytes:
    """A live zone that OWNER controls beside the factory."""
    canister = add_child(platform, number, balance, controllers=[FACTORY, OWNER], **others)
    child = record(canister)
    child.owners, child.agreed, child.custody = [OWNER], [OWNER], SHARED
    child.controllers = [FACTORY, OWNER]
    context.children.put(canister, child)
    return canister


def next_of(platform: Platform, method: str, fate: str = "ok") -> Call:
    """Answers the open calls until one of a method waits, and returns that."""
    while True:
        waiting = [call for call in platform.open if call.method == method]
        if waiting:
            return waiting[0]
        platform.answer(platform.open[0], fate)


def conserved(platform: Platform) -> None:
    """No cycle came from nowhere or is lost."""
    held = platform.balance + sum(canister.balance for canister in platform.canisters.values())
    assert held + platform.in_flight() + platform.burned == platform.minted


def returned() -> int:
    """What the books say came back of zones that have ended."""
    return context.deposit_log.sums()[4].refunded


def test_a_zone_says_nothing_of_what_it_gave_back_when_its_owner_installed_the_code_that_says_so(platform):
    canister = owned(platform, 1, T, module_hash=RETURNER_HASH)
    forger = platform.canisters[canister]
    forger.returns_to, forger.given_back = canister, 2**128 - 1
    held = platform.balance
    ended = platform.start(retirement.retire(canister))
    platform.settle()
    assert ended == [(T, "")]
    assert (returned(), platform.balance - held) == (T, T)
    assert [call.method for call in platform.sent].count("install_code") == 1
    conserved(platform)


@pytest.mark.parametrize("method", ["install_code", "give_back"])
def test_a_retirement_whose_answer_was_lost_books_all_that_came_back_and_only_that(platform, method):
    canister = owned(platform, 1, T)
    held = platform.balance
    platform.start(retirement.retire(canister))
    platform.answer(next_of(platform, method), "trap")
    assert record(canister).stage != RETIRED
    platform.pass_time(600)
    platform.settle()
    ended = platform.start(retirement.retire(canister))
    platform.settle()
    assert (ended, returned()) == ([(platform.balance - held, "")], platform.balance - held)
    installed = [call.method for call in platform.sent].count("install_code")
    assert installed == (2 if method == "install_code" else 1)
    assert platform.burned < T // 1000
    conserved(platform)


def test_no_more_is_believed_of_what_came_back_than_there_was(platform):
    canister = owned(platform, 1, T)
    platform.start(retirement.retire(canister))
    call = next_of(platform, "give_back")
    platform.canisters[canister].given_back = 50 * T
    platform.answer(call)
    platform.settle()
    assert returned() == T
