"""Files of the state folder that hold something else than what was kept in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zones.errors import UserError
from zones.state import State
from zones.upgrade_journal import KEPT, Entry, Journal

ENTRY = vars(Entry(1001, "ab" * 32, "cd" * 32, ["ef"]))
BEFORE = {**dict.fromkeys(KEPT, 1), "version": 1000}


def journal(folder: Path, content: Any) -> Journal:
    """A journal whose file holds something."""
    path = folder / "upgrade.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return Journal(State(folder), path)


@pytest.mark.parametrize("changes", [{}, {"before": BEFORE}, {"snapshot": "00ff", "until": 2**64, "going_back": True}])
def test_an_upgrade_that_was_kept_is_read_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert journal(tmp_path, {**ENTRY, **changes}).load() == Entry(**{**ENTRY, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "1001"},
        {"wasm_hash": "none"},
        {"snapshot": 5},
        {"snapshot": "0"},
        {"former_snapshots": 7},
        {"before": [1]},
        {"before": {"version": 1000}},
        {"until": None},
        {"more": 1},
    ],
)
def test_a_file_that_holds_no_upgrade_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"upgrade\.json holds no upgrade: .*\(remove it\)"):
        journal(tmp_path, {**ENTRY, **changes}).load()
