"""The benchmark of a factory's children measures what it says, on fleets small enough for every run of the tests."""

from __future__ import annotations

import pytest

from bench.fleet import growth, measure


@pytest.mark.localnet_only("counts instructions")
def test_what_children_cost_is_counted_apart_from_what_they_are_given(factory_build: object) -> None:
    small, large = (measure(size, seed=1, sweeps=1) for size in (2, 6))
    each = growth(small, large)
    assert (each.from_children, each.to_children) == (2, 6)
    # A call to the platform and some reads and writes of stable memory; a refill passes on 100 G and more.
    assert 10**6 < each.cycles_a_sweep < 50 * 10**6
    assert 10**5 < each.instructions_a_sweep < 5 * 10**6
    assert each.instructions_a_beat < 1_000, "a sweep was taken for a look at the clock"
    assert 1_000 < large.written_bytes / large.children < large.stable_bytes
