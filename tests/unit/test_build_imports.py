"""Reading import statements and top-level names, however they are written."""

import ast

import pytest

from canister_build.imports import bound_names, imports_of


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def f(): x = 1\nclass C: y = 1", ["f", "C"]),
        ("import a.b, c as d\nfrom e import f, g as h", ["a", "d", "f", "h"]),
        ("a = b = 1\nc, (d, *e) = 1, (2,)\nf: int = 1\ng: int\nh += 1", ["a", "b", "c", "d", "e", "f", "h"]),
        ("for a, b in x:\n    c = 1\nelse:\n    d = 1", ["a", "b", "c", "d"]),
        ("with x as a, y, z as (b, c):\n    d = 1", ["a", "b", "c", "d"]),
        ("try:\n    a = 1\nexcept E:\n    b = 1\nelse:\n    c = 1\nfinally:\n    d = 1", ["a", "c", "d", "b"]),
        ("if x:\n    a = 1\nelif y:\n    b = 1\nelse:\n    import c", ["a", "b", "c"]),
        ("a.b = 1\na['k'] = 2", []),
    ],
)
def test_top_level_names_are_found(text, names):
    assert list(bound_names(ast.parse(text))) == names


@pytest.mark.parametrize(
    ("text", "package", "module"),
    [
        ("from . import x", "a.b", "a.b"),
        ("from .c import x", "a.b", "a.b.c"),
        ("from .. import x", "a.b", "a"),
        ("from ..c.d import x", "a.b", "a.c.d"),
        ("from ... import x", "a.b", ""),
        ("from c import x", "a.b", "c"),
    ],
)
def test_relative_imports_become_absolute(text, package, module):
    (found,) = imports_of(ast.parse(text), package)
    assert found.module == module


def test_when_an_import_runs_is_told_apart():
    text = (
        "import a\n"
        "def f():\n    import b\n"
        "class C:\n    import c\n"
        "if typing.TYPE_CHECKING:\n    import d\nelse:\n    import e\n"
        "try:\n    import g\nexcept ImportError:\n    import h\n"
    )
    found = list(imports_of(ast.parse(text), ""))
    assert [i.module for i in found if i.runs_at_import] == ["a", "c", "e", "g", "h"]
    assert [i.module for i in found if i.for_typing_only] == ["d"]
