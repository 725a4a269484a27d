"""How zones end, on the host: between a retirement's calls everything else happens that can, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kybra import Principal, ic

from factory import (
    api_battery,
    api_custody,
    api_install,
    api_zones,
    context,
    control,
    creation,
    pool,
    retirement,
    settling,
)
from factory.admins import FIRST_ADMIN
from factory.children import CREATED, FUNDED, LIVE, RETIRED, RETIRING, SHARED, SOVEREIGN, SPONSORED, Child
from factory.deposit_log import SETTLED
from factory.deposits import transfer
from factory.fuel import DELETED
from factory.marks import custody_key, deposit_key
from factory.returner import RETURNER_HASH
from factory.zones import INSTALLED, Creation, zone_key
from factory.zones import LIVE as ZONE_LIVE
from tests.support.platform import FACTORY, SECOND, Call, Platform
from tests.unit.test_factory_sweep import T, add_child, stand

OWNER = b"\x05" * 28 + b"\x02"
CREATOR = b"\x09" * 28 + b"\x02"
OTHER = b"\x06" * 28 + b"\x02"


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    yield stand(monkeypatch)
    context.open_calls._started.clear()


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


@pytest.mark.parametrize("name", ["wasm_memory_limit", "minimum_incoming_canister_call_cycles"])
@pytest.mark.parametrize("reserved", [0, 3 * T])
def test_no_setting_that_owners_leave_keeps_a_zone_from_its_end(platform, name, reserved):
    canister = owned(platform, 1, T)
    platform.canisters[canister].settings.update({name: 1, "reserved_cycles_limit": reserved})
    platform.canisters[canister].reserved = reserved
    ended = platform.start(retirement.retire(canister))
    platform.settle()
    assert (ended, record(canister).stage) == ([(T, "")], RETIRED)
    assert platform.canisters[canister].settings["freezing_threshold"] == 0
    conserved(platform)


@pytest.mark.parametrize("stage", [CREATED, RETIRING, RETIRED])
def test_an_admin_starts_only_zones_that_are_live(platform, monkeypatch, stage):
    refusals: list[str] = []
    monkeypatch.setattr(ic, "reject", refusals.append)
    canister = owned(platform, 1, T)
    child = record(canister)
    child.stage = stage
    context.children.put(canister, child)
    platform.canisters[canister].status = "stopped"
    platform.start(api_install.start_canister(as_candid(canister)))
    platform.settle()
    assert (len(refusals), "this zone is not live: it is" in refusals[0]) == (1, True)
    assert platform.canisters[canister].status == "stopped"


def test_an_admin_does_not_start_what_gives_the_cycles_of_a_zone_back(platform, monkeypatch):
    refusals: list[str] = []
    monkeypatch.setattr(ic, "reject", refusals.append)
    canister = owned(platform, 1, T)
    platform.start(retirement.retire(canister))
    platform.answer(next_of(platform, "install_code"), "trap")
    context.open_calls._started.clear()
    platform.start(api_install.start_canister(as_candid(canister)))
    platform.settle()
    assert refusals == ["this zone is not live: it is retiring"]
    assert platform.canisters[canister].status == "stopped"


@pytest.mark.parametrize("began", ["creation", "transfer", "deposit"])
def test_the_end_of_a_zone_that_is_gone_waits_for_what_could_bring_something_back(platform, began):
    canister = add_child(platform, 1, T)
    child = record(canister)
    platform.canisters[canister].exists = False
    ended = platform.start(retirement.retire(canister))
    key = {
        "creation": zone_key(child.creator, child.zone_id),
        "transfer": custody_key(canister),
        "deposit": deposit_key(canister),
    }[began]
    context.open_calls.start(key, platform.now)
    platform.settle()
    assert "ask again" in ended[0][1]
    assert record(canister).stage == LIVE
    context.open_calls.finish(key)
    ended = platform.start(retirement.retire(canister))
    platform.settle()
    assert (ended, record(canister).stage) == ([(0, "")], RETIRED)


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


@pytest.mark.parametrize("kind", ["managed", "shared", "sovereign"])
def test_a_former_owner_who_passed_his_zone_on_hands_it_to_nobody(platform, kind):
    canister = owned(platform, 1, T)
    child = record(canister)
    child.agreed = []
    context.children.put(canister, child)
    platform.canisters[canister].controllers = [FACTORY, OTHER]  # sold, and the factory has not read that yet
    platform.caller_id = OWNER
    offer = {"canister": as_candid(canister), "custody": {kind: None}, "owners": [as_candid(OWNER)]}
    told = platform.start(api_custody.offer_custody(offer))
    platform.settle()
    assert "have yet to accept, as the zone is theirs by now" in told[0]["err"]
    assert platform.canisters[canister].controllers == [FACTORY, OTHER]
    assert record(canister).owners == [OTHER]
    platform.caller_id = OTHER
    told = platform.start(api_custody.accept_custody(offer))
    while not told:
        call = platform.open[0]
        platform.answer(call, "Rejection code 5, no zone" if call.method == "refresh_controllers" else "ok")
    assert told == [{"ok": None}], "with his word it is handed over"


@pytest.mark.parametrize("was_owed", [True, False])
def test_a_deposit_that_did_not_arrive_is_taken_off_what_is_owed_if_it_was_owed(platform, was_owed):
    canister = owned(platform, 1, T)
    child = record(canister)
    child.funding = SPONSORED if was_owed else FUNDED
    context.children.put(canister, child)
    platform.start(transfer(canister, T, "asked"))
    platform.answer(next_of(platform, "deposit_cycles"), "trap")
    platform.pass_time(700)
    platform.settle()
    child = record(canister)
    assert child.owed == (T if was_owed else 0)
    child.owed = T
    context.children.put(canister, child)
    platform.caller_id = FIRST_ADMIN.bytes
    (lost,) = context.deposit_log.page(None, 9)
    assert api_battery.settle_deposit({"number": lost.number, "arrived": False, "reason": "it is gone"}) == {"ok": None}
    assert record(canister).owed == (0 if was_owed else T)


def test_a_zone_whose_end_has_begun_is_handed_to_nobody(platform):
    canister = owned(platform, 1, T)
    child = record(canister)
    child.stage, child.offered, child.offered_custody, child.accepted = RETIRING, [OWNER], SOVEREIGN, [OWNER]
    context.children.put(canister, child)
    handed = platform.start(control.hand_over(canister))
    assert (handed, platform.sent) == (["this zone is not live: it is retiring"], [])
    platform.start(control.set_controllers(canister, [OWNER]))
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


def as_candid(canister: bytes) -> Principal:
    return Principal.from_hex(canister.hex())


def ask_to_retire(platform: Platform, canister: bytes, caller: bytes) -> dict[str, Any]:
    """What `retire_child` answers a caller."""
    platform.caller_id = caller
    answer = platform.start(api_custody.retire_child(as_candid(canister), as_candid(canister).to_str()))
    platform.settle()
    return answer[0]


@pytest.mark.parametrize("caller", [CREATOR, FIRST_ADMIN.bytes], ids=["its creator", "an admin"])
@pytest.mark.parametrize(
    ("controllers", "fault"),
    [([OWNER, OTHER], "the factory does not control"), ([FACTORY, OWNER], "1 of 1 owners have yet to ask for it")],
)
def test_a_zone_that_its_owners_deleted_is_ended_by_its_creator_or_an_admin(platform, caller, controllers, fault):
    canister = add_child(platform, 1, T, controllers=controllers)
    child = record(canister)
    child.owners, child.controllers = [one for one in controllers if one != FACTORY], controllers
    child.creator = CREATOR
    context.children.put(canister, child)
    wish = creation_of(platform, canister, ZONE_LIVE)
    answer = ask_to_retire(platform, canister, caller)
    assert fault in answer["err"]
    assert platform.canisters[canister].exists
    platform.canisters[canister].exists = False
    before = len(platform.sent)
    assert "owners have yet to ask for it" in ask_to_retire(platform, canister, caller)["err"]
    assert len(platform.sent) == before, "asked again within a minute"
    platform.pass_time(61)
    platform.start(transfer(canister, T, "asked for by the child"))
    platform.settle()
    assert context.fuel.get(canister).state == DELETED
    again = platform.start(creation.make_zone(wish, None, None))
    assert "was deleted: end it with retire_child" in again[0][1]
    assert ask_to_retire(platform, canister, OTHER * 2)["err"].startswith("Unauthorized access")
    assert ask_to_retire(platform, canister, caller) == {"ok": 0}
    assert (record(canister).stage, context.creations.at(CREATOR, child.zone_id)) == (RETIRED, 0)
    assert ask_to_retire(platform, canister, caller) == {"ok": 0}
    acts = [*context.audit.page(99, 9), *context.owner_acts.page(99, 9)]
    assert {(act.action, act.caller) for act in acts} == {("retire_child", caller)}


def test_a_canister_that_only_seemed_to_be_gone_is_a_zone_like_any(platform):
    canister = add_child(platform, 1, T)
    wish = creation_of(platform, canister, ZONE_LIVE)
    platform.canisters[canister].exists = False
    platform.start(api_custody.refresh_custody(as_candid(canister)))
    platform.settle()
    assert context.fuel.get(canister).state == DELETED
    platform.canisters[canister].exists = True
    platform.pass_time(61)
    assert refresh(platform, canister) == {"ok": None}
    assert platform.start(creation.make_zone(wish, None, None)) == [(canister, "")]


def refresh(platform: Platform, canister: bytes) -> dict[str, Any]:
    """What `refresh_custody` answers."""
    answer = platform.start(api_custody.refresh_custody(as_candid(canister)))
    platform.settle()
    return answer[0]


def test_a_stranger_who_has_a_zone_read_does_not_keep_its_creator_from_ending_it(platform):
    canister = add_child(platform, 1, T, controllers=[FACTORY, OWNER])
    child = record(canister)
    child.owners, child.controllers, child.creator = [OWNER], [FACTORY, OWNER], CREATOR
    context.children.put(canister, child)
    platform.canisters[canister].exists = False
    platform.pass_time(120)
    platform.caller_id = OTHER
    assert "not found" in refresh(platform, canister)["err"]
    assert ask_to_retire(platform, canister, CREATOR) == {"ok": 0}


@pytest.mark.parametrize("is_deleted", [False, True])
def test_nobody_has_a_zone_read_more_than_once_a_minute_whatever_comes_of_it(platform, is_deleted):
    canister = add_child(platform, 1, T)
    platform.canisters[canister].exists = not is_deleted
    platform.pass_time(120)
    for turn in range(3):
        before = len(platform.sent)
        for _ in range(5):
            refresh(platform, canister)
        assert len(platform.sent) == before + 1, turn
        platform.pass_time(61)


def test_an_ended_zone_is_read_no_more_and_takes_no_cycles(platform, monkeypatch):
    canister = add_child(platform, 1, T)
    child = record(canister)
    child.owed = T
    context.children.put(canister, child)
    taken: list[int] = []
    monkeypatch.setattr(ic, "msg_cycles_available128", lambda: 5 * T)
    monkeypatch.setattr(ic, "msg_cycles_accept128", lambda amount: taken.append(amount) or amount)
    platform.caller_id = OTHER
    for stage in (RETIRING, RETIRED):
        child.stage = stage
        context.children.put(canister, child)
        assert "this zone is not live: it is" in api_custody.repay(as_candid(canister))["err"]
    platform.pass_time(120)
    assert "this zone is not live: it is retired" in refresh(platform, canister)["err"]
    assert (taken, platform.sent, record(canister).owed) == ([], [], T)


def test_a_canister_of_the_pool_that_is_being_created_is_told_as_running(platform, monkeypatch):
    monkeypatch.setattr(pool, "pool_lacks", lambda: 1)
    platform.start(pool.fill_pool())
    told = api_zones.creation_info(1)
    assert told is not None
    assert (told["running"], settling.lost_fault(1)) == (True, "its call is open: wait for its answer")
