"""A canister's Wasm made larger: it behaves as before, and its gzip file has the size that a test wants."""

from __future__ import annotations

import gzip
import random

from canister_build import wasm

SECTION = "padding"


def padded(module: bytes, size: int, seed: int = 0) -> bytes:
    """A gzipped Wasm with a section of pseudo-random bytes, which nothing compresses, of about `size` bytes."""
    noise = random.Random(seed).randbytes(size - len(module))
    return wasm.compress(wasm.edit(gzip.decompress(module), custom={SECTION: noise}))
