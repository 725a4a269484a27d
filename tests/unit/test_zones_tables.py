"""Tables: what a terminal, a spreadsheet and a program get of the same rows."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from zones.tables import Column, Table, printable

COLUMNS = (Column("name", "name"), Column("owners", "owners", " ".join), Column("note", "note"))
HOSTILE = "gone\x1b[2J\x1b]0;title\x07\r\nrow\x9b31m\u202egnp\u2028end"


def test_a_text_of_a_canister_stays_in_its_line_and_commands_no_terminal() -> None:
    assert printable(HOSTILE) == "gone\ufffd[2J\ufffd]0;title\ufffd  row\ufffd31m\ufffdgnp end"
    assert printable("grün, 🙂, 中") == "grün, 🙂, 中"


@given(st.text())
def test_what_is_printed_has_no_control_characters_and_as_many_signs(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in shown)


def test_csv_has_lists_with_spaces_and_a_row_in_a_line() -> None:
    rows = [{"name": "a", "owners": ["x", "y"], "note": HOSTILE}, {"name": 2, "owners": [], "note": None}]
    text = Table(COLUMNS, rows).csv()
    assert text.count("\r\n") == len(text.splitlines()) == 3
    first, second = csv.DictReader(io.StringIO(text))
    assert first == {"name": "a", "owners": "x y", "note": printable(HOSTILE)}
    assert second == {"name": "2", "owners": "", "note": ""}
