"""What messages may cost: upper bounds of instructions, stable bytes and heap, on the Wasm.

Bounds are those that the store was designed for; where one is missed, a comment says which. Instructions are exact on
localnet and not known on a PocketIC server, so this runs in a network of its own inside the test process.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest

from bench.messages import Bench, Level, Row

STORED = 10_000


class Measured:
    """The rows of one run, by operation and batch."""

    def __init__(self, rows: list[Row], levels: list[Level]):
        self.rows = rows
        self.level = levels[0]

    def row(self, operation: str, batch: int, *, at_limit: bool = False) -> Row:
        """The only row of an operation, batch and limit."""
        found = [row for row in self.rows if (row.operation, row.batch, row.at_limit) == (operation, batch, at_limit)]
        assert found, f"no row for {operation} of {batch}"
        return found[0]


def measured(keys: int) -> Measured:
    bench = Bench(1, keys, STORED)
    bench.run()
    return Measured(bench.rows, bench.levels)


@pytest.fixture(scope="module")
def few_keys(zone_build) -> Measured:
    return measured(10)


@pytest.fixture(scope="module")
def many_keys(zone_build) -> Measured:
    return measured(10_000)


def test_rows_have_the_fields_that_scripts_read(few_keys: Measured):
    wanted = "operation batch keys stored instructions_per_message stable_reads stable_writes bytes_written"
    assert set(wanted.split()) <= set(asdict(few_keys.rows[0]))
    assert {(row.keys, row.stored) for row in few_keys.rows} == {(10, STORED)}


def test_adding_stays_within_its_instructions(few_keys: Measured, many_keys: Measured):
    bounds = {
        ("add_message", 1): (220_000, 250_000),
        ("add_messages", 10): (140_000, 140_000),
        ("add_messages", 100): (90_000, 120_000),
        ("add_messages", 1_000): (80_000, 110_000),
    }
    for (operation, batch), (few, many) in bounds.items():
        assert few_keys.row(operation, batch).instructions_per_message <= few
        assert many_keys.row(operation, batch).instructions_per_message <= many


def test_a_full_store_adds_for_a_tenth_more(few_keys: Measured, many_keys: Measured):
    for found in (few_keys, many_keys):
        for operation, batch in (("add_message", 1), ("add_messages", 100), ("add_messages", 1_000)):
            below = found.row(operation, batch).instructions_per_message
            assert found.row(operation, batch, at_limit=True).instructions_per_message <= 1.1 * below


def test_duplicates_stay_within_their_instructions(few_keys: Measured):
    assert few_keys.row("duplicate by add_message", 1).instructions_per_message <= 120_000
    assert few_keys.row("duplicates from anywhere", 64).instructions_per_message <= 120_000
    assert few_keys.row("duplicates of the last batch", 1_000).instructions_per_message <= 120_000


def test_reading_stays_within_its_instructions(few_keys: Measured, many_keys: Measured):
    assert few_keys.row("get_messages_by_range", 1_000).instructions_per_message <= 5_000
    assert few_keys.row("get_messages_since", 1_000).instructions_per_message <= 5_000
    assert many_keys.row("get_messages_by_range", 1_000).instructions_per_message <= 9_000
    assert many_keys.row("get_messages_since", 1_000).instructions_per_message <= 10_000
    assert few_keys.row("get_message_by_id", 1).instructions_per_message <= 90_000


def test_searches_within_a_key_cost_no_more_however_many_messages_are_stored(zone_build):
    found = []
    for stored in (2_000, 20_000):
        bench = Bench(1, 10, stored)
        bench.fill()
        bench.searches()
        found.append({row.operation: row.instructions_per_message for row in bench.rows})
    few, many = found
    assert len(few) == 5
    for operation, instructions in few.items():
        assert many[operation] <= 1.3 * instructions, operation
    assert many["get_min_message_id_by_key"] <= 150_000
    assert many["get_messages_since of a key, from the first"] <= 300_000


def test_messages_that_come_one_by_one_are_searched_as_cheaply(zone_build):
    bench = Bench(1, 10, 1)
    bench.fill()
    for _ in range(20):
        for pair in bench.zone.pairs(100):
            bench.add(pair)()
        bench.zone.settle()
    bench.searches()
    (oldest,) = [row for row in bench.rows if row.operation == "get_min_message_id_by_key"]
    assert oldest.instructions_per_message <= 150_000


def test_little_more_is_written_than_stored(few_keys: Measured, many_keys: Measured):
    for found in (few_keys, many_keys):
        assert found.row("add_message", 1).bytes_written <= 4_096
        assert found.row("add_message", 1, at_limit=True).bytes_written <= 4_096
        for at_limit in (False, True):
            assert found.row("add_messages", 1_000, at_limit=at_limit).bytes_written <= 400


def test_the_first_call_after_an_upgrade_costs_at_most_ten_ordinary_ones(few_keys: Measured, many_keys: Measured):
    for found in (few_keys, many_keys):
        first = [row for row in found.rows if row.operation.startswith("first ")]
        assert len(first) == 6
        for row in first:
            ordinary = row.operation.removeprefix("first ").removesuffix(" after an upgrade")
            bound = 10 * found.row(ordinary, row.batch).instructions_per_message
            assert row.instructions_per_message <= bound, row.operation


def test_the_heap_stays_small(few_keys: Measured, many_keys: Measured):
    for found in (few_keys, many_keys):
        assert found.level.heap_bytes <= 16 << 20
        assert found.level.heap_bytes_after_upgrade <= 16 << 20
