"""A network of two application subnets, and canisters put on the one or the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pocket_ic import SubnetConfig

from localnet import candid
from tests.localnet.wat import CALLEE, CALLER, canister
from tests.support.network import Network, Principal


@dataclass
class TwoSubnets:
    """The network and the ids of its subnets."""

    net: Network
    first: Principal
    second: Principal

    def deploy(self, subnet: Principal, module: bytes) -> Principal:
        """A canister with 100 T cycles on a subnet."""
        target = self.net.pic.create_canister(subnet=subnet)
        self.net.add_cycles(target, 100_000_000_000_000)
        self.net.install(target, module)
        return target

    def home(self, canister_id: Principal) -> bytes:
        """The subnet of a canister."""
        subnet = self.net.pic.get_subnet(canister_id)
        assert subnet is not None
        return subnet.bytes


@contextmanager
def two_subnets() -> Iterator[TwoSubnets]:
    """A network that lives as long as the ``with`` block."""
    with Network(SubnetConfig(application=2)) as net:
        first, second = list(net.pic.topology())
        yield TwoSubnets(net, first, second)


@dataclass
class Pair(TwoSubnets):
    """A network of two application subnets, with a canister on each."""

    caller: Principal
    callee: Principal


def caller_and_callee(two: TwoSubnets) -> Pair:
    """A `CALLER` on the first subnet, a `CALLEE` on the second."""
    caller = two.deploy(two.first, canister(CALLER))
    callee = two.deploy(two.second, canister(CALLEE, {100: b"hello"}))
    return Pair(two.net, two.first, two.second, caller, callee)


MANAGING = """
(table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
(func $on_reply (param i32)
  (call $msg_arg_data_copy (i32.const 2000) (i32.const 0) (call $msg_arg_data_size))
  (call $answer (i32.const 2000) (call $msg_arg_data_size)))
(func $on_reject (param i32)
  (call $msg_reject_msg_copy (i32.const 2000) (i32.const 0) (call $msg_reject_msg_size))
  (call $msg_reject (i32.const 2000) (call $msg_reject_msg_size)))
;; the argument: length of the callee's id, callee, length of the method's name, name, argument; lengths are bytes
(func (export "canister_update run")
  (local $end i32) (local $at i32)
  (local.set $end (i32.add (i32.const 1000) (call $argument (i32.const 1000))))
  (local.set $at (i32.add (i32.const 1001) (i32.load8_u (i32.const 1000))))
  (call $call_new (i32.const 1001) (i32.load8_u (i32.const 1000))
    (i32.add (local.get $at) (i32.const 1)) (i32.load8_u (local.get $at))
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (local.set $at (i32.add (i32.add (local.get $at) (i32.const 1)) (i32.load8_u (local.get $at))))
  (call $call_data_append (local.get $at) (i32.sub (local.get $end) (local.get $at)))
  (call $call_cycles_add128 (i64.const 0) (i64.const 1000000000000))
  (drop (call $call_perform)))
"""
"""Calls a management method on behalf of whoever calls it, with 1 T cycles."""


def managing(callee: bytes, method: str, kind: candid.Type, value: object) -> bytes:
    """The argument for MANAGING."""
    return bytes([len(callee)]) + callee + bytes([len(method)]) + method.encode() + candid.encode([kind], [value])
