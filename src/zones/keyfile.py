"""secp256k1 private keys in PEM files that only their owner can read.

Not for what the keys are used for: identities sign with theirs, zones are encrypted with theirs.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from zones.errors import UserError


def load(path: Path, what: str, hint: str) -> ec.EllipticCurvePrivateKey:
    """Return the private key in `path`; UserError names `what` it should hold, with `hint` when there is no file."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise UserError(f"{what} {path} does not exist", hint) from error
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{what} {path} can't be read: {error}", "a secp256k1 key in PEM form is expected") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1):
        raise UserError(f"{what} {path} holds another kind of key", "a secp256k1 key in PEM form is expected")
    return key


def save(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write `key` to the new file `path` (mode 0600, SEC1 form, which `dfx identity import` reads)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UserError(f"{path} exists already", "a key file is never overwritten") from error
    with os.fdopen(handle, "wb") as file:
        file.write(pem)


def encode_point(key: ec.EllipticCurvePublicKey, *, compressed: bool) -> bytes:
    """Return a public key as a point of SEC 1: 33 bytes compressed, 65 bytes not."""
    form = serialization.PublicFormat
    return key.public_bytes(serialization.Encoding.X962, form.CompressedPoint if compressed else form.UncompressedPoint)
