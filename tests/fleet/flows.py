"""The factory's flows as tests drive them: a state to begin in, what begins the flow, and how to tell that it is done.

Each flow is tried on a fork of the fleet that `Fleet.build` makes once. `ask` begins the flow and begins it again after
a fault; `is_done` says whether its purpose is reached. Not for what may go wrong (`faults`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ic.principal import Principal

from factory.refund import CYCLES_LEDGER
from factory.returner import RETURNER_WASM
from factory.sweep import BEAT_SECONDS
from localnet import candid
from localnet import management_types as types
from localnet.canister import Canister
from tests.fleet.faults import Fault
from tests.fleet.inprocess import MODULES, InProcess
from tests.localnet.wat import canister
from tests.support.actor import Actor
from tests.support.builds import Built
from tests.support.factories import T, Wallet, deploy_factory, publish, set_policy, wish
from tests.support.network import CallRejected
from tests.support.rollouts import Writer
from tests.support.zones import RPC_HOST, TEAM, ZONE_ID, member, public_key, role_answer
from zones.paying import payer_wasm

DAY = 86_400
LONG_SWEEP = 7 * DAY
OTHER_ZONE_ID = "0x" + "11" * 20
PATIENCE = 900
"""Seconds after which the factory counts an answer as lost and has looked for what was left."""
FULL_CHUNK_STORE = 100
FIRST_RELEASE = 999


class Fleet:
    """A factory on a network of this process, with a release and one live zone of `member(1)`."""

    def __init__(self, network: InProcess, factory: Actor, zone: Principal, build: Built, zone_build: Built):
        self.network = network
        self.factory = factory
        self.zone = zone
        self.build = build
        self.zone_build = zone_build
        self.wallet: Wallet | None = None
        self.writer: Writer | None = None
        """A member who writes to the zone while a flow runs."""
        self.code = self.digest = b""
        """The release that a flow puts on the zone, and its hash."""

    @staticmethod
    def build_it(factory_build: Built, zone_build: Built) -> Fleet:
        """The fleet, its first sweep over and the next a week away."""
        for module in HELPERS:
            MODULES.get(module)
        network = InProcess()
        factory = deploy_factory(network, factory_build)
        publish(factory, zone_build.wasm, FIRST_RELEASE)
        network.advance(BEAT_SECONDS)
        network.settle()
        made = factory.call("create_zone_availability_canister", ZONE_ID, RPC_HOST, "/", sender=member(1))
        fleet = Fleet(network, factory, Principal(made), factory_build, zone_build)
        fleet.set_policy(sweep_seconds=LONG_SWEEP)
        network.advance(2 * BEAT_SECONDS)
        network.settle()
        return fleet

    def set_policy(self, **changes: int) -> None:
        """Changes figures of the battery's policy."""
        names = list(self.factory.call("get_battery_policy"))
        assert self.factory.call("set_battery_policy", {**dict.fromkeys(names), **changes}, sender=TEAM) == ("ok", None)

    def canister(self, principal: Principal) -> Canister:
        """A canister as the network keeps it."""
        return self.network.ic.canisters[principal.bytes]

    def leave(self, principal: Principal, cycles: int) -> None:
        """Burns cycles of a canister until so many are left."""
        account = self.canister(principal)
        self.network.ic.burned += account.cycles - cycles
        account.cycles = cycles

    def children(self) -> dict[bytes, dict[str, Any]]:
        """The factory's children with what it knows of each."""
        return {child["canister"]: child for child in self.factory.call("get_fleet", None, 200)["children"]}

    def creations(self) -> dict[int, dict[str, Any]]:
        """All creations there ever were, by their ids."""
        found = {}
        while (creation := self.factory.call("get_creation", len(found) + 1)) is not None:
            found[creation["id"]] = creation
        return found

    def lost_creations(self) -> list[int]:
        """Creations whose answers have not come."""
        return [number for number, creation in self.creations().items() if creation["stage"][0] == "reserved"]

    def made(self) -> list[Canister]:
        """The canisters that the factory created."""
        factory = self.factory.id.bytes
        return [
            one for one in self.network.ic.canisters.values() if one.history and one.history[0].origin.caller == factory
        ]

    def orphans(self) -> list[bytes]:
        """Canisters that the factory created and has no record of."""
        known = {creation["canister"] for creation in self.creations().values()} | set(self.children())
        return [one.id for one in self.made() if one.id not in known]

    def settle_lost(self) -> None:
        """Has lost creations settled by an admin, who looks canisters up by their controller."""
        for number in self.lost_creations():
            found = self.orphans()
            answer = {"id": number, "canister": found[0] if found else None}
            assert self.factory.call("settle_creation", answer, sender=TEAM) == ("ok", None)
            if found and self.stage(found[0]):
                # The cycles of the call that was lost went back: who sent them owes the price now.
                assert self.factory.call("waive_repayment", found[0], sender=TEAM) == ("ok", None)

    def stage(self, canister: bytes) -> str:
        """How far the zone of a canister is; empty when the factory does not know it as one."""
        zone = self.factory.call("get_zone", canister)
        return "" if zone is None else zone["stage"][0]

    def join(self) -> None:
        """Makes `member(1)` a member of the zone."""
        zone = Actor(self.network, self.zone, self.zone_build.did)
        call = zone.submit("update_role", public_key(1), sender=member(1))
        while self.network.status(call) is None:
            self.network.tick()
            self.network.answer_outcalls(role_answer(200))

    def let_write(self) -> None:
        """Has a member write to the zone, before the flow and all the while."""
        self.join()
        self.writer = Writer({"zone": Actor(self.network, self.zone, self.zone_build.did)}, burst=1)
        self.writer.send()
        self.network.settle()

    def submit_about(self, method: str, canister: Principal) -> Any:
        """Submits a management call about a canister as its controller."""
        payload = candid.encode([types.CANISTER_ID], [{"canister_id": canister.bytes}])
        where = {"CanisterId": base64.b64encode(canister.bytes).decode()}
        return self.network.submit(None, method, payload, TEAM, where)


@dataclass(frozen=True)
class Flow:
    """One flow: `prepare` brings the fleet to where it begins, `ask` submits what begins it (a message id, or None)."""

    name: str
    prepare: Callable[[Fleet], None]
    ask: Callable[[Fleet], Any]
    is_done: Callable[[Fleet], bool]
    outcalls: bytes = role_answer(400)
    """What outcalls are answered with meanwhile."""
    seconds: int = 0
    """How long it takes after it was asked for."""
    road: tuple[Fault, str] | None = None
    """What goes wrong, and at which site, for the flow to be one at all: only what is called after that is its own."""


def _nothing(_fleet: Fleet) -> None:
    pass


def _submit(method: str, *values: Any, sender: Principal | None = None) -> Callable[[Fleet], Any]:
    def ask(fleet: Fleet) -> Any:
        return fleet.factory.submit(method, *values, sender=sender or TEAM)

    return ask


# Controllers, battery ---------------------------------------------------------------------------------


def _controllers_due(fleet: Fleet) -> None:
    fleet.network.update_settings(fleet.factory.id, sender=TEAM, controllers=[TEAM, member(9)])
    fleet.network.advance(120)


def _knows_new_controller(fleet: Fleet) -> bool:
    try:
        fleet.factory.call("add_admin", member(8).bytes, sender=member(9))
    except CallRejected:
        return False
    return True


def _ask_as_child(fleet: Fleet) -> Any:
    return fleet.factory.submit("cycles_manager_transferCycles", T // 5, sender=fleet.zone)


def _paid(fleet: Fleet) -> bool:
    return any("settled" in entry["outcome"] for entry in fleet.factory.call("get_deposits", None, 200)["entries"])


def _thirsty(fleet: Fleet) -> None:
    fleet.leave(fleet.zone, T // 2)


def _ask_as_owner(fleet: Fleet) -> Any:
    return fleet.factory.submit("cycles_manager_transferCyclesToCanister", fleet.zone.bytes, sender=member(1))


def _has_fuel(fleet: Fleet) -> bool:
    account = fleet.network.ic.canisters.get(fleet.zone.bytes)
    return account is not None and account.cycles > 7 * T // 10


def _sweeping(fleet: Fleet) -> None:
    _thirsty(fleet)
    fleet.set_policy(sweep_seconds=600)


def _let_it_beat(fleet: Fleet) -> None:
    fleet.network.advance(BEAT_SECONDS)


def _swept(fleet: Fleet) -> bool:
    sweep = fleet.factory.call("get_battery_status")["sweep"]
    return _has_fuel(fleet) and sweep["number"] > 1 and sweep["ended_at"] is not None


def _dear(fleet: Fleet) -> None:
    """The zone's owner had set what the battery would pay for from now on."""
    fleet.network.update_settings(fleet.zone, sender=fleet.factory.id, freezing_threshold=10**12)
    fleet.set_policy(sweep_seconds=600)


def _is_cheap(fleet: Fleet) -> bool:
    return fleet.canister(fleet.zone).settings.freezing_threshold == 30 * DAY


def _independent(fleet: Fleet) -> None:
    """The zone is its owner's alone, and has an allowance."""
    fleet.network.update_settings(fleet.zone, sender=fleet.factory.id, controllers=[member(1)])
    assert fleet.factory.call("set_child_allowance", fleet.zone.bytes, T // 2, sender=TEAM) == ("ok", None)
    # A sweep learns who controls it.
    fleet.set_policy(sweep_seconds=600)
    fleet.network.advance(BEAT_SECONDS)
    fleet.network.settle()
    fleet.leave(fleet.zone, T // 2)
    fleet.set_policy(sweep_seconds=600)


FLOWS = [
    Flow("the controllers are read", _controllers_due, _submit("refresh_controllers"), _knows_new_controller),
    Flow("a child asks for cycles", _nothing, _ask_as_child, _paid),
    Flow("an owner has a zone refilled", _thirsty, _ask_as_owner, _has_fuel),
    Flow("a sweep refills a zone", _sweeping, _let_it_beat, _swept),
    Flow("a sweep sets back what owners left", _dear, _let_it_beat, _is_cheap),
    Flow("a sweep pays an allowance", _independent, _let_it_beat, _swept),
]


# Creation ---------------------------------------------------------------------------------------------


def _ask_for_zone(fleet: Fleet) -> Any:
    return fleet.factory.submit("create_zone_availability_canister", OTHER_ZONE_ID, RPC_HOST, "/", sender=member(2))


def _has_zone(fleet: Fleet) -> bool:
    return fleet.factory.call("get_my_zone", OTHER_ZONE_ID, sender=member(2)) is not None


def _chunks_forgotten(fleet: Fleet) -> None:
    fleet.network._about("clear_chunk_store", fleet.factory.id, TEAM)


def _chunks_of_others(fleet: Fleet) -> None:
    _chunks_forgotten(fleet)
    account = fleet.canister(fleet.factory.id)
    for number in range(FULL_CHUNK_STORE):
        account.chunks[number.to_bytes(32, "big")] = b""


FLOWS += [
    Flow("a zone is created", _nothing, _ask_for_zone, _has_zone),
    Flow("a zone is created and its code is not in the chunk store", _chunks_forgotten, _ask_for_zone, _has_zone),
    Flow("a zone is created and the chunk store is full", _chunks_of_others, _ask_for_zone, _has_zone),
]


def _trusting(fleet: Fleet) -> None:
    set_policy(fleet.factory, trusted_nodes=[f"{RPC_HOST}/"])


def _ask_with_proof(fleet: Fleet) -> Any:
    asked = wish(zone_id=OTHER_ZONE_ID, public_key=public_key(2))
    fleet.network.advance(60)
    return fleet.factory.submit("create_zone", asked, sender=member(2))


def _ask_twice(fleet: Fleet) -> Any:
    _ask_for_zone(fleet)
    return _ask_for_zone(fleet)


def _with_wallet(fleet: Fleet) -> None:
    fleet.wallet = Wallet(fleet.network, fleet.factory)


def _pay_for_zone(fleet: Fleet) -> Any:
    assert fleet.wallet is not None
    asked = wish(zone_id=OTHER_ZONE_ID, owners=[member(2).bytes], custody=("sovereign", None))
    payload = fleet.wallet.argument("create_zone", asked, cycles=3 * T)
    return fleet.network.submit(fleet.wallet.id, "pay", payload)


def _has_paid_zone(fleet: Fleet) -> bool:
    assert fleet.wallet is not None
    made = fleet.factory.call("get_my_zone", OTHER_ZONE_ID, sender=fleet.wallet.id)
    return made is not None and fleet.network.ic.canisters[made].settings.controllers == [member(2).bytes]


def _fill_pool(fleet: Fleet) -> Any:
    set_policy(fleet.factory, pool_size=2)
    fleet.network.advance(2)


def _pool_is_full(fleet: Fleet) -> bool:
    return fleet.factory.call("get_creation_policy")["pooled"] >= 2


FLOWS += [
    Flow("a zone is created for a proven owner", _trusting, _ask_with_proof, _has_zone),
    Flow("a zone is asked for while it is created", _nothing, _ask_twice, _has_zone),
    Flow("a zone is paid for", _with_wallet, _pay_for_zone, _has_paid_zone),
    Flow("the pool is filled", _nothing, _fill_pool, _pool_is_full, seconds=15),
]


# Custody and the end ----------------------------------------------------------------------------------


def _nothing_owed(fleet: Fleet) -> None:
    assert fleet.factory.call("waive_repayment", fleet.zone.bytes, sender=TEAM) == ("ok", None)


def _offer_to_creator(fleet: Fleet) -> Any:
    offer = {"canister": fleet.zone.bytes, "custody": ("sovereign", None), "owners": [member(1).bytes]}
    return fleet.factory.submit("offer_custody", offer, sender=member(1))


def _is_sovereign(fleet: Fleet) -> bool:
    zone = fleet.factory.call("get_zone", fleet.zone.bytes)
    return zone["custody"][0] == "sovereign" and fleet.canister(fleet.zone).settings.controllers == [member(1).bytes]


def _give_back(fleet: Fleet) -> Any:
    offer = {"canister": fleet.zone.bytes, "custody": ("managed", None), "owners": [member(1).bytes]}
    return fleet.factory.submit("offer_custody", offer, sender=member(1))


def _is_managed_again(fleet: Fleet) -> bool:
    zone = fleet.factory.call("get_zone", fleet.zone.bytes)
    controllers = fleet.canister(fleet.zone).settings.controllers
    return zone["custody"][0] == "managed" and controllers == [fleet.factory.id.bytes] and not zone["offered"]


def _retire(fleet: Fleet) -> Any:
    return fleet.factory.submit("retire_child", fleet.zone.bytes, fleet.zone.to_str(), sender=member(1))


def _is_retired(fleet: Fleet) -> bool:
    return fleet.stage(fleet.zone.bytes) == "retired" and not fleet.network.exists(fleet.zone)


def _shared(fleet: Fleet) -> None:
    controllers = [fleet.factory.id, member(1)]
    fleet.network.update_settings(fleet.zone, sender=fleet.factory.id, controllers=controllers)
    assert fleet.factory.call("refresh_custody", fleet.zone.bytes, sender=member(1)) == ("ok", None)


FLOWS += [
    Flow("a zone is handed over", _nothing_owed, _offer_to_creator, _is_sovereign),
    Flow("a zone is given back to the factory", _shared, _give_back, _is_managed_again),
    Flow("a zone is retired", _nothing, _retire, _is_retired),
    Flow("a zone that its owner controls, too, is retired", _shared, _retire, _is_retired),
]


# Refund -----------------------------------------------------------------------------------------------

_LEDGER = """
(func $answer_nat (param $value i32)
  (i32.store8 (i32.const 2000) (i32.const 0x44)) (i32.store8 (i32.const 2001) (i32.const 0x49))
  (i32.store8 (i32.const 2002) (i32.const 0x44)) (i32.store8 (i32.const 2003) (i32.const 0x4c))
  (i32.store8 (i32.const 2004) (i32.const 0)) (i32.store8 (i32.const 2005) (i32.const 1))
  (i32.store8 (i32.const 2006) (i32.const 0x7d)) (i32.store8 (i32.const 2007) (local.get $value))
  (call $msg_reply_data_append (i32.const 2000) (i32.const 8)) (call $msg_reply))
(global $balance (mut i32) (i32.const 100))
(func (export "canister_query icrc1_balance_of") (call $answer_nat (global.get $balance)))
(func (export "canister_query icrc1_fee") (call $answer_nat (i32.const 10)))
(func (export "canister_update icrc1_transfer")
  (global.set $balance (i32.const 0))
  (call $msg_reply_data_append (i32.const 3000) (i32.const 15)) (call $msg_reply))
"""
_TRANSFERRED = b"DIDL\x01\x6b\x01\xbc\x8a\x01\x7d\x01\x00\x00\x07"
"""`variant { Ok = 7 }`."""
_LEDGER_WASM = canister(_LEDGER, {3000: _TRANSFERRED})
NO_CODE = b"\0asm\1\0\0\0"
HELPERS = (_LEDGER_WASM, payer_wasm(), RETURNER_WASM, NO_CODE)
"""Modules that flows install beside the factory's and the zones'."""


def _with_ledger(fleet: Fleet) -> None:
    """A stand-in for the cycles ledger, at its address: the factory has 100 there, less than that after a transfer."""
    made = fleet.network.deploy(_LEDGER_WASM, b"")
    account = fleet.network.ic.canisters.pop(made.bytes)
    account.id = CYCLES_LEDGER.bytes
    fleet.network.ic.canisters[account.id] = account


def _ledger_is_empty(fleet: Fleet) -> bool:
    ledger = Principal(CYCLES_LEDGER.bytes)
    return fleet.network.query(ledger, "icrc1_balance_of") == b"DIDL\x00\x01\x7d\x00"


FLOWS += [Flow("what came to the ledger is refunded", _with_ledger, _submit("refund"), _ledger_is_empty)]
