"""How rejects of the management canister are read."""

import pytest

from factory.examination import is_gone


@pytest.mark.parametrize(
    ("fault", "gone"),
    [
        ("Rejection code 3, Canister rwlgt-iiaaa-aaaaa-aaaaa-cai not found", True),
        ("reading what the platform knows of x failed: Rejection code 3, Canister x not found.", True),
        ("Rejection code 3, the destination cannot be routed to", False),
        ("Rejection code 5, the snapshot 00 was not found", False),
        ("Rejection code 2, couldn't send message", False),
        ("", False),
    ],
)
def test_a_canister_is_gone_when_the_platform_says_that_there_is_none(fault, gone):
    assert is_gone(fault) == gone
