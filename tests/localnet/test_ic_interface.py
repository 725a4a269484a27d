"""The IC's HTTP interface: `ic-py`, signatures, request ids, certificates."""

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

import cbor2
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from ic.agent import Agent, sign_request
from ic.candid import Types, encode
from ic.certificate import lookup
from ic.client import Client
from ic.identity import Identity
from ic.principal import Principal
from pocket_ic import SubnetConfig

from localnet import candid
from localnet import management_types as types
from localnet.envelope import request_id
from tests.localnet.wat import COUNTER, canister, number
from tests.support import blst
from tests.support.network import Network
from tests.support.standalone import standalone


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A standalone network."""
    with standalone(tmp_path_factory.mktemp("standalone")) as url:
        yield url


class RawAgent:
    """`ic-py`'s agent without Candid: replies are bytes."""

    def __init__(self, url: str, identity: Identity | None = None) -> None:
        self.agent = Agent(identity or Identity(), Client(url))

    def update(self, target: str, method: str, arg: bytes, effective: str | None = None) -> bytes:
        """Call and poll for the reply."""
        content = {
            "request_type": "call",
            "sender": self.agent.identity.sender().bytes,
            "canister_id": Principal.from_str(target).bytes,
            "method_name": method,
            "arg": arg,
            "ingress_expiry": self.agent.get_expiry_date(),
            # ic-py's expiry is in whole seconds: without a nonce two equal calls would be one.
            "nonce": os.urandom(16),
        }
        rid, data = sign_request(content, self.agent.identity)
        where = effective or target
        self.agent.call_endpoint(where, rid, data)
        status, result = self.agent.poll(where, rid, delay=0.02, timeout=20)  # pyright: ignore[reportArgumentType]
        if status != "replied":
            raise RuntimeError(result.decode() if isinstance(result, bytes) else str(status))
        assert isinstance(result, bytes)
        return result

    def deploy(self, module: bytes) -> str:
        """Create a canister and install code."""
        arg = candid.encode([types.PROVISIONAL_CREATE], [{}])
        reply = self.update("aaaaa-aa", "provisional_create_canister_with_cycles", arg)
        canister_id = candid.decode(reply, [types.CANISTER_ID])[0]["canister_id"]
        text = Principal(canister_id).to_str()
        value = {"mode": ("install", None), "canister_id": canister_id, "wasm_module": module, "arg": b""}
        self.update("aaaaa-aa", "install_code", candid.encode([types.INSTALL], [value]), text)
        return text


def test_ic_py_updates_and_queries(address: str) -> None:
    body = """
    (func (export "canister_query greet") (call $answer (i32.const 100) (i32.const 15)))
    (func (export "canister_update greet_slowly") (call $answer (i32.const 100) (i32.const 15)))
    """
    text = encode([{"type": Types.Text, "value": "hallo"}])
    raw = RawAgent(address)
    target = raw.deploy(canister(body.replace("15", str(len(text))), {100: text}))
    agent = Agent(Identity(), Client(address))
    assert agent.query_raw(target, "greet", encode([]))[0]["value"] == "hallo"  # pyright: ignore[reportOptionalSubscript]
    assert agent.update_raw(target, "greet_slowly", encode([]))[0]["value"] == "hallo"
    with pytest.raises(Exception, match="has no update method"):
        agent.update_raw(target, "nothing", encode([]))


def query_content(target: str, method: str, sender: bytes = b"\x04", **changes: Any) -> dict[str, Any]:
    return {
        "request_type": "query",
        "sender": sender,
        "canister_id": Principal.from_str(target).bytes,
        "method_name": method,
        "arg": b"",
        "ingress_expiry": time.time_ns() + 60_000_000_000,
        **changes,
    }


def signed(content: dict[str, Any], identity: Any) -> dict[str, Any]:
    signature = signature_of(identity, b"\x0aic-request" + request_id(content))
    return {"content": content, "sender_pubkey": public_key(identity), "sender_sig": signature}


def signature_of(identity: Any, message: bytes) -> bytes:
    pair: Any = identity.sign(message)
    return bytes(pair[1])


def public_key(identity: Any) -> bytes:
    pair: Any = identity.sign(b"")
    return bytes(pair[0])


def send(url: str, target: str, kind: str, envelope: Any, version: str = "v2") -> httpx.Response:
    body = envelope if isinstance(envelope, bytes) else cbor2.dumps(envelope)
    headers = {"content-type": "application/cbor"}
    path = f"{url}/api/{version}/canister/{target}/{kind}"
    return httpx.post(path, content=body, headers=headers, timeout=30)


def post(url: str, target: str, kind: str, envelope: Any, version: str = "v2") -> Any:
    reply = send(url, target, kind, envelope, version)
    assert reply.status_code == 200, reply.text
    return cbor2.loads(reply.content)


@pytest.fixture(scope="module")
def counter(address: str) -> str:
    """A counter on the standalone network."""
    return RawAgent(address).deploy(canister(COUNTER))


def test_request_ids_are_the_specification_s(address: str) -> None:
    # The example of the IC interface specification, "Request ids".
    content = {
        "request_type": "call",
        "canister_id": b"\x00\x00\x00\x00\x00\x00\x04\xd2",
        "method_name": "hello",
        "arg": b"DIDL\x00\xfd*",
    }
    assert request_id(content).hex() == "8781291c347db32a9d8c10eb62b710fce5a93be676474c42babc74c51858f94b"


def reconstruct(tree: Any) -> bytes:
    """Root hash of a hash tree in CBOR form, by the specification's rules."""

    def sha(domain: str, *parts: bytes) -> bytes:
        return hashlib.sha256(bytes([len(domain)]) + domain.encode() + b"".join(parts)).digest()

    if tree[0] == 0:
        return sha("ic-hashtree-empty")
    if tree[0] == 1:
        return sha("ic-hashtree-fork", reconstruct(tree[1]), reconstruct(tree[2]))
    if tree[0] == 2:
        return sha("ic-hashtree-labeled", tree[1], reconstruct(tree[2]))
    return sha("ic-hashtree-leaf", tree[1]) if tree[0] == 3 else tree[1]


def verify(certificate: dict[str, Any], root_key: bytes) -> None:
    """Check a certificate's BLS signature against the root key, by pairings."""
    message = b"\x0dic-state-root" + reconstruct(certificate["tree"])
    signature, key = blst.P1_Affine(certificate["signature"]), blst.P2_Affine(root_key[-96:])
    domain = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
    assert signature.core_verify(key, True, message, domain, None) == blst.BLST_SUCCESS


def test_certificates_hold_and_reveal_what_was_asked(address: str, counter: str) -> None:
    status = cbor2.loads(httpx.get(f"{address}/api/v2/status").content)
    agent = Agent(Identity(), Client(address))
    target = Principal.from_str(counter).bytes
    certificate = agent.read_state_raw(counter, [[b"canister", target, b"module_hash"], [b"time"]])
    assert lookup([b"canister", target, b"module_hash"], certificate) == hashlib.sha256(canister(COUNTER)).digest()
    verify(certificate, status["root_key"])


def test_a_call_is_answered_at_once_through_v3(address: str, counter: str) -> None:
    content = query_content(counter, "increment", request_type="call", nonce=b"1")
    answer = post(address, counter, "call", {"content": content}, "v3")
    assert answer["status"] == "replied"
    certificate = cbor2.loads(answer["certificate"])
    rid = request_id(content)
    assert lookup([b"request_status", rid, b"status"], certificate) == b"replied"
    assert number(lookup([b"request_status", rid, b"reply"], certificate) or b"") >= 1


def test_a_call_that_is_not_accepted_says_why(address: str, counter: str) -> None:
    nobody = Principal(b"\xff" * 8 + b"\x01\x01").to_str()
    content = query_content(nobody, "increment", request_type="call")
    answer = post(address, nobody, "call", {"content": content})
    assert (answer["status"], answer["reject_code"], answer["error_code"]) == (
        "non_replicated_rejection",
        3,
        "IC0301",
    )


PRIVATE = b"icp:private secret"


@pytest.fixture(scope="module")
def private(address: str) -> tuple[str, Identity]:
    """A canister with a private and a public custom section, and its controller."""
    owner = Identity()

    def section(name: bytes, content: bytes) -> bytes:
        body = bytes([len(name)]) + name + content
        return b"\0" + bytes([len(body)]) + body

    module = canister(COUNTER) + section(PRIVATE, b"hidden") + section(b"icp:public open", b"shown")
    return RawAgent(address, owner).deploy(module), owner


def read_state(url: str, target: str, paths: list[list[bytes]], identity: Identity) -> httpx.Response:
    content = {
        "request_type": "read_state",
        "sender": identity.sender().bytes,
        "paths": paths,
        "ingress_expiry": time.time_ns() + 60_000_000_000,
    }
    return send(url, target, "read_state", signed(content, identity))


def test_paths_of_others_are_not_readable(address: str, counter: str, private: tuple[str, Identity]) -> None:
    content = query_content(counter, "increment", request_type="call", nonce=b"2")
    post(address, counter, "call", {"content": content}, "v3")
    hidden, owner = private
    stranger = Identity()
    here, there = (Principal.from_str(text).bytes for text in (counter, hidden))
    rid = request_id(content)
    cases: list[tuple[str, list[list[bytes]], Identity, int]] = [
        (counter, [[b"request_status", rid]], stranger, 403),
        (counter, [[b"request_status", rid, b"reply"]], stranger, 403),
        (counter, [[b"request_status", bytes(32)]], stranger, 200),
        (counter, [[b"request_status", bytes(32), b"nonsense"]], stranger, 404),
        (counter, [[b"request_status", b"short"]], stranger, 400),
        (counter, [[b"request_status", bytes(32)], [b"request_status", bytes(31) + b"x"]], stranger, 400),
        (counter, [[b"canister", there, b"module_hash"]], stranger, 400),
        (counter, [[b"canister", there, b"metadata", b"open"]], stranger, 400),
        (counter, [[b"canister", here, b"certified_data"]], stranger, 404),
        (counter, [[b"canister", here]], stranger, 404),
        (counter, [[b"canister", here, b"metadata", b"\xff"]], stranger, 400),
        (hidden, [[b"canister", there, b"metadata", b"secret"]], stranger, 403),
        (hidden, [[b"canister", there, b"metadata", b"secret"]], owner, 200),
        (hidden, [[b"canister", there, b"metadata", b"open"]], stranger, 200),
        (hidden, [[b"canister", there, b"controllers"], [b"time"]], stranger, 200),
        (counter, [[b"nonsense"]], stranger, 404),
        (counter, [[]], stranger, 404),
        (counter, [[b"time"]] * 1001, stranger, 400),
        (counter, [[b"time"] * 128], stranger, 400),
    ]
    for target, paths, who, status in cases:
        reply = read_state(address, target, paths, who)
        assert reply.status_code == status, (paths[0], reply.text)


def test_a_call_must_go_to_the_canister_it_is_about(address: str, counter: str, private: tuple[str, Identity]) -> None:
    other, _ = private
    argument = candid.encode([types.CANISTER_ID], [{"canister_id": Principal.from_str(other).bytes}])
    cases = [
        (query_content(counter, "increment", request_type="call"), other),
        (query_content("aaaaa-aa", "start_canister", request_type="call", arg=argument), counter),
        (query_content(counter, "read"), other),
    ]
    for content, where in cases:
        reply = send(address, where, content["request_type"], {"content": content})
        assert reply.status_code == 400, reply.text
    assert send(address, "no-principal", "query", {"content": query_content(counter, "read")}).status_code == 400


def test_bodies_are_cbor_that_says_so_and_no_larger_than_a_message(address: str, counter: str) -> None:
    content = query_content(counter, "read")
    path = f"{address}/api/v2/canister/{counter}/query"
    for headers in ({}, {"content-type": "application/json"}):
        reply = httpx.post(path, content=cbor2.dumps({"content": content}), headers=headers)
        assert (reply.status_code, reply.text) == (400, "Unexpected content-type, expected application/cbor.")
    call = query_content(counter, "increment", request_type="call", arg=bytes(2 * 1024 * 1024 - 100))
    reply = send(address, counter, "call", {"content": call})
    assert (reply.status_code, "too large" in reply.text) == (413, True)
    assert send(address, counter, "query", bytes(4 * 1024 * 1024 + 1)).status_code == 413


def test_answers_to_queries_are_signed_by_the_subnet_s_node(address: str, counter: str) -> None:
    content = query_content(counter, "read")
    answer = post(address, counter, "query", {"content": content})
    (signature,) = answer["signatures"]
    agent = Agent(Identity(), Client(address))
    certificate = agent.read_state_raw(counter, [[b"subnet"]])
    status = cbor2.loads(httpx.get(f"{address}/api/v2/status").content)
    subnet = Principal.self_authenticating(status["root_key"]).bytes
    key = lookup([b"subnet", subnet, b"node", signature["identity"], b"public_key"], certificate)
    assert key is not None
    assert Principal.self_authenticating(key).bytes == signature["identity"]
    signed_map = {
        "status": "replied",
        "reply": {"arg": answer["reply"]["arg"]},
        "timestamp": signature["timestamp"],
        "request_id": request_id(content),
    }
    public = serialization.load_der_public_key(key)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(signature["signature"], b"\x0bic-response" + request_id(signed_map))


def test_a_subnet_s_state_is_readable(address: str) -> None:
    status = cbor2.loads(httpx.get(f"{address}/api/v2/status").content)
    subnet = Principal.self_authenticating(status["root_key"])
    content = {
        "request_type": "read_state",
        "sender": b"\x04",
        "paths": [[b"subnet", subnet.bytes, b"public_key"]],
        "ingress_expiry": time.time_ns() + 60_000_000_000,
    }
    path = f"{address}/api/v2/subnet/{subnet}/read_state"
    headers = {"content-type": "application/cbor"}
    reply = httpx.post(path, content=cbor2.dumps({"content": content}), headers=headers, timeout=30)
    certificate = cbor2.loads(cbor2.loads(reply.content)["certificate"])
    assert lookup([b"subnet", subnet.bytes, b"public_key"], certificate) == status["root_key"]
    for hidden in ([b"request_status", bytes(32)], [b"canister", b"x", b"module_hash"]):
        body = cbor2.dumps({"content": {**content, "paths": [hidden]}})
        assert httpx.post(path, content=body, headers=headers, timeout=30).status_code == 404


def test_certified_data_is_in_the_certificate_queries_see(address: str) -> None:
    body = """
    (func (export "canister_update certify")
      (call $certified_data_set (i32.const 16) (call $argument (i32.const 16))) (call $msg_reply))
    (func (export "canister_query certificate")
      (if (i32.eqz (call $data_certificate_present)) (then unreachable))
      (call $data_certificate_copy (i32.const 1000) (i32.const 0) (call $data_certificate_size))
      (call $answer (i32.const 1000) (call $data_certificate_size)))
    """
    agent = RawAgent(address)
    target = agent.deploy(canister(body))
    agent.update(target, "certify", b"fingerprint")
    answer = post(address, target, "query", {"content": query_content(target, "certificate")})
    certificate = cbor2.loads(answer["reply"]["arg"])
    path = [b"canister", Principal.from_str(target).bytes, b"certified_data"]
    assert lookup(path, certificate) == b"fingerprint"
    verify(certificate, cbor2.loads(httpx.get(f"{address}/api/v2/status").content)["root_key"])


def test_a_second_subnet_s_certificates_carry_a_delegation() -> None:
    with Network(SubnetConfig(application=2)) as net:
        root, second = list(net.pic.topology())
        target = net.pic.create_canister(subnet=second)
        net.install(target, canister(COUNTER))
        net.auto_progress()
        content = query_content(str(target), "increment", request_type="call")
        answer = post(net.url, str(target), "call", {"content": content}, "v3")
        net.stop_progress()
        certificate = cbor2.loads(answer["certificate"])
        delegation = certificate["delegation"]
        assert delegation["subnet_id"] == second.bytes
        parent = cbor2.loads(delegation["certificate"])
        root_key = cbor2.loads(httpx.get(f"{net.url}/api/v2/status").content)["root_key"]
        assert Principal.self_authenticating(root_key).bytes == root.bytes
        verify(parent, root_key)
        key = lookup([b"subnet", second.bytes, b"public_key"], parent)
        assert key is not None
        verify(certificate, key)
        ranges = cbor2.loads(lookup([b"subnet", second.bytes, b"canister_ranges"], parent) or b"")
        assert any(low <= target.bytes <= high for low, high in ranges)
