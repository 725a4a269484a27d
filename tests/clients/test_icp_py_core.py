"""icp-py-core against localnet, with its certificate checks on.

Its `blst` is in no registry: `tests.support.blst` stands in, on the same C library through another binding.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cbor2
import httpx
import pytest
from icp_agent import Agent, Client
from icp_agent.agent import sign_request
from icp_candid import Types, encode
from icp_certificate import certificate as icp_certificate
from icp_core.errors import CertificateVerificationError, QuerySignatureVerificationFailed, ReplicaReject
from icp_identity import DelegateIdentity, Identity
from icp_principal import Principal
from pocket_ic import SubnetConfig

from localnet import candid
from localnet import management_types as types
from localnet.envelope import request_id
from tests.localnet.wat import canister
from tests.support import blst
from tests.support.network import Network
from tests.support.standalone import standalone

GREETING = encode([{"type": Types.Text, "value": "hallo"}])
MODULE = canister(
    f"""
    (func (export "canister_query greet") (call $answer (i32.const 100) (i32.const {len(GREETING)})))
    (func (export "canister_update greet_slowly") (call $answer (i32.const 100) (i32.const {len(GREETING)})))
    (func (export "canister_query refuse") (call $msg_reject (i32.const 200) (i32.const 2)))
    (func (export "canister_update refuse_slowly") (call $msg_reject (i32.const 200) (i32.const 2)))
    (func (export "canister_query who")
      (call $msg_caller_copy (i32.const 300) (i32.const 0) (call $msg_caller_size))
      (call $answer (i32.const 300) (call $msg_caller_size)))
    """,
    {100: GREETING, 200: b"no"},
)


@dataclass
class Deployed:
    """A network, its root key, and a canister with `MODULE`."""

    url: str
    root_key: bytes
    canister: str

    def agent(self, identity: Any = None) -> Agent:
        """An agent that checks query signatures; certificates it checks unless a call says otherwise."""
        who = identity or Identity(type="ed25519")
        return Agent(who, Client(self.url), root_key=self.root_key, verify_query_signatures=True)


def root_key_of(url: str) -> bytes:
    return cbor2.loads(httpx.get(f"{url}/api/v2/status").content)["root_key"]


@pytest.fixture(params=["the root subnet", "another subnet"])
def deployed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """The canister on the subnet that holds the root key, and on one whose key the root delegates to."""
    monkeypatch.setitem(sys.modules, "blst", blst)
    with Network(SubnetConfig(application=2)) as net:
        subnets = list(net.pic.topology())
        target = net.pic.create_canister(subnet=subnets[request.param != "the root subnet"])
        net.install(target, MODULE)
        net.auto_progress()
        key = root_key_of(net.url)
        # The agent's root_key option reaches its query checks only: certificates are held against this constant.
        monkeypatch.setattr(icp_certificate, "IC_ROOT_KEY", key)
        yield Deployed(net.url, key, str(target))


def test_updates_queries_and_state_hold_before_its_checks(deployed: Deployed) -> None:
    agent = deployed.agent()
    assert agent.update_raw(deployed.canister, "greet_slowly", encode([]))[0]["value"] == "hallo"
    assert agent.query_raw(deployed.canister, "greet", encode([]))[0]["value"] == "hallo"
    path = [b"canister", Principal.from_str(deployed.canister).bytes, b"module_hash"]
    assert agent.read_state_raw(deployed.canister, [path]).lookup(path) == hashlib.sha256(MODULE).digest()


def test_a_call_that_is_only_accepted_is_polled_for(deployed: Deployed) -> None:
    agent = deployed.agent()
    target = Principal.from_str(deployed.canister)
    content = {
        "request_type": "call",
        "sender": agent.identity.sender().bytes,
        "canister_id": target.bytes,
        "method_name": "greet_slowly",
        "arg": encode([]),
        "ingress_expiry": agent.get_expiry_date(),
    }
    rid, body = sign_request(content, agent.identity)
    headers = {"content-type": "application/cbor"}
    accepted = httpx.post(f"{deployed.url}/api/v2/canister/{target}/call", content=body, headers=headers)
    assert accepted.status_code == 202
    assert agent.poll_and_wait(deployed.canister, rid, True, initial_delay=0.02)[0]["value"] == "hallo"


def test_rejections_reach_the_caller_with_code_and_text(deployed: Deployed) -> None:
    agent = deployed.agent()
    with pytest.raises(ReplicaReject) as refused:
        agent.update_raw(deployed.canister, "refuse_slowly", encode([]))
    assert (refused.value.reject_code, refused.value.reject_message) == (4, "no")
    # It takes a rejection's fields for a nested map, which the specification does not have: unchecked here.
    with pytest.raises(ReplicaReject) as refused:
        agent.query_raw(deployed.canister, "refuse", encode([]), verify_query_signatures=False)
    assert (refused.value.reject_code, refused.value.reject_message) == (4, "no")


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "p256", "anonymous", "delegated"])
def test_its_identities_are_who_they_say(deployed: Deployed, kind: str) -> None:
    identity: Any = (
        Identity(anonymous=True) if kind == "anonymous" else Identity(type=kind.replace("delegated", "p256"))
    )
    if kind == "delegated":
        session = Identity(type="secp256k1")
        delegation = {"pubkey": session.der_pubkey, "expiration": time.time_ns() + 60_000_000_000}
        key, signature = identity.sign(b"\x1aic-request-auth-delegation" + request_id(delegation))
        chain = [{"delegation": delegation, "signature": signature}]
        identity = DelegateIdentity(session, {"delegations": chain, "publicKey": key})
    assert deployed.agent(identity).query_raw(deployed.canister, "who", b"") == identity.sender().bytes


def test_with_another_root_key_it_accepts_nothing(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = deployed.agent()
    with Network(SubnetConfig(system=1)) as other:
        wrong = root_key_of(other.url)
    monkeypatch.setattr(icp_certificate, "IC_ROOT_KEY", wrong)
    with pytest.raises((CertificateVerificationError, ValueError), match="erif"):
        agent.update_raw(deployed.canister, "greet_slowly", encode([]))
    with pytest.raises((CertificateVerificationError, ValueError), match="erif"):
        agent.read_state_raw(deployed.canister, [[b"time"]])


def test_a_query_s_answer_that_was_changed_on_the_way_is_refused(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = deployed.agent()
    honest = agent.client.query

    def forged(canister_id: str, data: bytes, **options: Any) -> bytes:
        answer = cbor2.loads(honest(canister_id, data, **options))
        return cbor2.dumps({**answer, "reply": {"arg": GREETING[:-1] + b"!"}})

    monkeypatch.setattr(agent.client, "query", forged)
    with pytest.raises(QuerySignatureVerificationFailed):
        agent.query_raw(deployed.canister, "greet", encode([]))


def test_it_creates_and_installs_canisters(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blst", blst)
    with standalone(tmp_path) as url:
        monkeypatch.setattr(icp_certificate, "IC_ROOT_KEY", root_key_of(url))
        agent = Agent(Identity(), Client(url), verify_query_signatures=True, root_key=root_key_of(url))
        arg = candid.encode([types.PROVISIONAL_CREATE], [{}])
        created = agent.update_raw("aaaaa-aa", "provisional_create_canister_with_cycles", arg)
        (target,) = created[0]["value"].values()
        value = {"mode": ("install", None), "canister_id": target.bytes, "wasm_module": MODULE, "arg": b""}
        install = candid.encode([types.INSTALL], [value])
        agent.update_raw("aaaaa-aa", "install_code", install, effective_canister_id=str(target))
        assert agent.query_raw(str(target), "greet", encode([]))[0]["value"] == "hallo"
