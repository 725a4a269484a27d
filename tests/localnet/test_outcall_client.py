"""Outcalls that really go out: to mapped hosts only, and what comes back."""

import contextlib
import gzip
import socket
import threading
import time
from typing import Any

import httpx
import pytest
from ic.principal import Principal

from localnet import outcall_client
from localnet.message import Rejection
from tests.localnet.test_ic_interface import RawAgent
from tests.localnet.test_outcalls import FETCHER, TRANSFORMED, rejection, request, response, web_server
from tests.localnet.wat import canister
from tests.support.standalone import standalone

__all__ = ["web_server"]
pytestmark = pytest.mark.localnet_only("only localnet maps hosts to servers of this machine")


def test_outcalls_go_out_to_mapped_hosts_only(tmp_path: Any, web_server: int) -> None:
    with standalone(tmp_path, "--outcall", f"rpc.example.org=http://127.0.0.1:{web_server}") as url:
        agent = RawAgent(url)
        fetcher = agent.deploy(canister(FETCHER, {100: b"http_request", 200: TRANSFORMED}, memory="40"))
        headers = [{"name": "x-test", "value": "7"}]
        arg = request("https://rpc.example.org/a?b=c", method=("post", None), body=b"question", headers=headers)
        answer = response(agent.update(fetcher, "fetch", arg))
        assert (answer["status"], answer["body"]) == (202, b"/a?b=c rpc.example.org 7 question")
        for wrong in ("https://other.example.org/", "https://rpc.example.org:8443/", "https://RPC.example.org.evil/"):
            code, text = rejection(agent.update(fetcher, "fetch", request(wrong)))
            assert (code, "is not one (mapped: rpc.example.org)" in text) == (2, True)


def test_outcalls_bring_back_what_the_server_sent(tmp_path: Any, web_server: int) -> None:
    with standalone(tmp_path, "--outcall", f"rpc.example.org=http://127.0.0.1:{web_server}") as url:
        agent = RawAgent(url)
        fetcher = agent.deploy(canister(FETCHER, {100: b"http_request", 200: TRANSFORMED}, memory="40"))

        def fetch(path: str, **changes: Any) -> bytes:
            return agent.update(fetcher, "fetch", request(f"https://rpc.example.org{path}", **changes))

        headers = [{"name": "X-Mine", "value": "1"}]
        assert response(fetch("/headers", headers=headers))["body"] == b"host x-mine"
        assert gzip.decompress(response(fetch("/zipped"))["body"]) == b"content"
        assert response(fetch("/moved"))["status"] == 302
        answer = response(fetch("/", method=("head", None)))
        assert (answer["status"], answer["body"]) == (200, b"")
        assert rejection(fetch("/endless")) == (1, "Http body exceeds size limit of 1000 bytes.")
        transform = {"function": (Principal.from_str(fetcher).bytes, "transform"), "context": b""}
        assert response(fetch("/headers", transform=transform))["body"] == b"transformed"


def test_an_outcall_to_a_server_that_is_away_is_rejected_with_the_reason(tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with standalone(tmp_path, "--outcall", f"rpc.example.org=http://127.0.0.1:{port}") as url:
        agent = RawAgent(url)
        fetcher = agent.deploy(canister(FETCHER, {100: b"http_request", 200: TRANSFORMED}, memory="40"))
        code, text = rejection(agent.update(fetcher, "fetch", request("https://rpc.example.org/")))
        assert (code, text.startswith("Error making request to rpc.example.org")) == (2, True)


def test_an_outcall_to_a_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)

    monkeypatch.setattr(outcall_client, "TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=lambda: drip(server.accept()[0]), daemon=True)
        accepting.start()
        port = server.getsockname()[1]
        with httpx.Client(timeout=5) as client:
            answer = outcall_client._exchange(client, httpx.Request("GET", f"http://127.0.0.1:{port}/"), 1_000_000)
    assert isinstance(answer, Rejection)
    assert "no complete response" in answer.message
