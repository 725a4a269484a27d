"""Two application subnets: calls, their order and sizes, management calls, certificates, what does not cross."""

import pytest

from localnet import candid
from localnet import management_types as types
from tests.localnet.two_subnets import MANAGING, Pair, TwoSubnets, caller_and_callee, managing
from tests.localnet.wat import CALLER, canister, number, rejection, to
from tests.support.network import CallRejected, Principal

MIB = 1024 * 1024
MANAGER = CALLER.replace(
    "(i32.const 1000) (i32.const 10) (i32.const 1010)", "(i32.const 1000) (i32.const 0) (i32.const 1010)"
)
"""CALLER for the management canister: the argument is 10 bytes nobody looks at, and the method's name."""


@pytest.fixture
def pair(two: TwoSubnets) -> Pair:
    return caller_and_callee(two)


def test_a_call_crosses_to_the_other_subnet_and_its_answer_comes_back(pair: Pair) -> None:
    net = pair.net
    assert pair.home(pair.caller) == pair.first.bytes
    assert pair.home(pair.callee) == pair.second.bytes
    assert net.update(pair.caller, "call", to(pair.callee, "hello")) == b"\x05\0\0\0hello"
    assert rejection(net.update(pair.caller, "call", to(pair.callee, "refuse"))) == (4, "hello")
    code, text = rejection(net.update(pair.caller, "call", to(pair.callee, "fail")))
    assert (code, "trapped" in text) == (5, True)


def test_a_message_to_another_subnet_arrives_in_a_later_round(pair: Pair) -> None:
    net = pair.net
    waiting = net.submit(pair.caller, "call", to(pair.callee, "hello"))
    net.tick()
    assert net.status(waiting) is None
    assert number(net.query(pair.callee, "calls")) == 0
    assert net.wait(waiting) == b"\x05\0\0\0hello"


def test_cycles_and_refunds_cross(pair: Pair) -> None:
    assert number(pair.net.update(pair.caller, "call_with_cycles", to(pair.callee, "take_some"))) == 700_000


def test_a_canister_that_does_not_exist_there_is_a_reject(pair: Pair) -> None:
    net = pair.net
    net.stop(pair.callee)
    code, text = rejection(net.update(pair.caller, "call", to(pair.callee, "hello")))
    assert (code, "is stopped" in text) == (5, True)
    net.delete(pair.callee)
    code, text = rejection(net.update(pair.caller, "call", to(pair.callee, "hello")))
    assert (code, pair.callee.to_str() in text) == (3, True)


def test_calls_arrive_in_the_order_they_were_made(pair: Pair) -> None:
    sender = """
    (table 1 funcref) (elem (i32.const 0) $ignore) (func $ignore (param i32))
    (func (export "canister_update send")
      (local $n i32)
      (drop (call $argument (i32.const 100)))
      (loop $next
        (call $call_new (i32.const 100) (i32.const 10) (i32.const 200) (i32.const 3)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (i32.store8 (i32.const 300) (local.get $n))
        (call $call_data_append (i32.const 300) (i32.const 1))
        (drop (call $call_perform))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $n) (i32.const 200))))
      (call $msg_reply))
    """
    receiver = """
    (global $end (mut i32) (i32.const 1000))
    (func (export "canister_update add")
      (drop (call $argument (global.get $end)))
      (global.set $end (i32.add (global.get $end) (i32.const 1))) (call $msg_reply))
    (func (export "canister_query all")
      (call $answer (i32.const 1000) (i32.sub (global.get $end) (i32.const 1000))))
    """
    net = pair.net
    source = pair.deploy(pair.first, canister(sender, {200: b"add"}))
    for subnet in (pair.first, pair.second):
        sink = pair.deploy(subnet, canister(receiver))
        net.update(source, "send", sink.bytes)
        net.tick(5)
        assert net.query(sink, "all") == bytes(range(200))


SIZES = """
(table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
(func $on_reply (param i32)
  (call $msg_arg_data_copy (i32.const 100) (i32.const 0) (call $msg_arg_data_size))
  (call $answer (i32.const 100) (call $msg_arg_data_size)))
(func $on_reject (param i32)
  (call $msg_reject_msg_copy (i32.const 100) (i32.const 0) (call $msg_reject_msg_size))
  (call $msg_reject (i32.const 100) (call $msg_reject_msg_size)))
(func (export "canister_update size") (call $answer32 (call $msg_arg_data_size)))
(func (export "canister_update send")
  (drop (call $argument (i32.const 100)))
  (call $call_new (i32.const 104) (i32.const 10) (i32.const 300) (i32.const 4)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (call $call_data_append (i32.const 0) (i32.load (i32.const 100)))
  (drop (call $call_perform)))
"""


def test_a_call_to_another_subnet_may_have_two_mebibytes(pair: Pair) -> None:
    module = canister(SIZES, {300: b"size"}, memory="40")
    near, far = pair.deploy(pair.first, module), pair.deploy(pair.second, module)
    most = 2 * MIB - len("size")
    assert number(pair.net.update(near, "send", most.to_bytes(4, "little") + far.bytes)) == most
    with pytest.raises(CallRejected, match=r"2097153.* 2097152"):
        pair.net.update(near, "send", (most + 1).to_bytes(4, "little") + far.bytes)
    assert number(pair.net.update(near, "send", (most + 1).to_bytes(4, "little") + near.bytes)) == most + 1


def test_composite_queries_stay_on_their_subnet(pair: Pair) -> None:
    code, text = rejection(pair.net.query(pair.caller, "ask", to(pair.callee, "hello_query")))
    assert (code in (3, 5), "not found" in text) == (True, True)


def test_randomness_comes_from_the_subnet_of_the_caller(pair: Pair) -> None:
    drawn = set()
    for subnet in (pair.first, pair.second):
        random = pair.deploy(subnet, canister(MANAGER))
        drawn.add(pair.net.update(random, "call", to(random, "raw_rand"))[-32:])
    assert len(drawn) == 2


def test_management_calls_reach_canisters_on_the_other_subnet(pair: Pair) -> None:
    net = pair.net
    manager = pair.deploy(pair.first, canister(MANAGING))
    net.update_settings(pair.callee, controllers=[manager, Principal.anonymous()])
    about = {"canister_id": pair.callee.bytes}
    waiting = net.submit(manager, "run", managing(b"", "stop_canister", types.CANISTER_ID, about))
    net.tick()
    assert net.canister_status(pair.callee)["status"] == ("running", None)
    net.wait(waiting)
    assert net.canister_status(pair.callee)["status"] == ("stopped", None)
    status = net.update(manager, "run", managing(b"", "canister_status", types.CANISTER_ID, about))
    assert candid.decode(status, [types.STATUS])[0]["status"] == ("stopped", None)
    before = net.cycles(pair.callee)
    net.update(manager, "run", managing(b"", "deposit_cycles", types.CANISTER_ID, about))
    assert net.cycles(pair.callee) - before == pytest.approx(1_000_000_000_000, rel=0.001)
    other = pair.deploy(pair.first, canister(MANAGING))
    with pytest.raises(CallRejected, match=r"(?i)controllers of the canister"):
        net.update(other, "run", managing(b"", "start_canister", types.CANISTER_ID, about))


def test_a_canister_creates_canisters_on_its_own_subnet(pair: Pair) -> None:
    for subnet in (pair.first, pair.second):
        manager = pair.deploy(subnet, canister(MANAGING))
        reply = pair.net.update(manager, "run", managing(b"", "create_canister", types.CREATE, {}))
        created = Principal(candid.decode(reply, [types.CANISTER_ID])[0]["canister_id"])
        assert pair.home(created) == subnet.bytes


def test_stopping_waits_for_answers_from_the_other_subnet(pair: Pair) -> None:
    net = pair.net
    waiting = net.submit(pair.caller, "call", to(pair.callee, "hello"))
    net.tick()
    net.stop(pair.caller)
    assert net.status(waiting) == b"\x05\0\0\0hello"
    assert net.canister_status(pair.caller)["status"] == ("stopped", None)
