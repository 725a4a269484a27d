"""Running, stopping, stopped; installing, upgrading, uninstalling: with call contexts open and timers set."""

from dataclasses import dataclass
from typing import Any

import pytest

from localnet import candid
from localnet import management_types as types
from tests.localnet.two_subnets import TwoSubnets
from tests.localnet.wat import GATE, canister, holder, number
from tests.support.network import CallRejected, Network, Principal

STOP_TIMEOUT_SECONDS = 5 * 60


@dataclass
class Held:
    """A canister with a call context that stays open until `release`."""

    net: Network
    canister: Principal
    gate: Principal
    call: dict[str, Any]

    def release(self) -> None:
        """Let the open call end."""
        self.net.update(self.gate, "open")

    def submit(self, method: str) -> dict[str, Any]:
        """Submit a management call about the canister without waiting for it, and execute a round."""
        value = candid.encode([types.CANISTER_ID], [{"canister_id": self.canister.bytes}])
        message = self.net.submit(None, method, value)
        self.net.tick()
        return message

    @property
    def status(self) -> str:
        return self.net.canister_status(self.canister)["status"][0]


@pytest.fixture
def held(two: TwoSubnets) -> Held:
    target, gate = two.deploy(two.first, holder()), two.deploy(two.second, canister(GATE))
    call = two.net.submit(target, "hold", gate.bytes)
    two.net.tick(2)
    return Held(two.net, target, gate, call)


def rejected_with(held: Held, message: dict[str, Any]) -> CallRejected:
    with pytest.raises(CallRejected) as caught:
        held.net.wait(message)
    return caught.value


def test_a_stopping_canister_refuses_calls_until_its_open_ones_end(held: Held) -> None:
    net = held.net
    stopping = held.submit("stop_canister")
    assert held.status == "stopping"
    assert net.status(stopping) is None
    for call, method in ((net.update, "ping"), (net.query, "ping_query")):
        with pytest.raises(CallRejected, match="is stopping") as caught:
            call(held.canister, method)
        assert (caught.value.error_code, caught.value.reject_code) == ("CanisterStopping", "CanisterError")
    held.release()
    net.wait(stopping)
    assert held.status == "stopped"
    # The callback that ended the call ran on a canister that was stopping.
    assert number(net.wait(held.call)) == 2
    with pytest.raises(CallRejected) as caught:
        net.query(held.canister, "ping_query")
    assert caught.value.error_code == "CanisterStopped"


def test_every_request_to_stop_is_answered(held: Held) -> None:
    waiting = [held.submit("stop_canister") for _ in range(3)]
    held.release()
    for message in waiting:
        held.net.wait(message)
    held.net.stop(held.canister)
    assert held.status == "stopped"


def test_starting_cancels_stopping(held: Held) -> None:
    net = held.net
    stopping = held.submit("stop_canister")
    net.start(held.canister)
    error = rejected_with(held, stopping)
    assert (error.error_code, error.reject_code) == ("CanisterStoppingCancelled", "CanisterError")
    assert held.status == "running"
    assert net.update(held.canister, "ping") == b""
    held.release()
    assert number(net.wait(held.call)) == 1


def test_a_request_to_stop_is_given_up_after_five_minutes_and_the_canister_goes_on_stopping(held: Held) -> None:
    net = held.net
    stopping = held.submit("stop_canister")
    net.advance(STOP_TIMEOUT_SECONDS - 10)
    assert net.status(stopping) is None
    net.advance(20)
    error = rejected_with(held, stopping)
    assert (error.error_code, error.reject_code) == ("StopCanisterRequestTimeout", "SysTransient")
    assert held.status == "stopping"
    held.release()
    net.wait(held.call)
    net.tick(2)
    assert held.status == "stopped"


def test_uninstalling_rejects_the_open_calls_and_drops_their_answers(held: Held) -> None:
    net = held.net
    net.uninstall(held.canister)
    error = rejected_with(held, held.call)
    assert error.reject_code == "CanisterReject"
    assert "uninstalled" in error.message
    net.install(held.canister, holder())
    held.release()
    net.tick(4)
    # The answer belonged to code that is gone: the new code can be stopped, so nothing is open.
    net.stop(held.canister)
    assert held.status == "stopped"


def test_an_upgrade_under_an_open_call_answers_it_with_the_new_code(held: Held) -> None:
    net = held.net
    body = """
    (table 1 funcref) (elem (i32.const 0) $on_reply)
    (func $on_reply (param i32) (call $answer32 (i32.const 4711)))
    """
    net.upgrade(held.canister, canister(body))
    held.release()
    assert number(net.wait(held.call)) == 4711


def test_an_upgrade_that_lacks_the_callback_rejects_the_call(held: Held) -> None:
    held.net.upgrade(held.canister, canister('(func (export "canister_update other"))'))
    held.release()
    error = rejected_with(held, held.call)
    assert (error.error_code, error.reject_code) == ("CanisterFunctionNotFound", "CanisterError")


def test_a_running_canister_is_not_deleted(held: Held) -> None:
    stopping = held.submit("stop_canister")
    with pytest.raises(CallRejected, match="must be stopped") as caught:
        held.net.delete(held.canister)
    assert caught.value.error_code == "CanisterNotStopped"
    held.release()
    held.net.wait(stopping)
    held.net.delete(held.canister)
    assert not held.net.exists(held.canister)


# Code -----------------------------------------------------------------------------------------------


VERSIONS = """
(func $note (param $at i32)
  (i64.store (i32.const 100) (call $canister_version))
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1)))))
  (call $stable64_write (i64.extend_i32_u (local.get $at)) (i64.const 100) (i64.const 8)))
(func (export "canister_init") (call $note (i32.const 0)))
(func (export "canister_pre_upgrade") (call $note (i32.const 8)))
(func (export "canister_post_upgrade") (call $note (i32.const 16)))
(func (export "canister_update touch") (call $msg_reply))
(func (export "canister_query version") (call $answer64 (call $canister_version)))
(func (export "canister_query notes")
  (call $stable64_read (i64.const 100) (i64.const 0) (i64.const 24)) (call $answer (i32.const 100) (i32.const 24)))
"""


def test_the_version_grows_with_every_change_and_hooks_see_theirs(net: Network) -> None:
    module = canister(VERSIONS)
    target = net.create()
    net.install(target, module)

    def version() -> int:
        return number(net.query(target, "version"))

    installed = version()
    assert number(net.query(target, "notes")[:8]) == installed
    net.query(target, "version")
    assert version() == installed
    seen = [installed]
    for change in (
        lambda: net.update(target, "touch"),
        lambda: net.update_settings(target, freezing_threshold=100_000),
        lambda: (net.stop(target), net.start(target)),
    ):
        change()
        assert version() > seen[-1]
        seen.append(version())
    net.upgrade(target, module)
    _, before, after = (number(net.query(target, "notes")[at : at + 8]) for at in (0, 8, 16))
    assert before == seen[-1]
    assert after == version() > before


START = """
(global $started (mut i32) (i32.const 0))
(func $start_up
  (global.set $started (i32.add (global.get $started) (i32.const 1)))
  (i32.store (i32.const 500) (i32.const 33))
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1)))))
  (call $stable64_read (i64.const 600) (i64.const 0) (i64.const 1))
  (i32.store8 (i32.const 600) (i32.add (i32.load8_u (i32.const 600)) (i32.const 1)))
  (call $stable64_write (i64.const 0) (i64.const 600) (i64.const 1)))
(start $start_up)
(func (export "canister_init") (i32.store (i32.const 504) (i32.load (i32.const 500))))
(func (export "canister_query state")
  (i32.store (i32.const 16) (global.get $started))
  (i32.store (i32.const 20) (i32.load (i32.const 500)))
  (i32.store (i32.const 24) (i32.load (i32.const 504)))
  (call $stable64_read (i64.const 28) (i64.const 0) (i64.const 1))
  (call $answer (i32.const 16) (i32.const 13)))
"""


def test_the_start_function_runs_at_every_installation_before_the_hooks(net: Network) -> None:
    module = canister(START)
    target = net.deploy(module)
    words = [1, 33, 33, 1]
    assert [net.query(target, "state")[at] for at in (0, 4, 8, 12)] == words
    net.upgrade(target, module)
    assert [net.query(target, "state")[at] for at in (0, 4, 8, 12)] == [1, 33, 0, 2]


def test_a_start_function_that_traps_fails_the_installation(net: Network) -> None:
    target = net.create()
    with pytest.raises(CallRejected, match="unreachable") as caught:
        net.install(target, canister("(func $start_up unreachable) (start $start_up)"))
    assert caught.value.error_code == "CanisterTrapped"
    assert net.canister_status(target)["module_hash"] is None


CERTIFIED = """
(func (export "canister_update certify") (call $certified_data_set (i32.const 100) (call $argument (i32.const 100)))
  (call $msg_reply))
(func (export "canister_query certificate")
  (call $data_certificate_copy (i32.const 1000) (i32.const 0) (call $data_certificate_size))
  (call $answer (i32.const 1000) (call $data_certificate_size)))
(func (export "canister_query present") (call $answer32 (call $data_certificate_present)))
(func (export "canister_composite_query composite") (call $answer32 (call $data_certificate_present)))
"""


def test_certified_data_outlives_an_upgrade_and_not_a_reinstallation(net: Network) -> None:
    module = canister(CERTIFIED)
    target = net.deploy(module)
    data = bytes(range(32))
    net.update(target, "certify", data)
    assert data in net.query(target, "certificate")
    net.upgrade(target, module)
    net.tick()
    assert data in net.query(target, "certificate")
    net.reinstall(target, module)
    net.tick()
    assert data not in net.query(target, "certificate")
    with pytest.raises(CallRejected) as caught:
        net.update(target, "certify", bytes(33))
    assert caught.value.error_code == "CanisterContractViolation"


def test_a_certificate_is_present_in_queries_and_not_in_replicated_ones(net: Network) -> None:
    target = net.deploy(canister(CERTIFIED))
    assert number(net.query(target, "present")) == 1
    assert number(net.query(target, "composite")) == 1
    assert number(net.update(target, "present")) == 0


TIMED = """
(global $fired (mut i32) (i32.const 0))
(func (export "canister_update set")
  (call $answer64 (call $global_timer_set (i64.add (call $time) (i64.const 5000000000)))))
(func (export "canister_update clear") (call $answer64 (call $global_timer_set (i64.const 0))))
(func (export "canister_global_timer") (global.set $fired (i32.add (global.get $fired) (i32.const 1))))
(func (export "canister_query fired") (call $answer32 (global.get $fired)))
"""


def test_a_timer_is_kept_through_stop_and_start(net: Network) -> None:
    target = net.deploy(canister(TIMED))
    net.update(target, "set")
    net.stop(target)
    net.start(target)
    assert number(net.query(target, "fired")) == 0
    net.advance(6)
    net.tick()
    assert number(net.query(target, "fired")) == 1


@pytest.mark.parametrize("how", ["upgrade", "reinstall", "uninstall"])
def test_a_timer_dies_with_the_code_that_set_it(net: Network, how: str) -> None:
    module = canister(TIMED)
    target = net.deploy(module)
    net.update(target, "set")
    if how == "uninstall":
        net.uninstall(target)
        net.install(target, module)
    else:
        getattr(net, how)(target, module)
    net.advance(60)
    net.tick(2)
    assert number(net.query(target, "fired")) == 0
    assert number(net.update(target, "set")) == 0


def test_setting_a_timer_tells_the_one_before_and_zero_switches_it_off(net: Network) -> None:
    target = net.deploy(canister(TIMED))
    assert number(net.update(target, "set")) == 0
    before = number(net.update(target, "set"))
    assert 0 < before - net.time() <= 5_000_000_000
    assert number(net.update(target, "clear")) >= before
    net.advance(60)
    assert number(net.query(target, "fired")) == 0
