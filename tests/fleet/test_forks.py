"""What is tried in a fork of the process is not seen where it was forked from."""

from __future__ import annotations

import pytest

from tests.fleet.inprocess import MODULES, InProcess, forked
from tests.localnet.wat import canister, number
from tests.support.network import CallRejected

BODY = """
(func (export "canister_update count") (i32.store (i32.const 400) (i32.add (i32.load (i32.const 400)) (i32.const 1)))
  (call $answer32 (i32.load (i32.const 400))))
(func (export "canister_update count_and_trap")
  (i32.store (i32.const 400) (i32.add (i32.load (i32.const 400)) (i32.const 1))) unreachable)
(func (export "canister_query read") (call $answer32 (i32.load (i32.const 400))))
"""


@pytest.mark.localnet_only("forks the network")
def test_a_message_that_is_undone_after_a_fork_leaves_what_was_there_before():
    MODULES.get(canister(BODY))
    network = InProcess()
    target = network.deploy(canister(BODY))
    network.update(target, "count")

    def count() -> int:
        return [number(network.update(target, "count")) for _ in range(5)][-1]

    assert forked(count) == 6
    with pytest.raises(CallRejected):
        network.update(target, "count_and_trap")
    assert number(network.query(target, "read")) == 1
    assert forked(lambda: forked(count)) == 6
    assert number(network.update(target, "count")) == 2
