"""Web pages of canisters, through the gateway's raw domain."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from localnet import candid
from localnet.http_gateway import REQUEST, RESPONSE
from tests.localnet.test_ic_interface import RawAgent
from tests.localnet.wat import canister
from tests.support.standalone import standalone

pytestmark = pytest.mark.localnet_only("a genuine gateway verifies responses")


def page(**changes: Any) -> bytes:
    """Candid of a response."""
    value = {"status_code": 200, "headers": [{"0": "Content-Type", "1": "text/x"}], "body": b"page", **changes}
    return candid.encode([RESPONSE], [value])


def site(answer: bytes, updated: bytes = b"") -> bytes:
    """A canister that answers every request with the same response, or the other one after an upgrade."""
    return canister(
        f"""
        (func (export "canister_query http_request") (call $answer (i32.const 100) (i32.const {len(answer)})))
        (func (export "canister_update http_request_update")
          (call $answer (i32.const 2000) (i32.const {len(updated)})))
        """,
        {100: answer, 2000: updated},
    )


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawAgent]:
    """An agent of a standalone network."""
    with standalone(tmp_path_factory.mktemp("standalone")) as url:
        yield RawAgent(url)


def visit(agent: RawAgent, host: str, path: str = "/", **options: Any) -> httpx.Response:
    """What a browser gets; the host is named in the header alone, so that nothing has to resolve it."""
    address = httpx.URL(agent.agent.client.url)
    headers = {"host": f"{host}:{address.port}", **options.pop("headers", {})}
    return httpx.request(options.pop("method", "GET"), address.join(path), headers=headers, **options)


def test_a_canister_s_page_is_served_on_its_raw_domain(agent: RawAgent) -> None:
    target = agent.deploy(site(page(status_code=404, headers=[{"0": "X-Mine", "1": "ü"}])))
    reply = visit(agent, f"{target}.raw.localhost", "/a/b?c=d")
    assert (reply.status_code, reply.content, reply.headers["x-mine"]) == (404, b"page", "ü")


def echo() -> bytes:
    """A canister whose page is the Candid it was asked with (128 to 16 383 bytes)."""
    before, after = page(body=b"MARK").split(b"\x04MARK")
    return canister(
        f"""
        (func (export "canister_query http_request") (local $size i32)
          (local.set $size (call $argument (i32.const 2000)))
          (i32.store8 (i32.const 16) (i32.or (i32.const 128) (local.get $size)))
          (i32.store8 (i32.const 17) (i32.shr_u (local.get $size) (i32.const 7)))
          (call $msg_reply_data_append (i32.const 100) (i32.const {len(before)}))
          (call $msg_reply_data_append (i32.const 16) (i32.const 2))
          (call $msg_reply_data_append (i32.const 2000) (local.get $size))
          (call $answer (i32.const 1000) (i32.const {len(after)})))
        """,
        {100: before, 1000: after},
    )


def test_the_canister_sees_method_address_headers_and_body(agent: RawAgent) -> None:
    host = f"{agent.deploy(echo())}.raw.localhost"
    reply = visit(agent, host, "/a%20b?c=d", method="PATCH", content=b"sent", headers={"x-a": "b"})
    (seen,) = candid.decode(reply.content, [REQUEST])
    assert (seen["method"], seen["url"], seen["body"]) == ("PATCH", "/a%20b?c=d", b"sent")
    assert {"0": "x-a", "1": "b"} in seen["headers"]
    assert seen["certificate_version"] == 2


def test_a_response_that_asks_for_it_is_fetched_by_an_update(agent: RawAgent) -> None:
    target = agent.deploy(site(page(upgrade=True), page(body=b"updated", upgrade=True)))
    assert visit(agent, f"{target}.raw.localhost", method="POST").content == b"updated"
    trapping = agent.deploy(site(page(upgrade=True)))
    assert visit(agent, f"{trapping}.raw.localhost").status_code == 502


def test_responses_that_would_have_to_be_verified_are_refused(agent: RawAgent) -> None:
    target = agent.deploy(site(page()))
    for host, path in ((f"{target}.localhost", "/"), ("127.0.0.1", f"/?canisterId={target}")):
        reply = visit(agent, host, path)
        assert (reply.status_code, "raw.localhost" in reply.text) == (400, True)


def test_hosts_and_replies_that_make_no_page_are_refused_with_the_reason(agent: RawAgent) -> None:
    strategy = ("Callback", None)
    cases = [
        ("no-canister.raw.localhost", 400, "not the text of a principal"),
        ("rwlgt-iiaaa-aaaaa-aaaaa-cai.raw.localhost", 400, "not found"),
        (f"{agent.deploy(canister(''))}.raw.localhost", 503, "no query method"),
        (f"{agent.deploy(site(b'DIDL'))}.raw.localhost", 502, "no HTTP response"),
        (f"{agent.deploy(site(page(status_code=99)))}.raw.localhost", 502, "status code 99"),
        (f"{agent.deploy(site(page(headers=[{'0': 'a', '1': chr(10)}])))}.raw.localhost", 502, "cannot be sent"),
        (f"{agent.deploy(site(page(streaming_strategy=strategy)))}.raw.localhost", 501, "streaming_strategy"),
    ]
    for host, status, text in cases:
        reply = visit(agent, host)
        assert (reply.status_code, text in reply.text) == (status, True), reply.text
    assert visit(agent, "127.0.0.1", "/nothing").status_code == 404
    assert visit(agent, f"{agent.deploy(site(page()))}.raw.localhost", "/api/v2/status").content.startswith(b"\xa4")
