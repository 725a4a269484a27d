"""Shortcuts into wasmtime's C interface for what happens in every message: globals, host functions, calls.

The `wasmtime` package converts every value through an object of its own, which takes longer than most messages. It
is for the four number types only; everything else, and everything rare, goes through the package.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import wasmtime
from wasmtime import _bindings as ffi

_KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}
"""Value kinds as ``wasmtime/val.h`` numbers them."""
SLOT = 2
"""A raw value takes 16 bytes: arguments and results lie ``SLOT`` 64-bit words apart."""
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_size_t
)
_NO_FINALIZER = ctypes.cast(0, ctypes.CFUNCTYPE(None, ctypes.c_void_p))

RawFunction = Callable[[int, Any], None]
"""Takes the environment of the function and its values (64-bit words, see `SLOT`); results replace the arguments."""


class Cell:
    """A mutable global of a number type."""

    __slots__ = ("_context", "_field", "_global", "_store", "_value", "kind")

    def __init__(self, store: wasmtime.Store, item: wasmtime.Global) -> None:
        # Held, so that the context below stays valid.
        self._store = store
        self._context = store._context()
        self._global = item._global
        self.kind = str(item.type(store).content)
        self._field = self.kind
        self._value = ffi.wasmtime_val_t(kind=_KINDS[self.kind])

    def get(self) -> Any:
        """The value."""
        ffi.wasmtime_global_get(self._context, ctypes.byref(self._global), ctypes.byref(self._value))
        return getattr(self._value.of, self._field)

    def set(self, value: float) -> None:
        """Change the value."""
        setattr(self._value.of, self._field, value)
        error = ffi.wasmtime_global_set(self._context, ctypes.byref(self._global), ctypes.byref(self._value))
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)


def callback(function: RawFunction) -> Any:
    """A C function that calls a Python one; an exception in it traps. Keep the result as long as it may be called.

    The function keeps its exceptions itself: the trap only says that there was one.
    """

    def call(environment: int | None, _caller: int, values: Any, _count: int) -> int:
        try:
            function(environment or 0, values)
        except BaseException:
            trap = ffi.wasmtime_trap_new(b"host", 4)
            return ctypes.cast(trap, ctypes.c_void_p).value or 0
        return 0

    return ctypes.cast(_CALLBACK(call), ffi.wasmtime_func_unchecked_callback_t)


def host_function(store: wasmtime.Store, kind: wasmtime.FuncType, function: Any, environment: int) -> wasmtime.Func:
    """A Wasm function of a type that calls a `callback` with an environment (a number)."""
    made = ffi.wasmtime_func_t()
    ffi.wasmtime_func_new_unchecked(
        store._context(), kind.ptr(), function, environment, _NO_FINALIZER, ctypes.byref(made)
    )
    return wasmtime.Func._from_raw(made)


def call(store: wasmtime.Store, function: wasmtime.Func, argument: int | None = None) -> None:
    """Call a function that takes nothing or, where ``argument`` is given, one i32, and returns nothing.

    The caller knows the function's type: nothing checks it. Raises ``wasmtime.Trap`` and ``wasmtime.WasmtimeError``.
    """
    values = (ffi.wasmtime_val_raw_t * 1)()
    if argument is not None:
        values[0].i32 = argument
    trap = ctypes.POINTER(ffi.wasm_trap_t)()
    error = ffi.wasmtime_func_call_unchecked(
        store._context(), ctypes.byref(function._func), values, 1, ctypes.byref(trap)
    )
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    if trap:
        raise wasmtime.Trap._from_ptr(trap)


class Heap:
    """Where a canister's heap lies and how large it is.

    The address does not change: wasmtime reserves the whole address space of a 32-bit memory.
    """

    __slots__ = ("_context", "_memory", "_store", "address")

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store = store
        self._context = store._context()
        self._memory = memory._memory
        self.address = ctypes.addressof(memory.data_ptr(store).contents)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return ffi.wasmtime_memory_data_size(self._context, ctypes.byref(self._memory))
