"""Encryption of messages for a zone: everyone who holds the zone's key file can read them, nobody else.

Not access control (that is the zone canister's) and no proof of who wrote a message: whoever knows the zone's
public key can encrypt for it. The key file goes from member to member outside the canister.

Version 1, ECIES over secp256k1 (SEC 1 section 5.1 in outline), with a fresh key pair for every message:

| offset | size | field |
|---|---|---|
| 0 | 1 | version, 1 |
| 1 | 33 | ephemeral public key, compressed |
| 34 | n | ChaCha20 ciphertext of the n bytes of plain text |
| 34 + n | 16 | Poly1305 tag |

The key is HKDF-SHA256(ECDH(ephemeral, zone), salt = the 34 bytes of header, info = `zone message v1`), 32 bytes;
the nonce is zero, since a key encrypts one message. The tag also covers the header, the zone's public key and the
41-byte key_id the message is filed under: a message moved to another key_id or zone fails to decrypt.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zones import checks, keyfile
from zones.errors import UserError

VERSION = 1
HEADER_BYTES = 34
TAG_BYTES = 16
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
KEY_ID_BYTES = 41
_INFO = b"zone message v1"
_NONCE = bytes(12)


class DecryptionError(UserError):
    """A message that was not encrypted for this zone and key_id, or was changed since."""


def key_id_of(address: bytes) -> bytes:
    """Return the 41-byte key_id of messages sent by a 20-byte address: its length, itself, 20 zero bytes."""
    if len(address) != checks.ADDRESS_BYTES:
        raise UserError(f"an address has {checks.ADDRESS_BYTES} bytes, this one {len(address)}")
    return bytes([checks.ADDRESS_BYTES]) + address + bytes(KEY_ID_BYTES - 1 - checks.ADDRESS_BYTES)


def address_in(key_id: bytes) -> bytes | None:
    """Return the address in a key_id, None when it is of another form."""
    address = key_id[1 : 1 + checks.ADDRESS_BYTES]
    return address if len(key_id) == KEY_ID_BYTES and key_id == key_id_of(address) else None


class ZoneKey:
    """A zone's key pair (or its public half, which can only encrypt)."""

    def __init__(self, public: ec.EllipticCurvePublicKey, private: ec.EllipticCurvePrivateKey | None) -> None:
        self._public, self._private = public, private
        self.public_bytes = keyfile.encode_point(public, compressed=True)
        """Compressed public key, 33 bytes."""
        self.uncompressed = keyfile.encode_point(public, compressed=False)
        """Uncompressed public key, 65 bytes."""

    @classmethod
    def generate(cls) -> ZoneKey:
        """Return a new random key pair."""
        private = ec.generate_private_key(ec.SECP256K1())
        return cls(private.public_key(), private)

    @classmethod
    def from_public(cls, point: bytes) -> ZoneKey:
        """Return the public half from a compressed or uncompressed point."""
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), point)
        except ValueError as error:
            raise UserError(f"{point.hex()} is no secp256k1 public key") from error
        return cls(public, None)

    @classmethod
    def load(cls, path: Path) -> ZoneKey:
        """Return the key pair in the key file `path` (PEM); raises UserError when it can't be read as one."""
        private = keyfile.load(path, "the zone's key file", "ask a member of the zone for a copy of it")
        return cls(private.public_key(), private)

    def save(self, path: Path) -> None:
        """Write the key file `path`, readable by its owner only; never overwrites one."""
        if self._private is None:
            raise UserError("only the public half of this zone key is known", "a key file holds the private half")
        keyfile.save(path, self._private)

    def encrypt(self, plain: bytes, key_id: bytes) -> bytes:
        """Return `plain` encrypted for the zone, to be filed under `key_id`; `OVERHEAD_BYTES` longer."""
        ephemeral = ec.generate_private_key(ec.SECP256K1())
        header = bytes([VERSION]) + keyfile.encode_point(ephemeral.public_key(), compressed=True)
        cipher = ChaCha20Poly1305(_message_key(ephemeral.exchange(ec.ECDH(), self._public), header))
        return header + cipher.encrypt(_NONCE, plain, header + self.public_bytes + key_id)

    def decrypt(self, sealed: bytes, key_id: bytes) -> bytes:
        """Return the plain text of a message filed under `key_id`; raises DecryptionError."""
        if self._private is None:
            raise UserError("reading needs the zone's private key", "ask a member of the zone for its key file")
        if len(sealed) < OVERHEAD_BYTES:
            raise DecryptionError(f"{len(sealed)} bytes are no message: the shortest has {OVERHEAD_BYTES}")
        if sealed[0] != VERSION:
            raise DecryptionError(f"message format {sealed[0]} is unknown: this version reads format {VERSION}")
        header = sealed[:HEADER_BYTES]
        try:
            ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), header[1:])
        except ValueError as error:
            raise DecryptionError("the message's key is no point of secp256k1") from error
        cipher = ChaCha20Poly1305(_message_key(self._private.exchange(ec.ECDH(), ephemeral), header))
        try:
            return cipher.decrypt(_NONCE, sealed[HEADER_BYTES:], header + self.public_bytes + key_id)
        except InvalidTag as error:
            raise DecryptionError("the message was encrypted for another zone or key_id, or changed") from error


def _message_key(shared: bytes, header: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=header, info=_INFO).derive(shared)
