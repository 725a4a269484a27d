"""Request ids, and the authentication of requests to the IC's HTTP interface.

Checks signatures and expiry of one CBOR envelope; what the request asks for is `ic_api`'s business.
"""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from localnet.candid import uleb
from localnet.errors import BadRequest
from localnet.principal import ANONYMOUS, MAX_LENGTH, self_authenticating, to_text


def request_id(content: dict[str, Any]) -> bytes:
    """The representation-independent hash of a request's content (IC interface specification, "Request ids")."""
    return _hash_map(content)


def _hash_map(content: dict[str, Any]) -> bytes:
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
        return _hash_map(value)
    raise ValueError(f"a request holds no {type(value).__name__}")


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


MAX_TTL = 5 * 60 * 1_000_000_000
"""Nanoseconds into the future an ingress message may expire (IC interface specification)."""
PERMITTED_DRIFT = 60 * 1_000_000_000
MAX_DELEGATIONS = 20
MAX_TARGETS = 1000
_REQUEST_DOMAIN = b"\x0aic-request"
_DELEGATION_DOMAIN = b"\x1aic-request-auth-delegation"


def check_expiry(content: dict[str, Any], now: int) -> None:
    """Check ``ingress_expiry``. Raises `BadRequest` with the allowed range."""
    expiry = content.get("ingress_expiry")
    if not isinstance(expiry, int):
        raise BadRequest("ingress_expiry is missing or no number")
    latest = now + MAX_TTL + PERMITTED_DRIFT
    if not now <= expiry <= latest:
        raise BadRequest(
            f"Specified ingress_expiry not within expected range: Minimum allowed expiry: {now}, "
            f"Maximum allowed expiry: {latest}, Provided expiry: {expiry}"
        )


def authenticate(envelope: dict[str, Any], now: int) -> bytes:
    """Check who sent a request. Returns the request id; raises `BadRequest` when the signature doesn't hold."""
    content = envelope["content"]
    sender = content.get("sender")
    if not isinstance(sender, bytes) or len(sender) > MAX_LENGTH:
        raise BadRequest("sender is missing or no principal")
    rid = request_id(content)
    key, signature = envelope.get("sender_pubkey"), envelope.get("sender_sig")
    if sender == ANONYMOUS:
        if key is not None or signature is not None:
            raise BadRequest("a request by the anonymous principal is not signed", 403)
        return rid
    if not isinstance(key, bytes) or not isinstance(signature, bytes):
        raise BadRequest(f"the request by {to_text(sender)} is not signed", 403)
    if self_authenticating(key) != sender:
        raise BadRequest(f"sender_pubkey is not the key of {to_text(sender)}", 403)
    key = _follow_delegations(envelope.get("sender_delegation"), key, content, now)
    _verify(key, signature, _REQUEST_DOMAIN + rid)
    return rid


def _follow_delegations(chain: Any, key: bytes, content: dict[str, Any], now: int) -> bytes:
    """The key at the end of a chain of delegations that starts at ``key``."""
    if chain is None:
        return key
    if not isinstance(chain, list) or len(chain) > MAX_DELEGATIONS:
        raise BadRequest(f"sender_delegation must be a list of at most {MAX_DELEGATIONS} delegations", 403)
    for link in chain:
        try:
            delegation, signature = dict(link["delegation"]), bytes(link["signature"])
            next_key, expires = bytes(delegation["pubkey"]), int(delegation["expiration"])
            targets = delegation.get("targets")
        except (KeyError, TypeError, ValueError) as error:
            raise BadRequest(f"malformed delegation: {error!r}", 403) from error
        if expires < now:
            raise BadRequest(f"delegation has expired at {expires}", 403)
        if targets is not None:
            if len(targets) > MAX_TARGETS:
                raise BadRequest(f"delegation with more than {MAX_TARGETS} targets", 403)
            if content.get("canister_id") not in targets:
                raise BadRequest("delegation does not cover the canister that is called", 403)
        _verify(key, signature, _DELEGATION_DOMAIN + request_id(delegation))
        key = next_key
    return key


def _verify(der_key: bytes, signature: bytes, message: bytes) -> None:
    """Check one signature. Raises `BadRequest` for a bad one, or a key of a kind that isn't supported."""
    try:
        key = serialization.load_der_public_key(der_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadRequest(f"public key cannot be used: {error}", 403) from error
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256k1", "secp256r1"):
            if len(signature) == 64:
                halves = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
                signature = utils.encode_dss_signature(*halves)
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        else:
            raise BadRequest("public keys must be Ed25519, secp256k1 or P-256", 403)
    except InvalidSignature as error:
        raise BadRequest("Invalid signature", 403) from error
