"""`zones upgrade` on a running network: an owner upgrades his sovereign zone, and is killed at each step of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localnet.principal import from_text, to_text
from tests.support.rollouts import VERSION
from tests.support.tool import Tool, deployed
from tests.support.variants import build_zone_variant
from zones import management, network
from zones.agent import IcAgent

LOSES = ('        "members": state.members_map.len(),\n', '        "members": 2 * state.members_map.len(),\n')
"""Code whose check fails where a zone has members."""

KILLED = """
import os, signal, sys
from zones import management
from zones.cli import main

name, when, *arguments = sys.argv[1:]
call = getattr(management, name)

def killed(*values, **options):
    if when == "after":
        call(*values, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(management, name, killed)
sys.exit(main(arguments))
"""
"""A process of `zones` that is killed before or after a call of the management canister."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running network and a factory with two more releases: 1001 and a broken 1002."""
    with deployed(tmp_path_factory.mktemp("upgrade"), "deploy --cycles 200T") as path:
        tool = Tool(path)
        for version, changes in ((1001, [VERSION]), (1002, [(VERSION[0], "\nVERSION = 1002\n"), LOSES])):
            wasm = tmp_path_factory.mktemp(str(version)) / "zone.wasm.gz"
            wasm.write_bytes(build_zone_variant(wasm.parent, *changes))
            publish = f"fleet releases --publish {wasm} --version {version}"
            done = tool.process(*publish.split())
            assert done.returncode == 0, done.stderr
        yield path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(folder, capsys)


@pytest.fixture
def zone(tool: Tool) -> str:
    """A zone that its owner alone controls, of release 1000, with a member and a message."""
    canister = tool.json("create")["canister"]
    tool.json("fleet", "upgrade", canister, "--release", "1000")
    owner = to_text(tool.state.identity("owner").sender())
    tool.json("join", "--identity", "owner", "--zone", canister)
    assert tool.process("send", "--zone", canister, text="before\n").returncode == 0
    tool.json("fleet", "waive", canister)
    handed = tool.json("custody", "offer", canister, "--custody", "sovereign", "--owner", owner)
    assert handed["controllers"] == [owner]
    return canister


def agent_of(tool: Tool) -> IcAgent:
    return IcAgent(network.resolve(tool.state, "local"), tool.state.identity("owner"))


def works(tool: Tool, zone: str, version: int) -> None:
    """Asserts that a zone runs a version, has what it had, takes more, and that nothing is left of an upgrade."""
    assert tool.json("status", "--zone", zone)["zone"]["version"] == version
    assert tool.process("send", "--zone", zone, text="after\n").returncode == 0
    texts = [message["text"] for message in tool.json("read", "--zone", zone)["messages"]]
    assert texts == ["before", "after"]
    assert management.snapshots(agent_of(tool), from_text(zone)) == []
    assert list((tool.state.root / "upgrades").glob("*.json")) == []


def kill(tool: Tool, name: str, when: str, *arguments: str) -> None:
    """Runs `zones` until it is killed at a call."""
    command = [sys.executable, "-c", KILLED, name, when, *arguments, "--state", str(tool.state.root)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL


def test_an_owner_upgrades_a_sovereign_zone_with_a_command(tool: Tool, zone: str) -> None:
    digests = {row["version"]: row["wasm_sha256"] for row in tool.json("fleet", "releases")["releases"]}
    upgrade = ("upgrade", "--zone", zone, "--release", "1001")
    code, said = tool.error(*upgrade, "--sha256", digests[1000])
    assert (code, f"release 1001 has SHA-256 {digests[1001]}, not {digests[1000]}" in said) == (1, True)
    code, said = tool.error("upgrade", "--zone", zone, "--release", "7")
    assert (code, "the factory has no release 7" in said) == (1, True)
    tool.state.identity("mallory", create=True)
    code, said = tool.error(*upgrade, "--identity", "mallory")
    assert (code, f"mallory does not control {zone} (name one of its controllers with --identity" in said) == (3, True)
    assert tool.json("status", "--zone", zone)["zone"]["version"] == 1000

    done = tool.json(*upgrade, "--sha256", digests[1001])
    told = {"zone": zone, "before": 1000, "after": 1001, "sha256": digests[1001], "changed": True}
    assert done == told
    assert tool.json(*upgrade) == {**told, "before": 1001, "changed": False}
    works(tool, zone, 1001)


def test_a_release_whose_check_fails_is_undone(tool: Tool, zone: str) -> None:
    code, said = tool.error("upgrade", "--zone", zone)  # the newest is broken
    assert code == 3
    assert "members was 1 and is 2: the zone was put back to what it was before" in said
    works(tool, zone, 1000)


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("stop", "before"),
        ("stop", "after"),
        ("take_snapshot", "after"),
        ("install", "after"),
        ("delete_snapshot", "before"),
    ],
)
def test_an_upgrade_that_was_killed_is_taken_up(tool: Tool, zone: str, name: str, when: str) -> None:
    upgrade = ("upgrade", "--zone", zone, "--release", "1001")
    kill(tool, name, when, *upgrade)
    assert tool.json(*upgrade)["after"] == 1001
    works(tool, zone, 1001)


@pytest.mark.parametrize(("name", "when"), [("load_snapshot", "before"), ("load_snapshot", "after")])
def test_going_back_that_was_killed_is_taken_up(tool: Tool, zone: str, name: str, when: str) -> None:
    kill(tool, name, when, "upgrade", "--zone", zone)
    code, said = tool.error("upgrade", "--zone", zone)
    assert (code, "the zone was put back to what it was before" in said) == (3, True)
    works(tool, zone, 1000)


def test_a_zone_that_was_left_stopped_elsewhere_is_started(tool: Tool, zone: str) -> None:
    management.stop(agent_of(tool), from_text(zone))
    assert tool.json("upgrade", "--zone", zone, "--release", "1001")["changed"]
    works(tool, zone, 1001)


def test_code_that_somebody_else_installed_meanwhile_is_left_alone(tool: Tool, zone: str) -> None:
    kill(tool, "install", "before", "upgrade", "--zone", zone, "--release", "1001")
    agent, canister = agent_of(tool), from_text(zone)
    management.install(agent, canister, b"\0asm\1\0\0\0", b"", mode="reinstall")
    code, said = tool.error("upgrade", "--zone", zone, "--release", "1001")
    (snapshot,) = management.snapshots(agent, canister)
    assert (code, "somebody installed other code on the zone meanwhile: " in said) == (1, True)
    assert f"the snapshot {snapshot.hex()} is kept (it was started; upgrade it again)" in said
    assert management.canister_status(agent, canister)["status"][0] == "running"


def test_two_upgrades_of_a_zone_do_not_run_at_once(tool: Tool, zone: str) -> None:
    key = agent_of(tool).status()["root_key"]
    path = tool.state.upgrade_path(zone, key).with_suffix(".lock")
    path.parent.mkdir(exist_ok=True)
    holder = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", holder, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        code, said = tool.error("upgrade", "--zone", zone, "--release", "1001")
        assert (code, "another `zones upgrade` of this zone runs (wait for its end)" in said) == (1, True)
        os.kill(other.pid, signal.SIGKILL)
    assert tool.json("upgrade", "--zone", zone, "--release", "1001")["changed"]
