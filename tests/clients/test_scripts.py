"""The scripts that operators know by name: each is a command of `zones fleet`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
COMMANDS = {
    "refill": "fleet refill",
    "upgrade_canister": "fleet upgrade",
    "start_canister": "fleet start",
    "canister_status": "fleet status",
    "canister_info": "fleet info",
    "list_canisters": "fleet list",
    "refund": "fleet refund",
}


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own."""
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_script_is_tried_here() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {*COMMANDS, "update_quota"}


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_a_script_is_its_command(name: str, command: str) -> None:
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: zones {command} " in done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("refill", ["aaaaa-aa"], "no factory was deployed"),
        ("canister_info", ["--all"], "no factory was deployed"),
        ("list_canisters", ["--upgrade"], "no factory was deployed"),
        ("update_quota", ["much"], "'much' is no amount of cycles"),
        ("update_quota", ["1T", "soon"], "'soon' is no whole number"),
        ("update_quota", ["default"], "no factory was deployed"),
        ("start_canister", [], "ZONE"),
    ],
)
def test_a_mistake_is_one_line(name: str, arguments: list[str], said: str, tmp_path: Path) -> None:
    done = run(name, *arguments, "--network", "http://127.0.0.1:9", "--state", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr


def test_the_quota_without_a_figure_is_explained() -> None:
    done = run("update_quota")
    assert done.returncode == 1
    assert done.stderr.startswith("usage: update_quota.py default | MAX [SECONDS]")
