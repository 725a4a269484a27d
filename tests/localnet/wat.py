"""Writes small canisters in WebAssembly text: the imports follow from the functions the text calls."""

from __future__ import annotations

import re
from collections.abc import Mapping

import wasmtime
from ic.principal import Principal

from localnet.candid import uleb
from localnet.system_api import signatures

NOTHING = -1 & 0xFFFFFFFF
"""A table index no module has: for callbacks that must never run."""


def _import(name: str, kind: wasmtime.FuncType) -> str:
    params = " ".join(map(str, kind.params))
    results = " ".join(map(str, kind.results))
    signature = (f" (param {params})" if params else "") + (f" (result {results})" if results else "")
    return f'(import "ic0" "{name}" (func ${name}{signature}))'


HELPERS = """
(func $answer (param $pointer i32) (param $size i32)
  (call $msg_reply_data_append (local.get $pointer) (local.get $size)) (call $msg_reply))
(func $answer32 (param $value i32)
  (i32.store (i32.const 0) (local.get $value)) (call $answer (i32.const 0) (i32.const 4)))
(func $answer64 (param $value i64)
  (i64.store (i32.const 0) (local.get $value)) (call $answer (i32.const 0) (i32.const 8)))
(func $argument (param $pointer i32) (result i32)
  (call $msg_arg_data_copy (local.get $pointer) (i32.const 0) (call $msg_arg_data_size))
  (call $msg_arg_data_size))
"""


def canister(body: str, data: Mapping[int, bytes] | None = None, memory: str = "1") -> bytes:
    """Wasm of a canister: a memory, the given functions, `HELPERS`, and the ``ic0`` imports they call.

    ``$NAME`` is the ``ic0`` function of that name. ``data`` is put into memory at start; the helpers
    use the first 16 bytes.
    """
    text = HELPERS + body
    imports = [_import(name, kind) for name, kind in signatures().items() if re.search(rf"\${name}\b", text)]
    segments = [
        f'(data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in content)}")'
        for at, content in (data or {}).items()
    ]
    module = "\n".join(["(module", *imports, f"(memory {memory})", *segments, text, ")"])
    return bytes(wasmtime.wat2wasm(module))


def custom_section(name: str, content: bytes = b"") -> bytes:
    """A custom section to append to a module, for example ``icp:public NAME``."""
    body = uleb(len(name.encode())) + name.encode() + content
    return b"\x00" + uleb(len(body)) + body


def number(data: bytes) -> int:
    """A little-endian number from a reply."""
    return int.from_bytes(data, "little")


def word(value: int) -> bytes:
    """A 32-bit argument."""
    return value.to_bytes(4, "little")


def call_with_zeros(name: str) -> str:
    """A call of an ``ic0`` function with zeros, its result dropped."""
    kind = signatures()[name]
    call = f"(call ${name} {' '.join(f'({param}.const 0)' for param in kind.params)})"
    return f"(drop {call})" if kind.results else call


COUNTER = """
(global $count (mut i32) (i32.const 0))
(func (export "canister_init") (i32.store (i32.const 100) (i32.const 7)))
(func (export "canister_update increment")
  (global.set $count (i32.add (global.get $count) (i32.const 1)))
  (call $answer32 (global.get $count)))
(func (export "canister_query read") (call $answer32 (global.get $count)))
"""
"""Counts its updates in a global."""

CALLER = """
(table 8 funcref)
(elem (i32.const 0) $on_reply $on_reject $trapping $on_cleanup $ignore $trapping_cleanup)
(global $seen (mut i32) (i32.const 0))
;; the argument: 10 bytes of the callee's id, then the method's name
(func $call (param $reply i32) (param $reject i32)
  (local $size i32)
  (local.set $size (call $argument (i32.const 1000)))
  (call $call_new (i32.const 1000) (i32.const 10) (i32.const 1010) (i32.sub (local.get $size) (i32.const 10))
    (local.get $reply) (i32.const 5) (local.get $reject) (i32.const 6)))
(func $on_reply (param $env i32)
  (i32.store (i32.const 2000) (local.get $env))
  (call $msg_arg_data_copy (i32.const 2004) (i32.const 0) (call $msg_arg_data_size))
  (call $answer (i32.const 2000) (i32.add (i32.const 4) (call $msg_arg_data_size))))
(func $on_reject (param $env i32)
  (i32.store (i32.const 2000) (call $msg_reject_code))
  (call $msg_reject_msg_copy (i32.const 2004) (i32.const 0) (call $msg_reject_msg_size))
  (call $answer (i32.const 2000) (i32.add (i32.const 4) (call $msg_reject_msg_size))))
(func $trapping (param i32) (global.set $seen (i32.const 100)) unreachable)
(func $trapping_cleanup (param i32) (global.set $seen (i32.const 100)) unreachable)
(func $on_cleanup (param $env i32) (global.set $seen (i32.add (global.get $seen) (local.get $env))))
(func $ignore (param i32))
(func (export "canister_update call")
  (call $call (i32.const 0) (i32.const 1)) (drop (call $call_perform)))
(func (export "canister_composite_query ask")
  (call $call (i32.const 0) (i32.const 1)) (drop (call $call_perform)))
(func (export "canister_update call_with_cycles")
  (call $call (i32.const 6) (i32.const 7))
  (call $call_cycles_add128 (i64.const 0) (i64.const 1000000)) (drop (call $call_perform)))
(func (export "canister_update call_and_trap")
  (call $call (i32.const 0) (i32.const 1)) (drop (call $call_perform)) unreachable)
(func (export "canister_update trap_in_callback")
  (call $call (i32.const 2) (i32.const 2)) (call $call_on_cleanup (i32.const 3) (i32.const 7))
  (drop (call $call_perform)))
(func (export "canister_update trap_in_cleanup")
  (call $call (i32.const 2) (i32.const 2)) (call $call_on_cleanup (i32.const 5) (i32.const 7))
  (drop (call $call_perform)))
(func (export "canister_update fire_and_forget")
  (call $call (i32.const -1) (i32.const -1)) (drop (call $call_perform)) (call $msg_reply))
(func (export "canister_update silent_callback")
  (call $call (i32.const 4) (i32.const 4)) (drop (call $call_perform)))
(global $refund (mut i64) (i64.const 0))
(func $refunded (param i32)
  (global.set $refund (call $msg_cycles_refunded))
  (call $msg_cycles_refunded128 (i32.const 2000)) (call $answer (i32.const 2000) (i32.const 16)))
(func (export "canister_update refund_seen") (call $answer64 (global.get $refund)))
(func $refunded_and_rejected (param i32)
  (global.set $refund (call $msg_cycles_refunded)) (call $on_reject (local.get 0)))
(elem (i32.const 6) $refunded $refunded_and_rejected)
(func (export "canister_query seen") (call $answer32 (global.get $seen)))
"""
"""Calls the canister and method its argument names (see `to`), and answers with what came back."""

CALLEE = """
(global $calls (mut i32) (i32.const 0))
(func $count (global.set $calls (i32.add (global.get $calls) (i32.const 1))))
(func (export "canister_update hello") (call $count) (call $answer (i32.const 100) (i32.const 5)))
(func (export "canister_query hello_query") (call $answer (i32.const 100) (i32.const 5)))
(func (export "canister_update refuse") (call $msg_reject (i32.const 100) (i32.const 5)))
(func (export "canister_update fail") (call $count) unreachable)
(func (export "canister_update silent"))
(func (export "canister_update take_some")
  (call $msg_cycles_accept128 (i64.const 0) (i64.const 300000) (i32.const 200))
  (call $answer (i32.const 200) (i32.const 16)))
(func (export "canister_update take_and_trap")
  (call $msg_cycles_accept128 (i64.const 0) (i64.const 300000) (i32.const 200)) unreachable)
(func (export "canister_query calls") (call $answer32 (global.get $calls)))
"""
"""What CALLER calls; needs ``hello`` at 100."""


def to(callee: Principal, method: str) -> bytes:
    """The argument for CALLER's methods."""
    return callee.bytes + method.encode()


def rejection(reply: bytes) -> tuple[int, str]:
    """Code and text of the reject CALLER answers with."""
    return number(reply[:4]), reply[4:].decode()


GATE = """
(global $open (mut i32) (i32.const 0))
(func (export "canister_update poll") (call $answer32 (global.get $open)))
(func (export "canister_update open") (global.set $open (i32.const 1)) (call $msg_reply))
"""
"""Shut until it is opened; `HOLDER` asks it."""

HOLDER = """
(table 2 funcref) (elem (i32.const 0) $on_reply $on_reject)
(func $ask
  (call $call_new (i32.const 1000) (i32.const 10) (i32.const 1100) (i32.const 4)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (drop (call $call_perform)))
(func $on_reply (param i32)
  (call $msg_arg_data_copy (i32.const 1200) (i32.const 0) (i32.const 4))
  (if (i32.load (i32.const 1200)) (then (call $answer32 (call $canister_status))) (else (call $ask))))
(func $on_reject (param i32) (call $msg_reject (i32.const 0) (i32.const 0)))
(func (export "canister_update hold") (drop (call $argument (i32.const 1000))) (call $ask))
(func (export "canister_update ping") (call $msg_reply))
(func (export "canister_query ping_query") (call $msg_reply))
"""
"""``hold`` keeps its call context open until the `GATE` named by the argument opens, and answers with
``ic0.canister_status``; needs ``poll`` at 1100. Put the two on different subnets: a round asks once then."""


def holder() -> bytes:
    """Wasm of `HOLDER`."""
    return canister(HOLDER, {1100: b"poll"})
