"""What commands share: work that is watched while it takes long."""

from __future__ import annotations

import threading

import pytest

from zones import context
from zones.errors import NetworkError, RejectedError


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
