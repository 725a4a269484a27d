"""Reads StableBTreeMap declarations (rules 18 to 20).

Not for their contents: keys and values are Candid types like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from .annotations import Report, type_of
from .candid.types import Type
from .sources import Module

_SIZES = ("memory_id", "max_key_size", "max_value_size")
_SHAPE = "write name = StableBTreeMap[K, V](memory_id=0, max_key_size=16, max_value_size=100) at the top level"
MAX_MEMORY_ID = 254
_MAX_SIZE = 2**32 - 1


@dataclass(frozen=True)
class MapDeclaration:
    """One stable map."""

    name: str
    memory_id: int
    key: Type
    value: Type
    module: Module
    node: ast.stmt


def calls_map(node: ast.AST) -> bool:
    """Whether a node constructs a StableBTreeMap, rightly written or not."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func.value if isinstance(node.func, ast.Subscript) else node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name == "StableBTreeMap"


def read_map(module: Module, node: ast.stmt, known: Callable[[str], bool], report: Report) -> MapDeclaration | None:
    """The map a top-level statement declares, or None if it declares none or a wrong one (which is reported)."""
    call = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if not (isinstance(call, ast.Call) and calls_map(call)):
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    types = call.func.slice if isinstance(call.func, ast.Subscript) and isinstance(call.func.value, ast.Name) else None
    if not isinstance(target, ast.Name) or not isinstance(types, ast.Tuple) or len(types.elts) != 2:
        report(node, 18, "map is not declared as Kybra reads it", _SHAPE)
        return None
    sizes = _literals(call, report)
    for part in types.elts:
        if any(isinstance(n, ast.Name) and n.id == "Tuple" for n in ast.walk(part)):
            report(node, 20, f"map {target.id} has an inline Tuple", "name it first: T = Tuple[...]")
        if any(isinstance(n, ast.Name) and n.id == "reserved" for n in ast.walk(part)):
            report(node, 20, f"map {target.id} has reserved in its key or value", "use a type that can be stored")
    if sizes is None:
        return None
    if not 0 <= sizes["memory_id"] <= MAX_MEMORY_ID:
        report(node, 19, f"memory_id {sizes['memory_id']}", f"choose one from 0 to {MAX_MEMORY_ID}")
    for name in _SIZES[1:]:
        if not 0 < sizes[name] <= _MAX_SIZE:
            report(node, 18, f"{name} {sizes[name]}", f"choose one from 1 to {_MAX_SIZE}")
    key, value = (type_of(part, known, report) for part in types.elts)
    return MapDeclaration(target.id, sizes["memory_id"], key, value, module, node)


def _literals(call: ast.Call, report: Report) -> dict[str, int] | None:
    sizes: dict[str, int] = {}
    for keyword in call.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg not in _SIZES or not isinstance(value, int) or isinstance(value, bool):
            report(keyword, 18, f"argument {keyword.arg} of a map is not an integer literal", _SHAPE)
            return None
        sizes[keyword.arg] = value
    if call.args or set(sizes) != set(_SIZES):
        report(call, 18, f"a map needs exactly {', '.join(_SIZES)}, by name", _SHAPE)
        return None
    return sizes


def unique_memory_ids(maps: list[MapDeclaration]) -> list[tuple[MapDeclaration, MapDeclaration]]:
    """(later, earlier) for every map whose memory id another one has already."""
    first: dict[int, MapDeclaration] = {}
    return [(m, first[m.memory_id]) for m in maps if first.setdefault(m.memory_id, m) is not m]
