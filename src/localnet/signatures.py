"""Checks one signature by a user's key (IC interface specification, "Signatures").

Plain keys, WebAuthn and canister signatures. Who a key belongs to and what is signed is `envelope`'s business.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from localnet.cbor import CborError, decode
from localnet.errors import BadRequest
from localnet.hash_tree import MalformedTree, look_up, root_hash
from localnet.principal import MAX_LENGTH

CertifiedData = Callable[[dict[str, Any], bytes], bytes | None]
"""Finds a canister's certified data in a certificate; raises ``ValueError`` when the certificate doesn't hold."""

_COSE = bytes.fromhex("300c060a2b0601040183b8430101")
"""DER of the algorithm 1.3.6.1.4.1.56387.1.1: a COSE key."""
_CANISTER = bytes.fromhex("300c060a2b0601040183b8430102")
"""DER of the algorithm 1.3.6.1.4.1.56387.1.2: a canister signature's public key."""
_MAX_RSA_BITS = 8192
_SHA256 = hashes.SHA256()


def verify(der_key: bytes, signature: bytes, message: bytes, certified_data: CertifiedData) -> None:
    """Check a signature. Raises `BadRequest` for one that doesn't hold, or a key of a kind that isn't specified."""
    try:
        if (cose := _wrapped(der_key, _COSE)) is not None:
            _verify_webauthn(cose, signature, message)
        elif (named := _wrapped(der_key, _CANISTER)) is not None:
            _verify_canister(named, signature, message, certified_data)
        else:
            _verify_plain(der_key, signature, message)
    except InvalidSignature as error:
        raise BadRequest("Invalid signature") from error
    except (ValueError, RecursionError, UnsupportedAlgorithm) as error:
        raise BadRequest(f"Invalid signature: {error}") from error


def is_canister_key(der_key: bytes) -> bool:
    """True for a key whose signatures are canister signatures. Raises `BadRequest` for one that is malformed."""
    try:
        return _wrapped(der_key, _CANISTER) is not None
    except ValueError as error:
        raise BadRequest(f"Invalid public key: {error}") from error


def _wrapped(der_key: bytes, algorithm: bytes) -> bytes | None:
    """The bit string behind an algorithm identifier of 14 bytes, or None when the key is of another kind."""
    sequence, inner = _der_item(der_key, 0x30) if der_key[:1] == b"\x30" else (b"", b"x")
    if inner or not sequence.startswith(algorithm):
        return None
    bits, rest = _der_item(sequence[len(algorithm) :], 0x03)
    if rest or bits[:1] != b"\0":
        raise ValueError("the public key is no DER of a whole number of bytes")
    return bits[1:]


def _der_item(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the item at the start, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("the public key is no DER")
    size, start = data[1], 2
    if size > 0x80:
        start += size - 0x80
        size = int.from_bytes(data[2:start], "big")
    if size == 0x80 or len(data) < start + size:
        raise ValueError("the public key's DER is cut off")
    return data[start : start + size], data[start + size :]


def _verify_plain(der_key: bytes, signature: bytes, message: bytes) -> None:
    key = serialization.load_der_public_key(der_key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256k1", "secp256r1"):
        if len(signature) != 64:
            raise ValueError(f"an ECDSA signature is r and s in 32 bytes each, not {len(signature)} bytes")
        halves = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        key.verify(utils.encode_dss_signature(*halves), message, ec.ECDSA(_SHA256))
    else:
        raise ValueError("public keys must be Ed25519, secp256k1, P-256, COSE or a canister's")


def _verify_webauthn(cose_key: bytes, signature: bytes, message: bytes) -> None:
    """A browser's authenticator signed its own data and a JSON text whose challenge is the message."""
    parts = _cbor_map(signature, "a WebAuthn signature")
    data, text, inner = (parts.get(name) for name in ("authenticator_data", "client_data_json", "signature"))
    if not isinstance(data, bytes) or not isinstance(text, str) or not isinstance(inner, bytes):
        raise ValueError("a WebAuthn signature has authenticator_data, client_data_json and signature")
    client = json.loads(text)
    challenge = base64.urlsafe_b64encode(message).rstrip(b"=").decode()
    if not isinstance(client, dict) or client.get("challenge") != challenge:
        raise ValueError("the challenge of the WebAuthn signature is not what had to be signed")
    if client.get("type") != "webauthn.get":
        raise ValueError(f"the type of the WebAuthn signature is {client.get('type')!r}, it must be webauthn.get")
    signed = data + hashlib.sha256(text.encode()).digest()
    key = _cose_key(cose_key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(inner, signed, ec.ECDSA(_SHA256))
    else:
        key.verify(inner, signed, padding.PKCS1v15(), _SHA256)


def _cose_key(cose_key: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """ES256 on P-256 or RS256 (RFC 9053; numbers of RFC 8152, tables 5, 20, 21 and RFC 8230, table 4)."""
    fields = _cbor_map(cose_key, "a COSE key")
    kind = (fields.get(1), fields.get(3))
    if kind == (2, -7) and fields.get(-1) == 1:
        x, y = (int.from_bytes(_blob(fields, label), "big") for label in (-2, -3))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    if kind == (3, -257):
        modulus, exponent = (int.from_bytes(_blob(fields, label), "big") for label in (-1, -2))
        if modulus.bit_length() > _MAX_RSA_BITS:
            raise ValueError(f"an RSA key of more than {_MAX_RSA_BITS} bits")
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    raise ValueError("a COSE key must be ES256 on P-256, or RS256")


def _blob(fields: dict[Any, Any], label: int) -> bytes:
    value = fields.get(label)
    if not isinstance(value, bytes):
        raise ValueError(f"the COSE key's field {label} is no byte string")
    return value


def _verify_canister(named: bytes, signature: bytes, message: bytes, certified_data: CertifiedData) -> None:
    """A canister certified a tree with an entry for the message below the key's seed."""
    size = named[0] if named else MAX_LENGTH + 1
    if size > MAX_LENGTH or len(named) < 1 + size:
        raise ValueError("the public key names no canister")
    canister, seed = named[1 : 1 + size], named[1 + size :]
    parts = _cbor_map(signature, "a canister signature")
    tree = parts.get("tree")
    certificate = _cbor_map(_named_blob(parts, "certificate"), "the certificate of a canister signature")
    try:
        if certified_data(certificate, canister) != root_hash(tree):
            raise ValueError("the canister did not certify the tree of its signature")
        path = [b"sig", hashlib.sha256(seed).digest(), hashlib.sha256(message).digest()]
        if look_up(tree, path) != b"":
            raise ValueError("the canister's tree holds no signature of this message")
    except MalformedTree as error:
        raise ValueError(f"malformed hash tree: {error}") from error


def _named_blob(parts: dict[Any, Any], name: str) -> bytes:
    value = parts.get(name)
    if not isinstance(value, bytes):
        raise ValueError(f"{name} is missing or no byte string")
    return value


def _cbor_map(data: bytes, what: str) -> dict[Any, Any]:
    try:
        value = decode(data)
    except CborError as error:
        raise ValueError(f"{what} is no CBOR: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no CBOR map")
    return value
