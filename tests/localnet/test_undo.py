"""Undoing messages: random writes and traps against a model, with and without the kernel's help."""

import gc
import os
import weakref
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localnet.dirty import DirtyPages
from localnet.errors import Reject
from localnet.message import CanisterView, Context, Mode
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.prices import Limits, Prices
from localnet.runtime import Runtime, Shims, SnapshotPool
from localnet.system_api import signatures
from tests.localnet.wat import canister

PAGE = 65536
WRITER = """
(global $last (mut i64) (i64.const 0))
;; the argument: i32 heap address, i32 stable address, i32 value, i32 heap pages, i32 stable pages, i32 trap
(func (export "canister_update write")
  (drop (call $argument (i32.const 16)))
  (drop (memory.grow (i32.load (i32.const 28))))
  (drop (call $stable64_grow (i64.extend_i32_u (i32.load (i32.const 32)))))
  (i32.store (i32.load (i32.const 16)) (i32.load (i32.const 24)))
  (call $stable64_write (i64.extend_i32_u (i32.load (i32.const 20))) (i64.const 24) (i64.const 4))
  (global.set $last (i64.extend_i32_u (i32.load (i32.const 24))))
  (if (i32.load (i32.const 36)) (then unreachable))
  (call $answer64 (global.get $last)))
(func (export "canister_query read") (call $answer64 (global.get $last)))
"""


@dataclass
class Step:
    heap: int
    stable: int
    value: int
    grow_heap: int
    grow_stable: int
    ending: str


STEPS = st.lists(
    st.builds(
        Step,
        heap=st.integers(64, 4 * PAGE - 4),
        stable=st.integers(0, 2 * PAGE - 4),
        value=st.integers(1, 2**32 - 1),
        grow_heap=st.sampled_from([0, 0, 0, 1]),
        grow_stable=st.sampled_from([0, 0, 0, 1]),
        ending=st.sampled_from(["keep", "undo", "trap"]),
    ),
    max_size=12,
)
CACHE = ModuleCache(signatures())
NETWORK = Network(["Application"], CACHE)


def context(mode: Mode, arg: bytes = b"") -> Context:
    view = CanisterView(b"\x01", b"", frozenset(), 1, 0, 0)
    return Context(mode, view, 0, Limits().update, arg=arg)


def content(runtime: Runtime) -> tuple[bytes, bytes, int]:
    """Heap (but for the scratch area), stable memory and the mutable global."""
    assert runtime.heap is not None
    heap = bytes(runtime.heap.read(runtime.store, 0, runtime.heap_bytes))
    read = context(Mode.QUERY)
    runtime.begin(read)
    assert runtime.run_export("canister_query read").error is None
    runtime.undo()
    return heap, runtime.stable.read(), int.from_bytes(read.reply_data, "little")


@pytest.mark.parametrize("helped", [True, False])
@settings(max_examples=60)
@given(steps=STEPS)
def test_what_is_kept_stays_and_what_is_undone_is_gone(helped: bool, steps: list[Step]) -> None:
    if helped and not DirtyPages.offered():
        pytest.skip("this kernel does not tell which pages were written")
    with pytest.MonkeyPatch.context() as patch:
        if not helped:
            patch.setattr(DirtyPages, "track", lambda _base: None)
        module = CACHE.get(canister(WRITER, memory="4"))
        pool = SnapshotPool()
        services = NETWORK.services(Prices())
        runtime = Runtime(module, services, Shims(CACHE.engine), pool, context(Mode.START), bytes(2 * PAGE))
        heap, stable, last = bytearray(4 * PAGE), bytearray(2 * PAGE), 0
        for step in steps:
            words = (step.heap, step.stable, step.value, step.grow_heap, step.grow_stable, step.ending == "trap")
            arg = b"".join(int(word).to_bytes(4, "little") for word in words)
            message = context(Mode.UPDATE, arg)
            runtime.begin(message)
            outcome = runtime.run_export("canister_update write")
            assert (outcome.error is None) == (step.ending != "trap")
            assert outcome.error is None or isinstance(outcome.error, Reject)
            if step.ending == "keep":
                runtime.keep()
                heap += bytes(step.grow_heap * PAGE)
                stable += bytes(step.grow_stable * PAGE)
                value = step.value.to_bytes(4, "little")
                heap[16:40] = arg
                heap[step.heap : step.heap + 4] = value
                heap[:8] = step.value.to_bytes(8, "little")
                stable[step.stable : step.stable + 4] = arg[8:12]
                last = step.value
            else:
                runtime.undo()
            assert content(runtime) == (bytes(heap), bytes(stable), last)


def write(runtime: Runtime, address: int, value: int) -> None:
    """A message that writes a number to the heap, and is neither kept nor undone yet."""
    words = (address, 0, value, 0, 0, 0)
    runtime.begin(context(Mode.UPDATE, b"".join(word.to_bytes(4, "little") for word in words)))
    assert runtime.run_export("canister_update write").error is None


@pytest.mark.parametrize("helped", [True, False])
def test_a_fork_undoes_its_own_messages_and_leaves_the_others_to_undo_theirs(helped: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not helped:
            patch.setattr(DirtyPages, "track", lambda _base: None)
        module = CACHE.get(canister(WRITER, memory="4"))
        shims = Shims(CACHE.engine)
        runtime = Runtime(
            module, NETWORK.services(Prices()), shims, SnapshotPool(), context(Mode.START), bytes(2 * PAGE)
        )
        write(runtime, 2 * PAGE, 1)
        runtime.keep()
        before = content(runtime)
        for _ in range(2):
            child = os.fork()
            if not child:
                is_undone = True
                for number in range(40):
                    known = content(runtime)
                    write(runtime, PAGE + number * 4_096, 7)
                    runtime.undo()
                    is_undone = is_undone and content(runtime) == known
                    write(runtime, PAGE + number * 4_096, 8)
                    runtime.keep()
                os._exit(0 if is_undone else 1)
            assert os.waitpid(child, 0)[1] == 0
            # What the fork kept is in its own copies of the heap.
            for address in (3 * PAGE, PAGE):
                write(runtime, address, 9)
                runtime.undo()
                assert content(runtime) == before


def test_an_instance_that_is_dropped_is_freed() -> None:
    services = NETWORK.services(Prices())
    module = CACHE.get(canister(WRITER, memory="4"))
    runtime = Runtime(module, services, Shims(CACHE.engine), SnapshotPool(), context(Mode.START), b"")
    reference = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert reference() is None


def test_instructions_do_not_depend_on_what_ran_before() -> None:
    module = CACHE.get(canister(WRITER, memory="4"))
    runtime = Runtime(
        module, NETWORK.services(Prices()), Shims(CACHE.engine), SnapshotPool(), context(Mode.START), bytes(2 * PAGE)
    )
    words = (100, 4096, 7, 0, 3, 0)
    arg = b"".join(word.to_bytes(4, "little") for word in words)
    used = []
    for _ in range(3):
        runtime.begin(context(Mode.UPDATE, arg))
        used.append(runtime.run_export("canister_update write").instructions)
        runtime.undo()
    assert used == [used[0]] * 3
