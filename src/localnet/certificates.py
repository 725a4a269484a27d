"""A subnet's keys: BLS for certificates, and its node's Ed25519 for answers to queries.

The IC signs in G1 with public keys in G2 (ciphersuite BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_). Which
state a certificate is about is `state_tree`'s business.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import cbor2
import pyblst
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from localnet import principal

# A compiled module without type hints.
_pyblst: Any = pyblst
_DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_DER_PREFIX = bytes.fromhex("308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100")
_STATE_ROOT = b"\x0dic-state-root"
_RESPONSE = b"\x0bic-response"
_ED25519_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")
SELF_DESCRIBE_TAG = 55799


def self_described(value: Any) -> bytes:
    """CBOR with the self-describing tag the IC puts in front."""
    return cbor2.dumps(cbor2.CBORTag(SELF_DESCRIBE_TAG, value))


_GROUP_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_GENERATOR_OF_G2 = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)
"""Compressed, as the group order above from "BLS12-381" (draft-irtf-cfrg-pairing-friendly-curves, section 4.2.1)."""


class Certifier:
    """The threshold key of one subnet, kept in one place."""

    def __init__(self, seed: bytes) -> None:
        digest = hashlib.shake_256(b"localnet bls key" + seed).digest(48)
        self._secret = int.from_bytes(digest, "big") % (_GROUP_ORDER - 1) + 1

    @cached_property
    def der_public_key(self) -> bytes:
        """The public key, DER-encoded (133 bytes)."""
        generator = _pyblst.BlstP2Element.uncompress(_GENERATOR_OF_G2)
        return _DER_PREFIX + bytes(generator.scalar_mul(self._secret).compress())

    @cached_property
    def subnet_id(self) -> bytes:
        """The subnet's principal, derived from the key."""
        return principal.self_authenticating(self.der_public_key)

    def sign(self, root_hash: bytes) -> bytes:
        """The signature (48 bytes) on a state tree's root hash."""
        point = _pyblst.BlstP1Element.hash_to_group(_STATE_ROOT + root_hash, _DST)
        return bytes(point.scalar_mul(self._secret).compress())


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
