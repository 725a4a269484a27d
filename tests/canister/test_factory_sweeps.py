"""The battery at work on the Wasm: the timer's sweeps, upgrades between them, 30 days of a fleet, the refund."""

import os

import pytest
from ic.principal import Principal

from factory.admins import FIRST_ADMIN
from localnet import candid
from localnet.principal import from_text
from tests.localnet.wat import canister
from tests.support.factories import T, deploy_factory, rejection
from tests.support.fleets import DAY, SWEEP_SECONDS, Fleet, drain
from tests.support.network import CallRejected
from tests.support.zones import TEAM, member
from zones.fleet_page import MOST_BARS, page

G = 10**9
FULL = bool(os.environ.get("FULL_FLEET"))
LEDGER = Principal.from_str("um5iw-rqaaa-aaaaq-qaaba-cai")


@pytest.fixture
def fleet(network, factory_build) -> Fleet:
    made = Fleet(network, deploy_factory(network, factory_build))
    made.grow([10 * G, 0, 40 * G])
    return made


def test_the_timer_reads_every_child_and_refills_the_low_ones(fleet):
    first, idle, hungry = fleet.children
    status = fleet.sweep()
    assert (status["sweep"]["looked_at"], status["sweep"]["unreadable"]) == (3, 0)
    drain(fleet.factory, first, 7 * T // 10)
    status = fleet.sweep()
    assert 1.4 * T < fleet.network.cycles(first) <= 1.5 * T
    assert status["sweep"]["refilled"] >= 1
    found = {child["canister"]: child for child in fleet.pages(2)}
    assert set(found) == {child.bytes for child in fleet.children}
    assert {child["state"][0] for child in found.values()} == {"running"}
    assert abs(found[hungry.bytes]["recent_burn"] - 40 * G) < 2 * G
    assert found[idle.bytes]["recent_burn"] < G
    assert found[first.bytes]["paid"] > 0
    history = fleet.factory.call("get_child_history", hungry.bytes)
    assert [reading["time"] for reading in history] == sorted(reading["time"] for reading in history)
    assert len(fleet.factory.call("get_fleet_history")) == status["sweep"]["number"]


def test_children_that_stop_leave_or_end_are_told_apart_and_the_sweep_goes_on(fleet):
    stopped, deleted, left = fleet.children
    network, factory = fleet.network, fleet.factory
    network.stop(stopped, sender=factory.id)
    network.stop(deleted, sender=factory.id)
    network.delete(deleted, sender=factory.id)
    network.update_settings(left, sender=factory.id, controllers=[TEAM])
    fleet.sweep()
    fleet.sweep()
    states = {child["canister"]: child["state"][0] for child in fleet.pages()}
    assert states == {stopped.bytes: "stopped", deleted.bytes: "deleted", left.bytes: "uncontrolled"}
    page = factory.call("get_alerts", True, None, 9)
    assert [(alert["kind"][0], alert["canister"]) for alert in page["entries"]] == [("unreachable", deleted.bytes)]
    assert factory.call("set_child_allowance", left.bytes, 60 * G, sender=TEAM) == ("ok", None)
    before = network.cycles(left)
    fleet.sweep()
    assert network.cycles(left) > before + 45 * G
    assert "no child" in factory.call("set_child_allowance", TEAM.bytes, 60 * G, sender=TEAM)[1]
    assert "an allowance is 0 or" in factory.call("set_child_allowance", left.bytes, 1, sender=TEAM)[1]


def test_the_timer_outlives_an_upgrade(fleet, factory_build):
    network, factory = fleet.network, fleet.factory
    number = fleet.sweep()["sweep"]["number"]
    network.stop(factory.id, sender=TEAM)
    network.upgrade(factory.id, factory_build.wasm, sender=TEAM)
    network.start(factory.id, sender=TEAM)
    assert fleet.sweep()["sweep"]["number"] == number + 1
    assert "Caller is not an admin." in rejection(factory, "start_sweep", sender=member(1))
    assert factory.call("start_sweep", sender=TEAM) == ("ok", None)
    network.tick(9)
    assert fleet.status()["sweep"]["number"] == number + 2


def test_a_fleet_lives_through_30_days_on_the_timer_alone(network, factory_build):
    # FULL_FLEET=1 (make test-fleet): 100 children; otherwise the same days with fewer.
    size = 100 if FULL else 8
    days = 30 if FULL else 12
    factory = deploy_factory(network, factory_build, (3 * size + 40) * T)
    fleet = Fleet(network, factory)
    fleet.grow([(number * 37 % 100) * G // (1 if number % 4 == 0 else 3) for number in range(size)])
    born = fleet.balances()
    for _ in range(days * DAY // SWEEP_SECONDS):
        status = fleet.sweep()
        assert status["balance"] >= status["reserve"] >= 5 * T
    held = fleet.balances()
    burns = {child.bytes: burn for child, burn in fleet.children.items()}
    for child in fleet.pages(50):
        assert child["balance"] > child["freezing"]
        assert child["state"] == ("running", None)
        # 1.45 T and more at no more than 100 G a day; a burner takes its cycles once between sweeps, or twice.
        assert child["balance"] - child["freezing"] > 14 * burns[child["canister"]]
        assert child["recent_burn"] < 1.6 * burns[child["canister"]] + 2 * G
    alerts = factory.call("get_alerts", False, None, 200)["entries"]
    assert {alert["kind"][0] for alert in alerts} <= {"quota_reached", "battery_low"}
    sums = factory.call("get_deposits", None, 0)["sums"]
    assert (sums["pending"]["count"], sums["unknown"]["count"], sums["failed"]["count"]) == (0, 0, 0)
    paid = {child["canister"]: child["paid"] for child in fleet.pages(50)}
    for child, burn in fleet.children.items():
        burnt = born[child.bytes] + paid[child.bytes] - held[child.bytes]
        assert abs(burnt - burn * days) < 0.04 * burn * days + 2 * G * days
    assert any(paid.values())
    assert_the_report_shows(fleet, days)


def assert_the_report_shows(fleet: Fleet, days: int) -> None:
    """The report of the fleet has each child with what it holds and burns, and the course of all these days."""
    shown = fleet.report()
    held, burns = fleet.balances(), {child.bytes: burn for child, burn in fleet.children.items()}
    assert {from_text(zone["canister"]) for zone in shown.zones} == set(held)
    for zone in shown.zones:
        child = from_text(zone["canister"])
        assert abs(zone["cycles"] - held[child]) < burns[child] // 2 + G
        assert zone["burn"] < 1.6 * burns[child] + 2 * G
        history = shown.zone_histories[zone["canister"]]
        # A reading is taken before the refill that follows from it.
        refilled = zone["paid"] - history[-1]["paid"]
        assert history[-1]["balance"] + refilled == pytest.approx(zone["cycles"], abs=G)
        assert history[-1]["time"] - history[0]["time"] > (days - 2) * DAY
    assert shown.figures["children"] == len(fleet.children)
    assert shown.figures["reserve"] <= shown.history[-1]["battery"] < shown.history[0]["battery"]
    assert shown.history[-1]["time"] - shown.history[0]["time"] > (days - 2) * DAY

    html = page(shown)
    drawn = {plot: html.split(f'<svg id="{plot}"')[1].split("</svg>")[0] for plot in ("cycles", "burn", "runway")}
    assert drawn["cycles"].count('class="dot battery"') == drawn["burn"].count("<circle") == len(shown.history)
    assert drawn["runway"].count("<rect") == min(len(fleet.children), MOST_BARS)
    assert "bar low" not in drawn["runway"]
    assert f": 0 of {len(fleet.children)} zones have less than {shown.policy['alert_days']}." in html
    assert html.count('<svg class="spark"') == len(fleet.children)
    assert all(f"<td>{child.to_str()}</td>" in html for child in fleet.children)


FAKE_LEDGER = """
(global $balance (mut i32) (i32.const 1))
(func (export "canister_query icrc1_balance_of") (call $tell_balance))
(func $tell_balance
  (if (global.get $balance)
    (then (call $answer (i32.const 1000) (i32.const {balance})))
    (else (call $answer (i32.const 1100) (i32.const {nothing})))))
(func (export "canister_query icrc1_fee") (call $answer (i32.const 1200) (i32.const {fee})))
(func (export "canister_update icrc1_transfer")
  (drop (call $argument (i32.const 3000))) (i32.store (i32.const 2000) (call $msg_arg_data_size))
  (global.set $balance (i32.const 0)) (call $answer (i32.const 1300) (i32.const {done})))
(func (export "canister_query sent") (call $answer (i32.const 3000) (i32.load (i32.const 2000))))
"""
ACCOUNT = candid.record(owner=candid.PRINCIPAL, subaccount=candid.opt(candid.BLOB))


def fake_ledger() -> bytes:
    """A ledger on which the factory has 5 T until it transfers them; `sent` is the argument of the transfer."""
    result = candid.variant(Ok=candid.NAT)
    replies = {
        "balance": candid.encode([candid.NAT], [5 * T]),
        "nothing": candid.encode([candid.NAT], [0]),
        "fee": candid.encode([candid.NAT], [100_000_000]),
        "done": candid.encode([result], [("Ok", 77)]),
    }
    sizes = {name: len(reply) for name, reply in replies.items()}
    return canister(FAKE_LEDGER.format(**sizes), dict(zip((1000, 1100, 1200, 1300), replies.values(), strict=True)))


def test_what_is_on_the_cycles_ledger_goes_to_the_account_that_controllers_set(network, factory_build):
    factory = deploy_factory(network, factory_build)
    ledger = network.deploy(fake_ledger())
    account = member(9)
    assert factory.call("get_refund_account") == FIRST_ADMIN.bytes
    assert factory.call("get_refund_ledger") == LEDGER.bytes
    assert "Caller is not an admin." in rejection(factory, "refund", sender=member(1))
    refused = rejection(factory, "set_refund_account", account.bytes, ledger.bytes, sender=member(1))
    assert "not a controller" in refused
    assert "reading the balance on the cycles ledger failed" in rejection(factory, "refund", sender=TEAM)
    assert factory.call("set_refund_account", account.bytes, ledger.bytes, sender=TEAM) == ("ok", None)
    assert factory.call("get_refund_account") == account.bytes
    assert factory.call("get_refund_ledger") == ledger.bytes
    first = factory.submit("refund", sender=TEAM)
    second = factory.submit("refund", sender=TEAM)
    assert factory.wait("refund", first) == ("Ok", 77)
    with pytest.raises(CallRejected, match="a refund is under way"):
        factory.wait("refund", second)
    argument = candid.record(
        to=ACCOUNT,
        amount=candid.NAT,
        fee=candid.opt(candid.NAT),
        memo=candid.opt(candid.BLOB),
        from_subaccount=candid.opt(candid.BLOB),
        created_at_time=candid.opt(candid.NAT64),
    )
    (transfer,) = candid.decode(network.query(ledger, "sent"), [argument])
    assert transfer["to"] == {"owner": account.bytes, "subaccount": None}
    assert transfer["amount"] == 5 * T - 100_000_000
    assert factory.call("refund", sender=TEAM) is None


def test_what_creations_cost_is_on_the_books_and_not_taken_for_the_batterys_own_burn(fleet):
    fleet.sweep()
    fleet.grow([0] * 3)
    sums = fleet.factory.call("get_deposits", None, 200)
    made = [entry for entry in sums["entries"] if entry["reason"] == "creation"]
    assert len(made) == 6
    assert {entry["outcome"] for entry in made} == {("settled", None)}
    fleet.sweep()
    status = fleet.sweep()
    assert status["passed_on"] >= sum(entry["attached"] for entry in made)
    assert status["own_burn"] < 0.2 * T
    assert status["reserve"] < 7 * T
