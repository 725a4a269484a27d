"""HTTPS outcalls: mocked ones, what is refused, what they cost, and real ones to mapped hosts."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from localnet import candid
from localnet import management_types as types
from localnet.prices import Prices
from tests.localnet.wat import canister, number
from tests.support.network import CallRejected, Network, Principal

TRANSFORMED = candid.encode([types.HTTP_RESPONSE], [{"status": 200, "headers": [], "body": b"transformed"}])
ATTACHED = 100_000_000_000

FETCHER = f"""
(table 2 funcref)
(elem (i32.const 0) $on_reply $on_reject)
(global $refund (mut i64) (i64.const 0))
(func $on_reply (param i32)
  (global.set $refund (call $msg_cycles_refunded))
  (call $msg_arg_data_copy (i32.const 60000) (i32.const 0) (call $msg_arg_data_size))
  (call $answer (i32.const 60000) (call $msg_arg_data_size)))
(func $on_reject (param i32)
  (i32.store (i32.const 60000) (call $msg_reject_code))
  (call $msg_reject_msg_copy (i32.const 60004) (i32.const 0) (call $msg_reject_msg_size))
  (call $answer (i32.const 60000) (i32.add (i32.const 4) (call $msg_reject_msg_size))))
(func $fetch (param $cycles i64)
  (local $size i32)
  (local.set $size (call $argument (i32.const 60000)))
  (call $call_new (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 12)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (call $call_data_append (i32.const 60000) (local.get $size))
  (call $call_cycles_add (local.get $cycles))
  (drop (call $call_perform)))
(func (export "canister_update fetch") (call $fetch (i64.const {ATTACHED})))
(func (export "canister_update fetch_cheaply") (call $fetch (i64.const 1000)))
(func (export "canister_query refund") (call $answer64 (global.get $refund)))
(func (export "canister_query transform") (call $answer (i32.const 200) (i32.const {len(TRANSFORMED)})))
(func (export "canister_query broken_transform") unreachable)
"""


@pytest.fixture
def fetcher(net: Network) -> Principal:
    """A canister that passes its argument on to ``http_request``."""
    return net.deploy(canister(FETCHER, {100: b"http_request", 200: TRANSFORMED}, memory="40"))


def request(url: str = "https://example.org/path", **changes: Any) -> bytes:
    """Candid of an ``http_request`` argument."""
    value = {"url": url, "max_response_bytes": 1000, "method": ("get", None), "headers": [], **changes}
    return candid.encode([types.HTTP_REQUEST], [value])


def response(reply: bytes) -> dict[str, Any]:
    return candid.decode(reply, [types.HTTP_RESPONSE])[0]


def rejection(reply: bytes) -> tuple[int, str]:
    return number(reply[:4]), reply[4:].decode()


def test_a_mocked_response_reaches_the_canister(net: Network, fetcher: Principal) -> None:
    arg = request(method=("post", None), body=b"question", headers=[{"name": "x-a", "value": "b"}])
    call = net.submit(fetcher, "fetch", arg)
    pending = net.next_outcall()
    assert (pending.method, pending.url, pending.body) == ("POST", "https://example.org/path", b"question")
    assert (pending.headers, pending.max_response_bytes) == ([("x-a", "b")], 1000)
    assert net.status(call) is None
    net.answer(pending, b"answer", 201, [("content-type", "text/plain")])
    assert response(net.wait(call)) == {
        "status": 201,
        "headers": [{"name": "content-type", "value": "text/plain"}],
        "body": b"answer",
    }
    assert net.outcalls() == []


def test_the_transform_function_sees_the_response_first(net: Network, fetcher: Principal) -> None:
    transform = {"function": (fetcher.bytes, "transform"), "context": b"context"}
    call = net.submit(fetcher, "fetch", request(transform=transform))
    net.answer(net.next_outcall(), b"answer")
    assert response(net.wait(call))["body"] == b"transformed"


def test_a_transform_function_that_traps_rejects_the_outcall(net: Network, fetcher: Principal) -> None:
    transform = {"function": (fetcher.bytes, "broken_transform"), "context": b""}
    call = net.submit(fetcher, "fetch", request(transform=transform))
    net.answer(net.next_outcall(), b"answer")
    code, text = rejection(net.wait(call))
    assert (code, "unreachable" in text) == (5, True)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ([("a", "b")] * 65, "number of HTTP headers exceeds 64: 65"),
        ([("a", "b" * 8193)], "8193 bytes exceeds 8192"),
        ([("a", "b" * 8000)] * 7, "56007 bytes exceed 49152"),
    ],
)
def test_a_response_with_too_much_in_its_headers_is_refused(
    net: Network, fetcher: Principal, headers: list[tuple[str, str]], text: str
) -> None:
    call = net.submit(fetcher, "fetch", request(max_response_bytes=None))
    net.answer(net.next_outcall(), b"answer", headers=headers)
    code, found = rejection(net.wait(call))
    assert (code, text in found) == (1, True)


def test_headers_count_against_the_largest_response(net: Network, fetcher: Principal) -> None:
    for size, fits in ((990, True), (991, False)):
        call = net.submit(fetcher, "fetch", request())
        net.answer(net.next_outcall(), bytes(size), headers=[("name", "valued")])
        reply = net.wait(call)
        assert (reply[:4] == b"DIDL") == fits


def test_a_refused_outcall_rejects_with_its_code_and_text(net: Network, fetcher: Principal) -> None:
    call = net.submit(fetcher, "fetch", request())
    net.refuse(net.next_outcall(), "connection refused")
    assert rejection(net.wait(call)) == (2, "connection refused")


def test_a_response_larger_than_asked_for_is_refused(net: Network, fetcher: Principal) -> None:
    call = net.submit(fetcher, "fetch", request())
    net.answer(net.next_outcall(), bytes(1001))
    code, text = rejection(net.wait(call))
    assert (code, text) == (1, "Http body exceeds size limit of 1000 bytes.")


def test_an_outcall_nobody_answers_times_out(net: Network, fetcher: Principal) -> None:
    call = net.submit(fetcher, "fetch", request())
    net.next_outcall()
    net.advance(61)
    assert rejection(net.wait(call)) == (2, "Canister http request timed out")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"url": "http://example.org"}, "https"),
        ({"url": "https:///path"}, "host"),
        ({"max_response_bytes": 2_000_001}, "2000001"),
        ({"transform": {"function": (b"\x01\x02", "transform"), "context": b""}}, "calling canister"),
        ({"url": "https://example.org/" + "a" * 8173}, "8193 bytes"),
        ({"headers": [{"name": "a", "value": "b"}] * 65}, "65"),
        ({"headers": [{"name": "a", "value": "b" * 8193}]}, "8193 bytes"),
        ({"headers": [{"name": "a", "value": "b" * 8000}] * 7}, "56007 bytes"),
        ({"method": ("post", None), "body": bytes(2_000_001)}, "2000000"),
        ({"method": ("get", None), "body": b"x"}, "GET request has no body"),
        ({"is_replicated": False}, "is_replicated"),
    ],
)
def test_invalid_requests_are_refused_with_the_reason(
    net: Network, fetcher: Principal, changes: dict[str, Any], text: str
) -> None:
    code, message = rejection(net.update(fetcher, "fetch", request(**changes)))
    assert code == 4
    assert text in message


def test_an_outcall_costs_the_published_price_and_the_rest_comes_back(net: Network, fetcher: Principal) -> None:
    arg = request(method=("post", None), body=b"x" * 100, headers=[{"name": "abc", "value": "de"}])
    call = net.submit(fetcher, "fetch", arg)
    net.answer(net.next_outcall(), b"answer")
    net.wait(call)
    # (3 000 000 + 60 000 n + 400 per request byte + 800 per byte of the largest response) n, n = 13
    size = len("https://example.org/path") + 100 + 5
    fee = (3_000_000 + 60_000 * 13 + 400 * size + 800 * 1000) * 13
    assert ATTACHED - number(net.query(fetcher, "refund")) == fee == Prices().http_request(size, 1000)


def test_too_few_cycles_are_refused_with_the_price(net: Network, fetcher: Principal) -> None:
    code, text = rejection(net.update(fetcher, "fetch_cheaply", request()))
    assert code == 4
    assert text.startswith("http_request request sent with 1000 cycles, but ")
    assert text.endswith(" cycles are required.")


def test_users_cannot_start_outcalls(net: Network) -> None:
    with pytest.raises(CallRejected, match="Only canisters"):
        net.update(None, "http_request", request())


class Answering(BaseHTTPRequestHandler):
    """Repeats what it was asked, compressed, endless, slowly or with a redirect by its path."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        content = f"{self.path} {self.headers['host']} {self.headers['x-test']} ".encode() + body
        self._send(202, content)

    def do_GET(self) -> None:
        if self.path == "/zipped":
            self._send(200, gzip.compress(b"content"), ("content-encoding", "gzip"))
        elif self.path == "/moved":
            self._send(302, b"", ("location", "/elsewhere"))
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1000))
        else:
            self._send(200, " ".join(sorted(name.lower() for name in self.headers)).encode())

    def do_HEAD(self) -> None:
        self._send(200, b"never sent")

    def _send(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""


@pytest.fixture
def web_server() -> Iterator[int]:
    """The port of a local HTTP server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
