"""From canister source to Wasm, Candid and manifest, by one of two builders: Kybra or the CPython template.

Not for installing or calling canisters, and it knows none of them: it takes a package with a main.py.
"""

from .artifact import BUILDERS, Artifact, build, candid_of, check, default_builder
from .findings import RULES, BuildError, Finding, SourceError

__all__ = [
    "BUILDERS",
    "RULES",
    "Artifact",
    "BuildError",
    "Finding",
    "SourceError",
    "build",
    "candid_of",
    "check",
    "default_builder",
]
