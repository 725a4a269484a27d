"""Principals: text form, self-authenticating and canister principals, canister id ranges.

Inside localnet a principal is its raw ``bytes`` (0 to 29 of them); this module is the only one that knows
the text form.
"""

from __future__ import annotations

import base64
import hashlib
import zlib

MANAGEMENT = b""
ANONYMOUS = b"\x04"
MAX_LENGTH = 29
SELF_AUTHENTICATING = 2


def to_text(principal: bytes) -> str:
    """The text form: lower-case base32 of CRC-32 and bytes, in groups of five joined by ``-``."""
    encoded = base64.b32encode(zlib.crc32(principal).to_bytes(4, "big") + principal)
    text = encoded.decode().lower().rstrip("=")
    return "-".join(text[i : i + 5] for i in range(0, len(text), 5))


def from_text(text: str) -> bytes:
    """Parse the text form. Raises ``ValueError`` naming the text when it isn't the canonical form."""
    raw = text.replace("-", "").upper()
    try:
        decoded = base64.b32decode(raw + "=" * (-len(raw) % 8))
    except ValueError as error:
        raise ValueError(f"{text!r} is not the text of a principal") from error
    principal = decoded[4:]
    if len(decoded) < 4 or len(principal) > MAX_LENGTH or to_text(principal) != text:
        raise ValueError(f"{text!r} is not the text of a principal")
    return principal


def self_authenticating(der_public_key: bytes) -> bytes:
    """The principal of a DER-encoded public key: SHA-224 of it and the byte 2."""
    return hashlib.sha224(der_public_key).digest() + bytes([SELF_AUTHENTICATING])


def canister_id(index: int) -> bytes:
    """The id of the canister with the given number: the number in 8 bytes, then 01 01."""
    return index.to_bytes(8, "big") + b"\x01\x01"


def canister_index(principal: bytes) -> int | None:
    """The number inside a canister id, or None when the principal isn't one."""
    if len(principal) != 10 or principal[8:] != b"\x01\x01":
        return None
    return int.from_bytes(principal[:8], "big")
