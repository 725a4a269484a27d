"""Every place in the factory's source that calls another canister, from the syntax tree, and a build that names them.

A site is a `yield` of a call to a Service's method; a `yield` of anything else must be one of a flow of ours, or the
enumeration refuses: no site can hide. The marked build is the factory as it is with one `ic.print` before the statement
of each site, so that the log of a message says which sites its calls came from.
"""

from __future__ import annotations

import ast
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import canister_build
from tests.support.builds import Built

SOURCE = Path(__file__).parents[2] / "src"
PACKAGES = ("factory", "canister_kit")
MARK = "call site "


@dataclass(frozen=True)
class Site:
    """A `yield` that calls another canister: `name` is module, function, method, and a number among those alike."""

    name: str
    method: str
    path: Path
    line: int
    """Where the statement begins."""


class UnknownYield(AssertionError):
    """A `yield` that is neither a call of another canister nor one of a flow."""


@cache
def call_sites() -> tuple[Site, ...]:
    """All sites of the factory, in the order of modules and lines."""
    paths = [path for package in PACKAGES for path in sorted((SOURCE / package).glob("*.py"))]
    trees = {path: ast.parse(path.read_text()) for path in paths}
    services = {method for tree in trees.values() for method in _service_methods(tree)}
    flows = {name for tree in trees.values() for name in _flows(tree)}
    return tuple(site for path, tree in trees.items() for site in _sites_of(path, tree, services, flows))


def _service_methods(tree: ast.Module) -> set[str]:
    return {
        method.name
        for kind in ast.walk(tree)
        if isinstance(kind, ast.ClassDef) and any(ast.unparse(base) == "Service" for base in kind.bases)
        for method in kind.body
        if isinstance(method, ast.FunctionDef)
    }


def _flows(tree: ast.Module) -> set[str]:
    """Functions that are annotated as generators of calls."""
    return {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and function.returns is not None
        and ast.unparse(function.returns).startswith("Async[")
    }


def _sites_of(path: Path, tree: ast.Module, services: set[str], flows: set[str]) -> list[Site]:
    found: list[Site] = []
    tables = _tables_of_flows(tree, flows)
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        seen: dict[str, int] = {}
        for statement, value in _yields(function):
            method = _called_method(function, value, services)
            if method is None:
                if not _is_flow(value, flows, tables):
                    raise UnknownYield(f"{path.name}:{statement.lineno}: what does `{ast.unparse(statement)}` call?")
                continue
            number = seen[method] = seen.get(method, 0) + 1
            name = f"{path.stem}.{function.name}: {method} {number}"
            found.append(Site(name, method, path, statement.lineno))
    return found


def _yields(function: ast.FunctionDef) -> list[tuple[ast.stmt, ast.expr]]:
    """The yields of a function with the innermost statements they are in."""
    found: list[tuple[ast.stmt, ast.expr]] = []
    for statement in ast.walk(function):
        if not isinstance(statement, ast.stmt) or isinstance(statement, ast.FunctionDef):
            continue
        parts = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr)]
        inside = [node for part in parts for node in ast.walk(part) if isinstance(node, ast.Yield)]
        found.extend((statement, node.value) for node in inside if node.value is not None)
    return sorted(found, key=lambda pair: pair[0].lineno)


def _called_method(function: ast.FunctionDef, value: ast.expr, services: set[str]) -> str | None:
    """The Service's method that a yielded value calls, with or without cycles; a name stands for what it was given."""
    if isinstance(value, ast.Name):
        given = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == value.id
        ]
        return _called_method(function, given[0], services) if len(given) == 1 else None
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return None
    if value.func.attr.startswith("with_cycles"):
        return _called_method(function, value.func.value, services)
    return value.func.attr if value.func.attr in services else None


def _is_flow(value: ast.expr, flows: set[str], tables: set[str]) -> bool:
    if not isinstance(value, ast.Call):
        return False
    called = value.func
    if isinstance(called, ast.Subscript):
        return ast.unparse(called.value) in tables
    return isinstance(called, ast.Name | ast.Attribute) and ast.unparse(called).split(".")[-1] in flows


def _tables_of_flows(tree: ast.Module, flows: set[str]) -> set[str]:
    """Names at top level of dictionaries whose values are flows, all of them."""
    return {
        ast.unparse(node.targets[0])
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and all(ast.unparse(value) in flows for value in node.value.values)
    }


def build_marked(folder: Path) -> Built:
    """The factory with its call sites marked."""
    root = folder / "src"
    for package in PACKAGES:
        shutil.copytree(SOURCE / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in {site.path for site in call_sites()}:
        _mark(root / path.relative_to(SOURCE), [site for site in call_sites() if site.path == path])
    artifact = canister_build.build(str(root / "factory"), builder="template", out=folder / "out")
    return Built(artifact.wasm_gz.read_bytes(), artifact.did.read_text())


def _mark(copy: Path, sites: list[Site]) -> None:
    lines = copy.read_text().splitlines(keepends=True)
    for site in sorted(sites, key=lambda site: site.line, reverse=True):
        statement = lines[site.line - 1]
        indent = statement[: len(statement) - len(statement.lstrip())]
        lines.insert(site.line - 1, f'{indent}ic.print("{MARK}{site.name}")\n')
    text = "".join(lines)
    if "ic" not in _imported(ast.parse(text)):
        text = text.replace("from kybra import ", "from kybra import ic, ", 1)
    copy.write_text(text)


def _imported(tree: ast.Module) -> set[str]:
    return {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
