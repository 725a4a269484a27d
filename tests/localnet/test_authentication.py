"""Who sent a request to the IC's HTTP interface: keys, signatures, delegations, expiry, and what is refused."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import cbor2
import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from ic.identity import Identity
from ic.principal import Principal
from pocket_ic import SubnetConfig

from localnet.envelope import request_id
from localnet.hash_tree import root_hash
from tests.localnet.test_ic_interface import (
    RawAgent,
    post,
    public_key,
    query_content,
    send,
    signature_of,
    signed,
)
from tests.localnet.wat import COUNTER, canister, number
from tests.support.network import Network
from tests.support.standalone import standalone

MINUTE = 60_000_000_000
COSE, CANISTER = "06 0a 2b0601040183b8430101", "06 0a 2b0601040183b8430102"
WHO = """
(func (export "canister_query who")
  (call $msg_caller_copy (i32.const 100) (i32.const 0) (call $msg_caller_size))
  (call $answer (i32.const 100) (call $msg_caller_size)))
"""
CERTIFIER = """
(func (export "canister_update certify")
  (call $certified_data_set (i32.const 16) (call $argument (i32.const 16))) (call $msg_reply))
(func (export "canister_query certificate")
  (call $data_certificate_copy (i32.const 1000) (i32.const 0) (call $data_certificate_size))
  (call $answer (i32.const 1000) (call $data_certificate_size)))
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A standalone network."""
    with standalone(tmp_path_factory.mktemp("standalone")) as url:
        yield url


@pytest.fixture(scope="module")
def target(address: str) -> str:
    """A canister that tells who calls."""
    return RawAgent(address).deploy(canister(WHO))


def der(algorithm: str, content: bytes) -> bytes:
    """A public key in DER: an algorithm and a bit string."""

    def item(tag: int, data: bytes) -> bytes:
        size = bytes([len(data)]) if len(data) < 128 else b"\x82" + len(data).to_bytes(2, "big")
        return bytes([tag]) + size + data

    return item(0x30, item(0x30, bytes.fromhex(algorithm)) + item(0x03, b"\0" + content))


class Key:
    """An identity with a plain key as `cryptography` makes them."""

    def __init__(self, key: Any) -> None:
        self.key = key
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public = key.public_key().public_bytes(*form)

    def sender(self) -> Principal:
        return Principal.self_authenticating(self.public)

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        signature = self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        return self.public, b"".join(half.to_bytes(32, "big") for half in utils.decode_dss_signature(signature))


class DerSigned(Key):
    """An ECDSA key whose signatures are in DER, which the specification does not allow."""

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        return self.public, self.key.sign(message, ec.ECDSA(hashes.SHA256()))


class WebAuthn(Key):
    """A browser's authenticator, with a P-256 or an RSA key."""

    def __init__(self, key: Any, **client: Any) -> None:
        super().__init__(key)
        self.client = client
        numbers = key.public_key().public_numbers()
        if isinstance(key, ec.EllipticCurvePrivateKey):
            fields = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        else:
            fields = {1: 3, 3: -257, -1: numbers.n.to_bytes(256, "big"), -2: numbers.e.to_bytes(3, "big")}
        self.public = der(COSE, cbor2.dumps(fields))

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        challenge = base64.urlsafe_b64encode(message).rstrip(b"=").decode()
        text = json.dumps({"type": "webauthn.get", "challenge": challenge, **self.client})
        data = b"authenticator data"
        signed_data = data + hashlib.sha256(text.encode()).digest()
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            inner = self.key.sign(signed_data, ec.ECDSA(hashes.SHA256()))
        else:
            inner = self.key.sign(signed_data, padding.PKCS1v15(), hashes.SHA256())
        return self.public, cbor2.dumps(
            cbor2.CBORTag(55799, {"authenticator_data": data, "client_data_json": text, "signature": inner})
        )


class CanisterSigned:
    """An identity of a canister with `CERTIFIER`, which certifies a tree with the message in it."""

    def __init__(self, url: str, signer: str, seed: bytes = b"seed") -> None:
        self._agent, self._url, self._signer, self._seed = RawAgent(url), url, signer, seed
        identifier = Principal.from_str(signer).bytes
        self.public = der(CANISTER, bytes([len(identifier)]) + identifier + seed)

    def sender(self) -> Principal:
        return Principal.self_authenticating(self.public)

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        leaf = [2, hashlib.sha256(message).digest(), [3, b""]]
        tree = [1, [2, b"sig", [2, hashlib.sha256(self._seed).digest(), leaf]], [4, bytes(32)]]
        self._agent.update(self._signer, "certify", root_hash(tree))
        answer = post(self._url, self._signer, "query", {"content": query_content(self._signer, "certificate")})
        value = {"certificate": answer["reply"]["arg"], "tree": tree}
        return self.public, cbor2.dumps(cbor2.CBORTag(55799, value))


def identity(kind: str) -> Any:
    if kind in ("ed25519", "secp256k1"):
        return Identity(type=kind)
    if kind == "an RSA authenticator":
        return WebAuthn(rsa.generate_private_key(65537, 2048))
    key = ec.generate_private_key(ec.SECP256R1())
    return WebAuthn(key) if kind == "a P-256 authenticator" else Key(key)


KINDS = ["ed25519", "secp256k1", "p256", "a P-256 authenticator", "an RSA authenticator"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_is_accepted(address: str, target: str, kind: str) -> None:
    user = identity(kind)
    answer = post(address, target, "query", signed(query_content(target, "who", user.sender().bytes), user))
    assert answer["reply"]["arg"] == user.sender().bytes


def test_anonymous_requests_carry_no_signature(address: str, target: str) -> None:
    assert post(address, target, "query", {"content": query_content(target, "who")})["reply"]["arg"] == b"\x04"
    for extra in ({"sender_sig": b"x"}, {"sender_pubkey": b"x"}):
        reply = send(address, target, "query", {"content": query_content(target, "who"), **extra})
        assert (reply.status_code, "not allowed for the anonymous user" in reply.text) == (400, True)


def link(issuer: Any, to: Any, **changes: Any) -> dict[str, Any]:
    """A delegation signed by one identity for another's key."""
    delegation = {"pubkey": public_key(to), "expiration": time.time_ns() + MINUTE, **changes}
    return {
        "delegation": delegation,
        "signature": signature_of(issuer, b"\x1aic-request-auth-delegation" + request_id(delegation)),
    }


def delegated(target: str, chain: list[Any], **changes: Any) -> dict[str, Any]:
    """A query by the first identity, signed by the last; ``changes`` go into every delegation."""
    envelope = signed(query_content(target, "who", chain[0].sender().bytes), chain[-1])
    envelope["sender_pubkey"] = public_key(chain[0])
    envelope["sender_delegation"] = [link(issuer, to, **changes) for issuer, to in pairwise(chain)]
    return envelope


@pytest.mark.parametrize("kind", KINDS)
def test_delegations_of_every_kind_of_key_are_accepted(address: str, target: str, kind: str) -> None:
    chain = [identity(kind), Identity(), identity(kind), Identity(type="secp256k1")]
    assert post(address, target, "query", delegated(target, chain))["reply"]["arg"] == chain[0].sender().bytes


def test_a_chain_has_twenty_delegations_at_most(address: str, target: str) -> None:
    chain = [Identity() for _ in range(22)]
    assert send(address, target, "query", delegated(target, chain[:21])).status_code == 200
    reply = send(address, target, "query", delegated(target, chain))
    assert (reply.status_code, "at most 20" in reply.text) == (400, True)


def test_delegations_hold_for_their_targets_and_their_time_alone(address: str, target: str) -> None:
    here, elsewhere = Principal.from_str(target).bytes, b"\0\0\0\0\0\0\0\7\1\1"
    chain = [Identity(), Identity()]
    assert send(address, target, "query", delegated(target, chain, targets=[elsewhere, here])).status_code == 200
    cases = [
        (delegated(target, chain, targets=[elsewhere]), "not one of the delegation targets"),
        (delegated(target, chain, targets=[]), "not one of the delegation targets"),
        (delegated(target, chain, targets=[here] * 1001), "at most 1000"),
        (delegated(target, chain, targets=["text"]), "principals"),
        (delegated(target, chain, expiration=time.time_ns() - MINUTE), "expiry"),
        (delegated(target, [chain[0], chain[1], chain[0], chain[1]]), "cycle"),
        ({**delegated(target, chain), "sender_delegation": []}, "Invalid signature"),
        ({**delegated(target, chain), "sender_delegation": {"a": 1}}, "list"),
        ({**delegated(target, chain), "sender_delegation": [1]}, "delegation"),
    ]
    narrow = delegated(target, [*chain, Identity()])
    narrow["sender_delegation"][0] = link(chain[0], chain[1], targets=[elsewhere])
    cases.append((narrow, "not one of the delegation targets"))
    for envelope, text in cases:
        reply = send(address, target, "query", envelope)
        assert (reply.status_code, text in reply.text) == (400, True), reply.text


def test_the_status_of_a_call_is_for_delegations_that_cover_its_canister(address: str, target: str) -> None:
    owner, session = Identity(), Identity()
    content = query_content(target, "who", owner.sender().bytes, request_type="call")
    assert send(address, target, "call", signed(content, owner), "v3").status_code == 200
    for targets, status in (([Principal.from_str(target).bytes], 200), ([b"\0\0\0\0\0\0\0\7\1\1"], 403)):
        asked = {
            "request_type": "read_state",
            "sender": owner.sender().bytes,
            "paths": [[b"request_status", request_id(content)]],
            "ingress_expiry": time.time_ns() + MINUTE,
        }
        envelope = {**signed(asked, session), "sender_pubkey": public_key(owner)}
        envelope["sender_delegation"] = [link(owner, session, targets=targets)]
        assert send(address, target, "read_state", envelope).status_code == status


def test_forged_and_malformed_signatures_are_refused(address: str, target: str) -> None:
    user, other = Identity(), Identity()
    p256 = ec.generate_private_key(ec.SECP256R1())
    content = query_content(target, "who", user.sender().bytes)
    good = signed(content, user)
    assert send(address, target, "query", good).status_code == 200
    flipped = bytes([good["sender_sig"][0] ^ 1]) + good["sender_sig"][1:]

    def by(forger: Any) -> dict[str, Any]:
        return signed(query_content(target, "who", forger.sender().bytes), forger)

    def keyed(key: bytes) -> dict[str, Any]:
        sender = Principal.self_authenticating(key).bytes
        return {"content": query_content(target, "who", sender), "sender_pubkey": key, "sender_sig": b"x" * 64}

    cases = [
        ({**good, "sender_sig": flipped}, "Invalid signature"),
        ({**good, "sender_sig": b""}, "Invalid signature"),
        ({**good, "sender_pubkey": public_key(other)}, "is not the key of"),
        ({"content": content}, "Missing signature"),
        ({**good, "content": {**content, "method_name": "other"}}, "Invalid signature"),
        (by(DerSigned(p256)), "32 bytes each"),
        (by(WebAuthn(p256, challenge="bm8")), "challenge"),
        (by(WebAuthn(p256, type="webauthn.create")), "webauthn.get"),
        (keyed(b"no key"), "Invalid signature"),
        (keyed(der(COSE, b"\xa0")), "Invalid signature"),
        (keyed(der(CANISTER, b"")), "names no canister"),
        (keyed(Key(ec.generate_private_key(ec.SECP384R1())).public), "public keys must be"),
    ]
    for envelope, text in cases:
        reply = send(address, target, "query", envelope)
        assert (reply.status_code, text in reply.text) == (400, True), reply.text


def test_requests_expire_and_may_not_live_long(address: str, target: str) -> None:
    user = Identity()
    for expiry in (0, time.time_ns() - MINUTE, time.time_ns() + 7 * MINUTE, 2**64 - 1):
        content = query_content(target, "who", user.sender().bytes, ingress_expiry=expiry)
        for request in (signed(content, user), signed({**content, "request_type": "call"}, user)):
            reply = send(address, target, request["content"]["request_type"], request)
            assert (reply.status_code, "ingress_expiry not within" in reply.text) == (400, True)
        # Anonymous queries and reads of state change nothing: their expiry is not looked at.
        anonymous = {**content, "sender": b"\x04"}
        assert send(address, target, "query", {"content": anonymous}).status_code == 200
        call = {**anonymous, "request_type": "call"}
        assert send(address, target, "call", {"content": call}).status_code == 400


def test_a_request_that_is_sent_twice_is_carried_out_once(address: str) -> None:
    counter = RawAgent(address).deploy(canister(COUNTER))
    content = query_content(counter, "increment", request_type="call", nonce=bytes(32))
    replies = [post(address, counter, "call", {"content": content}, "v3") for _ in range(3)]
    assert len({reply["status"] for reply in replies}) == 1
    read = post(address, counter, "query", {"content": query_content(counter, "read")})
    assert number(read["reply"]["arg"]) == 1
    long = query_content(counter, "increment", request_type="call", nonce=bytes(33))
    assert send(address, counter, "call", {"content": long}).status_code == 400


def check_with_pocket_ic(net: Network, key: bytes, signature: bytes, message: bytes) -> None:
    """PocketIC's endpoint for canister signatures says the same."""
    root = cbor2.loads(httpx.get(f"{net.url}/api/v2/status").content)["root_key"]

    def verify(**changes: bytes) -> httpx.Response:
        values = {"msg": message, "sig": signature, "pubkey": key, "root_pubkey": root, **changes}
        body = {name: base64.b64encode(value).decode() for name, value in values.items()}
        return httpx.post(f"{net.pic.server.url}/verify_signature", json=body)

    assert verify().json() == {"Ok": None}
    assert "Invalid signature" in verify(msg=b"another").json()["Err"]
    for changes in ({"root_pubkey": b"another"}, {"pubkey": public_key(Identity())}, {"pubkey": b"\x30"}):
        assert verify(**changes).status_code == 400


@pytest.mark.parametrize("where", ["the root subnet", "another subnet"])
def test_canister_signatures_hold_for_what_the_canister_certified(where: str) -> None:
    with Network(SubnetConfig(application=2)) as net:
        subnets = list(net.pic.topology())
        signer = net.pic.create_canister(subnet=subnets[where != "the root subnet"])
        net.install(signer, canister(CERTIFIER))
        target = str(net.deploy(canister(WHO)))
        net.auto_progress()
        user = CanisterSigned(net.url, str(signer))
        content = query_content(target, "who", user.sender().bytes)
        key, signature = user.sign(b"\x0aic-request" + request_id(content))
        good = {"content": content, "sender_pubkey": key, "sender_sig": signature}
        assert post(net.url, target, "query", good)["reply"]["arg"] == user.sender().bytes
        assert post(net.url, target, "query", delegated(target, [user, Identity()]))["status"] == "replied"

        parts = cbor2.loads(signature)
        certificate = dict(cbor2.loads(parts["certificate"]))
        forged = {**certificate, "tree": [2, b"canister", certificate["tree"]]}
        cases: list[tuple[dict[str, Any], str]] = [
            ({**parts, "certificate": cbor2.dumps(forged)}, "not signed by this network"),
            ({**parts, "tree": [2, b"sig", [4, bytes(32)]]}, "did not certify the tree"),
            ({**parts, "tree": [9]}, "malformed hash tree"),
            ({**parts, "certificate": b"\xff"}, "no CBOR"),
            ({"tree": parts["tree"]}, "certificate is missing"),
        ]
        if "delegation" in certificate:
            bare = {name: part for name, part in certificate.items() if name != "delegation"}
            cases.append(({**parts, "certificate": cbor2.dumps(bare)}, "not signed by this network"))
        for value, text in cases:
            reply = send(net.url, target, "query", {**good, "sender_sig": cbor2.dumps(value)})
            assert (reply.status_code, text in reply.text) == (400, True), reply.text
        check_with_pocket_ic(net, key, signature, b"\x0aic-request" + request_id(content))
        other = {**content, "arg": b"x"}
        assert send(net.url, target, "query", {**good, "content": other}).status_code == 400
        net.stop_progress()


def test_an_expired_call_of_a_virtual_clock_is_judged_by_that_clock() -> None:
    with Network() as net:
        target = str(net.deploy(canister(WHO)))
        content = query_content(target, "who", request_type="call", ingress_expiry=net.time() + MINUTE)
        assert send(net.url, target, "call", {"content": content}).status_code == 202
        late = query_content(target, "who", request_type="call")
        assert send(net.url, target, "call", {"content": late}).status_code == 400
