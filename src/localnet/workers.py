"""Threads that canister code runs in, so that HTTP stays responsive.

wasmtime releases Python's global lock while Wasm runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from localnet.modules import WASM_STACK_BYTES

MAX_THREADS = 64
_PYTHON_STACK_BYTES = 8 * 1024 * 1024

T = TypeVar("T")


class Workers:
    """A pool of threads with a stack that holds a canister's."""

    def __init__(self) -> None:
        threading.stack_size(WASM_STACK_BYTES + _PYTHON_STACK_BYTES)
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="localnet")

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function in a thread and await its result."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
