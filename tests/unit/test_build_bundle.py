"""The Python text a template-built canister runs: modules under their own names, in order, with their own lines.

It is run here in a process of its own, with the kybra package of the host for the template's.
"""

import json
import subprocess
import sys
from pathlib import Path

from canister_build import check
from canister_build.bundle import bundle, source_hash
from canister_build.interface import read_interface
from canister_build.sources import load
from tests.support.canister_sources import EVERYTHING, write_package


def run(folder: Path, then: str) -> object:
    """What `then`, run where the template keeps its globals, assigns to `result`; or {"error": text}."""
    assert check(str(folder)) == []
    source = load(str(folder))
    text = bundle(source, read_interface(source))
    program = (
        f"import json\nscope = {{'__name__': '__main__'}}\n"
        f"try:\n    exec({text!r}, scope)\n    exec({then!r}, scope)\n    print(json.dumps(scope['result']))\n"
        "except Exception as error:\n    print(json.dumps({'error': str(error)}))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_modules_run_once_in_order_under_their_own_names(tmp_path):
    files = {
        "__init__.py": "trail = []\n",
        "main.py": "from bad import trail, store\nimport bad.sub.deep as deep\n"
        "trail.append(__name__)\nparts = deep.parts\n",
        "store.py": "from . import trail\nfrom .sub import deep\ntrail.append((__name__, __package__))\n",
        "sub/__init__.py": "import bad\nbad.trail.append(__name__)\n",
        "sub/deep.py": "from .. import trail\ntrail.append(__name__)\nparts = [__name__, __file__]\n",
    }
    result = run(write_package(tmp_path, files), "result = [trail, parts]")
    assert result == [
        ["bad.sub", "bad.sub.deep", ["bad.store", "bad"], "bad.main"],
        ["bad.sub.deep", "bad/sub/deep.py"],
    ]


def test_only_public_names_of_main_become_the_canisters(tmp_path):
    text = "from kybra import nat, query\n_hidden = 1\n\n@query\ndef shown() -> nat:\n    return _hidden\n"
    then = "result = [shown(), '_hidden' in globals()]"
    assert run(write_package(tmp_path, {"main.py": text}), then) == [1, False]


def test_services_get_their_types(tmp_path):
    text = (
        "from kybra import Service, Vec, nat, service_query, service_update, text, void\n\n"
        "class Other(Service):\n"
        "    @service_query\n    def one(self, a: nat) -> Vec[nat]: ...\n\n"
        "    @service_update\n    def two(self, a: nat, b: text) -> void: ...\n"
    )
    then = "result = [Other._arg_types, Other._return_types]"
    assert run(write_package(tmp_path, {"main.py": text}), then) == [
        {"one": "nat", "two": "(nat, text)"},
        {"one": "vec nat"},
    ]


def test_an_error_at_the_start_names_file_and_line(tmp_path):
    files = {"main.py": "import bad.store\n", "store.py": "x = 1\n\n\ndef f():\n    return [][x]\n\n\nf()\n"}
    result = run(write_package(tmp_path, files), "result = 0")
    assert result == {"error": "bad/store.py:5: IndexError: list index out of range"}


def test_each_module_keeps_its_own_future_imports(tmp_path):
    files = {
        "main.py": "from bad.a import early\nfrom bad.b import late\n",
        "a.py": "def f(x: int): ...\nearly = f.__annotations__['x'] is int\n",
        "b.py": "from __future__ import annotations\ndef f(x: int): ...\nlate = f.__annotations__['x']\n",
    }
    assert run(write_package(tmp_path, files), "result = [early, late]") == [True, "int"]


def test_the_hash_of_a_source_changes_with_any_of_its_files(tmp_path):
    folder = write_package(tmp_path, {"main.py": "import bad.store\n", "store.py": "x = 1\n"})
    before = source_hash(load(str(folder)))
    (folder / "store.py").write_text("x = 2\n")
    assert source_hash(load(str(folder))) != before


def test_the_entry_comes_last_and_everything_it_needs_before():
    names = [module.name for module in load(str(EVERYTHING)).modules]
    assert names == ["everything", "everything.store", "everything.shapes", "everything.remote", "everything.main"]
