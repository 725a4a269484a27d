"""Typed calls: what becomes of values and replies that are not of the declared types."""

from __future__ import annotations

import pytest

from localnet import candid as c
from localnet.principal import to_text
from tests.support.fake_agent import FakeAgent
from zones import fleet
from zones.calls import Method
from zones.errors import NetworkError, RejectedError, ReplyError, UserError

CANISTER = b"\1"
COUNT = Method("count", [c.record(most=c.NAT16, why=c.TEXT)], [c.NAT], query=True)


class Foreign:
    """A canister whose code is no zone's: it answers with what it is made of."""

    def __init__(self, reply: bytes | Exception) -> None:
        self.reply = reply

    def count(self, argument: bytes) -> bytes:
        return self.get_zone_id(argument)

    def get_zone_id(self, _argument: bytes) -> bytes:
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"most": 65_536, "why": ""}, "count takes no such value: most: 65536 does not fit nat16: 0 to 65535"),
        ({"most": -1, "why": ""}, "most: -1 does not fit nat16: 0 to 65535"),
        ({"most": 1, "why": "\udcff"}, r"why: '\udcff' is no Unicode text"),
    ],
)
def test_a_value_that_does_not_fit_is_the_users(value: dict[str, object], said: str) -> None:
    agent = FakeAgent({CANISTER: Foreign(c.encode([c.NAT], [1]))})
    with pytest.raises(UserError) as caught:
        COUNT(agent, CANISTER, value)
    assert said in caught.value.message


FOREIGN = [b"", b"DIDL\0\0", b"\x89PNG", c.encode([c.NAT32], [7]), c.encode([c.record(a=c.TEXT)], [{"a": ""}])]


@pytest.mark.parametrize("reply", FOREIGN)
def test_a_reply_of_another_type_is_told_apart_from_a_network_that_is_away(reply: bytes) -> None:
    agent = FakeAgent({CANISTER: Foreign(reply)})
    with pytest.raises(ReplyError, match=r"count: the reply is not of the expected type.*another canister") as caught:
        COUNT(agent, CANISTER, {"most": 1, "why": ""})
    assert caught.value.exit_code == NetworkError.exit_code


@pytest.mark.parametrize("reply", [*FOREIGN, RejectedError("get_zone_id: trapped")])
def test_a_zone_that_answers_nonsense_is_a_fault_of_its_row(reply: bytes | Exception) -> None:
    told = fleet.ask(FakeAgent({CANISTER: Foreign(reply)}), to_text(CANISTER))
    assert told["version"] is None
    assert told["fault"].startswith("get_zone_id: ")


def test_a_lost_connection_is_no_fault_of_a_row() -> None:
    with pytest.raises(NetworkError, match="away"):
        fleet.ask(FakeAgent({CANISTER: Foreign(NetworkError("away"))}), to_text(CANISTER))
