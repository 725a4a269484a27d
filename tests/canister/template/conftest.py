"""The probe canister, compiled once, and instances of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import wasmtime

import canister_build
from tests.canister.template import host as hosts
from tests.canister.template.host import Host
from tests.canister.template.probe import MAIN
from tests.canister.template.values import Types, args
from tests.support.canister_sources import write_package

Compiled = tuple[wasmtime.Module, wasmtime.Engine]


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> canister_build.Artifact:
    """The probe, built."""
    root = tmp_path_factory.mktemp("probe")
    package = write_package(root, {"main.py": MAIN}, package="probe")
    return canister_build.build(str(package), builder="template", out=root / "out")


@pytest.fixture(scope="session")
def compiled(artifact: canister_build.Artifact) -> Compiled:
    """The probe's module and its engine."""
    engine = hosts.engine()
    return hosts.load(engine, artifact.wasm_gz), engine


@pytest.fixture
def host(compiled: Compiled) -> Iterator[Host]:
    """A freshly installed probe."""
    fresh = Host(*compiled)
    fresh.install(args((Types.Opt(Types.Text), ["hello"])))
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def shared(compiled: Compiled) -> Host:
    """An installed probe for tests that leave nothing behind."""
    fresh = Host(*compiled)
    fresh.install()
    return fresh
