"""Cycles: what calls, storage and creation cost, the freezing threshold, and running dry."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localnet import candid
from localnet import management_types as types
from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.message import Rejection
from localnet.prices import DEFAULT_PROVISIONAL_CYCLES, Capacity, Limits, Prices
from tests.localnet.direct import Direct, Refused
from tests.localnet.passing import PASSING, info, manager, payload
from tests.localnet.wat import COUNTER, canister, number
from tests.support.network import ANONYMOUS, CallRejected, Network, Principal

__all__ = ["manager"]

YEAR = 365 * 24 * 3600
# What a canister must be able to pay for before any message of it runs: the longest execution.
PREPAID = Prices().execution(Limits().update)


def test_prices_are_those_of_the_published_list() -> None:
    # "Cycle costs" of the IC developer documentation, 13-node column.
    prices = Prices()
    assert prices.canister_creation == 500_000_000_000
    assert prices.compute(percent=1, seconds=1) == 10_000_000
    assert prices.execution(0) == 5_000_000
    assert prices.execution(10**9) - prices.execution(0) == 10**9
    assert (prices.call, prices.call_byte) == (260_000, 1_000)
    assert prices.ingress(0) == 1_200_000
    assert prices.ingress(1) - prices.ingress(0) == 2_000
    assert prices.storage(size=1 << 30, seconds=1) == 127_000
    assert prices.http_request(0, 0) == 49_140_000
    assert prices.http_request(1, 0) - prices.http_request(0, 0) == 5_200
    assert prices.http_request(0, 1) - prices.http_request(0, 0) == 10_400


def test_an_update_costs_its_base_fee_its_instructions_and_its_reception(net: Network) -> None:
    target = net.deploy(canister(COUNTER))
    before = net.cycles(target)
    net.update(target, "increment")
    cost = before - net.cycles(target)
    prices = Prices()
    assert prices.ingress_message + prices.update_message < cost < prices.ingress(300) + prices.execution(1_000)


def test_queries_are_free(net: Network) -> None:
    target = net.deploy(canister(COUNTER))
    before = net.cycles(target)
    net.query(target, "read")
    assert net.cycles(target) == before


def test_storage_is_charged_as_time_passes(net: Network) -> None:
    target = net.deploy(canister('(func (export "canister_init") (drop (call $stable64_grow (i64.const 16384))))'))
    before = net.cycles(target)
    burn = net.canister_status(target)["idle_cycles_burned_per_day"]
    net.advance(YEAR)
    # A GiB costs 127 000 cycles a second, about 4 T a year.
    paid = before - net.cycles(target)
    assert paid == pytest.approx(4_000_000_000_000, rel=0.01)
    assert paid == pytest.approx(burn * 365, rel=0.01)


def test_a_compute_allocation_is_charged_as_time_passes(net: Network) -> None:
    target = net.create(compute_allocation=10, freezing_threshold=0)
    before = net.cycles(target)
    net.advance(100)
    assert before - net.cycles(target) == pytest.approx(10_000_000 * 10 * 100, rel=0.01)


def test_a_frozen_canister_takes_no_updates_but_queries(net: Network) -> None:
    target = net.deploy(canister(COUNTER))
    burn = net.canister_status(target)["idle_cycles_burned_per_day"]
    days = net.cycles(target) // burn + 1
    net.update_settings(target, freezing_threshold=days * 24 * 3600)
    with pytest.raises(CallRejected, match="is out of cycles") as caught:
        net.update(target, "increment")
    assert (caught.value.error_code, caught.value.reject_code) == ("CanisterOutOfCycles", "SysTransient")
    assert number(net.query(target, "read")) == 0
    net.add_cycles(target, net.cycles(target) + PREPAID)
    assert number(net.update(target, "increment")) == 1


def test_a_canister_that_cannot_pay_for_the_longest_execution_runs_nothing(net: Network) -> None:
    target = net.create()
    net.install(target, canister(COUNTER + BURNING))
    net.update(target, "burn_all_but", bytes(8))
    with pytest.raises(CallRejected, match="please top up the canister with at least"):
        net.update(target, "increment")


BURNING = """
(func (export "canister_update burn_all_but")
  (local $keep i64)
  (drop (call $argument (i32.const 16)))
  (call $cycles_burn128 (i64.const 0)
    (i64.sub (call $canister_cycle_balance) (i64.load (i32.const 16))) (i32.const 32))
  (call $msg_reply))
"""


def test_a_canister_that_runs_dry_loses_its_code(net: Network) -> None:
    target = net.create(cycles=Prices().execution(Limits().install) + 10_000_000_000, freezing_threshold=0)
    net.install(target, canister(COUNTER, memory="16384"))
    net.advance(10 * YEAR)
    assert net.cycles(target) == 0
    net.add_cycles(target, 1_000_000_000)
    assert net.canister_status(target)["module_hash"] is None
    with pytest.raises(CallRejected, match="no Wasm module"):
        net.query(target, "read")


def test_provisional_canisters_start_with_what_was_asked_for(net: Network) -> None:
    assert net.cycles(net.create()) == DEFAULT_PROVISIONAL_CYCLES
    assert net.cycles(net.create(cycles=5)) == 5


def test_a_message_that_grows_memory_beyond_what_the_balance_keeps_is_undone(net: Network) -> None:
    body = (
        COUNTER
        + BURNING
        + """
    (func (export "canister_update grow") (drop (call $stable64_grow (i64.const 163840)))
      (call $answer32 (i32.const 1)))
    (func (export "canister_query size") (call $answer64 (call $stable64_size)))
    """
    )
    target = net.deploy(canister(body))
    # 10 GiB for the 30 days of the threshold cost 3.3 T: more than this leaves beside the longest execution.
    net.update(target, "burn_all_but", (2 * PREPAID).to_bytes(8, "little"))
    with pytest.raises(CallRejected, match="cannot grow memory") as caught:
        net.update(target, "grow")
    assert caught.value.error_code == "InsufficientCyclesInMemoryGrow"
    assert number(net.query(target, "size")) == 0


def test_the_wasm_memory_limit_is_enforced(net: Network) -> None:
    body = (
        COUNTER
        + """
    (func (export "canister_update grow") (drop (memory.grow (i32.const 10))) (call $answer32 (memory.size)))
    """
    )
    target = net.deploy(canister(body))
    net.update_settings(target, wasm_memory_limit=5 * 65536)
    with pytest.raises(CallRejected, match="memory limit of 327680 bytes"):
        net.update(target, "grow")
    assert number(net.update(target, "increment")) == 1


def test_a_canister_that_runs_dry_keeps_its_id_controllers_and_version(net: Network, manager: Principal) -> None:
    target = net.create(cycles=320_000_000_000, freezing_threshold=0)
    net.install(target, canister(COUNTER, memory="1024"))
    net.take_snapshot(target)
    net.update_settings(target, compute_allocation=1, memory_allocation=1 << 30)
    before = net.canister_status(target)
    net.advance(YEAR)
    assert net.cycles(target) == 0
    net.add_cycles(target, 10**12)
    after = net.canister_status(target)
    settings = after["settings"]
    assert (settings["compute_allocation"], settings["memory_allocation"]) == (0, 0)
    assert settings["controllers"] == before["settings"]["controllers"]
    assert after["version"] > before["version"]
    assert after["memory_metrics"]["snapshots_size"] == 0
    told = info(net, manager, target)
    assert (told["recent_changes"], told["total_num_changes"]) == ([], 2)
    # Nothing deletes it: topped up, it can be used again.
    net.install(target, canister(COUNTER))
    assert number(net.update(target, "increment")) == 1


def test_open_calls_to_a_canister_that_runs_dry_are_rejected() -> None:
    net = Direct("Application", "Application")
    first, second = net.network.subnets.values()
    waiting = canister(WAITING, {64: b"increment"})
    slow = net.deploy(waiting, cycles=400 * 10**9, freezing_threshold=0)
    elsewhere = net.network.allocate_id(second)
    assert first.id == slow.subnet
    entry = net.network.ingress[net.network.submit(ANONYMOUS.bytes, slow.id, "wait", elsewhere)]
    net.network.tick()
    assert slow.contexts
    slow.cycles = 1
    net.network.clock.set(net.network.clock.now + YEAR * 10**9)
    net.network.tick()
    assert isinstance(entry.response, Rejection)
    assert entry.response.message == "Canister has been uninstalled."
    assert entry.response.error_code == ErrorCode.CANISTER_REJECTED_MESSAGE
    net.network.tick()
    assert not slow.callbacks


WAITING = """
(table 1 funcref)
(elem (i32.const 0) $back)
(func $back (param i32) (call $answer32 (i32.const 1)))
;; calls "increment" of the canister with the id given
(func (export "canister_update wait")
  (call $call_new (i32.const 100) (call $argument (i32.const 100)) (i32.const 64) (i32.const 9)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (drop (call $call_perform)))
"""


# Conservation --------------------------------------------------------------------------------------

MODULE = canister(
    COUNTER
    + BURNING
    + PASSING
    + """(func (export "canister_pre_upgrade")
      (call $cycles_burn128 (i64.const 0) (i64.const 1000) (i32.const 32)))""",
    memory="40",
)
BROKEN = canister("""(func (export "canister_init") unreachable)
(func (export "canister_post_upgrade") unreachable)""")
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "create", "create through", "top up", "deposit", "install", "reinstall", "upgrade", "fail to reinstall",
                "fail to upgrade", "uninstall", "stop", "start", "delete", "update", "burn", "take", "load", "chunk",
                "settings", "time", "outcall",
            ]
        ),
        st.integers(0, 7),
        st.sampled_from([0, 1, 10**9, 10**11, 5 * 10**11, 10**12, 3 * 10**12]) | st.integers(0, 3 * 10**12),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


class Ledger:
    """A network and the canisters of a random run."""

    def __init__(self) -> None:
        limits = Limits(update=100_000_000, install=100_000_000)
        self.net = Direct(limits=limits, capacity=Capacity(memory=1 << 28, memory_threshold=1 << 25))
        self.manager = self.net.deploy(MODULE)

    def total(self) -> int:
        """Cycles in balances."""
        return sum(canister.cycles + canister.reserved for canister in self.net.network.canisters.values())

    def run(self, operation: str, which: int, amount: int) -> None:
        """One operation; refusals are part of the game."""
        targets = list(self.net.network.canisters.values())
        with contextlib.suppress(Reject, Refused):
            self._run(operation, targets[which % len(targets)], amount)

    def _run(self, operation: str, target: Canister, amount: int) -> None:
        net, about = self.net, {"canister_id": target.id}
        through = {
            "create through": ("create_canister", types.CREATE, {}),
            "deposit": ("deposit_cycles", types.CANISTER_ID, about),
            "outcall": (
                "http_request",
                types.HTTP_REQUEST,
                {"url": "https://example.org", "method": ("get", None), "headers": []},
            ),
        }
        simple = {"uninstall": "uninstall_code", "stop": "stop_canister", "start": "start_canister"}
        if operation == "create":
            net.create(amount)
        elif operation in through:
            method, kind, value = through[operation]
            # Not waited for: an outcall takes until it times out.
            arg = payload(method, candid.encode([kind], [value]), amount)
            net.network.submit(ANONYMOUS.bytes, self.manager.id, "manage", arg)
        elif operation == "top up":
            net.manage("provisional_top_up_canister", types.PROVISIONAL_TOP_UP, about | {"amount": amount})
        elif operation in ("install", "reinstall", "upgrade"):
            net.install(target, MODULE, operation)
        elif operation.startswith("fail to"):
            net.install(target, BROKEN, operation.split()[-1])
        elif operation in simple:
            net.about(simple[operation], target)
        elif operation == "delete" and target is not self.manager:
            net.about("stop_canister", target)
            net.about("delete_canister", target)
        elif operation == "update":
            net.update(target.id, "increment")
        elif operation == "burn":
            net.update(target.id, "burn_all_but", (amount % 10**12).to_bytes(8, "little"))
        elif operation == "take":
            net.manage("take_canister_snapshot", types.TAKE_SNAPSHOT, about | {"uninstall_code": amount % 2 == 1})
        elif operation == "load":
            for snapshot in list(target.snapshots):
                net.manage("load_canister_snapshot", types.LOAD_SNAPSHOT, about | {"snapshot_id": snapshot})
        elif operation == "chunk":
            net.manage("upload_chunk", types.UPLOAD_CHUNK, about | {"chunk": amount.to_bytes(8, "little")})
        elif operation == "settings":
            net.change(target, compute_allocation=amount % 20, freezing_threshold=amount % 1000)
        elif operation == "time":
            net.advance(amount / 10**9)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_cycles_are_conserved(operations: list[tuple[str, int, int]]) -> None:
    ledger = Ledger()
    network = ledger.net.network
    for operation, which, amount in operations:
        ledger.run(operation, which, amount)
        # Outcalls time out after a minute; everything else is answered.
        while network.outcalls.pending or network.scheduler.busy:
            ledger.net.advance(61)
        assert all(canister.cycles >= 0 and canister.reserved >= 0 for canister in network.canisters.values())
        assert ledger.total() + network.burned == network.minted, operation
