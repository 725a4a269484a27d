"""The zone canister with changes in its source: what tests of upgrades and rollouts install."""

from __future__ import annotations

import shutil
from pathlib import Path

import canister_build

SOURCE = Path(__file__).parents[2] / "src"


def build_zone_variant(folder: Path, *changes: tuple[str, str]) -> bytes:
    """The gzipped Wasm of the zone canister with texts of its main module replaced, each found exactly once."""
    root = folder / "src"
    for package in ("zone_canister", "canister_kit"):
        shutil.copytree(SOURCE / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    main = root / "zone_canister" / "main.py"
    text = main.read_text()
    for before, after in changes:
        assert text.count(before) == 1, f"{before!r} is in main.py {text.count(before)} times"
        text = text.replace(before, after)
    main.write_text(text)
    artifact = canister_build.build(str(root / "zone_canister"), builder="template", out=folder / "out")
    return artifact.wasm_gz.read_bytes()
