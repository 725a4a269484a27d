"""What the factory's entry module decides by itself, with the platform stubbed."""

import pytest
from kybra import ic

from factory import main


class Trapped(Exception):
    """The canister trapped."""


@pytest.fixture(autouse=True)
def platform(monkeypatch):
    def trap(text: str) -> None:
        raise Trapped(text)

    monkeypatch.setattr(ic, "time", lambda: 1_000)
    monkeypatch.setattr(ic, "trap", trap)


def test_an_upgrade_under_open_calls_traps_and_says_what_to_do():
    main.pre_upgrade_()
    main.open_calls.start(b"one", 900)
    main.open_calls.start(b"two", 950)
    with pytest.raises(Trapped, match=r"^2 calls in flight: stop the factory first$"):
        main.pre_upgrade_()
    main.open_calls.finish(b"one")
    main.open_calls.finish(b"two")
    main.pre_upgrade_()
