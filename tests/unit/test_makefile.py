"""The Makefile's targets as other programs use them. Not for what the targets run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(*arguments: str) -> str:
    """What a target writes to stdout."""
    # A make above this one would have this one tell the folders that it enters.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "up to date by" in done.stderr or "built by" in done.stderr
    return done.stdout


def test_a_benchmark_asked_for_json_prints_json_alone(factory_build: object, zone_build: object) -> None:
    result = json.loads(make("bench-messages", "ARGS=--json --most 0 --keys 10"))
    assert {row["operation"] for row in result["rows"]} == {"add_message", "add_messages"}
    assert all(row["instructions_per_message"] > 0 for row in result["rows"])
