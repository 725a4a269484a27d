"""Reads import statements and top-level names from a syntax tree.

Not for finding files: it does not know where modules lie.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ImportedName:
    """One name of a `from` import; `bound` is what the importing module calls it."""

    name: str
    bound: str


@dataclass(frozen=True)
class Import:
    """One module named by an import statement."""

    module: str
    """Absolute dotted name; empty if a relative import leads out of all packages."""
    names: tuple[ImportedName, ...] | None
    """What a `from` import takes; None for `import module`."""
    bound: str
    """What `import module` binds: the first part of the name, or the name after `as`."""
    line: int
    is_relative: bool
    runs_at_import: bool
    """Whether it runs when the module is loaded: not in a function and not only for type checkers."""
    for_typing_only: bool


def imports_of(tree: ast.Module, package: str) -> Iterator[Import]:
    """Every import in the tree, in order; `package` is what relative imports count from."""
    yield from _imports(tree.body, package, in_function=False, typing_only=False)


def _imports(body: list[ast.stmt], package: str, *, in_function: bool, typing_only: bool) -> Iterator[Import]:
    for node in body:
        runs = not in_function and not typing_only
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield Import(alias.name, None, bound, node.lineno, False, runs, typing_only)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(ImportedName(a.name, a.asname or a.name) for a in node.names)
            module = _absolute(node, package)
            yield Import(module, names, "", node.lineno, bool(node.level), runs, typing_only)
        else:
            inner = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if isinstance(node, ast.If) and _is_type_checking(node.test):
                yield from _imports(node.body, package, in_function=inner, typing_only=True)
                yield from _imports(node.orelse, package, in_function=inner, typing_only=typing_only)
                continue
            for block in _blocks(node):
                yield from _imports(block, package, in_function=inner, typing_only=typing_only)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - (node.level - 1)]
    return ".".join([*kept, node.module] if node.module else kept) if kept else ""


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The statement lists inside a compound statement."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block
    for handler in getattr(node, "handlers", []):
        yield handler.body
    for case in getattr(node, "cases", []):
        yield case.body


def bound_names(tree: ast.Module) -> Iterator[str]:
    """Every name that running the module's top level binds, in order, repeats included."""
    yield from _bound(tree.body)


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Import):
            yield from (a.asname or a.name.partition(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (a.asname or a.name for a in node.names)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _targets(target)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from _targets(node.target)
        elif isinstance(node, ast.AugAssign | ast.For):
            yield from _targets(node.target)
        elif isinstance(node, ast.With):
            for item in node.items:
                if item.optional_vars is not None:
                    yield from _targets(item.optional_vars)
        for block in _blocks(node):
            yield from _bound(block)


def _targets(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from _targets(element)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value)
