"""One canister on wasmtime with the system API played by Python: for tests of the template itself.

Not a network: no consensus, no cycles charged, no other canisters. A call the canister makes is kept in `calls`, and
the test answers it. Canisters on a network are tested through the pocket_ic client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wasmtime

from localnet.wasm import TABLE_EXPORT, decompress, prepare

PAGE = 65_536
SELF = bytes.fromhex("00000000000000070101")
CALLER = bytes.fromhex("0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c02")
_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


class CanisterTrap(Exception):
    """The canister trapped; the text is what it gave to `ic0.trap`, or wasmtime's."""


@dataclass
class Call:
    """An inter-canister call the canister made."""

    callee: bytes
    method: str
    reply: tuple[int, int]
    reject: tuple[int, int]
    data: bytes = b""
    cycles: int = 0
    cleanup: tuple[int, int] | None = None


@dataclass
class Answer:
    """What one message led to: a reply, or a reject with its text, or neither yet."""

    reply: bytes | None = None
    reject: str | None = None


@dataclass
class Message:
    """What the system API tells about the message being run."""

    argument: bytes = b""
    caller: bytes = CALLER
    method: str = ""
    reject_code: int = 0
    reject_text: bytes = b""
    reply_data: bytearray = field(default_factory=bytearray)
    answer: Answer = field(default_factory=Answer)


class Host:
    """A canister instance.

    `stable` is its stable memory, `debug` what it printed, `fuel` what the last message cost, `reads` and `writes` how
    often it used stable memory.
    """

    def __init__(self, module: wasmtime.Module, engine: wasmtime.Engine, stable: bytes = b"") -> None:
        self.stable = bytearray(stable)
        self.debug: list[bytes] = []
        self.calls: list[Call] = []
        self.timer = 0
        self.now = 1_700_000_000_000_000_000
        self.balance = 10**13
        self.certified = b""
        self.fuel = self.reads = self.writes = 0
        self.perform_code = 0
        self._message = Message()
        self._trap: str | None = None
        self._new_call: Call | None = None
        self._store = wasmtime.Store(engine)
        self._store.set_fuel(_MASK64 >> 1)
        imports = [self._import(i) for i in module.imports]
        self._instance = wasmtime.Instance(self._store, module, imports)
        exports = self._instance.exports(self._store)
        self._memory: Any = exports["memory"]
        self._exports = exports

    def close(self) -> None:
        """Frees the instance's memory now: the functions it imports refer back to it."""
        self._store.close()

    def has_export(self, name: str) -> bool:
        """Whether the Wasm exports this name."""
        return name in self._exports

    def run(self, export: str, message: Message | None = None) -> Answer:
        """Runs one exported function as one message; traps become `CanisterTrap`."""
        function: Any = self._exports[export]
        return self._run(lambda: function(self._store), message or Message())

    def install(self, argument: bytes = b"DIDL\0\0") -> None:
        """Runs canister_init."""
        self.run("canister_init", Message(argument=argument))

    def upgrade(self, argument: bytes = b"DIDL\0\0") -> None:
        """Runs canister_post_upgrade."""
        self.run("canister_post_upgrade", Message(argument=argument))

    def query(self, method: str, argument: bytes = b"DIDL\0\0", caller: bytes = CALLER) -> Answer:
        """Runs a query; its effects on memory stay, which a network would undo."""
        return self.run(f"canister_query {method}", Message(argument, caller, method))

    def update(self, method: str, argument: bytes = b"DIDL\0\0", caller: bytes = CALLER) -> Answer:
        """Runs an update."""
        return self.run(f"canister_update {method}", Message(argument, caller, method))

    def reply_to(self, call: Call, data: bytes, message: Message | None = None) -> Answer:
        """Answers a call the canister made."""
        return self._callback(call.reply, message or Message(), data)

    def reject_to(self, call: Call, code: int, text: str) -> Answer:
        """Rejects a call the canister made."""
        return self._callback(call.reject, Message(reject_code=code, reject_text=text.encode()), b"")

    def _callback(self, target: tuple[int, int], message: Message, data: bytes) -> Answer:
        message.argument = data
        table: Any = self._exports[TABLE_EXPORT]
        function: Any = table.get(self._store, target[0])
        return self._run(lambda: function(self._store, target[1]), message)

    def _run(self, call: Callable[[], object], message: Message) -> Answer:
        self._message, self._trap, self.calls = message, None, []
        self.reads = self.writes = 0
        before = self._store.get_fuel()
        try:
            call()
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise CanisterTrap(self._trap if self._trap is not None else str(error)) from error
        finally:
            self.fuel = before - self._store.get_fuel()
        return message.answer

    def _read(self, at: int, size: int) -> bytes:
        return bytes(self._memory.read(self._store, at, at + size))

    def _write(self, at: int, data: bytes) -> None:
        self._memory.write(self._store, data, at)

    def _import(self, wanted: wasmtime.ImportType) -> wasmtime.Func:
        assert wanted.module == "ic0", f"the Wasm imports {wanted.module}.{wanted.name}"
        kind = wanted.type
        assert isinstance(kind, wasmtime.FuncType)
        handler = getattr(self, f"_ic_{wanted.name}", None)
        if handler is None:
            handler = self._unsupported(wanted.name or "")
        return wasmtime.Func(self._store, kind, handler)

    def _unsupported(self, name: str) -> Callable[..., None]:
        def missing(*_arguments: int) -> None:
            raise CanisterTrap(f"ic0.{name} is not played here")

        return missing

    def _copy(self, data: bytes, destination: int, offset: int, size: int) -> None:
        assert offset + size <= len(data)
        self._write(destination & _MASK32, data[offset : offset + size])

    # --- the system API

    def _ic_trap(self, source: int, size: int) -> None:
        self._trap = self._read(source, size).decode()
        raise CanisterTrap(self._trap)

    def _ic_debug_print(self, source: int, size: int) -> None:
        self.debug.append(self._read(source, size))

    def _ic_time(self) -> int:
        return self.now

    def _ic_performance_counter(self, _kind: int) -> int:
        return 0

    def _ic_msg_arg_data_size(self) -> int:
        return len(self._message.argument)

    def _ic_msg_arg_data_copy(self, destination: int, offset: int, size: int) -> None:
        self._copy(self._message.argument, destination, offset, size)

    def _ic_msg_caller_size(self) -> int:
        return len(self._message.caller)

    def _ic_msg_caller_copy(self, destination: int, offset: int, size: int) -> None:
        self._copy(self._message.caller, destination, offset, size)

    def _ic_msg_method_name_size(self) -> int:
        return len(self._message.method.encode())

    def _ic_msg_method_name_copy(self, destination: int, offset: int, size: int) -> None:
        self._copy(self._message.method.encode(), destination, offset, size)

    def _ic_msg_reject_code(self) -> int:
        return self._message.reject_code

    def _ic_msg_reject_msg_size(self) -> int:
        return len(self._message.reject_text)

    def _ic_msg_reject_msg_copy(self, destination: int, offset: int, size: int) -> None:
        self._copy(self._message.reject_text, destination, offset, size)

    def _ic_msg_reply_data_append(self, source: int, size: int) -> None:
        self._message.reply_data += self._read(source, size)

    def _ic_msg_reply(self) -> None:
        self._message.answer.reply = bytes(self._message.reply_data)

    def _ic_msg_reject(self, source: int, size: int) -> None:
        self._message.answer.reject = self._read(source, size).decode()

    def _ic_accept_message(self) -> None:
        self._message.answer.reply = b"accepted"

    def _ic_canister_self_size(self) -> int:
        return len(SELF)

    def _ic_canister_self_copy(self, destination: int, offset: int, size: int) -> None:
        self._copy(SELF, destination, offset, size)

    def _ic_canister_cycle_balance128(self, destination: int) -> None:
        self._write(destination & _MASK32, self.balance.to_bytes(16, "little"))

    def _ic_msg_cycles_available128(self, destination: int) -> None:
        self._write(destination & _MASK32, bytes(16))

    def _ic_msg_cycles_refunded128(self, destination: int) -> None:
        self._write(destination & _MASK32, bytes(16))

    def _ic_certified_data_set(self, source: int, size: int) -> None:
        self.certified = self._read(source, size)

    def _ic_data_certificate_present(self) -> int:
        return 0

    def _ic_global_timer_set(self, timestamp: int) -> int:
        before, self.timer = self.timer, timestamp & _MASK64
        return before

    def _ic_stable64_size(self) -> int:
        return len(self.stable) // PAGE

    def _ic_stable64_grow(self, pages: int) -> int:
        before = len(self.stable) // PAGE
        self.stable += bytes(pages * PAGE)
        return before

    def _ic_stable64_read(self, destination: int, offset: int, size: int) -> None:
        self.reads += 1
        self._copy(bytes(self.stable[offset : offset + size]), destination, 0, size)

    def _ic_stable64_write(self, offset: int, source: int, size: int) -> None:
        self.writes += 1
        assert offset + size <= len(self.stable)
        self.stable[offset : offset + size] = self._read(source & _MASK32, size)

    def _ic_call_new(
        self,
        callee: int,
        callee_size: int,
        name: int,
        name_size: int,
        reply: int,
        reply_env: int,
        reject: int,
        env: int,
    ) -> None:
        method = self._read(name, name_size).decode()
        self._new_call = Call(self._read(callee, callee_size), method, (reply, reply_env), (reject, env))

    def _ic_call_on_cleanup(self, function: int, env: int) -> None:
        assert self._new_call
        self._new_call.cleanup = (function, env)

    def _ic_call_data_append(self, source: int, size: int) -> None:
        assert self._new_call
        self._new_call.data += self._read(source, size)

    def _ic_call_cycles_add128(self, high: int, low: int) -> None:
        assert self._new_call
        self._new_call.cycles += ((high & _MASK64) << 64) | (low & _MASK64)

    def _ic_call_perform(self) -> int:
        assert self._new_call
        if self.perform_code == 0:
            self.calls.append(self._new_call)
        return self.perform_code


def engine() -> wasmtime.Engine:
    """An engine with fuel, as every test uses it."""
    config = wasmtime.Config()
    config.consume_fuel = True
    return wasmtime.Engine(config)


def load(engine_: wasmtime.Engine, wasm: Path) -> wasmtime.Module:
    """Compiles a Wasm file, gzipped or not, with its function table exported: callbacks are indices into it."""
    return wasmtime.Module(engine_, prepare(decompress(wasm.read_bytes())).wasm)
