"""Fixtures: a network per test on a server per test process."""

from collections.abc import Iterator

import pytest

from tests.support.network import Network


@pytest.fixture
def net() -> Iterator[Network]:
    """A network with one application subnet."""
    with Network() as network:
        yield network
