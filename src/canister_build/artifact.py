"""Builds a canister: checks its source, runs one of the two builders, writes Wasm, Candid and manifest.

Not for installing what it builds.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from basilisk import wasm_manipulator

from . import wasm
from .bundle import source_hash
from .candid import render
from .findings import BuildError, Finding, SourceError
from .interface import CanisterInterface, read_interface
from .kybra_builder import build_kybra
from .rules import check_rules
from .sources import Source, load
from .template import TemplateError, locate
from .template_builder import build_template

BUILDERS = ("template", "kybra")
BUILDER_VARIABLE = "CANISTER_BUILDER"
_TOOL_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Artifact:
    """What one build left in its output folder."""

    name: str
    builder: str
    wasm_gz: Path
    """The module as it is installed."""
    did: Path
    manifest: Path
    """JSON: source and template hash, builder, version, SHA-256 of the Wasm; neither time nor path."""
    wasm_sha256: str
    """SHA-256 (hex) of `wasm_gz`, which is the module hash the network reports."""
    rebuilt: bool
    """False if the folder already held what these sources give."""


def default_builder() -> str:
    """What `CANISTER_BUILDER` says, or `kybra`; raises `BuildError` if it names no builder."""
    return _known_builder(os.environ.get(BUILDER_VARIABLE) or "kybra", f"{BUILDER_VARIABLE} is")


def _known_builder(builder: str, what: str) -> str:
    if builder not in BUILDERS:
        raise BuildError(f"{what} {builder!r}; allowed are {' and '.join(BUILDERS)}.")
    return builder


def check(name: str) -> list[Finding]:
    """Everything wrong with a canister's source, in order of file and line; [] if nothing is.

    `name` is a package beside this one or the path of a folder with main.py; raises `BuildError` if it is neither.
    """
    return sorted(set(_read(name)[0].findings))


def candid_of(name: str) -> str:
    """The canister's Candid interface as its source declares it; raises `SourceError` where that is wrong."""
    return render(_checked(name)[1].candid())


def build(name: str, *, builder: str = "template", out: Path | None = None) -> Artifact:
    """Builds a canister into `out` (default `build/NAME` below the current folder), or finds it built.

    Raises `SourceError` with findings for wrong source, `BuildError` if the builder cannot work.
    """
    _known_builder(builder, "there is no builder")
    source, interface = _checked(name)
    folder = out or Path("build", source.name)
    template = _template() if builder == "template" else None
    wanted = {
        "name": source.name,
        "builder": builder,
        "source_hash": source_hash(source),
        "template_hash": template[1] if template else None,
        "tool_hash": _tool_hash(),
        "version": version_of(source),
    }
    found = _find(folder, wanted)
    if found is not None:
        return found
    did = render(interface.candid())
    raw = build_template(source, interface, template[0]) if template else build_kybra(source, did)
    raw = wasm.edit(raw, keep_custom=lambda n: n != "icp:public candid:service", custom=_public_candid(did))
    return _write(folder, wanted, raw, did)


def version_of(source: Source) -> int | None:
    """The package's `VERSION` constant, main.py's first; None if no module of it has one."""
    own = [m for m in source.modules if m.name.partition(".")[0] == source.name]
    for module in reversed(own):
        for node in module.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            if any(isinstance(t, ast.Name) and t.id == "VERSION" for t in targets):
                return value.value if isinstance(value, ast.Constant) and isinstance(value.value, int) else None
    return None


def _read(name: str) -> tuple[Source, CanisterInterface]:
    source = load(name)
    interface = CanisterInterface()
    if source.modules:
        interface = read_interface(source)
        check_rules(source, interface)
    return source, interface


def _checked(name: str) -> tuple[Source, CanisterInterface]:
    source, interface = _read(name)
    if source.findings:
        raise SourceError(source.findings)
    return source, interface


def _template() -> tuple[Path, str]:
    try:
        found = locate()
    except TemplateError as error:
        raise BuildError(str(error)) from error
    return found.path, found.sha256


@cache
def _tool_hash() -> str:
    """SHA-256 over the code that builds: another tool may give another Wasm from the same source."""
    digest = hashlib.sha256()
    files = [*_TOOL_FOLDER.glob("*.py"), *_TOOL_FOLDER.glob("candid/*.py"), Path(wasm_manipulator.__file__)]
    for file in sorted(files, key=lambda f: (f.parent.name, f.name)):
        content = file.read_bytes()
        digest.update(file.name.encode() + len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _public_candid(did: str) -> dict[str, bytes]:
    return {"icp:public candid:service": did.encode()}


def _paths(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / f"{name}.wasm.gz", folder / f"{name}.did", folder / f"{name}.json"


def _find(folder: Path, wanted: dict[str, object]) -> Artifact | None:
    """The artifact in `folder` if it is complete, untouched and made from what `wanted` says."""
    name = str(wanted["name"])
    wasm_gz, did, manifest = _paths(folder, name)
    try:
        recorded = json.loads(manifest.read_text(encoding="utf-8"))
        digest = hashlib.sha256(wasm_gz.read_bytes()).hexdigest()
        did_digest = hashlib.sha256(did.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return None
    expected = {**wanted, "wasm_gz_sha256": digest, "did_sha256": did_digest}
    if not isinstance(recorded, dict) or any(recorded.get(key, "") != value for key, value in expected.items()):
        return None
    return Artifact(name, str(wanted["builder"]), wasm_gz, did, manifest, digest, rebuilt=False)


def _write(folder: Path, wanted: dict[str, object], raw: bytes, did: str) -> Artifact:
    name = str(wanted["name"])
    wasm_gz, did_path, manifest = _paths(folder, name)
    packed = wasm.compress(raw)
    digest = hashlib.sha256(packed).hexdigest()
    record = {
        **wanted,
        "wasm_gz_sha256": digest,
        "wasm_gz_size": len(packed),
        "wasm_sha256": hashlib.sha256(raw).hexdigest(),
        "wasm_size": len(raw),
        "did_sha256": hashlib.sha256(did.encode()).hexdigest(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    # The manifest comes last: without it, or with another, an interrupted build counts as none.
    _replace(wasm_gz, packed)
    _replace(did_path, did.encode())
    _replace(manifest, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())
    return Artifact(name, str(wanted["builder"]), wasm_gz, did_path, manifest, digest, rebuilt=True)


def _replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, also where two builds of one canister run at the same time."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
