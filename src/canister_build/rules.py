"""The rules for canister source that need no types (1 to 4, 7, 16, 27 to 29, 32).

Not for the declarations' own rules: those are reported where `interface` reads them.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator

from .interface import CanisterInterface, base_name
from .kybra_api import DECORATORS, IC_FUNCTIONS, MAP_METHODS, NAMES, STANDARD_MODULES, TYPE_BASES
from .methods import decorator_name
from .sources import Module, Source, ancestors, parse_file

_GRAMMAR = (3, 8)


def check_rules(source: Source, interface: CanisterInterface) -> None:
    """Adds to the source's findings."""
    for module in source.modules:
        _syntax(source, module)
        _top_level(source, module)
        _bare_names(source, module)
        _imports(source, module)
        _attributes(source, module, interface)
    _whole_packages(source)
    _visible_in_entry(source, interface)
    _names_of_files(source)


def _syntax(source: Source, module: Module) -> None:
    try:
        ast.parse(module.text, module.path, feature_version=_GRAMMAR)
    except SyntaxError as error:
        remedy = "Kybra's parser knows the statements of Python 3.8: write if and elif, except, or nested with"
        source.report(module, _begin(module.tree, error.lineno or 1), 1, error.msg, remedy)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            remedy = "write a generator: `result = yield Service(principal).method(...)`, returning Async[...]"
            source.report(module, node, 16, f"{type(node).__name__} (async and await)", remedy)
    for line in _nested_quotes(module.text):
        source.report(module, line, 1, "f-string reuses its own quotes inside", "use the other kind of quotes inside")


def _begin(tree: ast.Module, line: int) -> int:
    """The first line of the statement the parser objected to: it names the line where it noticed, the last."""
    suspects = (n for n in ast.walk(tree) if isinstance(n, ast.With | ast.Match | ast.TryStar))
    return max((n.lineno for n in suspects if n.lineno <= line <= (n.end_lineno or 0)), default=line)


def _nested_quotes(text: str) -> Iterator[int]:
    """Lines where an f-string holds a string with the same quotes, which only Python 3.12 and later parse."""
    start, end = getattr(tokenize, "FSTRING_START", None), getattr(tokenize, "FSTRING_END", None)
    if start is None:
        return
    quotes: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (start, tokenize.STRING):
            quote = token.string.lstrip("rRbBfFuU")
            quote = quote[:3] if quote[:3] in ('"""', "'''") else quote[:1]
            if quote in quotes:
                yield token.start[0]
            if token.type == start:
                quotes.append(quote)
        elif token.type == end:
            quotes.pop()


def _top_level(source: Source, module: Module) -> None:
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        if len(targets) > 1 or any(not isinstance(t, ast.Name) for t in targets):
            text = f"top-level assignment to {', '.join(ast.unparse(t) for t in targets)}"
            source.report(module, node, 2, text, "assign one plain name, or do it inside a function")


def _bare_names(source: Source, module: Module) -> None:
    top_level = {id(node) for node in module.tree.body}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                _decorator(source, module, node, decorator, id(node) in top_level)
        elif isinstance(node, ast.ClassDef):
            for base in node.bases:
                if isinstance(base, ast.Attribute) and base.attr in TYPE_BASES:
                    source.report(
                        module, node, 3, f"{node.name} derives from a dotted {base.attr}", "write its bare name"
                    )
            if base_name(node) and id(node) not in top_level:
                source.report(module, node, 3, f"{node.name} is not at the top level", "move it to the top level")
            if inherited := _declared_bases(source, node):
                text = f"{node.name} derives from {inherited}, a type of its own"
                source.report(module, node, 10, text, "repeat the fields: types do not inherit")


def _declared_bases(source: Source, node: ast.ClassDef) -> str:
    names = {b.id for b in node.bases if isinstance(b, ast.Name)}
    types = (n for m in source.modules for n in m.tree.body if isinstance(n, ast.ClassDef) and base_name(n))
    return next((t.name for t in types if t.name in names), "")


def _decorator(
    source: Source,
    module: Module,
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    decorator: ast.expr,
    is_top_level: bool,
) -> None:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(target, ast.Attribute) and target.attr in DECORATORS:
        text = f"{node.name} is decorated with {ast.unparse(target)}"
        source.report(module, node, 3, text, f"import {target.attr} from kybra and write its bare name")
    elif decorator_name(decorator) in DECORATORS and not (is_top_level and isinstance(node, ast.FunctionDef)):
        remedy = "move it to the top level of a module, as a plain def"
        source.report(module, node, 3, f"{node.name} is not a function at the top level", remedy)


def _imports(source: Source, module: Module) -> None:
    for statement in module.imports:
        top = statement.module.partition(".")[0]
        names = statement.names or ()
        line = statement.line
        if top == "kybra":
            _kybra_import(source, module, statement.module, names == (), line)
            for name in names if statement.module == "kybra" else ():
                if name.name != name.bound:
                    text = f"{name.name} is imported as {name.bound}"
                    source.report(module, line, 3, text, "import it under its own name")
                if name.name not in NAMES:
                    text = f"kybra has no {name.name}" if name.name != "*" else "`from kybra import *`"
                    source.report(module, line, 32, text, "import names of Kybra's API, one by one")
        elif source.find(statement.module) is not None:
            _own_import(source, module, statement.module, statement.is_relative, line)
            if any(n.name == "*" for n in names):
                source.report(module, line, 4, f"`from {statement.module} import *`", "import what you need by name")
        elif statement.is_relative and not statement.module:
            source.report(module, line, 32, "relative import leads out of the package", "name the module in full")
        elif not statement.for_typing_only and not source.is_ours(top):
            _standard_import(source, module, statement.module, [n.name for n in names], line)


def _kybra_import(source: Source, module: Module, name: str, is_whole: bool, line: int) -> None:
    if name.startswith("kybra.canisters"):
        remedy = "declare a Service of your own with the methods you call, or use ic.call_raw"
        source.report(module, line, 29, f"import of {name}: the builders' stubs differ and lack methods", remedy)
    elif name != "kybra":
        source.report(module, line, 32, f"import of {name}", "import from kybra itself")
    elif is_whole:
        source.report(module, line, 3, "`import kybra`", "write `from kybra import ...` and use bare names")


def _own_import(source: Source, module: Module, name: str, is_relative: bool, line: int) -> None:
    if name == source.entry.name:
        remedy = "move what is needed into a module that main.py imports"
        source.report(module, line, 32, "import of the entry file, which Kybra runs as another module", remedy)
    if is_relative and module is source.entry:
        remedy = f"write `from {name} import ...`"
        source.report(module, line, 32, "relative import in main.py, which Kybra runs outside its package", remedy)


def _standard_import(source: Source, module: Module, name: str, names: list[str], line: int) -> None:
    if name not in STANDARD_MODULES:
        remedy = (
            f"both builders have {', '.join(sorted(STANDARD_MODULES))} in full and nothing else; write what you need"
        )
        kind = "standard module" if name.partition(".")[0] in sys.stdlib_module_names else "module"
        source.report(module, line, 32, f"{kind} {name} cannot be had in a canister", remedy)
        return
    allowed = STANDARD_MODULES[name]
    for used in names:
        if allowed is not None and used not in allowed:
            remedy = f"both builders have {', '.join(sorted(allowed))}"
            source.report(module, line, 32, f"{name}.{used} cannot be had in a canister", remedy)


def _attributes(source: Source, module: Module, interface: CanisterInterface) -> None:
    maps = {m.name for m in interface.maps if m.module is module}
    standard: dict[str, str] = {}
    for statement in module.imports:
        origin = source.find(statement.module)
        declared = {m.name for m in interface.maps if m.module is origin}
        maps |= {n.bound for n in statement.names or () if n.name in declared}
        if statement.names is None and statement.module in STANDARD_MODULES:
            standard[statement.bound] = statement.module
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == "__import__":
            source.report(module, node, 32, "__import__ hides what the canister needs", "use an import statement")
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        owner, name = node.value.id, node.attr
        if owner in maps and name not in MAP_METHODS:
            source.report(module, node, 27, f"{owner}.{name}", f"maps have {', '.join(sorted(MAP_METHODS))}")
        elif owner == "ic" and name not in IC_FUNCTIONS:
            remedy = (
                "ask canister_status of the canister itself" if name == "is_controller" else "Kybra has no such call"
            )
            source.report(module, node, 28, f"ic.{name} does not exist under Kybra", remedy)
        elif owner in standard:
            _standard_import(source, module, standard[owner], [name], node.lineno)


def _whole_packages(source: Source) -> None:
    """Kybra copies packages whole, so that every file in them has to compile, imported or not."""
    bundled = {m.path for m in source.modules}
    packages = {p for m in source.modules for p in [*ancestors(m.name), *([m.name] if m.is_package else [])]}
    for package in sorted(packages):
        for file in sorted(source.root.joinpath(*package.split(".")).glob("*.py")):
            path = file.relative_to(source.root).as_posix()
            if path in bundled:
                continue
            finding = parse_file(file, path)[2]
            if finding is not None and finding not in source.findings:
                text = f"{finding.message} (not imported, but Kybra compiles whole packages)"
                source.findings.append(type(finding)(path, finding.line, 7, text, finding.remedy))


def _visible_in_entry(source: Source, interface: CanisterInterface) -> None:
    """Methods and services are looked up in main.py's public names when they are called."""
    entry = source.entry
    exported = _exported(entry)
    callables = [(m.name, m.module, m.node, m.kind) for m in (*interface.methods, *interface.hooks.values())]
    callables += [(name, module, node, "guard") for name, (module, node) in interface.guards.items()]
    callables += [(name, module, module.tree, "service") for name, module in interface.services.items()]
    for name, module, node, kind in callables:
        if name.startswith("_"):
            source.report(
                module, node, 4, f"{kind} {name} starts with an underscore", "rename it: it would not be found"
            )
        elif module is not entry and not any(
            n.name == name == n.bound for s in entry.imports if s.module == module.name for n in s.names or ()
        ):
            remedy = f"add `from {module.name} import {name}` to main.py"
            source.report(
                module, _declaration(module, name, node), 4, f"{kind} {name} is not imported by main.py", remedy
            )
        elif exported is not None and name not in exported:
            source.report(entry, 1, 4, f"__all__ hides {kind} {name}", "add it to __all__, or leave __all__ out")


def _declaration(module: Module, name: str, node: ast.AST) -> ast.AST:
    classes = (n for n in module.tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    return next(classes, node)


def _exported(entry: Module) -> set[str] | None:
    for node in entry.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return {n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return None


def _names_of_files(source: Source) -> None:
    """Kybra puts a copy of every module at the top of the bundle, where it would stand before a standard one."""
    for module in source.modules:
        last = module.name.rpartition(".")[2]
        if last in sys.stdlib_module_names or last == "kybra":
            text = f"module {module.name} has the name of a standard module, which it would hide under Kybra"
            source.report(module, 1, 32, text, "rename the file")
