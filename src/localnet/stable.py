"""Stable memory that lives inside Wasm, with a journal of the pages a message touches first.

Two small modules do the work, so that no Python runs when a canister reads or writes:

- *store* owns the memories and exports the ``stable*`` functions the canister imports; reads and writes go
  through its table,
- *shim* is instantiated once the canister's heap exists and fills that table with functions that copy
  between heap and stable memory.

Journal layout (one slot per page of 4 KiB written for the first time in this message)::

    offset  size  content
    0       8     page number
    8       4096  the page as it was before the message

``epochs`` holds one u32 per page: the number of the message that journaled it last. Starting the next
message is one addition, and undoing one copies the slots back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable

import wasmtime

from localnet import native, system_calls
from localnet.modules import expect
from localnet.prices import MAX_STABLE_PAGES, WASM_PAGE

SIZE_FUEL = 14
GROW_FUEL = 76
READ_FUEL = 69
WRITE_FUEL = 73
PAGES_FUEL = 45
PAGE_FUEL = 15
PAGE = 4096
"""Bytes of a page of the journal, and of the machine's memory."""
JOURNAL_FUEL = PAGE + 59
NARROW_FUEL = 24
NARROW_GROW_FUEL = 9
"""Fuel that the code below takes: it is counted, and taken off what a canister is charged. Of one call; of a write's
first page and of each further one; of keeping a page (``memory.copy`` counts a unit a byte); and of what the 32-bit
functions do before the 64-bit ones do the rest. `test_system_calls.py` measures them."""

STORE_WAT = f"""
(module $stable_store
  (type $copy (func (param i64 i64 i64)))
  (table (export "table") 2 funcref)
  (memory $stable (export "stable") i64 0 {MAX_STABLE_PAGES})
  (memory $epochs (export "epochs") i64 0)
  (memory $journal (export "journal") i64 0)
  (global $pages (export "pages") (mut i64) (i64.const 0))
  (global $limit (export "limit") (mut i64) (i64.const {MAX_STABLE_PAGES}))
  (global $epoch (export "epoch") (mut i32) (i32.const 1))
  (global $journaled (export "journaled") (mut i64) (i64.const 0))
  (global $own (export "own") (mut i64) (i64.const 0))
  (global $charged (export "charged") (mut i64) (i64.const 0))
  (global $reads (export "reads") (mut i64) (i64.const 0))
  (global $read_bytes (export "read_bytes") (mut i64) (i64.const 0))
  (global $writes (export "writes") (mut i64) (i64.const 0))
  (global $written_bytes (export "written_bytes") (mut i64) (i64.const 0))

  (func $note (param $own i64) (param $charged i64)
    (global.set $own (i64.add (global.get $own) (local.get $own)))
    (global.set $charged (i64.add (global.get $charged) (local.get $charged))))

  (func $size (export "stable64_size") (result i64)
    (call $note (i64.const {SIZE_FUEL}) (i64.const {system_calls.STABLE_SIZE}))
    (global.get $pages))
  (func $grow (export "stable64_grow") (param $more i64) (result i64)
    (local $total i64) (local $missing i64)
    (call $note (i64.const {GROW_FUEL}) (i64.const {system_calls.STABLE_GROW}))
    (if (i64.gt_u (global.get $pages) (global.get $limit)) (then (return (i64.const -1))))
    (if (i64.gt_u (local.get $more) (i64.sub (global.get $limit) (global.get $pages)))
      (then (return (i64.const -1))))
    (local.set $total (i64.add (global.get $pages) (local.get $more)))
    ;; No branches, and what is grown is noted: the fuel of growing localnet's memories is not the canister's
    ;; and depends on how large they are already.
    (local.set $missing (i64.sub (local.get $total) (memory.size $stable)))
    (local.set $missing (select (local.get $missing) (i64.const 0) (i64.gt_s (local.get $missing) (i64.const 0))))
    (if (i64.eq (memory.grow $stable (local.get $missing)) (i64.const -1)) (then (return (i64.const -1))))
    (global.set $own (i64.add (global.get $own) (local.get $missing)))
    (local.set $missing (i64.sub (i64.shr_u (i64.add (memory.size $stable) (i64.const 1023)) (i64.const 10))
      (memory.size $epochs)))
    (local.set $missing (select (local.get $missing) (i64.const 0) (i64.gt_s (local.get $missing) (i64.const 0))))
    (if (i64.eq (memory.grow $epochs (local.get $missing)) (i64.const -1)) (then (return (i64.const -1))))
    (global.set $own (i64.add (global.get $own) (local.get $missing)))
    (global.set $pages (local.get $total))
    (i64.sub (local.get $total) (local.get $more)))
  (func (export "stable64_read") (param i64 i64 i64)
    (call_indirect (type $copy) (local.get 0) (local.get 1) (local.get 2) (i32.const 0)))
  (func (export "stable64_write") (param i64 i64 i64)
    (call_indirect (type $copy) (local.get 0) (local.get 1) (local.get 2) (i32.const 1)))

  (func $check32 (if (i64.gt_u (global.get $pages) (i64.const 65536)) (then unreachable)))
  (func $narrow (param $own i64)
    (call $note (local.get $own) (i64.const 0))
    (call $check32))
  (func (export "stable_size") (result i32)
    (call $narrow (i64.const {NARROW_FUEL}))
    (i32.wrap_i64 (call $size)))
  (func (export "stable_grow") (param i32) (result i32)
    (call $narrow (i64.const {NARROW_FUEL + NARROW_GROW_FUEL}))
    (if (i64.gt_u (i64.add (global.get $pages) (i64.extend_i32_u (local.get 0))) (i64.const 65536))
      (then (return (i32.const -1))))
    (i32.wrap_i64 (call $grow (i64.extend_i32_u (local.get 0)))))
  (func (export "stable_read") (param i32 i32 i32)
    (call $narrow (i64.const {NARROW_FUEL}))
    (call_indirect (type $copy) (i64.extend_i32_u (local.get 0)) (i64.extend_i32_u (local.get 1))
      (i64.extend_i32_u (local.get 2)) (i32.const 0)))
  (func (export "stable_write") (param i32 i32 i32)
    (call $narrow (i64.const {NARROW_FUEL}))
    (call_indirect (type $copy) (i64.extend_i32_u (local.get 0)) (i64.extend_i32_u (local.get 1))
      (i64.extend_i32_u (local.get 2)) (i32.const 1)))

  (func (export "undo")
    (local $slot i64) (local $from i64)
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $slot) (global.get $journaled)))
        (local.set $from (i64.mul (local.get $slot) (i64.const 4104)))
        (memory.copy $stable $journal
          (i64.shl (i64.load $journal (local.get $from)) (i64.const 12))
          (i64.add (local.get $from) (i64.const 8))
          (i64.const 4096))
        (local.set $slot (i64.add (local.get $slot) (i64.const 1)))
        (br $next)))
    (global.set $journaled (i64.const 0))))
"""

SHIM_WAT = f"""
(module $stable_shim
  (import "store" "table" (table 2 funcref))
  (import "store" "stable" (memory $stable i64 0))
  (import "store" "epochs" (memory $epochs i64 0))
  (import "store" "journal" (memory $journal i64 0))
  (import "canister" "heap" (memory $heap 0))
  (import "store" "pages" (global $pages (mut i64)))
  (import "store" "epoch" (global $epoch (mut i32)))
  (import "store" "journaled" (global $journaled (mut i64)))
  (import "store" "own" (global $own (mut i64)))
  (import "store" "charged" (global $charged (mut i64)))
  (import "store" "reads" (global $reads (mut i64)))
  (import "store" "read_bytes" (global $read_bytes (mut i64)))
  (import "store" "writes" (global $writes (mut i64)))
  (import "store" "written_bytes" (global $written_bytes (mut i64)))
  (elem (i32.const 0) func $read $write)

  (func $check (param $offset i64) (param $size i64)
    (local $bytes i64)
    (local.set $bytes (i64.shl (global.get $pages) (i64.const 16)))
    (if (i64.gt_u (local.get $size) (local.get $bytes)) (then unreachable))
    (if (i64.gt_u (local.get $offset) (i64.sub (local.get $bytes) (local.get $size))) (then unreachable)))

  (func $note (param $own i64) (param $charged i64)
    (global.set $own (i64.add (global.get $own) (local.get $own)))
    (global.set $charged (i64.add (global.get $charged) (local.get $charged))))

  (func $low (param $value i64) (result i32)
    ;; a heap address of 33 bits or more: the copy below must fail as out of the heap
    (if (i64.gt_u (local.get $value) (i64.const 0xffffffff)) (then (return (i32.const -1))))
    (i32.wrap_i64 (local.get $value)))

  (func $keep (param $page i64)
    (local $to i64) (local $missing i64)
    (call $note (i64.const {JOURNAL_FUEL}) (i64.const {system_calls.DIRTY_PAGE}))
    (local.set $to (i64.mul (global.get $journaled) (i64.const 4104)))
    (local.set $missing (select (i64.const 16) (i64.const 0)
      (i64.gt_u (i64.add (local.get $to) (i64.const 4104)) (i64.shl (memory.size $journal) (i64.const 16)))))
    (if (i64.eq (memory.grow $journal (local.get $missing)) (i64.const -1)) (then unreachable))
    (global.set $own (i64.add (global.get $own) (local.get $missing)))
    (i64.store $journal (local.get $to) (local.get $page))
    (memory.copy $journal $stable (i64.add (local.get $to) (i64.const 8))
      (i64.shl (local.get $page) (i64.const 12)) (i64.const 4096))
    (i32.store $epochs (i64.shl (local.get $page) (i64.const 2)) (global.get $epoch))
    (global.set $journaled (i64.add (global.get $journaled) (i64.const 1))))

  (func $read (param $dst i64) (param $offset i64) (param $size i64)
    (call $note (i64.add (local.get $size) (i64.const {READ_FUEL}))
      (i64.add (local.get $size) (i64.const {system_calls.STABLE_ACCESS})))
    (call $check (local.get $offset) (local.get $size))
    (global.set $reads (i64.add (global.get $reads) (i64.const 1)))
    (global.set $read_bytes (i64.add (global.get $read_bytes) (local.get $size)))
    (memory.copy $heap $stable (call $low (local.get $dst)) (local.get $offset) (call $low (local.get $size))))

  (func $write (param $offset i64) (param $src i64) (param $size i64)
    (local $page i64) (local $last i64)
    (call $note (i64.add (local.get $size) (i64.const {WRITE_FUEL}))
      (i64.add (local.get $size) (i64.const {system_calls.STABLE_ACCESS})))
    (call $check (local.get $offset) (local.get $size))
    (global.set $writes (i64.add (global.get $writes) (i64.const 1)))
    (global.set $written_bytes (i64.add (global.get $written_bytes) (local.get $size)))
    (if (i64.ne (local.get $size) (i64.const 0))
      (then
        (local.set $page (i64.shr_u (local.get $offset) (i64.const 12)))
        (local.set $last (i64.shr_u (i64.sub (i64.add (local.get $offset) (local.get $size)) (i64.const 1))
          (i64.const 12)))
        (call $note
          (i64.add (i64.const {PAGES_FUEL})
            (i64.mul (i64.const {PAGE_FUEL}) (i64.sub (local.get $last) (local.get $page))))
          (i64.const 0))
        (loop $next
          (if (i32.ne (i32.load $epochs (i64.shl (local.get $page) (i64.const 2))) (global.get $epoch))
            (then (call $keep (local.get $page))))
          (local.set $page (i64.add (local.get $page) (i64.const 1)))
          (br_if $next (i64.le_u (local.get $page) (local.get $last))))))
    (memory.copy $stable $heap (local.get $offset) (call $low (local.get $src)) (call $low (local.get $size)))))
"""


Content = bytes | bytearray | memoryview


class StableMemory:
    """Stable memory of one canister inside one wasmtime store."""

    def __init__(self, store: wasmtime.Store, store_module: wasmtime.Module) -> None:
        self._store = store
        exports = wasmtime.Instance(store, store_module, []).exports(store)
        self._exports = exports
        cell: Callable[[str], native.Cell] = lambda name: native.Cell(store, expect(exports[name], wasmtime.Global))  # noqa: E731
        self._memory = expect(exports["stable"], wasmtime.Memory)
        self._pages = cell("pages")
        self._epoch = cell("epoch")
        self._journaled = cell("journaled")
        self._own = cell("own")
        self._charged = cell("charged")
        self._limit = cell("limit")
        self._undo = expect(exports["undo"], wasmtime.Func)
        self._pages_before = 0

    def imports(self) -> dict[str, wasmtime.Func]:
        """The ``ic0`` functions a canister's stable imports are bound to."""
        names = [f"stable{bits}_{what}" for bits in ("", "64") for what in ("size", "grow", "read", "write")]
        return {name: expect(self._exports[name], wasmtime.Func) for name in names}

    def attach(self, shim_module: wasmtime.Module, heap: wasmtime.Memory) -> None:
        """Bind reads and writes to a canister instance's heap."""
        items = [heap if item.module == "canister" else self._exports[item.name or ""] for item in shim_module.imports]
        wasmtime.Instance(self._store, shim_module, items)

    @property
    def pages(self) -> int:
        """Size in pages of 64 KiB as the canister sees it."""
        return self._pages.get()

    @property
    def journaled(self) -> int:
        """Pages of 4 KiB first written in the current message."""
        return self._journaled.get()

    @property
    def own_fuel(self) -> int:
        """Fuel the functions and the journal took in the current execution: not the canister's doing."""
        return self._own.get()

    @property
    def charged(self) -> int:
        """Instructions the IC charges for what the current execution did here: by the call, the byte and the page."""
        return self._charged.get()

    def accesses(self) -> tuple[int, int, int, int]:
        """Reads, bytes read, writes and bytes written since the canister's instance was made: for benchmarks."""
        names = ("reads", "read_bytes", "writes", "written_bytes")
        reads, read_bytes, writes, written = (
            expect(self._exports[name], wasmtime.Global).value(self._store) for name in names
        )
        return reads, read_bytes, writes, written

    def begin(self, limit: int = MAX_STABLE_PAGES) -> None:
        """Start a message that may grow the memory to at most ``limit`` pages."""
        self._epoch.set(self._epoch.get() + 1)
        self._journaled.set(0)
        self._limit.set(limit)
        self._pages_before = self.pages

    def begin_execution(self) -> None:
        """Start counting what an execution takes; a message may have several."""
        self._own.set(0)
        self._charged.set(0)

    def undo(self) -> None:
        """Put back every byte and the size as they were at `begin`. The store needs fuel for it."""
        if self.journaled:
            self._undo(self._store)
        self._pages.set(self._pages_before)

    def read(self) -> bytes:
        """All of the memory."""
        size = self.pages * WASM_PAGE
        if not size:
            return b""
        return ctypes.string_at(ctypes.addressof(self._memory.data_ptr(self._store).contents), size)

    def view(self) -> memoryview:
        """All of the memory, to read before anything else runs."""
        size = self.pages * WASM_PAGE
        if not size:
            return memoryview(b"")
        address = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")

    def restore(self, size: int, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Give it a size in bytes (whole pages) and a content, in pieces by offset."""
        missing = size // WASM_PAGE - self.pages
        if missing > 0:
            expect(self._exports["stable64_grow"], wasmtime.Func)(self._store, missing)
        fill(self._memory, self._store, pieces)
        self._pages.set(size // WASM_PAGE)

    def write(self, data: Content) -> None:
        """Replace the content, growing (never shrinking) to whole pages; the rest is zero."""
        need = -(-len(data) // WASM_PAGE)
        if need > self.pages:
            grow = expect(self._exports["stable64_grow"], wasmtime.Func)
            grow(self._store, need - self.pages)
        view = memoryview(data)
        offsets = range(0, self.pages * WASM_PAGE, WASM_PAGE)
        pieces = ((at, bytes(view[at : at + WASM_PAGE]).ljust(WASM_PAGE, b"\0")) for at in offsets)
        fill(self._memory, self._store, pieces)


def fill(memory: wasmtime.Memory, store: wasmtime.Store, pieces: Iterable[tuple[int, bytes]]) -> None:
    """Copy pieces into a memory by offset, touching only what differs: pages nobody used stay without a frame."""
    if not memory.data_len(store):
        return
    base = ctypes.addressof(memory.data_ptr(store).contents)
    for offset, content in pieces:
        if ctypes.string_at(base + offset, len(content)) == content:
            continue
        for at in range(0, len(content), PAGE):
            part = content[at : at + PAGE]
            if ctypes.string_at(base + offset + at, len(part)) != part:
                ctypes.memmove(base + offset + at, part, len(part))
