"""Candid values as the tests of the template write and read them, by ic-py's encoder.

Not the template's codec: the two are checked against each other.
"""

from __future__ import annotations

from typing import Any

from ic import candid
from ic.candid import decode, encode

from tests.canister.template.host import Answer

# ic-py's own annotations of its types contradict each other.
Types: Any = candid.Types
POINT = Types.Record({"x": Types.Int32, "y": Types.Opt(Types.Int32), "from": Types.Text})
BLOB = Types.Vec(Types.Nat8)
PAIR = Types.Tuple(BLOB, Types.Nat64)


def args(*values: tuple[Any, Any]) -> bytes:
    """A message of (type, value) pairs."""
    return encode([{"type": kind, "value": value} for kind, value in values])


def values(data: bytes) -> list[Any]:
    """The values of a message."""
    return [part["value"] for part in decode(data)]


def one(answer: Answer) -> Any:
    """The single value of a reply."""
    assert answer.reject is None
    assert answer.reply is not None
    return values(answer.reply)[0]


def named(record: dict[str, Any]) -> dict[str, Any]:
    """A record as ic-py decodes it: without its names."""
    return {f"_{number}": value for number, value in hashes(record).items()}


def hashes(record: dict[str, Any]) -> dict[int, Any]:
    """Fields by Candid's hash of their names."""
    found: dict[int, Any] = {}
    for name, value in record.items():
        number = 0
        for byte in name.encode():
            number = (number * 223 + byte) % 2**32
        found[number] = value
    return found


def leb(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
