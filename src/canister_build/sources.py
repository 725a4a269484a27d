"""Finds the modules a canister is made of, by reading its imports from main.py on.

Not for what the modules say: types and methods are `interface`, the other rules `rules`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .findings import BuildError, Finding
from .imports import Import, bound_names, imports_of

ENTRY = "main.py"
SOURCE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Module:
    """One file of the canister."""

    name: str
    """Dotted name, for example `zone_canister.store`."""
    path: str
    """Path below the source root, with `/`."""
    text: str
    tree: ast.Module
    is_package: bool

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import statement in the file, with relative names made absolute."""
        return tuple(imports_of(self.tree, self.name if self.is_package else self.name.rpartition(".")[0]))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names the module binds at its top level."""
        return frozenset(bound_names(self.tree))


@dataclass
class Source:
    """A canister's source: its modules in the order they are to run, the entry last."""

    name: str
    """The package that holds main.py; also the canister's name."""
    root: Path
    modules: list[Module] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def entry(self) -> Module:
        """main.py."""
        return self.modules[-1]

    def find(self, name: str) -> Module | None:
        """The bundled module of that dotted name, if there is one."""
        return next((m for m in self.modules if m.name == name), None)

    def is_ours(self, name: str) -> bool:
        """Whether a file or folder below the source root has that dotted name."""
        base = self.root.joinpath(*name.split("."))
        return base.is_dir() or base.with_suffix(".py").is_file()

    def report(self, module: Module, at: ast.AST | int, rule: int, message: str, remedy: str) -> None:
        """Notes one finding at a node or line of a module."""
        line = at if isinstance(at, int) else getattr(at, "lineno", 1)
        self.findings.append(Finding(module.path, line, rule, message, remedy))


def locate(name: str) -> tuple[Path, str]:
    """(source root, package) of a canister, given its name or its folder; raises `BuildError` if it has no main.py."""
    folder = SOURCE_ROOT / name if name.isidentifier() else Path(name).resolve()
    if not (folder / ENTRY).is_file():
        known = sorted(p.parent.name for p in SOURCE_ROOT.glob(f"*/{ENTRY}"))
        raise BuildError(
            f"{name!r} is no canister: there is no {folder.name}/{ENTRY}. "
            f"Give one of {', '.join(known) or '(none found)'}, or the path of a folder with a {ENTRY}."
        )
    if not folder.name.isidentifier():
        raise BuildError(f"{folder.name!r} cannot be a canister's name: it must be a Python package's name.")
    return folder.parent, folder.name


def load(name: str) -> Source:
    """Reads the canister and everything of our own it imports.

    Wrong imports and files that do not parse are in `findings`; raises `BuildError` where there is no such canister.
    """
    root, package = locate(name)
    source = Source(package, root)
    loader = _Loader(source)
    entry = loader.module(f"{package}.main")
    if entry is not None:
        loader.follow(entry)
        source.modules = loader.in_running_order(entry)
    return source


class _Loader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """The module of that dotted name; None if no file of ours has it or the file does not parse."""
        if name not in self.found:
            self.found[name] = self.read(name)
        return self.found[name]

    def read(self, name: str) -> Module | None:
        base = self.source.root.joinpath(*name.split("."))
        is_package = (base / "__init__.py").is_file()
        file = base / "__init__.py" if is_package else base.with_suffix(".py")
        if not file.is_file():
            return None
        path = file.relative_to(self.source.root).as_posix()
        text, tree, finding = parse_file(file, path)
        if finding is not None:
            self.source.findings.append(finding)
        return Module(name, path, text, tree, is_package) if tree is not None else None

    def follow(self, entry: Module) -> None:
        todo = [entry]
        done: set[str] = set()
        while todo:
            module = todo.pop()
            if module.name in done:
                continue
            done.add(module.name)
            todo.extend(self.parents(module))
            for statement in module.imports:
                todo.extend(self.targets(module, statement))

    def parents(self, module: Module) -> Iterator[Module]:
        for name in ancestors(module.name):
            parent = self.module(name)
            if parent is not None:
                yield parent
            else:
                self.source.report(
                    module,
                    1,
                    32,
                    f"package {name} has no __init__.py that can be read",
                    f"add {name.replace('.', '/')}/__init__.py",
                )

    def targets(self, module: Module, statement: Import) -> Iterator[Module]:
        """The modules of ours one import statement needs, its own package's among them."""
        top = statement.module.partition(".")[0]
        if not statement.module or not self.source.is_ours(top):
            return
        target = self.module(statement.module)
        if target is None:
            if statement.module not in self.found or not self.source.is_ours(statement.module):
                self.missing(module, statement, f"there is no module {statement.module}")
            return
        yield target
        for name in statement.names or ():
            submodule = self.module(f"{statement.module}.{name.name}") if target.is_package else None
            if submodule is not None:
                yield submodule
            elif name.name != "*" and name.name not in target.names:
                self.missing(module, statement, f"module {statement.module} has no {name.name}")

    def missing(self, module: Module, statement: Import, message: str) -> None:
        self.source.report(
            module, statement.line, 32, message, "correct the import: the canister would trap at its start"
        )

    def in_running_order(self, entry: Module) -> list[Module]:
        """Modules after those they import, `main` last; a circle of imports is a finding."""
        order: list[Module] = []
        state: dict[str, str] = {}

        def visit(module: Module, path: list[str]) -> None:
            state[module.name] = "running"
            for name in ancestors(module.name):
                parent = self.module(name)
                if parent is not None and name not in state:
                    visit(parent, [*path, module.name])
            for statement in module.imports:
                if not statement.runs_at_import:
                    continue
                for target in self.targets_at_import(module, statement):
                    if state.get(target.name) == "running":
                        stack = [*path, module.name]
                        circle = " -> ".join([*stack[stack.index(target.name) :], target.name])
                        self.source.report(
                            module,
                            statement.line,
                            32,
                            f"imports go in a circle: {circle}",
                            "move what both need into a third module",
                        )
                    elif target.name not in state:
                        visit(target, [*path, module.name])
            state[module.name] = "done"
            order.append(module)

        visit(entry, [])
        for name in sorted(self.found):
            module = self.found[name]
            if module is not None and name not in state:
                visit(module, [])
        return [m for m in order if m is not entry] + [entry]

    def targets_at_import(self, module: Module, statement: Import) -> Iterator[Module]:
        target = self.found.get(statement.module)
        if target is None:
            return
        submodules = [self.found.get(f"{statement.module}.{n.name}") for n in statement.names or ()]
        # `from . import store` in a module of the package needs the package to have begun, not to be complete.
        if not (submodules and all(submodules) and target.name in ancestors(module.name)):
            yield target
        yield from (m for m in submodules if m is not None)


def ancestors(name: str) -> list[str]:
    """The packages around a dotted name, outermost first."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def parse_file(file: Path, path: str) -> tuple[str, ast.Module | None, Finding | None]:
    """(text, syntax tree, finding): the tree is None, and the finding says why, if the file does not parse."""
    raw = file.read_bytes()
    if raw.startswith(b"\xef\xbb\xbf"):
        return "", None, Finding(path, 1, 1, "file starts with a byte order mark", "save it as UTF-8 without one")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return "", None, Finding(path, line, 1, "not UTF-8", "save the file as UTF-8")
    try:
        tree = ast.parse(text, path)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return text, None, Finding(path, line, 1, f"does not parse: {error}", "correct the syntax")
    return text, tree, None
