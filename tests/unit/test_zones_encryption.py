"""Encryption for a zone: what was sealed opens again, and nothing else does."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zones.encryption import (
    HEADER_BYTES,
    KEY_ID_BYTES,
    OVERHEAD_BYTES,
    VERSION,
    DecryptionError,
    ZoneKey,
    address_in,
    key_id_of,
)
from zones.errors import UserError

ZONE = ZoneKey.generate()
KEY_ID = key_id_of(bytes.fromhex("fd86d5ea6d811556da1470de4fcfe0a52fe8832e"))


def test_a_key_id_is_a_length_an_address_and_zeros() -> None:
    assert KEY_ID.hex() == "14fd86d5ea6d811556da1470de4fcfe0a52fe8832e" + "00" * 20
    assert len(KEY_ID) == KEY_ID_BYTES
    assert address_in(KEY_ID) == KEY_ID[1:21]
    assert address_in(bytes(41)) is None
    assert address_in(KEY_ID[:-1] + b"\x01") is None
    with pytest.raises(UserError, match="20 bytes"):
        key_id_of(bytes(19))


@given(st.binary(max_size=2_000), st.binary(min_size=20, max_size=20))
def test_what_is_encrypted_for_a_zone_is_decrypted_with_its_key(plain: bytes, address: bytes) -> None:
    sealed = ZONE.encrypt(plain, key_id_of(address))
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert sealed[0] == VERSION
    assert ZONE.decrypt(sealed, key_id_of(address)) == plain


@given(st.binary(max_size=40), st.data())
def test_one_changed_bit_anywhere_is_noticed(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(ZONE.encrypt(plain, KEY_ID))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DecryptionError):
        ZONE.decrypt(bytes(sealed), KEY_ID)


@given(st.binary(max_size=200))
def test_garbage_is_refused_without_another_error(sealed: bytes) -> None:
    with pytest.raises(DecryptionError):
        ZONE.decrypt(sealed, KEY_ID)
    with pytest.raises(DecryptionError):
        ZONE.decrypt(bytes([VERSION]) + sealed, KEY_ID)


def test_a_message_moved_to_another_key_id_is_refused() -> None:
    with pytest.raises(DecryptionError, match="another zone or key_id"):
        ZONE.decrypt(ZONE.encrypt(b"hello", KEY_ID), key_id_of(bytes(20)))


def test_another_zones_key_reads_nothing() -> None:
    with pytest.raises(DecryptionError, match="another zone"):
        ZoneKey.generate().decrypt(ZONE.encrypt(b"hello", KEY_ID), KEY_ID)


def test_a_later_format_is_named_as_such() -> None:
    sealed = ZONE.encrypt(b"hello", KEY_ID)
    with pytest.raises(DecryptionError, match="format 2 is unknown"):
        ZONE.decrypt(b"\x02" + sealed[1:], KEY_ID)


def test_the_same_text_never_looks_the_same_twice() -> None:
    first, second = ZONE.encrypt(b"hello", KEY_ID), ZONE.encrypt(b"hello", KEY_ID)
    assert first[1:HEADER_BYTES] != second[1:HEADER_BYTES]
    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]


def test_the_public_half_encrypts_but_cannot_read(tmp_path: Path) -> None:
    public = ZoneKey.from_public(ZONE.public_bytes)
    sealed = public.encrypt(b"hello", KEY_ID)
    assert ZONE.decrypt(sealed, KEY_ID) == b"hello"
    with pytest.raises(UserError, match="private key"):
        public.decrypt(sealed, KEY_ID)
    with pytest.raises(UserError, match="public half"):
        public.save(tmp_path / "zone.pem")
    with pytest.raises(UserError, match="no secp256k1 public key"):
        ZoneKey.from_public(bytes(33))


def test_a_key_file_goes_from_member_to_member(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "zone.pem"
    ZONE.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    copy = tmp_path / "copy.pem"
    copy.write_bytes(path.read_bytes())
    assert ZoneKey.load(copy).decrypt(ZONE.encrypt(b"hello", KEY_ID), KEY_ID) == b"hello"


def test_a_missing_key_file_says_who_has_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ask a member"):
        ZoneKey.load(tmp_path / "zone.pem")
