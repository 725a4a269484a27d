"""Input of attackers and broken clients gets an error that says so, and never takes the server down.

Valid requests are changed in random places, cut off and replaced by garbage, on every endpoint of both interfaces.
After each the server must still answer a good request; in the end it may not have grown nor printed a traceback.
"""

import base64
import gzip
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ic.identity import Identity
from ic.principal import Principal

from localnet import candid
from localnet import management_types as types
from localnet.management_calls import METHODS
from localnet.pocketic_operations import OPERATIONS
from tests.localnet.test_ic_interface import query_content, signed
from tests.localnet.test_server import Server
from tests.localnet.wat import COUNTER, canister, number

pytestmark = pytest.mark.localnet_only("starts localnet with options of its own")
MODULE = canister(COUNTER)
MEMORY_GROWTH = 700 * 1024 * 1024
"""Bytes the server may take more at the end: compiled modules, and what Python keeps of large bodies."""
fuzzing = settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)


@dataclass
class Target:
    """A server under attack, one instance on it, and a counter canister there."""

    server: Server
    instance: str
    canister: bytes
    gateway: str
    """Address of the instance's HTTP gateway."""

    def resident(self) -> int:
        """Bytes of memory the server takes."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def call(self, method: str, kind: str = "query") -> dict[str, Any]:
        """JSON of a call to the counter."""
        return call_json(self.canister, method, b"") | {"kind": kind}

    def check(self) -> None:
        """Both interfaces still answer a good request."""
        body = call_json(self.canister, "read", b"")
        reply = self.server.client.post(f"{self.instance}/read/query", json=body)
        assert reply.status_code == 200
        assert "Ok" in reply.json()
        content = query_content(Principal(self.canister).to_str(), "read")
        reply = self.cbor("query", {"content": content})
        assert cbor2.loads(reply.content)["status"] == "replied"

    def cbor(self, kind: str, body: Any, version: str = "v2", text: str | None = None) -> httpx.Response:
        """POST to the IC's interface."""
        content = body if isinstance(body, bytes) else cbor2.dumps(body)
        path = f"{self.instance}/api/{version}/canister/{text or Principal(self.canister).to_str()}/{kind}"
        return self.server.client.post(path, content=content, headers={"content-type": "application/cbor"})


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def call_json(canister_id: bytes, method: str, payload: bytes) -> dict[str, Any]:
    return {
        "sender": "BA==",
        "effective_principal": "None",
        "canister_id": b64(canister_id),
        "method": method,
        "payload": b64(payload),
    }


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that is looked at again when every attack on it is over."""
    limits = ["--instruction-limit-update", "2000000", "--instruction-limit-install", "2000000"]
    server = Server(tmp_path_factory.mktemp("server"), *limits)
    instance = server.instance()
    created = server.client.post("/http_gateway", json={"forward_to": {"PocketIcInstance": 0}}).json()["Created"]
    found = Target(server, instance, server.deploy(instance, MODULE), f"http://127.0.0.1:{created['port']}")
    found.check()
    before = found.resident()
    yield found
    found.check()
    grown = found.resident() - before
    # Fails on a traceback in the server's error output.
    server.stop()
    assert grown < MEMORY_GROWTH, f"{grown} bytes"


# Random values and random changes ------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["BA==", "", "None", "ÿ", "A" * 10_000, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CBOR = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.binary(max_size=40)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.floats()
    | st.just(b"x" * 10_000)
    | st.builds(cbor2.CBORTag, st.integers(0, 60_000), st.integers(0, 100) | st.text("a(+*", max_size=6)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", max_size=3) | st.integers(), inner, max_size=3)
        | st.builds(cbor2.CBORTag, st.sampled_from([4, 5, 28, 30, 55799]), inner)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something can be changed in nested dicts and lists."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at a place; ``...`` removes what is there."""
    if not path:
        return None if new is ... else new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if new is ... and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@st.composite
def mutations(draw: st.DrawFn, valid: Any, values: st.SearchStrategy[Any]) -> Any:
    """A valid request with one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        valid = changed(valid, draw(st.sampled_from(places(valid))), draw(values | st.just(...)))
    return valid


def bent(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that are cut off, or have bytes changed or added."""
    cut = draw(st.integers(0, len(data)))
    return draw(st.sampled_from([data[:cut], data[:cut] + b"\xff" + data[cut + 1 :], data + data[:cut], data]))


# PocketIC's interface --------------------------------------------------------------------------------------


def requests_of(target: Target) -> dict[str, Any]:
    """A valid body for every endpoint that takes one."""
    this = {"canister_id": b64(target.canister)}
    message = {"effective_principal": "None", "message_id": b64(bytes(32))}
    response = {"CanisterHttpReply": {"status": 200, "headers": [{"name": "a", "value": "b"}], "body": ""}}
    bodies: dict[str, Any] = {
        "update/submit_ingress_message": call_json(target.canister, "increment", b""),
        "update/await_ingress_message": message,
        "read/ingress_status": {"raw_message_id": message, "raw_caller": {"principal_id": "BA=="}},
        "read/query": call_json(target.canister, "read", b""),
        "update/set_time": {"nanos_since_epoch": 2**61},
        "update/set_certified_time": {"nanos_since_epoch": 2**61},
        "update/add_cycles": {**this, "amount": 5},
        "update/set_stable_memory": {**this, "blob_id": b64(bytes(32))},
        "update/mock_canister_http": {
            "subnet_id": {"subnet_id": "BA=="}, "request_id": 0, "response": response,
            "additional_responses": [response],
        },
        "update/tick": {"blockmakers": None},
        "read/get_cycles": this,
        "read/get_subnet": this,
        "read/get_stable_memory": this,
        "read/get_controllers": this,
        "read/pub_key": {"subnet_id": "BA=="},
        "auto_progress": {"artificial_delay_ms": None},
        "stop_progress": "",
    }  # fmt: skip
    return bodies


def test_every_endpoint_is_under_attack_here(target: Target) -> None:
    taken = {path for method, path in OPERATIONS if method == "POST"} | {"stop_progress"}
    assert taken == set(requests_of(target))


@st.composite
def pocketic_attacks(draw: st.DrawFn, target: Target) -> tuple[str, bytes]:
    valid = requests_of(target)
    endpoint = draw(st.sampled_from(sorted(valid)))
    body = json.dumps(draw(mutations(valid[endpoint], JSON))).encode()
    return endpoint, bent(draw, body) if draw(st.booleans()) else body


@fuzzing
@given(data=st.data())
def test_json_of_any_kind_is_answered_with_an_error_or_a_result(target: Target, data: st.DataObject) -> None:
    endpoint, body = data.draw(pocketic_attacks(target))
    reply = target.server.client.post(f"{target.instance}/{endpoint}", content=body)
    assert reply.status_code in (200, 400, 403, 404), (endpoint, reply.status_code, reply.text)
    if reply.status_code != 200:
        assert reply.json()["message"]
    # Time that was set far ahead, or runs by itself, is not what the next attack is about.
    target.server.client.post(f"{target.instance}/stop_progress", json="")
    target.check()


CONFIGURATION = {
    "subnet_config_set": {
        "nns": None,
        "application": [{"state_config": "New", "instruction_config": "Production"}],
        "system": [],
    },
    "state_dir": None,
    "icp_features": {"registry": None},
    "initial_time": {"Timestamp": {"nanos_since_epoch": 2**61}},
    "http_gateway_config": None,
}
SIGNATURE = {"msg": "BA==", "sig": "BA==", "pubkey": "MAIwAA==", "root_pubkey": "BA=="}
GATEWAY = {
    "ip_addr": "127.0.0.1",
    "port": 0,
    "forward_to": {"PocketIcInstance": 0},
    "domains": None,
    "https_config": None,
}


@fuzzing
@given(data=st.data())
def test_configurations_of_any_kind_are_answered(target: Target, data: st.DataObject) -> None:
    valid = {"/instances": CONFIGURATION, "/http_gateway": GATEWAY, "/verify_signature": SIGNATURE}
    path = data.draw(st.sampled_from(sorted(valid)))
    body = data.draw(mutations(valid[path], JSON))
    reply = target.server.client.post(path, content=json.dumps(body).encode())
    assert reply.status_code in (201, 400, 404), (reply.status_code, reply.text)
    if reply.status_code == 201 and path == "/instances":
        target.server.client.delete(f"/instances/{reply.json()['Created']['instance_id']}")
    elif reply.status_code == 201:
        target.server.client.post(f"/http_gateway/{reply.json()['Created']['instance_id']}/stop")
    target.check()


_PATHS = """
/ // /%ff /..%2f..%2fetc/passwd /status /api/v2/status /blobstore /blobstore/x /http_gateway
/http_gateway/9/stop /instances /instances/0 /instances/99 /instances/x/read/query /instances/٣/read/get_time
/instances/0/read/%00 /instances/0/read/topology /instances/0/api/v2/status /instances/0/api/v9/status
/instances/0/api/v2/canister/x/call /instances/0/api/v2/canister/aaaaa-aa/read_state
/instances/0/api/v2/subnet/aaaaa-aa/read_state
"""
PATHS = _PATHS.split()
PATHS.append(f"/instances/{'9' * 5000}/read/get_time")
HOSTS = [b"x", b"[", b"[::1", b"a:b:c", b"\xff.raw.localhost", b".localhost", b".raw.localhost", b"%00.raw.localhost"]
HOSTS += [b"aaaaa-aa.raw.localhost", b"aaaaa-aa.localhost:99999", Principal(bytes(7) + b"\xff\1\1").to_str().encode()]
HOSTS.append(b"lxzze-o7777-77777-aaaaa-cai.raw.localhost")


@fuzzing
@given(
    path=st.sampled_from(PATHS),
    method=st.sampled_from(["GET", "HEAD", "PUT", "PATCH", "POST", "OPTIONS", "TRACE", "NONSENSE"]),
    body=st.binary(max_size=50),
    kind=st.sampled_from(["application/cbor", "application/json", "text/ÿ", ""]),
    host=st.sampled_from(HOSTS),
    at_gateway=st.booleans(),
)
def test_wrong_methods_paths_and_hosts_are_answered(
    target: Target, path: str, method: str, body: bytes, kind: str, host: bytes, at_gateway: bool
) -> None:
    headers = {b"content-type": kind.encode("latin-1"), b"content-encoding": b"gzip", b"host": host}
    address = (target.gateway if at_gateway else target.server.url) + path
    reply = target.server.client.request(method, address, content=body, headers=list(headers.items()))
    # 503 says that the canister has no http_request.
    assert reply.status_code < 500 or (at_gateway and reply.status_code == 503), (method, path, reply.text)
    target.check()


# The IC's interface -----------------------------------------------------------------------------------------


@st.composite
def envelopes(draw: st.DrawFn, target: Target) -> tuple[str, bytes]:
    """A signed request with delegations that is changed before or after it was signed."""
    kind = draw(st.sampled_from(["call", "query", "read_state"]))
    user = Identity()
    content = query_content(Principal(target.canister).to_str(), "read", user.sender().bytes, request_type=kind)
    if kind == "read_state":
        content["paths"] = [
            [b"time"],
            [b"canister", target.canister, b"metadata", b"x"],
            [b"request_status", bytes(32)],
        ]
    content["nonce"] = b"n"
    delegation = {"pubkey": b"key", "expiration": time.time_ns() * 2, "targets": [target.canister]}
    envelope: dict[str, Any] = signed(content, user)
    envelope["sender_delegation"] = draw(st.just([]) | st.just([{"delegation": delegation, "signature": b"s"}]))
    changed_envelope = draw(mutations(envelope, CBOR))
    body = cbor2.dumps(changed_envelope)
    return kind, bent(draw, body) if draw(st.booleans()) else body


@fuzzing
@given(data=st.data(), version=st.sampled_from(["v2", "v3"]))
def test_envelopes_of_any_kind_are_answered(target: Target, data: st.DataObject, version: str) -> None:
    kind, body = data.draw(envelopes(target))
    reply = target.cbor(kind, body, "v2" if kind == "call" else version)
    assert reply.status_code in (200, 202, 400, 403, 404), (reply.status_code, reply.text)
    target.check()


def nested(depth: int) -> bytes:
    return b"\x81" * depth + b"\0"


BOMBS = {
    "deep lists": nested(1_000_000),
    "deep lists in content": b"\xa1\x67content" + nested(300),
    "a string of 2^63 bytes": b"\x5b\x7f" + b"\xff" * 7,
    "a list of 2^63 items": b"\x9b\x7f" + b"\xff" * 7,
    "a map of 2^32 items": b"\xba\xff\xff\xff\xff",
    "a million items": b"\x9a\x00\x0f\x42\x40" + b"\0" * 1_000_000,
    "a number of four million bytes": b"\xa1\x67content\xc2\x5a\x00\x3d\x09\x00" + b"\xff" * 4_000_000,
    "a list in itself": bytes.fromhex("a1 67636f6e74656e74 d81c 81 d81d00"),
    "a pattern": cbor2.dumps(cbor2.CBORTag(35, "(a+)+" * 1000)),
    "open ends": b"\x9f" * 1000,
    "two values": b"\xa0\xa0",
    "the same key twice": b"\xa2\x61a\0\x61a\0",
    "nothing": b"",
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("kind", ["call", "query", "read_state"])
def test_cbor_bombs_are_refused_in_no_time(target: Target, bomb: str, kind: str) -> None:
    started = time.monotonic()
    reply = target.cbor(kind, BOMBS[bomb])
    assert reply.status_code in (400, 413), reply.text
    assert time.monotonic() - started < 5
    target.check()


@pytest.mark.parametrize(
    "body", [b"[" * 1_000_000, b'{"a":' * 100_000, b"1" * 1_000_000, b'"\\ud800"', b"\xff", b"NaN"]
)
def test_json_bombs_are_refused(target: Target, body: bytes) -> None:
    for endpoint in ("update/submit_ingress_message", "update/add_cycles", "update/tick"):
        reply = target.server.client.post(f"{target.instance}/{endpoint}", content=body)
        assert (reply.status_code, bool(reply.json()["message"])) == (400, True)
    assert target.server.client.post("/instances", content=body).status_code == 400
    target.check()


# The management canister -------------------------------------------------------------------------------------


def management_call(target: Target, method: str, argument: bytes) -> dict[str, Any]:
    return target.server.update(target.instance, b"", method, argument)


@st.composite
def arguments(draw: st.DrawFn) -> tuple[str, bytes]:
    """A management method and Candid that is garbage, or of another method's type, or cut off."""
    method = draw(st.sampled_from(sorted(METHODS)) | st.text(max_size=5))
    tables = st.binary(max_size=30).map(lambda table: b"DIDL" + table)
    count = b"\xff\xff\xff\xff\x0f"
    huge = st.sampled_from([b"\x01\x6d\x7f\x01\x00" + count, count, b"\x01\x6d\x00\x01\x00\x01", b"\x00" + count])
    about = st.just(candid.encode([types.CANISTER_ID], [{"canister_id": b"\0\0\0\0\0\0\0\7\1\1"}]))
    return method, bent(draw, draw(about | tables | huge.map(lambda table: b"DIDL" + table) | st.binary(max_size=40)))


@fuzzing
@given(data=st.data())
def test_garbage_for_the_management_canister_is_rejected(target: Target, data: st.DataObject) -> None:
    method, argument = data.draw(arguments())
    answer = management_call(target, method, argument)
    assert "Ok" in answer or answer["Err"]["reject_code"].startswith(("Canister", "Destination", "Sys")), answer
    target.check()


def modules() -> st.SearchStrategy[bytes]:
    """Garbage, garbage behind a Wasm header, a good module with bytes changed, and gzip of them."""

    def scrambled(seed: int) -> bytes:
        source, found = random.Random(seed), bytearray(MODULE)
        for _ in range(source.randint(1, 4)):
            found[source.randrange(8, len(found))] = source.randrange(256)
        return bytes(found)

    plain = (
        st.binary(max_size=200)
        | st.binary(max_size=60).map(lambda tail: b"\0asm\1\0\0\0" + tail)
        | st.integers(0, 2**32).map(scrambled)
        | st.integers(9, len(MODULE)).map(lambda cut: MODULE[:cut])
    )
    return plain | plain.map(gzip.compress) | plain.map(lambda data: gzip.compress(data)[:-3])


@fuzzing
@given(module=modules(), mode=st.sampled_from(["install", "reinstall"]))
def test_garbage_modules_are_rejected_or_trap(target: Target, module: bytes, mode: str) -> None:
    (made,) = candid.decode(
        base64.b64decode(
            management_call(
                target, "provisional_create_canister_with_cycles", candid.encode([types.PROVISIONAL_CREATE], [{}])
            )["Ok"]
        ),
        [types.CANISTER_ID],
    )
    install = {**made, "mode": (mode, None), "wasm_module": module, "arg": b""}
    answer = management_call(target, "install_code", candid.encode([types.INSTALL], [install]))
    assert "Ok" in answer or answer["Err"]["reject_code"] == "CanisterError", answer
    for method in ("read", "increment"):
        target.server.update(target.instance, made["canister_id"], method, b"")
    for ending in ("stop_canister", "delete_canister"):
        management_call(target, ending, candid.encode([types.CANISTER_ID], [made]))
    target.check()


def test_a_gzip_bomb_is_no_module(target: Target) -> None:
    bomb = gzip.compress(b"\0asm\1\0\0\0" + bytes(1 << 30))
    install = {"canister_id": target.canister, "mode": ("reinstall", None), "wasm_module": bomb, "arg": b""}
    answer = management_call(target, "install_code", candid.encode([types.INSTALL], [install]))
    assert answer["Err"]["error_code"] == "CanisterInvalidWasm"
    reply = target.server.client.post("/blobstore", content=b"no gzip", headers={"content-encoding": "gzip"})
    assert reply.status_code == 400
    target.check()


# Connections ---------------------------------------------------------------------------------------------------


def connection(target: Target) -> socket.socket:
    url = httpx.URL(target.server.url)
    return socket.create_connection((url.host, url.port or 80), timeout=20)


def head(target: Target, length: int | str) -> bytes:
    path = f"{target.instance}/api/v2/canister/{Principal(target.canister)}/query"
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def test_bodies_that_never_end_do_not_keep_others_waiting(target: Target) -> None:
    stalled = []
    for _ in range(100):
        peer = connection(target)
        peer.sendall(head(target, 1000) + b"\xa1")
        stalled.append(peer)
    started = time.monotonic()
    for _ in range(20):
        target.check()
    assert time.monotonic() - started < 20
    for peer in stalled:
        peer.close()
    target.check()


def test_a_body_that_is_announced_too_large_is_refused_at_once(target: Target) -> None:
    with connection(target) as peer:
        peer.sendall(head(target, 10**12) + b"\xa1")
        assert peer.recv(100).startswith(b"HTTP/1.1 413")
    target.check()


@fuzzing
@given(garbage=st.binary(min_size=1, max_size=300))
def test_bytes_that_are_no_http_are_answered_or_cut_off(target: Target, garbage: bytes) -> None:
    with connection(target) as peer:
        peer.sendall(garbage)
        peer.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := peer.recv(1000):
            answer += piece
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 2")), answer
    target.check()


def test_the_counter_counted_what_was_valid_alone(target: Target) -> None:
    assert "Ok" in target.server.update(target.instance, target.canister, "increment", b"")
    body = call_json(target.canister, "read", b"")
    reply = target.server.client.post(f"{target.instance}/read/query", json=body).json()["Ok"]
    assert number(base64.b64decode(reply)) >= 1
