"""What canisters take of the machine's memory: only what they use of theirs."""

from __future__ import annotations

from pathlib import Path

from tests.localnet.direct import Direct
from tests.localnet.wat import canister

PAGES = 4_000
"""Of 64 KiB: 250 MiB."""
MOST_BYTES = 32 << 20

LARGE = canister(
    f"""
    (func (export "canister_init")
      (drop (call $stable64_grow (i64.const {PAGES})))
      (i32.store8 (i32.const 1000) (i32.const 42))
      (call $stable64_write (i64.const {(PAGES - 1) * 65536 + 5000}) (i64.const 1000) (i64.const 1)))
    (func (export "canister_query read")
      (call $stable64_read (i64.const 0) (i64.const {(PAGES - 1) * 65536 + 5000}) (i64.const 1))
      (call $answer64 (i64.extend_i32_u (i32.load8_u (i32.const 0)))))
    """,
    {},
)


def own_bytes() -> int:
    """Memory of this process that is in use."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_stable_memory_nobody_wrote_takes_none_after_an_upgrade_either() -> None:
    world = Direct()
    first = world.deploy(LARGE)
    world.install(first, LARGE, "upgrade")
    before = own_bytes()
    second = world.deploy(LARGE)
    for _ in range(3):
        world.install(second, LARGE, "upgrade")
    assert own_bytes() - before < MOST_BYTES
    for target in (first, second):
        assert world.network.query(b"\x04", target.id, "read", b"") == (42).to_bytes(8, "little")
