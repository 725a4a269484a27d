"""Request ids, and the authentication of requests to the IC's HTTP interface.

Reads the fields of one envelope, checks expiry and who sent it; single signatures are `signatures`' business, what the
request asks for is `ic_api`'s.
"""

from __future__ import annotations

import hashlib
import reprlib
from dataclasses import dataclass
from typing import Any

from localnet.candid import uleb
from localnet.errors import BadRequest
from localnet.principal import ANONYMOUS, MAX_LENGTH, self_authenticating, to_text
from localnet.signatures import CertifiedData, verify


def request_id(content: dict[str, Any]) -> bytes:
    """The representation-independent hash of a request's content (IC interface specification, "Request ids")."""
    return hash_of_map(content)


def hash_of_map(content: dict[str, Any]) -> bytes:
    """The representation-independent hash of a map (IC interface specification, "Hash of a map")."""
    pairs = [_sha(key.encode()) + _hash_value(value) for key, value in content.items()]
    return _sha(b"".join(sorted(pairs)))


def _hash_value(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return _sha(bytes(value))
    if isinstance(value, str):
        return _sha(value.encode())
    if isinstance(value, int):
        return _sha(uleb(value))
    if isinstance(value, (list, tuple)):
        return _sha(b"".join(_hash_value(item) for item in value))
    if isinstance(value, dict):
        return hash_of_map(value)
    raise ValueError(f"a request holds no {type(value).__name__}")


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


MAX_TTL = 5 * 60 * 1_000_000_000
"""Nanoseconds into the future an ingress message may expire (IC interface specification)."""
PERMITTED_DRIFT = 60 * 1_000_000_000
MAX_NONCE_BYTES = 32
MAX_DELEGATIONS = 20
MAX_TARGETS = 1000
MAX_PATHS = 1000
MAX_PATH_LABELS = 127
_REQUEST_DOMAIN = b"\x0aic-request"
_DELEGATION_DOMAIN = b"\x1aic-request-auth-delegation"
_FIELDS = {
    "call": ("canister_id", "method_name", "arg"),
    "query": ("canister_id", "method_name", "arg"),
    "read_state": ("paths",),
}
_COMMON = ("request_type", "sender", "ingress_expiry", "nonce")


@dataclass(frozen=True)
class Request:
    """The content of an envelope, every field of the type it must have."""

    content: dict[str, Any]
    """The specified fields alone: others are ignored, and are no part of the request id."""
    id: bytes
    sender: bytes
    expiry: int

    @property
    def call(self) -> tuple[bytes, str, bytes]:
        """Canister, method and argument of a call or query."""
        return self.content["canister_id"], self.content["method_name"], self.content["arg"]

    @property
    def paths(self) -> list[list[bytes]]:
        """What a read_state request asks for."""
        return self.content["paths"]


def read(envelope: Any, kind: str) -> Request:
    """The request in a decoded envelope, which must be of this kind. Raises `BadRequest` naming the field at fault."""
    content = envelope.get("content") if isinstance(envelope, dict) else None
    if not isinstance(content, dict):
        raise BadRequest("the body is no envelope: a CBOR map with the map content in it")
    if content.get("request_type") != kind:
        raise BadRequest(f"request_type is {reprlib.repr(content.get('request_type'))}, it must be {kind}")
    names = (*_COMMON, *_FIELDS[kind])
    known = {name: content[name] for name in names if content.get(name) is not None}
    for name in ("sender", "canister_id"):
        if name in names and not _is_principal(known.get(name)):
            raise BadRequest(f"{name} is missing or no principal: a byte string of at most {MAX_LENGTH} bytes")
    if not _is_nat64(known.get("ingress_expiry")):
        raise BadRequest("ingress_expiry is missing or no 64-bit number")
    nonce = known.get("nonce", b"")
    if not isinstance(nonce, bytes) or len(nonce) > MAX_NONCE_BYTES:
        raise BadRequest(f"nonce must be a byte string of at most {MAX_NONCE_BYTES} bytes")
    if kind == "read_state":
        _check_paths(known.get("paths"))
    elif not isinstance(known.get("method_name"), str) or not isinstance(known.get("arg"), bytes):
        raise BadRequest("method_name must be text and arg a byte string")
    return Request(known, request_id(known), known["sender"], known["ingress_expiry"])


def _is_principal(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) <= MAX_LENGTH


def _is_nat64(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _check_paths(paths: Any) -> None:
    if not isinstance(paths, list) or len(paths) > MAX_PATHS:
        raise BadRequest(f"paths must be a list of at most {MAX_PATHS} paths")
    for path in paths:
        if not isinstance(path, list) or len(path) > MAX_PATH_LABELS or not all(isinstance(p, bytes) for p in path):
            raise BadRequest(f"a path must be a list of at most {MAX_PATH_LABELS} byte strings")


def check_expiry(request: Request, now: int) -> None:
    """Check ``ingress_expiry``. Raises `BadRequest` with the allowed range.

    Only calls and whoever signs have to keep to it, as on replicas.
    """
    if request.sender == ANONYMOUS and request.content["request_type"] != "call":
        return
    latest = now + MAX_TTL + PERMITTED_DRIFT
    if not now <= request.expiry <= latest:
        raise BadRequest(
            f"Specified ingress_expiry not within expected range: Minimum allowed expiry: {now}, "
            f"Maximum allowed expiry: {latest}, Provided expiry: {request.expiry}"
        )


Targets = frozenset[bytes] | None
"""The canisters a sender may act on; None for all."""


def authenticate(envelope: dict[str, Any], request: Request, now: int, certified_data: CertifiedData) -> Targets:
    """Check who sent a request. Returns the canisters it may be about; raises `BadRequest` when that doesn't hold."""
    key, signature = envelope.get("sender_pubkey"), envelope.get("sender_sig")
    if request.sender == ANONYMOUS:
        if key is not None or signature is not None:
            raise BadRequest("Signature is not allowed for the anonymous user.")
        return None
    if not isinstance(key, bytes) or not isinstance(signature, bytes):
        raise BadRequest(f"Missing signature from user: {to_text(request.sender)}")
    if self_authenticating(key) != request.sender:
        raise BadRequest(f"sender_pubkey is not the key of {to_text(request.sender)}")
    key, targets = _follow_delegations(envelope.get("sender_delegation"), key, now, certified_data)
    verify(key, signature, _REQUEST_DOMAIN + request.id, certified_data)
    callee = request.content.get("canister_id")
    if targets is not None and callee is not None and callee not in targets:
        raise BadRequest(f"Canister {to_text(callee)} is not one of the delegation targets.")
    return targets


def _follow_delegations(chain: Any, key: bytes, now: int, certified_data: CertifiedData) -> tuple[bytes, Targets]:
    """The key at the end of a chain of delegations that starts at ``key``, and what all of them allow."""
    if chain is None:
        return key, None
    if not isinstance(chain, list) or len(chain) > MAX_DELEGATIONS:
        raise BadRequest(f"Invalid delegation: a chain is a list of at most {MAX_DELEGATIONS} delegations")
    links = [_delegation(link, now) for link in chain]
    keys = [key, *(delegation["pubkey"] for delegation, _ in links)]
    if len(set(keys)) != len(keys):
        raise BadRequest("Invalid delegation: the chain contains a cycle: a public key appears twice")
    allowed: Targets = None
    for signer, (delegation, signature) in zip(keys, links, strict=False):
        verify(signer, signature, _DELEGATION_DOMAIN + request_id(delegation), certified_data)
        if "targets" in delegation:
            targets = frozenset(delegation["targets"])
            allowed = targets if allowed is None else allowed & targets
    return keys[-1], allowed


def _delegation(link: Any, now: int) -> tuple[dict[str, Any], bytes]:
    """The specified fields of a delegation, and its signature."""
    delegation = link.get("delegation") if isinstance(link, dict) else None
    signature = link.get("signature") if isinstance(link, dict) else None
    if not isinstance(delegation, dict) or not isinstance(signature, bytes):
        raise BadRequest("Invalid delegation: it must have the map delegation and the byte string signature")
    names = ("pubkey", "expiration", "targets")
    known = {name: delegation[name] for name in names if delegation.get(name) is not None}
    if not isinstance(known.get("pubkey"), bytes) or not _is_nat64(known.get("expiration")):
        raise BadRequest("Invalid delegation: pubkey must be a byte string and expiration a 64-bit number")
    targets = known.get("targets", [])
    if not isinstance(targets, list) or len(targets) > MAX_TARGETS or not all(map(_is_principal, targets)):
        raise BadRequest(f"Invalid delegation: targets must be a list of at most {MAX_TARGETS} principals")
    if known["expiration"] < now:
        raise BadRequest(f"Invalid delegation expiry: {known['expiration']} is before the network's time {now}")
    return known, signature
