"""Whatever entry point traps, everything is as it was before it: heap, globals, stable memory, timer, calls, data."""

import pytest

from tests.localnet.wat import canister
from tests.support.network import CallRejected, Network, Principal

# `$change` touches every kind of state; `$state` reads it back. The timer would set the mark at 400.
STATE = """
(table 4 funcref) (elem (i32.const 0) $trapping $cleaning_up $fine $ignoring)
(global $count (mut i32) (i32.const 1))
(func $change
  (global.set $count (i32.const 2))
  (i32.store (i32.const 200) (i32.const 22))
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1)))))
  (call $stable64_write (i64.const 5000) (i64.const 200) (i64.const 4))
  (drop (call $stable64_grow (i64.const 3)))
  (drop (memory.grow (i32.const 5))))
(func $change_all
  (call $change)
  (drop (call $global_timer_set (i64.const 1)))
  (call $certified_data_set (i32.const 200) (i32.const 4)))
(func $self (param $reply i32) (param $method i32) (param $size i32)
  (call $canister_self_copy (i32.const 900) (i32.const 0) (i32.const 10))
  (call $call_new (i32.const 900) (i32.const 10) (local.get $method) (local.get $size)
    (local.get $reply) (i32.const 0) (local.get $reply) (i32.const 0)))
(func $call_marker (call $self (i32.const 3) (i32.const 810) (i32.const 4)) (drop (call $call_perform)))
(func $trapping (param i32) (call $change_all) (call $call_marker) unreachable)
(func $cleaning_up (param i32) (call $change) unreachable)
(func $fine (param i32) (call $msg_reply))
(func $ignoring (param i32))
(func (export "canister_global_timer") (i32.store (i32.const 400) (i32.const 1)))
(func (export "canister_update mark") (i32.store (i32.const 404) (i32.const 1)) (call $msg_reply))
(func (export "canister_update echo") (call $msg_reply))
(func (export "canister_update update") (call $change_all) (call $call_marker) unreachable)
(func (export "canister_query query") (call $change) unreachable)
(func (export "canister_update callback") (call $self (i32.const 0) (i32.const 800) (i32.const 4))
  (drop (call $call_perform)))
(func (export "canister_update cleanup") (call $self (i32.const 0) (i32.const 800) (i32.const 4))
  (call $call_on_cleanup (i32.const 1) (i32.const 0)) (drop (call $call_perform)))
(func (export "canister_query state")
  (i32.store (i32.const 16) (global.get $count))
  (i32.store (i32.const 20) (i32.load (i32.const 200)))
  (i32.store (i32.const 24) (i32.wrap_i64 (call $stable64_size)))
  (i32.store (i32.const 28) (memory.size))
  (i32.store (i32.const 32) (i32.load (i32.const 400)))
  (i32.store (i32.const 36) (i32.load (i32.const 404)))
  (call $data_certificate_copy (i32.const 1000) (i32.const 0) (call $data_certificate_size))
  (call $answer (i32.const 16) (i32.const 24)))
(func (export "canister_update stable")
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1)))))
  (call $stable64_read (i64.const 100) (i64.const 5000) (i64.const 4)) (call $answer (i32.const 100) (i32.const 4)))
"""
DATA = {800: b"echo", 810: b"mark"}
UNTOUCHED = [1, 0, 0, 1, 0, 0]


def state(net: Network, target: Principal) -> list[int]:
    """Global, heap word, stable pages, heap pages, whether the timer fired, whether the call arrived."""
    reply = net.query(target, "state")
    return [int.from_bytes(reply[at : at + 4], "little") for at in range(0, len(reply), 4)]


def deployed(net: Network, more: str = "") -> Principal:
    return net.deploy(canister(STATE + more, DATA))


@pytest.mark.parametrize("method", ["update", "query", "callback", "cleanup"])
def test_a_trap_in_a_message_leaves_nothing_behind(net: Network, method: str) -> None:
    target = deployed(net)
    with pytest.raises(CallRejected, match="unreachable"):
        net.update(target, method)
    net.tick(3)
    assert state(net, target) == UNTOUCHED


@pytest.mark.parametrize("task", ["canister_heartbeat", "canister_global_timer"])
def test_a_trap_in_a_task_leaves_nothing_behind(net: Network, task: str) -> None:
    body = STATE.replace('"canister_global_timer"', '"canister_update unused"')
    body += f'(func (export "{task}") (call $change_all) (call $call_marker) unreachable)'
    body += '(func (export "canister_init") (drop (call $global_timer_set (i64.const 1))))'
    target = net.deploy(canister(body, DATA))
    net.tick(4)
    assert state(net, target) == UNTOUCHED


def test_a_trap_in_inspect_message_leaves_nothing_behind(net: Network) -> None:
    target = deployed(net, '(func (export "canister_inspect_message") (call $change) unreachable)')
    with pytest.raises(CallRejected, match="unreachable"):
        net.submit(target, "echo")
    assert state(net, target) == UNTOUCHED


def test_a_trap_in_a_non_replicated_query_leaves_nothing_behind(net: Network) -> None:
    target = deployed(net)
    with pytest.raises(CallRejected, match="unreachable"):
        net.query(target, "query")
    assert state(net, target) == UNTOUCHED


@pytest.mark.parametrize("hook", ["canister_init", "start"])
def test_an_installation_that_traps_leaves_the_canister_empty(net: Network, hook: str) -> None:
    body = "(func $boom (drop (call $stable64_grow (i64.const 1))) unreachable)"
    body += "(start $boom)" if hook == "start" else f'(export "{hook}" (func $boom))'
    target = net.create()
    with pytest.raises(CallRejected, match="unreachable"):
        net.install(target, canister(body))
    status = net.canister_status(target)
    assert status["module_hash"] is None
    assert status["memory_metrics"]["stable_memory_size"] == 0


@pytest.mark.parametrize("hook", ["canister_pre_upgrade", "canister_post_upgrade", "start"])
def test_an_upgrade_that_traps_leaves_the_old_code_and_state(net: Network, hook: str) -> None:
    change = "(call $change_all)" if hook != "start" else "(call $change)"
    boom = f"(func $boom {change} unreachable)"
    boom += "(start $boom)" if hook == "start" else f'(export "{hook}" (func $boom))'
    target = deployed(net, boom if hook == "canister_pre_upgrade" else "")
    before = net.canister_status(target)["module_hash"]
    with pytest.raises(CallRejected, match="unreachable"):
        net.upgrade(target, canister(STATE + boom, DATA))
    net.tick(2)
    assert net.canister_status(target)["module_hash"] == before
    assert state(net, target) == UNTOUCHED
    assert net.update(target, "stable") == bytes(4)


def test_a_call_that_fails_to_start_takes_nothing_along(net: Network) -> None:
    body = """
    (table 1 funcref) (elem (i32.const 0) $never) (func $never (param i32) (i32.store (i32.const 400) (i32.const 1)))
    (func $begin
      (call $call_new (i32.const 700) (i32.const 10) (i32.const 800) (i32.const 4)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    ;; sends away all but the cost of 10 calls, then calls once more than that pays for; answers with the balances
    (func (export "canister_update poor")
      (call $canister_self_copy (i32.const 700) (i32.const 0) (i32.const 10))
      (call $cost_call (i64.const 4) (i64.const 0) (i32.const 100))
      (drop (call $liquid))
      (call $cycles_burn128 (i64.const 0)
        (i64.sub (call $liquid) (i64.add (i64.load (i32.const 100)) (i64.const 1000000))) (i32.const 200))
      (call $begin) (call $call_cycles_add128 (i64.const 0) (i64.const 2000000))
      (i64.store (i32.const 300) (call $canister_cycle_balance))
      (i32.store (i32.const 308) (call $call_perform))
      (i64.store (i32.const 312) (call $canister_cycle_balance))
      (call $answer (i32.const 300) (i32.const 20)))
    (func $liquid (result i64)
      (call $canister_liquid_cycle_balance128 (i32.const 120)) (i64.load (i32.const 120)))
    (func (export "canister_update echo") (i32.store (i32.const 400) (i32.const 1)) (call $msg_reply))
    (func (export "canister_query ran") (call $answer (i32.const 400) (i32.const 4)))
    """
    target = net.deploy(canister(body, {800: b"echo"}))
    reply = net.update(target, "poor")
    before, code, after = (int.from_bytes(reply[a:b], "little") for a, b in ((0, 8), (8, 12), (12, 20)))
    assert code == 2
    assert after - before == 2_000_000
    net.tick(3)
    assert net.query(target, "ran") == bytes(4)
