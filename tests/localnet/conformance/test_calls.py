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


def test_rejects_reach_the_callback_with_code_and_text(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    assert rejection(net.update(caller, "call", to(callee, "refuse"))) == (4, "hello")
    code, text = rejection(net.update(caller, "call", to(callee, "fail")))
    assert (code, "trapped: unreachable" in text) == (5, True)
    code, text = rejection(net.update(caller, "call", to(callee, "silent")))
    assert (code, "did not reply" in text) == (5, True)
    code, text = rejection(net.update(caller, "call", to(callee, "missing")))
    assert (code, "has no update method 'missing'" in text) == (5, True)
    nobody = Principal(bytes(8) + b"\x01\x01")
    code, text = rejection(net.update(caller, "call", to(nobody, "hello")))
    assert (code, "not found" in text) == (3, True)
    assert number(net.query(callee, "calls")) == 0


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


def test_composite_queries_call_queries_and_leave_no_trace(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    assert net.query(caller, "ask", to(callee, "hello_query")) == b"\x05\0\0\0hello"
    code, text = rejection(net.query(caller, "ask", to(callee, "hello")))
    assert (code, "has no query method 'hello'" in text) == (5, True)
    code, text = rejection(net.query(caller, "ask", to(caller, "ask")))
    assert (code, "loop" in text) == (5, True)
    with pytest.raises(CallRejected, match="Composite query cannot be called in replicated mode"):
        net.update(caller, "ask", to(callee, "hello_query"))


def test_a_stopping_canister_waits_for_its_open_calls(net: Network, pair: tuple[Principal, Principal]) -> None:
    caller, callee = pair
    waiting = net.submit(caller, "call", to(caller, "call"))
    net.stop(caller)
    assert net.canister_status(caller)["status"] == ("stopped", None)
    with pytest.raises(CallRejected):
        net.wait(waiting)
    with pytest.raises(CallRejected, match="is stopped") as caught:
        net.update(caller, "call", to(callee, "hello"))
    assert caught.value.error_code == "CanisterStopped"
    net.start(caller)
    assert net.update(caller, "call", to(callee, "hello")) == b"\x05\0\0\0hello"


def test_a_call_to_a_stopped_canister_is_rejected_to_the_caller(
    net: Network, pair: tuple[Principal, Principal]
) -> None:
    caller, callee = pair
    net.stop(callee)
    code, text = rejection(net.update(caller, "call", to(callee, "hello")))
    assert (code, "is stopped" in text) == (5, True)


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


def test_at_most_500_calls_to_one_canister_may_be_open(net: Network) -> None:
    body = """
    (table 1 funcref) (elem (i32.const 0) $ignore)
    (func $ignore (param i32))
    (func (export "canister_update hello"))
    (func (export "canister_update flood")
      (local $made i32)
      (call $canister_self_copy (i32.const 200) (i32.const 0) (i32.const 10))
      (block $full (loop $next
        (call $call_new (i32.const 200) (i32.const 10) (i32.const 300) (i32.const 5)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (br_if $full (call $call_perform))
        (local.set $made (i32.add (local.get $made) (i32.const 1)))
        (br $next)))
      (call $answer32 (local.get $made)))
    """
    target = net.deploy(canister(body, {300: b"hello"}))
    assert number(net.update(target, "flood")) == 500


def test_a_call_from_outside_may_have_two_mebibytes(net: Network) -> None:
    target = net.deploy(canister('(func (export "canister_update size") (call $answer32 (call $msg_arg_data_size)))'))
    most = 2 * 1024 * 1024 - len("size")
    assert number(net.update(target, "size", bytes(most))) == most
    with pytest.raises(ConnectionError, match="too large"):
        net.update(target, "size", bytes(most + 1))
