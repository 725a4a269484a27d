"""Work a few at a time: in its order, stopped by the first error, and left behind by Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from zones.background import AT_ONCE, at_once
from zones.errors import NetworkError

HELD = """
import signal, sys, time
from zones.background import at_once

# Whoever runs the tests may have it ignored, as shells do for jobs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

def ask(item):
    print(item, flush=True)
    time.sleep(300)

try:
    at_once(ask, range(100), lambda *_: None)
except KeyboardInterrupt:
    sys.exit(130)
"""
"""A process whose every question stays without an answer."""


def test_results_come_in_the_order_of_the_items_whichever_is_done_first() -> None:
    turn = [threading.Event() for _ in range(3)]

    def work(item: int) -> int:
        if item < 2:
            assert turn[item + 1].wait(10)
        turn[item].set()
        return item * item

    told: list[tuple[int, int]] = []
    assert at_once(work, [0, 1, 2], lambda done, size: told.append((done, size))) == [0, 1, 4]
    assert told == [(0, 3), (1, 3), (2, 3)]
    assert at_once(work, [], lambda *_: None) == []


def test_an_error_is_raised_and_what_has_not_begun_never_is() -> None:
    begun: list[int] = []
    held = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise NetworkError("away")
        held.wait(10)

    with pytest.raises(NetworkError, match="away"):
        at_once(work, range(100), lambda *_: None)
    held.set()
    assert len(begun) <= AT_ONCE + 1


def test_ctrl_c_waits_for_no_answer() -> None:
    with subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert len([process.stdout.readline() for _ in range(AT_ONCE)]) == AT_ONCE
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 130
        finally:
            process.kill()
        assert process.stdout.read() == b""
