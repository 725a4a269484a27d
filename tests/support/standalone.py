"""Starts a standalone `localnet`: one network for agents, in real time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def standalone(folder: Path, *options: str) -> Iterator[str]:
    """Run ``localnet --listen`` with more options; gives its address, and stops it at the end."""
    port_file = folder / "port"
    command = [sys.executable, "-m", "localnet", "--listen", "127.0.0.1:0", "--auto-progress"]
    process = subprocess.Popen([*command, "--port-file", str(port_file), *options])
    try:
        deadline = time.monotonic() + 60
        while not (port_file.exists() and "\n" in port_file.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"localnet did not start (exit code {process.poll()})")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}"
    finally:
        process.terminate()
        process.wait(20)
