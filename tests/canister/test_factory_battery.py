"""The battery on the Wasm: who may ask for cycles, what is refused, what the books say of it."""

from typing import Any

import pytest
from ic.principal import Principal

from factory.sweep import BEAT_SECONDS
from tests.support.actor import Actor
from tests.support.factories import T, deploy_factory, publish, rejection
from tests.support.fleets import drain
from tests.support.network import ANONYMOUS, CallRejected
from tests.support.zones import RPC_HOST, TEAM, ZONE_ID, member

CREATION = (ZONE_ID, RPC_HOST, "/")
DAY = 86_400
TARGET = 1_500_000_000_000


@pytest.fixture
def factory(network, factory_build, zone_build):
    """A factory with a release whose next sweep is a week away."""
    made = deploy_factory(network, factory_build)
    publish(made, zone_build.wasm)
    network.advance(BEAT_SECONDS)
    assert made.call("get_battery_status")["sweep"]["number"] == 1
    assert made.call("set_battery_policy", no_change(sweep_seconds=7 * DAY), sender=TEAM) == ("ok", None)
    return made


@pytest.fixture
def zone(factory) -> Principal:
    return Principal(factory.call("create_zone_availability_canister", *CREATION, sender=member(1)))


def ask(factory: Actor, child: Principal, amount: int) -> Any:
    """A child's request for cycles, sent in its name."""
    return factory.call("cycles_manager_transferCycles", amount, sender=child)


def refill(factory: Actor, child: Principal, sender: Principal = TEAM) -> Any:
    return factory.call("cycles_manager_transferCyclesToCanister", child.bytes, sender=sender)


def reconciles(factory: Actor) -> dict[str, Any]:
    """The page of all deposits, after checking it against itself."""
    page = factory.call("get_deposits", None, 200)
    for outcome, total in page["sums"].items():
        entries = [entry for entry in page["entries"] if entry["outcome"][0] == outcome]
        assert total["count"] == len(entries)
        assert total["attached"] - total["refunded"] == sum(e["attached"] - e["refunded"] for e in entries)
    return page


def open_alerts(factory: Actor) -> list[tuple[str, bytes | None]]:
    page = factory.call("get_alerts", True, None, 200)
    assert page["open_count"] == len(page["entries"])
    return [(entry["kind"][0], entry["canister"]) for entry in page["entries"]]


def test_a_child_gets_what_it_asks_for_within_the_quotas_and_every_deposit_is_on_the_books(factory, zone):
    before = factory.network.cycles(zone)
    assert ask(factory, zone, 49_999_999_999) == ("err", ("too_few_cycles_requested", None))
    assert ask(factory, zone, T) == ("ok", T)
    assert ask(factory, zone, T) == ("ok", T // 2)
    assert ask(factory, zone, T) == ("err", ("canister_quota_reached", None))
    assert abs(factory.network.cycles(zone) - before - TARGET) < 0.001 * T
    assert open_alerts(factory) == [("quota_reached", zone.bytes)]
    quota = {"maxAmount": 10 * T, "durationInSeconds": DAY, "cyclesUsed": TARGET}
    assert factory.call("get_aggregate_quota_settings") == quota
    factory.network.advance(DAY)
    assert factory.call("get_aggregate_quota_settings") == {**quota, "cyclesUsed": 0}
    assert ask(factory, zone, T) == ("ok", T)
    assert open_alerts(factory) == []
    page = reconciles(factory)
    assert [(e["attached"], e["outcome"], e["canister"]) for e in page["entries"][:3]] == [
        (T, ("settled", None), zone.bytes),
        (T // 2, ("settled", None), zone.bytes),
        (T, ("settled", None), zone.bytes),
    ]
    assert factory.call("get_deposits", 2, 1)["entries"] == page["entries"][2:3]


def test_only_a_child_itself_its_owners_and_admins_have_it_refilled(factory, zone):
    drain(factory, zone, T // 2)
    for stranger in (ANONYMOUS, member(2)):
        with pytest.raises(CallRejected) as caught:
            refill(factory, zone, stranger)
        assert "refused" in caught.value.message or caught.value.message.endswith("Caller is not an admin.")
    label, amount = refill(factory, zone, member(1))
    assert label == "ok"
    assert TARGET - 0.001 * T < factory.network.cycles(zone) <= TARGET
    assert 0.9 * T < amount < TARGET
    assert refill(factory, zone) == ("err", ("other", "Canister has enough cycles"))
    factory.network.advance(DAY)
    assert refill(factory, zone, zone) == ("ok", 50_000_000_000)
    reconciles(factory)


def test_a_thirsty_zone_drinks_by_itself(factory, zone, zone_build):
    actor = Actor(factory.network, zone, zone_build.did)
    assert actor.call("request_topup_if_low", sender=member(1)) == ("ok", 0)
    assert "Anonymous" in rejection(actor, "request_topup_if_low")
    drain(factory, zone, 7 * T // 10)
    assert actor.call("request_topup_if_low", sender=member(1)) == ("ok", T // 2)
    assert factory.network.cycles(zone) > 1.1 * T
    assert actor.call("request_topup_if_low", sender=member(1)) == ("ok", 0)


def test_what_is_no_child_is_refused_with_the_contracts_texts(factory):
    refused = rejection(factory, "cycles_manager_transferCyclesToCanister", TEAM.bytes, sender=TEAM)
    assert refused == "canisterId principal must be a canister"
    other = factory.network.create()
    refused = rejection(factory, "cycles_manager_transferCyclesToCanister", other.bytes, sender=TEAM)
    assert refused == "Canister is not permitted to request cycles"
    assert rejection(factory, "cycles_manager_transferCycles", T, sender=member(1)) == (
        "Calling principal must be a canister"
    )
    assert rejection(factory, "cycles_manager_transferCycles", T, sender=other) == (
        "Canister is not permitted to request cycles"
    )
    assert factory.call("get_cycles_manager_info").startswith("CyclesManager { defaultSettings = ")


def test_code_that_the_factory_did_not_publish_gets_nothing_and_raises_an_alert_once(factory, zone, zone_build):
    factory.network.reinstall(zone, b"\x00asm\x01\x00\x00\x00", sender=factory.id)
    before = factory.network.cycles(factory.id)
    for _ in range(2):
        label, error = ask(factory, zone, T)
        assert (label, error[0]) == ("err", "other")
        assert "runs code that this factory did not publish" in error[1]
    assert factory.network.cycles(factory.id) > before - 0.01 * T
    assert open_alerts(factory) == [("foreign_code", zone.bytes)]
    assert [entry["reason"] for entry in factory.call("get_deposits", None, 9)["entries"]] == ["creation"]
    assert factory.call("get_alerts", False, None, 9)["next_number"] == 1


def test_the_reserve_stays_whoever_asks(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build, 8 * T + T // 2)
    publish(factory, zone_build.wasm)
    zone = Principal(factory.call("create_zone_availability_canister", *CREATION, sender=member(1)))
    assert factory.call("set_battery_policy", no_change(reserve=6 * T + T // 2), sender=TEAM) == ("ok", None)
    assert ask(factory, zone, T) == ("err", ("insufficient_cycles_available", None))
    assert factory.call("get_aggregate_quota_settings")["cyclesUsed"] == 0
    assert factory.call("set_battery_policy", no_change(reserve=5 * T), sender=TEAM) == ("ok", None)
    assert ask(factory, zone, T) == ("ok", T)
    assert factory.network.cycles(factory.id) >= 5 * T


def no_change(**changes: int) -> dict[str, int | None]:
    """A change of the policy."""
    names = ["min_top_up", "child_limit", "shared_limit", "refill_below", "refill_to", "runway_days", "reserve"]
    return {
        **dict.fromkeys([*names, "reserve_days", "alert_days", "sweep_seconds", "unusual_times", "unusual_cycles"]),
        "refill_most": None,
        **changes,
    }


def test_admins_set_policy_and_quota_and_their_acts_are_on_the_record(factory, zone):
    for method, values in [
        ("set_battery_policy", [no_change(reserve=T)]),
        ("update_aggregate_quota_settings", [T, DAY]),
    ]:
        assert "not an admin" in rejection(factory, method, *values, sender=member(1))
    assert factory.call("set_battery_policy", no_change(child_limit=T, runway_days=9), sender=TEAM) == ("ok", None)
    policy = factory.call("get_battery_policy")
    assert (policy["child_limit"], policy["runway_days"], policy["refill_to"]) == (T, 9, TARGET)
    label, text = factory.call("set_battery_policy", no_change(runway_days=0), sender=TEAM)
    assert (label, text) == ("err", "runway_days must be 1 to 365, got 0")
    assert ask(factory, zone, 2 * T) == ("ok", T)
    assert factory.call("update_aggregate_quota_settings", 2 * T, 3_600, sender=TEAM) is None
    quota = {"maxAmount": 2 * T, "durationInSeconds": 3_600, "cyclesUsed": 0}
    assert factory.call("get_aggregate_quota_settings") == quota
    assert "durationInSeconds must be 1 to" in rejection(
        factory, "update_aggregate_quota_settings", 2 * T, 0, sender=TEAM
    )
    acts = [entry["action"] for entry in factory.call("get_audit_log", None, 2)["entries"]]
    assert acts == ["update_aggregate_quota_settings", "set_battery_policy"]
