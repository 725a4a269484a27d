"""The management canister's Candid codec, against itself and against `ic-py`."""

import contextlib
from typing import Any

import ic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ic.candid import Types as IcTypes

from localnet import candid
from localnet import management_types as types
from localnet.candid import (
    BLOB,
    BOOL,
    INT,
    NAT,
    NAT8,
    NAT64,
    NULL,
    PRINCIPAL,
    TEXT,
    CandidError,
    opt,
    record,
    variant,
    vec,
)

# ic-py's annotations are wrong about its own types.
Types: Any = IcTypes
KIND = record(
    a=opt(NAT),
    b=BLOB,
    c=variant(x=NULL, y=TEXT, z=vec(NAT64)),
    d=PRINCIPAL,
    e=vec(record(f=BOOL, g=INT)),
    h=opt(opt(NAT8)),
)
VALUE = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(0, 2**130),
        "b": st.binary(max_size=300),
        "c": st.just(("x", None))
        | st.tuples(st.just("y"), st.text(max_size=20))
        | st.tuples(st.just("z"), st.lists(st.integers(0, 2**64 - 1), max_size=5)),
        "d": st.binary(max_size=29),
        "e": st.lists(st.fixed_dictionaries({"f": st.booleans(), "g": st.integers(-(2**70), 2**70)}), max_size=4),
        "h": st.none() | st.integers(0, 255),
    }
)


@given(value=VALUE)
def test_what_is_encoded_decodes_to_the_same(value: dict[str, Any]) -> None:
    assert candid.decode(candid.encode([KIND], [value]), [KIND]) == [value]


@given(data=st.binary(max_size=60), tail=st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(data: bytes, tail: bytes) -> None:
    value = {"a": 1, "b": data, "c": ("x", None), "d": b"", "e": [], "h": None}
    for message in (data, b"DIDL" + data, candid.encode([KIND], [value]) + tail):
        with contextlib.suppress(CandidError):
            candid.decode(message, [KIND])


@given(cut=st.integers(0, 200), at=st.integers(0, 200), byte=st.integers(0, 255))
def test_broken_management_calls_are_refused(cut: int, at: int, byte: int) -> None:
    good = candid.encode(
        [types.INSTALL], [{"mode": ("install", None), "canister_id": b"\1", "wasm_module": b"x", "arg": b""}]
    )
    broken = bytearray(good[: max(0, len(good) - cut)])
    if at < len(broken):
        broken[at] = byte
    with contextlib.suppress(CandidError):
        candid.decode(bytes(broken), [types.INSTALL])


def test_ic_py_reads_what_is_written() -> None:
    kind = Types.Record({"text": Types.Text, "blob": Types.Vec(Types.Nat8), "none": Types.Opt(Types.Nat)})
    ours = candid.encode(
        [record(text=TEXT, blob=BLOB, none=opt(NAT))], [{"text": "hallo", "blob": b"\1\2", "none": None}]
    )
    decoded: Any = ic.decode(ours, kind)
    assert decoded[0]["value"] == {"text": "hallo", "blob": [1, 2], "none": []}


def test_what_ic_py_writes_is_read() -> None:
    kind = Types.Record({"text": Types.Text, "blob": Types.Vec(Types.Nat8), "number": Types.Opt(Types.Nat)})
    theirs = ic.encode([{"type": kind, "value": {"text": "hallo", "blob": b"\1\2", "number": [7]}}])
    assert candid.decode(theirs, [record(text=TEXT, blob=BLOB, number=opt(NAT))]) == [
        {"text": "hallo", "blob": b"\1\2", "number": 7}
    ]


def test_unknown_fields_are_skipped_and_missing_opts_are_none() -> None:
    wide = record(text=TEXT, extra=vec(record(x=opt(TEXT))), number=NAT)
    data = candid.encode([wide], [{"text": "a", "extra": [{"x": "b"}, {"x": None}], "number": 3}])
    assert candid.decode(data, [record(number=NAT, new=opt(TEXT))]) == [{"number": 3, "new": None}]


def test_a_bare_value_is_taken_for_an_opt_and_a_wrong_one_for_none() -> None:
    assert candid.decode(candid.encode([NAT], [5]), [opt(NAT)]) == [5]
    assert candid.decode(candid.encode([TEXT], ["x"]), [opt(NAT)]) == [None]
    assert candid.decode(candid.encode([opt(TEXT)], ["x"]), [opt(NAT)]) == [None]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (NAT, -1, "-1 is negative"),
        (NAT8, 256, "256 does not fit nat8"),
        (record(a=NAT), {}, "field a is missing"),
        (variant(a=NULL), ("b", None), "'b' is none of the cases"),
    ],
)
def test_values_that_do_not_fit_are_named(kind: candid.Type, value: Any, text: str) -> None:
    with pytest.raises(CandidError, match=text):
        candid.encode([kind], [value])


def test_a_vector_of_nothing_cannot_blow_up() -> None:
    bomb = b"DIDL\x01\x6d\x7f\x01\x00" + b"\xff\xff\xff\xff\x0f"
    with pytest.raises(CandidError, match="more than 200000"):
        candid.decode(bomb, [vec(NULL)])


def test_megabytes_are_decoded_at_once() -> None:
    blob = bytes(1_900_000)
    (value,) = candid.decode(
        candid.encode([types.UPLOAD_CHUNK], [{"canister_id": b"", "chunk": blob}]), [types.UPLOAD_CHUNK]
    )
    assert value["chunk"] == blob
