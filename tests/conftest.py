"""Fixtures for every test: Hypothesis's profile, the network under test, the canisters' Wasm."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.support.builds import Built, built

# Times on a shared machine are noise: no deadline, and slow generation is no failure.
hypothesis_settings.register_profile("product", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("product")

LOCALNET = Path(sys.executable).parent / "localnet"
# Test processes of xdist inherit the variable from the one that set it.
GENUINE = Path(os.environ.setdefault("POCKET_IC_BIN", str(LOCALNET))).name != LOCALNET.name


def pytest_report_header() -> str:
    """Says which network the canister tests run on."""
    if GENUINE:
        return f"network: PocketIC server {os.environ['POCKET_IC_BIN']}"
    return (
        "network: localnet; NOT run against a PocketIC server, so nothing here shows that the two are equivalent "
        "(name one in POCKET_IC_BIN to run the same tests on it)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker of tests that a PocketIC server cannot run."""
    config.addinivalue_line("markers", "localnet_only(why): needs what no PocketIC server offers; skipped on one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what only localnet can run where a PocketIC server is named."""
    for item in items:
        mark = item.get_closest_marker("localnet_only")
        if mark is not None and GENUINE:
            item.add_marker(pytest.mark.skip(reason=f"localnet only: {mark.args[0]}"))


@pytest.fixture(scope="session")
def zone_build() -> Built:
    """The zone canister."""
    return built("zone_canister")


@pytest.fixture(scope="session")
def factory_build() -> Built:
    """The factory."""
    return built("factory")
