"""Writes `candid.types` as .did text: one line where it fits, one field a line where it does not.

Not for values, and not for sorting: declarations come out in the order they are given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .types import (
    BLOB,
    MODES,
    NULL,
    PRIMITIVES,
    Arg,
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
)

_WIDTH = 100
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_KEYWORDS = PRIMITIVES | set(MODES) | {"blob", "opt", "vec", "record", "variant", "func", "service", "type", "import"}


@dataclass(frozen=True)
class _Style:
    """How much of Candid's grammar the reader knows."""

    names: bool = True
    """Arguments keep their names."""
    numbers: bool = False
    """Tuples are written `record { 0 : nat; 1 : text }` and cases without a value `name : null`."""
    closed: bool = False
    """Every field ends with `;`."""
    modes: bool = True
    """`composite_query` is known; otherwise such a method is written as a query, which it is to its callers."""


_FULL = _Style()
_PLAIN = _Style(names=False, closed=True, modes=False)
_METADATA = _Style(names=False, numbers=True)


def render(interface: Interface, *, plain: bool = False) -> str:
    """The whole file: named types in the interface's order, a blank line, the service.

    `plain` keeps to what ic-py's parser understands: no argument names, no composite queries.
    """
    style = _PLAIN if plain else _FULL
    parts = [f"type {name} = {_fitted(type_, len(name) + 8, style)};\n" for name, type_ in interface.types.items()]
    if parts:
        parts.append("\n")
    head = "service : "
    if interface.init is not None:
        head += f"{_args(interface.init, style)} -> "
    lines = [_method_lines(method, style) for method in interface.service.methods]
    return "".join([*parts, head, "{\n", *lines, "}\n"])


def type_text(type_: Type, *, numbered: bool = False) -> str:
    """One type on one line. With `numbered` for the template's reader: tuples are written with their labels, every
    case of a variant with its type, and arguments without names.
    """
    return _type(type_, _METADATA if numbered else _FULL)


def name_text(name: str) -> str:
    """A label or method name, quoted where Candid needs it."""
    if _PLAIN_NAME.match(name) and name not in _KEYWORDS:
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _type(type_: Type, style: _Style) -> str:
    if isinstance(type_, Prim | Ref):
        return type_.name
    if type_ == BLOB:
        return "blob"
    if isinstance(type_, Opt | Vec):
        return f"{'opt' if isinstance(type_, Opt) else 'vec'} {_type(type_.inner, style)}"
    if isinstance(type_, Func):
        return f"func {_func(type_, style)}"
    if isinstance(type_, Service):
        return _braces("service", [_method(m, style) for m in type_.methods], style)
    return _braces(_keyword(type_), [_field(type_, f, style) for f in type_.fields], style)


def _braces(keyword: str, items: list[str], style: _Style) -> str:
    if not items:
        return f"{keyword} {{}}"
    return f"{keyword} {{ {'; '.join(items)}{';' if style.closed else ''} }}"


def _keyword(type_: Record | Variant) -> str:
    return "record" if isinstance(type_, Record) else "variant"


def _func(func: Func, style: _Style) -> str:
    mode = "query" if func.mode == "composite_query" and not style.modes else func.mode
    return f"{_args(func.args, style)} -> {_args(func.results, style)}{f' {mode}' if mode else ''}"


def _args(args: tuple[Arg, ...], style: _Style) -> str:
    return f"({', '.join(_arg(a, style) for a in args)})"


def _arg(arg: Arg, style: _Style) -> str:
    text = _type(arg.type, style)
    return text if arg.name is None or not style.names else f"{name_text(arg.name)} : {text}"


def _method(method: Method, style: _Style) -> str:
    type_ = method.type
    return f"{name_text(method.name)} : {_func(type_, style) if isinstance(type_, Func) else _type(type_, style)}"


def _field(owner: Record | Variant, field: Field, style: _Style) -> str:
    if isinstance(owner, Record) and owner.is_tuple and not style.numbers:
        return _type(field.type, style)
    label = str(field.label) if isinstance(field.label, int) else name_text(field.label)
    if isinstance(owner, Variant) and field.type == NULL and not style.numbers:
        return label
    return f"{label} : {_type(field.type, style)}"


def _fitted(type_: Type, before: int, style: _Style) -> str:
    """A declaration's right-hand side: over several lines if it does not fit behind `before` characters."""
    line = _type(type_, style)
    if before + len(line) < _WIDTH:
        return line
    if isinstance(type_, Record | Variant):
        keyword, items = _keyword(type_), [_field(type_, f, style) for f in type_.fields]
    elif isinstance(type_, Service):
        keyword, items = "service", [_method(m, style) for m in type_.methods]
    else:
        return line
    lines = "".join(f"  {item};\n" for item in items)
    return f"{keyword} {{\n{lines}}}"


def _method_lines(method: Method, style: _Style) -> str:
    line = f"  {_method(method, style)};\n"
    func = method.type
    if len(line) <= _WIDTH or not isinstance(func, Func) or len(func.args) < 2:
        return line
    args = ",\n".join(f"    {_arg(a, style)}" for a in func.args)
    rest = _func(Func((), func.results, func.mode), style).removeprefix("()")
    return f"  {name_text(method.name)} : (\n{args}\n  ){rest};\n"
