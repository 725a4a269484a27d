"""Networks to run the canisters on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.network import Network


@pytest.fixture
def network() -> Iterator[Network]:
    """A fresh network of one application subnet."""
    with Network() as fresh:
        yield fresh
