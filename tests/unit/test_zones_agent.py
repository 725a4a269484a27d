"""The agent against a scripted network: what it sends, how it waits, what it makes of every answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cbor2
import httpx
import pytest
from ic.utils import to_request_id

from localnet.envelope import authenticate, check_expiry, read
from zones.agent import IcAgent, Signer
from zones.errors import NetworkError, RejectedError
from zones.identity import Anonymous, Identity

CANISTER = b"\0" * 7 + b"\x05\x01\x01"
Answer = httpx.Response | Exception


def tree(**status: bytes) -> Callable[[bytes], bytes]:
    """A certificate with `/request_status/<id>/...`, as read_state gives it."""

    def certificate(request_id: bytes) -> bytes:
        leaves: list[Any] = [2, b"", [0]]
        for label, value in sorted(status.items()):
            leaves = [1, leaves, [2, label.encode(), [3, value]]]
        whole = [1, [2, b"request_status", [2, request_id, leaves]], [2, b"time", [3, b"\0"]]]
        return cbor2.dumps({"certificate": cbor2.dumps(cbor2.CBORTag(55799, {"tree": whole, "signature": b""}))})

    return certificate


class Network:
    """Answers requests in the order given; a function in the list makes the answer of a read_state."""

    def __init__(self, *answers: Answer | Callable[[bytes], bytes]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.slept: list[float] = []
        self.away: list[str] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        envelope = cbor2.loads(request.content) if request.content else {}
        self.requests.append((request.url.path, envelope))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, content=answer(envelope["content"]["paths"][0][1]))

    def agent(self, signer: Signer | None = None, deadline: float = 60.0) -> IcAgent:
        client = httpx.Client(transport=httpx.MockTransport(self.handle))
        who = signer or Identity.generate()
        return IcAgent(
            "http://network.test/",
            who,
            client=client,
            deadline=deadline,
            sleep=self.slept.append,
            away=self.away.append,
        )


def cbor(value: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=cbor2.dumps(value))


def test_an_update_is_sent_signed_and_polled_until_its_reply() -> None:
    network = Network(
        httpx.Response(202),
        tree(),
        tree(status=b"processing"),
        tree(status=b"replied", reply=b"DIDL\0\0"),
    )
    identity = Identity.generate()
    assert network.agent(identity).update(CANISTER, "method", b"argument") == b"DIDL\0\0"
    _, envelope = network.requests[0]
    content = envelope["content"]
    assert (content["request_type"], content["method_name"], content["arg"]) == ("call", "method", b"argument")
    assert content["sender"] == identity.sender()
    assert len(envelope["sender_sig"]) == 64
    polled = network.requests[1][1]["content"]
    assert polled["paths"] == [[b"request_status", to_request_id(content)]]
    assert network.slept == sorted(network.slept)
    assert len(network.slept) == 2


def test_a_management_call_goes_to_the_canister_it_is_about() -> None:
    network = Network(httpx.Response(202), tree(status=b"replied", reply=b"x"))
    network.agent().update(b"", "start_canister", b"", effective=CANISTER)
    paths = {path.split("/")[4] for path, _ in network.requests}
    assert len(paths) == 1
    assert paths != {"aaaaa-aa"}
    assert network.requests[0][1]["content"]["canister_id"] == b""


def test_two_equal_calls_are_two_requests() -> None:
    network = Network(*[cbor({"status": "replied", "reply": {"arg": b"x"}}) for _ in range(2)])
    agent = network.agent()
    for _ in range(2):
        agent.query(CANISTER, "method", b"")
    first, second = (envelope["content"] for _, envelope in network.requests)
    assert to_request_id(first) != to_request_id(second)


def test_an_anonymous_envelope_has_no_signature_fields() -> None:
    network = Network(cbor({"status": "replied", "reply": {"arg": b"x"}}))
    network.agent(Anonymous()).query(CANISTER, "method", b"")
    assert network.requests[0][1].keys() == {"content"}


@pytest.mark.parametrize("signer", [Identity.generate(), Anonymous()])
def test_a_network_that_checks_signatures_accepts_every_kind_of_request(signer: Signer) -> None:
    network = Network(
        cbor({"status": "replied", "reply": {"arg": b"x"}}),
        httpx.Response(202),
        tree(status=b"replied", reply=b"x"),
    )
    agent = network.agent(signer)
    agent.query(CANISTER, "method", b"")
    agent.update(CANISTER, "method", b"")
    for _, sent in network.requests:
        wanted = read(sent, sent["content"]["request_type"])
        check_expiry(wanted, time.time_ns())
        assert authenticate(sent, wanted, time.time_ns(), lambda *_: None) is None
        assert wanted.id == to_request_id(sent["content"])


def test_a_rejected_update_is_an_exception_with_code_and_text() -> None:
    refusal = tree(status=b"rejected", reject_code=b"\x05", reject_message=b"trapped", error_code=b"IC0503")
    network = Network(httpx.Response(202), refusal)
    with pytest.raises(RejectedError, match="method: trapped") as caught:
        network.agent().update(CANISTER, "method", b"")
    assert (caught.value.code, caught.value.error_code, caught.value.exit_code) == (5, "IC0503", 3)


def test_a_refusal_in_the_answer_to_the_call_is_a_reject() -> None:
    refusal = {"status": "non_replicated_rejection", "reject_code": 3, "reject_message": "no such canister"}
    with pytest.raises(RejectedError, match="no such canister") as caught:
        Network(cbor(refusal)).agent().update(CANISTER, "method", b"")
    assert caught.value.code == 3


def test_a_rejected_query_is_an_exception_not_a_text() -> None:
    refusal = {"status": "rejected", "reject_code": 4, "reject_message": "Not a member of the zone"}
    with pytest.raises(RejectedError, match="Not a member"):
        Network(cbor(refusal)).agent().query(CANISTER, "method", b"")


def test_a_call_is_sent_again_unchanged_while_the_network_is_away() -> None:
    network = Network(
        httpx.Response(503, text="starting"),
        httpx.ReadTimeout("slow"),
        httpx.Response(202),
        tree(status=b"replied", reply=b"x"),
    )
    assert network.agent().update(CANISTER, "method", b"") == b"x"
    assert network.requests[0][1] == network.requests[1][1] == network.requests[2][1]
    assert network.away == [
        "http://network.test answers 503: starting",
        "the connection to http://network.test failed: slow",
    ]


def test_a_network_that_stays_away_is_given_up_after_the_deadline() -> None:
    network = Network(*[httpx.Response(503, text="starting")] * 3)
    with pytest.raises(NetworkError, match="503: starting"):
        network.agent(deadline=0.0).update(CANISTER, "method", b"")


def test_a_reply_that_never_comes_is_given_up_with_the_status_seen() -> None:
    network = Network(httpx.Response(202), tree(status=b"processing"))
    with pytest.raises(NetworkError, match=r"no reply within 0 s \(status processing\).*may still be carried out"):
        network.agent(deadline=0.0).update(CANISTER, "method", b"")


def test_a_forgotten_reply_is_an_error() -> None:
    with pytest.raises(NetworkError, match="forgotten"):
        Network(httpx.Response(202), tree(status=b"done")).agent().update(CANISTER, "method", b"")


def test_nobody_listening_says_how_to_start_a_network() -> None:
    with pytest.raises(NetworkError, match=r"no network answers.*zones network start") as caught:
        Network(httpx.ConnectError("refused")).agent().status()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, text="<html>"), "no CBOR"),
        (httpx.Response(200, content=b""), "no CBOR"),
        (cbor([1]), "no map"),
        (httpx.Response(404, text="not here"), "404"),
        (httpx.Response(400, text="Specified ingress_expiry not within expected range"), "clock"),
    ],
)
def test_whatever_else_answers_is_a_network_error(answer: httpx.Response, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        Network(answer).agent().query(CANISTER, "method", b"")


def test_an_argument_that_fits_no_message_is_not_sent() -> None:
    network = Network()
    with pytest.raises(NetworkError, match="2000001 bytes is too large"):
        network.agent().update(CANISTER, "method", bytes(2_000_001))
    assert network.requests == []
