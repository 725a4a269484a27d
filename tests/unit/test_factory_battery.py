"""The battery's books on the host: quotas and reserve, the policy, the log of deposits, alerts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import alerts as alerts_module
from factory import deposit_log as log_module
from factory.alerts import LAST_KIND, Alerts
from factory.battery import AGGREGATE_LIMIT, Battery, Grant, Need, Refusal
from factory.deposit_log import FAILED, OUTCOMES, PENDING, RETURNED, SETTLED, UNKNOWN, DepositLog
from factory.policy import FIELDS, Policy
from factory.quota import Quota
from tests.support.maps import maps_of

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
T = 1_000_000_000_000
RICH = 1_000 * T
CHILD_LIMIT = 15 * T // 10
MIN_CYCLES = 50_000_000_000


def child(number: int) -> bytes:
    return bytes([number]) * 10


def battery_with(children: int) -> Battery:
    maps = maps_of("factory")
    battery = Battery(maps.settings_map, maps.children_map, Policy(maps.settings_map))
    for number in range(children):
        battery.register(child(number), 0)
    return battery


def case(battery: Battery, number: int, requested: int, balance: int, now: int) -> str:
    with pytest.raises(Refusal) as caught:
        battery.reserve(child(number), requested, balance, now)
    return next(iter(caught.value.case))


def test_a_grant_follows_the_contracts_rules_in_their_order():
    battery = battery_with(12)
    assert case(battery, 0, MIN_CYCLES - 1, RICH, 0) == "too_few_cycles_requested"
    assert battery.reserve(child(0), MIN_CYCLES, RICH, 0).amount == MIN_CYCLES
    assert battery.reserve(child(0), 2 * T, RICH, 1).amount == CHILD_LIMIT - MIN_CYCLES
    assert case(battery, 0, T, RICH, 2) == "canister_quota_reached"
    for number in range(1, 6):
        assert battery.reserve(child(number), 2 * T, RICH, 3).amount == CHILD_LIMIT
    assert battery.reserve(child(6), 2 * T, RICH, 3).amount == T
    assert case(battery, 7, T, RICH, 4) == "aggregate_quota_reached"
    assert battery.reserve(child(0), T, RICH, DAY).amount == T


def test_registering_again_leaves_a_childs_quota_as_it_is_used():
    battery = battery_with(1)
    battery.reserve(child(0), CHILD_LIMIT, RICH, 5)
    battery.register(child(0), 6)
    assert case(battery, 0, T, RICH, 7) == "canister_quota_reached"


def test_a_child_that_others_control_too_gets_one_refill_a_month():
    battery = battery_with(1)
    assert battery.reserve(child(0), 2 * T, RICH, 0, shared=True).amount == CHILD_LIMIT
    for day in range(1, 30):
        with pytest.raises(Refusal):
            battery.reserve(child(0), T, RICH, day * DAY, shared=True)
    assert battery.reserve(child(0), 2 * T, RICH, 30 * DAY, shared=True).amount == CHILD_LIMIT


def test_what_a_child_got_while_others_controlled_it_does_not_count_once_the_factory_alone_does():
    battery = battery_with(1)
    assert battery.reserve(child(0), 2 * T, RICH, 0, shared=True).amount == CHILD_LIMIT
    for day in (0, 1, 10, 29):
        grant = battery.reserve(child(0), 2 * T, RICH, day * DAY)
        assert grant.amount == CHILD_LIMIT
        assert case(battery, 0, T, RICH, day * DAY) == "canister_quota_reached"
        battery.give_back(grant, T)
        assert battery.reserve(child(0), 2 * T, RICH, day * DAY).amount == T
        with pytest.raises(Refusal):
            battery.reserve(child(0), T, RICH, day * DAY, shared=True)
    assert battery.reserve(child(0), T, RICH, 30 * DAY, shared=True).amount == T


def test_that_a_childs_fuel_is_stopped_leaves_its_quotas_as_they_are_used():
    battery = battery_with(2)
    battery.reserve(child(0), T, RICH, 0)
    battery.set_fuelled(child(0), False)
    battery.register(child(0), 7)
    assert [battery.is_fuelled(child(number)) for number in (0, 1)] == [False, True]
    assert battery.quota(child(0), False).used == T
    battery.reserve(child(0), T, RICH, 1)
    assert not battery.is_fuelled(child(0))
    battery.set_fuelled(child(0), True)
    assert battery.is_fuelled(child(0))
    assert battery.quota(child(0), False).used == CHILD_LIMIT


def test_the_reserve_is_never_touched():
    battery = battery_with(1)
    assert battery.reserve_cycles() == 5 * T
    assert case(battery, 0, T, 6 * T - 1, 0) == "insufficient_cycles_available"
    assert battery.reserve(child(0), T, 6 * T, 0).amount == T


@given(st.integers(0, T), st.integers(0, 10**7), st.integers(0, 2 * T))
def test_the_reserve_covers_the_batterys_own_freezing_need_and_a_weeks_burn(idle, threshold, measured):
    battery = battery_with(0)
    battery.store_need(Need(idle, threshold, measured, 7))
    assert vars(battery.need()) == vars(Need(idle, threshold, measured, 7))
    assert battery.reserve_cycles() == max(5 * T, idle * threshold // 86_400 + 7 * max(idle, measured))


steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2 * T),
        st.sampled_from([0, 1, 2]),
        st.integers(0, 40_000 * SECOND),
        st.booleans(),
    ),
    max_size=40,
)


@given(steps)
def test_no_quota_is_exceeded_and_what_does_not_arrive_is_given_back(sequence):
    battery = battery_with(4)
    now = 1
    waiting: list[tuple[Grant, int]] = []
    arrived: dict[tuple[bytes, int], int] = {}
    for number, requested, fate, pause, resets in sequence:
        now += pause
        for grant, refunded in waiting:
            battery.give_back(grant, refunded)
            for key in ((b"all", grant.aggregate_window), (grant.child, grant.child_window)):
                arrived[key] = arrived.get(key, 0) - refunded
        waiting = []
        if resets:
            assert battery.set_aggregate(AGGREGATE_LIMIT, 86_400, now) == ""
            arrived[(b"all", battery.aggregate().ends_at)] = 0
        try:
            grant = battery.reserve(child(number), requested, RICH, now)
        except Refusal:
            continue
        assert 0 < grant.amount <= requested
        for key in ((b"all", grant.aggregate_window), (grant.child, grant.child_window)):
            arrived[key] = arrived.get(key, 0) + grant.amount
        waiting.append((grant, [0, grant.amount // 3, grant.amount][fate]))
    aggregate = battery.aggregate()
    assert aggregate.used == arrived.get((b"all", aggregate.ends_at), 0) <= AGGREGATE_LIMIT
    for number in range(4):
        quota = battery.quota(child(number), False)
        assert quota.used == arrived.get((child(number), quota.ends_at), 0) <= CHILD_LIMIT


def test_what_comes_back_after_a_new_window_began_is_not_counted_twice():
    battery = battery_with(1)
    grant = battery.reserve(child(0), T, RICH, 5)
    assert battery.set_aggregate(AGGREGATE_LIMIT, 86_400, 5) == ""
    assert battery.aggregate().used == 0
    battery.give_back(grant, T)
    assert battery.aggregate().used == 0


@pytest.mark.parametrize(("limit", "window"), [(10**18 + 1, 1), (T, 0), (T, 367 * 86_400)])
def test_a_quota_that_makes_no_sense_is_refused(limit, window):
    assert "got" in battery_with(0).set_aggregate(limit, window, 0)


def test_the_policy_begins_with_its_defaults_and_keeps_what_is_set():
    maps = maps_of("factory")
    policy = Policy(maps.settings_map)
    assert policy.all() == {field.name: field.default for field in FIELDS}
    assert policy.change({"reserve": 9 * T, "runway_days": 60}) == ""
    again = Policy(maps.settings_map)
    assert (again.get("reserve"), again.get("runway_days"), again.get("refill_to")) == (9 * T, 60, 15 * T // 10)
    assert "runway_days must be 1 to 365, got 0" in again.change({"runway_days": 0, "reserve": T})
    assert "refill_to 1 must be at least refill_below" in again.change({"refill_to": 1})
    assert again.get("reserve") == 9 * T


@given(st.dictionaries(st.sampled_from([field.name for field in FIELDS]), st.integers(0, 10**19)))
def test_a_policy_is_changed_as_a_whole_or_not_at_all(changes):
    maps = maps_of("factory")
    policy = Policy(maps.settings_map)
    before = dict(policy.all())
    fault = policy.change(changes)
    assert policy.all() == Policy(maps.settings_map).all() == (before if fault else {**before, **changes})
    for field in FIELDS:
        assert field.lowest <= policy.get(field.name) <= field.highest


def deposit_log() -> DepositLog:
    maps = maps_of("factory")
    return DepositLog(maps.settings_map, maps.deposits_map, maps.paid_map)


events = st.lists(
    st.tuples(
        st.sampled_from(["begin", "settle", "fail", "give_up", "give_back"]), st.integers(0, 30), st.integers(0, 10**30)
    ),
    max_size=60,
)


@given(events, st.integers(1, 12), st.integers(1, 6))
def test_every_deposit_ends_once_and_the_sums_outlive_what_is_forgotten(sequence, most_kept, most_pending):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "MAX_KEPT", most_kept)
        patch.setattr(log_module, "MAX_PENDING", most_pending)
        log = deposit_log()
        model: dict[int, list] = {}
        for now, (event, number, amount) in enumerate(sequence, 1):
            if event == "begin":
                waiting = [at for at, entry in model.items() if entry[0] == PENDING]
                given_up = waiting[:1] if len(waiting) >= most_pending else []
                begun = log.begin(child(number % 3), amount, "because", now)
                assert begun == len(model)
                model[begun] = [PENDING, child(number % 3), amount, 0]
                given_up += [at for at in waiting if at <= begun - most_kept]
                for at in given_up:
                    model[at][0] = UNKNOWN
            elif event == "give_back":
                known = log.given_back(child(number % 3))
                log.give_back(child(number % 3), amount + number, amount, now)
                assert log.given_back(child(number % 3)) == max(known, amount)
                if amount > known:
                    model[len(model)] = [RETURNED, child(number % 3), 0, amount - known]
                    for at in [at for at in model if at < len(model) - most_kept and model[at][0] == PENDING]:
                        model[at][0] = UNKNOWN
            elif event == "give_up":
                log.give_up(number, now)
                if number in model and number > len(model) - 1 - most_kept and model[number][0] == PENDING:
                    model[number][0] = UNKNOWN
            else:
                ok = event == "settle"
                entry = model.get(number)
                refunded = 0 if ok else amount
                log.settle(number, ok, refunded, now)
                kept = number > len(model) - 1 - most_kept
                if entry and kept and entry[0] in (PENDING, UNKNOWN):
                    entry[3] = min(refunded, entry[2])
                    entry[0] = SETTLED if ok or entry[3] < entry[2] else FAILED
            check_log(log, model, most_kept, most_pending)


def check_log(log: DepositLog, model: dict[int, list], most_kept: int, most_pending: int) -> None:
    """The log says what the model says."""
    page = log.page(None, 200)
    assert [entry.number for entry in page] == sorted(model, reverse=True)[:most_kept]
    for entry in page:
        assert [entry.outcome, entry.canister, entry.attached, entry.refunded] == model[entry.number]
        assert (entry.ended_at == 0) == (entry.outcome == PENDING)
    for outcome, total in zip(OUTCOMES, log.sums(), strict=True):
        entries = [entry for entry in model.values() if entry[0] == outcome]
        assert (total.count, total.attached, total.refunded) == (
            len(entries),
            sum(entry[2] for entry in entries),
            sum(entry[3] for entry in entries),
        )
    assert log.passed_on() == max(0, sum(entry[2] - entry[3] for entry in model.values()))
    for number in range(3):
        own = [entry for entry in model.values() if entry[1] == child(number)]
        assert log.paid(child(number)) == sum(entry[2] - entry[3] for entry in own if entry[0] != RETURNED)
        assert log.given_back(child(number)) == sum(entry[3] for entry in own if entry[0] == RETURNED)
    assert len(log.pending()) <= min(most_kept, most_pending)
    for number in range(3):
        assert log.is_pending(child(number)) == any(e[:2] == [PENDING, child(number)] for e in model.values())


@given(st.lists(st.tuples(st.booleans(), st.integers(1, LAST_KIND), st.integers(0, 3)), max_size=80), st.integers(1, 9))
def test_an_alert_is_raised_once_and_cleared_once_and_open_ones_are_never_forgotten(sequence, most_kept):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts_module, "MAX_KEPT", most_kept)
        maps = maps_of("factory")
        alerts = Alerts(maps.settings_map, maps.alerts_map, maps.open_alerts_map)
        model: dict[tuple[int, bytes], int] = {}
        raised = most_open = 0
        for now, (is_so, kind, number) in enumerate(sequence, 1):
            alerts.report(is_so, kind, child(number), "é" * 150, now)
            key = (kind, child(number))
            if is_so and key not in model:
                model[key] = now
                raised += 1
            elif not is_so:
                model.pop(key, None)
            found = alerts.open(None, 200)
            assert {(alert.kind, alert.canister): alert.raised_at for alert in found} == model
            assert len(found) == alerts.open_count() == len(model)
            assert all(alert.cleared_at == 0 and alert.details == "é" * 120 for alert in found)
            page = alerts.page(None, 200)
            assert {alert.number for alert in page if not alert.cleared_at} == {alert.number for alert in found}
            # Two of the oldest are looked at whenever one is raised, and those that are open stay.
            most_open = max(most_open, len(model))
            assert len(page) <= most_kept + 3 * most_open + 1
            assert maps.alerts_map.len() == len(page)
            after_an_upgrade = Alerts(maps.settings_map, maps.alerts_map, maps.open_alerts_map).open(None, 200)
            assert [alert.number for alert in after_an_upgrade] == [alert.number for alert in found]
        assert len({(a.kind, a.canister, a.raised_at) for a in alerts.page(None, 200)}) <= raised
        for number in range(4):
            alerts.clear_all(child(number), 99)
        assert alerts.open_count() == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40), st.booleans())
def test_the_list_of_children_holds_the_first_that_may_ask_for_cycles(changes, listed_early):
    battery = battery_with(0)
    model: set[bytes] = set()
    for comes, number in changes:
        if listed_early:
            battery.children(1)
        if comes:
            battery.register(child(number), 1)
            model.add(child(number))
        else:
            battery.forget(child(number))
            model.discard(child(number))
    assert battery.children(4) == sorted(model)[:4]
    assert battery.count() == len(model)


def test_a_quota_gives_back_no_more_than_is_used():
    quota = Quota(100, 10)
    quota.left(0)
    window = quota.take(5)
    quota.give_back(9, window)
    assert quota.used == 0
