"""The command groups of `zones`: each registers its options and turns them into calls of the library.

Not for logic: what a command does is a function of the library, so that programs can do it too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

from zones.context import Context, Result

Run = Callable[[Context], Result | None]
Subparsers = argparse._SubParsersAction


class Add(Protocol):
    """Adds a command: its group, name, one-line summary, function and an example; `local` ones need no network."""

    def __call__(
        self, to: Subparsers, name: str, summary: str, run: Run, example: str, *, local: bool = False
    ) -> argparse.ArgumentParser:
        """Return the parser to add the command's own options to."""
        ...
