"""The creation of a zone against a platform that fails, or loses an answer, at any one of its calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest
from kybra import Principal, StableBTreeMap, ic

from factory import context, control, creation, examination, installation, pool, settling, state
from factory.children import LIVE as CHILD_LIVE
from factory.children import MANAGED, SHARED, SOVEREIGN, SPONSORED, Child
from factory.zones import CREATED, FAILED, LIVE, RESERVED, Creation
from tests.support.maps import maps_of

T = 10**12
FACTORY = b"\x07" * 9 + b"\x01"
CREATOR = b"\x09" * 28 + b"\x02"
OWNERS = [bytes([number]) * 28 + b"\x02" for number in (1, 2)]
ZONE_ID = "0x" + "ab" * 20
WASM_HASH = b"\x05" * 32


class Lost(Exception):
    """The answer of a call never arrives: its callback is gone."""


class Refused(Exception):
    """The platform rejects a call."""


class Platform:
    """The management canister's effects on canisters, with one call that fails or whose answer is lost."""

    def __init__(self) -> None:
        self.controllers: dict[bytes, list[bytes]] = {}
        self.modules: dict[bytes, bytes] = {}
        self.settings: dict[str, Any] = {}
        """The change of settings that was made last."""
        self.calls: list[str] = []
        self.fail_at = self.lose_at = -1
        self.now = 10**18
        self.balance = 100 * T
        self.refunded = 0

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        return lambda args=None: Call(method, args)

    def answer(self, call: Call) -> Any:
        """Carries a call out, unless it is the one that fails."""
        number = len(self.calls)
        self.calls.append(call.method)
        self.now += 1
        self.refunded = call.cycles if number == self.fail_at else 0
        if number == self.fail_at:
            return SimpleNamespace(Ok=None, Err="the call was rejected")
        try:
            ok = getattr(self, f"do_{call.method}")(call)
        except Refused as refusal:
            return SimpleNamespace(Ok=None, Err=str(refusal))
        if number == self.lose_at:
            raise Lost
        return SimpleNamespace(Ok=ok, Err=None)

    def do_create_canister(self, call: Call) -> Any:
        canister = bytes([len(self.controllers) + 1]) * 9 + b"\x01"
        self.controllers[canister] = [one.bytes for one in call.args["settings"]["controllers"]]
        self.balance -= call.cycles
        return {"canister_id": Principal.from_hex(canister.hex())}

    def do_canister_info(self, call: Call) -> Any:
        canister = call.args["canister_id"].bytes
        controllers = [Principal.from_hex(one.hex()) for one in self.controllers[canister]]
        return {"controllers": controllers, "module_hash": self.modules.get(canister)}

    def do_stored_chunks(self, _: Call) -> Any:
        return []

    def do_upload_chunk(self, _: Call) -> Any:
        return {"hash": b""}

    def do_install_chunked_code(self, call: Call) -> Any:
        canister = call.args["target_canister"].bytes
        assert FACTORY in self.controllers[canister]
        assert canister not in self.modules, "installed twice"
        self.modules[canister] = call.args["wasm_module_hash"]

    def do_update_settings(self, call: Call) -> Any:
        canister = call.args["canister_id"].bytes
        assert FACTORY in self.controllers[canister], "set twice"
        self.controllers[canister] = [one.bytes for one in call.args["settings"]["controllers"]]
        self.settings = call.args["settings"]

    def do_refresh_controllers(self, _: Call) -> Any:
        pass


class Call:
    """A call of the management canister that is about to be made."""

    def __init__(self, method: str, args: Any) -> None:
        self.method = method
        self.args = args
        self.cycles = 0

    def with_cycles128(self, cycles: int) -> Call:
        self.cycles = cycles
        return self


def run(flow: Any, platform: Platform) -> Any:
    """Drives a flow, with the flows in it, to its end."""
    if not isinstance(flow, Generator):
        return platform.answer(flow) if isinstance(flow, Call) else flow
    try:
        step = next(flow)
        while True:
            step = flow.send(run(step, platform))
    except StopIteration as stop:
        return stop.value


@pytest.fixture
def platform(monkeypatch):
    """A factory with empty stores and a release, on a platform of its own."""
    platform = Platform()
    fresh = maps_of("factory")
    for store in [value for value in vars(context).values() if type(value).__module__.startswith("factory.")]:
        for name, value in list(vars(store).items()):
            for map_name in vars(fresh):
                # Other tests copy stores: a map is known by its id.
                if isinstance(value, StableBTreeMap) and value.memory_id == getattr(state, map_name).memory_id:
                    monkeypatch.setattr(store, name, getattr(fresh, map_name))
    for kept, name in (
        (context.children._order, "_keys"),
        (context.battery._order, "_keys"),
        (context.alerts, "_open_numbers"),
    ):
        monkeypatch.setattr(kept, name, None)
    entry = SimpleNamespace(version=1, chunks=1, chunk_hashes=[b"chunk"], is_kept=lambda: True)
    monkeypatch.setattr(context.releases, "current", lambda: (WASM_HASH, entry), raising=False)
    monkeypatch.setattr(context.releases, "entry", lambda wasm_hash: entry if wasm_hash == WASM_HASH else None)
    monkeypatch.setattr(context.releases, "chunk", lambda *_: b"chunk")
    monkeypatch.setattr(context.open_calls, "_started", {})
    monkeypatch.setattr(context.battery, "reserve_cycles", lambda: 5 * T)
    for module in (creation, examination, installation, control, pool, settling):
        monkeypatch.setattr(module, "management", platform)
    monkeypatch.setattr(control, "ZoneService", lambda _: platform)
    monkeypatch.setattr(ic, "time", lambda: platform.now)
    monkeypatch.setattr(ic, "id", lambda: Principal.from_hex(FACTORY.hex()))
    monkeypatch.setattr(ic, "canister_balance128", lambda: platform.balance)
    monkeypatch.setattr(ic, "msg_cycles_available128", lambda: 3 * T)
    monkeypatch.setattr(ic, "msg_cycles_accept128", lambda amount: amount)
    monkeypatch.setattr(ic, "set_timer", lambda *_: 0)
    monkeypatch.setattr(ic, "candid_encode", lambda text: text.encode())
    monkeypatch.setattr(ic, "msg_cycles_refunded128", lambda: platform.refunded)
    return platform


def wish(**changes: Any) -> Creation:
    asked = Creation(CREATOR, ZONE_ID, "host", "/", b"")
    asked.custody, asked.owners, asked.funding = SOVEREIGN, list(OWNERS), 2
    for name, value in changes.items():
        setattr(asked, name, value)
    return asked


def ask(platform: Platform, **changes: Any) -> tuple[bytes, str]:
    return run(creation.make_zone(wish(**changes), None, None), platform)


CALLS = ["create_canister", "stored_chunks", "upload_chunk", "install_chunked_code", "update_settings"]


def child_of(canister: bytes) -> Child:
    """The factory's record of a canister."""
    child = context.children.get(canister)
    assert child is not None
    return child


def whole(platform: Platform, canister: bytes) -> None:
    """One canister came to be, and all is known of it."""
    assert list(platform.controllers) == [canister]
    assert platform.modules == {canister: WASM_HASH}
    assert platform.controllers[canister] == OWNERS
    child = child_of(canister)
    assert child.stage == CHILD_LIVE
    assert context.battery.is_child(canister)
    assert stage(context.creations.at(CREATOR, ZONE_ID)) == LIVE


def stage(number: int) -> int:
    """How far a creation got."""
    found = context.creations.get(number)
    assert found is not None
    return found.stage


def test_a_creation_takes_these_calls(platform):
    canister, fault = ask(platform)
    assert fault == ""
    assert platform.calls == CALLS
    whole(platform, canister)


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_call_that_fails_costs_no_canister_and_the_next_request_ends_it(platform, number):
    platform.fail_at = number
    canister, fault = ask(platform)
    assert canister == b""
    assert "the call was rejected" in fault
    assert context.open_calls.count(platform.now) == 0
    at = context.creations.at(CREATOR, ZONE_ID)
    assert (at == 0) == (number == 0)
    if number == 0:
        assert stage(1) == FAILED
    platform.now += 60 * 10**9
    canister, fault = ask(platform)
    assert fault == ""
    whole(platform, canister)


@pytest.mark.parametrize("number", range(1, len(CALLS)))
def test_a_step_whose_answer_was_lost_is_read_and_not_repeated(platform, number):
    platform.lose_at = number
    with pytest.raises(Lost):
        ask(platform)
    assert context.open_calls.count(platform.now) == 1
    context.open_calls._started.clear()  # the upgrade that lost it
    platform.now += 60 * 10**9
    canister, fault = ask(platform)
    assert fault == ""
    whole(platform, canister)


def test_a_canister_whose_id_was_lost_is_never_created_again_but_named_by_an_admin(platform, monkeypatch):
    platform.lose_at = 0
    with pytest.raises(Lost):
        ask(platform)
    (canister,) = platform.controllers
    platform.now += 601 * 10**9
    assert "an admin settles it (settle_creation)" in ask(platform)[1]
    context.open_calls._started.clear()
    assert "an admin settles it (settle_creation)" in ask(platform)[1]
    assert platform.calls == ["create_canister"]
    platform.controllers[b"other"] = [CREATOR]
    assert "the factory does not control" in run(settling.settle(1, b"other"), platform)
    del platform.controllers[b"other"]
    # The cycles of the call that was lost went back to its caller.
    monkeypatch.setattr(ic, "msg_cycles_accept128", lambda _: 0)
    assert run(settling.settle(1, canister), platform) == ""
    assert (stage(1), child_of(canister).owed) == (CREATED, 2 * T + 20 * 10**9)
    platform.now += 60 * 10**9
    assert "are owed for this zone" in ask(platform)[1]
    assert FACTORY in platform.controllers[canister]
    child = child_of(canister)
    child.owed = 0
    context.children.put(canister, child)
    platform.now += 6 * 3_600 * 10**9
    assert ask(platform) == (canister, "")
    whole(platform, canister)


def test_a_creation_that_its_owners_passed_on_is_left_to_whom_they_passed_it_on(platform):
    buyer, setting = b"\x44" * 28 + b"\x02", platform.do_update_settings

    def owner_first(call: Call) -> None:
        platform.controllers[call.args["canister_id"].bytes] = [OWNERS[0]]
        raise Refused("the factory does not control it")

    platform.do_update_settings = owner_first
    assert "the factory does not control it" in ask(platform, owners=OWNERS[:1])[1]
    (canister,) = platform.controllers
    platform.do_update_settings = setting
    platform.controllers[canister] = [FACTORY, buyer]
    platform.now += 120 * 10**9
    assert ask(platform, owners=OWNERS[:1]) == (canister, "")
    assert platform.controllers[canister] == [FACTORY, buyer]
    assert (child_of(canister).owners, child_of(canister).custody) == ([buyer], SHARED)


def test_a_sponsored_zone_begins_as_managed_whatever_came_between_the_check_and_its_creation(platform):
    for custody in (SHARED, SOVEREIGN):
        canister, fault = ask(platform, custody=custody, funding=SPONSORED)
        assert (canister, fault) == (b"", creation.UNPAID)
    assert platform.calls == []
    assert context.creations.at(CREATOR, ZONE_ID) == 0


def test_a_lost_creation_without_a_canister_gives_its_place_and_share_back(platform):
    platform.lose_at = 0
    with pytest.raises(Lost):
        ask(platform, custody=1, owners=[], funding=1)
    count, cycles = context.creation_rules.share(False)
    assert (count.used, cycles.used) == (1, 2 * T)
    assert run(settling.settle(1, b""), platform) == "its call is open: wait for its answer"
    context.open_calls._started.clear()
    assert stage(1) == RESERVED
    assert run(settling.settle(1, b""), platform) == ""
    count, cycles = context.creation_rules.share(False)
    assert (count.used, cycles.used, context.creations.at(CREATOR, ZONE_ID)) == (0, 0, 0)


def test_a_pooled_canister_spares_a_zone_the_call_that_creates_one(platform):
    policy = context.creation_rules.policy()
    policy.figures["pool_size"] = 1
    assert context.creation_rules.change(policy) == ""
    run(pool.fill_pool(), platform)
    assert platform.calls == ["create_canister"]
    canister, fault = ask(platform, custody=1, owners=[], funding=1)
    assert (fault, list(platform.controllers)) == ("", [canister])
    assert platform.calls[1:] == ["stored_chunks", "upload_chunk", "install_chunked_code"]
    platform.calls.clear()
    kept = [{"hash": b"chunk"}]
    platform.do_stored_chunks = lambda _: kept
    run(pool.fill_pool(), platform)
    ask(platform, custody=1, owners=[], funding=1, zone_id="0x" + "cd" * 20)
    assert platform.calls == ["create_canister", "stored_chunks", "install_chunked_code"]


def set_figures(**changes: int) -> None:
    """Changes figures of the policy of creations."""
    policy = context.creation_rules.policy()
    policy.figures.update(changes)
    assert context.creation_rules.change(policy) == ""


@pytest.mark.parametrize("pooled", [6 * T, 2 * T])
def test_who_pays_for_a_zone_gets_what_the_price_buys_whatever_waits_in_the_pool(platform, monkeypatch, pooled):
    accepted: list[int] = []
    monkeypatch.setattr(ic, "msg_cycles_available128", lambda: 10 * T)
    monkeypatch.setattr(ic, "msg_cycles_accept128", lambda amount: accepted.append(amount) or amount)
    set_figures(creation_cycles=pooled, pool_size=2)
    run(pool.fill_pool(), platform)
    set_figures(creation_cycles=2 * T, pool_size=0)
    waiting = list(platform.controllers)
    canister, fault = ask(platform)
    assert (fault, accepted) == ("", [2 * T + 20 * 10**9])
    assert (canister in waiting) == (pooled == 2 * T)
    assert platform.balance == 100 * T - 2 * pooled - (2 * T if pooled == 6 * T else 0)
    canister, fault = ask(platform, custody=MANAGED, owners=[], funding=SPONSORED, zone_id="0x" + "cd" * 20)
    assert (fault, canister) == ("", waiting[pooled == 2 * T])
    assert child_of(canister).owed == pooled


def test_the_price_of_a_zone_is_that_at_which_it_was_admitted(platform, monkeypatch):
    accepted: list[int] = []
    monkeypatch.setattr(ic, "msg_cycles_accept128", lambda amount: accepted.append(amount) or amount)
    creating = platform.do_create_canister

    def dearer_meanwhile(call: Call) -> Any:
        set_figures(creation_cycles=4 * T, daily_cycles=90 * T, funded_fee=T)
        return creating(call)

    platform.do_create_canister = dearer_meanwhile
    assert ask(platform)[1] == ""
    assert accepted == [2 * T + 20 * 10**9]


def given_back(platform: Platform) -> bytes:
    """A shared zone that its owners have agreed to give back to the factory."""
    canister, fault = ask(platform, custody=SHARED)
    assert fault == ""
    child = child_of(canister)
    child.offered, child.offered_custody, child.accepted = OWNERS, MANAGED, list(OWNERS)
    context.children.put(canister, child)
    platform.calls.clear()
    return canister


def test_a_zone_that_is_given_back_gets_the_settings_of_birth_with_its_controller(platform):
    canister = given_back(platform)
    assert run(control.hand_over(canister), platform) == ""
    assert platform.calls == ["canister_info", "update_settings", "canister_info", "refresh_controllers"]
    born = control.birth_settings([FACTORY])
    assert [one.bytes for one in platform.settings["controllers"]] == [FACTORY]
    assert {**platform.settings, "controllers": None} == {**born, "controllers": None}
    assert None not in born.values()


def test_a_zone_whose_owner_left_it_on_the_platform_gets_the_settings_of_birth_too(platform):
    canister = given_back(platform)
    platform.controllers[canister] = [FACTORY]
    assert run(control.hand_over(canister), platform) == ""
    assert platform.settings["freezing_threshold"] == 30 * 86_400
    assert child_of(canister).owners == OWNERS


def test_code_that_an_owner_installed_while_he_gave_a_zone_back_is_not_called(platform):
    canister = given_back(platform)
    setting = platform.do_update_settings

    def installs_then_sets(call: Call) -> None:
        platform.modules[canister] = b"\x06" * 32
        setting(call)

    platform.do_update_settings = installs_then_sets
    assert run(control.hand_over(canister), platform) == ""
    assert platform.calls == ["canister_info", "update_settings", "canister_info"]
    child = child_of(canister)
    assert (child.custody, child.owners, child.offered) == (MANAGED, OWNERS, [])


def test_a_creation_that_its_owner_keeps_from_being_carried_out_leaves_the_takings_up_to_the_others(platform):
    platform.fail_at = 3
    canister, fault = ask(platform, custody=2)
    (canister,) = platform.controllers
    assert "is kept: ask again in 60 seconds" in fault
    platform.controllers[canister] = [OWNERS[0]]  # he takes the factory out before the code is there
    platform.do_install_chunked_code = lambda call: installs_where_it_controls(platform, call)
    tries, day = 0, 86_400 * 10**9
    begun = platform.now
    while platform.now < begun + 2 * day:
        platform.now += 60 * 10**9
        before = len(platform.calls)
        assert ask(platform, custody=2)[0] == b""
        tries += len(platform.calls) > before
    assert 8 <= tries <= 18
    platform.controllers[canister] = [FACTORY, *OWNERS]
    del platform.do_install_chunked_code
    wait = int(re.findall("try again in ([0-9]+) seconds", ask(platform, custody=2)[1])[0])
    assert wait <= 6 * 3_600
    platform.now += wait * 10**9
    assert ask(platform, custody=2) == (canister, "")


def installs_where_it_controls(platform: Platform, call: Call) -> None:
    """What the platform says to an installation on a canister that the factory does not control."""
    if FACTORY not in platform.controllers[call.args["target_canister"].bytes]:
        raise Refused("the factory does not control it")


def test_taking_up_again_leaves_the_reserve_alone(platform):
    platform.fail_at = 3
    ask(platform)
    platform.now += 60 * 10**9
    platform.balance = 5 * T
    assert "the reserve of 5000000000000 is never touched" in ask(platform)[1]
    platform.balance = 6 * T
    assert ask(platform)[1] == ""
