"""Candid types as immutable values: what a .did file says, however it was written.

Not for values on the wire: nothing here encodes or decodes a message.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PRIMITIVES = frozenset(
    {"bool", "text", "null", "reserved", "empty", "principal", "float32", "float64"}
    | {f"{sign}{bits}" for sign in ("nat", "int") for bits in ("", 8, 16, 32, 64)}
)
MODES = ("query", "composite_query", "oneway")


class CandidError(Exception):
    """A .did text or a type that is wrong; the message says where and what is allowed."""


@dataclass(frozen=True)
class Prim:
    """One of `PRIMITIVES`."""

    name: str


@dataclass(frozen=True)
class Opt:
    """`opt inner`."""

    inner: Type


@dataclass(frozen=True)
class Vec:
    """`vec inner`; `vec nat8` is what `blob` stands for."""

    inner: Type


@dataclass(frozen=True)
class Field:
    """A field of a record or a case of a variant; a tuple's labels are numbers."""

    label: str | int
    type: Type

    @property
    def id(self) -> int:
        """The number that stands for the label on the wire."""
        return self.label if isinstance(self.label, int) else label_hash(self.label)


@dataclass(frozen=True)
class Record:
    """`record { ... }`; fields in the order they were written."""

    fields: tuple[Field, ...]

    @property
    def is_tuple(self) -> bool:
        """Whether the labels are 0, 1, 2, ... in order (an empty record is no tuple)."""
        return bool(self.fields) and all(isinstance(f.label, int) and f.label == i for i, f in enumerate(self.fields))


@dataclass(frozen=True)
class Variant:
    """`variant { ... }`; cases in the order they were written."""

    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Arg:
    """An argument or result; its name is documentation and no part of the type."""

    type: Type
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Func:
    """`(args) -> (results) mode`; `mode` is one of `MODES` or None for an update."""

    args: tuple[Arg, ...]
    results: tuple[Arg, ...]
    mode: str | None = None


@dataclass(frozen=True)
class Method:
    """A method of a service: its type is a `Func` or a reference to a named one."""

    name: str
    type: Type


@dataclass(frozen=True)
class Service:
    """`service { ... }`; methods in the order they were written."""

    methods: tuple[Method, ...]


@dataclass(frozen=True)
class Ref:
    """The name of a declared type."""

    name: str


Type = Prim | Opt | Vec | Record | Variant | Func | Service | Ref

NAT8 = Prim("nat8")
NULL = Prim("null")
BLOB = Vec(NAT8)


@dataclass(frozen=True)
class Interface:
    """A whole .did file: its named types and, if it has one, its service.

    `init` is None where the file says `service : { ... }` and a tuple, perhaps empty, where it says
    `service : (...) -> { ... }`.
    """

    types: dict[str, Type]
    service: Service
    init: tuple[Arg, ...] | None = None

    def resolve(self, type_: Type) -> Type:
        """The type behind a name, however many names lead to it; raises `CandidError` for an unknown one."""
        seen: set[str] = set()
        while isinstance(type_, Ref):
            if type_.name in seen:
                raise CandidError(f"type {type_.name} is only another name for itself")
            seen.add(type_.name)
            if type_.name not in self.types:
                raise CandidError(f"type {type_.name} is not declared")
            type_ = self.types[type_.name]
        return type_

    def methods(self) -> dict[str, Func]:
        """Every method's function type, by name."""
        found: dict[str, Func] = {}
        for method in self.service.methods:
            type_ = self.resolve(method.type)
            if not isinstance(type_, Func):
                raise CandidError(f"method {method.name} is not a function")
            found[method.name] = type_
        return found


def label_hash(label: str) -> int:
    """The wire number of a label: the Candid specification's 32-bit hash (base 223) of its UTF-8 bytes."""
    value = 0
    for byte in label.encode():
        value = (value * 223 + byte) % 2**32
    return value


def children(type_: Type) -> tuple[Type, ...]:
    """The types a type is made of, one level down."""
    if isinstance(type_, Opt | Vec):
        return (type_.inner,)
    if isinstance(type_, Record | Variant):
        return tuple(f.type for f in type_.fields)
    if isinstance(type_, Func):
        return tuple(a.type for a in (*type_.args, *type_.results))
    if isinstance(type_, Service):
        return tuple(m.type for m in type_.methods)
    return ()


def reachable(roots: list[Type], types: dict[str, Type]) -> set[str]:
    """The names of all declared types that `roots` need, directly or not."""
    found: set[str] = set()
    todo = list(roots)
    while todo:
        type_ = todo.pop()
        if isinstance(type_, Ref) and type_.name not in found:
            found.add(type_.name)
            if type_.name not in types:
                raise CandidError(f"type {type_.name} is not declared")
            todo.append(types[type_.name])
        todo.extend(children(type_))
    return found


def inline(type_: Type, types: dict[str, Type], within: frozenset[str] = frozenset()) -> Type:
    """The type with every name replaced by what it stands for; a name inside its own declaration stays."""
    if isinstance(type_, Ref):
        if type_.name in within:
            return type_
        if type_.name not in types:
            raise CandidError(f"type {type_.name} is not declared")
        return inline(types[type_.name], types, within | {type_.name})

    def deeper(inner: Type) -> Type:
        return inline(inner, types, within)

    if isinstance(type_, Opt):
        return Opt(deeper(type_.inner))
    if isinstance(type_, Vec):
        return Vec(deeper(type_.inner))
    if isinstance(type_, Record):
        return Record(tuple(Field(f.label, deeper(f.type)) for f in type_.fields))
    if isinstance(type_, Variant):
        return Variant(tuple(Field(f.label, deeper(f.type)) for f in type_.fields))
    if isinstance(type_, Func):
        args, results = (tuple(Arg(deeper(a.type), a.name) for a in side) for side in (type_.args, type_.results))
        return Func(args, results, type_.mode)
    if isinstance(type_, Service):
        return Service(tuple(Method(m.name, deeper(m.type)) for m in type_.methods))
    return type_
