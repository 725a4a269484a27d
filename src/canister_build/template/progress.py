"""Shows how a build goes: a line updated in place on a terminal, a line now and then otherwise.

Not for logs: those are files, named here.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_LINE_EVERY_S = 20.0


@dataclass
class _Running:
    title: str
    log: Path
    since: float


class Progress:
    """A build's progress on a stream (stderr unless told otherwise)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._in_place = self._stream.isatty()
        self._running: dict[str, _Running] = {}
        self._total = 0
        self._done = 0
        self._last_line = 0.0
        self._width = 0
        self._begun = time.monotonic()

    @property
    def interval(self) -> float:
        """How often `tick` wants to be called, in seconds."""
        return 0.5

    def begin(self, stages: list[str]) -> None:
        """The stages that will run."""
        self._total = len(stages)
        if stages:
            self._say(f"Building the interpreter template: {len(stages)} stages ({', '.join(stages)})")

    def started(self, name: str, title: str, log: Path) -> None:
        """A stage begins."""
        self._running[name] = _Running(title, log, time.monotonic())
        number = self._done + len(self._running)
        self._say(f"[{number}/{self._total}] {name}: {title} (log: {log})")

    def finished(self, name: str) -> None:
        """A stage is done."""
        stage = self._running.pop(name)
        self._done += 1
        self._say(f"[{self._done}/{self._total}] {name} done in {_clock(time.monotonic() - stage.since)}")

    def tick(self) -> None:
        """Time has passed."""
        now = time.monotonic()
        if not self._running or (not self._in_place and now - self._last_line < _LINE_EVERY_S):
            return
        parts = [f"{name} {_clock(now - stage.since)}" for name, stage in self._running.items()]
        line = f"{self._done}/{self._total} stages, {_clock(now - self._begun)}: {', '.join(parts)}"
        if not self._in_place:
            self._say(line)
            return
        self._clear()
        self._stream.write(line)
        self._stream.flush()
        self._width = len(line)

    def end(self) -> None:
        """Nothing runs any more."""
        self._clear()

    def waiting(self, holder: str) -> None:
        """Another process is building."""
        self._say(f"Another build of the template is running ({holder}); waiting for it")

    def _say(self, text: str) -> None:
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()
        self._last_line = time.monotonic()

    def _clear(self) -> None:
        if self._in_place and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
