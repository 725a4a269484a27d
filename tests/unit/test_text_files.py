"""Text files of the product are UTF-8, whatever the locale says that a text file is."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def opens_a_text(call: ast.Call) -> bool:
    """Whether a call opens a text file, or a process's output as text."""
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id == "open"
    if call.func.attr in ("read_text", "write_text"):
        return True
    mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    if call.func.attr == "open":
        return isinstance(mode, str) and set(mode) <= set("rwxat+")
    return any(keyword.arg in ("text", "universal_newlines") for keyword in call.keywords)


def test_every_text_file_is_opened_with_its_encoding() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for folder in ("src", "scripts", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and opens_a_text(call)
        and not any(keyword.arg == "encoding" for keyword in call.keywords)
    ]
    assert found == []
