"""Byte strings with their lengths before them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canister_kit.short_bytes import all_unpacked, packed, packed_list, unpacked, unpacked_list

strings = st.lists(st.binary(max_size=255), max_size=20)


@given(st.binary(max_size=9), strings, strings, st.binary(max_size=9))
def test_what_was_packed_is_read_from_its_offset_on(before, first, second, after):
    stored = before + packed(*first) + packed_list(second) + after
    found, at = unpacked(stored, len(before), len(first))
    assert found == first
    assert unpacked_list(stored, at) == (second, len(stored) - len(after))
    assert all_unpacked(before + packed(*first), len(before)) == first


def test_the_bytes_are_a_length_and_the_string():
    assert packed(b"", b"ab") == b"\x00\x02ab"
    assert packed_list([b"ab"]) == b"\x01\x02ab"
