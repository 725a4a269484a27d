"""The zone's maintenance flag on the Wasm: updates wait, queries answer, and it never stays for ever by accident."""

from __future__ import annotations

import pytest

from tests.support.factories import rejection
from tests.support.network import CallRejected
from tests.support.zones import BATTERY, TEAM, deploy_zone, join, key_id, member
from zone_canister.maintenance import BEING_UPGRADED

ON = {"on": True, "restoring": False}
HOLD = {"on": True, "restoring": True}
OFF = {"on": False, "restoring": False}
SINCE = {"after_id": 0, "key_id": None, "limit": None}


@pytest.fixture
def zone(network, zone_build):
    zone = deploy_zone(network, zone_build.wasm, zone_build.did)
    join(zone, 1, 400)
    assert zone.call("add_message", key_id(1), b"before", sender=member(1)) == ("ok", 1)
    return zone


def refusal(zone, method: str, *values) -> str:
    return rejection(zone, method, *values, sender=member(1))


def test_every_update_waits_and_every_query_answers(zone):
    label, until = zone.call("set_maintenance", ON, sender=BATTERY)
    assert (label, until // 10**9 - zone.network.time() // 10**9) == ("ok", 1800)
    calls = {
        "add_message": (key_id(1), b"x"),
        "add_messages": ([{"0": key_id(1), "1": b"x"}],),
        "set_message_limits": ({"max_bytes": None, "max_messages": 1, "max_age_seconds": None},),
        "prune_messages": (1,),
        "set_member_quota": ({"max_messages": 1, "max_bytes": None},),
        "refresh_controllers": (),
        "update_role": (bytes(65),),
        "request_topup_if_low": (),
    }
    updates = {name for name, method in zone.methods.items() if not method.mode}
    assert updates == {*calls, "set_maintenance"}
    for method, values in calls.items():
        assert refusal(zone, method, *values) == BEING_UPGRADED
    assert zone.call("get_message_count") == 1
    assert len(zone.call("get_messages_since", SINCE, sender=member(1))["messages"]) == 1
    assert zone.call("set_maintenance", OFF, sender=BATTERY) == ("ok", 0)
    assert zone.call("add_message", key_id(1), b"x", sender=member(1)) == ("ok", 2)


def test_the_flag_outlives_an_upgrade_and_ends_by_itself(zone, zone_build):
    network = zone.network
    zone.call("set_maintenance", ON, sender=BATTERY)
    network.upgrade(zone.id, zone_build.wasm, sender=TEAM)
    network.upgrade(zone.id, zone_build.wasm, sender=TEAM, skip_pre_upgrade=True)
    assert refusal(zone, "add_message", key_id(1), b"x") == BEING_UPGRADED
    network.advance(1_700)
    assert refusal(zone, "add_message", key_id(1), b"x") == BEING_UPGRADED
    network.advance(100)
    assert zone.call("add_message", key_id(1), b"x", sender=member(1)) == ("ok", 2)
    assert zone.call("set_maintenance", HOLD, sender=BATTERY)[0] == "err"


def test_once_going_back_has_begun_the_flag_stays(zone):
    zone.call("set_maintenance", ON, sender=BATTERY)
    assert zone.call("set_maintenance", HOLD, sender=BATTERY) == ("ok", 0)
    zone.network.advance(86_400)
    assert refusal(zone, "add_message", key_id(1), b"x") == BEING_UPGRADED
    assert zone.call("get_health", sender=BATTERY)["maintenance_until"] == 0


def test_what_expires_under_the_flag_is_evicted_when_it_ends(zone):
    limits = {"max_bytes": None, "max_messages": None, "max_age_seconds": 60}
    assert zone.call("set_message_limits", limits, sender=member(1)) == ("ok", None)
    zone.call("set_maintenance", ON, sender=BATTERY)
    before = zone.call("get_health", sender=BATTERY)
    for _ in range(4):
        zone.network.advance(40)
    assert zone.call("get_health", sender=BATTERY) == before
    zone.call("set_maintenance", OFF, sender=BATTERY)
    for _ in range(3):
        zone.network.advance(40)
    assert zone.call("get_health", sender=BATTERY) == {
        **before,
        "messages": 0,
        "first_id": 2,
        "maintenance_until": None,
    }


def test_a_former_controller_decides_nothing_a_day_after_the_zone_read_who_controls_it(zone):
    zone.call("refresh_controllers", sender=TEAM)
    limits = zone.call("get_message_limits")
    assert zone.call("set_message_limits", limits, sender=TEAM)[0] == "ok"
    zone.network.update_settings(zone.id, sender=TEAM, controllers=[member(9)])
    zone.network.advance(86_401)
    with pytest.raises(CallRejected, match="Not an admin: the zone read its controllers more than a day ago"):
        zone.call("set_message_limits", limits, sender=TEAM)
    zone.call("refresh_controllers", sender=member(9))
    assert zone.call("set_message_limits", limits, sender=member(9))[0] == "ok"
    with pytest.raises(CallRejected, match=r"Not an admin$"):
        zone.call("set_message_limits", limits, sender=TEAM)


def test_a_factory_that_is_known_to_control_the_zone_no_more_cannot_hold_it_up(zone):
    assert zone.call("set_maintenance", ON, sender=BATTERY)[0] == "ok"
    zone.call("set_maintenance", OFF, sender=BATTERY)
    zone.call("refresh_controllers", sender=member(1))
    for method, values in (("set_maintenance", [ON]), ("get_health", [])):
        with pytest.raises(CallRejected, match="Not the factory or a controller"):
            zone.call(method, *values, sender=BATTERY)
    assert zone.call("set_maintenance", ON, sender=TEAM)[0] == "ok"
