"""Order and fairness: messages between two canisters keep their order, and nobody waits for ever."""

import pytest

from tests.localnet.wat import canister, number
from tests.support.network import Network

NOTING = """
(global $end (mut i32) (i32.const 1000))
(func (export "canister_update note")
  (drop (call $argument (global.get $end)))
  (global.set $end (i32.add (global.get $end) (i32.const 1))) (call $msg_reply))
(func (export "canister_query notes")
  (call $answer (i32.const 1000) (i32.sub (global.get $end) (i32.const 1000))))
"""


def test_a_user_s_calls_run_in_the_order_they_came_in(net: Network) -> None:
    target = net.deploy(canister(NOTING))
    messages = [net.submit(target, "note", bytes([n])) for n in range(50)]
    for message in messages:
        net.wait(message)
    assert net.query(target, "notes") == bytes(range(50))


def test_calls_to_a_canister_on_the_same_subnet_can_end_in_one_round(net: Network) -> None:
    caller = """
    (table 1 funcref) (elem (i32.const 0) $back)
    (func $back (param i32) (call $answer32 (i32.const 1)))
    (func (export "canister_update call")
      (call $call_new (i32.const 1000) (call $argument (i32.const 1000)) (i32.const 200) (i32.const 4)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (drop (call $call_perform)))
    """
    target, sink = net.deploy(canister(caller, {200: b"note"})), net.deploy(canister(NOTING))
    message = net.submit(target, "call", sink.bytes)
    net.tick()
    assert net.status(message) is not None


BUSY = """
(func $work (local $n i32)
  (local.set $n (i32.const 20))
  (loop $again
    (memory.fill (i32.const 1024) (i32.const 7) (i32.const 67108864))
    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
    (br_if $again (local.get $n))))
(func (export "canister_update work") (call $work) (call $msg_reply))
"""
WORK = 20 * 67_108_864
"""Instructions of one call of BUSY."""


def test_a_busy_canister_does_not_starve_its_neighbours(net: Network) -> None:
    busy = [net.deploy(canister(BUSY, memory="1100")) for _ in range(2)]
    quiet = net.deploy(canister(NOTING))
    loads = [net.submit(target, "work") for _ in range(12) for target in busy]
    message = net.submit(quiet, "note", b"\x01")
    net.tick(3)
    assert net.status(message) is not None
    assert any(net.status(load) is None for load in loads)
    for load in loads:
        net.wait(load)


@pytest.mark.localnet_only("a round's budget is an implementation's own")
def test_a_round_ends_when_its_instructions_are_used_and_the_next_goes_on_there(net: Network) -> None:
    targets = [net.deploy(canister(BUSY, memory="1100")) for _ in range(4)]
    loads = [net.submit(target, "work") for _ in range(6) for target in targets]
    done = []
    for _ in range(6):
        net.tick()
        done.append(sum(net.status(load) is not None for load in loads))
    # 7 B instructions a round: six of the calls, and no canister is ever two calls behind another.
    assert done[0] < len(loads)
    assert done == sorted(done)
    assert max(b - a for a, b in zip([0, *done], done, strict=False)) <= 7_000_000_000 // WORK + 1


def test_a_timer_of_a_frozen_canister_waits(net: Network) -> None:
    body = """
    (global $fired (mut i32) (i32.const 0))
    (func (export "canister_update set")
      (call $answer64 (call $global_timer_set (i64.add (call $time) (i64.const 5000000000)))))
    (func (export "canister_global_timer") (global.set $fired (i32.add (global.get $fired) (i32.const 1))))
    (func (export "canister_query fired") (call $answer32 (global.get $fired)))
    """
    target = net.deploy(canister(body))
    net.update(target, "set")
    net.update_settings(target, freezing_threshold=1 << 63)
    net.advance(60)
    net.tick()
    assert number(net.query(target, "fired")) == 0
    net.update_settings(target, freezing_threshold=1)
    net.tick(2)
    assert number(net.query(target, "fired")) == 1
