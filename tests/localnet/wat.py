"""Writes small canisters in WebAssembly text: the imports follow from the functions the text calls."""

from __future__ import annotations

import re
from collections.abc import Mapping

import wasmtime

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


def number(data: bytes) -> int:
    """A little-endian number from a reply."""
    return int.from_bytes(data, "little")


def word(value: int) -> bytes:
    """A 32-bit argument."""
    return value.to_bytes(4, "little")


COUNTER = """
(global $count (mut i32) (i32.const 0))
(func (export "canister_init") (i32.store (i32.const 100) (i32.const 7)))
(func (export "canister_update increment")
  (global.set $count (i32.add (global.get $count) (i32.const 1)))
  (call $answer32 (global.get $count)))
(func (export "canister_query read") (call $answer32 (global.get $count)))
"""
"""Counts its updates in a global."""
