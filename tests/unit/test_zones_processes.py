"""Background processes: found again, ended, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import pytest

from zones import processes
from zones.errors import UserError
from zones.processes import Running


def membership(tmp_path: Path, *, stay: bool = True) -> tuple[Running, int]:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "zones.membership", "--roles", str(tmp_path / "roles.json")]
    return processes.start([*command, "--port-file", str(port_file)], tmp_path / "log", port_file, stay=stay)


def test_a_started_process_answers_and_ends_when_stopped(tmp_path: Path) -> None:
    running, port = membership(tmp_path)
    assert running.alive()
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 405
    running.stop()
    assert not running.alive()
    running.stop()


def test_another_process_with_the_same_pid_is_not_ours() -> None:
    stranger = Running(os.getpid(), "another time")
    assert not stranger.alive()
    stranger.stop()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    port_file = tmp_path / "port"
    program = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(port_file)!r}).write_text('1\\n'); time.sleep(60)"
    )
    running, _ = processes.start([sys.executable, "-c", program], tmp_path / "log", port_file, stay=True)
    running.stop()
    assert not running.alive()


def test_a_process_that_does_not_come_up_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no memory left')"]
    with pytest.raises(UserError, match=r"exit code 1.*no memory left"):
        processes.start(command, tmp_path / "log", tmp_path / "port", stay=True)


def test_a_process_that_names_no_port_in_time_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(UserError, match="no port within 0 s"):
        processes.start(command, tmp_path / "log", tmp_path / "port", stay=True, seconds=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children of a killed process")
def test_a_process_that_does_not_stay_ends_with_its_killed_parent(tmp_path: Path) -> None:
    parent_program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from zones import processes
        port_file = Path({str(tmp_path / "port")!r})
        command = [sys.executable, "-m", "zones.membership", "--roles", {str(tmp_path / "roles.json")!r}]
        running, _ = processes.start(
            [*command, "--port-file", str(port_file)], Path({str(tmp_path / "log")!r}), port_file, stay=False
        )
        print(running.pid, running.started, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", parent_program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, started = parent.stdout.readline().split()
        child = Running(int(pid), started)
        assert child.alive()
        parent.send_signal(signal.SIGKILL)
    give_up = time.monotonic() + 10
    while child.alive() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not child.alive()


def test_a_taken_port_is_refused_with_what_to_do(tmp_path: Path) -> None:
    running, port = membership(tmp_path)
    try:
        with pytest.raises(UserError, match=rf"127.0.0.1:{port} can't be used.*--port"):
            processes.require_free_port(port)
    finally:
        running.stop()
    processes.require_free_port(port)
