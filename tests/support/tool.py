"""The command line `zones` under test, with one state folder: in this process or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from localnet.principal import to_text
from zones import cli, network
from zones.state import State


class Tool:
    """Runs commands of `zones` with one state folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        self.state = State(folder)
        self.capsys = capsys

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run in this process with --json; returns the object printed. The exit code `code` is expected."""
        return json.loads(self.text(*arguments, "--json", code=code))

    def text(self, *arguments: str, code: int = 0) -> str:
        """Run in this process; returns what is printed. The exit code `code` is expected, and a silent stderr."""
        assert self.capsys is not None
        self.capsys.readouterr()
        found = cli.main([*arguments, "--state", str(self.state.root)])
        output = self.capsys.readouterr()
        assert (found, output.err) == (code, "")
        return output.out

    def error(self, *arguments: str) -> tuple[int, str]:
        """Run in this process; returns exit code and the one line of stderr."""
        assert self.capsys is not None
        self.capsys.readouterr()
        code = cli.main([*arguments, "--state", str(self.state.root)])
        error = self.capsys.readouterr().err
        assert error.count("\n") == 1
        return code, error

    def principal(self, name: str) -> str:
        """The principal of an identity, made if there is none of that name."""
        return to_text(self.state.identity(name, create=True).sender())

    def process(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run as a process of its own."""
        command = [sys.executable, "-m", "zones", *arguments, "--state", str(self.state.root)]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@contextmanager
def deployed(folder: Path, *steps: str) -> Iterator[Path]:
    """A state folder with a running network on which the commands in `steps` were run."""
    tool = Tool(folder)
    network.start(tool.state, 0)
    try:
        for step in steps:
            done = tool.process(*step.split())
            assert done.returncode == 0, done.stderr
        yield folder
    finally:
        network.stop(tool.state)
