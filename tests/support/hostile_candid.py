"""Candid that nobody honest sends, for any method: bombs of types and values, and bytes that Hypothesis picks.

A bomb is a list of types, the index of the first being 1, and a value of the first; `put` places it in a message.
Not for what a canister does with it: that is for the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import strategies as st

from localnet import candid
from localnet.candid import sleb, uleb

CALL_BYTES = 2_000_000


BLOB = b"\x6d\x7b"
Put = Callable[[bytes, int, bytes], bytes]
"""Types, how many they are, and a value of the first of them: the message they are put in."""


def alone(types: bytes, count: int, value: bytes) -> bytes:
    """The value as the only argument."""
    return b"DIDL" + uleb(1 + count) + BLOB + types + b"\x01\x01" + value


def in_a_field(types: bytes, count: int, value: bytes) -> bytes:
    """The value as a field that no method knows, of a record that is the only argument."""
    field = b"\x6c\x01\x00\x01"
    return b"DIDL" + uleb(2 + count) + BLOB + types + field + b"\x01" + sleb(1 + count) + value


def among(kinds: list[candid.Type], values: list[Any], position: int, replaced: int = 0) -> Put:
    """The value among honest arguments: before the one at a position, or instead of it and others."""

    def put(types: bytes, count: int, value: bytes) -> bytes:
        encoder = candid._Encoder()
        encoder.table = [BLOB + types] + [b""] * count
        references = [sleb(encoder.reference(kind)) for kind in kinds]
        bodies: list[bytes] = []
        for kind, one in zip(kinds, values, strict=True):
            body: list[bytes] = []
            encoder.value(kind, one, body)
            bodies.append(b"".join(body))
        references[position : position + replaced] = [b"\x01"]
        bodies[position : position + replaced] = [value]
        table = uleb(len(encoder.table)) + b"".join(encoder.table)
        return b"DIDL" + table + uleb(len(references)) + b"".join([*references, *bodies])

    return put


def many(value: bytes, size: int) -> bytes:
    count = size // len(value)
    return uleb(count) + value * count


def record(fields: int) -> bytes:
    return b"\x6c" + uleb(fields) + b"".join(uleb(number) + b"\x7e" for number in range(fields))


Bomb = Callable[[Put, int], bytes]
BOMBS: dict[str, Bomb] = {
    "a vec longer than the message": lambda put, _: put(b"\x6d\x7d", 1, uleb(2**40) + b"\x01"),
    "a vec of 2^63 nulls": lambda put, _: put(b"\x6d\x7f", 1, uleb(2**63)),
    "nulls": lambda put, size: put(b"\x6d\x7f", 1, uleb(size)),
    "empty records": lambda put, size: put(b"\x6d\x02\x6c\x00", 2, uleb(size)),
    "empty vecs": lambda put, size: put(b"\x6d\x02\x6d\x7d", 2, many(b"\x00", size)),
    "numbers": lambda put, size: put(b"\x6d\x7d", 1, many(b"\x01", size)),
    "options": lambda put, size: put(b"\x6d\x02\x6e\x7e", 2, many(b"\x00", size)),
    "variants": lambda put, size: put(b"\x6d\x02\x6b\x01\x00\x7f", 2, many(b"\x00", size)),
    "records": lambda put, size: put(b"\x6d\x02\x6c\x02\x00\x7f\x01\x7e", 2, many(b"\x01", size)),
    "texts": lambda put, size: put(b"\x6d\x71", 1, many(b"\x00", size)),
    "principals": lambda put, size: put(b"\x6d\x68", 1, many(b"\x01\x00", size)),
    "services": lambda put, size: put(b"\x6d\x02\x69\x00", 2, many(b"\x01\x00", size)),
    "functions": lambda put, size: put(b"\x6d\x02\x6a\x00\x00\x00", 2, many(b"\x01\x01\x00\x00", size)),
    "a list of itself": lambda put, size: put(b"\x6c\x01\x00\x02\x6e\x01", 2, b"\x01" * size),
    "a long number that never ends": lambda put, size: put(b"\x6d\x7d", 1, b"\x01" + b"\xff" * size),
    "many types": lambda put, size: put(b"\x6d\x7e" * (size // 2), size // 2, b""),
    "a record of many fields": lambda put, size: put(b"\x6d\x02" + record(size // 5), 2, b"\x01" * (size // 5 + 1)),
    "types that nest": lambda put, size: put(
        b"".join(b"\x6e" + uleb(number) for number in range(2, size // 4)) + b"\x6e\x7e", size // 4 - 1, b"\x01" * 9
    ),
    "many values": lambda _, size: b"DIDL\x00" + uleb(size // 2) + b"\x7e" * (size // 2) + b"\x01" * (size // 2),
    "no end": lambda put, size: put(b"\x6d\x7b", 1, many(b"\x01", size)[:-1]),
    "garbage": lambda _, size: b"\xa5" * size,
    "nothing": lambda _put, _size: b"",
    "the start alone": lambda _put, _size: b"DIDL",
}


_LONG = 2**62 + 12_345
"""Stands for a number that is as long as may be: encoding one digit by digit takes too long."""


def oversized(kinds: list[candid.Type], principal: bytes, size: int) -> bytes:
    """Arguments of the declared types that are as large as may be: `size` bytes for each text, blob, vec and number."""
    payload = candid.encode(kinds, [_largest(kind, principal, size) for kind in kinds])
    return payload.replace(uleb(_LONG), b"\xff" * size + b"\x01")


def _largest(kind: candid.Type, principal: bytes, size: int) -> Any:
    if kind.kind == "record":
        return {label: _largest(of, principal, size) for _, label, of in kind.fields}
    if kind.kind == "variant":
        _, label, of = kind.fields[-1]
        return label, _largest(of, principal, size)
    if kind.kind == "opt" and kind.of is not None:
        return _largest(kind.of, principal, size)
    if kind.kind == "vec" and kind.of == candid.NAT8:
        return b"\xa5" * size
    if kind.kind == "vec" and kind.of is not None:
        one = _largest(kind.of, principal, 0)
        return [one] * (size // (1 + len(principal)))
    numbers = {"nat": _LONG, "int": _LONG, "nat8": 2**8 - 1, "nat16": 2**16 - 1, "nat32": 2**32 - 1, "nat64": 2**64 - 1}
    return {"principal": principal, "text": "x" * size, "bool": True, "null": None, **numbers}[kind.kind]


def bombs(name: str, puts: list[Put], size: int) -> list[bytes]:
    """A bomb of a size in each place; one that is no value of a type is put nowhere."""
    parts = _parts(name, size)
    return [parts] if isinstance(parts, bytes) else [put(*parts) for put in puts]


@cache
def _parts(name: str, size: int) -> bytes | tuple[bytes, int, bytes]:
    """What a bomb is made of, for `put`; or the whole message."""
    found: list[tuple[bytes, int, bytes]] = []

    def put(types: bytes, count: int, value: bytes) -> bytes:
        found.append((types, count, value))
        return b""

    whole = BOMBS[name](put, size)
    return found[0] if found else whole


@st.composite
def calls(draw: st.DrawFn, methods: list[str], honest: dict[str, bytes]) -> tuple[str, bytes]:
    """A method and bytes: any, the start of a message and any, or an honest message with some bytes changed."""
    method = draw(st.sampled_from(methods))
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return method, draw(st.binary(max_size=60))
    if kind == 1:
        start = draw(st.sampled_from([b"DIDL", b"DIDL\x00\x01", b"DIDL\x01\x6d\x7b\x01\x00", b"DIDL\x01\x6c"]))
        return method, start + draw(st.binary(max_size=60))
    payload = bytearray(honest[draw(st.sampled_from(sorted(honest)))] if kind == 2 else honest[method])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(payload)))
        cut = draw(st.integers(0, 3))
        payload[at : at + cut] = draw(st.binary(max_size=6))
    return method, bytes(payload)
