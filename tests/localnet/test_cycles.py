"""Cycles: what calls, storage and creation cost, the freezing threshold, and running dry."""

import pytest

from localnet.prices import DEFAULT_PROVISIONAL_CYCLES, Limits, Prices
from tests.localnet.wat import COUNTER, canister, number
from tests.support.network import CallRejected, Network

YEAR = 365 * 24 * 3600
# What a canister must be able to pay for before any message of it runs: the longest execution.
PREPAID = Prices().execution(Limits().update)


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
    target = net.create(compute_allocation=10)
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
    target = net.create(cycles=Prices().execution(Limits().install) + 10_000_000_000)
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
