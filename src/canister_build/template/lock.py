"""One build at a time: a lock on a file that says who holds it.

Not a lock between threads of one process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.5


@contextmanager
def held(path: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock; while another process has it, calls `waiting` once with its description and waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    file.seek(0)
                    waiting(file.read().strip() or "unknown")
                    told = True
                time.sleep(_POLL_S)
        file.truncate(0)
        file.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
