"""Execution of one message: replies, rejections, traps, rollback, stable memory, limits."""

import pytest

from localnet.prices import Prices
from tests.localnet.wat import COUNTER, canister, number, word
from tests.support.network import CallRejected, Network, Principal


def test_updates_change_state_and_queries_do_not(net: Network) -> None:
    counter = net.deploy(
        canister(
            COUNTER + '(func (export "canister_query spoil") (global.set $count (i32.const 99))'
            " (call $answer32 (global.get $count)))"
        )
    )
    assert number(net.update(counter, "increment")) == 1
    assert number(net.query(counter, "spoil")) == 99
    assert number(net.query(counter, "read")) == 1
    assert number(net.update(counter, "increment")) == 2


ROLLBACK = """
(global $count (mut i32) (i32.const 1))
(func (export "canister_init")
  (drop (call $stable64_grow (i64.const 1)))
  (i32.store (i32.const 200) (i32.const 11))
  (call $stable64_write (i64.const 5000) (i64.const 200) (i64.const 4)))
(func $change
  (global.set $count (i32.const 2))
  (i32.store (i32.const 200) (i32.const 22))
  (call $stable64_write (i64.const 5000) (i64.const 200) (i64.const 4))
  (drop (call $stable64_grow (i64.const 3)))
  (call $stable64_write (i64.const 200000) (i64.const 200) (i64.const 4))
  (drop (memory.grow (i32.const 5)))
  (drop (call $global_timer_set (i64.const 12345)))
  (call $certified_data_set (i32.const 200) (i32.const 4)))
(func (export "canister_update change") (call $change) (call $answer (i32.const 0) (i32.const 0)))
(func (export "canister_update change_and_trap") (call $change) unreachable)
(func (export "canister_query change_in_query") (global.set $count (i32.const 2))
  (i32.store (i32.const 200) (i32.const 22)) (drop (memory.grow (i32.const 5)))
  (call $stable64_write (i64.const 5000) (i64.const 200) (i64.const 4))
  (call $answer (i32.const 0) (i32.const 0)))
(func $state
  (i32.store (i32.const 16) (global.get $count))
  (i32.store (i32.const 20) (i32.load (i32.const 200)))
  (call $stable64_read (i64.const 24) (i64.const 5000) (i64.const 4))
  (i32.store (i32.const 28) (i32.wrap_i64 (call $stable64_size)))
  (i32.store (i32.const 32) (memory.size))
  (call $answer (i32.const 16) (i32.const 20)))
(func (export "canister_query state") (call $state))
(func (export "canister_update update_state") (call $state))
"""


def words(data: bytes) -> list[int]:
    return [number(data[at : at + 4]) for at in range(0, len(data), 4)]


def test_a_trap_leaves_nothing_behind(net: Network) -> None:
    target = net.deploy(canister(ROLLBACK))
    before = words(net.update(target, "update_state"))
    assert before == [1, 11, 11, 1, 1]
    with pytest.raises(CallRejected, match="trapped: unreachable") as caught:
        net.update(target, "change_and_trap")
    assert caught.value.error_code == "CanisterTrapped"
    assert words(net.update(target, "update_state")) == before
    assert net.stable_memory(target)[:8192].count(22) == 0
    net.update(target, "change")
    assert words(net.update(target, "update_state")) == [2, 22, 22, 4, 6]


def test_a_query_that_grows_memory_leaves_its_size_as_it_was(net: Network) -> None:
    target = net.deploy(canister(ROLLBACK))
    for _ in range(3):
        net.query(target, "change_in_query")
    assert words(net.update(target, "update_state")) == [1, 11, 11, 1, 1]
    assert net.canister_status(target)["memory_metrics"]["wasm_memory_size"] == 65536


def test_explicit_traps_and_rejects_carry_their_text(net: Network) -> None:
    body = """
    (func (export "canister_update fail") (call $trap (i32.const 100) (i32.const 4)))
    (func (export "canister_update refuse") (call $msg_reject (i32.const 200) (i32.const 5)))
    (func (export "canister_query silent"))
    (func (export "canister_update silent_update"))
    (func (export "canister_update twice") (call $msg_reply) (call $msg_reply))
    """
    target = net.deploy(canister(body, {100: b"boom", 200: b"never"}))
    with pytest.raises(CallRejected, match=r"Canister called `ic0\.trap` with message: 'boom'") as caught:
        net.update(target, "fail")
    assert (caught.value.error_code, caught.value.reject_code) == ("CanisterCalledTrap", "CanisterError")
    with pytest.raises(CallRejected) as caught:
        net.update(target, "refuse")
    assert (caught.value.reject_code, caught.value.message) == ("CanisterReject", "never")
    for call, method in ((net.query, "silent"), (net.update, "silent_update")):
        with pytest.raises(CallRejected, match="did not reply") as caught:
            call(target, method)
        assert caught.value.error_code == "CanisterDidNotReply"
    with pytest.raises(CallRejected, match="already replied") as caught:
        net.update(target, "twice")
    assert caught.value.error_code == "CanisterContractViolation"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const 65533)))", "heap out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (i32.load (i32.const 300))))", "integer division by 0"),
        ("(call_indirect (type $none) (i32.const 9))", "table out of bounds"),
        ("(call $forever)", "stack overflow"),
        ("(call $stable64_write (i64.const 0) (i64.const 0) (i64.const 1))", "stable memory out of bounds"),
        ("(call $msg_reply_data_append (i32.const 65530) (i32.const 10))", "heap out of bounds"),
    ],
)  # fmt: skip
def test_every_kind_of_trap_has_the_text_of_the_replica(net: Network, code: str, text: str) -> None:
    body = f"""
    (type $none (func)) (table 1 funcref)
    (func $forever (call $forever))
    (func (export "canister_update run") {code})
    """
    target = net.deploy(canister(body))
    with pytest.raises(CallRejected, match=f"trapped: {text}") as caught:
        net.update(target, "run")
    assert caught.value.error_code == "CanisterTrapped"


def test_stable_memory_survives_upgrades_and_heap_does_not(net: Network) -> None:
    body = """
    (func (export "canister_init") (drop (call $stable_grow (i32.const 2))))
    (func (export "canister_update put")
      (call $stable_write (i32.const 70000) (i32.const 16) (call $argument (i32.const 16))))
    (func (export "canister_query heap") (call $answer (i32.const 16) (i32.const 4)))
    (func (export "canister_query stable")
      (call $stable_read (i32.const 16) (i32.const 70000) (i32.const 4)) (call $answer (i32.const 16) (i32.const 4)))
    (func (export "canister_update size") (call $answer32 (call $stable_size)))
    """.replace('(func (export "canister_update put")', '(func (export "canister_update put") (call $msg_reply)')
    module = canister(body)
    target = net.deploy(module)
    net.update(target, "put", b"abcd")
    assert net.query(target, "heap") == b"abcd"
    net.upgrade(target, module)
    assert net.query(target, "heap") == bytes(4)
    assert net.query(target, "stable") == b"abcd"
    assert net.stable_memory(target)[70000:70004] == b"abcd"
    net.reinstall(target, module)
    assert net.query(target, "stable") == bytes(4)
    assert number(net.update(target, "size")) == 2


def test_arguments_callers_ids_and_times_are_what_was_sent(net: Network) -> None:
    body = """
    (func (export "canister_query echo") (call $answer (i32.const 100) (call $argument (i32.const 100))))
    (func (export "canister_query caller")
      (call $msg_caller_copy (i32.const 100) (i32.const 0) (call $msg_caller_size))
      (call $answer (i32.const 100) (call $msg_caller_size)))
    (func (export "canister_query self")
      (call $canister_self_copy (i32.const 100) (i32.const 0) (call $canister_self_size))
      (call $answer (i32.const 100) (call $canister_self_size)))
    (func (export "canister_query now") (call $answer64 (call $time)))
    (func (export "canister_update replicated") (call $answer32 (call $in_replicated_execution)))
    (func (export "canister_query replicated_query") (call $answer32 (call $in_replicated_execution)))
    (func (export "canister_query controls")
      (call $answer32 (call $is_controller (i32.const 100) (call $argument (i32.const 100)))))
    (func (export "canister_query bounds") (call $msg_arg_data_copy (i32.const 0) (i32.const 1) (i32.const 5)))
    (func (export "canister_update burn")
      (call $cycles_burn128 (i64.const 0) (i64.const 1000) (i32.const 16)) (call $answer (i32.const 16) (i32.const 16)))
    """
    target = net.deploy(canister(body))
    assert net.query(target, "echo", b"hello") == b"hello"
    assert net.query(target, "caller") == b"\x04"
    assert net.query(target, "self") == target.bytes
    assert number(net.query(target, "now")) == net.time()
    assert number(net.update(target, "replicated")) == 1
    assert number(net.query(target, "replicated_query")) == 0
    assert number(net.update(target, "replicated_query")) == 1
    assert number(net.query(target, "controls", b"\x04")) == 1
    assert number(net.query(target, "controls", target.bytes)) == 0
    with pytest.raises(CallRejected, match="outside"):
        net.query(target, "bounds", b"1234")
    assert number(net.update(target, "burn")) == 1000


def test_performance_counters_count_instructions(net: Network) -> None:
    body = """
    (func $work (param $n i32) (loop $again
      (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))))
    (func (export "canister_query measure")
      (drop (call $argument (i32.const 16)))
      (call $work (i32.load (i32.const 16)))
      (call $answer64 (call $performance_counter (i32.const 0))))
    """
    target = net.deploy(canister(body))
    few, many = (number(net.query(target, "measure", word(n))) for n in (10, 100_010))
    assert 500_000 <= many - few <= 800_000
    assert number(net.query(target, "measure", word(10))) == few


def test_inspect_message_decides_what_comes_in(net: Network) -> None:
    body = (
        COUNTER
        + """
    (func (export "canister_inspect_message")
      (global.set $count (i32.const 50))
      (if (i32.eq (call $msg_method_name_size) (i32.const 9)) (then (call $accept_message))))
    (func (export "canister_update other") (call $answer32 (i32.const 1)))
    """
    )
    target = net.deploy(canister(body))
    assert number(net.update(target, "increment")) == 1
    with pytest.raises(CallRejected, match="rejected the message") as caught:
        net.submit(target, "other")
    assert caught.value.error_code == "CanisterRejectedMessage"


def test_what_a_canister_prints_is_kept_in_its_log(net: Network) -> None:
    body = """
    (func (export "canister_update say") (call $debug_print (i32.const 100) (i32.const 5)) (call $msg_reply))
    (func (export "canister_update fail") (call $debug_print (i32.const 100) (i32.const 5)) unreachable)
    """
    target = net.deploy(canister(body, {100: b"hello"}))
    net.update(target, "say")
    with pytest.raises(CallRejected):
        net.update(target, "fail")
    assert net.logs(target) == [b"hello", b"hello", b"[TRAP]: unreachable"]


def test_a_reply_may_not_be_larger_than_two_mebibytes(net: Network) -> None:
    body = """
    (func $fill (param $size i32)
      (call $msg_reply_data_append (i32.const 0) (local.get $size)) (call $msg_reply))
    (func (export "canister_update reply")
      (drop (call $argument (i32.const 16))) (call $fill (i32.load (i32.const 16))))
    (func (export "canister_query ask") (drop (call $argument (i32.const 16))) (call $fill (i32.load (i32.const 16))))
    """
    target = net.deploy(canister(body, memory="64"))
    two, three = 2 * 1024 * 1024, 3 * 1024 * 1024
    assert len(net.update(target, "reply", word(two))) == two
    assert len(net.query(target, "ask", word(three))) == three
    for call, method, size in ((net.update, "reply", two + 1), (net.query, "ask", three + 1)):
        with pytest.raises(CallRejected, match="cannot be larger than"):
            call(target, method, word(size))


def test_facts_about_the_canister_and_prices_are_told(net: Network) -> None:
    body = """
    (func (export "canister_query status") (call $answer32 (call $canister_status)))
    (func (export "canister_query version") (call $answer64 (call $canister_version)))
    (func (export "canister_query subnet")
      (call $subnet_self_copy (i32.const 100) (i32.const 0) (call $subnet_self_size))
      (call $answer (i32.const 100) (call $subnet_self_size)))
    (func (export "canister_update root_key")
      (call $root_key_copy (i32.const 100) (i32.const 0) (call $root_key_size))
      (call $answer (i32.const 100) (call $root_key_size)))
    (func (export "canister_query deadline") (call $answer64 (call $msg_deadline)))
    (func (export "canister_query creation")
      (call $cost_create_canister (i32.const 100)) (call $answer (i32.const 100) (i32.const 16)))
    (func (export "canister_query outcall")
      (call $cost_http_request (i64.const 10) (i64.const 100) (i32.const 100))
      (call $answer (i32.const 100) (i32.const 16)))
    (func (export "canister_query call_cost")
      (call $cost_call (i64.const 10) (i64.const 100) (i32.const 100)) (call $answer (i32.const 100) (i32.const 16)))
    (func (export "canister_query liquid")
      (call $canister_liquid_cycle_balance128 (i32.const 100)) (call $answer (i32.const 100) (i32.const 16)))
    """
    target = net.deploy(canister(body))
    assert number(net.query(target, "status")) == 1
    version = number(net.query(target, "version"))
    net.update_settings(target, freezing_threshold=1)
    assert number(net.query(target, "version")) == version + 1
    subnet = net.pic.get_subnet(target)
    assert subnet is not None
    assert net.query(target, "subnet") == subnet.bytes
    assert Principal.self_authenticating(net.update(target, "root_key")).bytes == subnet.bytes
    assert number(net.query(target, "deadline")) == 0
    prices = Prices()
    assert number(net.query(target, "creation")) == prices.canister_creation
    assert number(net.query(target, "outcall")) == prices.http_request(10, 100)
    assert number(net.query(target, "call_cost")) > prices.call + 110 * prices.call_byte
    assert 0 < number(net.query(target, "liquid")) <= net.cycles(target)
