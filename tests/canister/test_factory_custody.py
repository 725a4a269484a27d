"""Custody, debts, the index and the end of zones on the Wasm."""

from pathlib import Path
from typing import Any

import pytest
import wasmtime
from ic.principal import Principal

from factory.returner import RETURNER_WASM
from localnet import candid
from localnet import management_types as types
from tests.support.actor import Actor
from tests.support.factories import T, Wallet, deploy_factory, publish, rejection, wish
from tests.support.network import CallRejected
from tests.support.zones import TEAM, ZONE_ID, member, public_key, role_answer

OTHER_ID = "0x" + "cd" * 20


@pytest.fixture
def factory(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build)
    publish(factory, zone_build.wasm)
    return factory


@pytest.fixture
def zone(factory):
    """The canister of a sponsored zone that member 1 created."""
    return factory.call("create_zone", wish(), sender=member(1))[1]["canister"]


def offer(canister: bytes, custody: str, *numbers: int) -> dict:
    return {"canister": canister, "custody": (custody, None), "owners": [member(n).bytes for n in numbers]}


def controllers(factory: Actor, canister: bytes, reader: Principal) -> list[bytes]:
    return sorted(factory.network.canister_status(Principal(canister), sender=reader)["settings"]["controllers"])


def text_of(canister: bytes) -> str:
    return Principal(canister).to_str()


def test_owners_take_custody_when_what_is_owed_was_repaid_and_each_accepted(factory, zone):
    wallet = Wallet(factory.network, factory)
    label, fault = factory.call("offer_custody", offer(zone, "shared", 1, 2), sender=member(1))
    assert (label, f"{2 * T} cycles are owed for this zone" in fault) == ("err", True)
    assert wallet.call("repay", zone, cycles=T) == ("ok", T)
    held, battery = wallet.cycles, factory.network.cycles(factory.id)
    assert wallet.call("repay", zone, cycles=5 * T) == ("ok", 0)
    assert 0 <= held - wallet.cycles - T < 0.001 * T
    assert factory.network.cycles(factory.id) > battery + 0.99 * T
    assert factory.call("offer_custody", offer(zone, "shared", 1, 2), sender=member(1)) == ("ok", None)
    assert controllers(factory, zone, factory.id) == [factory.id.bytes]
    told = factory.call("get_zone", zone)
    assert (told["offered"], told["accepted"]) == ([member(1).bytes, member(2).bytes], [member(1).bytes])
    refused = ("err", "custody of this zone was not offered to you")
    assert factory.call("accept_custody", offer(zone, "shared", 1, 2), sender=member(3)) == refused
    assert factory.call("accept_custody", offer(zone, "shared", 1, 2), sender=member(2)) == ("ok", None)
    owners = sorted([member(1).bytes, member(2).bytes])
    assert controllers(factory, zone, factory.id) == sorted([factory.id.bytes, *owners])
    told = factory.call("get_zone", zone)
    assert (told["custody"], sorted(told["owners"]), told["offered"]) == (("shared", None), owners, [])
    speaks = ("err", "Unauthorized access. Caller does not speak for the zone.")
    assert factory.call("offer_custody", offer(zone, "shared", 3), sender=member(3)) == speaks
    assert factory.call("offer_custody", offer(zone, "sovereign", 2), sender=member(2)) == ("ok", None)
    told = factory.call("get_zone", zone)
    assert (told["custody"], told["awaited"]) == (("shared", None), [member(1).bytes])
    assert factory.call("accept_custody", offer(zone, "sovereign", 2), sender=member(1)) == ("ok", None)
    assert controllers(factory, zone, member(2)) == [member(2).bytes]
    assert factory.call("get_zone", zone)["custody"] == ("sovereign", None)
    label, fault = factory.call("offer_custody", offer(zone, "managed", 2), sender=member(2))
    assert (label, "the factory does not control this zone" in fault) == ("err", True)


@pytest.mark.parametrize(
    ("before", "now", "numbers", "awaited"),
    [
        ("managed", "managed", [1], [2]),
        ("managed", "managed", [1, 3], [3, 2]),
        ("managed", "shared", [1, 2], [2]),
        ("managed", "sovereign", [1, 3], [3, 2]),
        ("shared", "sovereign", [1, 2], []),
        ("shared", "managed", [1, 2], [2]),
        ("shared", "managed", [3], [3, 2]),
    ],
)
def test_no_owner_loses_a_zone_or_its_control_without_a_word_of_his(factory, before, now, numbers, awaited):
    owners = [member(1).bytes, member(2).bytes]
    asked = wish(owners=owners, custody=(before, None))
    zone = Wallet(factory.network, factory).call("create_zone", asked, cycles=3 * T)[1]["canister"]
    assert factory.call("offer_custody", offer(zone, now, *numbers), sender=member(1)) == ("ok", None)
    told = factory.call("get_zone", zone)
    assert told["awaited"] == [member(number).bytes for number in awaited]
    assert (sorted(told["owners"]), told["custody"]) == (
        sorted(owners),
        (before if awaited else now, None),
    )
    for number in awaited:
        assert factory.call("get_zone", zone)["custody"] == (before, None)
        assert factory.call("accept_custody", offer(zone, now, *numbers), sender=member(number)) == ("ok", None)
    told = factory.call("get_zone", zone)
    assert (sorted(told["owners"]), told["custody"], told["awaited"]) == (
        sorted(member(number).bytes for number in numbers),
        (now, None),
        [],
    )


def test_a_zone_shows_who_controls_it_and_what_the_factory_can_do(factory, zone, zone_build):
    itself = Actor(factory.network, Principal(zone), zone_build.did)
    told = itself.call("get_custody")
    assert (told["custody"], told["factory"], told["factory_can"], told["read_at"]) == (
        None,
        factory.id.bytes,
        [],
        None,
    )
    itself.call("refresh_controllers", sender=member(9))
    told = itself.call("get_custody")
    assert (told["custody"], told["controllers"]) == (("managed", None), [factory.id.bytes])
    assert "read and erase what is stored" in told["factory_can"]
    assert told["read_at"] > 0
    factory.call("waive_repayment", zone, sender=TEAM)
    for custody in ("shared", "sovereign"):
        factory.call("offer_custody", offer(zone, custody, 1), sender=member(1))
        factory.network.advance(60)
        itself.call("refresh_controllers", sender=member(9))
        assert itself.call("get_custody")["custody"] == (custody, None)
    assert itself.call("get_custody")["factory_can"] == ["give cycles"]


def test_a_zone_that_is_given_back_to_the_factory_knows_it_at_once(factory, zone_build):
    asked = wish(owners=[member(1).bytes], custody=("shared", None))
    zone = Wallet(factory.network, factory).call("create_zone", asked, cycles=3 * T)[1]["canister"]
    itself = Actor(factory.network, Principal(zone), zone_build.did)
    itself.call("refresh_controllers", sender=member(9))
    limits = itself.call("get_message_limits")
    assert itself.call("set_message_limits", limits, sender=member(1))[0] == "ok"
    factory.network.advance(60)
    assert factory.call("offer_custody", offer(zone, "managed", 1), sender=member(1)) == ("ok", None)
    assert itself.call("get_controllers")["controllers"] == [factory.id.bytes]
    assert "Not an admin" in rejection(itself, "set_message_limits", limits, sender=member(1))


@pytest.mark.parametrize("way", ["offered", "left"])
def test_what_an_owner_set_is_not_the_batterys_to_pay_once_he_gave_the_zone_back(factory, way):
    network, asked = factory.network, wish(owners=[member(1).bytes], custody=("shared", None))
    zone = Principal(Wallet(network, factory).call("create_zone", asked, cycles=3 * T)[1]["canister"])
    born = network.canister_status(zone, sender=factory.id)["settings"]
    dear = {"compute_allocation": 2, "memory_allocation": 2**30, "snapshot_visibility": ("public", None)}
    network.update_settings(zone, sender=member(1), **dear, freezing_threshold=0)
    network.update_settings(zone, sender=member(1), freezing_threshold=10**12)
    if way == "offered":
        assert factory.call("offer_custody", offer(zone.bytes, "managed", 1), sender=member(1)) == ("ok", None)
    else:
        network.update_settings(zone, sender=member(1), controllers=[factory.id])
    battery = network.cycles(factory.id)
    for _ in range(4):
        network.advance(21_700)
        network.tick(20)
    found = network.canister_status(zone, sender=factory.id)["settings"]
    assert found == {**born, "controllers": [factory.id.bytes]}
    assert battery - network.cycles(factory.id) < 0.5 * T
    assert factory.call("get_zone", zone.bytes)["custody"] == ("managed", None)
    acts = [act["action"] for act in factory.call("get_audit_log", None, 9)["entries"]]
    assert acts.count("set_settings_back") == (way == "left")


def test_an_admin_may_waive_what_is_owed_and_it_is_on_record(factory, zone):
    assert factory.call("waive_repayment", zone, sender=TEAM) == ("ok", None)
    assert factory.call("offer_custody", offer(zone, "sovereign", 1), sender=member(1)) == ("ok", None)
    assert controllers(factory, zone, member(1)) == [member(1).bytes]
    acts = [(act["action"], act["details"]) for act in factory.call("get_audit_log", None, 3)["entries"]]
    assert ("waive_repayment", f"{2 * T} cycles") in acts


def test_owners_acts_have_a_log_of_their_own_and_are_in_it_when_they_change_something(factory, zone):
    factory.call("waive_repayment", zone, sender=TEAM)
    before = factory.call("get_audit_log", None, 1)["next_number"]
    for _ in range(3):
        assert factory.call("offer_custody", offer(zone, "shared", 2), sender=member(1)) == ("ok", None)
    for _ in range(3):
        assert factory.call("cancel_custody_offer", zone, sender=member(1)) == ("ok", None)
    factory.call("cycles_manager_transferCyclesToCanister", zone, sender=member(1))
    acts = [(act["action"], act["caller"]) for act in factory.call("get_owner_log", None, 9)["entries"]]
    assert acts == [("cancel_custody_offer", member(1).bytes), ("offer_custody", member(1).bytes)]
    assert factory.call("get_audit_log", None, 1)["next_number"] == before
    factory.call("canister_status", zone, sender=TEAM)
    newest = factory.call("get_audit_log", None, 1)["entries"][0]
    assert (newest["action"], newest["caller"], newest["subject"]) == ("canister_status", TEAM.bytes, zone)


def test_an_offer_can_be_taken_back_until_it_is_carried_out(factory, zone):
    factory.call("waive_repayment", zone, sender=TEAM)
    assert factory.call("offer_custody", offer(zone, "shared", 2), sender=member(1)) == ("ok", None)
    assert factory.call("cancel_custody_offer", zone, sender=member(1)) == ("ok", None)
    assert factory.call("accept_custody", offer(zone, "shared", 2), sender=member(2))[0] == "err"


def test_nobody_accepts_an_offer_that_has_taken_the_place_of_the_one_he_read(factory):
    asked = wish(owners=[member(1).bytes, member(2).bytes], custody=("shared", None))
    zone = Wallet(factory.network, factory).call("create_zone", asked, cycles=3 * T)[1]["canister"]
    read, put = offer(zone, "sovereign", 1, 3), offer(zone, "sovereign", 1)
    assert factory.call("offer_custody", read, sender=member(1)) == ("ok", None)
    assert factory.call("accept_custody", read, sender=member(3)) == ("ok", None)
    assert factory.call("offer_custody", put, sender=member(1)) == ("ok", None)
    before = factory.call("get_zone", zone)
    assert (before["accepted"], before["awaited"]) == ([member(1).bytes], [member(2).bytes])
    for others in (read, offer(zone, "managed", 1), offer(zone, "sovereign", 1, 1)):
        label, fault = factory.call("accept_custody", others, sender=member(2))
        assert (label, f"what is offered is sovereign to {member(1).to_str()}, not " in fault) == ("err", True)
    assert factory.call("get_zone", zone) == before
    assert factory.call("accept_custody", put, sender=member(2)) == ("ok", None)
    assert controllers(factory, zone, member(1)) == [member(1).bytes]


def test_the_record_follows_controllers_that_owners_changed(factory, zone):
    factory.call("waive_repayment", zone, sender=TEAM)
    factory.call("offer_custody", offer(zone, "shared", 1), sender=member(1))
    factory.network.update_settings(Principal(zone), sender=member(1), controllers=[member(1), member(4)])
    assert factory.call("get_zone", zone)["custody"] == ("shared", None)
    factory.network.advance(60)
    assert factory.call("refresh_custody", zone, sender=member(9)) == ("ok", None)
    told = factory.call("get_zone", zone)
    assert (told["custody"], told["controlled"]) == (("sovereign", None), False)
    assert sorted(told["owners"]) == sorted([member(1).bytes, member(4).bytes])


def test_an_owner_who_changes_owners_again_and_again_makes_no_record_that_cannot_be_kept(factory, factory_build):
    asked = wish(owners=[member(1).bytes], custody=("shared", None))
    zone = Wallet(factory.network, factory).call("create_zone", asked, cycles=3 * T)[1]["canister"]
    network = factory.network
    for turn in range(9):
        others = [member(200 + 8 * turn + number) for number in range(8)]
        network.update_settings(Principal(zone), sender=member(1), controllers=[factory.id, member(1), *others])
        network.advance(60)
        assert factory.call("refresh_custody", zone, sender=member(9)) == ("ok", None)
        for other in others:
            assert "owners have yet to ask for it" in factory.call("retire_child", zone, text_of(zone), sender=other)[1]
    told = factory.call("get_zone", zone)
    assert (len(told["owners"]), len(told["agreed_to_retire"])) == (9, 8)
    assert factory.call("start_sweep", sender=TEAM) == ("ok", None)
    network.tick(30)
    assert factory.call("get_battery_status")["sweep"]["ended_at"] is not None
    network.stop(factory.id, sender=TEAM)
    network.upgrade(factory.id, factory_build.wasm, sender=TEAM)


def test_a_deposit_to_a_sponsored_zone_is_owed_too(factory, zone, network):
    deposits = []
    for _ in range(60):
        network.advance(20 * 86_400)
        network.tick(5)
        deposits = factory.call("get_deposits", None, 100)["entries"]
        if len(deposits) > 1:
            break
    assert deposits[-1]["reason"] == "creation"
    deposited = sum(deposit["attached"] - deposit["refunded"] for deposit in deposits)
    assert deposited > 2 * T
    assert factory.call("get_zone", zone)["owed"] == deposited


def test_zones_are_found_by_id_and_creator_and_only_a_proven_one_is_canonical(factory):
    made = [factory.call("create_zone", wish(), sender=member(n))[1]["canister"] for n in (2, 3)]
    made.append(factory.call("create_zone", wish(zone_id=OTHER_ID), sender=member(2))[1]["canister"])
    assert factory.call("get_zones_by_id", ZONE_ID, 0, 10)["canonical"] is None
    call = factory.submit("create_zone", wish(public_key=public_key(1)), sender=member(1))
    factory.network.answer(factory.network.next_outcall(), role_answer(400))
    made.append(factory.wait("create_zone", call)[1]["canister"])
    page = factory.call("get_zones_by_id", ZONE_ID.upper().replace("0X", "0x"), 0, 10)
    assert page["canonical"] == made[3]
    assert [(zone["canister"], zone["proven"], zone["canonical"]) for zone in page["zones"]] == [
        (made[0], False, False),
        (made[1], False, False),
        (made[3], True, True),
    ]
    first = factory.call("get_zones_by_id", ZONE_ID, 0, 2)
    assert ([zone["canister"] for zone in first["zones"]], first["next"]) == (made[:2], 2)
    rest = factory.call("get_zones_by_id", ZONE_ID, 2, 2)
    assert ([zone["canister"] for zone in rest["zones"]], rest["next"]) == ([made[3]], None)
    mine = factory.call("get_zones_by_creator", member(2).bytes, 0, 10)["zones"]
    assert [zone["canister"] for zone in mine] == [made[0], made[2]]
    listed = factory.call("list_zones", None, 3)
    listed += factory.call("list_zones", listed[-1]["canister"], 3)
    assert [zone["canister"] for zone in listed] == sorted(made)


def test_a_zone_that_ends_gives_its_cycles_back_and_its_place_free(factory, zone):
    network = factory.network
    label, fault = factory.call("retire_child", zone, "yes", sender=TEAM)
    assert (label, f"repeat its canister id {text_of(zone)}" in fault) == ("err", True)
    held, battery = network.cycles(Principal(zone)), network.cycles(factory.id)
    label, recovered = factory.call("retire_child", zone, text_of(zone), sender=TEAM)
    assert label == "ok", recovered
    assert held - 0.11 * T < recovered <= held
    assert network.cycles(factory.id) > battery + held - 0.12 * T
    (entry, *_), sums = [factory.call("get_deposits", None, 1)[key] for key in ("entries", "sums")]
    assert (entry["canister"], entry["outcome"], entry["reason"]) == (zone, ("returned", None), "retired")
    assert (entry["attached"], entry["refunded"]) == (0, recovered)
    assert sums["returned"] == {"count": 1, "attached": 0, "refunded": recovered}
    assert factory.call("get_battery_status")["passed_on"] == 2 * T - recovered
    assert not network.exists(Principal(zone))
    assert factory.call("get_zone", zone)["stage"] == ("retired", None)
    assert factory.call("get_cycles_manager_children") == factory.call("list_zones", None, 9) == []
    assert factory.call("get_fleet", None, 9) == {"children": [], "next_after": None, "count": 0}
    assert factory.call("get_battery_status")["children"] == 0
    assert factory.call("get_child_status", zone) is None
    assert [ended["canister"] for ended in factory.call("get_zones_by_id", ZONE_ID, 0, 9)["zones"]] == [zone]
    assert factory.call("get_my_zone", ZONE_ID, sender=member(1)) is None
    assert factory.call("retire_child", zone, text_of(zone), sender=TEAM) == ("ok", recovered)
    label, made = factory.call("create_zone", wish(), sender=member(1))
    assert (label, made["canister"] != zone) == ("ok", True)


def test_a_zone_with_owners_ends_only_when_each_of_them_wants_it(factory, zone):
    factory.call("waive_repayment", zone, sender=TEAM)
    factory.call("offer_custody", offer(zone, "shared", 1, 2), sender=member(1))
    factory.call("accept_custody", offer(zone, "shared", 1, 2), sender=member(2))
    for sender, count in ((TEAM, 2), (member(1), 1)):
        label, fault = factory.call("retire_child", zone, text_of(zone), sender=sender)
        assert (label, f"{count} of 2 owners have yet to ask for it" in fault) == ("err", True)
    assert factory.call("get_zone", zone)["stage"] == ("live", None)
    assert factory.call("retire_child", zone, text_of(zone), sender=member(3))[0] == "err"
    assert factory.call("retire_child", zone, text_of(zone), sender=member(2))[0] == "ok"
    with pytest.raises(CallRejected):
        controllers(factory, zone, member(1))


def test_a_retirement_that_stopped_half_way_is_taken_up(factory, zone):
    network = factory.network
    network.stop(Principal(zone), sender=factory.id)
    network.delete(Principal(zone), sender=factory.id)
    assert factory.call("retire_child", zone, text_of(zone), sender=TEAM) == ("ok", 0)
    assert factory.call("get_zone", zone)["stage"] == ("retired", None)


@pytest.mark.parametrize("setting", ["wasm_memory_limit", "minimum_incoming_canister_call_cycles"])
@pytest.mark.parametrize("leaves", [False, True], ids=["he stays", "he leaves first"])
def test_no_setting_of_an_owners_keeps_a_zone_from_its_end(factory, setting, leaves):
    network, asked = factory.network, wish(owners=[member(1).bytes], custody=("shared", None))
    zone = Principal(Wallet(network, factory).call("create_zone", asked, cycles=3 * T)[1]["canister"])
    born = network.canister_status(zone, sender=factory.id)["settings"][setting]
    network.update_settings(zone, sender=member(1), **{setting: 1})
    if leaves:
        network.update_settings(zone, sender=member(1), controllers=[factory.id])
        network.advance(21_700)
        network.tick(20)
        assert network.canister_status(zone, sender=factory.id)["settings"][setting] == born
    label, recovered = factory.call("retire_child", zone.bytes, text_of(zone.bytes), sender=member(1))
    assert (label, recovered > 1.3 * T) == ("ok", True), recovered
    assert not network.exists(zone)


@pytest.mark.parametrize("leaves", [False, True], ids=["he stays", "he leaves first"])
def test_an_owner_who_installs_the_code_that_gives_cycles_back_himself_is_not_believed(factory, leaves):
    network = factory.network
    asked = wish(owners=[member(1).bytes], custody=("shared", None))
    canister = Wallet(network, factory).call("create_zone", asked, cycles=3 * T)[1]["canister"]
    zone = Principal(canister)
    passed_on = factory.call("get_battery_status")["passed_on"]
    to_itself = candid.encode([types.CANISTER_ID], [{"canister_id": canister}])
    network.reinstall(zone, RETURNER_WASM, to_itself, sender=member(1))
    settings = {"controllers": [factory.id]} if leaves else {}
    network.update_settings(zone, sender=member(1), freezing_threshold=0, **settings)
    for _ in range(5):
        network.update(zone, "give_back")
    held, battery = network.cycles(zone), network.cycles(factory.id)
    label, recovered = factory.call("retire_child", canister, text_of(canister), sender=member(1))
    assert (label, held - 0.11 * T < recovered <= held) == ("ok", True)
    assert network.cycles(factory.id) > battery + recovered - 0.01 * T
    assert factory.call("get_deposits", None, 0)["sums"]["returned"]["refunded"] == recovered
    assert factory.call("get_battery_status")["passed_on"] == max(0, passed_on - recovered)
    assert not network.exists(zone)


def test_the_code_that_gives_cycles_back_is_its_source():
    source = (Path(__file__).parent / "returner.wat").read_text()
    assert bytes(wasmtime.wat2wasm(source)) == RETURNER_WASM


def test_whoever_asks_it_to_give_back_learns_all_that_it_gave_back(network):
    battery = network.create()
    argument = candid.encode([types.CANISTER_ID], [{"canister_id": battery.bytes}])
    target = network.deploy(RETURNER_WASM, argument, cycles=3 * T)
    held = network.cycles(battery)

    def given_back(call: Any) -> int:
        (told,) = candid.decode(network.wait(call), [candid.BLOB])
        return int.from_bytes(bytes(told), "little")

    calls = [network.submit(target, "give_back") for _ in range(2)]
    total = given_back(calls[0])
    with pytest.raises(CallRejected, match="a deposit is under way"):
        given_back(calls[1])
    assert 2.8 * T < total == network.cycles(battery) - held
    assert given_back(network.submit(target, "give_back")) == total
    network.add_cycles(target, 2**64)
    assert given_back(network.submit(target, "give_back")) == network.cycles(battery) - held
    assert network.cycles(battery) - held > 2**64 + total - 2**40


def test_what_is_given_to_a_managed_zone_is_owed_though_its_creation_was_paid_for(factory):
    wallet = Wallet(factory.network, factory)
    asked = wish(owners=[member(1).bytes], custody=("shared", None))
    canister = wallet.call("create_zone", asked, cycles=3 * T)[1]["canister"]
    zone = Principal(canister)
    assert factory.call("cycles_manager_transferCycles", T // 4, sender=zone) == ("ok", T // 4)
    assert factory.call("get_zone", canister)["owed"] == 0
    assert factory.call("offer_custody", offer(canister, "managed", 1), sender=member(1)) == ("ok", None)
    assert controllers(factory, canister, factory.id) == [factory.id.bytes]
    assert factory.call("cycles_manager_transferCycles", T, sender=zone) == ("ok", T)
    label, fault = factory.call("offer_custody", offer(canister, "shared", 1), sender=member(1))
    assert (label, f"{T} cycles are owed" in fault) == ("err", True)
    assert wallet.call("repay", canister, cycles=T) == ("ok", 0)
    assert factory.call("offer_custody", offer(canister, "shared", 1), sender=member(1)) == ("ok", None)


def test_an_offer_made_when_nothing_was_owed_is_not_carried_out_when_something_is(factory, zone):
    wallet = Wallet(factory.network, factory)
    assert wallet.call("repay", zone, cycles=2 * T) == ("ok", 0)
    assert factory.call("offer_custody", offer(zone, "sovereign", 1, 2), sender=member(1)) == ("ok", None)
    assert factory.call("cycles_manager_transferCycles", T, sender=Principal(zone)) == ("ok", T)
    label, fault = factory.call("accept_custody", offer(zone, "sovereign", 1, 2), sender=member(2))
    assert (label, f"{T} cycles are owed" in fault) == ("err", True)
    assert controllers(factory, zone, factory.id) == [factory.id.bytes]
    assert wallet.call("repay", zone, cycles=T) == ("ok", 0)
    assert factory.call("accept_custody", offer(zone, "sovereign", 2, 1), sender=member(2)) == ("ok", None)
    assert controllers(factory, zone, member(1)) == sorted([member(1).bytes, member(2).bytes])
