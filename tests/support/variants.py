"""The zone canister with changes in its source: what tests of upgrades and rollouts install."""

from __future__ import annotations

import shutil
from pathlib import Path

import canister_build

SOURCE = Path(__file__).parents[2] / "src"


def build_zone_variant(folder: Path, *changes: tuple[str, str]) -> bytes:
    """The gzipped Wasm of the zone canister with texts of its modules replaced, each found exactly once in them all."""
    root = folder / "src"
    for package in ("zone_canister", "canister_kit"):
        shutil.copytree(SOURCE / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    modules = {path: path.read_text() for path in sorted((root / "zone_canister").glob("*.py"))}
    for before, after in changes:
        found = [path for path, text in modules.items() if before in text]
        assert len(found) == 1, f"{before!r} is in {[path.name for path in found]}, expected one module"
        assert modules[found[0]].count(before) == 1, f"{before!r} is in {found[0].name} more than once"
        modules[found[0]] = modules[found[0]].replace(before, after)
    for path, text in modules.items():
        path.write_text(text)
    artifact = canister_build.build(str(root / "zone_canister"), builder="template", out=folder / "out")
    return artifact.wasm_gz.read_bytes()
