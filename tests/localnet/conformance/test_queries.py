"""Queries: replicated or not, composite, what they may call, and how far."""

import pytest

from tests.localnet.wat import CALLEE, CALLER, canister, number, rejection, to
from tests.support.network import CallRejected, Network

MAX_DEPTH = 6


def test_a_query_called_as_an_update_leaves_no_trace(net: Network) -> None:
    body = """
    (global $count (mut i32) (i32.const 0))
    (func (export "canister_query count")
      (global.set $count (i32.add (global.get $count) (i32.const 1))) (call $answer32 (global.get $count)))
    """
    target = net.deploy(canister(body))
    assert [number(net.update(target, "count")) for _ in range(2)] == [1, 1]
    assert number(net.query(target, "count")) == 1


def test_composite_queries_call_queries_and_leave_no_trace(net: Network) -> None:
    caller, callee = net.deploy(canister(CALLER)), net.deploy(canister(CALLEE, {100: b"hello"}))
    assert net.query(caller, "ask", to(callee, "hello_query")) == b"\x05\0\0\0hello"
    code, text = rejection(net.query(caller, "ask", to(callee, "hello")))
    assert (code, "has no query method 'hello'" in text) == (5, True)
    with pytest.raises(CallRejected, match="Composite query cannot be called in replicated mode"):
        net.update(caller, "ask", to(callee, "hello_query"))


@pytest.mark.localnet_only("a canister that is called again while it waits is refused, as replicas once did")
def test_a_composite_query_that_comes_back_to_a_waiting_canister_is_refused(net: Network) -> None:
    caller = net.deploy(canister(CALLER))
    code, text = rejection(net.query(caller, "ask", to(caller, "ask")))
    assert (code, "loop" in text) == (5, True)


STATEFUL = """
(table 1 funcref) (elem (i32.const 0) $on_reply)
(global $seen (mut i32) (i32.const 1))
(func $on_reply (param i32) (call $answer32 (global.get $seen)))
(func (export "canister_composite_query ask")
  (drop (call $argument (i32.const 1000)))
  (global.set $seen (i32.const 7))
  (call $call_new (i32.const 1000) (i32.const 10) (i32.const 200) (i32.const 11)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (drop (call $call_perform)))
(func (export "canister_query seen") (call $answer32 (global.get $seen)))
"""


def test_what_a_composite_query_changed_lives_until_it_ends(net: Network) -> None:
    target = net.deploy(canister(STATEFUL, {200: b"hello_query"}))
    callee = net.deploy(canister(CALLEE, {100: b"hello"}))
    assert number(net.query(target, "ask", callee.bytes)) == 7
    assert number(net.query(target, "seen")) == 1


CHAIN = """
(table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
(func $on_reply (param i32)
  (call $msg_arg_data_copy (i32.const 2000) (i32.const 0) (call $msg_arg_data_size))
  (call $answer32 (i32.add (i32.const 1) (i32.load (i32.const 2000)))))
(func $on_reject (param i32) (call $msg_reject (i32.const 2000) (i32.const 0)))
;; the argument: the ids still to be called, 10 bytes each
(func (export "canister_composite_query chain")
  (local $size i32)
  (local.set $size (call $argument (i32.const 1000)))
  (if (local.get $size)
    (then
      (call $call_new (i32.const 1000) (i32.const 10) (i32.const 200) (i32.const 5)
        (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
      (call $call_data_append (i32.const 1010) (i32.sub (local.get $size) (i32.const 10)))
      (drop (call $call_perform)))
    (else (call $answer32 (i32.const 0)))))
"""


def test_composite_queries_nest_six_deep(net: Network) -> None:
    module = canister(CHAIN, {200: b"chain"})
    canisters = [net.deploy(module) for _ in range(MAX_DEPTH + 2)]
    most = b"".join(target.bytes for target in canisters[1 : MAX_DEPTH + 1])
    assert number(net.query(canisters[0], "chain", most)) == MAX_DEPTH
    with pytest.raises(CallRejected) as caught:
        net.query(canisters[0], "chain", most + canisters[-1].bytes)
    assert caught.value.error_code == "QueryCallGraphTooDeep"


MANY = """
(table 1 funcref) (elem (i32.const 0) $next)
(global $done (mut i32) (i32.const 0))
(global $want (mut i32) (i32.const 0))
(func $call
  (call $call_new (i32.const 1004) (i32.const 10) (i32.const 200) (i32.const 11)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (drop (call $call_perform)))
(func $next (param i32)
  (global.set $done (i32.add (global.get $done) (i32.const 1)))
  (if (i32.eq (global.get $done) (global.get $want))
    (then (call $answer32 (global.get $done)))
    (else (if (i32.eqz (i32.load (i32.const 1014))) (then (call $call))))))
;; the argument: how many calls, callee, and whether to make them all at once
(func (export "canister_composite_query many")
  (local $left i32)
  (drop (call $argument (i32.const 1000)))
  (global.set $want (i32.load (i32.const 1000)))
  (if (i32.load8_u (i32.const 1014))
    (then
      (local.set $left (global.get $want))
      (loop $again
        (call $call)
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left))))
    (else (call $call))))
"""


@pytest.mark.parametrize("at_once", [0, 1])
def test_a_composite_query_may_make_many_calls_one_after_the_other_or_at_once(net: Network, at_once: int) -> None:
    target = net.deploy(canister(MANY, {200: b"hello_query"}))
    callee = net.deploy(canister(CALLEE, {100: b"hello"}))
    argument = (90).to_bytes(4, "little") + callee.bytes + bytes([at_once])
    assert number(net.query(target, "many", argument)) == 90
    with pytest.raises(CallRejected) as caught:
        net.query(target, "many", (110).to_bytes(4, "little") + argument[4:])
    assert caught.value.error_code == "QueryCallGraphTotalInstructionLimitExceeded"


def test_the_certificate_is_for_the_canister_the_user_asked(net: Network) -> None:
    certified = """
    (func (export "canister_query hello_query") (call $answer32 (call $data_certificate_present)))
    (func (export "canister_query copy") (drop (call $data_certificate_size)) (call $msg_reply))
    """
    caller, callee = net.deploy(canister(CALLER)), net.deploy(canister(certified))
    assert number(net.query(callee, "hello_query")) == 1
    assert net.query(caller, "ask", to(callee, "hello_query"))[4:] == bytes(4)
    code, _ = rejection(net.query(caller, "ask", to(callee, "copy")))
    assert code == 5


def test_the_call_context_s_counter_grows_over_the_callbacks_of_a_composite_query(net: Network) -> None:
    body = """
    (table 1 funcref) (elem (i32.const 0) $on_reply)
    (func $work (local $n i32) (local.set $n (i32.const 10000)) (loop $again
      (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))))
    (func $on_reply (param i32)
      (i64.store (i32.const 16) (call $performance_counter (i32.const 0)))
      (i64.store (i32.const 24) (call $performance_counter (i32.const 1)))
      (call $answer (i32.const 16) (i32.const 16)))
    (func $ask
      (drop (call $argument (i32.const 1000))) (call $work)
      (call $call_new (i32.const 1000) (i32.const 10) (i32.const 200) (i32.const 11)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (drop (call $call_perform)))
    (func (export "canister_composite_query ask") (call $ask))
    (func (export "canister_update call") (call $ask))
    """
    target = net.deploy(canister(body, {200: b"hello_query"}))
    callee = net.deploy(canister(CALLEE, {100: b"hello"}))
    for run, method in ((net.query, "ask"), (net.update, "call")):
        reply = run(target, method, callee.bytes)
        message, context = number(reply[:8]), number(reply[8:])
        assert message < 10_000
        assert context - message > 50_000
