"""SHA-2 as CPython implements it in C, under the names of the standard library's hashlib.

Runs inside the canister, frozen into the template. Not for other hashes: the template has none.
"""

from _sha2 import sha224, sha256, sha384, sha512  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

algorithms_guaranteed = {"sha224", "sha256", "sha384", "sha512"}
algorithms_available = algorithms_guaranteed
_CONSTRUCTORS = {"sha224": sha224, "sha256": sha256, "sha384": sha384, "sha512": sha512}


def new(name, data=b"", **options):
    """A hash by name; raises ValueError for one the template lacks."""
    try:
        constructor = _CONSTRUCTORS[name]
    except KeyError:
        known = ", ".join(sorted(_CONSTRUCTORS))
        raise ValueError(f"unsupported hash type {name}: this template has {known}") from None
    return constructor(data, **options)
