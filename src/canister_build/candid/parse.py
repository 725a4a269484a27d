"""Reads .did text into `candid.types`.

Not for value literals, and not for `import`: an interface here is one file.
"""

from __future__ import annotations

import re

from .types import (
    BLOB,
    MODES,
    NULL,
    PRIMITIVES,
    Arg,
    CandidError,
    Field,
    Func,
    Interface,
    Method,
    Opt,
    Prim,
    Record,
    Ref,
    Service,
    Type,
    Variant,
    Vec,
    reachable,
)

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<text>"(?:[^"\\\n]|\\.)*")
      | (?P<number>0x[0-9a-fA-F_]+|[0-9][0-9_]*)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>->|[(){};:,=.])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_END = ("end", "end of text")


def parse(text: str) -> Interface:
    """The interface a .did text declares; raises `CandidError` with line and column where it is wrong."""
    return _Parser(text).interface()


def parse_type(text: str, types: dict[str, Type] | None = None) -> Type:
    """One type expression, for example `vec record { blob; nat }`; names must be in `types` if that is given."""
    parser = _Parser(text)
    type_ = parser.type()
    parser.expect_end()
    if types is not None:
        reachable([type_], types)
    return type_


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        self.at = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(f"unexpected {text[position]!r}", position)
            if match.lastgroup and match.lastgroup != "space":
                self.tokens.append((match.lastgroup, match.group(), position))
            position = match.end()

    def error(self, message: str, position: int | None = None) -> CandidError:
        if position is None:
            position = self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)
        line = self.text.count("\n", 0, position) + 1
        column = position - (self.text.rfind("\n", 0, position) + 1) + 1
        return CandidError(f"line {line}, column {column}: {message}")

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at][:2] if self.at < len(self.tokens) else _END

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def skip(self, mark: str) -> bool:
        if self.peek()[1] != mark or self.peek()[0] == "text":
            return False
        self.at += 1
        return True

    def expect(self, mark: str) -> None:
        if not self.skip(mark):
            raise self.error(f"expected {mark!r}, found {self.peek()[1]!r}")

    def expect_end(self) -> None:
        if self.peek() != _END:
            raise self.error(f"expected the end, found {self.peek()[1]!r}")

    def interface(self) -> Interface:
        types: dict[str, Type] = {}
        while self.skip("type"):
            name = self.name("a type name")
            self.expect("=")
            if name in types:
                raise self.error(f"type {name} is declared twice")
            types[name] = self.type()
            self.end_of_item("type")
        service, init = Service(()), None
        if self.skip("service"):
            if self.peek()[0] == "name":
                self.take()
            self.expect(":")
            if self.peek()[1] == "(":
                init = self.args()
                self.expect("->")
            service = self.service_body(types)
            self.skip(";")
        self.expect_end()
        interface = Interface(types, service, init)
        reachable([*types.values(), service, *(a.type for a in init or ())], types)
        for name in types:
            interface.resolve(Ref(name))
        interface.methods()
        return interface

    def end_of_item(self, what: str) -> None:
        if not self.skip(";") and self.peek()[1] not in ("service", "end of text"):
            raise self.error(f"expected ';' after the {what}, found {self.peek()[1]!r}")

    def service_body(self, types: dict[str, Type]) -> Service:
        if self.peek()[0] == "name":
            name = self.take()[1]
            type_ = Interface(types, Service(())).resolve(Ref(name))
            if not isinstance(type_, Service):
                raise self.error(f"{name} is not a service")
            return type_
        return self.service()

    def name(self, what: str) -> str:
        kind, value = self.take()
        if kind != "name":
            self.at -= 1
            raise self.error(f"expected {what}, found {value!r}")
        return value

    def label_text(self) -> str:
        kind, value = self.take()
        if kind == "text":
            return _unquote(value)
        if kind == "name":
            return value
        self.at -= 1
        raise self.error(f"expected a name, found {value!r}")

    def type(self) -> Type:
        kind, value = self.peek()
        if kind != "name":
            raise self.error(f"expected a type, found {value!r}")
        self.take()
        if value in PRIMITIVES:
            return Prim(value)
        match value:
            case "blob":
                return BLOB
            case "opt":
                return Opt(self.type())
            case "vec":
                return Vec(self.type())
            case "record":
                return Record(self.fields(is_record=True))
            case "variant":
                return Variant(self.fields(is_record=False))
            case "func":
                return self.func()
            case "service":
                return self.service()
            case _:
                return Ref(value)

    def fields(self, *, is_record: bool) -> tuple[Field, ...]:
        self.expect("{")
        found: list[Field] = []
        next_id = 0
        while not self.skip("}"):
            at = self.at
            label: str | int
            if self.peek()[0] == "number":
                label = int(self.take()[1].replace("_", ""), 0)
                type_ = self.field_type(is_record)
            elif self.peek()[0] == "text" or (self.peek()[0] == "name" and self.is_label(is_record)):
                label = self.label_text()
                type_ = self.field_type(is_record)
            else:
                label, type_ = next_id, self.type()
            field = Field(label, type_)
            if any(f.id == field.id for f in found):
                self.at = at
                raise self.error(f"field {label} is there twice, or has the same hash as another")
            found.append(field)
            next_id = field.id + 1
            if not self.skip(";") and self.peek()[1] != "}":
                raise self.error(f"expected ';' or '}}', found {self.peek()[1]!r}")
        return tuple(found)

    def is_label(self, is_record: bool) -> bool:
        # In a variant a bare name is a case without a value, in a record it is the type of a tuple's part.
        if not is_record:
            return True
        following = self.tokens[self.at + 1][1] if self.at + 1 < len(self.tokens) else ""
        return following == ":"

    def field_type(self, is_record: bool) -> Type:
        if is_record:
            self.expect(":")
            return self.type()
        return self.type() if self.skip(":") else NULL

    def args(self) -> tuple[Arg, ...]:
        self.expect("(")
        found: list[Arg] = []
        while not self.skip(")"):
            named = self.at + 1 < len(self.tokens) and self.tokens[self.at + 1][1] == ":"
            name = self.label_text() if named else None
            if named:
                self.expect(":")
            found.append(Arg(self.type(), name))
            if not self.skip(",") and self.peek()[1] != ")":
                raise self.error(f"expected ',' or ')', found {self.peek()[1]!r}")
        return tuple(found)

    def func(self) -> Func:
        args = self.args()
        self.expect("->")
        results = self.args()
        mode = None
        while self.peek()[1] in MODES:
            if mode is not None:
                raise self.error(f"a function has one mode, found {mode} and {self.peek()[1]}")
            mode = self.take()[1]
        return Func(args, results, mode)

    def service(self) -> Service:
        self.expect("{")
        found: list[Method] = []
        while not self.skip("}"):
            name = self.label_text()
            self.expect(":")
            if any(m.name == name for m in found):
                raise self.error(f"method {name} is there twice")
            type_: Type = self.func() if self.peek()[1] == "(" else Ref(self.name("a function type"))
            found.append(Method(name, type_))
            if not self.skip(";") and self.peek()[1] != "}":
                raise self.error(f"expected ';' or '}}', found {self.peek()[1]!r}")
        return Service(tuple(found))


def _unquote(token: str) -> str:
    def replace(match: re.Match[str]) -> str:
        escape = match.group(1)
        if escape.startswith("u{"):
            return chr(int(escape[2:-1].replace("_", ""), 16))
        return _ESCAPES.get(escape, escape)

    return re.sub(r"\\(u\{[0-9a-fA-F_]+\}|.)", replace, token[1:-1])
