"""Calls that cycles are sent along with: only canisters can do that, so one of the caller's makes the call.

Through a cycles wallet, whose interface is that of dfx's wallets (`wallet_call128`); on a local network without one
through a payer, a canister made for a single call. Not for what the call is about.
"""

from __future__ import annotations

import struct
from functools import cache

import wasmtime

from localnet import candid as c
from zones import management
from zones.agent import Agent, IcAgent
from zones.calls import Method
from zones.errors import RejectedError

PAYER_CYCLES = 1_000_000_000_000
"""What a payer holds beside what it is to send: it pays for its own code and call."""

_WALLET_CALL = Method(
    "wallet_call128",
    [c.record(canister=c.PRINCIPAL, method_name=c.TEXT, args=c.BLOB, cycles=c.NAT)],
    [c.variant(Ok=c.record(**{"return": c.BLOB}), Err=c.TEXT)],
)
_HEAD = struct.Struct("<QIII")
PAYER_TEXT = """(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_reject_msg_size" (func $reason_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reason (param i32 i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_append (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $call_cycles (param i64 i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1) (table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
  (func (export "canister_update pay")
    (local $callee i32) (local $name i32)
    (call $copy (i32.const 1000) (i32.const 0) (call $size))
    (local.set $callee (i32.load (i32.const 1008)))
    (local.set $name (i32.load (i32.const 1012)))
    (call $call_new (i32.const 1020) (local.get $callee)
      (i32.add (i32.const 1020) (local.get $callee)) (local.get $name)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $call_append
      (i32.add (i32.add (i32.const 1020) (local.get $callee)) (local.get $name)) (i32.load (i32.const 1016)))
    (call $call_cycles (i64.const 0) (i64.load (i32.const 1000)))
    (if (call $perform) (then unreachable)))
  (func $on_reply (param i32)
    (call $copy (i32.const 2000) (i32.const 0) (call $size))
    (call $append (i32.const 2000) (call $size))
    (call $reply))
  (func $on_reject (param i32)
    (call $reason (i32.const 2000) (i32.const 0) (call $reason_size))
    (call $reject (i32.const 2000) (call $reason_size))))
"""
"""Its `pay` makes the call that `payer_argument` describes, for whoever asks: it is not for keeping cycles in."""


def through_wallet(agent: Agent, wallet: bytes, callee: bytes, method: str, argument: bytes, cycles: int) -> bytes:
    """Have a cycles wallet that lets the caller do so make a call; returns the reply, what was not taken comes back."""
    call = {"canister": callee, "method_name": method, "args": argument, "cycles": cycles}
    label, answer = _WALLET_CALL(agent, wallet, call)
    if label == "Err":
        raise RejectedError(f"{method} through the wallet: {answer}")
    return answer["return"]


def through_payer(agent: IcAgent, callee: bytes, method: str, argument: bytes, cycles: int) -> bytes:
    """Make a call with cycles out of nothing, which only local networks allow; returns the reply."""
    payer = management.create_canister(agent, cycles + PAYER_CYCLES)
    management.install(agent, payer, payer_wasm(), b"")
    try:
        return agent.update(payer, "pay", payer_argument(callee, method, argument, cycles))
    finally:
        management.stop(agent, payer)
        management.delete(agent, payer)


@cache
def payer_wasm() -> bytes:
    """Return the payer's Wasm."""
    return bytes(wasmtime.wat2wasm(PAYER_TEXT))


def payer_argument(callee: bytes, method: str, argument: bytes, cycles: int) -> bytes:
    """Return what a payer is given: u64 cycles, u32 sizes of callee, method and argument, and these."""
    name = method.encode()
    return _HEAD.pack(cycles, len(callee), len(name), len(argument)) + callee + name + argument
