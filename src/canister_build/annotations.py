"""Turns annotations into Candid types (rules 8, 9 and 11), reporting those Kybra would refuse.

Not for declarations: which names are types is decided in `interface`.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Callable

from .candid.types import Arg, Field, Func, Opt, Prim, Record, Ref, Type, Vec
from .kybra_api import TYPE_NAMES

Report = Callable[[ast.AST, int, str, str], None]

UNKNOWN = Prim("reserved")
"""What a type that could not be read counts as, so that one mistake gives one finding."""

_REPLACEMENTS = {
    "bytes": "blob",
    "float": "float64",
    "dict": "a Record, or Vec[Tuple[key, value]]",
    "list": "Vec[...]",
    "List": "Vec[...]",
    "tuple": "Tuple[...]",
    "Optional": "Opt[...]",
    "Any": "reserved",
    "object": "reserved",
    "None": "void for a result, null elsewhere",
    "set": "Vec[...]",
    "Union": "a Variant",
}
_ALLOWED = "allowed are Kybra's type names, Vec[], Opt[], Tuple[] and the names of declared types"


def type_of(node: ast.expr, known: Callable[[str], bool], report: Report) -> Type:
    """The Candid type an annotation stands for; `known` tells names of declared types."""
    name = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        name = node.id
    if name is not None:
        return _named(node, name, known, report)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return _subscript(node, node.value.id, known, report)
    if isinstance(node, ast.Constant) and node.value is None:
        report(node, 8, "None is no type here", "write void for a result, null elsewhere")
    elif isinstance(node, ast.BinOp):
        report(node, 8, f"{ast.unparse(node)} is no Candid type", "write Opt[...] or declare a Variant")
    elif isinstance(node, ast.Attribute):
        report(node, 8, f"{ast.unparse(node)} is a dotted name", "import the type and write its bare name")
    elif isinstance(node, ast.Call):
        report(node, 11, "a function type inside an annotation", "name it first: F = Func(Query[[...], ...])")
    else:
        report(node, 8, f"{ast.unparse(node)} is no Candid type", _ALLOWED)
    return UNKNOWN


def _named(node: ast.expr, name: str, known: Callable[[str], bool], report: Report) -> Type:
    if name in TYPE_NAMES:
        return TYPE_NAMES[name]
    if name == "void":
        report(node, 13, "void stands for the absence of a result", "write null, or leave the parameter out")
        return UNKNOWN
    if known(name):
        return Ref(name)
    if name in _REPLACEMENTS:
        report(node, 8, f"{name} is no Candid type", f"write {_REPLACEMENTS[name]}")
    elif not name.isidentifier():
        report(node, 8, f"{name!r} is a quoted compound type", "quote only the bare name of a declared type")
    else:
        remedy = "declare it as a Record, Variant, Func or Service, or X = Alias[...] or Tuple[...]; " + _ALLOWED
        report(node, 8, f"{name} is no known type", remedy)
    return UNKNOWN


def _subscript(node: ast.Subscript, outer: str, known: Callable[[str], bool], report: Report) -> Type:
    if outer == "Tuple":
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Record(tuple(Field(i, type_of(part, known, report)) for i, part in enumerate(parts)))
    if outer in ("Vec", "Opt"):
        inner = type_of(node.slice, known, report)
        return Vec(inner) if outer == "Vec" else Opt(inner)
    if outer in ("Async", "Manual"):
        report(node, 8, f"{outer}[...] belongs around a method's whole result", "move it to the outside")
    elif outer == "Alias":
        report(node, 9, "Alias[...] inside an annotation", "name it first: X = Alias[...]")
    else:
        remedy = f"write {_REPLACEMENTS[outer]}" if outer in _REPLACEMENTS else _ALLOWED
        report(node, 8, f"{outer}[...] is no Candid type", remedy)
    return UNKNOWN


def result_of(node: ast.expr, known: Callable[[str], bool], report: Report) -> tuple[Arg, ...]:
    """The results a return annotation stands for: none for void, else one."""
    is_void = (isinstance(node, ast.Name) and node.id == "void") or (
        isinstance(node, ast.Constant) and node.value == "void"
    )
    return () if is_void else (Arg(type_of(node, known, report)),)


def candid_name(name: str) -> str:
    """A field's or argument's Candid name: Python's keywords carry a `_` at the end that Candid does not see."""
    return name[:-1] if name.endswith("_") and keyword.iskeyword(name.rstrip("_")) else name


def func_of(node: ast.expr, known: Callable[[str], bool], report: Report) -> Func | None:
    """The function type `Func(Query[[a, b], r])` stands for; None if it is written otherwise (rule 11)."""
    remedy = "write F = Func(Query[[argument types], result type]), or Update or Oneway for Query"
    arguments = node.args if isinstance(node, ast.Call) and not node.keywords else []
    inner = arguments[0] if len(arguments) == 1 else None
    if not (
        isinstance(inner, ast.Subscript)
        and isinstance(inner.value, ast.Name)
        and inner.value.id in ("Query", "Update", "Oneway")
        and isinstance(inner.slice, ast.Tuple)
        and len(inner.slice.elts) == 2
        and isinstance(inner.slice.elts[0], ast.List)
    ):
        report(node, 11, "function type is not written as Kybra reads it", remedy)
        return None
    args = tuple(Arg(type_of(a, known, report)) for a in inner.slice.elts[0].elts)
    mode = {"Query": "query", "Update": None, "Oneway": "oneway"}[inner.value.id]
    results = () if mode == "oneway" else result_of(inner.slice.elts[1], known, report)
    return Func(args, results, mode)
