"""Writes small canister packages for tests of the build, and a Wasm that stands in for the template."""

from __future__ import annotations

from pathlib import Path

import wasmtime

SAMPLES = Path(__file__).parents[1] / "unit" / "samples"
EVERYTHING = SAMPLES / "everything"

_STAND_IN = """(module
  (memory (export "memory") 1)
  (func (export "execute_query_method") (param i32))
  (func (export "execute_update_method") (param i32))
  (func (export "python_source_passive_data_size") (result i32) i32.const 0)
  (func (export "method_meta_passive_data_size") (result i32) i32.const 0)
  (func (export "init_python_source_passive_data") (param i32))
  (func (export "init_method_meta_passive_data") (param i32))
  (func (export "canister_init"))
  (func (export "canister_post_upgrade"))
  (func (export "canister_pre_upgrade"))
  (func (export "canister_heartbeat"))
  (func (export "canister_inspect_message"))
  (data (i32.const 0) "x")
  (@custom "producers" "a compiler")
  (@custom "icp:public layout" "kept"))
"""


def write_package(root: Path, files: dict[str, str], *, package: str = "bad") -> Path:
    """A package with these files below `root`; `main.py` and `__init__.py` are added where they are missing."""
    folder = root / package
    for name, text in {"__init__.py": "", "main.py": "", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def stand_in_template(folder: Path) -> Path:
    """A Wasm with everything the injection needs of the template, and no interpreter in it."""
    path = folder / "template.wasm"
    path.write_bytes(wasmtime.wat2wasm(_STAND_IN))
    return path
