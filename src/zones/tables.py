"""Tables of what a fleet has: columns for people, the same rows for `--json` and `--csv`.

Not for where the rows come from. A row is a dict of plain values: amounts in cycles, times as ISO 8601 in UTC.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NOTHING = "-"
"""What people see where a row has no value."""
NS = 1_000_000_000
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters (C0, C1), ends of lines and changes of direction: what moves a terminal's cursor or misleads."""


@dataclass(frozen=True)
class Column:
    """A column: the key in a row, the heading for people, how a value is shown to them."""

    key: str
    title: str
    show: Callable[[Any], str] = str
    right: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under columns; a value that a row lacks or that is None is nothing."""

    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]

    def lines(self) -> list[str]:
        """Return the table for people, a heading first; columns are as wide as what is in them."""
        shown = ([text for _, text in self.shown(row)] for row in self.rows)
        cells = [[column.title for column in self.columns], *shown]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return [self._line(row, widths) for row in cells]

    def csv(self) -> str:
        """Return the rows as CSV (RFC 4180) under their keys.

        Values are those of `--json`, but lists are `joined` and texts `printable`.
        """
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(column.key for column in self.columns)
        for row in self.rows:
            writer.writerow(printable(joined(row.get(column.key))) for column in self.columns)
        return text.getvalue()

    def shown(self, row: dict[str, Any]) -> list[tuple[Column, str]]:
        """Return each column with its value in a row as people see it."""
        values = [(column, row.get(column.key)) for column in self.columns]
        return [(column, NOTHING if value is None else column.show(value)) for column, value in values]

    def _line(self, cells: Iterable[str], widths: Iterable[int]) -> str:
        placed = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in zip(self.columns, cells, widths, strict=True)
        ]
        return "  ".join(placed).rstrip()


def joined(value: Any) -> str:
    """Return a value of a row as text: the members of a list with spaces between them, nothing for None."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def printable(text: str) -> str:
    """Return a text, which may be a canister's, in one line and without what a terminal takes as a command."""
    return _UNPRINTABLE.sub(lambda found: " " if found[0].isspace() else "\N{REPLACEMENT CHARACTER}", text)


def iso(ns: int | None) -> str | None:
    """Return a time (ns since 1970) as rows have it, for example 2026-03-01T12:00:00Z."""
    return None if ns is None else datetime.fromtimestamp(ns // NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_shown(text: str) -> str:
    """Return a time of a row for people."""
    return text.replace("T", " ").removesuffix("Z")


def days_shown(days: float) -> str:
    """Return a number of days for people: `12 d`, and `over 10 years` where the exact number means nothing."""
    return "over 10 years" if days > 3_650 else f"{days:.0f} d" if days >= 10 else f"{days:.1f} d"
