"""Runs named stages that turn inputs into folders, keeps finished ones, and goes on after an interruption.

Each stage's folder is named by the hash of its inputs and of the stages it needs, and appears only when it is complete.
Not for what the stages do: `recipe` says that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from .errors import StageError
from .progress import Progress

KEY_LENGTH = 16


class Interrupted(Exception):
    """Another stage failed, or the user stopped the build."""


@dataclass(frozen=True)
class Stage:
    """A step of the build.

    `inputs` is every text the output depends on; `needs` are the stages whose folders it reads. `work` fills the folder
    `Workshop.out`.
    """

    name: str
    title: str
    inputs: tuple[str, ...]
    needs: tuple[Stage, ...]
    work: Callable[[Workshop], None]

    @property
    def key(self) -> str:
        """Hash of all that decides the output, in hex."""
        parts = [self.name, *self.inputs, *(stage.key for stage in self.needs)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:KEY_LENGTH]


@dataclass
class Workshop:
    """What a stage works with: the folder to fill, those of the stages it needs, its log, and commands."""

    out: Path
    needs: Mapping[str, Path]
    log: Path
    downloads: Path
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        """Runs a command with its output in the log; raises CalledProcessError when it fails."""
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(map(str, command))}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd or self.out,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            while True:
                try:
                    code = process.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if self.stopped.is_set():
                        _end(process)
                        raise Interrupted from None
        if code != 0:
            raise subprocess.CalledProcessError(code, [str(part) for part in command])

    def note(self, text: str) -> None:
        """A line in the log."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(text + "\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command and its children, which share its session."""
    os.killpg(process.pid, 15)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()


def order(last: Stage) -> list[Stage]:
    """The stages `last` needs, directly or not, and `last`; each after those it needs."""
    found: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        for needed in stage.needs:
            visit(needed)
        found.setdefault(stage.name, stage)

    visit(last)
    return list(found.values())


def stage_folder(cache: Path, stage: Stage) -> Path:
    """Where a stage's output is, or will be."""
    return cache / "stages" / f"{stage.name}-{stage.key}"


def build(last: Stage, cache: Path, progress: Progress, workers: int = 2) -> Path:
    """Builds what `last` needs and is not there yet, stages side by side where they can be; returns its folder.

    Raises StageError for the first stage that fails; finished ones are kept.
    """
    needed = _missing(last, cache)
    stopped = threading.Event()
    finished = {stage.name for stage in order(last) if stage not in needed}
    running: dict[Future[None], Stage] = {}
    progress.begin([stage.name for stage in needed])
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            while needed or running:
                ready = [stage for stage in needed if all(n.name in finished for n in stage.needs)]
                for stage in ready[: workers - len(running)]:
                    needed.remove(stage)
                    progress.started(stage.name, stage.title, _log(cache, stage))
                    running[pool.submit(_run, stage, cache, stopped)] = stage
                done, _ = wait(running, timeout=progress.interval, return_when=FIRST_COMPLETED)
                progress.tick()
                for future in done:
                    stage = running.pop(future)
                    future.result()
                    finished.add(stage.name)
                    progress.finished(stage.name)
        except BaseException:
            stopped.set()
            raise
        finally:
            progress.end()
    return stage_folder(cache, last)


def _missing(last: Stage, cache: Path) -> list[Stage]:
    """Stages to run: unfinished ones that the result needs; what only a finished one needed stays as it is."""
    wanted: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage_folder(cache, stage).exists():
            return
        for needed in stage.needs:
            visit(needed)
        wanted.setdefault(stage.name, stage)

    visit(last)
    return list(wanted.values())


def _log(cache: Path, stage: Stage) -> Path:
    return cache / "logs" / f"{stage.name}-{stage.key}.log"


def _run(stage: Stage, cache: Path, stopped: threading.Event) -> None:
    folder = stage_folder(cache, stage)
    partial = folder.with_name(folder.name + ".partial")
    log = _log(cache, stage)
    for path in (partial.parent, log.parent, cache / "downloads"):
        path.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    log.write_text(f"# {stage.title}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n", encoding="utf-8")
    needs = {needed.name: stage_folder(cache, needed) for needed in stage.needs}
    try:
        stage.work(Workshop(partial, needs, log, cache / "downloads", stopped))
    except subprocess.CalledProcessError as error:
        reason = f"{Path(error.cmd[0]).name} ended with code {error.returncode}"
        raise StageError(stage.name, reason, log) from error
    except OSError as error:
        raise StageError(stage.name, str(error), log) from error
    partial.rename(folder)
