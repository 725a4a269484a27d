"""Which function of ``ic0`` may be called from where: the specification's table, function by function.

Source: IC interface specification, "Overview of imports". Each function is called with zeros from every kind
of entry point that can be reached, and must be refused exactly where the table does not list that kind.
"""

import re
from pathlib import Path

import pytest
import wasmtime

from localnet.system_api import signatures
from tests.localnet.wat import call_with_zeros, canister
from tests.support.network import CallRejected, Network

EVERYWHERE = "I G U RQ NRQ CQ Ry Rt C T F"
ANSWERS = "U RQ NRQ CQ Ry Rt"
PAID = "U RQ Ry Rt"
CALLS = "U CQ Ry Rt T"
REPLICATED = "I G U RQ Ry Rt C T"

WHERE = {
    "msg_arg_data_size": "I U RQ NRQ CQ Ry F",
    "msg_arg_data_copy": "I U RQ NRQ CQ Ry F",
    "msg_caller_size": EVERYWHERE,
    "msg_caller_copy": EVERYWHERE,
    "msg_reject_code": "Ry Rt C",
    "msg_reject_msg_size": "Rt",
    "msg_reject_msg_copy": "Rt",
    "msg_deadline": "U RQ NRQ CQ Ry Rt",
    "msg_reply_data_append": ANSWERS,
    "msg_reply": ANSWERS,
    "msg_reject": ANSWERS,
    "msg_cycles_available": PAID,
    "msg_cycles_available128": PAID,
    "msg_cycles_accept": PAID,
    "msg_cycles_accept128": PAID,
    "msg_cycles_refunded": "Ry Rt",
    "msg_cycles_refunded128": "Ry Rt",
    "cycles_burn128": REPLICATED,
    "canister_self_size": EVERYWHERE,
    "canister_self_copy": EVERYWHERE,
    "canister_cycle_balance": EVERYWHERE,
    "canister_cycle_balance128": EVERYWHERE,
    "canister_liquid_cycle_balance128": EVERYWHERE,
    "env_var_count": EVERYWHERE,
    "env_var_name_size": EVERYWHERE,
    "env_var_name_copy": EVERYWHERE,
    "env_var_name_exists": EVERYWHERE,
    "env_var_value_size": EVERYWHERE,
    "env_var_value_copy": EVERYWHERE,
    "canister_status": EVERYWHERE,
    "canister_version": EVERYWHERE,
    "subnet_self_size": EVERYWHERE,
    "subnet_self_copy": EVERYWHERE,
    "msg_method_name_size": "F",
    "msg_method_name_copy": "F",
    "accept_message": "F",
    "call_new": CALLS,
    "call_on_cleanup": CALLS,
    "call_data_append": CALLS,
    "call_with_best_effort_response": CALLS,
    "call_cycles_add": "U Ry Rt T",
    "call_cycles_add128": "U Ry Rt T",
    "call_perform": CALLS,
    "stable_size": EVERYWHERE,
    "stable_grow": EVERYWHERE,
    "stable_read": EVERYWHERE,
    "stable_write": EVERYWHERE,
    "stable64_size": EVERYWHERE,
    "stable64_grow": EVERYWHERE,
    "stable64_read": EVERYWHERE,
    "stable64_write": EVERYWHERE,
    "root_key_size": REPLICATED,
    "root_key_copy": REPLICATED,
    "certified_data_set": "I G U Ry Rt T",
    "data_certificate_present": EVERYWHERE,
    "data_certificate_size": "NRQ CQ",
    "data_certificate_copy": "NRQ CQ",
    "time": EVERYWHERE,
    "global_timer_set": "I G U Ry Rt C T",
    "performance_counter": EVERYWHERE,
    "is_controller": EVERYWHERE,
    "in_replicated_execution": EVERYWHERE,
    "cost_call": EVERYWHERE,
    "cost_create_canister": EVERYWHERE,
    "cost_http_request": EVERYWHERE,
    "debug_print": EVERYWHERE,
    "trap": EVERYWHERE,
}
IN_START = {
    "stable_size", "stable_grow", "stable_read", "stable_write", "stable64_size", "stable64_grow", "stable64_read",
    "stable64_write", "performance_counter", "is_controller", "in_replicated_execution", "cost_call",
    "cost_create_canister", "cost_http_request", "debug_print", "trap",
}  # fmt: skip

REFUSED = "cannot be executed in"

# `$probe` calls the function under test; $self starts a call of this canister's own method ``echo``.
ENTRIES = """
(table 3 funcref)
(elem (i32.const 0) $probing $failing $cleaning)
(func $self (param $reply i32) (param $reject i32)
  (call $canister_self_copy (i32.const 100) (i32.const 0) (i32.const 10))
  (call $call_new (i32.const 100) (i32.const 10) (i32.const 200) (i32.const 4)
    (local.get $reply) (i32.const 0) (local.get $reject) (i32.const 0)))
(func $probing (param i32) (call $probe))
(func $failing (param i32) unreachable)
(func $cleaning (param i32) (call $probe))
(func (export "canister_update echo") (call $msg_reply))
(func (export "canister_update U") (call $probe))
(func (export "canister_query Q") (call $probe))
(func (export "canister_composite_query CQ") (call $probe))
(func (export "canister_update Ry") (call $self (i32.const 0) (i32.const 0)) (drop (call $call_perform)))
(func (export "canister_update C")
  (call $self (i32.const 1) (i32.const 1)) (call $call_on_cleanup (i32.const 2) (i32.const 0))
  (drop (call $call_perform)))
"""
REJECTED = ENTRIES.replace("(call $msg_reply))", "(call $msg_reject (i32.const 0) (i32.const 0)))", 1)


def refusal(run: object, *arguments: object) -> bool:
    """True when a call is refused because of where it was made from."""
    try:
        run(*arguments)  # type: ignore[operator]
    except CallRejected as rejected:
        return REFUSED in rejected.message
    return False


def refused_in(net: Network, name: str) -> set[str]:
    """The kinds of entry point from which the function is refused."""
    probe = f"(func $probe {call_with_zeros(name)})"
    target = net.deploy(canister(probe + ENTRIES, {200: b"echo"}))
    rejecting = net.deploy(canister(probe + REJECTED, {200: b"echo"}))
    empty = net.create()
    found = {
        "U": refusal(net.update, target, "U"),
        "RQ": refusal(net.update, target, "Q"),
        "NRQ": refusal(net.query, target, "Q"),
        "CQ": refusal(net.query, target, "CQ"),
        "Ry": refusal(net.update, target, "Ry"),
        "Rt": refusal(net.update, rejecting, "Ry"),
        "C": refusal(net.update, target, "C"),
        "I": refusal(net.install, empty, canister(f'{probe} (func (export "canister_init") (call $probe))')),
        "G": refused_in_pre_upgrade(net, probe),
        "F": refused_in_inspection(net, probe),
        "T": refused_in_heartbeat(net, probe),
    }
    return {kind for kind, refused in found.items() if refused}


def refused_in_pre_upgrade(net: Network, probe: str) -> bool:
    module = canister(f'{probe} (func (export "canister_pre_upgrade") (call $probe))')
    return refusal(net.upgrade, net.deploy(module), module)


def refused_in_inspection(net: Network, probe: str) -> bool:
    module = canister(
        f'{probe} (func (export "canister_inspect_message") (call $probe))'
        '(func (export "canister_update any") (call $msg_reply))'
    )
    return refusal(net.submit, net.deploy(module), "any")


def refused_in_heartbeat(net: Network, probe: str) -> bool:
    """A heartbeat's fate is seen in a later one: the first writes a mark before the probe, which only a trap undoes."""
    module = canister(
        f"""{probe}
        (global $mark (mut i32) (i32.const 0))
        (func (export "canister_heartbeat") (global.set $mark (i32.const 1)) (call $probe))
        (func (export "canister_query mark") (call $answer32 (global.get $mark)))"""
    )
    target = net.deploy(module)
    net.tick(2)
    return net.query(target, "mark") == bytes(4)


TRAPS_ON_ZEROS = {
    "call_on_cleanup",
    "call_data_append",
    "call_with_best_effort_response",
    "call_cycles_add",
    "call_cycles_add128",
    "call_perform",
    "env_var_name_size",
    "env_var_name_copy",
    "env_var_value_size",
    "env_var_value_copy",
    "trap",
}
"""Functions that trap in a heartbeat for want of a call under construction, or of an environment variable: their row
says nothing about T."""


@pytest.mark.parametrize("name", WHERE)
def test_a_function_is_refused_exactly_where_the_specification_says(net: Network, name: str) -> None:
    unknown = {"T"} if name in TRAPS_ON_ZEROS else set()
    forbidden = set(EVERYWHERE.split()) - set(WHERE[name].split())
    assert refused_in(net, name) - unknown == forbidden - unknown


@pytest.mark.parametrize("name", WHERE)
def test_the_start_function_may_call_few_functions(net: Network, name: str) -> None:
    module = canister(f"(func $probe {call_with_zeros(name)}) (start $probe)")
    empty = net.create()
    assert refusal(net.install, empty, module) == (name not in IN_START)


NOT_OFFERED = {
    "msg_caller_info_data_size": "(result i32)",
    "msg_caller_info_data_copy": "(param i32 i32 i32)",
    "msg_caller_info_signer_size": "(result i32)",
    "msg_caller_info_signer_copy": "(param i32 i32 i32)",
    "cost_sign_with_ecdsa": "(param i32 i32 i32 i32) (result i32)",
    "cost_sign_with_schnorr": "(param i32 i32 i32 i32) (result i32)",
    "cost_vetkd_derive_key": "(param i32 i32 i32 i32) (result i32)",
}


@pytest.mark.localnet_only("these functions are not offered here")
@pytest.mark.parametrize("name", NOT_OFFERED)
def test_functions_that_are_not_offered_are_refused_with_their_name(net: Network, name: str) -> None:
    text = f'(module (import "ic0" "{name}" (func {NOT_OFFERED[name]})))'
    empty = net.create()
    with pytest.raises(CallRejected, match=f"{name} is not one this network offers") as caught:
        net.install(empty, bytes(wasmtime.wat2wasm(text)))
    assert caught.value.error_code == "CanisterInvalidWasm"


TEMPLATE_IMPORTS = Path("src/canister_build/template/runtime/src/ic0.rs")
KYBRA_IMPORTS = set(WHERE) - {
    "call_with_best_effort_response", "canister_liquid_cycle_balance128", "cost_call", "cost_create_canister",
    "cost_http_request", "cycles_burn128", "env_var_count", "env_var_name_copy", "env_var_name_exists",
    "env_var_name_size", "env_var_value_copy", "env_var_value_size", "in_replicated_execution", "msg_deadline",
    "root_key_copy", "root_key_size", "subnet_self_copy", "subnet_self_size",
}  # fmt: skip
"""What the Rust CDK of Kybra 0.7.1 declares (``ic0`` 0.21): the functions above came later."""


def test_what_the_builders_import_is_offered() -> None:
    source = (Path(__file__).parents[3] / TEMPLATE_IMPORTS).read_text()
    template = set(re.findall(r"pub fn (\w+)\(", source[: source.index("pub type Callback")]))
    assert {"call_perform", "stable64_write", "trap"} <= template
    assert template <= set(signatures())
    assert len(KYBRA_IMPORTS) == 49
    assert set(signatures()) >= KYBRA_IMPORTS


def test_the_table_knows_every_function_that_is_offered() -> None:
    assert set(WHERE) == set(signatures())
