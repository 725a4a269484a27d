"""How much the longer property tests do: `THOROUGH=20 make test` runs twenty times their examples."""

from __future__ import annotations

import os


def examples(count: int) -> int:
    """A number of examples, multiplied by the environment variable THOROUGH."""
    return count * int(os.environ.get("THOROUGH", "1"))
