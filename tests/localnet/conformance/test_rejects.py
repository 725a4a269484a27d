"""Every reason for which a call is rejected: code and error code a user gets, and the code a canister gets.

Sources: IC interface specification, "Reject codes"; the error codes are the replica's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.localnet.wat import CALLER, canister, number, rejection, to
from tests.support.network import CallRejected, Network, Principal

FAILING = """
(table 1 funcref)
(func (export "canister_update hello") (call $msg_reply))
(func (export "canister_update silent"))
(func (export "canister_update refuse") (call $msg_reject (i32.const 100) (i32.const 5)))
(func (export "canister_update trap") (call $trap (i32.const 100) (i32.const 5)))
(func (export "canister_update unreachable") unreachable)
(func (export "canister_update twice") (call $msg_reply) (call $msg_reply))
(func (export "canister_update no_callback")
  (call $canister_self_copy (i32.const 200) (i32.const 0) (i32.const 10))
  (call $call_new (i32.const 200) (i32.const 10) (i32.const 300) (i32.const 5)
    (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 0))
  (drop (call $call_perform)))
(func (export "canister_composite_query composite") (call $msg_reply))
(func (export "canister_update grow") (drop (memory.grow (i32.const 20))) (call $msg_reply))
"""


def failing(net: Network) -> Principal:
    return net.deploy(canister(FAILING, {100: b"hello", 300: b"hello"}))


def stopped(net: Network) -> Principal:
    target = failing(net)
    net.stop(target)
    return target


def deleted(net: Network) -> Principal:
    target = stopped(net)
    net.delete(target)
    return target


def frozen(net: Network) -> Principal:
    target = failing(net)
    net.update_settings(target, freezing_threshold=(1 << 63), reserved_cycles_limit=0)
    return target


def limited(net: Network) -> Principal:
    target = failing(net)
    net.update_settings(target, wasm_memory_limit=10 * 65536)
    return target


@dataclass(frozen=True)
class Reason:
    """How a call comes to be rejected, and with what."""

    prepare: Callable[[Network], Principal]
    method: str
    reject_code: str
    error_code: str
    text: str


CODES = {"SysFatal": 1, "SysTransient": 2, "DestinationInvalid": 3, "CanisterReject": 4, "CanisterError": 5}
REASONS = {
    "not found": Reason(deleted, "hello", "DestinationInvalid", "CanisterNotFound", "not found"),
    "stopped": Reason(stopped, "hello", "CanisterError", "CanisterStopped", "is stopped"),
    "no such method": Reason(failing, "missing", "CanisterError", "CanisterMethodNotFound", "'missing'"),
    "not installed": Reason(Network.create, "hello", "CanisterError", "CanisterWasmModuleNotFound", "no Wasm module"),
    "no reply": Reason(failing, "silent", "CanisterError", "CanisterDidNotReply", "did not reply"),
    "explicit reject": Reason(failing, "refuse", "CanisterReject", "CanisterRejectedMessage", "hello"),
    "explicit trap": Reason(failing, "trap", "CanisterError", "CanisterCalledTrap", "hello"),
    "trap": Reason(failing, "unreachable", "CanisterError", "CanisterTrapped", "unreachable"),
    "two replies": Reason(failing, "twice", "CanisterError", "CanisterContractViolation", "already replied"),
    "no callback": Reason(failing, "no_callback", "CanisterError", "CanisterFunctionNotFound", "non-existent"),
    "composite query": Reason(
        failing, "composite", "CanisterError", "CompositeQueryCalledInReplicatedMode", "replicated mode"
    ),
    "out of cycles": Reason(frozen, "hello", "SysTransient", "CanisterOutOfCycles", "out of cycles"),
    "too much memory": Reason(limited, "grow", "CanisterError", "CanisterWasmMemoryLimitExceeded", "memory limit"),
}


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_a_user_s_call_is_rejected_with_the_code_of_the_reason(net: Network, reason: Reason) -> None:
    target = reason.prepare(net)
    with pytest.raises(CallRejected) as caught:
        net.update(target, reason.method)
    assert (caught.value.reject_code, caught.value.error_code) == (reason.reject_code, reason.error_code)
    assert reason.text in caught.value.message


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_a_canister_s_call_is_rejected_with_the_code_of_the_reason(net: Network, reason: Reason) -> None:
    target = reason.prepare(net)
    caller = net.deploy(canister(CALLER))
    code, text = rejection(net.update(caller, "call", to(target, reason.method)))
    assert code == CODES[reason.reject_code]
    assert reason.text in text


def test_cycles_come_back_whatever_the_reason(net: Network) -> None:
    caller = net.deploy(canister(CALLER))
    for reason in REASONS.values():
        target = reason.prepare(net)
        before = net.cycles(caller)
        net.update(caller, "call_with_cycles", to(target, reason.method))
        # 1 000 000 were attached; what is paid is the price of a call and of two executions.
        paid = before - net.cycles(caller)
        assert number(net.update(caller, "refund_seen")) == 1_000_000, reason
        assert paid < 60_000_000
