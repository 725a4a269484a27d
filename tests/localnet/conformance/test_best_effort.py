"""Calls with a best-effort response: deadlines, expiry, late answers, and the cycles that went along.

Source: IC interface specification, ``ic0.call_with_best_effort_response`` and "Call expiry"; the longest wait and
whole-second deadlines are the replica's.
"""

import pytest

from tests.localnet.two_subnets import TwoSubnets
from tests.localnet.wat import GATE, canister, holder, number, rejection, word
from tests.support.network import CallRejected, Network, Principal

SECOND = 1_000_000_000
CALLER = """
(table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
(func $on_reply (param i32)
  (call $msg_arg_data_copy (i32.const 2000) (i32.const 0) (call $msg_arg_data_size))
  (call $answer (i32.const 2000) (call $msg_arg_data_size)))
(func $on_reject (param i32)
  (i32.store (i32.const 2000) (call $msg_reject_code))
  (call $msg_reject_msg_copy (i32.const 2004) (i32.const 0) (call $msg_reject_msg_size))
  (call $answer (i32.const 2000) (i32.add (i32.const 4) (call $msg_reject_msg_size))))
;; the argument: timeout in seconds (4 bytes), callee (10), length of the name (1), name, payload
(func (export "canister_update call")
  (local $end i32) (local $name i32)
  (local.set $end (i32.add (i32.const 1000) (call $argument (i32.const 1000))))
  (local.set $name (i32.load8_u (i32.const 1014)))
  (call $call_new (i32.const 1004) (i32.const 10) (i32.const 1015) (local.get $name)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (call $call_with_best_effort_response (i32.load (i32.const 1000)))
  (call $call_data_append (i32.add (i32.const 1015) (local.get $name))
    (i32.sub (local.get $end) (i32.add (i32.const 1015) (local.get $name))))
  (call $call_cycles_add128 (i64.const 0) (i64.const 1000000000000))
  (drop (call $call_perform)))
(func (export "canister_update twice")
  (call $call_new (i32.const 1004) (i32.const 0) (i32.const 1015) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (call $call_with_best_effort_response (i32.const 10)) (call $call_with_best_effort_response (i32.const 10)))
(func (export "canister_update too_late") (call $call_with_best_effort_response (i32.const 10)))
(func (export "canister_query ping") (call $msg_reply))
"""
CALLEE = """
(table 1 funcref) (elem (i32.const 0) $tell)
(func $tell (param i32) (call $answer64 (call $msg_deadline)))
(func (export "canister_update deadline") (call $answer64 (call $msg_deadline)))
(func (export "canister_query deadline_in_query") (call $answer64 (call $msg_deadline)))
(func (export "canister_update nothing") (call $msg_reply))
(func (export "canister_update deadline_in_callback")
  (call $canister_self_copy (i32.const 100) (i32.const 0) (i32.const 10))
  (call $call_new (i32.const 100) (i32.const 10) (i32.const 200) (i32.const 7)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (drop (call $call_perform)))
"""


def calling(callee: Principal, method: str, timeout: int, payload: bytes = b"") -> bytes:
    return word(timeout) + callee.bytes + bytes([len(method)]) + method.encode() + payload


@pytest.fixture
def pair(net: Network) -> tuple[Principal, Principal]:
    return net.deploy(canister(CALLER)), net.deploy(canister(CALLEE, {200: b"nothing"}))


def test_the_callee_and_its_callbacks_see_the_deadline(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    for method in ("deadline", "deadline_in_callback"):
        before = net.time()
        deadline = number(net.update(caller, "call", calling(callee, method, 20)))
        assert before - SECOND <= deadline - 20 * SECOND <= net.time()


def test_a_wait_is_at_most_five_minutes(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    deadline = number(net.update(caller, "call", calling(callee, "deadline", 100_000)))
    assert deadline <= net.time() + 300 * SECOND


def test_other_calls_and_queries_have_no_deadline(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    assert number(net.update(callee, "deadline")) == 0
    assert number(net.query(callee, "deadline_in_query")) == 0
    assert number(net.update(caller, "call", calling(callee, "deadline_in_query", 20))) == 0


def test_the_wait_is_set_once_and_for_a_call_under_construction(
    net: Network, pair: tuple[Principal, Principal]
) -> None:
    caller, _ = pair
    for method in ("twice", "too_late"):
        with pytest.raises(CallRejected) as caught:
            net.update(caller, method)
        assert caught.value.error_code == "CanisterContractViolation"


@pytest.fixture
def far(two: TwoSubnets) -> tuple[Network, Principal, Principal, Principal]:
    """A caller and a holder on one subnet, and the holder's gate on another."""
    caller = two.deploy(two.first, canister(CALLER))
    return two.net, caller, two.deploy(two.first, holder()), two.deploy(two.second, canister(GATE))


def test_a_call_that_is_not_answered_in_time_is_unknown_to_its_caller(
    far: tuple[Network, Principal, Principal, Principal],
) -> None:
    net, caller, held, gate = far
    waiting = net.submit(caller, "call", calling(held, "hold", 30, gate.bytes))
    net.tick(3)
    net.advance(20)
    assert net.status(waiting) is None
    net.advance(20)
    code, text = rejection(net.wait(waiting))
    assert (code, "deadline" in text) == (6, True)
    # The callee goes on; its answer finds nobody, and the caller can stop meanwhile.
    net.stop(caller)
    net.start(caller)
    net.update(gate, "open")
    net.tick(4)
    net.stop(held)
    assert net.canister_status(held)["status"] == ("stopped", None)
    assert net.query(caller, "ping") == b""


def test_an_answer_in_time_is_delivered_once(far: tuple[Network, Principal, Principal, Principal]) -> None:
    net, caller, held, gate = far
    waiting = net.submit(caller, "call", calling(held, "hold", 30, gate.bytes))
    net.tick(3)
    net.update(gate, "open")
    assert number(net.wait(waiting)) == 1
    net.advance(60)
    net.stop(caller)
    assert net.canister_status(caller)["status"] == ("stopped", None)


def test_a_call_that_waited_too_long_for_its_callee_never_runs(two: TwoSubnets) -> None:
    busy = """
    (global $ran (mut i32) (i32.const 0))
    (func (export "canister_update run") (global.set $ran (i32.const 1)) (call $msg_reply))
    (func (export "canister_query ran") (call $answer32 (global.get $ran)))
    """
    caller, callee = two.deploy(two.first, canister(CALLER)), two.deploy(two.second, canister(busy))
    # Half a minute passes while the call is on its way to the other subnet.
    waiting = two.net.submit(caller, "call", calling(callee, "run", 10))
    two.net.tick()
    two.net.advance(30)
    code, _ = rejection(two.net.wait(waiting))
    two.net.tick(3)
    assert code == 6
    assert number(two.net.query(callee, "ran")) == 0
