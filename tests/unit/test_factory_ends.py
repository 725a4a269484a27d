"""How zones end, on the host: between a retirement's calls everything else happens that can, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from kybra import Principal

from factory import api_custody, context, control, creation, retirement
from factory.children import CREATED, LIVE, RETIRED, RETIRING, SHARED, SOVEREIGN, Child
from factory.deposit_log import SETTLED
from factory.deposits import transfer
from factory.marks import deposit_key
from factory.returner import RETURNER_HASH
from factory.zones import INSTALLED, Creation, zone_key
from tests.support.platform import FACTORY, SECOND, Call, Platform
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


def creation_of(platform: Platform, canister: bytes, stage: int, **others: Any) -> Creation:
    """The creation that a child came from, taken up last an hour ago."""
    child = record(canister)
    made = Creation(child.creator, child.zone_id, "host", "/", b"")
    for name, value in others.items():
        setattr(made, name, value)
    number = context.creations.begin(made, platform.now - 3_600 * SECOND)
    context.creations.has_canister(number, canister, platform.now)
    context.creations.advance(number, stage, platform.now)
    wish = Creation(child.creator, child.zone_id, "host", "/", b"")
    for name, value in others.items():
        setattr(wish, name, value)
    return wish


def test_an_owner_who_came_by_a_transfer_whose_answer_was_lost_has_a_say_in_the_end(platform):
    canister = add_child(platform, 1, T)
    platform.canisters[canister].controllers = [FACTORY, OWNER]
    ended = platform.start(retirement.retire(canister))
    platform.settle()
    assert "1 of 1 owners have yet to ask for it" in ended[0][1]
    child = record(canister)
    assert (child.stage, child.owners, platform.canisters[canister].status) == (LIVE, [OWNER], "running")


def test_a_zone_whose_end_has_begun_is_handed_to_nobody(platform):
    canister = owned(platform, 1, T)
    child = record(canister)
    child.stage, child.offered, child.offered_custody, child.accepted = RETIRING, [OWNER], SOVEREIGN, [OWNER]
    context.children.put(canister, child)
    handed = platform.start(control.hand_over(canister))
    assert (handed, platform.sent) == (["this zone is not live: it is retiring"], [])
    platform.start(control.set_controllers(canister, [OWNER], False))
    platform.settle()
    assert platform.canisters[canister].controllers == [FACTORY, OWNER]


@pytest.mark.parametrize("asks", ["retire", "refresh"])
@pytest.mark.parametrize(
    ("controllers", "agreed", "fault"),
    [([OWNER], [], "the factory does not control"), ([FACTORY, OWNER, OTHER], [OWNER], "1 of 2 owners have yet")],
)
@pytest.mark.parametrize("stage", [LIVE, CREATED])
def test_a_zone_that_cannot_be_ended_any_more_is_what_it_was_before(platform, asks, controllers, agreed, fault, stage):
    canister = owned(platform, 1, T)
    if stage == CREATED:
        context.battery.forget(canister)
    platform.start(retirement.retire(canister))
    platform.answer(next_of(platform, "stop_canister"), "Rejection code 5, Only controllers can call stop_canister")
    assert record(canister).stage == RETIRING
    platform.canisters[canister].controllers = controllers
    platform.pass_time(61)
    if asks == "retire":
        ended = platform.start(retirement.retire(canister))
        platform.settle()
        assert fault in ended[0][1]
    else:
        platform.start(api_custody.refresh_custody(Principal.from_hex(canister.hex())))
        platform.settle()
    child = record(canister)
    assert (child.stage, child.agreed, child.emptied) == (stage, agreed, False)


def test_reading_who_controls_a_zone_does_not_stop_its_end_half_way(platform):
    canister = owned(platform, 1, T)
    ended = platform.start(retirement.retire(canister))
    next_of(platform, "stop_canister")
    platform.pass_time(61)
    platform.canisters[canister].controllers.append(OTHER)
    platform.start(api_custody.refresh_custody(Principal.from_hex(canister.hex())))
    platform.answer(platform.open[-1])
    assert record(canister).stage == RETIRING
    platform.settle()
    assert (ended[0][1], record(canister).stage) == ("", RETIRED)


def test_a_zone_that_asks_for_cycles_while_it_ends_gets_none(platform):
    canister = add_child(platform, 1, T // 4)
    ended = platform.start(retirement.retire(canister))
    next_of(platform, "canister_status")
    asked = platform.start(transfer(canister, T, "asked for by the child"))
    platform.settle()
    assert "this zone is not live: it is retiring" in asked[0]["err"]["other"]
    assert ended == [(0, "")]
    assert "deposit_cycles" not in [call.method for call in platform.sent]
    conserved(platform)


def test_a_zone_does_not_end_while_a_deposit_to_it_is_being_made(platform):
    canister = add_child(platform, 1, T)
    asked = platform.start(transfer(canister, T, "asked for by the child"))
    assert platform.open[0].method == "canister_info"
    ended = platform.start(retirement.retire(canister))
    assert "is under way" in ended[0][1]
    platform.settle()
    assert asked == [{"ok": T}]


def test_a_deposit_that_is_answered_after_its_zone_has_ended_is_settled(platform):
    canister = add_child(platform, 1, T)
    asked = platform.start(transfer(canister, T, "asked for by the child"))
    call = next_of(platform, "deposit_cycles")
    retirement.end(canister)
    platform.answer(call)
    assert asked == [{"ok": T}]
    (entry,) = context.deposit_log.page(None, 9)
    assert entry.outcome == SETTLED
    assert not context.battery.is_child(canister)
    assert not context.open_calls.running(deposit_key(canister), platform.now)


def test_asking_for_a_creation_again_brings_no_zone_back_that_is_being_ended(platform):
    canister = owned(platform, 1, T)
    wish = creation_of(platform, canister, INSTALLED, custody=SOVEREIGN, owners=[OWNER], funding=2)
    context.battery.forget(canister)
    ended = platform.start(retirement.retire(canister))
    next_of(platform, "canister_status")
    asked = platform.start(creation.make_zone(wish, None, None))
    assert "is being retired" in asked[0][1]
    assert (record(canister).stage, context.battery.is_child(canister)) == (RETIRING, False)
    platform.settle()
    assert ended == [(T, "")]
    assert creation.register(1) != ""
    assert record(canister).stage == RETIRED


def test_a_zone_does_not_end_while_its_creation_is_being_carried_out(platform):
    canister = owned(platform, 1, T)
    child = record(canister)
    child.stage = CREATED
    context.children.put(canister, child)
    context.open_calls.start(zone_key(child.creator, child.zone_id), platform.now)
    ended = platform.start(retirement.retire(canister))
    assert "is being created" in ended[0][1]
    assert platform.sent == []
