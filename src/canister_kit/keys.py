"""What follows from a member's public key: his principal on the Internet Computer, his address in contracts.

Pure. Keys are secp256k1 points, uncompressed (65 bytes). Whether they are points of the curve is not looked at: whose
principal a key has is proven by the signature of the call.
"""

import hashlib

from canister_kit.keccak import keccak_256

PUBLIC_KEY_BYTES = 65
# A secp256k1 public key in DER is this prefix and the uncompressed point (RFC 5480); the principal is derived from it.
DER_PREFIX = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")
SELF_AUTHENTICATING = b"\x02"


def principal_of(public_key: bytes) -> bytes:
    """The self-authenticating principal (29 bytes) of a 65-byte uncompressed secp256k1 public key."""
    return hashlib.sha224(DER_PREFIX + public_key).digest() + SELF_AUTHENTICATING


def address_of(public_key: bytes) -> bytes:
    """The 20-byte Ethereum address of a 65-byte uncompressed public key."""
    return keccak_256(public_key[1:])[-20:]
