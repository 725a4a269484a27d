"""What commands share: work that is watched while it takes long."""

from __future__ import annotations

import sys
import threading
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from zones import context
from zones.errors import NetworkError, RejectedError
from zones.identity import Anonymous


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "LOOK_SECONDS", 0.001)


def test_work_is_looked_after_until_it_is_done() -> None:
    seen: list[int] = []
    enough = threading.Event()

    def look(seconds: int) -> None:
        seen.append(seconds)
        if len(seen) == 3:
            enough.set()
        raise NetworkError("the network is away for a moment")

    assert context.watched(lambda: enough.wait(10), look)
    assert len(seen) >= 3


def test_what_goes_wrong_with_the_work_is_raised() -> None:
    def work() -> None:
        raise RejectedError("refused")

    with pytest.raises(RejectedError, match="refused"):
        context.watched(work, lambda _: None)


def test_a_network_that_is_asked_again_is_told_of_once_and_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(context, "IcAgent", lambda _url, _signer, **options: options["away"])
    there = context.Context(Namespace(state=str(tmp_path), network="http://127.0.0.1:9"))
    away: Any = there.agent(Anonymous())
    away("http://127.0.0.1:9 answers 503: starting")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    away("http://127.0.0.1:9 answers 503: start\x1b[2Jing")
    away("http://127.0.0.1:9 answers 502: no gateway")
    told = "http://127.0.0.1:9 answers 503: start\ufffd[2Jing; asking again for up to 300 s"
    assert capsys.readouterr().err == f"\r\033[K{told}\n"
