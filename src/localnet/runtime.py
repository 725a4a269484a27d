"""One canister's running Wasm: instance, heap, stable memory, and how a message is run and undone.

`Runtime.run` executes an export or a callback; the caller then keeps the outcome (`keep`) or drops it
(`undo`), after which heap, globals and stable memory are as before. It knows nothing of calls, cycles or
other canisters.

Undoing works from a copy of the heap taken before each message, and from the journal of stable memory
(see `stable`). Where a dropped message had grown the heap, the instance is rebuilt at its true size before the
next message.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import wasmtime

from localnet import native, stable
from localnet.dirty import DirtyPages
from localnet.errors import ErrorCode, Reject
from localnet.message import Context, OutgoingCall
from localnet.modules import CompiledModule, ModuleCache, expect
from localnet.prices import MAX_STABLE_PAGES, WASM_PAGE, Prices
from localnet.principal import to_text
from localnet.stable import Content, StableMemory
from localnet.system_api import SystemApi, over_limit, trap
from localnet.wasm import HEAP_EXPORT, START_EXPORT, TABLE_EXPORT

HOUSEKEEPING_FUEL = 1 << 62
"""Fuel for localnet's own Wasm (undoing, growing): never the canister's bill."""
SNAPSHOT_BUFFERS = 32
"""Heap copies a network keeps for the canisters it ran last."""
MAX_REBUILDS = 100
"""Rebuilt instances a store may hold before everything moves to a fresh one (a store frees nothing)."""
_MADV_DONTNEED = 4

_TRAP_TEXTS = {
    wasmtime.TrapCode.STACK_OVERFLOW: "stack overflow",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "heap out of bounds",
    wasmtime.TrapCode.HEAP_MISALIGNED: "heap out of bounds",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "table out of bounds",
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: "table out of bounds",
    wasmtime.TrapCode.BAD_SIGNATURE: "indirect call to a function of another type",
    wasmtime.TrapCode.INTEGER_OVERFLOW: "integer overflow",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer division by 0",
    wasmtime.TrapCode.BAD_CONVERSION_TO_INTEGER: "bad conversion to integer",
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Services:
    """What a runtime takes from the network around it."""

    modules: ModuleCache
    prices: Prices
    data_certificate: Callable[[bytes], bytes]
    """The certificate over the certified data of the canister with that id."""
    root_key: Callable[[], bytes]
    call_cost: Callable[[OutgoingCall], tuple[int, int]]


class Shims:
    """The compiled stable-memory modules of an engine."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self.store = wasmtime.Module(engine, stable.STORE_WAT)
        self.shim = wasmtime.Module(engine, stable.SHIM_WAT)


class SnapshotPool:
    """Buffers for heap copies, shared by the canisters of a network.

    A buffer returned with an owner still holds that runtime's heap: it needn't be copied again for the next
    message if the owner gets it back.
    """

    def __init__(self) -> None:
        self._free: list[tuple[mmap.mmap, weakref.ref[Runtime] | None]] = []

    def take(self, size: int, owner: Runtime) -> tuple[mmap.mmap, bool]:
        """A buffer of at least ``size`` bytes, and whether it holds the owner's heap already."""
        for index, (buffer, last) in enumerate(self._free):
            if last is not None and last() is owner:
                del self._free[index]
                return buffer, True
        for index, (buffer, last) in enumerate(self._free):
            if len(buffer) >= size and (last is None or len(self._free) >= SNAPSHOT_BUFFERS):
                del self._free[index]
                return buffer, False
        if len(self._free) >= SNAPSHOT_BUFFERS:
            del self._free[0]
        length = max(WASM_PAGE, -(-size * 5 // 4 // WASM_PAGE) * WASM_PAGE)
        # Python's default is shared: a fork of the process would write into this one's copies.
        return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), False

    def give(self, buffer: mmap.mmap, owner: Runtime | None) -> None:
        """Return a buffer; ``owner`` is the runtime whose heap it still equals."""
        self._free.append((buffer, None if owner is None else weakref.ref(owner)))


@dataclass
class Outcome:
    """How an execution ended: instructions charged, and why it failed if it did.

    ``instructions`` are those of the canister's own code (``fuel``) and of its system calls, at most the limit.
    """

    instructions: int
    error: Reject | None = None
    fuel: int = 0
    system_calls: int = 0


class Runtime:
    """The instance of a compiled module. Creating it runs its start function and may raise `Reject`."""

    heap: wasmtime.Memory | None
    memory: native.Heap | None
    """Where the heap lies, for quick access."""

    def __init__(
        self,
        compiled: CompiledModule,
        services: Services,
        shims: Shims,
        pool: SnapshotPool,
        context: Context,
        stable_content: Content = b"",
        *,
        starts: bool = True,
    ) -> None:
        """``starts`` is False for an instance that gets a state by `restore`: its start function ran long ago."""
        self.compiled = compiled
        self.context = context
        self.prices = services.prices
        self._services = services
        self._shims = shims
        self._pool = pool
        self._snapshot: mmap.mmap | None = None
        self._snapshot_size = 0
        self._snapshot_globals: list[int | float] = []
        self._oversized = False
        self._rebuilds = 0
        self._granted = 0
        self.executed = (0, 0)
        """Instructions of the canister's own code and of its system calls since the instance was made."""
        self.changes = 0
        """Counts what may have changed heap, stable memory or globals for good."""
        self._new_store(stable_content)
        self.start_instructions = self._start_instructions + (self._start() if starts else 0)
        """Instructions of the start function."""

    # Host interface of the system API -----------------------------------------------------------------

    def fuel_used(self) -> int:
        """Instructions of the canister's own code in the running execution so far."""
        return max(0, self._granted - self.store.get_fuel() - self.stable.own_fuel)

    def system_calls_used(self) -> int:
        """Instructions charged for the system calls of the running execution so far."""
        return self.api.charged + self.stable.charged

    def instructions_used(self) -> int:
        """Instructions of the running execution so far."""
        return self.fuel_used() + self.system_calls_used()

    def data_certificate(self) -> bytes:
        """The certificate over this canister's certified data."""
        return self._services.data_certificate(self.context.canister.id)

    def root_key(self) -> bytes:
        """The network's public key."""
        return self._services.root_key()

    def call_cost(self, call: OutgoingCall) -> tuple[int, int]:
        """Fee now, and cycles set aside for the response."""
        return self._services.call_cost(call)

    # Instance -------------------------------------------------------------------------------------

    def _new_store(self, stable_content: Content) -> None:
        self.store = wasmtime.Store(self._services.modules.engine)
        self.store.set_fuel(HOUSEKEEPING_FUEL)
        self.stable = StableMemory(self.store, self._shims.store)
        if stable_content:
            self.stable.write(stable_content)
        self.api = SystemApi(self)
        self._functions = self.stable.imports() | self.api.functions(self.compiled.imports)
        self._rebuilds = 0
        self._instantiate()

    def _instantiate(self) -> None:
        imports = [self._functions[name] for name in self.compiled.imports]
        self.heap = self.memory = None
        self._dirty = None
        self.stable.begin()
        self._grant()
        try:
            instance = wasmtime.Instance(self.store, self.compiled.module, imports)
        except BaseException as error:
            raise self._explain(error) from error
        self._start_instructions = self.instructions_used()
        if self._start_instructions > self.context.limit:
            raise self._named(over_limit(self.context.limit))
        self._exports = instance.exports(self.store)
        if self.compiled.has_memory:
            self.heap = expect(self._exports[HEAP_EXPORT], wasmtime.Memory)
            self.memory = native.Heap(self.store, self.heap)
            self._dirty = DirtyPages.track(self.memory.address) if self.memory.size else None
            self.store.set_fuel(HOUSEKEEPING_FUEL)
            self.stable.attach(self._shims.shim, self.heap)
        self._globals = [
            native.Cell(self.store, expect(self._exports[name], wasmtime.Global)) for name in self.compiled.globals
        ]
        self._oversized = False

    def _start(self) -> int:
        """Run the start function if there is one; returns its instructions. Raises `Reject`."""
        if START_EXPORT not in self.compiled.exports:
            return 0
        outcome = self.run_export(START_EXPORT)
        if outcome.error is not None:
            raise outcome.error
        return outcome.instructions

    def _rebuild(self, globals_: list[int | float]) -> None:
        """Instantiate again at the committed heap size; the heap's content is copied over."""
        old, old_store = self.heap, self.store
        assert old is not None
        size = self.heap_bytes
        self._rebuilds += 1
        if self._rebuilds > MAX_REBUILDS:
            self._new_store(self.stable.view())
        else:
            self._instantiate()
        self._fill_heap(old.data_ptr(old_store), size)
        self._restore_globals(globals_)
        if self._dirty is not None:
            # Filling it dirtied every page, but a copy of the heap that is kept for it still equals it.
            self._dirty.take(size)
        if old_store is self.store:
            # The store keeps the old instance's address space, but its pages can go back now.
            address = ctypes.addressof(old.data_ptr(old_store).contents)
            _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(old.data_len(old_store)), _MADV_DONTNEED)

    def load(self, heap_content: bytes, globals_: list[int | float]) -> None:
        """Give the instance another one's heap content and globals."""
        self._fill_heap(heap_content, len(heap_content))
        self._restore_globals(globals_)

    def _fill_heap(self, content: Any, size: int) -> None:
        """Copy ``size`` bytes (something ctypes can copy from) to the start of the heap, which grows as needed."""
        self.changes += 1
        heap = self.heap
        if heap is None:
            return
        self.store.set_fuel(HOUSEKEEPING_FUEL)
        missing = -(-(size - heap.data_len(self.store)) // WASM_PAGE)
        if missing > 0:
            heap.grow(self.store, missing)
        ctypes.memmove(heap.data_ptr(self.store), content, size)

    def _restore_globals(self, values: list[int | float]) -> None:
        for item, value in zip(self._globals, values, strict=True):
            item.set(value)

    def heap_view(self) -> memoryview:
        """The heap as the canister left it, to read before anything else runs."""
        if self.memory is None:
            return memoryview(b"")
        return memoryview((ctypes.c_ubyte * self.heap_bytes).from_address(self.memory.address)).cast("B")

    def restore(
        self,
        heap_size: int,
        heap: Iterable[tuple[int, bytes]],
        stable_size: int,
        stable_content: Iterable[tuple[int, bytes]],
        globals_: list[int | float],
    ) -> None:
        """Give a new instance the memories and globals of one like it. Memories come as sizes and pieces by offset."""
        self.changes += 1
        self.store.set_fuel(HOUSEKEEPING_FUEL)
        if self.heap is not None:
            missing = (heap_size - self.heap.data_len(self.store)) // WASM_PAGE
            if missing > 0:
                self.heap.grow(self.store, missing)
            stable.fill(self.heap, self.store, heap)
        self.stable.begin()
        self.stable.restore(stable_size, stable_content)
        self._restore_globals(globals_)

    def set_stable(self, content: bytes) -> None:
        """Replace the content of stable memory."""
        self.changes += 1
        self.store.set_fuel(HOUSEKEEPING_FUEL)
        self.stable.begin()
        self.stable.write(content)

    def adopt_heap(self, other: Runtime) -> None:
        """Take over another instance's heap content (upgrade with ``wasm_memory_persistence = keep``)."""
        if other.heap is not None:
            self._fill_heap(other.heap.data_ptr(other.store), other.heap_bytes)

    def heap_content(self) -> bytes:
        """All of the heap."""
        return bytes(self.heap_view())

    def globals(self) -> list[tuple[str, int | float]]:
        """Type (``i32``, ``i64``, ``f32``, ``f64``) and value of every mutable global, in the module's order."""
        return [(item.kind, item.get()) for item in self._globals]

    @property
    def heap_bytes(self) -> int:
        """Size of the heap as the canister left it, in bytes."""
        if self._oversized:
            return self._snapshot_size
        return self.memory.size if self.memory is not None else 0

    # Running a message ------------------------------------------------------------------------------

    def begin(self, context: Context, *, stable_limit: int = MAX_STABLE_PAGES) -> None:
        """Prepare for a message."""
        if self._oversized:
            self._rebuild(self._snapshot_globals)
        self.context = context
        self.api.failure = None
        self.stable.begin(stable_limit)
        memory = self.memory
        self._snapshot_globals = [item.get() for item in self._globals]
        if memory is not None:
            self._snapshot_size = memory.size
            self._snapshot, current = self._pool.take(self._snapshot_size, self)
            if not current:
                if self._dirty is not None:
                    self._dirty.take(self._snapshot_size)
                address = ctypes.addressof(ctypes.c_char.from_buffer(self._snapshot))
                ctypes.memmove(address, memory.address, self._snapshot_size)

    def keep(self) -> None:
        """Keep what the message did."""
        self.changes += 1
        memory = self.memory
        if self._dirty is None or memory is None or memory.size != self._snapshot_size:
            self._release(None)
            return
        self._copy_dirty(memory, to_heap=False)
        self._release(self)

    def undo(self) -> None:
        """Undo everything the message did to heap, globals and stable memory."""
        self.store.set_fuel(HOUSEKEEPING_FUEL)
        self.stable.undo()
        memory = self.memory
        if memory is not None and self._snapshot is not None:
            self._copy_dirty(memory, to_heap=True)
            extra = memory.size - self._snapshot_size
            if extra:
                ctypes.memset(memory.address + self._snapshot_size, 0, extra)
                self._oversized = True
        self._restore_globals(self._snapshot_globals)
        self._release(self)

    def _copy_dirty(self, memory: native.Heap, *, to_heap: bool) -> None:
        """Make heap and snapshot equal again by copying what the message wrote, or everything."""
        assert self._snapshot is not None
        ranges = [(0, self._snapshot_size)] if self._dirty is None else self._dirty.take(self._snapshot_size)
        copy = ctypes.addressof(ctypes.c_char.from_buffer(self._snapshot))
        source, target = (copy, memory.address) if to_heap else (memory.address, copy)
        for offset, size in ranges:
            ctypes.memmove(target + offset, source + offset, size)

    def _release(self, owner: Runtime | None) -> None:
        if self._snapshot is not None:
            self._pool.give(self._snapshot, owner)
            self._snapshot = None

    def run_export(self, name: str) -> Outcome:
        """Call an exported function without parameters."""
        return self._run(expect(self._exports[name], wasmtime.Func))

    def run_callback(self, index: int, environment: int) -> Outcome:
        """Call a function of table 0 with one i32."""
        function = self._table_function(index)
        if function is None:
            text = f"Canister requested to invoke a non-existent Wasm function {index} from table 0"
            return Outcome(0, self._named(Reject(ErrorCode.CANISTER_FUNCTION_NOT_FOUND, text)))
        signed = environment - (1 << 32) if environment >= 1 << 31 else environment
        return self._run(function, signed)

    def _table_function(self, index: int) -> wasmtime.Func | None:
        if not self.compiled.has_table:
            return None
        table = expect(self._exports[TABLE_EXPORT], wasmtime.Table)
        if index >= table.size(self.store):
            return None
        function = table.get(self.store, index)
        if not isinstance(function, wasmtime.Func):
            return None
        kind = function.type(self.store)
        if [str(param) for param in kind.params] != ["i32"] or kind.results:
            return None
        return function

    def _grant(self) -> None:
        # More than the limit: the journal's own fuel comes out of it. What counts is checked at the end.
        self._granted = self.context.limit + self.context.limit // 8
        self.api.charged = 0
        self.stable.begin_execution()
        self.store.set_fuel(self._granted)

    def _run(self, function: wasmtime.Func, argument: int | None = None) -> Outcome:
        self._grant()
        error = None
        try:
            native.call(self.store, function, argument)
        except BaseException as caught:
            error = self._explain(caught)
            if error.error_code is ErrorCode.CANISTER_TRAPPED:
                self.context.logs.append(b"[TRAP]: " + error.message.partition("trapped: ")[2].encode())
        limit = self.context.limit
        fuel, system_calls = self.fuel_used(), self.system_calls_used()
        if fuel + system_calls > limit:
            error = self._named(over_limit(limit))
        self.executed = (self.executed[0] + fuel, self.executed[1] + system_calls)
        return Outcome(min(limit, fuel + system_calls), error, fuel, system_calls)

    def _named(self, reject: Reject) -> Reject:
        name = to_text(self.context.canister.id)
        return Reject(reject.error_code, f"Error from Canister {name}: {reject.message}")

    def _explain(self, caught: BaseException) -> Reject:
        """The rejection that stands for whatever ended the execution. Re-raises localnet's own faults."""
        failure = self.api.failure
        self.api.failure = None
        if isinstance(failure, Reject):
            return self._named(failure)
        if failure is not None:
            raise failure
        if not isinstance(caught, wasmtime.Trap):
            if isinstance(caught, wasmtime.WasmtimeError):
                return self._named(Reject(ErrorCode.CANISTER_INVALID_WASM, f"Wasm cannot be run: {caught}"))
            raise caught
        code = caught.trap_code
        if code == wasmtime.TrapCode.OUT_OF_FUEL:
            return self._named(over_limit(self.context.limit))
        if code == wasmtime.TrapCode.UNREACHABLE:
            frames = caught.frames
            where = frames[0].module_name if frames else None
            if where == "stable_shim":
                return self._named(trap("stable memory out of bounds"))
            if where == "stable_store":
                return self._named(trap("32 bit stable memory api used on a memory larger than 4GB"))
        text = _TRAP_TEXTS.get(code, "unknown") if code is not None else "unknown"
        return self._named(trap(text))
