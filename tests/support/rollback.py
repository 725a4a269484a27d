"""How the platform undoes a call that traps, on the host: stable maps and heap are as they were before it.

Whatever takes part, stores and the stand-ins for their maps alike, is kept as one object: what they share stays shared.
"""

from __future__ import annotations

import copyreg
import hashlib
import pickle
import struct
from typing import Any, cast


def remember(parts: Any) -> bytes:
    """Everything that hangs together with these objects, to be made again by `restored`."""
    return pickle.dumps(parts)


def restored(kept: bytes) -> Any:
    """The objects again as they were when they were remembered."""
    return pickle.loads(kept)


def _view(data: bytes, code: str) -> memoryview:
    return memoryview(bytearray(data)).cast(cast(Any, code))


def _begun(number: int) -> Any:
    return _BEGUN[number].copy()


def _keep_begun(found: Any) -> tuple[Any, tuple[int]]:
    _BEGUN.append(found.copy())
    return _begun, (len(_BEGUN) - 1,)


_BEGUN: list[Any] = []
"""Hashes that were remembered: their state cannot be read, but copied."""

# What pickle leaves out and the stores hold: packed tables, formats, and hashes that are begun.
copyreg.pickle(memoryview, lambda view: (_view, (view.tobytes(), view.format)))
copyreg.pickle(struct.Struct, lambda found: (struct.Struct, (found.format,)))
copyreg.pickle(type(hashlib.sha256()), _keep_begun)
