"""Candid for the management canister's types: encode and decode against a declared type.

Small and quick for blobs of megabytes, which go through as slices. Not a general Candid library: no
services, no text format, no recursive declared types (wire types may be anything; unknown ones are skipped
under a quota).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

MAGIC = b"DIDL"
VALUE_QUOTA = 200_000
DEPTH_QUOTA = 64


class CandidError(ValueError):
    """The bytes aren't Candid of the declared type, or the value doesn't fit it."""


@dataclass(frozen=True)
class Type:
    """A Candid type: ``kind`` as in the text format; ``of`` the element type; ``fields`` by label hash."""

    kind: str
    of: Type | None = None
    fields: tuple[tuple[int, str, Type], ...] = ()


def label_hash(label: str) -> int:
    """The 32-bit number a record or variant label stands for (Candid specification, "hash")."""
    value = 0
    for byte in label.encode():
        value = (value * 223 + byte) & 0xFFFFFFFF
    return value


def _fields(fields: dict[str, Type]) -> tuple[tuple[int, str, Type], ...]:
    return tuple(sorted((label_hash(label), label, kind) for label, kind in fields.items()))


def opt(of: Type) -> Type:
    """``opt T``: a value or None."""
    return Type("opt", of)


def vec(of: Type) -> Type:
    """``vec T``: a list; ``vec nat8`` is ``bytes``."""
    return Type("vec", of)


def record(**fields: Type) -> Type:
    """``record``: a dict by label."""
    return Type("record", fields=_fields(fields))


def variant(**fields: Type) -> Type:
    """``variant``: a pair of label and value."""
    return Type("variant", fields=_fields(fields))


NULL, BOOL, NAT, TEXT = Type("null"), Type("bool"), Type("nat"), Type("text")
NAT8, NAT16, NAT32, NAT64 = Type("nat8"), Type("nat16"), Type("nat32"), Type("nat64")
INT32, INT64, FLOAT32, FLOAT64 = Type("int32"), Type("int64"), Type("float32"), Type("float64")
INT, RESERVED, PRINCIPAL = Type("int"), Type("reserved"), Type("principal")
FUNC_QUERY = Type("func")
"""A reference to a query function; its value is a pair of principal and method name."""
BLOB = vec(NAT8)

_OPCODES = {
    "null": -1, "bool": -2, "nat": -3, "int": -4, "nat8": -5, "nat16": -6, "nat32": -7, "nat64": -8,
    "int8": -9, "int16": -10, "int32": -11, "int64": -12, "float32": -13, "float64": -14, "text": -15,
    "reserved": -16, "empty": -17, "principal": -24,
}  # fmt: skip
_KINDS = {code: kind for kind, code in _OPCODES.items()}
_FIXED = {
    "nat8": "<B", "nat16": "<H", "nat32": "<I", "nat64": "<Q", "int8": "<b", "int16": "<h", "int32": "<i",
    "int64": "<q", "float32": "<f", "float64": "<d", "bool": "<?",
}  # fmt: skip
_COMPOSITE = {-18: "opt", -19: "vec", -20: "record", -21: "variant", -22: "func", -23: "service"}


def uleb(value: int) -> bytes:
    """Unsigned LEB128."""
    if value < 0:
        raise CandidError(f"{value} is negative where a nat is declared")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sleb(value: int) -> bytes:
    """Signed LEB128."""
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


class _Encoder:
    def __init__(self) -> None:
        self.table: list[bytes] = []
        self.index: dict[Type, int] = {}

    def reference(self, kind: Type) -> int:
        if kind.kind in _OPCODES:
            return _OPCODES[kind.kind]
        if kind not in self.index:
            if kind.kind in ("opt", "vec"):
                assert kind.of is not None
                body = sleb(-18 if kind.kind == "opt" else -19) + sleb(self.reference(kind.of))
            elif kind.kind == "func":
                body = sleb(-22) + b"\x00\x00\x01\x01"
            else:
                parts = [uleb(number) + sleb(self.reference(of)) for number, _, of in kind.fields]
                body = sleb(-20 if kind.kind == "record" else -21) + uleb(len(parts)) + b"".join(parts)
            self.index[kind] = len(self.table)
            self.table.append(body)
        return self.index[kind]

    def value(self, kind: Type, value: Any, out: list[bytes]) -> None:
        name = kind.kind
        if name == "vec" and kind.of == NAT8:
            out.append(uleb(len(value)))
            out.append(bytes(value))
        elif name == "vec":
            assert kind.of is not None
            out.append(uleb(len(value)))
            for item in value:
                self.value(kind.of, item, out)
        elif name == "opt":
            assert kind.of is not None
            out.append(b"\x00" if value is None else b"\x01")
            if value is not None:
                self.value(kind.of, value, out)
        elif name == "record":
            for _, label, of in kind.fields:
                if label not in value and of.kind != "opt":
                    raise CandidError(f"field {label} is missing")
                try:
                    self.value(of, value.get(label), out)
                except CandidError as error:
                    raise CandidError(f"{label}: {error}") from error
        elif name == "variant":
            for position, (_, label, of) in enumerate(kind.fields):
                if label == value[0]:
                    out.append(uleb(position))
                    self.value(of, value[1], out)
                    return
            raise CandidError(f"{value[0]!r} is none of the cases {[label for _, label, _ in kind.fields]}")
        elif name == "func":
            method = value[1].encode()
            out.append(b"\x01\x01" + uleb(len(value[0])) + value[0] + uleb(len(method)) + method)
        elif name == "principal":
            out.append(b"\x01" + uleb(len(value)) + value)
        elif name == "text":
            try:
                data = value.encode()
            except UnicodeEncodeError as error:
                raise CandidError(f"{value!r} is no Unicode text") from error
            out.append(uleb(len(data)) + data)
        elif name == "nat":
            out.append(uleb(value))
        elif name == "int":
            out.append(sleb(value))
        elif name in _FIXED:
            try:
                out.append(struct.pack(_FIXED[name], value))
            except struct.error as error:
                holds = f": 0 to {(1 << 8 * struct.calcsize(_FIXED[name])) - 1}" if name.startswith("nat") else ""
                raise CandidError(f"{value!r} does not fit {name}{holds}") from error


def encode(types: Sequence[Type], values: Sequence[Any]) -> bytes:
    """Encode ``values`` as arguments of the given types. Raises `CandidError` for a value that doesn't fit."""
    encoder = _Encoder()
    references = b"".join(sleb(encoder.reference(kind)) for kind in types)
    out: list[bytes] = []
    for kind, value in zip(types, values, strict=True):
        encoder.value(kind, value, out)
    table = uleb(len(encoder.table)) + b"".join(encoder.table)
    return b"".join((MAGIC, table, uleb(len(types)), references, *out))


@dataclass
class _Wire:
    kind: str
    of: int = 0
    fields: Sequence[tuple[int, int]] = ()


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.quota = VALUE_QUOTA
        self.table: list[_Wire] = []

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise CandidError(f"message ends at byte {len(self.data)}, {end - len(self.data)} bytes too early")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def uleb(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 700:
                raise CandidError("number of more than 700 bits")

    def sleb(self) -> int:
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def count(self) -> int:
        number = self.uleb()
        if number > len(self.data):
            raise CandidError(f"{number} entries in a message of {len(self.data)} bytes")
        return number

    def header(self) -> list[int]:
        if self.take(4) != MAGIC:
            raise CandidError("message does not start with DIDL")
        for _ in range(self.count()):
            kind = _COMPOSITE.get(self.sleb())
            if kind is None:
                raise CandidError("unknown type constructor in the type table")
            if kind in ("opt", "vec"):
                self.table.append(_Wire(kind, self.sleb()))
            elif kind in ("record", "variant"):
                fields = [(self.uleb(), self.sleb()) for _ in range(self.count())]
                if any(a[0] >= b[0] for a, b in pairwise(fields)):
                    raise CandidError("field numbers of a type are not ascending")
                self.table.append(_Wire(kind, fields=fields))
            elif kind == "func":
                for _ in range(2):
                    for _ in range(self.count()):
                        self.sleb()
                self.take(self.count())
                self.table.append(_Wire(kind))
            else:
                for _ in range(self.count()):
                    self.take(self.count())
                    self.sleb()
                self.table.append(_Wire(kind))
        return [self.sleb() for _ in range(self.count())]

    def wire(self, reference: int) -> _Wire:
        if reference >= 0:
            if reference >= len(self.table):
                raise CandidError(f"type {reference} is not in the type table")
            return self.table[reference]
        if reference not in _KINDS:
            raise CandidError(f"unknown type code {reference}")
        return _Wire(_KINDS[reference])

    def value(self, reference: int, want: Type | None, depth: int = 0) -> Any:
        """Read one value of a wire type; ``want`` None reads and forgets it."""
        self.quota -= 1
        if self.quota < 0 or depth > DEPTH_QUOTA:
            raise CandidError(f"more than {VALUE_QUOTA} values, or nested deeper than {DEPTH_QUOTA}")
        wire = self.wire(reference)
        if want is not None and want.kind == "opt" and wire.kind != "opt":
            return self._bare_as_opt(reference, wire, want, depth)
        if want is not None and want.kind == "reserved":
            want = None
        if want is not None and want.kind != wire.kind and not (want.kind, wire.kind) == ("int", "nat"):
            raise CandidError(f"{wire.kind} where {want.kind} is declared")
        reader = _READERS.get(wire.kind)
        if reader is not None:
            return reader(self, wire, want, depth)
        if wire.kind in _FIXED:
            shape = _FIXED[wire.kind]
            raw = self.take(struct.calcsize(shape))
            if wire.kind == "bool" and raw[0] > 1:
                raise CandidError(f"{raw[0]} is no bool")
            return struct.unpack(shape, raw)[0]
        if wire.kind in ("null", "reserved"):
            return None
        raise CandidError(f"a value of type {wire.kind} cannot be read")

    def _bare_as_opt(self, reference: int, wire: _Wire, want: Type, depth: int) -> Any:
        if wire.kind in ("null", "reserved"):
            return None
        return self._tolerant(reference, want, depth)

    def _tolerant(self, reference: int, want: Type, depth: int) -> Any:
        # A value that doesn't fit the declared opt is None (Candid's coercion rules), and must be skipped.
        start = self.at
        try:
            return self.value(reference, want.of, depth + 1)
        except CandidError:
            self.at = start
            self.value(reference, None, depth + 1)
            return None

    def opt(self, wire: _Wire, want: Type | None, depth: int) -> Any:
        flag = self.take(1)[0]
        if flag > 1:
            raise CandidError(f"{flag} is no option flag")
        if not flag:
            return None
        if want is None:
            return self.value(wire.of, None, depth + 1)
        return self._tolerant(wire.of, want, depth)

    def vec(self, wire: _Wire, want: Type | None, depth: int) -> Any:
        size = self.uleb()
        if self.wire(wire.of).kind == "nat8" and (want is None or want.of == NAT8):
            return self.take(size)
        if size > self.quota:
            raise CandidError(f"vector of {size} values, more than {VALUE_QUOTA}")
        of = want.of if want is not None else None
        return [self.value(wire.of, of, depth + 1) for _ in range(size)]

    def record(self, wire: _Wire, want: Type | None, depth: int) -> Any:
        wanted = {number: (label, kind) for number, label, kind in want.fields} if want else {}
        out: dict[str, Any] = {}
        for number, reference in wire.fields:
            label, kind = wanted.get(number, (None, None))
            value = self.value(reference, kind, depth + 1)
            if label is not None:
                out[label] = value
        for label, kind in wanted.values():
            if label not in out:
                if kind.kind not in ("opt", "null", "reserved"):
                    raise CandidError(f"field {label} is missing")
                out[label] = None
        return out

    def variant(self, wire: _Wire, want: Type | None, depth: int) -> Any:
        position = self.uleb()
        if position >= len(wire.fields):
            raise CandidError(f"case {position} of a variant with {len(wire.fields)} cases")
        number, reference = wire.fields[position]
        if want is None:
            return self.value(reference, None, depth + 1)
        for known, label, kind in want.fields:
            if known == number:
                return label, self.value(reference, kind, depth + 1)
        raise CandidError(f"case with label number {number} is not declared")

    def principal(self, _wire: _Wire, _want: Type | None, _depth: int) -> bytes:
        if self.take(1) != b"\x01":
            raise CandidError("opaque reference where a principal is declared")
        size = self.uleb()
        if size > 29:
            raise CandidError(f"principal of {size} bytes")
        return self.take(size)

    def text(self, _wire: _Wire | None, _want: Type | None, _depth: int) -> str:
        try:
            return self.take(self.uleb()).decode()
        except UnicodeDecodeError as error:
            raise CandidError("text is not UTF-8") from error

    def func(self, wire: _Wire, want: Type | None, depth: int) -> tuple[bytes, str]:
        if self.take(1) != b"\x01":
            raise CandidError("opaque function reference")
        return self.principal(wire, want, depth), self.text(wire, want, depth)


_READERS: dict[str, Callable[[_Decoder, _Wire, Type | None, int], Any]] = {
    "opt": _Decoder.opt,
    "vec": _Decoder.vec,
    "record": _Decoder.record,
    "variant": _Decoder.variant,
    "principal": _Decoder.principal,
    "text": _Decoder.text,
    "func": _Decoder.func,
    "service": _Decoder.principal,
    "nat": lambda decoder, _wire, _want, _depth: decoder.uleb(),
    "int": lambda decoder, _wire, _want, _depth: decoder.sleb(),
}


def decode(data: bytes, types: Sequence[Type]) -> list[Any]:
    """Decode arguments of the given types; further ones on the wire are skipped.

    Raises `CandidError` saying what was found where something else is declared.
    """
    decoder = _Decoder(bytes(data))
    references = decoder.header()
    values = []
    for position, reference in enumerate(references):
        values.append(decoder.value(reference, types[position] if position < len(types) else None))
    for kind in types[len(references) :]:
        if kind.kind not in ("opt", "null", "reserved"):
            raise CandidError(f"{len(references)} arguments where {len(types)} are declared")
        values.append(None)
    if decoder.at != len(decoder.data):
        raise CandidError(f"{len(decoder.data) - decoder.at} bytes after the last value")
    return values[: len(types)]
