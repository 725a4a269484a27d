"""The folder a network's state is kept in: checkpoints, the log between them, and who may use it.

A checkpoint is taken when the folder is new, when replaying the log would take long, and at an orderly end. Its
pages are collected while the network's lock is held; writing them through to the disk, and removing what they
replace, happens beside the network's work.

| file | content |
|---|---|
| `lock` | process id of who uses the folder; a POSIX lock is on it meanwhile |
| `checkpoint` | the last complete checkpoint (format: `checkpoint`), put in place by renaming `checkpoint.new` |
| `log-N` | inputs since checkpoint N (format: `journal`); while checkpoint N + 1 is being written there are two |
| `pages-N` | pages that checkpoint N added (format: `pages`) |
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from localnet import checkpoint, journal
from localnet.checkpoint import Saver, Setup, Stored
from localnet.errors import BadRequest
from localnet.image import StateError
from localnet.journal import Log
from localnet.network import Network
from localnet.pages import PageFiles

logger = logging.getLogger("localnet")

MAX_LOG_BYTES = 64 * 1024 * 1024
MAX_REPLAY_SECONDS = 10.0
"""A checkpoint is taken when executing what is in the log took this long…"""
CHECKPOINT_SHARE = 10
"""…and at least this many times as long as the last checkpoint did: they never take more than a tenth of the time."""
MAX_LOG_SECONDS = 300.0
"""Age of a log at which a checkpoint is taken: only checkpoints are sure to outlast a failure of power."""
_ADVICE = "remove the folder to start afresh, or move it away to keep it"
_LOG, _PAGES = "log-", "pages-"

R = TypeVar("R")
_used_here: set[Path] = set()
_used_lock = threading.Lock()


class StateFolder:
    """One network's folder, from `open` to `close`. Methods that touch the network need its lock, if others run."""

    def __init__(self, path: Path) -> None:
        """Use a folder (made when it isn't there). Raises `StateError` when it can't be used."""
        self.path = path
        self._checkpoint_file = path / "checkpoint"
        self._lock_file = self._take()
        try:
            self._check()
        except BaseException:
            self._release()
            raise
        self._network: Network | None = None
        self._log: Log | None = None
        self._pages = PageFiles(path)
        self._saver = Saver()
        self._stored = 0
        """Number of the checkpoint in place; 0 while there is none."""
        self._number = 0
        """Number of the log that is written."""
        self._busy = 0.0
        """Seconds it took to execute what is in the log."""
        self._since = time.monotonic()
        """When the log was started."""
        self._most_bytes = MAX_LOG_BYTES
        """Size of the log at which a checkpoint is due."""
        self._cost = 0.0
        """Seconds the last checkpoint held the network up."""
        self.failure: str | None = None
        """Why the folder cannot be written any more."""
        self._writer: threading.Thread | None = None

    # Who uses it --------------------------------------------------------------------------------------

    def _take(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            resolved = self.path.resolve()
            with _used_lock:
                # A POSIX lock keeps other processes out, but not this one; unlike flock it isn't inherited by forks.
                if resolved in _used_here:
                    raise StateError(f"another network of this process uses {self.path}")
                handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
                    os.close(handle)
                    raise StateError(f"{self.path} is used by process {owner or '?'}: stop that first") from error
                _used_here.add(resolved)
        except OSError as error:
            raise StateError(f"{self.path} cannot be used as a state folder: {error.strerror}") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle

    def _release(self) -> None:
        with _used_lock:
            _used_here.discard(self.path.resolve())
            os.close(self._lock_file)

    def _check(self) -> None:
        if self._checkpoint_file.exists():
            return
        entries = {entry.name for entry in self.path.iterdir()} - {"lock"}
        # What a first checkpoint leaves that did not get finished.
        leftovers = {name for name in entries if name == "checkpoint.new" or name.startswith((_LOG, _PAGES))}
        others = sorted(entries - leftovers)
        if others:
            raise StateError(
                f"{self.path} is no state folder of localnet: it has no checkpoint, but holds {', '.join(others[:5])} "
                "(the state of a PocketIC server or of a replica cannot be read); name an empty or a new folder"
            )
        for name in leftovers:
            (self.path / name).unlink()

    # Loading ------------------------------------------------------------------------------------------

    def load(self, make: Callable[[Setup], Network]) -> Network | None:
        """The network as it was when the folder was last used; None when the folder is new.

        ``make`` creates an empty network with a setup. Raises `StateError` when the folder can't be read.
        """
        if not self._checkpoint_file.exists():
            return None
        stored: Stored | None = None
        try:
            stored = checkpoint.unpack(self._checkpoint_file)
            self._pages = PageFiles(self.path, stored.pages)
            network = make(checkpoint.load_setup(stored, self._pages))
            checkpoint.restore(network, stored, self._pages)
            self._stored = stored.number
            replayed = self._replay(network, stored.number)
        except (StateError, OSError) as error:
            writer = f" (written by {stored.writer})" if stored is not None else ""
            raise StateError(f"the state in {self.path}{writer} cannot be loaded: {error}; {_ADVICE}") from error
        if replayed:
            logger.info("%d inputs since the last checkpoint were replayed from %s", replayed, self.path)
        for outcall in network.outcalls.pending.values():
            outcall.fetching = False
        return network

    def _replay(self, network: Network, number: int) -> int:
        count = 0
        if not self._path(number).exists():
            raise StateError(f"its log {self._path(number)} is missing")
        while (path := self._path(number)).exists():
            for name, arguments, result in journal.read(path, number):
                count += 1
                self._again(network, path, name, arguments, result)
            self._number = number
            number += 1
        return count

    @staticmethod
    def _again(network: Network, path: Path, name: str, arguments: list[Any], expected: Any) -> None:
        try:
            result = getattr(network, name)(*arguments)
        except Exception as error:
            result = ["fault", type(error).__name__]
        if result != expected:
            raise StateError(
                f"{path} was replayed, but {name} gave {result!r} and not {expected!r} as before: another version of "
                "localnet executes it differently (load it with the version that wrote it and end that in an orderly "
                "way, by SIGTERM; the checkpoint made then can be loaded)"
            )

    def _path(self, number: int) -> Path:
        return self.path / f"{_LOG}{number:08}"

    def attach(self, network: Network) -> None:
        """Record the network's inputs from now on. Starts with a checkpoint unless the last one is the whole state."""
        self._network = network
        if self._stored:
            self._log = Log(self._path(self._number), self._number)
        if self._log is None or self._number != self._stored or not self._log.empty:
            self.checkpoint()
        network.recorder = self

    # Recording ----------------------------------------------------------------------------------------

    def run(self, name: str, arguments: tuple[Any, ...], call: Callable[[], R], refusals: tuple[type, ...]) -> R:
        """Make a call that changes the network and note it, before anybody is told its result.

        Raises `BadRequest` (503) when the folder can't be written any more: what isn't on disk isn't acknowledged.
        """
        if self.failure is not None:
            raise BadRequest(self.failure, 503)
        started = time.monotonic()
        try:
            result = call()
        except Exception as error:
            if not isinstance(error, refusals):
                self._note(name, arguments, ["fault", type(error).__name__])
            raise
        self._note(name, arguments, result)
        self._busy += time.monotonic() - started
        assert self._log is not None
        if self._is_due():
            self._checkpoint_beside()
        return result

    def _is_due(self) -> bool:
        assert self._log is not None
        return (
            self._busy > max(MAX_REPLAY_SECONDS, CHECKPOINT_SHARE * self._cost)
            or self._log.size > self._most_bytes
            or time.monotonic() - self._since > max(MAX_LOG_SECONDS, CHECKPOINT_SHARE * self._cost)
        )

    def _note(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        assert self._log is not None
        try:
            self._log.append([name, arguments, result])
        except Exception as error:
            self._fail(error)
            raise BadRequest(str(self.failure), 503) from error

    def _fail(self, error: Exception) -> None:
        self.failure = f"the state folder {self.path} cannot be written: {error}; the network has stopped"
        logger.error("%s", self.failure)

    # Checkpoints --------------------------------------------------------------------------------------

    def _checkpoint_beside(self) -> None:
        if self._writer is not None and self._writer.is_alive():
            return
        try:
            collected = self._collect()
        except StateError:
            # Nothing is lost: the log goes on. It is tried again when as much is in it once more.
            logger.exception("no checkpoint of %s could be taken", self.path)
            self._busy, self._since = 0.0, time.monotonic()
            if self._log is not None:
                self._most_bytes = self._log.size + MAX_LOG_BYTES
            return
        except OSError as error:
            self._fail(error)
            return
        self._writer = threading.Thread(target=self._commit, args=collected, name="localnet checkpoint", daemon=True)
        self._writer.start()

    def _collect(self) -> tuple[int, bytes, Log | None]:
        """Collect a checkpoint, and start the log that follows it."""
        assert self._network is not None
        started = time.monotonic()
        number = self._number + 1
        self._pages.begin(number)
        try:
            content = self._saver.state(self._network, self._pages)
            index = self._pages.finish(checkpoint.needed_pages([content[1], content[2]]))
        except BaseException:
            self._pages.abort()
            self._saver = Saver()  # it remembers pages that were given up
            raise
        packed = checkpoint.pack(checkpoint.stored(number, content, index))
        before, self._log = self._log, Log(self._path(number), number)
        self._number = number
        self._busy, self._since, self._most_bytes = 0.0, time.monotonic(), MAX_LOG_BYTES
        self._cost = time.monotonic() - started
        return number, packed, before

    def _commit(self, number: int, packed: bytes, before: Log | None) -> None:
        """Put a collected checkpoint in the place of the one before."""
        try:
            self._pages.sync()
            if before is not None:
                before.close()
            partial = self._checkpoint_file.with_suffix(".new")
            with partial.open("wb") as file:
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._checkpoint_file)
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            for path in self.path.glob(f"{_LOG}*"):
                if path < self._path(number):
                    path.unlink()
            self._pages.drop_unused()
            self._stored = number
        except OSError as error:
            self._fail(error)

    def checkpoint(self) -> None:
        """Take a checkpoint now and return when it is on disk. Raises `StateError` when that fails."""
        self._wait()
        if self.failure is None:
            self._commit(*self._collect())
        if self.failure is not None:
            raise StateError(self.failure)

    @property
    def _unsaved(self) -> bool:
        return self._network is not None and (self._log is None or not self._log.empty or bool(self._network.queried))

    def _wait(self) -> None:
        if self._writer is not None:
            self._writer.join()

    def close(self) -> None:
        """Save what isn't saved yet and give the folder free; the network takes no more inputs.

        Raises `StateError` when the checkpoint fails; the log is kept then.
        """
        try:
            self._wait()
            if self.failure is None and self._unsaved:
                self.checkpoint()
        finally:
            self.failure = self.failure or "the network is stopped"
            with contextlib.suppress(OSError):
                if self._log is not None:
                    self._log.close()
            self._pages.close()
            self._release()
