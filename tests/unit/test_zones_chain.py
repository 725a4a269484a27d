"""A zone's contract on its chain: the node that has it is found, and nodes that answer nonsense are named."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from zones.chain import Contract, contract_at
from zones.identity import Identity
from zones.membership import CONTRACT_VERSION, MembershipServer, Roles

ZONE_ID = "0x" + "ab" * 20
OWNER = Identity.from_secret(bytes(31) + b"\1").address


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a node that has the contract of ZONE_ID, which OWNER owns."""
    roles = Roles()
    roles.set_role(ZONE_ID, bytes(20), 200)
    roles.set_role(ZONE_ID, OWNER, 700)
    roles.save(tmp_path / "roles.json")
    with MembershipServer(tmp_path / "roles.json") as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{made.port}/"
        made.shutdown()


def test_the_chain_that_has_the_contract_is_found(server: str) -> None:
    with httpx.Client(trust_env=False) as client:
        found = contract_at(client, [("local", server)], ZONE_ID)
        assert found == Contract("local", CONTRACT_VERSION, "0x" + OWNER.hex())
        assert contract_at(client, [("local", server)], "0x" + "cd" * 20) == Contract()


def asked(answer: Callable[[str, str], Any], *nodes: str) -> Contract:
    """What comes of asking nodes that give these answers, by host and selector."""

    def handle(request: httpx.Request) -> httpx.Response:
        data = json.loads(request.content)["params"][0]["data"]
        found = answer(request.url.host, data)
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    with httpx.Client(transport=httpx.MockTransport(handle)) as client:
        return contract_at(client, [(node, f"https://{node}/") for node in nodes], ZONE_ID)


def test_nodes_are_asked_in_their_order_until_one_has_it() -> None:
    def answer(host: str, data: str) -> Any:
        if host == "one":
            return {"result": "0x"}
        if host == "two":
            return {"error": {"code": 3, "message": "execution reverted"}}
        return {"result": "0x" + "00" * 31 + "05"} if data == "0xbb62860d" else {"result": "0x" + "00" * 12 + "11" * 20}

    assert asked(answer, "one", "two", "three") == Contract("two", None, None)  # a contract without these functions
    assert asked(answer, "one", "three", "two") == Contract("three", 5, "0x" + "11" * 20)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(502, text="<html>bad gateway"), "HTTP status 502: '<html>bad gateway'"),
        (httpx.Response(200, text="<html>"), "Expecting value"),
        ([1], "HTTP status 200: '[1]'"),
        ({"result": 7}, "the answer has no result"),
        ({"result": "0xzz"}, "the answer has no result"),
        ({}, "the answer has no result"),
        ({"error": {"code": -32005, "message": "too many requests"}}, "too many requests"),
    ],
)
def test_a_node_that_answers_nonsense_is_named(answer: Any, said: str) -> None:
    found = asked(lambda host, _: {"result": "0x"} if host == "good" else answer, "bad", "good")
    assert (found.node, found.fault is not None and found.fault.startswith("bad: ")) == (None, True)
    assert said in str(found.fault)
