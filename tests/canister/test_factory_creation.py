"""Creation of zones on the Wasm: who pays, who proves what, who waits, what is taken up again."""

import pytest
from ic.principal import Principal

from localnet import candid
from tests.support.actor import Actor
from tests.support.factories import POLICY_FIELDS, T, Wallet, deploy_factory, publish, rejection, set_policy, wish
from tests.support.network import CallRejected
from tests.support.zones import RPC_HOST, TEAM, ZONE_ID, member, public_key, role_answer

CREATION = (ZONE_ID, RPC_HOST, "/")
FACTORY_FEE = 20_000_000_000


@pytest.fixture
def factory(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build)
    publish(factory, zone_build.wasm)
    return factory


def controllers(factory: Actor, canister: bytes) -> list[bytes]:
    """Who controls a canister, as one of them reads it; empty when neither the factory nor an owner does."""
    return sorted(factory.network.canister_status(Principal(canister), sender=factory.id)["settings"]["controllers"])


def prove(factory: Actor, number: int, role: int, **changes):
    """Asks for a zone with a proof, and has the contract's node answer with a role."""
    call = factory.submit("create_zone", wish(public_key=public_key(number), **changes), sender=member(number))
    outcall = factory.network.next_outcall()
    assert outcall.url == f"https://{RPC_HOST}/"
    factory.network.answer(outcall, role_answer(role))
    return factory.wait("create_zone", call)


def test_one_record_creates_a_sponsored_zone_and_tells_its_creation(factory):
    label, made = factory.call("create_zone", wish(owners=[member(2).bytes]), sender=member(1))
    assert label == "ok"
    told = factory.call("get_creation", made["creation"])
    assert told["stage"] == ("live", None)
    assert told["canister"] == made["canister"]
    assert (told["funding"], told["custody"], told["proven"]) == (("sponsored", None), ("managed", None), False)
    assert told["owners"] == [member(2).bytes]
    assert (told["cycles"], told["running"], told["fault"]) == (2 * T, False, "")
    assert factory.call("get_my_creation", ZONE_ID, sender=member(1)) == told
    assert factory.call("get_my_creation", ZONE_ID, sender=member(2)) is None
    assert factory.call("get_creation", 99) is None
    settings = factory.network.canister_status(Principal(made["canister"]), sender=factory.id)["settings"]
    assert settings["controllers"] == [factory.id.bytes]
    assert settings["freezing_threshold"] == 30 * 86_400
    assert settings["reserved_cycles_limit"] == T
    assert settings["wasm_memory_limit"] == 2**30


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"zone_id": "0x1"}, "Invalid zone_id '0x1'"),
        ({"call_token": b"x"}, "Invalid call token size: 1"),
        ({"owners": [b"\x04"]}, "the anonymous principal owns nothing"),
        ({"owners": [b""]}, "the management canister owns nothing"),
        ({"owners": [member(1).bytes, member(1).bytes]}, "a principal is named twice"),
        ({"owners": [member(number).bytes for number in range(11)]}, "owners must be 0 to 10 in this custody, got 11"),
        ({"custody": ("shared", None)}, "owners must be 1 to 9 in this custody, got 0"),
        ({"custody": ("sovereign", None), "owners": [member(1).bytes]}, "a sponsored zone begins as managed"),
        ({"public_key": b"x"}, "Invalid public key size: 1"),
        ({"public_key": public_key(2)}, "public_key is not the caller's"),
        ({"public_key": public_key(1), "rpc_host": "my.own"}, "the node my.own/ is not trusted with a proof"),
    ],
)
def test_a_wrong_wish_is_refused_before_a_cycle_is_spent(factory, changes, text):
    before = factory.network.cycles(factory.id)
    label, fault = factory.call("create_zone", wish(**changes), sender=member(1))
    assert (label, text in fault) == ("err", True), fault
    assert before - factory.network.cycles(factory.id) < 0.001 * T
    assert factory.call("get_my_creation", ZONE_ID, sender=member(1)) is None


def test_a_record_without_a_public_key_is_a_wish_without_a_proof(factory):
    texts = dict.fromkeys(["zone_id", "rpc_host", "rpc_path"], candid.TEXT)
    custody = candid.variant(managed=candid.NULL)
    kind = candid.record(
        **texts, call_token=candid.opt(candid.BLOB), owners=candid.vec(candid.PRINCIPAL), custody=custody
    )
    asked = wish()
    del asked["public_key"]
    reply = factory.network.update(factory.id, "create_zone", candid.encode([kind], [asked]), member(1))
    label, made = factory.decode("create_zone", reply)
    assert label == "ok"
    assert factory.call("get_zone", made["canister"])["proven"] is False


def test_asking_again_names_the_field_that_differs(factory):
    assert factory.call("create_zone", wish(owners=[member(2).bytes]), sender=member(1))[0] == "ok"
    for changes, text in [
        ({"owners": []}, "other owners"),
        ({"owners": [member(2).bytes], "rpc_path": "/x"}, "rpc_path '/'"),
        ({"owners": [member(2).bytes], "call_token": bytes(32)}, "another call_token"),
        ({"owners": [member(2).bytes], "custody": ("shared", None)}, "another custody"),
    ]:
        label, fault = factory.call("create_zone", wish(**changes), sender=member(1))
        assert (label, text in fault) == ("err", True), fault


def test_who_asks_while_a_creation_runs_waits_for_its_canister(factory):
    calls = [factory.submit("create_zone", wish(), sender=member(1)) for _ in range(3)]
    made = [factory.wait("create_zone", call) for call in calls]
    assert made[0][0] == "ok"
    assert made[1:] == made[:2]
    assert factory.call("get_cycles_manager_children_count") == 1


def test_a_funded_zone_is_its_owners_from_birth_and_the_rest_comes_back(factory):
    wallet = Wallet(factory.network, factory)
    owners = [member(1).bytes, member(2).bytes]
    held, battery = wallet.cycles, factory.network.cycles(factory.id)
    label, made = wallet.call("create_zone", wish(owners=owners, custody=("shared", None)), cycles=10 * T)
    assert label == "ok"
    assert controllers(factory, made["canister"]) == sorted([factory.id.bytes, *owners])
    assert 0 <= held - wallet.cycles - (2 * T + FACTORY_FEE) < 0.001 * T
    assert factory.network.cycles(factory.id) >= battery
    told = factory.call("get_creation", made["creation"])
    assert (told["funding"], told["custody"]) == (("funded", None), ("shared", None))
    assert factory.call("get_creation_policy")["unproven"]["creations_used"] == 0
    held = wallet.cycles
    again = wallet.call("create_zone", wish(owners=owners, custody=("shared", None)), cycles=10 * T)
    assert again == ("ok", made)
    assert held - wallet.cycles < 0.001 * T


def test_a_sovereign_zone_has_ten_owners_and_not_the_factory(factory):
    wallet = Wallet(factory.network, factory)
    owners = [member(number).bytes for number in range(10)]
    label, made = wallet.call("create_zone", wish(owners=owners, custody=("sovereign", None)), cycles=3 * T)
    assert label == "ok"
    with pytest.raises(CallRejected):
        controllers(factory, made["canister"])
    status = factory.network.canister_status(Principal(made["canister"]), sender=member(3))
    assert sorted(status["settings"]["controllers"]) == sorted(owners)
    assert factory.call("get_creation", made["creation"])["stage"] == ("live", None)


def test_too_few_cycles_buy_nothing_and_come_back(factory):
    wallet = Wallet(factory.network, factory)
    held = wallet.cycles
    label, fault = wallet.call("create_zone", wish(), cycles=T)
    assert label == "err"
    assert f"a zone costs {2 * T + FACTORY_FEE} cycles, {T} came with the call" in fault
    assert held - wallet.cycles < 0.001 * T


def test_a_proven_owner_has_a_share_of_his_own_and_one_sponsored_zone(factory):
    set_policy(factory, unproven_creations=1, daily_creations=2)
    factory.call("create_zone_availability_canister", *CREATION, sender=member(3))
    used_up = rejection(factory, "create_zone_availability_canister", *CREATION, sender=member(4))
    assert "the 1 creations of this day for callers without a proof are used up: try again in" in used_up
    label, made = prove(factory, 1, 400)
    assert label == "ok"
    assert factory.call("get_creation", made["creation"])["proven"]
    policy = factory.call("get_creation_policy")
    assert [policy[share]["creations_used"] for share in ("proven", "unproven")] == [1, 1]
    assert [policy[share]["cycles_used"] for share in ("proven", "unproven")] == [2 * T, 2 * T]
    factory.network.advance(86_400)
    label, fault = factory.call("create_zone", wish(public_key=public_key(2)), sender=member(2))
    assert (label, "had its sponsored canister (creation 2)" in fault) == ("err", True), fault


def test_a_zone_that_is_there_is_proven_by_asking_again_with_a_key(factory):
    label, made = factory.call("create_zone", wish(), sender=member(1))
    assert label == "ok"
    zone = made["canister"]

    def told() -> tuple[bool, bool, bytes | None]:
        canonical = factory.call("get_zones_by_id", ZONE_ID, 0, 9)["canonical"]
        return factory.call("get_zone", zone)["proven"], factory.call("get_creation", 1)["proven"], canonical

    label, fault = prove(factory, 1, 399)
    assert (label, "gives your key the role 399" in fault, told()) == ("err", True, (False, False, None))
    wrong = {"public_key": public_key(2)}
    assert "is not the caller's" in factory.call("create_zone", wish(**wrong), sender=member(1))[1]
    label, fault = factory.call("create_zone", wish(public_key=public_key(1), rpc_path="/x"), sender=member(1))
    assert (label, "ask with the same arguments" in fault) == ("err", True)
    factory.network.advance(61)
    assert prove(factory, 1, 400) == ("ok", made)
    assert told() == (True, True, zone)
    used = factory.call("get_creation_policy")
    assert [used[share]["creations_used"] for share in ("proven", "unproven")] == [0, 1]
    # Nobody is asked again, and nothing is asked where it could prove nothing.
    assert factory.call("create_zone", wish(public_key=public_key(1)), sender=member(1)) == ("ok", made)
    assert factory.call("create_zone", wish(), sender=member(2))[0] == "ok"
    label, fault = factory.call("create_zone", wish(public_key=public_key(2)), sender=member(2))
    assert (label, "had its sponsored canister (creation 1)" in fault) == ("err", True)
    label, fault = factory.call("create_zone", wish(public_key=public_key(3)), sender=member(3))
    assert (label, "had its sponsored canister (creation 1)" in fault) == ("err", True)


def test_of_two_zones_whose_proofs_are_asked_for_at_once_one_is_proven(factory):
    calls = []
    for number in (1, 2):
        assert factory.call("create_zone", wish(), sender=member(number))[0] == "ok"
    for number in (1, 2):
        calls.append(factory.submit("create_zone", wish(public_key=public_key(number)), sender=member(number)))
    for _ in calls:
        factory.network.answer(factory.network.next_outcall(), role_answer(400))
    labels = [factory.wait("create_zone", call)[0] for call in calls]
    assert sorted(labels) == ["err", "ok"]
    zones = factory.call("get_zones_by_id", ZONE_ID, 0, 9)
    proven = [zone["canister"] for zone in zones["zones"] if zone["proven"]]
    assert proven == [zones["canonical"]]


def test_a_role_below_an_owners_proves_nothing_and_costs_no_creation(factory):
    label, fault = prove(factory, 1, 399)
    assert (label, "gives your key the role 399, an owner has 400" in fault) == ("err", True)
    assert factory.call("get_my_creation", ZONE_ID, sender=member(1)) is None
    label, fault = factory.call("create_zone", wish(public_key=public_key(1)), sender=member(1))
    assert (label, "one role lookup per key and 60 seconds" in fault) == ("err", True)
    assert factory.call("create_zone", wish(), sender=member(1))[0] == "ok"


def test_admins_set_who_counts_as_an_owner_and_what_a_zone_is_born_with(factory):
    set_policy(factory, owner_role=300, funded_fee=T, freezing_seconds=86_400, reserved_limit=2 * T)
    label, made = prove(factory, 1, 300)
    assert label == "ok"
    settings = factory.network.canister_status(Principal(made["canister"]), sender=factory.id)["settings"]
    assert (settings["freezing_threshold"], settings["reserved_cycles_limit"]) == (86_400, 2 * T)
    assert factory.call("get_creation_policy")["funded_price"] == 3 * T
    change = dict.fromkeys(POLICY_FIELDS) | {"wasm_memory_limit": 1}
    label, fault = factory.call("set_creation_policy", change, sender=TEAM)
    assert (label, f"wasm_memory_limit must be {2**28} to {2**32}, got 1" in fault) == ("err", True)


def test_closed_creations_and_the_allowlist_leave_funded_zones_alone(factory):
    set_policy(factory, mode=("allowlist", None))
    assert "for principals on the allowlist" in factory.call("create_zone", wish(), sender=member(1))[1]
    change = {"add": [member(1).bytes, member(2).bytes], "remove": []}
    assert factory.call("change_creation_allowlist", change, sender=TEAM) == ("ok", None)
    listed = sorted([member(1).bytes, member(2).bytes])
    assert factory.call("get_creation_allowlist", None, 10) == listed
    assert factory.call("get_creation_allowlist", listed[0], 10) == listed[1:]
    assert factory.call("create_zone", wish(), sender=member(1))[0] == "ok"
    factory.call("change_creation_allowlist", {"add": [], "remove": [member(2).bytes]}, sender=TEAM)
    assert "for principals on the allowlist" in factory.call("create_zone", wish(), sender=member(2))[1]
    set_policy(factory, mode=("closed", None))
    assert (
        "sponsored creations are closed" in factory.call("create_zone", wish(zone_id="0x" + "1" * 40), sender=TEAM)[1]
    )
    wallet = Wallet(factory.network, factory)
    assert wallet.call("create_zone", wish(), cycles=3 * T)[0] == "ok"
    set_policy(factory, funded_open=False)
    assert wallet.call("create_zone", wish(zone_id="0x" + "2" * 40), cycles=3 * T) == (
        "err",
        "funded creations are closed",
    )


def test_the_cycles_of_a_day_are_limited_too(factory):
    set_policy(factory, unproven_cycles=3 * T)
    assert factory.call("create_zone", wish(), sender=member(1))[0] == "ok"
    fault = factory.call("create_zone", wish(), sender=member(2))[1]
    assert f"of the {3 * T} cycles of this day for callers without a proof, {T} are left" in fault
    factory.network.advance(86_400)
    assert factory.call("create_zone", wish(), sender=member(2))[0] == "ok"


def test_a_pool_spares_a_zone_its_creation(factory):
    network = factory.network
    set_policy(factory, pool_size=2)
    network.advance(2)
    network.tick(10)
    assert factory.call("get_creation_policy")["pooled"] == 2
    waiting = factory.call("get_creation", 1)
    assert (waiting["stage"], waiting["zone_id"]) == (("pooled", None), "")
    call = factory.submit("create_zone", wish(), sender=member(1))
    rounds = 0
    while network.status(call) is None:
        network.tick()
        rounds += 1
    assert rounds == 1 or not network.is_localnet
    label, made = factory.wait("create_zone", call)
    assert label == "ok"
    assert made["canister"] == waiting["canister"]
    assert factory.call("get_creation", 1)["stage"] == ("taken", None)
    assert factory.call("get_creation", made["creation"])["stage"] == ("live", None)
    network.advance(2)
    network.tick(10)
    assert factory.call("get_creation_policy")["pooled"] == 2
    wallet = Wallet(network, factory)
    owners = [member(5).bytes]
    label, made = wallet.call("create_zone", wish(owners=owners, custody=("shared", None)), cycles=3 * T)
    assert controllers(factory, made["canister"]) == sorted([factory.id.bytes, *owners])


def test_an_upgrade_under_an_open_creation_is_refused(factory, factory_build):
    network = factory.network
    call = factory.submit("create_zone", wish(public_key=public_key(1)), sender=member(1))
    outcall = network.next_outcall()
    with pytest.raises(CallRejected, match="1 calls in flight: stop the factory first"):
        network.upgrade(factory.id, factory_build.wasm, sender=TEAM)
    network.answer(outcall, role_answer(400))
    label, made = factory.wait("create_zone", call)
    assert label == "ok"
    network.upgrade(factory.id, factory_build.wasm, sender=TEAM)
    assert factory.call("get_my_zone", ZONE_ID, sender=member(1)) == made["canister"]


def test_only_a_creation_whose_answer_was_lost_is_settled(factory):
    assert factory.call("settle_creation", {"id": 1, "canister": None}, sender=TEAM) == ("err", "creation 1 is unknown")
    assert factory.call("create_zone", wish(), sender=member(1))[0] == "ok"
    settled = factory.call("settle_creation", {"id": 1, "canister": None}, sender=TEAM)
    assert settled == ("err", "creation 1 has an outcome: see get_creation")
