"""The battery's flows on the host: sweeps, deposits and what fails in them, with cycles counted at every step."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import kybra
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import api_battery, api_fleet, context, control, examination, marks, reconciling, retirement, sweep
from factory.children import LIVE, Child
from factory.deposit_log import FAILED, SETTLED, Deposit
from factory.deposit_log import UNKNOWN as UNSETTLED
from factory.deposits import deposit, refill, transfer
from factory.fuel import DELETED, RUNNING, STOPPED, UNCONTROLLED
from factory.fuel import UNREACHABLE as LOST
from factory.principals import to_principal
from tests.support.platform import BORN, DAY, FACTORY, SECOND, Canister, Platform

T = 1_000_000_000_000
G = 1_000_000_000
RELEASE = hashlib.sha256(b"a release").digest()
OVERLOADED = "Rejection code 2, the subnet is overloaded"
FOREIGN = b"foreign!" * 4
HEAP = [
    context.open_calls,
    context.sweeps,
    context.policy,
    context.children,
    context.battery,
    context.alerts,
    context.releases,
]


@pytest.fixture
def platform(monkeypatch) -> Platform:
    return stand(monkeypatch)


def stand(patch: pytest.MonkeyPatch, balance: int = 100 * T) -> Platform:
    """A factory that has just been installed, with one release."""
    looks = (examination.looks, control.told)
    for thing in (context.open_calls._started, context.sweeps._open, context.policy._read, *looks):
        thing.clear()
    context.children._order._keys = context.battery._order._keys = context.alerts._open_numbers = None
    context.sweeps._first = []
    context.sweeps._touched_at = 0
    made = Platform(HEAP, balance)
    patch.setattr(kybra, "_kybra_ic", made, raising=False)
    assert context.releases.add_chunk(RELEASE, 0, b"a release", 1) == ""
    assert context.releases.publish(RELEASE, 1000, "", 1) == ""
    sweep.arm()
    return made


def add_child(platform: Platform, number: int, balance: int, burn: int = G, **others: Any) -> bytes:
    """A zone canister of the factory; whoever made it paid."""
    canister = bytes([number + 1]) * 8 + b"\x01\x01"
    made = Canister(balance, burn, others.get("module_hash", RELEASE), others.get("controllers", [FACTORY]))
    platform.canisters[canister] = made
    platform.minted += balance
    child = Child("0x" + "ab" * 20, b"creator", platform.now)
    child.stage = LIVE
    child.controlled = FACTORY in made.controllers
    context.children.put(canister, child)
    context.battery.register(canister, platform.now)
    return canister


def balanced(platform: Platform) -> None:
    """Cycles are conserved, the books agree with the quotas, and no limit is broken."""
    held = platform.balance + sum(canister.balance for canister in platform.canisters.values())
    assert held + platform.in_flight() + platform.burned == platform.minted
    entries = context.deposit_log.page(None, 200)
    aggregate = context.battery.aggregate()
    begun = aggregate.ends_at - aggregate.window * SECOND
    counted = [entry for entry in entries if aggregate.ends_at and entry.begun_at >= begun]
    assert aggregate.used == sum(entry.attached - entry.refunded for entry in counted) <= aggregate.limit
    for canister in platform.canisters:
        quota, shared = [context.battery.quota(canister, is_shared) for is_shared in (False, True)]
        assert quota.used <= quota.limit
        assert shared.used <= shared.limit
        begun = quota.ends_at - quota.window * SECOND
        mine = [entry for entry in entries if entry.canister == canister and entry.begun_at >= begun]
        # What it got while others controlled it, within the longer window of that, is in there.
        assert sum(entry.attached - entry.refunded for entry in mine) <= quota.limit + shared.used


def open_alerts() -> set[tuple[int, bytes]]:
    return {(alert.kind, alert.canister) for alert in context.alerts.open(None, 200)}


def sweep_now(platform: Platform) -> None:
    """Lets the timer begin a sweep, and everything in it happen."""
    platform.pass_time(context.policy.get("sweep_seconds"))
    platform.settle()
    assert not context.sweeps.is_running()


def test_the_timer_refills_a_child_that_runs_low_and_leaves_the_others_alone(platform):
    low = add_child(platform, 1, 699 * G)
    full = add_child(platform, 2, 800 * G)
    hungry = add_child(platform, 3, 1_400 * G, burn=60 * G)
    large = add_child(platform, 4, 3_000 * G, burn=90 * G)
    set_creation_figures(freezing_seconds=60 * DAY)
    platform.canisters[large].settings["freezing_threshold"] = 60 * DAY
    sweep_now(platform)
    assert abs(platform.canisters[low].balance - 1_500 * G) < G
    assert platform.canisters[full].balance < 800 * G
    # Idle burn is half of what these burn: freezing need and 30 days of it are what they have to hold.
    assert platform.canisters[hungry].balance == (30 + 30) * 30 * G
    assert platform.canisters[large].balance == (60 + 30) * 45 * G
    assert [call.method for call in platform.sent].count("deposit_cycles") == 3
    balanced(platform)
    present = context.sweeps.present()
    assert (present.looked_at, present.refilled, present.unreadable) == (4, 3, 0)
    assert context.fleet_history.points(b"")[-1][5] == 4


def test_what_owners_left_of_a_zone_that_they_gave_up_is_set_back_before_it_is_filled(platform):
    zone = add_child(platform, 1, 600 * G)
    canister = platform.canisters[zone]
    canister.settings.update({"compute_allocation": 2, "memory_allocation": 2**30, "freezing_threshold": 10**12})
    sweep_now(platform)
    assert canister.settings == BORN
    assert canister.controllers == [FACTORY]
    assert canister.balance < 600 * G
    (act,) = context.audit.page(9, 9)
    assert (act.action, act.subject) == ("set_settings_back", zone)
    assert act.details == f"compute_allocation 2, memory_allocation {2**30}, freezing_threshold {10**12}"
    for _ in range(2):
        sweep_now(platform)
    assert 1_490 * G < canister.balance <= 1_500 * G
    assert [call.method for call in platform.sent].count("update_settings") == 1
    balanced(platform)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("wasm_memory_limit", 1, "1"),
        ("wasm_memory_threshold", 7, "7"),
        ("minimum_incoming_canister_call_cycles", 1, "1"),
        ("reserved_cycles_limit", 0, "0"),
        ("reserved_cycles_limit", 5 * T, str(5 * T)),
        ("freezing_threshold", 0, "0"),
        ("log_visibility", {"public": None}, "public"),
        ("snapshot_visibility", {"allowed_viewers": []}, "allowed_viewers"),
        ("status_visibility", {"public": None}, "public"),
    ],
)
def test_each_setting_of_a_zone_that_owners_gave_up_becomes_that_of_birth_again(platform, name, value, told):
    zone = add_child(platform, 1, 600 * G)
    canister = platform.canisters[zone]
    canister.settings[name] = value
    sweep_now(platform)
    assert canister.settings == BORN
    assert [act.details for act in context.audit.page(9, 9)] == [f"{name} {told}"]
    # No allocation went, so that what was read of its burn holds.
    assert canister.balance > 1_400 * G
    sweep_now(platform)
    assert [call.method for call in platform.sent].count("update_settings") == 1


def test_a_setting_that_the_platform_does_not_tell_is_not_set_back(platform):
    zone = add_child(platform, 1, 2 * T)
    for name in ("wasm_memory_threshold", "minimum_incoming_canister_call_cycles", "status_visibility"):
        platform.canisters[zone].settings[name] = None
    sweep_now(platform)
    assert "update_settings" not in [call.method for call in platform.sent]


def test_a_limit_of_reserved_cycles_follows_what_is_reserved_in_few_steps(platform):
    zone = add_child(platform, 1, 2 * T)
    canister = platform.canisters[zone]
    canister.settings["reserved_cycles_limit"], canister.reserved = 50 * T, 4 * T
    for _ in range(40):
        sweep_now(platform)
        assert canister.settings["reserved_cycles_limit"] >= canister.reserved
        canister.reserved -= 100 * G
    assert canister.settings == BORN
    assert [call.method for call in platform.sent].count("update_settings") == 3


def test_a_zone_whose_settings_cannot_be_set_back_is_filled_and_that_is_told_once_a_day(platform):
    zone = add_child(platform, 1, 600 * G)
    canister = platform.canisters[zone]
    canister.settings["compute_allocation"] = 2
    for _ in range(9):
        platform.pass_time(context.policy.get("sweep_seconds"))
        while platform.open or any(timer[0] <= platform.now for timer in platform.timers):
            while platform.open:
                call = platform.open[0]
                platform.answer(call, OVERLOADED if call.method == "update_settings" else "ok")
            platform.fire()
    assert canister.balance > 1_400 * G
    assert [call.method for call in platform.sent].count("update_settings") == 9
    acts = context.audit.page(99, 99)
    assert [OVERLOADED in act.details for act in acts] == [True] * 3
    assert min(newer.time - older.time for newer, older in itertools.pairwise(acts)) >= DAY * SECOND
    sweep_now(platform)
    assert canister.settings == BORN
    assert context.audit.page(99, 1)[0].details == "compute_allocation 2"


@pytest.mark.parametrize("fault", ["shared", "handed over", "retired"])
def test_the_settings_of_a_zone_are_left_alone_that_is_not_the_factorys_alone(platform, fault):
    controllers = [FACTORY, b"owner"] if fault == "shared" else [FACTORY]
    zone = add_child(platform, 1, 2 * T, controllers=controllers)
    platform.canisters[zone].settings["freezing_threshold"] = 10**12
    if fault != "shared":
        key = marks.custody_key(zone) if fault == "handed over" else marks.retirement_key(zone)
        context.open_calls.start(key, platform.now + context.policy.get("sweep_seconds") * SECOND)
    sweep_now(platform)
    assert platform.canisters[zone].settings["freezing_threshold"] == 10**12
    assert "update_settings" not in [call.method for call in platform.sent]


def test_owners_who_want_a_zone_to_freeze_early_pay_for_that_themselves(platform):
    zone = add_child(platform, 1, 2 * T, controllers=[FACTORY, b"owner"])
    platform.canisters[zone].settings["freezing_threshold"] = 10**12
    for _ in range(3):
        sweep_now(platform)
    assert "deposit_cycles" not in [call.method for call in platform.sent]
    assert open_alerts() == set()


def test_no_zone_is_filled_beyond_what_the_policy_allows(platform):
    zone = add_child(platform, 1, 900 * G, burn=400 * G)
    assert "refill_most 1 must be at least refill_to" in context.policy.change({"refill_most": 1})
    assert context.policy.change({"refill_most": 2 * T}) == ""
    sweep_now(platform)
    assert platform.canisters[zone].balance == 2 * T
    balanced(platform)


def set_creation_figures(**changes: int) -> None:
    """Changes figures of the policy of creations."""
    creation_policy = context.creation_rules.policy()
    creation_policy.figures.update(changes)
    assert context.creation_rules.change(creation_policy) == ""


def test_a_busy_hour_is_no_reason_for_a_month_of_such_hours(platform):
    child = add_child(platform, 1, 1_500 * G)
    sweep_now(platform)
    platform.canisters[child].balance -= 400 * G
    platform.burned += 400 * G
    sweep_now(platform)
    assert 1_490 * G < platform.canisters[child].balance <= 1_500 * G
    balanced(platform)


def test_each_state_of_a_child_is_told_apart(platform):
    stopped = add_child(platform, 1, 100 * G)
    platform.canisters[stopped].status = "stopped"
    deleted = add_child(platform, 2, 0)
    platform.canisters[deleted].exists = False
    left = add_child(platform, 3, 100 * G)
    platform.canisters[left].controllers = [b"owner"]
    fine = add_child(platform, 4, 900 * G)
    sweep_now(platform)
    states = [context.fuel.get(canister).state for canister in (stopped, deleted, left, fine)]
    assert states == [STOPPED, DELETED, UNCONTROLLED, RUNNING]
    assert platform.canisters[stopped].balance > 1_400 * G
    assert platform.canisters[left].balance < 100 * G
    assert open_alerts() == {(3, deleted)}
    assert context.sweeps.present().unreadable == 1


def test_a_status_that_cannot_be_read_is_an_alert_until_it_can(platform):
    child = add_child(platform, 1, 900 * G)
    for fate, state, alerts in [(OVERLOADED, LOST, {(3, child)}), ("ok", RUNNING, set())]:
        platform.pass_time(context.policy.get("sweep_seconds"))
        while platform.open or any(timer[0] <= platform.now for timer in platform.timers):
            for call in list(platform.open):
                is_status = call.method == "canister_status" and call.args["canister_id"].bytes == child
                platform.answer(call, fate if is_status else "ok")
            platform.fire()
        assert context.fuel.get(child).state == state
        assert open_alerts() == alerts
    (alert,) = context.alerts.page(None, 9)
    assert 0 < alert.raised_at < alert.cleared_at


def test_foreign_code_gets_nothing_and_is_an_alert_once(platform):
    child = add_child(platform, 1, 100 * G, module_hash=FOREIGN)
    for _ in range(3):
        sweep_now(platform)
    assert "deposit_cycles" not in [call.method for call in platform.sent]
    assert [alert.kind for alert in context.alerts.page(None, 9)] == [2]
    platform.canisters[child].module_hash = RELEASE
    sweep_now(platform)
    assert platform.canisters[child].balance > 1_400 * G
    assert open_alerts() == set()


def test_a_zone_that_has_ended_leaves_sweeps_alerts_and_rings(platform):
    canister = add_child(platform, 1, 100 * G, module_hash=FOREIGN)
    other = add_child(platform, 2, 2 * T)
    sweep_now(platform)
    assert open_alerts() == {(2, canister)}
    assert context.battery.children(9) == [canister, other]
    retirement.end(canister)
    assert open_alerts() == set()
    assert (context.samples.points(canister), context.fuel.get(canister).read_at) == ([], 0)
    assert (context.children.count(), context.battery.children(9)) == (1, [other])
    before = len(platform.sent)
    sweep_now(platform)
    assert canister not in [call.args["canister_id"].bytes for call in platform.sent[before:]]
    assert context.sweeps.present().looked_at == 1


def test_an_answer_that_comes_after_its_zone_has_ended_is_booked(platform):
    canister = add_child(platform, 1, 100 * G)
    number = context.deposit_log.begin(canister, T, "sweep", platform.now)
    context.deposit_log.give_up(number, platform.now)
    retirement.end(canister)
    context.deposit_log.settle(number, False, T, platform.now)
    assert (context.deposit_log.paid(canister), context.deposit_log.passed_on()) == (0, 0)


def test_code_that_changes_between_reading_and_paying_gets_nothing(platform):
    child = add_child(platform, 1, 100 * G)
    platform.pass_time(context.policy.get("sweep_seconds"))
    platform.answer(platform.open[0])
    platform.fire()
    (status,) = [call for call in platform.open if call.method == "canister_status"]
    platform.answer(status)
    platform.canisters[child].module_hash = FOREIGN
    platform.settle()
    assert "deposit_cycles" not in [call.method for call in platform.sent]


def test_a_child_that_rejects_for_lack_of_cycles_is_paid_first(platform):
    others = [add_child(platform, number, 900 * G) for number in range(1, 9)]
    dry = add_child(platform, 9, 0)
    platform.pass_time(context.policy.get("sweep_seconds"))
    platform.answer(platform.open[0])
    platform.fire()
    while platform.open:
        call = platform.open[0]
        if call.method == "canister_status" and call.args["canister_id"].bytes == dry:
            platform.answer(call, "Rejection code 2, Canister is out of cycles: please top up")
        else:
            platform.answer(call)
        platform.fire()
    platform.settle()
    assert platform.canisters[dry].balance == 1_500 * G
    platform.sent.clear()
    sweep_now(platform)
    asked = [call.args["canister_id"].bytes for call in platform.sent if call.method == "canister_status"]
    assert asked[:2] == [FACTORY, dry]
    assert sorted(asked[2:]) == sorted(others)


def test_what_the_quota_refused_comes_first_in_the_next_sweep_the_poorest_before_the_others(platform):
    assert context.battery.set_aggregate(1_500 * G, DAY, platform.now) == ""
    rich = [add_child(platform, number, 100 * G) for number in (1, 2)]
    poor = add_child(platform, 3, 50 * G)
    sweep_now(platform)
    assert (4, b"") in open_alerts()
    platform.sent.clear()
    platform.pass_time(DAY)
    platform.settle()
    paid = [call.args["canister_id"].bytes for call in platform.sent if call.method == "deposit_cycles"]
    assert paid[0] == poor
    assert rich[1] in paid


def test_foreign_code_of_a_child_that_is_not_controlled_is_an_alert_before_it_asks(platform):
    child = add_child(platform, 1, T, controllers=[b"owner"], module_hash=FOREIGN)
    sweep_now(platform)
    assert open_alerts() == {(2, child)}
    platform.canisters[child].module_hash = RELEASE
    sweep_now(platform)
    assert open_alerts() == set()


@pytest.mark.parametrize("asks", ["sweep", "child", "owner", "allowance"])
def test_a_child_whose_fuel_an_admin_stopped_gets_nothing_whoever_asks_until_it_is_let_go(platform, asks):
    controllers = [b"owner"] if asks == "allowance" else [FACTORY]
    child = add_child(platform, 1, 100 * G, controllers=controllers)
    other = add_child(platform, 2, 100 * G)
    if asks == "allowance":
        allow(child, 60 * G)
    assert api_fleet.set_child_fuel(to_principal(child), False) == {"ok": None}

    def ask() -> None:
        if asks == "child":
            platform.start(transfer(child, T, "asked for by the child"))
        elif asks == "owner":
            platform.start(refill(child, T, "asked for by an owner or admin"))
        platform.settle()

    before = platform.canisters[child].balance
    sweep_now(platform)
    ask()
    assert platform.canisters[child].balance <= before
    assert platform.canisters[other].balance > 1_400 * G
    assert api_fleet.set_child_fuel(to_principal(child), True) == {"ok": None}
    if asks in ("sweep", "allowance"):
        sweep_now(platform)
    ask()
    assert platform.canisters[child].balance > before
    acts = [(act.action, act.details) for act in context.owner_acts.page(9, 9)]
    assert acts == [("set_child_fuel", "on"), ("set_child_fuel", "off")]
    assert "is no child that gets cycles" in api_fleet.set_child_fuel(to_principal(b"stranger"), False)["err"]


def allow(child: bytes, amount: int) -> None:
    """Has an admin's allowance paid to a child each day."""
    reading = context.fuel.get(child)
    reading.allowance = amount
    context.fuel.put(child, reading)


def test_an_allowance_is_paid_once_a_day_to_a_child_that_is_never_called(platform):
    child = add_child(platform, 1, 100 * G, controllers=[b"owner"])
    allow(child, 60 * G)
    for _ in range(9):
        sweep_now(platform)
    paid = [call.attached for call in platform.sent if call.method == "deposit_cycles"]
    assert paid == [60 * G] * 3
    assert {call.method for call in platform.sent if call.args["canister_id"].bytes == child} == {
        "canister_info",
        "deposit_cycles",
    }


def test_an_allowance_goes_on_when_a_child_has_asked_for_all_it_may(platform):
    child = add_child(platform, 1, 100 * G, controllers=[b"owner"])
    asked = platform.start(transfer(child, 2 * T, "asked for by the child"))
    platform.settle()
    assert asked == [{"ok": 15 * T // 10}]
    allow(child, 600 * G)
    for _ in range(40):
        sweep_now(platform)
    paid = [call.attached for call in platform.sent if call.method == "deposit_cycles"]
    assert paid == [15 * T // 10] + [600 * G] * 10
    assert context.battery.quota(child, True).used == 15 * T // 10
    refused = platform.start(transfer(child, T, "asked for by the child"))
    platform.settle()
    assert refused == [{"err": {"canister_quota_reached": None}}]


def test_an_allowance_that_fails_comes_back_to_the_quota_of_all_and_to_no_other(platform):
    child = add_child(platform, 1, 100 * G, controllers=[b"owner"])
    platform.start(transfer(child, T, "asked for by the child"))
    platform.settle()
    platform.start(deposit(child, T // 2, "allowance"))
    platform.answer(platform.open[0])
    assert context.battery.aggregate().used == 15 * T // 10
    platform.answer(platform.open[0], OVERLOADED)
    assert (context.battery.aggregate().used, context.battery.quota(child, True).used) == (T, T)


def test_two_askers_at_once_are_paid_once(platform):
    child = add_child(platform, 1, 100 * G)
    first = platform.start(deposit(child, T, "one"))
    second = platform.start(deposit(child, T, "two"))
    platform.settle()
    assert first == [(T, "")]
    assert "is under way" in second[0][1]
    assert platform.start(refill(child, 100 * G, "full")) == []
    balanced(platform)


def test_a_deposit_that_fails_comes_back_and_releases_both_quotas(platform):
    child = add_child(platform, 1, 100 * G)
    result = platform.start(transfer(child, T, "fails"))
    platform.answer(platform.open[0])
    assert context.battery.aggregate().used == T
    assert [entry.outcome for entry in context.deposit_log.page(None, 9)] == [0]
    platform.answer(platform.open[0], OVERLOADED)
    assert result[0]["err"]["other"].startswith("Error sending cycles to ")
    assert context.battery.aggregate().used == context.battery.quota(child, False).used == 0
    (entry,) = context.deposit_log.page(None, 9)
    assert (entry.outcome, entry.attached, entry.refunded) == (2, T, T)
    assert platform.balance == 100 * T
    balanced(platform)


def test_a_deposit_whose_answer_was_lost_counts_as_paid_and_blocks_the_next_until_it_is_given_up(platform):
    child = add_child(platform, 1, 100 * G)
    platform.start(transfer(child, T, "lost"))
    platform.answer(platform.open[0])
    platform.answer(platform.open[0], "trap")
    assert platform.canisters[child].balance == T + 100 * G
    platform.upgrade(sweep.arm)
    again = platform.start(deposit(child, T, "again"))
    assert "is under way" in again[0][1]
    platform.pass_time(600)
    platform.settle()
    assert [entry.outcome for entry in context.deposit_log.page(None, 9)] == [3]
    again = platform.start(deposit(child, T, "again"))
    platform.settle()
    assert again == [(T // 2, "")]
    balanced(platform)


def test_a_sweep_goes_on_after_an_upgrade_where_it_was(platform):
    children = [add_child(platform, number, 900 * G) for number in range(20)]
    platform.pass_time(context.policy.get("sweep_seconds"))
    platform.answer(platform.open[0])
    platform.fire()
    for _ in range(6):
        platform.answer(platform.open[0])
    platform.upgrade(sweep.arm)
    number = context.sweeps.present().number
    before = len(platform.sent)
    platform.pass_time(sweep.BEAT_SECONDS)
    platform.settle()
    assert not context.sweeps.is_running()
    assert context.sweeps.present().number == number
    later = [call.args["canister_id"].bytes for call in platform.sent[before:]]
    assert later == [canister for canister in children if canister in later]
    assert children[0] not in later
    assert children[-1] in later


def test_burn_is_measured_over_time_and_an_unusual_one_is_an_alert(platform):
    child = add_child(platform, 1, 1_400 * G, burn=10 * G)
    for _ in range(4 * 8):
        sweep_now(platform)
    platform.canisters[child].burn = 90 * G
    for _ in range(5):
        sweep_now(platform)
    assert (6, child) in open_alerts()
    alert = context.alerts.open(None, 9)[0]
    assert "usually 10" in alert.details
    points = context.samples.points(child)
    assert [point[0] for point in points] == sorted({point[0] for point in points})
    assert len(points) <= 28 + 31 + 52


def test_the_battery_learns_what_it_burns_itself_without_what_it_passed_on(platform):
    add_child(platform, 1, 100 * G, burn=40 * G)
    for _ in range(12):
        platform.balance -= 2 * G
        platform.burned += 2 * G
        sweep_now(platform)
    need = context.battery.need()
    assert abs(need.burn() - 8 * G) < G // 2
    balanced(platform)


fates = st.sampled_from(["ok", "ok", "ok", OVERLOADED, "trap"])
acts = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(60, 40_000)),
        st.tuples(st.just("answer"), st.integers(0, 9), fates),
        st.tuples(st.just("answer"), st.integers(0, 9), fates),
        st.tuples(st.just("ask"), st.integers(0, 4), st.integers(0, 2 * T)),
        st.tuples(st.just("pay"), st.integers(0, 4), st.integers(50 * G, 2 * T), fates),
        st.tuples(st.just("refill"), st.integers(0, 4)),
        st.tuples(st.just("change"), st.integers(0, 4), st.sampled_from(["code", "stop", "delete", "leave", "burn"])),
        st.tuples(st.just("upgrade")),
        st.tuples(st.just("spend"), st.integers(0, 10 * T)),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(acts, st.integers(8, 40))
def test_cycles_are_conserved_and_no_limit_is_broken_whatever_fails(sequence, balance):
    with pytest.MonkeyPatch.context() as patch:
        platform = stand(patch, balance * T)
        children = [add_child(platform, number, (200 + 300 * number) * G, burn=20 * G) for number in range(5)]
        alien = add_child(platform, 9, 100 * G, module_hash=FOREIGN)

        def keeps_the_reserve(_: Any) -> None:
            assert platform.balance >= context.battery.reserve_cycles()

        platform.before_deposit = keeps_the_reserve
        for act in sequence:
            step(platform, children, act)
            balanced(platform)
        while platform.open:
            platform.answer(platform.open[0])
            balanced(platform)
        for _ in range(3):
            platform.pass_time(1_000)
            platform.settle()
            balanced(platform)
        assert context.deposit_log.pending() == []
        number = context.sweeps.present().number
        sweep_now(platform)
        assert context.sweeps.present().number > number
        assert platform.canisters[alien].balance <= 100 * G
        sums = context.deposit_log.sums()
        arrived = sum(call.attached for call in platform.sent if call.method == "deposit_cycles" and call.landed)
        settled = sums[1].attached - sums[1].refunded
        assert settled <= arrived <= settled + sums[3].attached


def step(platform: Platform, children: list[bytes], act: tuple[Any, ...]) -> None:
    """One act of the test above."""
    name, *values = act
    if name == "pass":
        platform.pass_time(values[0])
    elif name == "answer" and platform.open:
        platform.answer(platform.open[values[0] % len(platform.open)], values[1])
        platform.fire()
    elif name == "ask":
        platform.start(transfer(children[values[0]], values[1], "asked"))
    elif name == "pay":
        platform.start(transfer(children[values[0]], values[1], "asked"))
        if platform.open:
            platform.answer(platform.open[-1])
        if platform.open:
            platform.answer(platform.open[-1], values[2])
    elif name == "refill":
        platform.start(refill(children[values[0]], 1_500 * G, "asked"))
    elif name == "change":
        change(platform.canisters[children[values[0]]], values[1])
    elif name == "upgrade":
        platform.upgrade(sweep.arm)
    elif name == "spend":
        spent = min(platform.balance, values[0])
        platform.balance -= spent
        platform.burned += spent


def change(canister: Canister, what: str) -> None:
    """Something happens to a child."""
    if what == "code":
        canister.module_hash = FOREIGN if canister.module_hash == RELEASE else RELEASE
    elif what == "stop":
        canister.status = "stopped" if canister.status == "running" else "running"
    elif what == "delete":
        canister.exists = False
    elif what == "leave":
        canister.controllers = [b"owner"] if FACTORY in canister.controllers else [FACTORY]
    else:
        canister.burn *= 2


def lose_a_deposit(platform: Platform, canister: bytes, fate: str) -> int:
    """A deposit between two readings whose answer was lost; returns its number."""
    sweep_now(platform)
    platform.pass_time(60)
    platform.start(deposit(canister, T // 2, "asked"))
    platform.answer(platform.open[0])
    (call,) = platform.open
    if fate == "trap":
        platform.answer(call, "trap")
    else:
        # It never left, and the answer that says so was lost.
        platform.open.remove(call)
        platform.balance += call.attached
    (number,) = context.deposit_log.pending()
    platform.pass_time(900)
    platform.settle()
    sweep_now(platform)
    found = context.deposit_log.get(number)
    assert found is not None
    assert found.outcome == UNSETTLED
    return number


@pytest.mark.parametrize(("fate", "outcome", "paid"), [("trap", SETTLED, T // 2), ("lost", FAILED, 0)])
def test_readings_tell_what_became_of_a_deposit_whose_answer_was_lost(platform, fate, outcome, paid):
    canister = add_child(platform, 1, 2 * T)
    number = lose_a_deposit(platform, canister, fate)
    asked = {"number": number, "arrived": None, "reason": ""}
    assert api_battery.settle_deposit(asked) == {"ok": None}
    found = context.deposit_log.get(number)
    assert found is not None
    assert (found.outcome, context.deposit_log.paid(canister)) == (outcome, paid)
    child = context.children.get(canister)
    assert child is not None
    assert child.owed == paid
    (act,) = context.owner_acts.page(9, 1)
    assert (act.action, act.subject) == ("settle_deposit", canister)
    assert "by the readings: " in act.details
    again = api_battery.settle_deposit(asked)
    assert again == {"err": f"deposit {number} is none whose answer was lost: see get_deposits"}


def test_what_the_readings_do_not_tell_is_decided_with_a_reason(platform):
    canister = add_child(platform, 1, 2 * T)
    number = context.deposit_log.begin(canister, T, "asked", platform.now)
    context.deposit_log.give_up(number, platform.now)
    asked = {"number": number, "arrived": None, "reason": ""}
    assert "the readings do not tell (there is no reading before it" in api_battery.settle_deposit(asked)["err"]
    asked["arrived"] = False
    assert "a decision takes a reason" in api_battery.settle_deposit(asked)["err"]
    asked["reason"] = "its owner shows the balance"
    assert api_battery.settle_deposit(asked) == {"ok": None}
    assert context.deposit_log.paid(canister) == 0
    assert context.owner_acts.page(9, 1)[0].details == f"{number} lost: its owner shows the balance"


@given(st.integers(50, 2_000), st.integers(0, 40), st.booleans(), st.integers(1, 28))
def test_no_reading_is_taken_for_another_outcome(gigas, burn, arrived, hours):
    """A child that burns as expected, or up to a tenth of the deposit more, is never judged wrongly."""
    sent = Deposit(b"child", gigas * G, "asked", 100 * SECOND)
    sent.ended_at = 700 * SECOND
    burnt = burn * hours * 3_600 // DAY + gigas // 10
    units = G // 10**6
    later = 10_000 - burnt + (gigas if arrived else 0)
    points = [(50, 10_000 * units, 0), (50 + hours * 3_600, later * units, gigas * units)]
    told, _ = reconciling.verdict(sent, points, burn * G)
    assert told == (reconciling.ARRIVED if arrived else reconciling.LOST)


def test_the_fleets_figures_count_a_child_once_that_is_looked_at_first(platform):
    assert context.battery.set_aggregate(0, DAY, platform.now) == ""
    thirsty = [add_child(platform, number, (100 + number) * G, burn=0) for number in (3, 1)]
    add_child(platform, 2, 900 * G, burn=0)
    for _ in range(3):
        sweep_now(platform)
        sweep_figures = context.sweeps.present()
        assert (sweep_figures.looked_at, sweep_figures.balances) == (3, (103 + 101 + 900) * G)
        assert sorted(context.fuel.thirsty()) == sorted(thirsty)


def test_an_allowance_whose_answer_was_lost_is_not_paid_twice_in_a_day(platform):
    child = add_child(platform, 1, 100 * G, controllers=[b"owner"])
    allow(child, 60 * G)
    platform.pass_time(context.policy.get("sweep_seconds"))
    while not [call for call in platform.open if call.method == "deposit_cycles"]:
        platform.answer(platform.open[0])
        platform.fire()
    platform.upgrade(sweep.arm)
    for _ in range(3):
        sweep_now(platform)
    paid = [call.attached for call in platform.sent if call.method == "deposit_cycles"]
    assert paid == [60 * G]
    sweep_now(platform)
    assert [call.method for call in platform.sent].count("deposit_cycles") == 2


@pytest.mark.parametrize("fate", ["a quota refuses it", OVERLOADED])
def test_an_allowance_that_was_not_paid_is_due_with_the_next_sweep(platform, fate):
    child = add_child(platform, 1, 100 * G, controllers=[b"owner"])
    allow(child, 60 * G)
    if fate != OVERLOADED:
        assert context.battery.set_aggregate(0, DAY, platform.now) == ""
    platform.pass_time(context.policy.get("sweep_seconds"))
    while platform.open or any(timer[0] <= platform.now for timer in platform.timers):
        for call in list(platform.open):
            platform.answer(call, fate if call.method == "deposit_cycles" else "ok")
        platform.fire()
    assert context.fuel.get(child).allowance_at == 0
    assert context.battery.set_aggregate(10 * T, DAY, platform.now) == ""
    sweep_now(platform)
    assert platform.canisters[child].balance >= 159 * G


def test_only_those_come_first_whom_a_quota_refused_or_who_have_nothing_left(platform):
    """Code that was not published is never paid: it would fill the places of those who wait."""
    alien, dry_alien = [add_child(platform, number, 100 * G, module_hash=FOREIGN) for number in (1, 2)]
    dry, fails = [add_child(platform, number, 100 * G) for number in (3, 4)]
    platform.pass_time(context.policy.get("sweep_seconds"))
    while platform.open or any(timer[0] <= platform.now for timer in platform.timers):
        for call in list(platform.open):
            about = call.args["canister_id"].bytes
            if call.method == "canister_status" and about in (dry, dry_alien):
                platform.answer(call, "Rejection code 2, Canister is out of cycles: please top up")
            elif call.method == "deposit_cycles" and about == fails:
                platform.answer(call, OVERLOADED)
            else:
                platform.answer(call)
        platform.fire()
    assert context.fuel.thirsty() == [dry]
    assert (2, alien) in open_alerts()


def raise_all(canister: bytes, platform: Platform) -> None:
    """Every alert of a child is open."""
    for kind in (1, 2, 3, 4, 6):
        context.alerts.report(True, kind, canister, "", platform.now)


def test_of_a_child_that_is_gone_no_alert_stays_but_that_it_is(platform):
    child = add_child(platform, 1, 900 * G)
    raise_all(child, platform)
    platform.canisters[child].exists = False
    sweep_now(platform)
    assert open_alerts() == {(3, child)}


@pytest.mark.parametrize("knows", [False, True], ids=["found out now", "known before"])
def test_of_a_child_that_its_owners_took_no_alert_stays_that_takes_its_status(platform, knows):
    child = add_child(platform, 1, 900 * G, controllers=[b"owner"] if knows else [FACTORY])
    platform.canisters[child].controllers = [b"owner"]
    raise_all(child, platform)
    for _ in range(2):
        sweep_now(platform)
    assert open_alerts() == set()


def test_that_a_quota_is_used_up_is_told_until_its_window_is_over_though_nobody_asks_again(platform):
    child = add_child(platform, 1, 2_000 * G, controllers=[FACTORY, b"owner"])
    for amount in (15 * T // 10, T):
        platform.start(transfer(child, amount, "asked for by the child"))
        platform.settle()
    assert open_alerts() == {(4, child)}
    sweep_now(platform)
    assert open_alerts() == {(4, child)}
    platform.pass_time(30 * DAY)
    platform.canisters[child].balance = 2_000 * G
    sweep_now(platform)
    sweep_now(platform)
    assert (4, child) not in open_alerts()


def test_a_zone_that_ends_while_it_is_looked_at_leaves_no_alert_behind(platform):
    child = add_child(platform, 1, 900 * G)
    platform.pass_time(context.policy.get("sweep_seconds"))
    platform.answer(platform.open[0])
    platform.fire()
    platform.canisters[child].exists = False
    retirement.end(child)
    platform.settle()
    assert (open_alerts(), context.fuel.get(child).state) == (set(), 0)
