"""A thief tries to move the battery's cycles out: nothing leaves but what the policy grants.

He has names of his own, a purse of cycles, zones sponsored and paid for, code that drains a canister, and time. What he
does is drawn from a seed that is printed; after every act the books are held against the policy. FULL_FLEET=1 lets him
try six times as long, from several seeds.
"""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

import pytest
from ic.principal import Principal

from factory.returner import RETURNER_WASM
from localnet import candid
from localnet import management_types as types
from tests.fleet.books import assert_within_quotas, deposits, net
from tests.fleet.flows import FIRST_RELEASE, Fleet
from tests.fleet.inprocess import packed_anew, unaccounted
from tests.support.actor import init_argument
from tests.support.builds import Built
from tests.support.factories import T, Wallet, publish, set_policy, wish
from tests.support.network import CallRejected
from tests.support.zones import TEAM, member, public_key, role_answer, zone_init

IS_FULL = "FULL_FLEET" in os.environ
ACTS = 600 if IS_FULL else 100
BATTERY = 40 * T
PURSE = 60 * T
NAMES = range(20, 22)
HOUR = 3_600
NEXT_RELEASE = 1000
FUEL = "before a change of its code"
LOOKUP_CYCLES = 3 * 10**9
GAS = T // 5
"""Most that a run's calls and the factory's memory burn, lookups and installations among them."""


class Thief:
    """What he has, and what he tries; each act returns nothing and may fail."""

    def __init__(self, fleet: Fleet, zone: Built, seed: int):
        self.fleet = fleet
        self.network = fleet.network
        code = packed_anew(zone.wasm, 1)
        self.zone = zone
        self.draw = random.Random(seed)
        self.purse = Wallet(fleet.network, fleet.factory, PURSE)
        self.zones: list[Principal] = []
        self.held: set[bytes] = set()
        """Canisters that the factory never controlled alone."""
        self.paid_in = 0
        self.serial = 0
        self.drained = 0
        self.published = {hashlib.sha256(self.zone.wasm).digest(), publish(fleet.factory, code, NEXT_RELEASE)}

    def foreign(self) -> set[bytes]:
        """Canisters of his that run code of his own."""
        accounts = self.network.ic.canisters
        modules = {zone.bytes: accounts[zone.bytes].module for zone in self.zones if zone.bytes in accounts}
        return {zone for zone, module in modules.items() if module is not None and module.hash not in self.published}

    def name(self) -> Principal:
        return member(self.draw.choice(NAMES))

    def a_zone(self) -> Principal:
        return self.draw.choice([*self.zones, self.fleet.zone])

    def call(self, method: str, *values: Any, sender: Principal) -> Any:
        return self.fleet.factory.call(method, *values, sender=sender)

    def _zone_id(self) -> str:
        self.serial += 1
        return f"0x{self.serial:040x}"

    def create_sponsored(self) -> None:
        label, made = self.call("create_zone", wish(zone_id=self._zone_id()), sender=self.name())
        if label == "ok":
            self.zones.append(Principal(made["canister"]))

    def create_with_false_proof(self) -> None:
        number = self.draw.choice(NAMES)
        asked = wish(zone_id=self._zone_id(), public_key=public_key(number))
        call = self.fleet.factory.submit("create_zone", asked, sender=member(number))
        for _ in range(5):
            self.network.tick()
            self.network.answer_outcalls(role_answer(200))
        label, _ = self.fleet.factory.wait("create_zone", call)
        assert label == "err"

    def flood_lookups(self) -> list[str]:
        """Asks with false proofs under names nobody saw before, until nobody is looked up; returns the refusals."""
        refused: list[str] = []
        while len(refused) < 5:
            calls = []
            for _ in range(5):
                self.serial += 1
                number = 1_000 + self.serial
                asked = wish(zone_id=f"0x{self.serial:040x}", public_key=public_key(number))
                calls.append(self.fleet.factory.submit("create_zone", asked, sender=member(number)))
            for _ in range(3):
                self.network.tick()
                self.network.answer_outcalls(role_answer(0))
            answers = [self.fleet.factory.wait("create_zone", call) for call in calls]
            assert {label for label, _ in answers} == {"err"}
            refused = [text for _, text in answers if "gives your key the role 0" not in text]
        return refused

    def create_funded(self, custody: str = "", cycles: int = 0) -> None:
        custody = custody or self.draw.choice(["shared", "sovereign"])
        asked = wish(zone_id=self._zone_id(), owners=[self.name().bytes], custody=(custody, None))
        label, made = self.pay("create_zone", asked, cycles=cycles or self.draw.choice([1, T, 3 * T]))
        if label == "ok":
            self.zones.append(Principal(made["canister"]))
            self.held.add(made["canister"])

    def pay(self, method: str, *values: Any, cycles: int) -> Any:
        """Calls with cycles; counts what the factory kept of them."""
        before = self.purse.cycles
        try:
            return self.purse.call(method, *values, cycles=cycles)
        finally:
            self.paid_in += max(0, before - self.purse.cycles - T // 1000)

    def refill(self) -> None:
        self.call("cycles_manager_transferCyclesToCanister", self.a_zone().bytes, sender=self.name())

    def ask(self) -> None:
        """What code on a zone can ask for, several times at once."""
        zone = self.a_zone()
        amount = self.draw.choice([1, T // 2, T, 100 * T])
        times = self.draw.choice([1, 1, 5])
        calls = [self.fleet.factory.submit("cycles_manager_transferCycles", amount, sender=zone) for _ in range(times)]
        for call in calls:
            self.network.wait(call)

    def burn(self) -> None:
        """Zones can be made to burn what they hold."""
        zone = self.a_zone()
        self.fleet.leave(zone, min(self.fleet.canister(zone).cycles, T // 4))

    def drain(self) -> None:
        """Replaces the code of a zone he controls, drains it into his purse, and mostly puts the old code back."""
        self.drain_one(*self._own())

    def drain_one(self, zone: Principal, owner: Principal) -> None:
        """See `drain`."""
        argument = candid.encode([types.CANISTER_ID], [{"canister_id": self.purse.id.bytes}])
        if self.draw.random() < 0.3:
            # While the battery looks at it, or pays.
            self.fleet.factory.submit("cycles_manager_transferCycles", T, sender=zone)
        self.network.reinstall(zone, RETURNER_WASM, argument, sender=owner)
        self.network.update_settings(zone, sender=owner, freezing_threshold=0)
        held = self.purse.cycles
        self.network.update(zone, "give_back")
        self.drained += self.purse.cycles - held
        if self.draw.random() < 0.7:
            self.network.add_cycles(zone, T // 2)
            self.network.reinstall(zone, self.zone.wasm, init_argument(self.zone.did, zone_init()), sender=owner)

    def _own(self) -> tuple[Principal, Principal]:
        """A zone that one of his names controls, and that name."""
        names = [member(number) for number in NAMES]
        found = [
            (zone, name)
            for zone in self.zones
            for name in names
            if self.network.exists(zone) and name.bytes in self.fleet.canister(zone).settings.controllers
        ]
        if not found:
            raise CallRejected({"error_code": "", "reject_code": "", "reject_message": "he controls nothing"})
        return self.draw.choice(found)

    def repay(self) -> None:
        self.pay("repay", self.a_zone().bytes, cycles=self.draw.choice([1, T, 5 * T]))

    def take_custody(self) -> None:
        zone, name, kind = self.a_zone(), self.name(), self.draw.choice(["managed", "shared", "sovereign"])
        offer = {"canister": zone.bytes, "custody": (kind, None), "owners": [name.bytes]}
        for number in NAMES:
            self.call("offer_custody", offer, sender=member(number))
        self.call("accept_custody", offer, sender=name)

    def take_factory_out(self) -> None:
        zone, owner = self._own()
        self.network.update_settings(zone, sender=owner, controllers=[owner])

    def retire(self) -> None:
        zone = self.a_zone()
        if self.draw.random() < 0.7:
            return
        for number in NAMES:
            self.call("retire_child", zone.bytes, zone.to_str(), sender=member(number))

    def forge_return(self) -> None:
        """Has a zone of his say that it gave back what it sent to itself, again and again, and ends it."""
        self.create_funded("shared", 3 * T)
        zone, owner = self._own()
        self.network.add_cycles(zone, T)
        to_itself = candid.encode([types.CANISTER_ID], [{"canister_id": zone.bytes}])
        self.network.reinstall(zone, RETURNER_WASM, to_itself, sender=owner)
        leaving = self.draw.choice([{}, {"controllers": [self.fleet.factory.id]}])
        self.network.update_settings(zone, sender=owner, freezing_threshold=0, **leaving)
        for _ in range(5):
            self.network.update(zone, "give_back")
        for number in NAMES:
            self.call("retire_child", zone.bytes, zone.to_str(), sender=member(number))

    def ride_a_rollout(self) -> None:
        """Empties a zone of his, consents to a change of its code, for which it is fuelled, and breaks in on that."""
        zone, owner = self._own()
        release = self.draw.choice([FIRST_RELEASE, NEXT_RELEASE])
        if self.draw.random() < 0.7:
            self.fleet.leave(zone, min(self.fleet.canister(zone).cycles, T // 4))
        self.call("accept_release", zone.bytes, release, sender=owner)
        roll_out(self.fleet, release)
        self.network.tick(self.draw.choice([0, 1, 2]))
        breaking_in = [
            lambda: self.drain_one(zone, owner),
            lambda: self.network.update_settings(zone, sender=owner, controllers=[owner]),
            lambda: self.network.stop(zone, sender=owner),
            self.take_custody,
            self.retire,
            self.ask,
        ]
        try:
            self.draw.choice(breaking_in)()
        except CallRejected:
            print("breaking in was refused")
        finally:
            for _ in range(20):
                self.network.advance(15)
            if self.network.exists(zone) and owner.bytes in self.fleet.canister(zone).settings.controllers:
                self.network.start(zone, sender=owner)

    def trick_consent(self) -> None:
        """Speaks for a zone that is somebody else's: nothing comes of it."""
        zone, name = self.fleet.zone, self.name()
        before = self.call("get_zone", zone.bytes, sender=name)
        offer = {"canister": zone.bytes, "custody": ("sovereign", None), "owners": [name.bytes]}
        for method, *values in (
            ("accept_release", zone.bytes, NEXT_RELEASE),
            ("accept_reinstall", zone.bytes, NEXT_RELEASE, zone.to_str()),
            ("offer_custody", offer),
            ("accept_custody", offer),
            ("cancel_custody_offer", zone.bytes),
            ("retire_child", zone.bytes, zone.to_str()),
        ):
            try:
                answer = self.call(method, *values, sender=name)
            except CallRejected:
                continue
            assert answer[0] == "err", f"{method} was done for a zone that is not his"
        assert self.call("get_zone", zone.bytes, sender=name) == before

    def play_admin(self) -> None:
        zone = self.a_zone().bytes
        method, *values = self.draw.choice(
            [
                ("waive_repayment", zone),
                ("set_child_allowance", zone, T),
                ("set_child_fuel", zone, True),
                ("settle_creation", {"id": 1, "canister": zone}),
                ("refund",),
                ("update_aggregate_quota_settings", 10**18, 1),
            ]
        )
        with pytest.raises(CallRejected, match="Caller is not an admin"):
            self.call(method, *values, sender=self.name())

    def wait(self) -> None:
        for _ in range(self.draw.choice([1, 4])):
            self.network.advance(6 * HOUR)
            self.network.settle()

    def act(self) -> str:
        """Does one thing; that it is refused is no failure."""
        acts = [
            self.create_sponsored,
            self.create_with_false_proof,
            self.flood_lookups,
            self.create_funded,
            self.refill,
            self.ask,
            self.drain,
            self.repay,
            self.take_custody,
            self.take_factory_out,
            self.retire,
            self.forge_return,
            self.ride_a_rollout,
            self.trick_consent,
            self.play_admin,
            self.wait,
        ]
        self.zones = [zone for zone in self.zones if self.network.exists(zone)]
        managed = [self.fleet.factory.id.bytes]
        self.held -= {zone.bytes for zone in self.zones if self.fleet.canister(zone).settings.controllers == managed}
        chosen = self.draw.choice([*acts, *[self.ask, self.drain, self.burn, self.refill] * 2])
        try:
            chosen()
        except CallRejected:
            return f"{chosen.__name__}, refused"
        return chosen.__name__


def roll_out(fleet: Fleet, release: int) -> None:
    """An admin begins to bring a release to all children, one after the other."""
    fleet.factory.call("abort_rollout", sender=TEAM)
    plan = {"release": release, "canary": 0, "batch": 1, "pause_on_failures": 50}
    assert fleet.factory.call("start_rollout", plan, sender=TEAM)[0] == "ok"


def given_to(entries: list[dict[str, Any]], canisters: set[bytes]) -> int:
    return net(entry for entry in entries if entry["canister"] in canisters)


@pytest.mark.localnet_only("moves cycles about")
@pytest.mark.parametrize("seed", [0, 1, 2, 3] if IS_FULL else [0])
def test_nothing_leaves_the_battery_but_what_the_policy_grants(factory_build: Built, zone_build: Built, seed: int):
    fleet = Fleet.build_it(factory_build, zone_build)
    fleet.set_policy(sweep_seconds=6 * HOUR)
    set_policy(fleet.factory, lookup_cycles=LOOKUP_CYCLES)
    thief = Thief(fleet, zone_build, seed)
    fleet.leave(fleet.factory.id, BATTERY)
    first = len(deposits(fleet))
    reserve = fleet.factory.call("get_battery_status")["reserve"]
    for _ in range(2):
        thief.create_funded("shared", 3 * T)
    for _ in range(ACTS):
        foreign = thief.foreign()
        before = {canister: given_to(deposits(fleet), {canister}) for canister in foreign}
        print(thief.act())
        for canister in foreign & thief.foreign():
            assert given_to(deposits(fleet), {canister}) == before[canister], "foreign code was paid"
        assert_within_quotas(fleet, thief.held)
        assert fleet.network.cycles(fleet.factory.id) >= reserve - GAS
        assert unaccounted(fleet.network.ic) == 0
    granted = net(deposits(fleet)[first:])
    print(f"granted {granted}, in his purse {thief.purse.cycles - PURSE}, paid in {thief.paid_in}")
    assert granted > 0, "the battery gave him nothing"
    assert thief.drained > 0, "he took nothing out"
    income = fleet.network.cycles(fleet.factory.id) - BATTERY + granted
    assert income >= -GAS, f"{-income} cycles left the battery and are in no book"


@pytest.mark.localnet_only("moves cycles about")
@pytest.mark.parametrize("is_foreign", [False, True], ids=["published code", "code of his own"])
def test_a_change_of_code_fuels_a_zone_once_and_only_over_published_code(
    factory_build: Built, zone_build: Built, is_foreign: bool
):
    fleet = Fleet.build_it(factory_build, zone_build)
    thief = Thief(fleet, zone_build, 0)
    for number in NAMES:
        thief.create_funded("shared", 3 * T)
        zone, owner = thief._own()
        code, argument = zone_build.wasm, init_argument(zone_build.did, zone_init())
        if is_foreign:
            code, argument = RETURNER_WASM, candid.encode([types.CANISTER_ID], [{"canister_id": thief.purse.id.bytes}])
        fleet.network.reinstall(zone, code, argument, sender=owner)
        fleet.leave(zone, T // 4)
        assert fleet.factory.call("accept_release", zone.bytes, NEXT_RELEASE, sender=owner) == ("ok", None)
        for _ in range(3):
            roll_out(fleet, NEXT_RELEASE)
            for _ in range(20):
                fleet.network.advance(15)
            fleet.leave(zone, min(fleet.canister(zone).cycles, T // 4))
        fuelled = [entry for entry in deposits(fleet) if entry["canister"] == zone.bytes]
        assert {entry["reason"] for entry in fuelled} == (set() if is_foreign else {FUEL}), number
        assert net(fuelled) <= fleet.factory.call("get_battery_policy")["refill_to"]
        changed = hashlib.sha256(packed_anew(zone_build.wasm, 1)).digest()
        module = fleet.canister(zone).module
        assert module is not None
        assert (module.hash == changed) == (not is_foreign)
        thief.zones.clear()
    assert_within_quotas(fleet, thief.held)
    assert unaccounted(fleet.network.ic) == 0


def prove(fleet: Fleet, number: int) -> Any:
    """Asks for a zone with a proof that the contract's node confirms."""
    asked = wish(zone_id=f"0x{number:040x}", public_key=public_key(number))
    call = fleet.factory.submit("create_zone", asked, sender=member(number))
    for _ in range(3):
        fleet.network.tick()
        fleet.network.answer_outcalls(role_answer(400))
    return fleet.factory.wait("create_zone", call)


@pytest.mark.localnet_only("moves cycles about")
def test_a_flood_of_lookups_shuts_no_owner_out(factory_build: Built, zone_build: Built):
    fleet = Fleet.build_it(factory_build, zone_build)
    set_policy(fleet.factory, lookup_cycles=LOOKUP_CYCLES)
    thief = Thief(fleet, zone_build, 0)
    before = fleet.network.cycles(fleet.factory.id)
    refused = thief.flood_lookups()
    assert all(f"the {LOOKUP_CYCLES} cycles an hour for role lookups are used up" in text for text in refused)
    assert thief.serial > 20
    spent = before - fleet.network.cycles(fleet.factory.id)
    print(f"{thief.serial - len(refused)} lookups took {spent} cycles of the battery")
    assert spent < 2 * LOOKUP_CYCLES, "his calls cost more than their lookups"
    assert "used up" in prove(fleet, 1)[1]

    change = {"add": [member(2).bytes], "remove": []}
    assert fleet.factory.call("change_creation_allowlist", change, sender=TEAM) == ("ok", None)
    assert prove(fleet, 2)[0] == "ok", "an admin vouches for him"
    assert fleet.factory.call("get_creation_policy")["proven"]["creations_used"] == 1

    fleet.network.advance(HOUR)
    fleet.network.settle()
    assert prove(fleet, 1)[0] == "ok", "an hour later anyone is asked about again"
    thief.flood_lookups()
    assert unaccounted(fleet.network.ic) == 0
