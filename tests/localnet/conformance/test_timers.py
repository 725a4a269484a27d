"""Timers and heartbeats."""

from tests.localnet.wat import canister, number
from tests.support.network import Network

TIMED = """
(global $fired (mut i32) (i32.const 0))
(func (export "canister_init") (drop (call $global_timer_set (i64.add (call $time) (i64.const 5000000000)))))
(func (export "canister_global_timer") (global.set $fired (i32.add (global.get $fired) (i32.const 1))))
(func (export "canister_query fired") (call $answer32 (global.get $fired)))
(func (export "canister_update again")
  (call $answer64 (call $global_timer_set (i64.add (call $time) (i64.const 1000000000)))))
"""


def test_a_timer_fires_once_when_its_time_comes(net: Network) -> None:
    target = net.deploy(canister(TIMED))
    net.tick(5)
    assert number(net.query(target, "fired")) == 0
    net.advance(6)
    assert number(net.query(target, "fired")) == 1
    net.advance(60)
    assert number(net.query(target, "fired")) == 1
    assert number(net.update(target, "again")) == 0
    net.advance(2)
    assert number(net.query(target, "fired")) == 2


def test_a_timer_that_traps_changes_nothing_and_harms_nobody(net: Network) -> None:
    body = TIMED.replace(
        '(i32.const 1))))\n(func (export "canister_query fired")',
        '(i32.const 1))) unreachable)\n(func (export "canister_query fired")',
    )
    target = net.deploy(canister(body))
    net.advance(60)
    assert number(net.query(target, "fired")) == 0
    net.tick(2)


def test_a_heartbeat_runs_every_round(net: Network) -> None:
    body = """
    (global $beats (mut i32) (i32.const 0))
    (func (export "canister_heartbeat") (global.set $beats (i32.add (global.get $beats) (i32.const 1))))
    (func (export "canister_query beats") (call $answer32 (global.get $beats)))
    """
    target = net.deploy(canister(body))
    before = number(net.query(target, "beats"))
    net.tick(5)
    assert number(net.query(target, "beats")) == before + 5


def test_no_timer_fires_on_a_stopped_canister(net: Network) -> None:
    target = net.deploy(canister(TIMED))
    net.stop(target)
    net.advance(60)
    net.start(target)
    net.tick()
    assert number(net.query(target, "fired")) == 1
