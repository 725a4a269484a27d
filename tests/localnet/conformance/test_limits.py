"""Instructions of a message by its kind, sizes of arguments, open calls, and how long answers are kept."""

import pytest

from tests.localnet.wat import canister, number
from tests.support.network import CallRejected, Network

WORK = """
;; fills half a heap of 128 MiB so many times: an instruction per byte
(func $work (local $n i32)
  (drop (call $argument (i32.const 16))) (local.set $n (i32.load (i32.const 16)))
  (loop $again
    (memory.fill (i32.const 1024) (i32.const 7) (i32.const 67108864))
    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
    (br_if $again (local.get $n))))
(func (export "canister_update work") (call $work) (call $answer64 (call $performance_counter (i32.const 0))))
(func (export "canister_query work_in_query")
  (call $work) (call $answer64 (call $performance_counter (i32.const 0))))
"""
FILL = 67_108_864
QUERY_LIMIT = 5_000_000_000
UPDATE_LIMIT = 40_000_000_000


def test_a_query_may_take_five_billion_instructions(net: Network) -> None:
    target = net.deploy(canister(WORK, memory="2048"))
    most = QUERY_LIMIT // FILL
    assert 0.9 * QUERY_LIMIT < number(net.query(target, "work_in_query", most.to_bytes(4, "little"))) <= QUERY_LIMIT
    with pytest.raises(CallRejected) as caught:
        net.query(target, "work_in_query", (most + 1).to_bytes(4, "little"))
    assert caught.value.error_code == "CanisterInstructionLimitExceeded"


def test_an_update_may_take_forty_billion_instructions(net: Network) -> None:
    target = net.deploy(canister(WORK, memory="2048"))
    most = UPDATE_LIMIT // FILL
    assert 0.9 * UPDATE_LIMIT < number(net.update(target, "work", most.to_bytes(4, "little"))) <= UPDATE_LIMIT
    with pytest.raises(CallRejected) as caught:
        net.update(target, "work", (most + 1).to_bytes(4, "little"))
    assert caught.value.error_code == "CanisterInstructionLimitExceeded"


def test_five_hundred_calls_to_a_canister_may_be_open_and_then_call_perform_says_so(net: Network) -> None:
    body = """
    (table 1 funcref) (elem (i32.const 0) $back)
    (global $back (mut i32) (i32.const 0))
    (func $back (param i32) (global.set $back (i32.add (global.get $back) (i32.const 1))))
    (func (export "canister_update hello") (call $msg_reply))
    (func $call (result i32)
      (call $call_new (i32.const 200) (i32.const 10) (i32.const 300) (i32.const 5)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $call_cycles_add128 (i64.const 0) (i64.const 1000000))
      (call $call_perform))
    ;; calls until it cannot; answers with how often it could, why it could not, and what the failed call cost
    (func (export "canister_update flood")
      (local $made i32) (local $why i32) (local $before i64)
      (drop (call $argument (i32.const 200)))
      (loop $next
        (local.set $before (call $canister_cycle_balance))
        (local.set $why (call $call))
        (if (i32.eqz (local.get $why))
          (then (local.set $made (i32.add (local.get $made) (i32.const 1))) (br $next))))
      (i32.store (i32.const 16) (local.get $made))
      (i32.store (i32.const 20) (local.get $why))
      (i64.store (i32.const 24) (i64.sub (local.get $before) (call $canister_cycle_balance)))
      (call $answer (i32.const 16) (i32.const 16)))
    (func (export "canister_query back") (call $answer32 (global.get $back)))
    """
    module = canister(body, {300: b"hello"})
    # Each open call sets 40 B cycles aside for its answer.
    target, other = net.deploy(module), net.create()
    for callee in (target, other):
        reply = net.update(target, "flood", callee.bytes)
        assert [number(reply[at : at + 4]) for at in (0, 4)] == [500, 2]
        assert number(reply[8:]) == 0
        net.tick(5)
    assert number(net.query(target, "back")) == 1000


def test_the_answer_to_a_call_is_kept_for_some_minutes(net: Network) -> None:
    target = net.deploy(canister('(func (export "canister_update hello") (call $answer32 (i32.const 7)))'))
    message = net.submit(target, "hello")
    assert number(net.wait(message)) == 7
    net.advance(60)
    assert net.status(message) is not None
    net.advance(60 * 60)
    net.tick()
    assert net.status(message) is None
