"""Identities: the contract's vectors, signatures, and how keys are kept."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from localnet.principal import to_text
from zones.errors import UserError
from zones.identity import ORDER, Anonymous, Identity, address_of, principal_of
from zones.state import State

KEY_1 = (
    "0406777bd9e804bc47039449737c98e8aceaf7d48f5df7b85c41e09628de8f17fbe09e0e5d8c0d8eee079c4019078a92158c8bb0"
    "27ad5c8954b30ddc113cea71d5"
)
KEY_2 = (
    "046a10bdf40be277bafc0fa90878b8e3c49f24c1d251cb99cfacdf68d7c3fbc474fde62d093ebe62bdcf6f081f2f1b6b3decd074"
    "aded8c86abdd5a0ada74967c3b"
)


@pytest.mark.parametrize(
    ("public_key", "address", "principal"),
    [
        (
            KEY_1,
            "fd86d5ea6d811556da1470de4fcfe0a52fe8832e",
            "bttkd-bzrdv-bctq7-ofkxw-jhke6-6yfww-3kuxq-o2jzs-gmbar-lygq6-rae",
        ),
        (
            KEY_2,
            "feb524a4455be248b7e49a024d5d6891a31647ee",
            "42gbo-uiwfn-oq452-ql6yp-4jsqn-a6bxk-n7l4z-ni7os-yptq6-3htob-vqe",
        ),
    ],
)
def test_a_public_key_has_the_address_and_principal_of_the_contract(
    public_key: str, address: str, principal: str
) -> None:
    raw = bytes.fromhex(public_key)
    assert address_of(raw).hex() == address
    assert to_text(principal_of(raw)) == principal


def test_the_contracts_test_wallet_has_its_address_and_principal() -> None:
    secret = bytes.fromhex("b6dbce9418872c4b8f5a10a5778e247c60cdb0265f222c0bfdbe565cfe63d64a")
    wallet = Identity.from_secret(secret)
    assert wallet.address.hex() == "b7e97edd7b2bd34ce2f5fc2c30502748ecf6051a"
    assert to_text(wallet.sender()) == "a5774-esoxm-fqutv-3xnaf-jqnsi-7ivvm-4bhza-eric5-ghafa-au4b5-eae"


@given(st.binary(max_size=100))
def test_a_signature_verifies_and_has_the_lower_s(message: bytes) -> None:
    identity = Identity.generate()
    der, signature = identity.sign(message)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert len(signature) == 64
    assert s <= ORDER // 2
    key = serialization.load_der_public_key(der)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


def test_nobody_signs_nothing() -> None:
    assert Anonymous().sender() == b"\x04"
    assert Anonymous().sign(b"message") == (None, None)


def test_a_kept_identity_is_the_same_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    state = State(tmp_path)
    made = state.identity("alice", create=True)
    path = state.identity_path("alice")
    assert state.identity("alice").address == made.address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    Identity.generate().save(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        Identity.generate().save(path)
    assert path.read_bytes() == before


def test_an_unknown_identity_is_named_with_the_known_ones(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.identity("alice", create=True)
    with pytest.raises(UserError, match=r"no identity 'bob'.*known are: alice"):
        state.identity("bob")


@pytest.mark.parametrize("name", ["", "../alice", "a/b", ".hidden", "x" * 65])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no identity name"):
        State(tmp_path).identity(name, create=True)


def test_files_that_hold_no_secp256k1_key_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("no key")
    with pytest.raises(UserError, match=r"can't be read.*secp256k1"):
        Identity.load(path)
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(UserError, match="another kind of key"):
        Identity.load(path)
