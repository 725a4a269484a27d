"""The same seed and the same calls give the same network, in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.localnet import run_from_seed

ROOT = Path(__file__).parents[2]


def run(seed: int, hash_seed: int) -> list[dict[str, Any]]:
    """What a process of its own saw, step by step; ``hash_seed`` is for the order of Python's sets."""
    done = subprocess.run(
        [sys.executable, "-m", run_from_seed.__name__, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_two_processes_with_the_same_seed_see_the_same_ids_times_randomness_cycles_and_state() -> None:
    with ThreadPoolExecutor(3) as pool:
        first, second, other = pool.map(run, (5, 5, 6), (1, 2, 1))
    assert len(first) == run_from_seed.STEPS
    for step, (one, two) in enumerate(zip(first, second, strict=True)):
        for name in one:
            assert one[name] == two[name], (step, name)
    answers = {answer for seen in first for answer in seen["answers"].values() if isinstance(answer, str)}
    # Candid's header, the blob's size, and 32 bytes of randomness.
    rolled = {answer for answer in answers if answer.startswith(b"DIDL\x01\x6d\x7b\x01\x00\x20".hex())}
    assert len(rolled) >= 3
    assert len({seen["state"] for seen in first}) == run_from_seed.STEPS
    assert {seen["state"] for seen in first}.isdisjoint(seen["state"] for seen in other)
    assert not rolled & {str(answer) for seen in other for answer in seen["answers"].values()}
