"""The template's Candid: arguments and results by their declared types, under a quota.

Not for calls to other canisters, which use the same codec: see test_template_runtime.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.canister.template.host import CALLER, Answer, CanisterTrap, Host
from tests.canister.template.values import BLOB, PAIR, POINT, Types, args, hashes, leb, named, one


def test_arguments_arrive_as_kybra_gives_them(shared: Host) -> None:
    sent = args(
        (Types.Nat, 7), (BLOB, [1, 2]), (Types.Opt(Types.Text), []), (Types.Principal, CALLER), (PAIR, ([3], 4))
    )
    answer = one(shared.query("described", sent))
    assert answer.startswith("int b'\\x01\\x02' None Principal ")
    assert answer.endswith(" (b'\\x03', 4)")


@pytest.mark.parametrize(
    "wrong",
    [
        (Types.Text, "text"),
        (Types.Vec(Types.Nat16), [1]),
        (Types.Vec(Types.Text), []),
        (Types.Nat, 1),
        (Types.Principal, CALLER),
        (Types.Opt(BLOB), [[1]]),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused(shared: Host, wrong: tuple[Any, Any]) -> None:
    with pytest.raises(CanisterTrap, match=r"failed to decode call arguments: needs_blob: value 1 \(blob\)"):
        shared.query("needs_blob", args(wrong))


def test_a_missing_argument_is_refused_and_one_too_many_ignored(shared: Host) -> None:
    with pytest.raises(CanisterTrap, match="it is missing"):
        shared.query("needs_blob")
    assert one(shared.query("needs_blob", args((BLOB, [1]), (Types.Text, "more")))) == 1
    assert one(shared.query("optional")) == []


def test_options_take_what_fits_and_nothing_else(shared: Host) -> None:
    assert one(shared.query("optional", args((Types.Opt(Types.Nat32), [5])))) == [5]
    assert one(shared.query("optional", args((Types.Nat32, 5)))) == [5]
    assert one(shared.query("optional", args((Types.Opt(Types.Text), ["five"])))) == []
    assert one(shared.query("optional", args((Types.Null, None)))) == []


def test_records_and_variants_follow_subtyping(shared: Host) -> None:
    wider = Types.Record({"x": Types.Int32, "from": Types.Text, "more": Types.Vec(Types.Text)})
    answer = shared.query("point", args((wider, {"x": -5, "from": "here", "more": ["a"]})))
    assert one(answer) == named({"x": -5, "y": [], "from": "here"})
    with pytest.raises(CanisterTrap, match="a record does not fit the declared record"):
        shared.query("point", args((Types.Record({"x": Types.Int32}), {"x": 1})))
    with pytest.raises(CanisterTrap, match="a variant does not fit the declared variant"):
        shared.query("shape", args((Types.Variant({"square": Types.Nat}), {"square": 1})))


@settings(max_examples=60, deadline=None)
@given(value=st.integers(-(2**200), 2**200))
def test_integers_of_any_size_come_back(shared: Host, value: int) -> None:
    assert one(shared.query("integer", args((Types.Int, value)))) == value


@settings(max_examples=30, deadline=None)
@given(value=st.floats(allow_nan=False))
def test_floats_come_back(shared: Host, value: float) -> None:
    assert one(shared.query("real", args((Types.Float64, value)))) == value


@settings(max_examples=40, deadline=None)
@given(x=st.integers(-(2**31), 2**31 - 1), y=st.none() | st.integers(-(2**31), 2**31 - 1), text=st.text(max_size=20))
def test_records_come_back(shared: Host, x: int, y: int | None, text: str) -> None:
    sent = {"x": x, "y": [] if y is None else [y], "from": text}
    assert one(shared.query("point", args((POINT, sent)))) == named(sent)
    shape = Types.Variant({"circle": Types.Nat, "point": POINT, "nothing": Types.Null})
    for case, value in {"circle": abs(x) << 70, "point": sent, "nothing": None}.items():
        (answer,) = one(shared.query("shape", args((shape, {case: value})))).items()
        expected = {"point": named(sent), "circle": value, "nothing": None}[case]
        assert answer == (f"_{next(iter(hashes({case: 0})))}", expected)


def test_recursive_types_are_read_to_a_depth(shared: Host) -> None:
    def chain(depth: int) -> bytes:
        # type 0 = record { next : opt 0; value : nat8 }, its fields in the order of their hashes
        numbers = hashes({"next": b"\x01", "value": b"\x7b"})
        fields = b"".join(leb(number) + kind for number, kind in sorted(numbers.items()))
        next_first = min(numbers, key=lambda n: n) == next(n for n, kind in numbers.items() if kind == b"\x01")
        value = b"\x00\x01" if next_first else b"\x01\x00"
        for _ in range(depth - 1):
            value = b"\x01" + value + b"\x01" if next_first else b"\x01\x01" + value
        return b"DIDL\x02\x6c\x02" + fields + b"\x6e\x00\x01\x00" + value

    assert one(shared.query("node", chain(10))) == 10
    with pytest.raises(CanisterTrap, match="nested deeper"):
        shared.query("node", chain(200))


def test_values_that_take_no_bytes_are_refused_cheaply(shared: Host) -> None:
    bomb = b"DIDL\x01\x6d\x7f\x01\x00" + leb(2**32)
    with pytest.raises(CanisterTrap, match="decoding quota exceeded"):
        shared.query("units", bomb)
    assert shared.fuel < 200_000
    with pytest.raises(CanisterTrap, match="decoding quota exceeded"):
        shared.query("needs_blob", b"DIDL\x02\x6d\x7b\x6d\x7f\x02\x00\x01\x00" + leb(2**32))
    assert shared.fuel < 200_000
    assert one(shared.query("units", b"DIDL\x01\x6d\x7f\x01\x00" + leb(1000))) == 1000


@pytest.mark.parametrize(
    ("kinds", "value"),
    [
        (b"\x6d\x7d", b"\x01"),
        (b"\x6d\x02\x6d\x7d", b"\x00"),
        (b"\x6d\x02\x6e\x7e", b"\x00"),
        (b"\x6d\x02\x6b\x01\x00\x7f", b"\x00"),
        (b"\x6d\x02\x6c\x01\x00\x7e", b"\x01"),
        (b"\x6d\x71", b"\x00"),
        (b"\x6d\x68", b"\x01\x00"),
    ],
    ids=["nat", "vec nat", "opt bool", "variant", "record", "text", "principal"],
)
def test_values_that_nobody_asked_for_are_passed_over_as_long_as_they_are_few(shared: Host, kinds: bytes, value: bytes):
    head = b"DIDL" + leb(kinds.count(b"\x6d") + (len(kinds) > 2 and b"\x6d\x02\x6d" not in kinds) + 1) + b"\x6d\x7b"
    head += kinds + b"\x02\x00\x01" + leb(1) + b"x"
    shared.query("needs_blob", head + leb(5_000) + value * 5_000)
    with pytest.raises(CanisterTrap, match="more than 16384 types and values nobody asked for"):
        shared.query("needs_blob", head + leb(500_000) + value * 500_000)
    assert shared.fuel < 12_000_000


def test_types_and_values_in_a_row_are_bounded(shared: Host) -> None:
    fields = b"".join(leb(number) + b"\x7e" for number in range(200_000))
    for message in (
        b"DIDL\x00" + leb(500_000) + b"\x7e" * 500_000 + b"\x01" * 500_000,
        b"DIDL\x01\x6c" + leb(200_000) + fields + b"\x01\x00" + b"\x01" * 200_000,
        b"DIDL" + leb(9_000) + b"\x6c\x02\x00\x7e\x01\x7e" * 9_000 + b"\x00",
    ):
        with pytest.raises(CanisterTrap, match="decoding quota exceeded"):
            shared.query("needs_blob", message)
        assert shared.fuel < 12_000_000


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=60), prefix=st.sampled_from([b"", b"DIDL", b"DIDL\x01\x6d\x7b\x01\x00", b"DIDL\x00\x01"])
)
def test_broken_messages_trap_and_never_crash(shared: Host, prefix: bytes, data: bytes) -> None:
    for method in ("needs_blob", "point", "shape", "described", "pairs"):
        try:
            shared.query(method, prefix + data)
        except CanisterTrap as trap:
            assert str(trap).startswith("failed to decode call arguments: ")  # noqa: PT017
    with pytest.raises(CanisterTrap):
        shared.query("needs_blob", b"DIDL" + b"\xff" * 40)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("bad_nat8", "bad_nat8: 256 is out of range for nat8"),
        ("bad_record", "bad_record: the dict for record lacks 'y'"),
        ("bad_list", "bad_list: expected list for vec, got tuple"),
        ("float_wanted", "float_wanted: expected float for float64, got int"),
    ],
)
def test_a_result_that_does_not_fit_traps(shared: Host, method: str, text: str) -> None:
    with pytest.raises(CanisterTrap) as trap:
        shared.query(method)
    assert str(trap.value).replace('"', "'") == f"failed to encode the result: {text}"


def test_a_blob_may_be_a_list_of_ints(shared: Host) -> None:
    assert one(shared.query("blob_of_list")) == [1, 2, 255]


def test_exceptions_and_traps_carry_their_text(shared: Host) -> None:
    with pytest.raises(CanisterTrap, match=r"^ValueError: on purpose$"):
        shared.query("raises")
    with pytest.raises(CanisterTrap, match=r"^trapped on purpose$"):
        shared.query("traps")
    assert shared.query("rejects") == Answer(None, "rejected on purpose")
    assert one(shared.query("replies", args((Types.Nat, 41)))) == 42


def test_candid_text_names_fields_by_number(shared: Host) -> None:
    data = args((POINT, {"x": 1000, "y": [-1], "from": 'a"b'}), (Types.Nat, 2**70), (BLOB, [1]))
    text = one(shared.query("decoded", args((BLOB, list(data)))))
    assert "1_000 : int32" in text
    assert "opt (-1 : int32)" in text
    assert '"a\\"b"' in text
    assert "1_180_591_620_717_411_303_424 : nat" in text
    assert text.endswith('blob "\\01")')
