"""A network that has nothing to do knows it, so that whoever drives it can sleep."""

from __future__ import annotations

from tests.localnet.direct import Direct
from tests.localnet.wat import canister, word

BODY = """
(func (export "canister_update set")
  (call $answer64 (call $global_timer_set (i64.add (call $time) (i64.const 5000000000)))))
(func (export "canister_global_timer") (i32.store (i32.const 400) (i32.const 1)))
(func (export "canister_query fired") (call $answer32 (i32.load (i32.const 400))))
"""


def test_a_timer_of_a_stopped_canister_keeps_nobody_busy_and_fires_once_it_runs() -> None:
    net = Direct()
    target = net.deploy(canister(BODY))
    net.update(target.id, "set")
    net.about("stop_canister", target)
    net.advance(60)
    assert not net.network.scheduler.busy
    net.about("start_canister", target)
    assert net.network.scheduler.busy
    net.network.tick()
    assert not net.network.scheduler.busy
    assert net.update(target.id, "fired") == word(1)
