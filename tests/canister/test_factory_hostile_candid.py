"""Arguments that nobody honest sends, to every method of the factory: refused at a bounded cost, and nothing changes.

In one process with localnet, which tells what a call cost, and without `inspect_message`: another canister's calls do
not go through it. What is let through has to be what an independent decoder takes for the declared types, too.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ic.principal import Principal

from localnet import candid as wire
from localnet.candid import CandidError
from tests.fleet.flows import Fleet
from tests.support.actor import argument_types, plain
from tests.support.builds import Built
from tests.support.effort import examples
from tests.support.factories import T, Wallet, wish
from tests.support.hostile_candid import BOMBS, CALL_BYTES, Put, alone, among, bombs, calls, in_a_field, oversized
from tests.support.local_canister import LocalCanister
from tests.support.network import ANONYMOUS
from tests.support.zones import TEAM, member, public_key

STRANGER = member(99)
OWNER = member(2)
OTHERS_COST = 5_000_000
ADMINS_COST = 200_000_000
TAKE_CODE = ("upload_release_chunk", "install_code", "reinstall_code", "upgrade_code")
"""Methods that decode arguments of any length, for admins."""
READS: dict[str, tuple[Any, ...]] = {
    "get_admins": (),
    "get_aggregate_quota_settings": (),
    "get_alerts": (False, None, 200),
    "get_battery_policy": (),
    "get_creation_allowlist": (None, 200),
    "get_creation_policy": (),
    "get_cycles_manager_children": (),
    "get_deposits": (None, 200),
    "get_refund_account": (),
    "get_refund_ledger": (),
    "get_releases": (None, 100),
    "get_rollout": (None, 200),
}
"""Queries that tell what the factory holds, but for what reading a child anew changes and for the audit log."""

pytestmark = pytest.mark.localnet_only("the instructions of a call are told")


class LocalFactory(LocalCanister):
    """A factory with a sponsored zone of member 1 and a shared one of `OWNER`."""

    def __init__(self, build: Built, zone: Built):
        self.fleet = Fleet.build_it(build, zone)
        ic = self.fleet.network.ic
        super().__init__(ic, ic.canisters[self.fleet.factory.id.bytes], build.did, TEAM)
        wallet = Wallet(self.fleet.network, self.fleet.factory)
        asked = wish(zone_id="0x" + "22" * 20, owners=[OWNER.bytes], custody=("shared", None))
        label, made = wallet.call("create_zone", asked, cycles=3 * T)
        assert label == "ok", made
        self.shared = Principal(made["canister"])
        self.fleet.network.settle()

    @property
    def senders(self) -> list[Principal]:
        """One of each kind of caller."""
        return [ANONYMOUS, STRANGER, OWNER, self.shared, TEAM]

    def writes(self) -> int:
        """How often stable memory was written to."""
        assert self.canister.runtime is not None
        return self.canister.runtime.stable.accesses()[2]

    def state(self) -> dict[str, Any]:
        """What the factory holds, as replies to an admin."""
        found: dict[str, Any] = {method: self.raw(method, *values) for method, values in READS.items()}
        # The end of a window that has not begun, and when a child was read, move with the time.
        fleet = self.read("get_fleet", None, 100)["children"]
        found["fleet"] = [{**child, "quota_ends_at": 0} for child in fleet]
        zones = self.read("list_zones", None, 100)
        found["zones"] = [{**zone, "info_read_at": None} for zone in zones]
        found["creations"] = [self.raw("get_creation", number) for number in range(1, len(zones) + 2)]
        return found


@pytest.fixture(scope="module")
def factory(factory_build, zone_build) -> LocalFactory:
    return LocalFactory(factory_build, zone_build)


def is_of_its_types(factory: LocalFactory, method: str, payload: bytes) -> bool:
    """Whether an independent decoder takes the bytes for the method's arguments; none need none."""
    if not factory.methods[method].args:
        return True
    try:
        wire.decode(payload, argument_types(factory.interface, method))
    except CandidError:
        return False
    return True


def check(factory: LocalFactory, method: str, payload: bytes, sender: Principal) -> bool:
    """Calls a method: whether it was let through.

    Where it was not, the cost was bounded, and stable memory was not even written to unless an honest caller could have
    sent the same.
    """
    # A sweep that an earlier call began goes on by itself.
    factory.fleet.network.settle()
    before = factory.writes()
    answer = factory.call(method, payload, sender)
    if answer.reply is not None:
        return True
    assert answer.instructions <= (ADMINS_COST if sender == TEAM else OTHERS_COST), method
    assert factory.writes() == before or is_of_its_types(factory, method, payload), method
    return False


def made(bomb: str, method: str, puts: list[Put]) -> list[bytes]:
    """A bomb that strangers may send in every place, and one as long as may be, in one place where length decides."""
    return bombs(bomb, puts, 900) + bombs(bomb, puts if method in TAKE_CODE else puts[:1], CALL_BYTES)


def with_arguments(factory: LocalFactory) -> list[str]:
    """The methods that look at what comes: one without arguments takes anything."""
    return sorted(name for name, method in factory.methods.items() if method.args)


def honest(factory: LocalFactory, method: str) -> tuple[list[wire.Type], list[Any]]:
    kinds = argument_types(factory.interface, method)
    return kinds, [plain(kind, factory.shared.bytes) for kind in kinds]


@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_a_bomb_is_refused_whoever_sends_it_and_where(factory: LocalFactory, bomb: str):
    factory.fleet.network.settle()
    before = factory.state()
    for method in with_arguments(factory):
        kinds, values = honest(factory, method)
        # Whatever comes in an opt's place is taken for null.
        positions = [position for position, kind in enumerate(kinds) if kind.kind != "opt"]
        puts = [alone, *[among(kinds, values, position, 1) for position in positions]]
        for payload in made(bomb, method, puts):
            for sender in factory.senders:
                assert not check(factory, method, payload, sender), (method, len(payload), sender.to_str())
    assert factory.state() == before


@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_a_bomb_where_candid_lets_anything_be_is_skipped_at_a_bounded_cost(factory: LocalFactory, bomb: str):
    for method in factory.methods:
        kinds, values = honest(factory, method)
        opts = [position for position, kind in enumerate(kinds) if kind.kind == "opt"]
        puts = [in_a_field, among(kinds, values, len(kinds)), *[among(kinds, values, position, 1) for position in opts]]
        for payload in made(bomb, method, puts):
            for sender in factory.senders:
                check(factory, method, payload, sender)


@pytest.mark.parametrize("size", [CALL_BYTES, 60_000, 900])
def test_arguments_as_large_as_may_be_are_refused_or_answered_at_a_bounded_cost(factory: LocalFactory, size: int):
    for method in factory.methods:
        kinds, _ = honest(factory, method)
        payload = oversized(kinds, factory.shared.bytes, size // max(1, len(kinds)))[:CALL_BYTES]
        for sender in factory.senders:
            check(factory, method, payload, sender)


@pytest.mark.parametrize(
    ("method", "sender", "most"), [("offer_custody", OWNER, 1_280), ("change_creation_allowlist", TEAM, 8_192)]
)
def test_a_long_list_of_principals_is_refused_before_it_is_decoded(factory, method: str, sender: Principal, most: int):
    kinds, _ = honest(factory, method)
    payload = oversized(kinds, factory.shared.bytes, CALL_BYTES // 4)
    answer = factory.call(method, payload, sender)
    assert answer.reject == f"the arguments have {len(payload)} bytes: at most {most} are allowed"
    assert answer.instructions < 1_000_000


def test_the_longest_honest_wish_is_let_through(factory: LocalFactory):
    owners = [member(number).bytes for number in range(10)]
    texts = {"rpc_host": "h" * 253, "rpc_path": "/" + "p" * 255}
    longest = wish(**texts, owners=owners, call_token=bytes(32), public_key=public_key(5))
    label, fault = factory.fleet.factory.call("create_zone", longest, sender=member(5))
    assert label == "err"
    assert fault.startswith(f"the node {'h' * 253}/{'p' * 255} is not trusted with a proof")


def test_whatever_bytes_come_they_are_refused_or_mean_what_they_say(factory: LocalFactory):
    payloads = {method: wire.encode(*honest(factory, method)) for method in factory.methods}

    @settings(max_examples=examples(200))
    @given(call=calls(with_arguments(factory), payloads), sender=st.sampled_from(factory.senders))
    def fuzz(call: tuple[str, bytes], sender: Principal) -> None:
        method, payload = call
        before = factory.state()
        if check(factory, method, payload, sender):
            assert is_of_its_types(factory, method, payload)
        else:
            assert factory.state() == before

    fuzz()
    # No mark of an open call is left: else an upgrade of a factory that was not stopped would be refused.
    factory.fleet.network.settle()
    factory.fleet.network.upgrade(factory.fleet.factory.id, factory.fleet.build.wasm, sender=TEAM)
