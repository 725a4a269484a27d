"""A subnet's keys: BLS for certificates, and its node's Ed25519 for answers to queries.

The IC signs in G1 with public keys in G2 (ciphersuite BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_). Which
state a certificate is about is `state_tree`'s business.
"""

from __future__ import annotations

import hashlib
import sys
from functools import cache, cached_property
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from py_ecc.bls.g2_primitives import G2_to_signature
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1
from py_ecc.optimized_bls12_381.optimized_curve import G2, curve_order, multiply

from localnet import principal

sys.setrecursionlimit(5000)
"""py_ecc raises it to 100 000 when it is imported: then deeply nested JSON overflows the stack and ends the process."""

_DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_DER_PREFIX = bytes.fromhex("308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100")
_STATE_ROOT = b"\x0dic-state-root"
_RESPONSE = b"\x0bic-response"
_ED25519_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")
SELF_DESCRIBE_TAG = 55799


def self_described(value: Any) -> bytes:
    """CBOR with the self-describing tag the IC puts in front."""
    return cbor2.dumps(cbor2.CBORTag(SELF_DESCRIBE_TAG, value))


_sha256: Any = hashlib.sha256


@cache
def _public_key(secret: int) -> bytes:
    # Kept: networks of the same seed, which most tests create, have the same keys, and one takes 60 ms.
    return bytes(G2_to_signature(multiply(G2, secret)))


class Certifier:
    """The threshold key of one subnet, kept in one place."""

    def __init__(self, seed: bytes) -> None:
        digest = hashlib.shake_256(b"localnet bls key" + seed).digest(48)
        self._secret = int.from_bytes(digest, "big") % (curve_order - 1) + 1

    @property
    def der_public_key(self) -> bytes:
        """The public key, DER-encoded (133 bytes)."""
        return _DER_PREFIX + _public_key(self._secret)

    @cached_property
    def subnet_id(self) -> bytes:
        """The subnet's principal, derived from the key."""
        return principal.self_authenticating(self.der_public_key)

    def sign(self, root_hash: bytes) -> bytes:
        """The signature (48 bytes) on a state tree's root hash. Takes some 20 ms."""
        point = multiply(hash_to_G1(_STATE_ROOT + root_hash, _DST, _sha256), self._secret)
        return int(compress_G1(point)).to_bytes(48, "big")


class NodeKey:
    """The key of a subnet's only node: signs answers to queries."""

    def __init__(self, seed: bytes) -> None:
        secret = hashlib.sha256(b"localnet node key" + seed).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.der_public_key = _ED25519_DER_PREFIX + self._key.public_key().public_bytes_raw()
        self.node_id = principal.self_authenticating(self.der_public_key)

    def sign(self, response_hash: bytes) -> bytes:
        """The signature on the hash of a query's response."""
        return self._key.sign(_RESPONSE + response_hash)
