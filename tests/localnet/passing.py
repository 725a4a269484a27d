"""A canister that passes management calls on, for what only canisters may do."""

from typing import Any

import pytest

from localnet import candid
from localnet import management_types as types
from tests.localnet.wat import canister
from tests.support.network import Network, Principal

PASSING = """
(table 2 funcref)
(elem (i32.const 0) $on_reply $on_reject)
(func $on_reply (param i32)
  (call $msg_arg_data_copy (i32.const 60000) (i32.const 0) (call $msg_arg_data_size))
  (call $answer (i32.const 60000) (call $msg_arg_data_size)))
(func $on_reject (param i32)
  (call $msg_reject_msg_copy (i32.const 60000) (i32.const 0) (call $msg_reject_msg_size))
  (call $msg_reject (i32.const 60000) (call $msg_reject_msg_size)))
;; argument: 8 bytes of cycles, 1 byte length of the method's name, the name, the payload
(func (export "canister_update manage")
  (local $size i32) (local $name i32)
  (local.set $size (call $argument (i32.const 60000)))
  (local.set $name (i32.load8_u (i32.const 60008)))
  (call $call_new (i32.const 0) (i32.const 0) (i32.const 60009) (local.get $name)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (call $call_data_append (i32.add (i32.const 60009) (local.get $name))
    (i32.sub (i32.sub (local.get $size) (i32.const 9)) (local.get $name)))
  (call $call_cycles_add (i64.load (i32.const 60000)))
  (if (call $call_perform) (then unreachable)))
(func (export "canister_query version") (call $answer64 (call $canister_version)))
"""


@pytest.fixture
def manager(net: Network) -> Principal:
    """A canister that passes management calls on."""
    return net.deploy(canister(PASSING, memory="40"))


def payload(method: str, argument: bytes, cycles: int = 0) -> bytes:
    """Argument of ``manage`` for a call to a management method."""
    return cycles.to_bytes(8, "little") + bytes([len(method)]) + method.encode() + argument


def through(net: Network, manager: Principal, method: str, kind: candid.Type, value: Any, cycles: int = 0) -> bytes:
    """Call a management method as a canister."""
    return net.update(manager, "manage", payload(method, candid.encode([kind], [value]), cycles))


def info(net: Network, manager: Principal, target: Principal, changes: int = 100) -> dict[str, Any]:
    """``canister_info`` with the newest changes."""
    value = {"canister_id": target.bytes, "num_requested_changes": changes}
    return candid.decode(through(net, manager, "canister_info", types.INFO_ARGS, value), [types.INFO])[0]
