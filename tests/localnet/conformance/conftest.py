"""Fixtures of the conformance suite. It speaks to a network through the PocketIC client and its endpoints alone."""

from collections.abc import Iterator

import pytest

from tests.localnet.two_subnets import TwoSubnets, two_subnets


@pytest.fixture
def two() -> Iterator[TwoSubnets]:
    """A network of two application subnets."""
    with two_subnets() as found:
        yield found
