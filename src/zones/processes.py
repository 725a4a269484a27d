"""Background processes with a port file: starting, recognising and ending them, so that none is left behind.

Knows nothing of what the processes do. Processes are recognised by PID and start time: a PID alone may belong to
another program by now.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zones.errors import UserError

STOP_SECONDS = 5.0
"""How long a process may take to end after SIGTERM before it is killed."""
_POLL_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1
"""Linux prctl option, see prctl(2)."""


@dataclass(frozen=True)
class Running:
    """A process this package started: its PID and when it was started, as the operating system writes it."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Tell whether that very process still runs."""
        return _started(self.pid) == self.started

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL when it doesn't listen."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive():
                break
            os.kill(self.pid, number)
            give_up = time.monotonic() + STOP_SECONDS
            while self.alive() and time.monotonic() < give_up:
                time.sleep(_POLL_SECONDS)
        with contextlib.suppress(ChildProcessError):  # it is only reaped by whoever started it
            os.waitpid(self.pid, os.WNOHANG)


def start(
    command: Sequence[str], log: Path, port_file: Path, *, stay: bool, seconds: float = 60.0
) -> tuple[Running, int]:
    """Start `command` in a session of its own and wait for its port; returns the process and the port.

    Its output goes to `log`. With `stay` it outlives this process, else it ends with it, however this one ends (on
    Linux; elsewhere only when it is stopped). Raises UserError with the end of the log when it doesn't come up.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    port_file.unlink(missing_ok=True)
    end_with_parent = None if stay or sys.platform != "linux" else _end_with_parent
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    running = Running(child.pid, _started(child.pid))
    try:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            port = _read_port(port_file)
            if port is not None:
                return running, port
            if child.poll() is not None:
                break
            time.sleep(_POLL_SECONDS)
        what = f"exit code {child.returncode}" if child.poll() is not None else f"no port within {seconds:.0f} s"
        raise UserError(
            f"{Path(command[0]).name} {' '.join(command[1:3])} did not start ({what}): {_tail(log)}", f"see {log}"
        )
    except BaseException:
        running.stop()
        raise


def require_free_port(port: int) -> None:
    """Raise UserError when 127.0.0.1:`port` can't be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"127.0.0.1:{port} can't be used: {error}",
                "stop what listens there (`zones network stop`), or take another port with --port",
            ) from error


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _read_port(port_file: Path) -> int | None:
    try:
        text = port_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return int(text) if text.endswith("\n") else None


def _started(pid: int) -> str:
    """Return when a process was started; "" when there is none or it has ended and only waits to be reaped."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # state and start time in ticks since boot, proc(5)
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, encoding="utf-8", check=False)
    return listed.stdout.strip()


def _tail(log: Path, lines: int = 3) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    return " | ".join(text.splitlines()[-lines:]) or "it printed nothing"
