"""How far heap and stable memory grow, and the hook that tells a canister when its heap is nearly full."""

import pytest

from tests.localnet.wat import canister, number, word
from tests.support.network import CallRejected, Network, Principal

PAGE = 65536
GROWING = """
(global $hooked (mut i32) (i32.const 0))
(func $grow (result i32) (drop (call $argument (i32.const 16))) (memory.grow (i32.load (i32.const 16))))
(func (export "canister_update grow") (call $answer32 (call $grow)))
(func (export "canister_query grow_in_query") (call $answer32 (call $grow)))
(func (export "canister_on_low_wasm_memory") (global.set $hooked (i32.add (global.get $hooked) (i32.const 1))))
(func (export "canister_query hooked") (call $answer32 (global.get $hooked)))
(func (export "canister_query size") (call $answer32 (memory.size)))
"""


def grown(net: Network, target: Principal, pages: int) -> int:
    """Pages before, and a round for what follows from growing."""
    before = number(net.update(target, "grow", word(pages)))
    net.tick()
    return before


def hooked(net: Network, target: Principal) -> int:
    return number(net.query(target, "hooked"))


def test_the_hook_runs_once_when_little_memory_is_left(net: Network) -> None:
    target = net.deploy(canister(GROWING))
    net.update_settings(target, wasm_memory_limit=20 * PAGE, wasm_memory_threshold=10 * PAGE)
    grown(net, target, 5)
    assert hooked(net, target) == 0
    grown(net, target, 5)
    assert hooked(net, target) == 1
    grown(net, target, 1)
    assert hooked(net, target) == 1


def test_the_hook_runs_again_when_memory_has_become_little_again(net: Network) -> None:
    target = net.deploy(canister(GROWING))
    net.update_settings(target, wasm_memory_limit=20 * PAGE, wasm_memory_threshold=10 * PAGE)
    grown(net, target, 12)
    assert hooked(net, target) == 1
    net.update_settings(target, wasm_memory_limit=40 * PAGE)
    net.tick()
    assert hooked(net, target) == 1
    net.update_settings(target, wasm_memory_limit=20 * PAGE)
    net.tick()
    assert hooked(net, target) == 2


def test_without_a_threshold_the_hook_never_runs(net: Network) -> None:
    target = net.deploy(canister(GROWING))
    net.update_settings(target, wasm_memory_limit=20 * PAGE)
    grown(net, target, 19)
    assert hooked(net, target) == 0


def test_the_memory_limit_binds_updates_and_not_queries(net: Network) -> None:
    target = net.deploy(canister(GROWING))
    net.update_settings(target, wasm_memory_limit=10 * PAGE)
    with pytest.raises(CallRejected) as caught:
        grown(net, target, 10)
    assert caught.value.error_code == "CanisterWasmMemoryLimitExceeded"
    assert number(net.query(target, "size")) == 1
    assert number(net.query(target, "grow_in_query", word(10))) == 1
    assert grown(net, target, 9) == 1
    net.update_settings(target, wasm_memory_limit=0)
    assert grown(net, target, 10) == 10


def test_the_memory_limit_binds_installations(net: Network) -> None:
    target = net.create(wasm_memory_limit=10 * PAGE)
    body = '(func (export "canister_init") (drop (memory.grow (i32.const 10))))'
    with pytest.raises(CallRejected) as caught:
        net.install(target, canister(body))
    assert caught.value.error_code == "CanisterWasmMemoryLimitExceeded"
    assert net.canister_status(target)["module_hash"] is None


def test_the_heap_ends_at_four_gibibytes_and_at_the_module_s_maximum(net: Network) -> None:
    assert number(net.query(net.deploy(canister(GROWING)), "grow_in_query", word(65536))) == 0xFFFFFFFF
    limited = net.deploy(canister(GROWING, memory="1 3"))
    assert grown(net, limited, 2) == 1
    assert grown(net, limited, 1) == 0xFFFFFFFF


STABLE = """
(func (export "canister_query grow64")
  (drop (call $argument (i32.const 16))) (call $answer64 (call $stable64_grow (i64.load (i32.const 16)))))
(func (export "canister_query grow32_after")
  (drop (call $argument (i32.const 16)))
  (drop (call $stable64_grow (i64.load (i32.const 16))))
  (call $answer32 (call $stable_grow (i32.const 1))))
(func (export "canister_query small_after")
  (drop (call $argument (i32.const 16)))
  (drop (call $stable64_grow (i64.load (i32.const 16)))) (call $answer32 (call $stable_size)))
(func (export "canister_query beyond")
  (drop (call $stable64_grow (i64.const 1)))
  (call $stable64_read (i64.const 0) (i64.const 65535) (i64.const 2)))
(func (export "canister_query nowhere")
  (drop (call $stable64_grow (i64.const 1)))
  (call $stable64_write (i64.const 0) (i64.const 4294967296) (i64.const 1)))
(func (export "canister_query nothing_at_the_end")
  (drop (call $stable64_grow (i64.const 1)))
  (call $stable64_read (i64.const 0) (i64.const 65536) (i64.const 0)) (call $msg_reply))
"""
MINUS_ONE_64 = 2**64 - 1
MAX_STABLE_PAGES = 500 * 1024**3 // PAGE


def pages(count: int) -> bytes:
    return count.to_bytes(8, "little")


def test_stable_memory_ends_at_five_hundred_gibibytes(net: Network) -> None:
    target = net.deploy(canister(STABLE))
    assert number(net.query(target, "grow64", pages(MAX_STABLE_PAGES + 1))) == MINUS_ONE_64
    assert number(net.query(target, "grow64", pages(2**63))) == MINUS_ONE_64


def test_the_32_bit_functions_end_at_four_gibibytes(net: Network) -> None:
    target = net.deploy(canister(STABLE))
    with pytest.raises(CallRejected, match="32 bit stable memory api used on a memory larger than 4GB"):
        net.query(target, "small_after", pages(65537))
    assert number(net.query(target, "grow32_after", pages(65536))) == 0xFFFFFFFF
    assert number(net.query(target, "small_after", pages(65536))) == 65536


def test_stable_accesses_outside_of_either_memory_trap(net: Network) -> None:
    target = net.deploy(canister(STABLE))
    for method in ("beyond", "nowhere"):
        with pytest.raises(CallRejected, match="out of bounds") as caught:
            net.query(target, method)
        assert caught.value.error_code == "CanisterTrapped"
    assert net.query(target, "nothing_at_the_end") == b""
