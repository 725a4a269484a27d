"""The template's stable maps against a dict: whatever is done to them, they hold the same, upgrades included.

Not for what the canisters store in them.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import canister_build
from tests.canister.template.conftest import Compiled
from tests.canister.template.host import PAGE, CanisterTrap, Host
from tests.canister.template.values import BLOB, Types, args, one, values
from tests.support.network import ANONYMOUS, CallRejected, Network

KEYS = st.integers(0, 40) | st.integers(0, 2**64 - 1)
VALUES = st.binary(max_size=288)

LARGE_ID = 5
LARGE_MAX = 5000 - 11
"""Bytes of a blob in the probe's map of large values: what Candid needs is taken off its max_value_size."""
LARGE_SIZES = st.sampled_from((0, 1, 58, 59, 60, 990, 1000, 4091, LARGE_MAX - 1, LARGE_MAX)) | st.integers(0, LARGE_MAX)
LARGE_VALUES = st.builds(lambda size, start: (start * 2500)[:size], LARGE_SIZES, st.binary(min_size=2, max_size=8))

INLINE_IMAGE = Path(__file__).with_name("inline_values.image.gz")
"""The probe's stable memory as the template before the slots left it: every value in its tree.

Gzipped: the number of pages, then the number and the content of each page that is not all zero; u32, big-endian.
Made by `run` with `INLINE_SOURCE` on a fresh probe, at commit eee036d with this probe.
"""
INLINE_SOURCE = """
for key in range(60):
    large.insert(key, bytes([key]) * (key * 83))
for key in range(0, 60, 7):
    large.remove(key)
for key in range(12):
    notes.insert("note " + str(key), {"x": key, "y": None, "from_": "n" * (key * 150)})
    numbers.insert(key, bytes([key]) * (key * 20))
"""
INLINE_LARGE = {key: bytes([key]) * (key * 83) for key in range(60) if key % 7}
INLINE_NOTES = [
    (f"note {key}", {"x": key, "y": None, "from_": "n" * (key * 150)}) for key in sorted(range(12), key=str)
]


class MapMachine(RuleBasedStateMachine):
    """One map of the probe and its model; upgrades keep stable memory and nothing else."""

    compiled: Compiled
    methods: ClassVar[dict[str, str]] = {"put": "put", "remove": "remove", "get": "get"}
    name = "numbers"
    values = VALUES

    @initialize()
    def install(self) -> None:
        self.host = Host(*self.compiled)
        self.host.install()
        self.model: dict[int, bytes] = {}

    @rule(key=KEYS, data=st.data())
    def insert(self, key: int, data: st.DataObject) -> None:
        value = data.draw(self.values)
        before = one(self.host.update(self.methods["put"], args((Types.Nat64, key), (BLOB, list(value)))))
        assert before == option(self.model.get(key))
        self.model[key] = value

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        before = one(self.host.update(self.methods["remove"], args((Types.Nat64, key))))
        assert before == option(self.model.pop(key, None))

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        assert one(self.host.query(self.methods["get"], args((Types.Nat64, key)))) == option(self.model.get(key))

    @rule()
    def upgrade(self) -> None:
        upgraded = Host(*self.compiled, stable=bytes(self.host.stable))
        upgraded.upgrade()
        self.host.close()
        self.host = upgraded

    def teardown(self) -> None:
        self.host.close()

    @invariant()
    def the_map_holds_what_the_model_holds_in_order(self) -> None:
        items = evaluate(
            self.host,
            f"[(key, hashlib.sha256(value).digest()) for key, value in {self.name}.items()], {self.name}.keys(), "
            f"[len(value) for value in {self.name}.values()], {self.name}.len()",
        )
        ordered = sorted(self.model.items())
        digests = [(key, hashlib.sha256(value).digest()) for key, value in ordered]
        assert items == (digests, sorted(self.model), [len(value) for _, value in ordered], len(self.model))


class LargeMapMachine(MapMachine):
    """The same for values that have slots."""

    methods: ClassVar[dict[str, str]] = {"put": "put_large", "remove": "remove_large", "get": "get_large"}
    name = "large"
    values = LARGE_VALUES


def option(value: bytes | None) -> list[list[int]]:
    """As ic-py reads `opt blob`."""
    return [] if value is None else [list(value)]


def evaluate(host: Host, source: str) -> Any:
    """What a Python expression is inside the probe."""
    return eval(one(host.update("evaluate", args((Types.Text, source)))))


def run(host: Host, source: str) -> None:
    """Runs statements inside the probe."""
    host.update("run", args((Types.Text, source)))


@dataclass(frozen=True)
class Cost:
    """What one statement takes: fuel, and accesses to stable memory."""

    fuel: float
    reads: float
    writes: float

    def is_within(self, fuel: float, reads: float, writes: float) -> bool:
        """Whether it is no more than that."""
        return self.fuel <= fuel and self.reads <= reads and self.writes <= writes


def each(host: Host, statement: str, count: int = 50) -> Cost:
    """The cost of a statement in a loop where `i` counts from 0 and `V` are two large values, not of one size."""
    found: list[Cost] = []
    for body in (statement, "pass"):
        lines = [
            "global V, loop",
            f"V = b'v' * {LARGE_MAX}, b'w' * 3000",
            "def loop():",
            f"  for i in range({count}):",
            f"    {body}",
        ]
        run(host, "\n".join(lines))
        run(host, "loop()")
        found.append(Cost(host.fuel, host.reads, host.writes))
    spent, empty = found
    return Cost((spent.fuel - empty.fuel) / count, spent.reads / count, spent.writes / count)


def memory_pages(stable: bytes | bytearray, memory: int) -> int:
    """Pages of a virtual memory, as the memory manager counts them."""
    return struct.unpack_from("<Q", stable, 40 + 8 * memory)[0]


def memory_start(stable: bytes | bytearray, memory: int) -> int:
    """Where the first bucket of a virtual memory is."""
    buckets, bucket_pages = struct.unpack_from("<HH", stable, 4)
    return PAGE + stable[2080 : 2080 + buckets].index(memory) * bucket_pages * PAGE


def upgraded(compiled: Compiled, stable: bytes | bytearray) -> Host:
    """A probe that finds this stable memory."""
    host = Host(*compiled, stable=bytes(stable))
    host.upgrade()
    return host


@pytest.mark.parametrize("kind", [MapMachine, LargeMapMachine])
def test_a_map_is_a_dict_that_survives_upgrades(compiled: Compiled, kind: type[MapMachine]) -> None:
    machine = type("Machine", (kind,), {"compiled": compiled})
    machine.TestCase.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
    machine.TestCase("runTest").runTest()


def test_values_of_every_kind_find_a_slot_or_stay_in_the_tree(compiled: Compiled, host: Host) -> None:
    texts = ["", "a", "\N{EM DASH}" * 600, "n" * 1900, "n" * 4000, "b", "n" * 1980, "n" * 1900]
    model: dict[str, Any] = {}
    for step in range(30):
        key = f"note {step % 5}"
        value = {"x": -step, "y": step, "from_": texts[step % len(texts)]}
        assert evaluate(host, f"notes.insert({key!r}, {value!r})") == model.get(key)
        model[key] = value
    assert evaluate(upgraded(compiled, host.stable), "notes.items()") == sorted(model.items())


def test_stable_memory_stops_growing_when_values_come_and_go(host: Host) -> None:
    run(host, f"for key in range(40):\n  large.insert(key, bytes([key]) * {LARGE_MAX})")
    full = memory_pages(host.stable, 254 - LARGE_ID)
    assert full == -(-(64 + 40 * 5056) // PAGE)
    for start in range(40, 2000, 40):
        run(
            host,
            f"for key in range({start}, {start + 40}):\n"
            f"  assert large.remove(key - 40) == bytes([(key - 40) % 256]) * {LARGE_MAX}\n"
            f"  large.insert(key, bytes([key % 256]) * {LARGE_MAX})",
        )
    assert memory_pages(host.stable, 254 - LARGE_ID) == full
    assert memory_pages(host.stable, LARGE_ID) == 1
    assert len(evaluate(host, "large.keys()")) == 40


@pytest.mark.parametrize(
    ("memory_id", "max_value_size", "large", "other"),
    [(249, 16, 5, 249), (251, 1001, 251, 3), (127, 1001, 127, 127)],
)
def test_two_maps_that_want_the_same_memory_are_refused(
    shared: Host, memory_id: int, max_value_size: int, large: int, other: int
) -> None:
    source = f"StableBTreeMap[nat64, blob](memory_id={memory_id}, max_key_size=16, max_value_size={max_value_size})"
    found = f"memory_id {large} has a max_value_size above 1000 and keeps its values in memory {other}, which .*{other}"
    with pytest.raises(CanisterTrap, match=found):
        run(shared, source)


def test_an_image_with_values_in_the_tree_reads_the_same_and_takes_slots(compiled: Compiled) -> None:
    host = upgraded(compiled, inline_image())
    assert dict(evaluate(host, "large.items()")) == INLINE_LARGE
    assert evaluate(host, "notes.items()") == INLINE_NOTES
    assert evaluate(host, "numbers.values()") == [bytes([key]) * (key * 20) for key in range(12)]
    assert memory_pages(host.stable, 254 - LARGE_ID) == 0
    keys = sorted(INLINE_LARGE)
    assert evaluate(host, f"[large.get(key) for key in {keys[:9]}]") == [INLINE_LARGE[key] for key in keys[:9]]
    assert evaluate(host, "large.remove(9)") == INLINE_LARGE[9]
    assert evaluate(host, f"[large.insert(key, bytes(key)) for key in {keys}]") == [
        INLINE_LARGE[key] if key != 9 else None for key in keys
    ]
    assert memory_pages(host.stable, 254 - LARGE_ID) > 0
    again = upgraded(compiled, host.stable)
    assert evaluate(again, "large.items()") == [(key, bytes(key)) for key in keys]


def test_the_value_before_is_read_only_where_it_is_wanted(host: Host) -> None:
    run(host, "large.insert(1, bytes(4000))")
    run(host, "large.insert(1, bytes(4000))")
    assert host.reads == 0
    run(host, "before = large.insert(1, bytes(4001))\nassert before == bytes(4000), before")
    assert host.reads == 1
    run(host, "put = large.insert\nput(1, bytes(4002))\nassert [put(1, b'')] == [bytes(4002)]")
    assert host.reads == 1
    assert evaluate(host, "list(map(large.insert, [1, 1], [b'a', b'b']))") == [b"", b"a"]


def inline_image() -> bytes:
    """`INLINE_IMAGE`, unpacked."""
    packed = gzip.decompress(INLINE_IMAGE.read_bytes())
    stable = bytearray(struct.unpack_from(">I", packed)[0] * PAGE)
    for at in range(4, len(packed), 4 + PAGE):
        start = struct.unpack_from(">I", packed, at)[0] * PAGE
        stable[start : start + PAGE] = packed[at + 4 : at + 4 + PAGE]
    return bytes(stable)


@pytest.mark.parametrize(
    ("at", "found", "text"),
    [
        (0, b"SLT\x02", "memory 249 begins with 534c5402; expected .* 534c5401 .SLT version 1"),
        (0, b"BTR\x02", "memory 249 begins with 42545202: expected 534c5401, the slots .* memory 5"),
        (
            4,
            (4992).to_bytes(4, "little"),
            "max_value_size .* memory 5 is 5000: .* slots of 4992 bytes, .* cannot grow",
        ),
    ],
)
def test_foreign_or_smaller_slots_are_refused_and_left_alone(
    compiled: Compiled, host: Host, at: int, found: bytes, text: str
) -> None:
    run(host, "large.insert(1, bytes(4000))")
    foreign = bytearray(host.stable)
    start = memory_start(foreign, 254 - LARGE_ID) + at
    foreign[start : start + len(found)] = found
    refusing = Host(*compiled, stable=bytes(foreign))
    with pytest.raises(CanisterTrap, match=text):
        refusing.upgrade()
    assert refusing.stable == foreign


def test_a_map_does_not_open_over_the_slots_of_another(compiled: Compiled, host: Host) -> None:
    run(host, "large.insert(1, bytes(4000))")
    foreign = bytearray(host.stable)
    foreign[2080 + foreign[2080:2100].index(254 - LARGE_ID)] = 200
    struct.pack_into("<Q", foreign, 40 + 8 * 200, 1)
    struct.pack_into("<Q", foreign, 40 + 8 * (254 - LARGE_ID), 0)
    moved = upgraded(compiled, foreign)
    with pytest.raises(CanisterTrap, match="memory 200 begins with 534c5401: expected 42545202"):
        run(moved, "StableBTreeMap[nat64, blob](memory_id=200, max_key_size=16, max_value_size=16)")


def test_a_trap_in_the_middle_of_an_update_leaves_the_maps_as_they_were(
    network: Network, artifact: canister_build.Artifact
) -> None:
    canister = network.create()
    network.install(canister, artifact.wasm_gz.read_bytes(), args((Types.Opt(Types.Text), [])))

    def evaluated(source: str) -> Any:
        reply = network.update(canister, "evaluate", args((Types.Text, source)), ANONYMOUS)
        return eval(values(reply)[0])

    evaluated("[large.insert(key, bytes([key]) * 4000) for key in range(20)]")
    evaluated("large.remove(3)")
    before = evaluated("large.items()")
    spoils = (
        "[large.insert(key, bytes(100)) for key in range(40)]",
        "[large.remove(key) for key in range(20)]",
        "[large.remove(key) and large.insert(100 + key, bytes(9)) for key in range(10, 15)]",
    )
    for spoil in spoils:
        with pytest.raises(CallRejected, match="ZeroDivisionError"):
            evaluated(f"({spoil}, 1 // 0)")
        assert evaluated("large.items()") == before
        assert evaluated("[(key, large.get(key)) for key in large.keys()]") == before
    assert evaluated("large.insert(5, b'new')") == bytes([5]) * 4000
    assert evaluated("[large.insert(key, b'n') for key in (3, 30)]") == [None, None]
    model = dict(before) | {5: b"new", 3: b"n", 30: b"n"}
    assert dict(evaluated("large.items()")) == model


def test_large_values_cost_little_more_than_their_bytes(host: Host) -> None:
    run(host, f"for key in range(600):\n  large.insert(key, bytes({LARGE_MAX}))")
    assert each(host, "large.insert(599, V[1])").is_within(8_000, reads=1, writes=1.1)
    assert each(host, "large.insert(599, V[i % 2])").is_within(14_000, reads=1, writes=2)
    assert each(host, "large.insert(600 + i, V[0])").is_within(32_000, reads=10, writes=8)
    assert each(host, "large.get(i * 12)").is_within(12_000, reads=8, writes=0)
    assert each(host, "large.get(599)").is_within(6_000, reads=1, writes=0)


@pytest.mark.parametrize(("entries", "got", "put", "overwritten"), [(600, 11, 19, 13), (5000, 12, 22, 14)])
def test_small_entries_cost_a_read_for_a_node(host: Host, entries: int, got: int, put: int, overwritten: int) -> None:
    run(host, f"for key in range({entries}):\n  numbers.insert(key, b'v' * 16)")
    step = entries // 50
    assert each(host, f"numbers.get(i * {step})").is_within(1000 * got, reads=6, writes=0)
    assert each(host, f"numbers.insert({entries} + i, b'v' * 16)").is_within(1000 * put, reads=8, writes=4)
    assert each(host, f"numbers.insert(i * {step}, b'w' * 16)").is_within(1000 * overwritten, reads=6, writes=1)
