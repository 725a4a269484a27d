"""The tables of docs/localnet.md: every test they name exists, every function of the system API has a row."""

import re
from pathlib import Path

import pytest

from localnet.system_api import signatures

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "localnet.md").read_text()
TESTS = ROOT / "tests" / "localnet"
NAME = re.compile(r"`((?:[\w/]*test_\w+\.py|…)?(?:::)?(?:test_\w+)?)`")


def named() -> list[tuple[str, str]]:
    """File (empty where none is named) and test of everything the document names; … is the file named before."""
    found = []
    file = ""
    for token in NAME.findall(TEXT):
        if not token:
            continue
        before, colons, test = token.partition("::")
        if not colons and not before.endswith(".py"):
            before, test = "", before
        file = file if before == "…" else before
        found.append((file, test))
    return found


def functions(path: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M))


EVERYWHERE = {test for path in TESTS.rglob("test_*.py") for test in functions(path)}


@pytest.mark.parametrize(("file", "test"), sorted(set(named())))
def test_a_test_that_the_document_names_exists(file: str, test: str) -> None:
    if not file:
        assert test in EVERYWHERE
        return
    path = next((base / file for base in (TESTS, ROOT) if (base / file).is_file()), None)
    assert path is not None, f"no file {file}"
    assert not test or test in functions(path)


def test_every_function_of_the_system_api_has_a_row_in_the_document() -> None:
    section = TEXT[TEXT.index("| functions of `ic0` |") : TEXT.index("| execution | test |")]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(signatures())
