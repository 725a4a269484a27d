"""The ``ic0`` functions a canister imports (IC interface specification, "System API"), but stable memory's.

Each reads or writes the `Context` of the running message. Nothing here outlives the message: the scheduler
applies the effects once it ended well.
"""

# ruff: noqa: D102 (the methods of SystemApi that are imports are named and specified by the specification)

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import wasmtime

from localnet import native, system_calls
from localnet.errors import ErrorCode, Reject, RejectCode
from localnet.message import REPLICATED, Context, Mode, OutgoingCall, Rejection, Reply
from localnet.prices import MAX_ENVIRONMENT_TEXT_BYTES, MAX_LOCAL_CALL_BYTES, MAX_OUTSTANDING_CALLS, Prices

MAX_LOG_BYTES = 4 * 1024
MAX_TRAP_TEXT = 16 * 1024
CERTIFIED_DATA_BYTES = 32
MAX_METHOD_NAME = 20_000
MAX_CALL_TIMEOUT_SECONDS = 300
"""Longest wait for a best-effort response (replica configuration); deadlines are whole seconds."""
SECOND = 1_000_000_000
_U32 = 0xFFFFFFFF
_U64 = 0xFFFFFFFFFFFFFFFF

_ALL = frozenset(Mode) - {Mode.START}
_ANY = frozenset(Mode)
_CALLBACKS = {Mode.REPLY, Mode.REJECT, Mode.COMPOSITE_REPLY, Mode.COMPOSITE_REJECT}
_QUERIES = {Mode.REPLICATED_QUERY, Mode.QUERY, Mode.COMPOSITE_QUERY}
_ANSWER = frozenset({Mode.UPDATE, Mode.TRANSFORM} | _QUERIES | _CALLBACKS)
_ARGUMENT = _QUERIES | {Mode.INIT, Mode.UPDATE, Mode.REPLY, Mode.COMPOSITE_REPLY, Mode.INSPECT, Mode.TRANSFORM}
_PAID = frozenset({Mode.UPDATE, Mode.REPLICATED_QUERY, Mode.REPLY, Mode.REJECT})
_CALLING = frozenset({Mode.UPDATE, Mode.COMPOSITE_QUERY, Mode.TASK} | _CALLBACKS)
_PAYING = _CALLING & REPLICATED
_WRITING = frozenset({Mode.INIT, Mode.PRE_UPGRADE, Mode.UPDATE, Mode.REPLY, Mode.REJECT, Mode.TASK})
_TIMER = _WRITING | {Mode.CLEANUP}
_REPLICATED_ONLY = _TIMER | {Mode.REPLICATED_QUERY}


class Host(Protocol):
    """What the system API needs of the instance it serves, and of the network around it."""

    store: wasmtime.Store
    memory: native.Heap | None
    context: Context
    prices: Prices

    def instructions_used(self) -> int:
        """Instructions of the running execution so far."""
        ...

    def data_certificate(self) -> bytes:
        """The CBOR certificate over the canister's certified data."""
        ...

    def root_key(self) -> bytes:
        """The network's DER-encoded public key."""
        ...

    def call_cost(self, call: OutgoingCall) -> tuple[int, int]:
        """Fee of sending a call now, and cycles set aside for its response."""
        ...


_FUNCTIONS: dict[str, tuple[str, str, frozenset[Mode], Callable[..., Any]]] = {}


def _ic0(signature: str, modes: frozenset[Mode] | set[Mode]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method as the ``ic0`` function of its name; ``signature`` is like ``ii:I`` (I is i64)."""
    params, _, result = signature.partition(":")

    def register(method: Callable[..., Any]) -> Callable[..., Any]:
        _FUNCTIONS[method.__name__] = (params, result, frozenset(modes), method)
        return method

    return register


def _types(letters: str) -> list[wasmtime.ValType]:
    return [wasmtime.ValType.i32() if letter == "i" else wasmtime.ValType.i64() for letter in letters]


_STABLE_SIGNATURES = {
    "stable_size": ("", "i"), "stable_grow": ("i", "i"), "stable_read": ("iii", ""), "stable_write": ("iii", ""),
    "stable64_size": ("", "I"), "stable64_grow": ("I", "I"), "stable64_read": ("III", ""),
    "stable64_write": ("III", ""),
}  # fmt: skip


def signatures() -> dict[str, wasmtime.FuncType]:
    """Every function a canister may import from ``ic0``, with its type."""
    shapes = {name: (params, result) for name, (params, result, _, _) in _FUNCTIONS.items()} | _STABLE_SIGNATURES
    return {name: wasmtime.FuncType(_types(params), _types(result)) for name, (params, result) in shapes.items()}


def violation(text: str) -> Reject:
    """The rejection of a message that broke the system API's contract."""
    return Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, f"Canister violated contract: {text}")


def trap(text: str) -> Reject:
    """The rejection of a message whose system call trapped."""
    return Reject(ErrorCode.CANISTER_TRAPPED, f"Canister trapped: {text}")


def over_limit(limit: int) -> Reject:
    """The rejection of a message that took more instructions than one may."""
    text = f"Canister exceeded the limit of {limit} instructions for single message execution."
    return Reject(ErrorCode.CANISTER_INSTRUCTION_LIMIT_EXCEEDED, text)


_numbers = itertools.count(1)
_bound: weakref.WeakValueDictionary[int, SystemApi] = weakref.WeakValueDictionary()
"""The instances' functions, by the number Wasm hands back: one C function serves all instances."""


@cache
def _callback(name: str) -> Any:
    return native.callback(lambda number, values: _bound[number].call(name, values))


class SystemApi:
    """The functions bound to one instance. A failing one leaves its reason in `failure`."""

    def __init__(self, host: Host) -> None:
        # Weak: the host holds this.
        self._host_reference = weakref.ref(host)
        self.failure: BaseException | None = None
        self.charged = 0
        """Instructions that the system calls of the running execution cost, those of stable memory left out."""
        self._number = next(_numbers)
        _bound[self._number] = self

    @property
    def _host(self) -> Host:
        host = self._host_reference()
        assert host is not None
        return host

    def functions(self, names: tuple[str, ...]) -> dict[str, wasmtime.Func]:
        """Host functions for those of the names this module implements."""
        types = signatures()
        return {
            name: native.host_function(self._host.store, types[name], _callback(name), self._number)
            for name in dict.fromkeys(names)
            if name in _FUNCTIONS
        }

    def call(self, name: str, values: Any) -> None:
        """Run the function of a name on the values of its arguments, which the result replaces."""
        params, result, modes, method = _FUNCTIONS[name]
        try:
            arguments = [
                values[native.SLOT * index] if letter == "I" else values[native.SLOT * index] & _U32
                for index, letter in enumerate(params)
            ]
            self._charge(system_calls.PRICES[name], arguments)
            mode = self._context.mode
            if mode not in modes:
                raise violation(f'"ic0_{name}" cannot be executed in {mode.value} mode')
            answer = method(self, *arguments)
        except BaseException as error:
            self.failure = error
            raise
        if result:
            values[0] = answer

    def _charge(self, price: system_calls.Price, arguments: list[int]) -> None:
        self.charged += price.fixed
        for index in price.sizes:
            self.charged += price.per_byte * arguments[index]
        # Together with the code's own instructions this is checked when the execution has ended.
        if self.charged > self._context.limit:
            raise over_limit(self._context.limit)

    # Heap access ------------------------------------------------------------------------------------

    def _address(self, pointer: int, size: int) -> int:
        memory = self._host.memory
        pointer &= _U32
        size &= _U32
        if memory is None or pointer + size > memory.size:
            raise trap("heap out of bounds")
        return memory.address + pointer

    def _read(self, pointer: int, size: int) -> bytes:
        address = self._address(pointer, size)
        return ctypes.string_at(address, size & _U32)

    def _write(self, pointer: int, data: bytes) -> None:
        ctypes.memmove(self._address(pointer, len(data)), data, len(data))

    def _copy(self, data: bytes, dst: int, offset: int, size: int, name: str) -> None:
        offset &= _U32
        size &= _U32
        if offset + size > len(data):
            raise violation(f"{name}: offset {offset} and size {size} are outside of {len(data)} bytes")
        self._write(dst, data[offset : offset + size])

    def _write_cycles(self, dst: int, amount: int) -> None:
        self._write(dst, amount.to_bytes(16, "little"))

    @property
    def _context(self) -> Context:
        return self._host.context

    # The message -----------------------------------------------------------------------------------

    @_ic0(":i", _ARGUMENT)
    def msg_arg_data_size(self) -> int:
        return len(self._context.arg)

    @_ic0("iii:", _ARGUMENT)
    def msg_arg_data_copy(self, dst: int, offset: int, size: int) -> None:
        self._copy(self._context.arg, dst, offset, size, "ic0.msg_arg_data_copy payload")

    @_ic0(":i", _ALL)
    def msg_caller_size(self) -> int:
        return len(self._context.caller)

    @_ic0("iii:", _ALL)
    def msg_caller_copy(self, dst: int, offset: int, size: int) -> None:
        self._copy(self._context.caller, dst, offset, size, "ic0.msg_caller_copy id")

    @_ic0(":i", _CALLBACKS | {Mode.CLEANUP, Mode.COMPOSITE_CLEANUP})
    def msg_reject_code(self) -> int:
        reject = self._context.reject
        return int(reject.code) if reject is not None else 0

    @_ic0(":i", {Mode.REJECT, Mode.COMPOSITE_REJECT})
    def msg_reject_msg_size(self) -> int:
        return len(self._reject_text())

    @_ic0("iii:", {Mode.REJECT, Mode.COMPOSITE_REJECT})
    def msg_reject_msg_copy(self, dst: int, offset: int, size: int) -> None:
        self._copy(self._reject_text(), dst, offset, size, "ic0.msg_reject_msg_copy msg")

    def _reject_text(self) -> bytes:
        reject = self._context.reject
        return reject.message.encode() if reject is not None else b""

    @_ic0(":I", _ANSWER)
    def msg_deadline(self) -> int:
        return self._context.deadline

    @_ic0("ii:", _ANSWER)
    def msg_reply_data_append(self, src: int, size: int) -> None:
        context = self._context
        self._check_open("msg_reply_data_append")
        total = len(context.reply_data) + (size & _U32)
        if total > context.reply_limit:
            raise violation(
                f"ic0.msg_reply_data_append: application payload size ({total}) cannot be larger than "
                f"{context.reply_limit}"
            )
        context.reply_data += self._read(src, size)

    @_ic0(":", _ANSWER)
    def msg_reply(self) -> None:
        self._check_open("msg_reply")
        self._context.response = Reply(bytes(self._context.reply_data))

    @_ic0("ii:", _ANSWER)
    def msg_reject(self, src: int, size: int) -> None:
        self._check_open("msg_reject")
        if size & _U32 > self._context.reply_limit:
            raise violation(
                f"ic0.msg_reject: application payload size ({size & _U32}) cannot be larger than "
                f"{self._context.reply_limit}"
            )
        try:
            text = self._read(src, size).decode()
        except UnicodeDecodeError as error:
            raise violation("ic0.msg_reject: invalid UTF-8 string provided") from error
        code = ErrorCode.CANISTER_REJECTED_MESSAGE
        self._context.response = Rejection(RejectCode.CANISTER_REJECT, text, int(code))

    def _check_open(self, name: str) -> None:
        if self._context.responded or self._context.response is not None:
            raise violation(f'"ic0.{name}": the call is already replied')

    @_ic0(":i", {Mode.INSPECT})
    def msg_method_name_size(self) -> int:
        return len(self._context.method.encode())

    @_ic0("iii:", {Mode.INSPECT})
    def msg_method_name_copy(self, dst: int, offset: int, size: int) -> None:
        self._copy(self._context.method.encode(), dst, offset, size, "ic0.msg_method_name_copy name")

    @_ic0(":", {Mode.INSPECT})
    def accept_message(self) -> None:
        if self._context.message_accepted:
            raise violation('"ic0.accept_message": the message is already accepted')
        self._context.message_accepted = True

    # Cycles ----------------------------------------------------------------------------------------

    def _narrow(self, amount: int) -> int:
        if amount > _U64:
            raise trap("cycles amount exceeds 64-bit representation")
        return amount

    def _available(self) -> int:
        # The response takes along whatever nobody accepted before it.
        return self._context.cycles_available if self._context.response is None else 0

    @_ic0(":I", _PAID)
    def msg_cycles_available(self) -> int:
        return self._narrow(self._available())

    @_ic0("i:", _PAID)
    def msg_cycles_available128(self, dst: int) -> None:
        self._write_cycles(dst, self._available())

    @_ic0(":I", {Mode.REPLY, Mode.REJECT})
    def msg_cycles_refunded(self) -> int:
        return self._narrow(self._context.cycles_refunded)

    @_ic0("i:", {Mode.REPLY, Mode.REJECT})
    def msg_cycles_refunded128(self, dst: int) -> None:
        self._write_cycles(dst, self._context.cycles_refunded)

    def _accept(self, most: int) -> int:
        context = self._context
        amount = min(most, self._available())
        context.cycles_available -= amount
        context.accepted += amount
        context.balance += amount
        return amount

    @_ic0("I:I", _PAID)
    def msg_cycles_accept(self, most: int) -> int:
        return self._accept(most & _U64)

    @_ic0("IIi:", _PAID)
    def msg_cycles_accept128(self, high: int, low: int, dst: int) -> None:
        self._write_cycles(dst, self._accept(_wide(high, low)))

    @_ic0("IIi:", _REPLICATED_ONLY)
    def cycles_burn128(self, high: int, low: int, dst: int) -> None:
        context = self._context
        amount = max(0, min(_wide(high, low), context.balance - context.canister.freezing_cycles))
        context.balance -= amount
        context.burned += amount
        self._write_cycles(dst, amount)

    # The canister ----------------------------------------------------------------------------------

    @_ic0(":i", _ALL)
    def canister_self_size(self) -> int:
        return len(self._context.canister.id)

    @_ic0("iii:", _ALL)
    def canister_self_copy(self, dst: int, offset: int, size: int) -> None:
        self._copy(self._context.canister.id, dst, offset, size, "ic0.canister_self_copy id")

    @_ic0(":i", _ALL)
    def subnet_self_size(self) -> int:
        return len(self._context.canister.subnet)

    @_ic0("iii:", _ALL)
    def subnet_self_copy(self, dst: int, offset: int, size: int) -> None:
        self._copy(self._context.canister.subnet, dst, offset, size, "ic0.subnet_self_copy id")

    @_ic0(":I", _ALL)
    def canister_cycle_balance(self) -> int:
        return self._narrow(self._context.balance)

    @_ic0("i:", _ALL)
    def canister_cycle_balance128(self, dst: int) -> None:
        self._write_cycles(dst, self._context.balance)

    @_ic0("i:", _ALL)
    def canister_liquid_cycle_balance128(self, dst: int) -> None:
        context = self._context
        self._write_cycles(dst, max(0, context.balance - context.canister.freezing_cycles))

    @_ic0(":i", _ALL)
    def canister_status(self) -> int:
        return self._context.canister.status

    @_ic0(":I", _ALL)
    def canister_version(self) -> int:
        return self._context.canister.version

    @_ic0("ii:i", _ANY)
    def is_controller(self, src: int, size: int) -> int:
        principal = self._read(src, size)
        if len(principal) > 29:
            raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, "Canister provided invalid principal id")
        return int(principal in self._context.canister.controllers)

    @_ic0(":i", _ANY)
    def in_replicated_execution(self) -> int:
        return int(self._context.mode in REPLICATED)

    @_ic0(":i", _REPLICATED_ONLY)
    def root_key_size(self) -> int:
        return len(self._host.root_key())

    @_ic0("iii:", _REPLICATED_ONLY)
    def root_key_copy(self, dst: int, offset: int, size: int) -> None:
        self._copy(self._host.root_key(), dst, offset, size, "ic0.root_key_copy")

    # Environment variables -------------------------------------------------------------------------

    def _variable(self, src: int, size: int) -> tuple[str, bytes | None]:
        """Name and value of a variable named in the heap; no value for one the canister does not have."""
        if size & _U32 > MAX_ENVIRONMENT_TEXT_BYTES:
            raise violation(
                f"ic0.env_var: the name has {size & _U32} bytes, at most {MAX_ENVIRONMENT_TEXT_BYTES} are allowed"
            )
        try:
            name = self._read(src, size).decode()
        except UnicodeDecodeError as error:
            raise violation("ic0.env_var: the name is not UTF-8") from error
        value = self._context.canister.environment.get(name)
        return name, value.encode() if value is not None else None

    def _value(self, src: int, size: int) -> bytes:
        name, value = self._variable(src, size)
        if value is None:
            raise violation(f"ic0.env_var: there is no environment variable {name!r}")
        return value

    def _name(self, index: int) -> bytes:
        names = sorted(self._context.canister.environment)
        index &= _U32
        if index >= len(names):
            raise violation(f"ic0.env_var: index {index} is out of bounds, there are {len(names)} variables")
        return names[index].encode()

    @_ic0(":i", _ALL)
    def env_var_count(self) -> int:
        return len(self._context.canister.environment)

    @_ic0("i:i", _ALL)
    def env_var_name_size(self, index: int) -> int:
        return len(self._name(index))

    @_ic0("iiii:", _ALL)
    def env_var_name_copy(self, index: int, dst: int, offset: int, size: int) -> None:
        self._copy(self._name(index), dst, offset, size, "ic0.env_var_name_copy name")

    @_ic0("ii:i", _ALL)
    def env_var_name_exists(self, src: int, size: int) -> int:
        return int(self._variable(src, size)[1] is not None)

    @_ic0("ii:i", _ALL)
    def env_var_value_size(self, src: int, size: int) -> int:
        return len(self._value(src, size))

    @_ic0("iiiii:", _ALL)
    def env_var_value_copy(self, src: int, name_size: int, dst: int, offset: int, size: int) -> None:
        self._copy(self._value(src, name_size), dst, offset, size, "ic0.env_var_value_copy value")

    # Calls -----------------------------------------------------------------------------------------

    @_ic0("iiiiiiii:", _CALLING)
    def call_new(
        self,
        callee_src: int,
        callee_size: int,
        name_src: int,
        name_size: int,
        reply_fun: int,
        reply_env: int,
        reject_fun: int,
        reject_env: int,
    ) -> None:
        self._drop_pending()
        callee = self._read(callee_src, callee_size)
        if len(callee) > 29:
            raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, "Canister provided invalid principal id")
        if name_size & _U32 > MAX_METHOD_NAME:
            raise violation(f"size of the method name ({name_size & _U32}) cannot exceed {MAX_METHOD_NAME}")
        try:
            method = self._read(name_src, name_size).decode()
        except UnicodeDecodeError as error:
            raise violation("the method name is not UTF-8") from error
        self._context.pending = OutgoingCall(
            callee, method, reply_fun & _U32, reply_env & _U32, reject_fun & _U32, reject_env & _U32
        )

    def _drop_pending(self) -> None:
        pending = self._context.pending
        if pending is not None:
            self._context.balance += pending.cycles
            self._context.pending = None

    def _pending(self, name: str) -> OutgoingCall:
        pending = self._context.pending
        if pending is None:
            raise violation(f"ic0.{name} called when no call is under construction.")
        return pending

    @_ic0("ii:", _CALLING)
    def call_on_cleanup(self, fun: int, env: int) -> None:
        pending = self._pending("call_on_cleanup")
        if pending.cleanup is not None:
            raise violation("ic0.call_on_cleanup can be called at most once between ic0.call_new and ic0.call_perform")
        pending.cleanup = (fun & _U32, env & _U32)

    @_ic0("i:", _CALLING)
    def call_with_best_effort_response(self, timeout_seconds: int) -> None:
        pending = self._pending("call_with_best_effort_response")
        if pending.deadline:
            raise violation(
                "ic0.call_with_best_effort_response can be called at most once between ic0.call_new and "
                "ic0.call_perform"
            )
        seconds = self._context.time // SECOND + min(timeout_seconds & _U32, MAX_CALL_TIMEOUT_SECONDS)
        pending.deadline = seconds * SECOND

    @_ic0("ii:", _CALLING)
    def call_data_append(self, src: int, size: int) -> None:
        pending = self._pending("call_data_append")
        total = len(pending.data) + len(pending.method.encode()) + (size & _U32)
        if total > MAX_LOCAL_CALL_BYTES:
            raise violation(
                f"ic0.call_data_append: application payload size ({total}) cannot be larger than {MAX_LOCAL_CALL_BYTES}"
            )
        pending.data += self._read(src, size)

    def _attach(self, name: str, amount: int) -> None:
        pending = self._pending(name)
        if amount > self._context.balance - self._context.canister.freezing_cycles:
            raise Reject(
                ErrorCode.CANISTER_CONTRACT_VIOLATION,
                f"Canister is out of cycles: {amount} cycles cannot be attached to a call, the balance is "
                f"{self._context.balance} and {self._context.canister.freezing_cycles} of it must stay",
            )
        self._context.balance -= amount
        pending.cycles += amount

    @_ic0("I:", _PAYING)
    def call_cycles_add(self, amount: int) -> None:
        self._attach("call_cycles_add", amount & _U64)

    @_ic0("II:", _PAYING)
    def call_cycles_add128(self, high: int, low: int) -> None:
        self._attach("call_cycles_add128", _wide(high, low))

    @_ic0(":i", _CALLING)
    def call_perform(self) -> int:
        context = self._context
        pending = self._pending("call_perform")
        outstanding = context.outstanding.get(pending.callee, 0)
        if outstanding >= MAX_OUTSTANDING_CALLS:
            self._drop_pending()
            return int(RejectCode.SYS_TRANSIENT)
        if context.mode in REPLICATED:
            fee, prepaid = self._host.call_cost(pending)
            if fee + prepaid > context.balance - context.canister.freezing_cycles:
                self._drop_pending()
                return int(RejectCode.SYS_TRANSIENT)
            context.balance -= fee + prepaid
            pending.fee, pending.prepaid = fee, prepaid
        context.outstanding[pending.callee] = outstanding + 1
        context.calls.append(pending)
        context.pending = None
        return 0

    # Certified data, time, measuring, logs ------------------------------------------------------------

    @_ic0("ii:", _WRITING)
    def certified_data_set(self, src: int, size: int) -> None:
        if size & _U32 > CERTIFIED_DATA_BYTES:
            raise violation(
                f"ic0.certified_data_set failed because the passed data must be no larger than "
                f"{CERTIFIED_DATA_BYTES} bytes. Found {size & _U32} bytes"
            )
        self._context.certified_data = self._read(src, size)

    @_ic0(":i", _ALL)
    def data_certificate_present(self) -> int:
        return int(self._context.certificate)

    @_ic0(":i", {Mode.QUERY, Mode.COMPOSITE_QUERY})
    def data_certificate_size(self) -> int:
        return len(self._certificate("data_certificate_size"))

    @_ic0("iii:", {Mode.QUERY, Mode.COMPOSITE_QUERY})
    def data_certificate_copy(self, dst: int, offset: int, size: int) -> None:
        certificate = self._certificate("data_certificate_copy")
        self._copy(certificate, dst, offset, size, "ic0.data_certificate_copy certificate")

    def _certificate(self, name: str) -> bytes:
        if not self._context.certificate:
            raise violation(f"ic0.{name}: no data certificate is present in this query")
        return self._host.data_certificate()

    @_ic0(":I", _ALL)
    def time(self) -> int:
        return self._context.time

    @_ic0("I:I", _TIMER)
    def global_timer_set(self, timestamp: int) -> int:
        before = self._context.global_timer
        self._context.global_timer = timestamp & _U64
        return before if before is not None else 0

    @_ic0("i:I", _ANY)
    def performance_counter(self, kind: int) -> int:
        used = self._host.instructions_used()
        if kind == 0:
            return used
        if kind == 1:
            return used + self._context.instructions_before
        raise violation(f"Error getting performance counter type {kind}")

    def _charge_log(self, size: int) -> None:
        self.charged += system_calls.logged(size, sum(map(len, self._context.logs)))

    @_ic0("ii:", _ANY)
    def debug_print(self, src: int, size: int) -> None:
        self._charge_log(size & _U32)
        # Printing must not make a message trap that would not trap without it.
        try:
            self._context.logs.append(self._read(src, min(size & _U32, MAX_LOG_BYTES)))
        except Reject:
            self._context.logs.append(b"(debug_print message out of memory bounds)")

    @_ic0("ii:", _ANY)
    def trap(self, src: int, size: int) -> None:
        self._charge_log(size & _U32)
        try:
            text = self._read(src, min(size & _U32, MAX_TRAP_TEXT)).decode(errors="replace")
        except Reject:
            text = "(trap message out of memory bounds)"
        self._context.logs.append(f"[TRAP]: {text or '(no message)'}".encode()[:MAX_LOG_BYTES])
        raise Reject(
            ErrorCode.CANISTER_CALLED_TRAP,
            f"Canister called `ic0.trap` with message: '{text}'.\nConsider gracefully handling failures from this "
            "canister or altering the canister to handle exceptions. See documentation: "
            "https://internetcomputer.org/docs/current/references/execution-errors#trapped-explicitly",
        )

    # Prices ----------------------------------------------------------------------------------------

    @_ic0("IIi:", _ANY)
    def cost_call(self, name_size: int, payload_size: int, dst: int) -> None:
        size = (name_size & _U64) + (payload_size & _U64)
        probe = OutgoingCall(b"", "", 0, 0, 0, 0)
        fee, prepaid = self._host.call_cost(probe)
        self._write_cycles(dst, fee + prepaid + size * self._host.prices.call_byte)

    @_ic0("i:", _ANY)
    def cost_create_canister(self, dst: int) -> None:
        self._write_cycles(dst, self._host.prices.canister_creation)

    @_ic0("IIi:", _ANY)
    def cost_http_request(self, request_size: int, max_response: int, dst: int) -> None:
        self._write_cycles(dst, self._host.prices.http_request(request_size & _U64, max_response & _U64))


def _wide(high: int, low: int) -> int:
    return (high & _U64) << 64 | low & _U64
