"""Work in threads of its own, one thing or some at a time: neither an error nor Ctrl-C waits for what is under way.

Not for processes (`zones.processes`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

AT_ONCE = 4
"""How many things are done at the same time."""

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def begun(work: Callable[[], _Found]) -> Future[_Found]:
    """Begin to work; returns what has its result."""
    done: Future[_Found] = Future()
    _start([(done, work)])
    return done


def at_once(work: Callable[[_Item], _Found], items: Sequence[_Item], progress: Progress) -> list[_Found]:
    """Return what work makes of each item, a few at the same time, in the order of the items.

    What work raises is raised, for the first item that it is raised for; what was not begun by then never is.
    """
    jobs: list[tuple[Future[_Found], Callable[[], _Found]]] = [(Future(), partial(work, item)) for item in items]
    left = iter(jobs)  # the iterator of a list may be shared by threads: each job is taken once
    for _ in range(min(AT_ONCE, len(jobs))):
        _start(left)
    found = []
    try:
        for job, _ in jobs:
            one = job.result()
            progress(len(found), len(jobs))
            found.append(one)
    finally:
        for job, _ in jobs:
            job.cancel()
    return found


def _start(jobs: Iterable[tuple[Future[_Found], Callable[[], _Found]]]) -> None:
    def run() -> None:
        for done, work in jobs:
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

    # `concurrent.futures` joins its own threads when the interpreter ends.
    threading.Thread(target=run, daemon=True).start()
