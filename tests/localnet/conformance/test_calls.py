"""Calls between canisters: replies, rejects, cycles, clean-up, call contexts, composite queries."""

import pytest

from tests.localnet.wat import CALLEE, CALLER, NOTHING, canister, number, rejection, to
from tests.support.network import CallRejected, Network, Principal


@pytest.fixture
def pair(net: Network) -> tuple[Principal, Principal]:
    """A caller and a callee."""
    return net.deploy(canister(CALLER)), net.deploy(canister(CALLEE, {100: b"hello"}))


def test_a_reply_reaches_the_callback_with_its_environment(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    assert net.update(caller, "call", to(callee, "hello")) == b"\x05\0\0\0hello"
    assert net.update(caller, "call", to(callee, "hello_query")) == b"\x05\0\0\0hello"


def test_a_trap_after_call_perform_takes_the_call_back(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    with pytest.raises(CallRejected, match="unreachable"):
        net.update(caller, "call_and_trap", to(callee, "hello"))
    net.tick(3)
    assert number(net.query(callee, "calls")) == 0


def test_a_trap_in_a_callback_runs_the_clean_up_and_keeps_what_it_did(
    net: Network, pair: tuple[Principal, Principal]
) -> None:
    caller, callee = pair
    with pytest.raises(CallRejected, match="unreachable"):
        net.update(caller, "trap_in_callback", to(callee, "hello"))
    assert number(net.query(caller, "seen")) == 7
    assert number(net.query(callee, "calls")) == 1


def test_a_trap_in_the_clean_up_is_undone_too_and_told(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    with pytest.raises(CallRejected, match="call_on_cleanup also failed"):
        net.update(caller, "trap_in_cleanup", to(callee, "hello"))
    assert number(net.query(caller, "seen")) == 0


def test_a_call_context_that_can_never_answer_is_rejected(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    with pytest.raises(CallRejected, match="did not reply") as caught:
        net.update(caller, "silent_callback", to(callee, "hello"))
    assert caught.value.error_code == "CanisterDidNotReply"


def test_one_way_calls_need_no_callbacks(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    assert net.update(caller, "fire_and_forget", to(callee, "hello")) == b""
    net.tick(3)
    assert number(net.query(callee, "calls")) == 1
    assert NOTHING == 0xFFFFFFFF


def test_cycles_nobody_accepted_come_back(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    before = net.cycles(callee)
    assert number(net.update(caller, "call_with_cycles", to(callee, "take_some"))) == 700_000
    # The callee pays for the execution out of what it took and more.
    assert before - net.cycles(callee) < 10_000_000
    code, _ = rejection(net.update(caller, "call_with_cycles", to(callee, "take_and_trap")))
    assert code == 5


def test_cycles_are_conserved_over_calls_but_for_the_fees(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    costs = []
    for method in ("take_some", "hello"):
        before = net.cycles(caller)
        net.update(caller, "call_with_cycles", to(callee, method))
        costs.append(before - net.cycles(caller))
    # One call hands over 300 000 cycles more; sizes and instructions differ only a little.
    assert 280_000 < costs[0] - costs[1] < 340_000


def test_the_management_canister_answers_canisters(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, _ = pair
    body = CALLER.replace(
        "(i32.const 1000) (i32.const 10) (i32.const 1010)", "(i32.const 1000) (i32.const 0) (i32.const 1010)"
    )
    random = net.deploy(canister(body))
    replies = {net.update(random, "call", to(caller, "raw_rand"))[-32:] for _ in range(3)}
    assert len(replies) == 3
    code, text = rejection(net.update(random, "call", to(caller, "no_such_method")))
    assert (code, "no_such_method" in text) == (5, True)


def test_payloads_between_canisters_may_have_ten_mebibytes(net: Network) -> None:
    body = """
    (table 1 funcref) (elem (i32.const 0) $on_reply)
    (func $on_reply (param i32)
      (call $msg_arg_data_copy (i32.const 100) (i32.const 0) (call $msg_arg_data_size))
      (call $answer (i32.const 100) (call $msg_arg_data_size)))
    (func (export "canister_update size") (call $answer32 (call $msg_arg_data_size)))
    (func (export "canister_update send")
      (drop (call $argument (i32.const 100)))
      (call $canister_self_copy (i32.const 200) (i32.const 0) (i32.const 10))
      (call $call_new (i32.const 200) (i32.const 10) (i32.const 300) (i32.const 4)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $call_data_append (i32.const 0) (i32.load (i32.const 100)))
      (drop (call $call_perform)))
    """
    target = net.deploy(canister(body, {300: b"size"}, memory="170"))
    most = 10 * 1024 * 1024 - len("size")
    assert number(net.update(target, "send", most.to_bytes(4, "little"))) == most
    with pytest.raises(CallRejected, match="cannot be larger than 10485760"):
        net.update(target, "send", (most + 1).to_bytes(4, "little"))


def test_a_call_from_outside_may_have_two_mebibytes(net: Network) -> None:
    target = net.deploy(canister('(func (export "canister_update size") (call $answer32 (call $msg_arg_data_size)))'))
    most = 2 * 1024 * 1024 - len("size")
    assert number(net.update(target, "size", bytes(most))) == most
    with pytest.raises(ConnectionError, match="too large"):
        net.update(target, "size", bytes(most + 1))


BUILDING = """
(table 1 funcref) (elem (i32.const 0) $done) (func $done (param i32))
(func $begin
  (call $canister_self_copy (i32.const 100) (i32.const 0) (i32.const 10))
  (call $call_new (i32.const 100) (i32.const 10) (i32.const 200) (i32.const 4)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
(func $pay (param i64) (call $call_cycles_add128 (i64.const 0) (local.get 0)))
(func (export "canister_update echo") (call $msg_reply))
(func (export "canister_update append_after") (call $begin) (drop (call $call_perform))
  (call $call_data_append (i32.const 0) (i32.const 1)))
(func (export "canister_update pay_after") (call $begin) (drop (call $call_perform)) (call $pay (i64.const 1)))
(func (export "canister_update perform_twice") (call $begin) (drop (call $call_perform)) (drop (call $call_perform)))
(func (export "canister_update two_clean_ups") (call $begin)
  (call $call_on_cleanup (i32.const 0) (i32.const 0)) (call $call_on_cleanup (i32.const 0) (i32.const 0)))
(func (export "canister_update long_name")
  (call $call_new (i32.const 100) (i32.const 10) (i32.const 0) (i32.const 20001)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
(func (export "canister_update no_principal")
  (call $call_new (i32.const 100) (i32.const 30) (i32.const 200) (i32.const 4)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
(func (export "canister_update pay_too_much") (call $begin) (call $pay (i64.add (call $liquid) (i64.const 1))))
(func $liquid (result i64)
  (call $canister_liquid_cycle_balance128 (i32.const 120)) (i64.load (i32.const 120)))
;; attaches cycles to a call that it replaces by another; answers with what it is short of in between and then
(func (export "canister_update replaced")
  (local $before i64)
  (local.set $before (call $canister_cycle_balance))
  (call $begin) (call $pay (i64.const 5000))
  (i64.store (i32.const 300) (i64.sub (local.get $before) (call $canister_cycle_balance)))
  (call $begin)
  (i64.store (i32.const 308) (i64.sub (local.get $before) (call $canister_cycle_balance)))
  (call $answer (i32.const 300) (i32.const 16)))
(func (export "canister_update abandoned") (call $begin) (call $pay (i64.const 1000000000000)) (call $msg_reply))
"""


@pytest.mark.parametrize(
    "method",
    [
        "append_after",
        "pay_after",
        "perform_twice",
        "two_clean_ups",
        "long_name",
        "no_principal",
        "pay_too_much",
    ],
)
def test_a_call_that_is_built_wrongly_traps(net: Network, method: str) -> None:
    target = net.deploy(canister(BUILDING, {200: b"echo"}))
    with pytest.raises(CallRejected) as caught:
        net.update(target, method)
    assert (caught.value.error_code, caught.value.reject_code) == ("CanisterContractViolation", "CanisterError")


def test_cycles_of_a_call_that_is_not_made_stay(net: Network) -> None:
    target = net.deploy(canister(BUILDING, {200: b"echo"}))
    reply = net.update(target, "replaced")
    assert [number(reply[:8]), number(reply[8:])] == [5000, 0]
    before = net.cycles(target)
    net.update(target, "abandoned")
    assert before - net.cycles(target) < 100_000_000


CONTEXTS = """
(table 6 funcref)
(elem (i32.const 0) $accept_then_reply $reply $failing $clean_up $reply_twice $reply)
(global $code (mut i32) (i32.const 99))
(func $call (param $callback i32)
  (call $call_new (i32.const 1000) (i32.const 10) (i32.const 1011) (i32.load8_u (i32.const 1010))
    (local.get $callback) (i32.const 0) (local.get $callback) (i32.const 0)))
(func $perform (drop (call $call_perform)))
(func $accept_then_reply (param i32)
  (i64.store (i32.const 300) (call $msg_cycles_accept (i64.const 400000)))
  (call $answer (i32.const 300) (i32.const 8)))
(func $reply (param i32) (call $answer32 (i32.const 5)))
(func $failing (param i32) unreachable)
(func $clean_up (param i32) (global.set $code (call $msg_reject_code)))
(func $reply_twice (param i32) (call $msg_reply))
(func $read (drop (call $argument (i32.const 1000))))
(func (export "canister_update echo") (call $msg_reply))
(func (export "canister_update accept_late")
  (call $canister_self_copy (i32.const 1000) (i32.const 0) (i32.const 10))
  (call $call (i32.const 0)) (call $perform))
(func (export "canister_update accept_after_reply")
  (local $late i64)
  (i64.store (i32.const 300) (call $msg_cycles_accept (i64.const 100000)))
  (call $msg_reply_data_append (i32.const 300) (i32.const 8))
  (call $msg_reply)
  (global.set $code (i32.wrap_i64 (call $msg_cycles_available)))
  (drop (call $msg_cycles_accept (i64.const 500000))))
(func (export "canister_update one_traps")
  (call $read)
  (call $call (i32.const 2)) (call $perform)
  (call $call (i32.const 1)) (call $perform))
(func (export "canister_update both_trap")
  (call $read)
  (call $call (i32.const 2)) (call $perform)
  (call $call (i32.const 2)) (call $perform))
(func (export "canister_update replied_already")
  (call $read) (call $call (i32.const 4)) (call $perform) (call $msg_reply))
(func (export "canister_update cleaned_up")
  (call $read) (call $call (i32.const 2)) (call $call_on_cleanup (i32.const 3) (i32.const 0)) (call $perform))
(func (export "canister_update not_cleaned_up")
  (call $read) (call $call (i32.const 1)) (call $call_on_cleanup (i32.const 3) (i32.const 0)) (call $perform))
(func (export "canister_query code") (call $answer32 (global.get $code)))
"""


def named(callee: Principal, method: str) -> bytes:
    """The argument for CONTEXTS."""
    return callee.bytes + bytes([len(method)]) + method.encode()


@pytest.fixture
def contexts(net: Network) -> tuple[Principal, Principal]:
    """A canister of CONTEXTS and a callee."""
    return net.deploy(canister(CONTEXTS, {1010: b"\x04echo"})), net.deploy(canister(CALLEE, {100: b"hello"}))


def test_cycles_are_accepted_as_long_as_the_call_is_open(net: Network, contexts: tuple[Principal, Principal]) -> None:
    middle, _ = contexts
    caller = net.deploy(canister(CALLER))
    assert number(net.update(caller, "call_with_cycles", to(middle, "accept_late"))) == 600_000


@pytest.mark.localnet_only("the specification's rule; the replica lets a message accept cycles after its answer")
def test_cycles_are_not_accepted_once_the_call_is_answered(net: Network, contexts: tuple[Principal, Principal]) -> None:
    middle, _ = contexts
    caller = net.deploy(canister(CALLER))
    assert number(net.update(caller, "call_with_cycles", to(middle, "accept_after_reply"))) == 900_000
    assert number(net.query(middle, "code")) == 0


def test_a_trap_in_one_callback_leaves_the_answer_to_another(
    net: Network, contexts: tuple[Principal, Principal]
) -> None:
    middle, callee = contexts
    assert number(net.update(middle, "one_traps", named(callee, "hello"))) == 5
    with pytest.raises(CallRejected, match="unreachable"):
        net.update(middle, "both_trap", named(callee, "hello"))


def test_a_callback_cannot_answer_again(net: Network, contexts: tuple[Principal, Principal]) -> None:
    middle, callee = contexts
    assert net.update(middle, "replied_already", named(callee, "hello")) == b""
    net.tick(3)
    # The callback trapped: it is in the log, and nothing is left open.
    net.stop(middle)
    assert net.canister_status(middle)["status"] == ("stopped", None)


def test_the_clean_up_runs_after_a_trap_alone_and_knows_the_reject(
    net: Network, contexts: tuple[Principal, Principal]
) -> None:
    middle, callee = contexts
    assert number(net.update(middle, "not_cleaned_up", named(callee, "hello"))) == 5
    assert number(net.query(middle, "code")) == 99
    for method, code in (("hello", 0), ("refuse", 4), ("fail", 5)):
        with pytest.raises(CallRejected, match="unreachable"):
            net.update(middle, "cleaned_up", named(callee, method))
        assert number(net.query(middle, "code")) == code


def test_inspect_message_is_not_asked_about_calls_of_canisters(net: Network) -> None:
    refusing = net.deploy(
        canister(CALLEE + '(func (export "canister_inspect_message"))', {100: b"hello"}),
    )
    caller = net.deploy(canister(CALLER))
    with pytest.raises(CallRejected, match="rejected the message"):
        net.submit(refusing, "hello")
    assert net.update(caller, "call", to(refusing, "hello")) == b"\x05\0\0\0hello"
    assert net.query(refusing, "hello_query") == b"hello"
