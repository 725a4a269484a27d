"""Every rule for canister source: a minimal source that breaks it is found with file, line and remedy."""
# ruff: noqa: E501  a case is one line of the table

from pathlib import Path

import pytest

from canister_build import RULES, check
from tests.support.canister_sources import EVERYTHING, write_package

K = (
    "from kybra import Alias, Async, Func, GuardResult, Opt, Query, Record, Service, StableBTreeMap, Tuple, Variant, Vec, "
    "blob, ic, nat, nat64, null, query, reserved, service_query, text, update, void\n"
)
RECORD = "class R(Record):\n    a: nat\n"

MAIN = "main.py"
CASES: list[tuple[int, str, dict[str, str], int, str]] = [
    # (rule, file it is found in, files, line, part of the message)
    (1, MAIN, {MAIN: "\nmatch 1:\n    case _:\n        pass\n"}, 2, "Pattern matching"),
    (1, MAIN, {MAIN: "try:\n    pass\nexcept* ValueError:\n    pass\n"}, 1, "Exception groups"),
    (1, MAIN, {MAIN: "def f(a, b):\n    with (a as x, b as y):\n        pass\n"}, 2, "Parenthesized context managers"),
    (1, MAIN, {MAIN: "\ufeffx = 1\n"}, 1, "byte order mark"),
    (1, MAIN, {MAIN: "x = (\n"}, 1, "does not parse"),
    (2, MAIN, {MAIN: "a, b = 1, 2\n"}, 1, "top-level assignment to (a, b)"),
    (2, MAIN, {MAIN: "\na = b = 1\n"}, 2, "a, b"),
    (2, "other.py", {MAIN: "import bad.other\n", "other.py": "d = {}\nd['k'] = 1\n"}, 2, "d['k']"),
    (2, MAIN, {MAIN: "import bad.other\nbad.other.x = 1\n", "other.py": ""}, 2, "bad.other.x"),
    (3, MAIN, {MAIN: "import kybra\n"}, 1, "`import kybra`"),
    (3, MAIN, {MAIN: "from kybra import query as q\n"}, 1, "imported as q"),
    (3, MAIN, {MAIN: "import kybra\n@kybra.query\ndef f() -> None: ...\n"}, 3, "decorated with kybra.query"),
    (3, MAIN, {MAIN: "import kybra\nclass A(kybra.Record):\n    a: int\n"}, 2, "dotted Record"),
    (3, MAIN, {MAIN: K + "class A:\n    @query\n    def f() -> nat: return 1\n"}, 4, "not a function at the top level"),
    (3, MAIN, {MAIN: K + "if True:\n    class A(Record):\n        a: nat\n"}, 3, "not at the top level"),
    (3, MAIN, {MAIN: K + "@query\nasync def f() -> nat:\n    return 1\n"}, 3, "not a function at the top level"),
    (4, "other.py", {MAIN: "import bad.other\n", "other.py": K + "@query\ndef f() -> nat:\n    return 1\n"}, 3, "query f"),
    (4, "other.py", {MAIN: "from bad.other import f as g\n", "other.py": K + "@query\ndef f() -> nat:\n    return 1\n"}, 3, "query f"),
    (4, MAIN, {MAIN: K + "@query\ndef _f() -> nat:\n    return 1\n"}, 3, "underscore"),
    (4, MAIN, {MAIN: K + "__all__ = ['g']\n@query\ndef f() -> nat:\n    return 1\n"}, 1, "__all__ hides query f"),
    (4, "other.py", {MAIN: "import bad.other\n", "other.py": K + "class S(Service):\n    @service_query\n    def m(self) -> nat: ...\n"}, 2, "service S"),
    (4, MAIN, {MAIN: "from bad.other import *\n", "other.py": ""}, 1, "import *"),
    (5, "other.py", {MAIN: K + "import bad.other\n" + RECORD, "other.py": K + RECORD}, 0, "R is declared by"),
    (5, MAIN, {MAIN: K + "class NotifyResult(Record):\n    a: nat\n"}, 2, "Kybra itself"),
    (5, MAIN, {MAIN: K + RECORD + "@query\ndef R() -> nat:\n    return 1\n"}, 5, "R is declared by"),
    (6, MAIN, {MAIN: K + "class Result(Variant):\n    a: nat\n"}, 2, "Result"),
    (6, MAIN, {MAIN: K + "move = Alias[nat]\n"}, 2, "move"),
    (7, "unused.py", {"unused.py": "x = = 1\n"}, 1, "Kybra compiles whole packages"),
    (8, MAIN, {MAIN: K + "@query\ndef f(a: bytes) -> nat:\n    return 1\n"}, 3, "bytes is no Candid type"),
    (8, MAIN, {MAIN: K + "@query\ndef f(a: list[nat]) -> nat:\n    return 1\n"}, 3, "list[...] is no Candid type"),
    (8, MAIN, {MAIN: K + "@query\ndef f(a: nat | None) -> nat:\n    return 1\n"}, 3, "nat | None is no Candid type"),
    (8, MAIN, {MAIN: K + "@query\ndef f(a: 'Vec[nat]') -> nat:\n    return 1\n"}, 3, "quoted compound"),
    (8, MAIN, {MAIN: K + "@query\ndef f(a: ic.nat) -> nat:\n    return 1\n"}, 3, "dotted name"),
    (8, MAIN, {MAIN: K + "@query\ndef f(a: Missing) -> nat:\n    return 1\n"}, 3, "Missing is no known type"),
    (8, MAIN, {MAIN: K + "class R(Record):\n    a: None\n"}, 3, "None is no type"),
    (8, MAIN, {MAIN: K + "class R(Record):\n    a: Async[nat]\n"}, 3, "Async[...] belongs around"),
    (8, MAIN, {MAIN: K + "T: object = Tuple[nat, nat]\n@query\ndef f(a: T) -> nat:\n    return 1\n"}, 4, "T is no known type"),
    (8, MAIN, {MAIN: K + "T = nat\n@query\ndef f(a: T) -> nat:\n    return 1\n"}, 4, "T is no known type"),
    (9, MAIN, {MAIN: K + "class R(Record):\n    a: Alias[nat]\n"}, 3, "Alias[...] inside"),
    (9, MAIN, {MAIN: K + "A = Alias['B']\nB = Alias[A]\n"}, 2, "another name for itself"),
    (10, MAIN, {MAIN: K + "class R(Record):\n    '''Text.'''\n    a: nat\n"}, 3, "more than `name: type` lines"),
    (10, MAIN, {MAIN: K + "class R(Record):\n    pass\n"}, 3, "more than"),
    (10, MAIN, {MAIN: K + "class R(Record):\n    a: nat = 1\n"}, 3, "default"),
    (10, MAIN, {MAIN: K + "class R(Variant):\n    ...\n"}, 3, "more than"),
    (10, MAIN, {MAIN: K + RECORD + "class S(R):\n    b: nat\n"}, 4, "S derives from R"),
    (10, MAIN, {MAIN: K + "class R(Record, Variant):\n    a: nat\n"}, 2, "2 bases"),
    (11, MAIN, {MAIN: K + "F = Func(Query[nat, nat])\n"}, 2, "function type is not written"),
    (11, MAIN, {MAIN: K + "@query\ndef f(a: Func(Query[[nat], nat])) -> nat:\n    return 1\n"}, 3, "function type inside"),
    (12, MAIN, {MAIN: K + "class S(Service):\n    '''Text.'''\n"}, 3, "more than methods"),
    (12, MAIN, {MAIN: K + "class S(Service):\n    def m(self) -> nat: ...\n"}, 3, "decorated wrongly"),
    (12, MAIN, {MAIN: K + "class S(Service):\n    @service_query\n    def m(self) -> nat:\n        return 1\n"}, 4, "has a body"),
    (12, MAIN, {MAIN: K + "class S(Service):\n    @service_query\n    def m(self, a: nat, b: nat, c: nat, d: nat, e: nat, f: nat) -> nat: ...\n"}, 4, "6 parameters"),
    (13, MAIN, {MAIN: K + "@query\ndef f(a) -> nat:\n    return a\n"}, 3, "parameter a of f has no type"),
    (13, MAIN, {MAIN: K + "@query\ndef f():\n    pass\n"}, 3, "no result type"),
    (13, MAIN, {MAIN: K + "@query\ndef f() -> None:\n    pass\n"}, 3, "-> None"),
    (13, MAIN, {MAIN: K + "@query\ndef f(a: nat, b: nat, c: nat, d: nat, e: nat, g: nat) -> void:\n    pass\n"}, 3, "6 parameters"),
    (13, MAIN, {MAIN: K + "@query\ndef f(*a: nat) -> void:\n    pass\n"}, 3, "*args"),
    (13, MAIN, {MAIN: K + "@query\ndef f(*, a: nat) -> void:\n    pass\n"}, 3, "keyword-only"),
    (13, MAIN, {MAIN: K + "@query\ndef f(a: nat = 1) -> void:\n    pass\n"}, 3, "default values"),
    (13, MAIN, {MAIN: K + "@query\ndef f(a: void) -> void:\n    pass\n"}, 3, "void stands for"),
    (13, MAIN, {MAIN: K + "@query\n@update\ndef f() -> void:\n    pass\n"}, 4, "2 decorators"),
    (14, MAIN, {MAIN: "from kybra import init, void\n@init\ndef a() -> void:\n    pass\n@init\ndef b() -> void:\n    pass\n"}, 6, "a in bad/main.py is one already"),
    (14, MAIN, {MAIN: "from kybra import init, nat\n@init\ndef a() -> nat:\n    return 1\n"}, 3, "returns a value"),
    (14, MAIN, {MAIN: "from kybra import heartbeat, nat, void\n@heartbeat\ndef a(b: nat) -> void:\n    pass\n"}, 3, "takes parameters"),
    (14, MAIN, {MAIN: "from kybra import Async, init, void\n@init\ndef a() -> Async[void]:\n    yield 1\n"}, 3, "is a generator"),
    (15, MAIN, {MAIN: K + "def g() -> nat:\n    return 1\n@query(guard=g)\ndef f() -> void:\n    pass\n"}, 2, "-> GuardResult"),
    (15, MAIN, {MAIN: K + "@query(guard=lambda: 1)\ndef f() -> void:\n    pass\n"}, 3, "guard of f is lambda"),
    (15, MAIN, {MAIN: K + "@query(guard=g)\ndef f() -> void:\n    pass\n"}, 3, "no top-level function"),
    (16, MAIN, {MAIN: K + "@update\ndef f() -> nat:\n    x = yield ic.call_raw\n    return x\n"}, 3, "yields but"),
    (16, MAIN, {MAIN: K + "async def f():\n    await f()\n"}, 3, "Await"),
    (18, MAIN, {MAIN: K + "SIZE = 8\nm = StableBTreeMap[nat, nat](memory_id=0, max_key_size=SIZE, max_value_size=8)\n"}, 3, "not an integer literal"),
    (18, MAIN, {MAIN: K + "m: StableBTreeMap[nat, nat] = StableBTreeMap(memory_id=0, max_key_size=8, max_value_size=8)\n"}, 2, "not declared as Kybra reads it"),
    (18, MAIN, {MAIN: K + "maps = {'a': StableBTreeMap[nat, nat](memory_id=0, max_key_size=8, max_value_size=8)}\n"}, 2, "not declared at the top level"),
    (18, MAIN, {MAIN: K + "m = StableBTreeMap[nat, nat](memory_id=0, max_key_size=0, max_value_size=8)\n"}, 2, "max_key_size 0"),
    (19, "other.py", {MAIN: K + "import bad.other\nm = StableBTreeMap[nat, nat](memory_id=1, max_key_size=8, max_value_size=8)\n", "other.py": K + "n = StableBTreeMap[nat, nat](memory_id=1, max_key_size=8, max_value_size=8)\n"}, 0, "memory_id 1"),
    (19, MAIN, {MAIN: K + "m = StableBTreeMap[nat, nat](memory_id=255, max_key_size=8, max_value_size=8)\n"}, 2, "memory_id 255"),
    (20, MAIN, {MAIN: K + "m = StableBTreeMap[nat, Tuple[nat, nat]](memory_id=0, max_key_size=8, max_value_size=8)\n"}, 2, "inline Tuple"),
    (20, MAIN, {MAIN: K + "m = StableBTreeMap[nat, Vec[reserved]](memory_id=0, max_key_size=8, max_value_size=8)\n"}, 2, "reserved"),
    (27, MAIN, {MAIN: K + "m = StableBTreeMap[nat, nat](memory_id=0, max_key_size=8, max_value_size=8)\ndef f():\n    return m.range(0, 1)\n"}, 4, "m.range"),
    (27, MAIN, {MAIN: "from bad.other import m\ndef f():\n    return m.first()\n", "other.py": K + "m = StableBTreeMap[nat, nat](memory_id=0, max_key_size=8, max_value_size=8)\n"}, 3, "m.first"),
    (28, MAIN, {MAIN: K + "def f():\n    return ic.is_controller(ic.caller())\n"}, 3, "ic.is_controller"),
    (29, MAIN, {MAIN: "from kybra.canisters.management import management_canister\n"}, 1, "kybra.canisters.management"),
    (32, MAIN, {MAIN: "import json\n"}, 1, "standard module json"),
    (32, MAIN, {MAIN: "from hashlib import md5\n"}, 1, "hashlib.md5"),
    (32, MAIN, {MAIN: "import struct\nimport hashlib\n\nx = hashlib.blake2b\n"}, 4, "hashlib.blake2b"),
    (32, MAIN, {MAIN: "def f():\n    import requests\n"}, 2, "module requests"),
    (32, MAIN, {MAIN: "import bad.missing\n"}, 1, "no module bad.missing"),
    (32, MAIN, {MAIN: "from bad.other import g\n", "other.py": "f = 1\n"}, 1, "bad.other has no g"),
    (32, MAIN, {MAIN: "from . import other\n", "other.py": ""}, 1, "relative import in main.py"),
    (32, "other.py", {MAIN: "import bad.other\n", "other.py": "def f():\n    from bad.main import x\n"}, 2, "import of the entry file"),
    (32, "a.py", {MAIN: "import bad.a\n", "a.py": "import bad.b\n", "b.py": "import bad.a\n"}, 0, "circle"),
    (32, "sub/deep.py", {MAIN: "import bad.sub.deep\n", "sub/deep.py": ""}, 1, "package bad.sub has no __init__.py"),
    (32, "types.py", {MAIN: "import bad.types\n", "types.py": ""}, 1, "name of a standard module"),
    (32, MAIN, {MAIN: "from kybra import StableVec\n"}, 1, "kybra has no StableVec"),
    (32, MAIN, {MAIN: "x = __import__('json')\n"}, 1, "__import__"),
    (8, MAIN, {MAIN: K + "@query\ndef f(a: {}) -> nat:\n    return 1\n"}, 3, "{} is no Candid type"),
    (10, MAIN, {MAIN: K + "class R(Record):\n    a: nat\n    a: text\n"}, 4, "R.a is there twice"),
    (10, MAIN, {MAIN: K + "class R(Record, metaclass=type):\n    a: nat\n"}, 2, "class argument metaclass"),
    (12, MAIN, {MAIN: K + "class S(Service):\n    @service_query\n    def m() -> nat: ...\n"}, 4, "self first"),
    (12, MAIN, {MAIN: K + "class S(Service):\n    @service_query\n    def m(self): ...\n"}, 4, "no result type"),
    (15, MAIN, {MAIN: K + "def g(a: nat) -> GuardResult:\n    return {}\n@query(guard=g)\ndef f() -> void:\n    pass\n"}, 2, "guard g takes parameters"),
    (15, MAIN, {MAIN: K + "@query\ndef g() -> GuardResult:\n    return {}\n@query(guard=g)\ndef f() -> void:\n    pass\n"}, 3, "guard g is decorated"),
    (15, MAIN, {MAIN: "from kybra import heartbeat, void\ndef g(): ...\n@heartbeat(guard=g)\ndef f() -> void:\n    pass\n"}, 4, "has a guard"),
    (15, MAIN, {MAIN: K + "@query(name='x')\ndef f() -> void:\n    pass\n"}, 3, "argument name"),
    (15, MAIN, {MAIN: K + "@query(None)\ndef f() -> void:\n    pass\n"}, 3, "positional arguments"),
    (16, MAIN, {MAIN: K + "@update\ndef f() -> Async[nat]:\n    return 1\n"}, 3, "never yields"),
    (18, MAIN, {MAIN: K + "m = StableBTreeMap[nat, nat](0, 8, 8)\n"}, 2, "by name"),
    (32, MAIN, {MAIN: "from ... import other\n"}, 1, "leads out of the package"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "file", "files", "line", "message"), CASES, ids=[f"{c[0]}-{c[4]}".replace("[", "(") for c in CASES]
)
def test_a_broken_rule_is_found_with_its_place_and_a_remedy(tmp_path, rule, file, files, line, message):
    folder = write_package(tmp_path, files)
    found = [f for f in check(str(folder)) if f.rule == rule and message in f.message]
    assert found, f"no finding of rule {rule} with {message!r} in {[str(f) for f in check(str(folder))]}"
    if rule != 32 or "circle" not in message:
        assert found[0].path in (f"bad/{file}", "bad/main.py" if line == 0 else f"bad/{file}")
    assert found[0].line == line or line == 0
    assert found[0].remedy


def test_every_rule_that_source_shows_has_a_source_that_breaks_it():
    assert {case[0] for case in CASES} == set(RULES)


def test_a_source_that_uses_everything_allowed_has_no_findings():
    assert check(str(EVERYTHING)) == []


def test_imports_that_only_type_checkers_follow_are_no_fault(tmp_path):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from collections.abc import Iterator\n"
    assert check(str(write_package(tmp_path, {"main.py": text}))) == []


def test_a_package_may_import_its_own_modules_relatively_outside_main(tmp_path):
    files = {
        "main.py": "from bad import store\nfrom bad.sub.deep import x\n",
        "store.py": "from .sub import deep\nfrom . import sub\n",
        "sub/__init__.py": "from .deep import x\n",
        "sub/deep.py": "from ..other import x\n",
        "other.py": "x = 1\n",
    }
    assert check(str(write_package(tmp_path, files))) == []


def test_one_mistake_gives_one_finding(tmp_path):
    text = K + "class R(Record):\n    a: Missing\n\n@query\ndef f(r: R) -> R:\n    return r\n"
    assert len(check(str(write_package(tmp_path, {"main.py": text})))) == 1


def test_findings_come_in_order_of_file_and_line(tmp_path):
    files = {"main.py": "import json\nimport bad.a\nimport os\n", "a.py": "import re\n"}
    places = [(f.path, f.line) for f in check(str(write_package(tmp_path, files)))]
    assert places == [("bad/a.py", 1), ("bad/main.py", 1), ("bad/main.py", 3)]


def test_the_product_canisters_obey_every_rule():
    source_root = Path(__file__).parents[2] / "src"
    canisters = sorted(p.parent.name for p in source_root.glob("*/main.py"))
    assert canisters == ["factory", "zone_canister"]
    assert [str(f) for name in canisters for f in check(name)] == []
