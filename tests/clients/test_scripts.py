"""The scripts that operators know by name: each is a command of `zones fleet`."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from zones import cli

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


@pytest.mark.parametrize(
    ("options", "codes", "code", "printed"),
    [
        ([], [0, 0], 0, "rollout zones "),
        ([], [5, 0], 5, "rollout zones "),
        ([], [0, 5], 5, "rollout zones "),
        ([], [5, 2], 2, "rollout zones "),
        ([], [3], 3, "rollout "),
        (["--csv"], [5, 0], 5, "zones "),
        (["--json"], [5, 0], 5, '{"factory": "f", "rollout": 1, "zones": 1}\n'),
        (["--json"], [3], 3, ""),
    ],
)
def test_the_list_follows_a_rollout_that_was_carried_out(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    codes: list[int],
    code: int,
    printed: str,
) -> None:
    left = list(codes)

    def main(arguments: list[str]) -> int:
        what = {"rollout": "rollout", "list": "zones"}[arguments[1]]
        print(json.dumps({"factory": "f", what: 1}) if "--json" in arguments else what, end=" ")
        return left.pop(0)

    monkeypatch.setattr(cli, "main", main)
    monkeypatch.setattr(sys, "argv", ["list_canisters.py", "--upgrade", *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / "list_canisters.py"))
    assert (ended.value.code, left) == (code, [])
    assert capsys.readouterr().out == printed


def test_what_the_list_does_not_take_is_refused_before_anything_is_upgraded(tmp_path: Path) -> None:
    done = run("list_canisters", "--upgrade", "--release", "1001", "--state", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "unrecognized arguments: --release 1001" in done.stderr
