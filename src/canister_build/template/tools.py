"""The programs the build needs from the system: which packages bring them, where they are, their versions.

Not for installing them: `scripts/install_system_packages.sh build` does.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import TemplateError

SYSTEM_PACKAGES = {
    "clang-19": "compiles CPython's C for WebAssembly",
    "lld-19": "links WebAssembly",
    "llvm-19": "makes archives of WebAssembly objects",
    "libclang-rt-19-dev-wasm32": "the C compiler's run-time library for WebAssembly",
    "rustc-web": "compiles the template's Rust part",
    "cargo-web": "fetches and builds the template's crates",
    "rust-web-src": "Rust's standard library as source, to be built for WebAssembly",
    "libc6-dev": "C headers of the machine, for the program that freezes Python modules",
    "make": "runs CPython's own build",
    "dpkg": "unpacks the C library for WebAssembly",
}
"""Debian packages the build needs, with the reason for each."""

_LLVM = Path("/usr/lib/llvm-19")
_RUST_SOURCE = Path("lib/rustlib/src/rust/library")


@dataclass(frozen=True)
class Tools:
    """Where the programs are. `versions` is what they say about themselves."""

    clang: Path
    linker: Path
    ar: Path
    ranlib: Path
    builtins: Path
    rustc: Path
    cargo: Path
    rust_sysroot: Path
    clang_version: str
    rust_version: str


def _remedy() -> str:
    return (
        "Building the template needs these Debian packages: "
        + ", ".join(SYSTEM_PACKAGES)
        + ".\nInstall them with: scripts/install_system_packages.sh build"
    )


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise TemplateError(f"{name} is not installed. {_remedy()}")
    return Path(found)


def _asked(program: Path, *arguments: str) -> str:
    try:
        return subprocess.run([program, *arguments], capture_output=True, encoding="utf-8", check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise TemplateError(f"{program} cannot be run: {error}. {_remedy()}") from error


def _rust() -> tuple[Path, Path]:
    """A rustc with its standard library's source, and its sysroot. The system's own comes first."""
    for candidate in ("/usr/bin/rustc", shutil.which("rustc")):
        if candidate and Path(candidate).exists():
            sysroot = Path(_asked(Path(candidate), "--print", "sysroot"))
            if (sysroot / _RUST_SOURCE).is_dir():
                return Path(candidate), sysroot
    raise TemplateError(f"there is no rustc with its standard library's source. {_remedy()}")


def find() -> Tools:
    """The tools of this machine. Raises TemplateError that says what is missing and how to get it."""
    for name in ("make", "dpkg-deb"):
        _program(name)
    clang = _program("clang-19")
    rustc, sysroot = _rust()
    builtins = sorted(_LLVM.glob("lib/clang/*/lib/wasi/libclang_rt.builtins-wasm32.a"))
    if not builtins:
        raise TemplateError(f"the C compiler's run-time library for WebAssembly is not installed. {_remedy()}")
    beside = rustc.with_name("cargo")
    return Tools(
        clang=clang,
        linker=_program("wasm-ld-19"),
        ar=_program("llvm-ar-19"),
        ranlib=_program("llvm-ranlib-19"),
        builtins=builtins[-1],
        rustc=rustc,
        cargo=beside if beside.exists() else _program("cargo"),
        rust_sysroot=sysroot,
        clang_version=_asked(clang, "--version").splitlines()[0],
        rust_version=_asked(rustc, "--version", "--verbose"),
    )
