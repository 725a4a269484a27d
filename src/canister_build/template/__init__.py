"""The canister template: CPython as WebAssembly with the runtime that connects it to the platform.

Found in `BASILISK_TEMPLATE_WASM`, else in the cache, else built from source. Not for putting a canister into it: that
is `canister_build`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from . import pipeline, recipe, tools
from .errors import StageError, TemplateError
from .lock import held
from .progress import Progress

__all__ = ["VARIABLE", "Progress", "StageError", "Template", "TemplateError", "cache_folder", "find", "key", "locate"]

VARIABLE = "BASILISK_TEMPLATE_WASM"


@dataclass(frozen=True)
class Template:
    """A template Wasm; `sha256` is of its bytes, in hex."""

    path: Path
    sha256: str


def cache_folder() -> Path:
    """Where stages, downloads, logs and templates are kept; outside of any checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zone-canister-build"


def key() -> str:
    """Hash of everything the template is made from, tools included. Raises TemplateError when a tool is missing."""
    return recipe.stages(tools.find()).key


def find() -> Template | None:
    """The template if it is given or cached; None if it would have to be built.

    Raises TemplateError when BASILISK_TEMPLATE_WASM names no file.
    """
    given = os.environ.get(VARIABLE)
    if given:
        if not Path(given).is_file():
            raise TemplateError(f"{VARIABLE} names {given!r}, which is no file")
        return _template(Path(given))
    try:
        path = _cached(key())
    except TemplateError:
        return None
    return _template(path) if path.is_file() else None


def locate(progress: Progress | None = None) -> Template:
    """The template, built first if it is neither given nor cached.

    Raises TemplateError with what is missing, or with the stage that failed, the end of its log and the log's place.
    """
    found = find()
    if found:
        return found
    shown = progress if progress is not None else Progress()
    cache = cache_folder()
    last = recipe.stages(tools.find())
    path = _cached(last.key)
    try:
        with held(cache / "lock", shown.waiting):
            # Whoever held the lock may have built it.
            if not path.is_file():
                built = pipeline.build(last, cache, shown) / recipe.TEMPLATE
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_suffix(".partial")
                partial.write_bytes(built.read_bytes())
                partial.rename(path)
    except OSError as error:
        raise TemplateError(f"the cache {cache} cannot be used: {error}. XDG_CACHE_HOME may name another") from error
    return _template(path)


def _cached(template_key: str) -> Path:
    return cache_folder() / f"template-{template_key}" / recipe.TEMPLATE


def _template(path: Path) -> Template:
    return Template(path, hashlib.sha256(path.read_bytes()).hexdigest())
