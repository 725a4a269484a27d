"""Files from the Debian archive, pinned by version and SHA-256.

The mirror is the one this machine's apt uses. Not for packages that get installed: those are SYSTEM_PACKAGES.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import TemplateError
from .pipeline import Workshop

SUITE = "trixie"
FOLDER_VARIABLE = "CANISTER_BUILD_DOWNLOADS"


@dataclass(frozen=True)
class Pin:
    """A file of the Debian archive. `arguments` make apt-get fetch it into the current folder."""

    package: str
    version: str
    file: str
    sha256: str
    arguments: tuple[str, ...]

    @property
    def text(self) -> str:
        """What identifies the file."""
        return f"{self.file} {self.sha256}"


WASI_LIBC = Pin(
    "wasi-libc",
    "0.0~git20241209.574b88d-2",
    "wasi-libc_0.0~git20241209.574b88d-2_all.deb",
    "b7716260051d289248b7667f81fa2792c125d888ff51da3fa09c6272cc0bd11d",
    ("download", "wasi-libc=0.0~git20241209.574b88d-2"),
)
CPYTHON = Pin(
    "python3.13",
    "3.13.5",
    "python3.13_3.13.5.orig.tar.xz",
    "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640",
    ("source", "--download-only", "--tar-only", "python3.13"),
)


def fetch(pin: Pin, workshop: Workshop) -> Path:
    """The file, from CANISTER_BUILD_DOWNLOADS, from an earlier download, or from the mirror; its hash is checked."""
    kept = workshop.downloads / pin.file
    given = os.environ.get(FOLDER_VARIABLE)
    if given and (Path(given) / pin.file).is_file():
        return _checked(pin, Path(given) / pin.file)
    if not kept.is_file():
        folder = workshop.out / "download"
        folder.mkdir()
        try:
            _download(pin, workshop, folder)
        except subprocess.CalledProcessError as error:
            raise TemplateError(_gone(pin, workshop.log)) from error
        if not (folder / pin.file).is_file():
            raise TemplateError(_gone(pin, workshop.log))
        _checked(pin, folder / pin.file).rename(kept)
        shutil.rmtree(folder)
    return _checked(pin, kept)


def _gone(pin: Pin, log: Path) -> str:
    return (
        f"the Debian mirror gave no {pin.file}: {pin.package} {pin.version} of {SUITE} is pinned, and a point release "
        f"may have replaced it.\nFetch that file (SHA-256 {pin.sha256}) from an archive of Debian, put it into a "
        f"folder, and name the folder in {FOLDER_VARIABLE}.\nThe whole log: {log}"
    )


def _checked(pin: Pin, path: Path) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != pin.sha256:
        raise TemplateError(f"{path} has the SHA-256 {found}, expected {pin.sha256} ({pin.package} {pin.version})")
    return path


def mirror() -> str:
    """The address this machine's apt has for Debian itself."""
    wanted = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(CREATED_BY)"
    try:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", wanted], capture_output=True, encoding="utf-8", check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise TemplateError(_no_apt(str(error))) from error
    for line in listed.splitlines():
        address, release, component, kind = line.split("|")
        is_debian = address.rstrip("/").endswith("/debian") and "security" not in release
        if is_debian and component == "main" and kind == "Packages":
            return address
    raise TemplateError(_no_apt("no Debian mirror is configured"))


def _no_apt(reason: str) -> str:
    files = ", ".join(pin.file for pin in (WASI_LIBC, CPYTHON))
    return f"apt cannot be asked for Debian's mirror ({reason}). Put {files} into a folder named in {FOLDER_VARIABLE}."


def _download(pin: Pin, workshop: Workshop, folder: Path) -> None:
    """Asks apt with lists and caches of its own, so that the machine's stay as they are."""
    private = workshop.out / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (private / part).mkdir(parents=True)
    address = mirror()
    # The hash pinned above is what is trusted; an older Debian may lack the keys of this suite.
    lines = [f"{kind} [trusted=yes] {address} {SUITE} main" for kind in ("deb", "deb-src")]
    sources = private / "sources.list"
    sources.write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = [
        f"Dir::Etc::sourcelist={sources}",
        "Dir::Etc::sourceparts=/dev/null",
        "Dir::Etc::preferencesparts=/dev/null",
        f"Dir::State::lists={private / 'lists'}",
        f"Dir::Cache={private / 'cache'}",
        "Acquire::Languages=none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        "APT::Sandbox::User=root",
        "Debug::NoLocking=1",
    ]
    apt: list[str] = ["apt-get", "--quiet", "--yes"]
    for option in options:
        apt += ["-o", option]
    workshop.run([*apt, "update"], cwd=folder)
    workshop.run([*apt, *pin.arguments], cwd=folder)
    shutil.rmtree(private)
