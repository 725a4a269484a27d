"""Builder `kybra`: runs Kybra itself, where its toolchain is installed.

Not for installing that toolchain unasked: `install_toolchain` runs Kybra's own installer when the user says so.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .candid import CandidError, compatible
from .findings import BuildError
from .sources import ENTRY, Source

RUST_VERSION = "1.87.0"
"""The Rust release Kybra 0.7.1 pins; its tools lie in a folder of that name."""
_TOOLS = ("rustup", "cargo", "rustc", "rustfmt", "wasi2ic", "candid-extractor")
INSTALL_COMMAND = "python -m canister_build --install-kybra"
_LOG_LINES = 15


def rust_folder(home: Path | None = None) -> Path:
    """Where Kybra keeps its Rust tools."""
    return (home or Path.home()) / ".config" / "kybra" / "rust" / RUST_VERSION / "bin"


def missing_tools(home: Path | None = None) -> list[str]:
    """The parts of Kybra's toolchain that are not installed, each as a short phrase."""
    found: list[str] = []
    try:
        importlib.metadata.version("kybra")
    except importlib.metadata.PackageNotFoundError:
        found.append("the Python package kybra (pip install kybra==0.7.1)")
    folder = rust_folder(home)
    absent = [tool for tool in _TOOLS if not (folder / tool).exists()]
    if absent:
        found.append(f"{', '.join(absent)} in {_short(folder)}")
    return found


def _short(path: Path) -> str:
    return str(path).replace(str(Path.home()), "~", 1)


def build_kybra(
    source: Source, did: str, *, command: tuple[str, ...] = (sys.executable, "-m", "kybra"), home: Path | None = None
) -> bytes:
    """The canister's raw Wasm as Kybra builds it, run from the project's root as dfx would; `did` is our interface.

    Raises `BuildError` if the toolchain is incomplete, Kybra fails, or its Candid differs from `did`.
    """
    missing = missing_tools(home)
    if missing:
        raise BuildError(
            "Kybra's toolchain is not complete: missing "
            + "; ".join(missing)
            + f".\nInstall it with `{INSTALL_COMMAND}` (it needs curl and a network: rustup, two cargo tools from"
            " git hosts, and at the first build Kybra's Python library from a release page),"
            " or build with `--builder template`, which needs only package registries."
        )
    project = source.root.parent if source.root.name == "src" else source.root
    entry = (source.root / source.name / ENTRY).relative_to(project)
    with tempfile.TemporaryDirectory() as folder:
        kybra_did = Path(folder, f"{source.name}.did")
        environment = {
            **os.environ,
            "CANISTER_CANDID_PATH": str(kybra_did),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(source.root), os.environ.get("PYTHONPATH")))),
        }
        if home is not None:
            environment["HOME"] = str(home)
        _run([*command, source.name, str(entry)], project, environment)
        wasm = project / ".kybra" / source.name / f"{source.name}.wasm"
        if not wasm.is_file() or not kybra_did.is_file():
            lacking = wasm.relative_to(project) if not wasm.is_file() else "its Candid file"
            raise BuildError(f"Kybra ended without an error but left no {lacking}.")
        _compare(did, kybra_did.read_text(encoding="utf-8"))
        return wasm.read_bytes()


def install_toolchain(home: Path | None = None) -> None:
    """Runs the installer that comes with Kybra, output shown; raises `BuildError` if tools are missing afterwards."""
    try:
        distribution = importlib.metadata.distribution("kybra")
    except importlib.metadata.PackageNotFoundError:
        raise BuildError("The Python package kybra is not installed: pip install kybra==0.7.1") from None
    script = Path(str(distribution.locate_file("kybra/compiler/install_rust_dependencies.sh")))
    environment = {**os.environ, **({"HOME": str(home)} if home is not None else {})}
    subprocess.run(["bash", str(script), distribution.version, RUST_VERSION], env=environment, check=False)
    missing = missing_tools(home)
    if missing:
        logs = (home or Path.home()) / ".config" / "kybra" / distribution.version / "logs"
        raise BuildError(f"Still missing: {'; '.join(missing)}. The installer's logs are in {_short(logs)}.")


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise BuildError(f"Kybra cannot be started: {error}") from None
    if result.returncode:
        tail = "\n".join(result.stdout.strip().splitlines()[-_LOG_LINES:])
        raise BuildError(f"Kybra failed with exit code {result.returncode}; it said last:\n{tail}")


def _compare(ours: str, kybras: str) -> None:
    """Kybra's Candid has other names and another order, but must mean the same."""
    try:
        problems = [
            *(f"in ours, {p}" for p in compatible(ours, kybras)),
            *(f"in Kybra's, {p}" for p in compatible(kybras, ours)),
        ]
    except CandidError as error:
        raise BuildError(f"Kybra's Candid cannot be read: {error}") from None
    if problems:
        raise BuildError("Kybra's Candid and ours differ:\n" + "\n".join(problems))
