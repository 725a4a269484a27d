"""The canister's interface as its source declares it: types, methods, hooks, services, maps (rules 5, 6, 8 to 20).

Not for running anything: a canister module is never imported here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from .annotations import Report, candid_name, func_of, type_of
from .candid import types as candid
from .candid.render import type_text
from .kybra_api import DECLARED_TYPES, HOOKS, RUST_NAMES, TYPE_BASES
from .methods import MethodDeclaration, check_guard, read_method, read_service
from .sources import Module, Source
from .stable_maps import MapDeclaration, calls_map, read_map, unique_memory_ids


@dataclass
class CanisterInterface:
    """What the source declares, in the order of its modules and lines."""

    types: dict[str, candid.Type] = field(default_factory=dict)
    """Every declared type by name, Kybra's own included."""
    methods: list[MethodDeclaration] = field(default_factory=list)
    """Queries and updates."""
    hooks: dict[str, MethodDeclaration] = field(default_factory=dict)
    """Lifecycle hooks by kind."""
    guards: dict[str, tuple[Module, ast.FunctionDef]] = field(default_factory=dict)
    services: dict[str, Module] = field(default_factory=dict)
    """The module each Service subclass is declared in."""
    maps: list[MapDeclaration] = field(default_factory=list)

    def candid(self) -> candid.Interface:
        """The public interface: the types it needs by name, methods in the order of the source."""
        methods = tuple(candid.Method(m.name, m.func) for m in self.methods)
        service = candid.Service(methods)
        init = self.hooks["init"].func.args if "init" in self.hooks else ()
        names = candid.reachable([service, *(a.type for a in init)], self.types)
        return candid.Interface({n: self.types[n] for n in sorted(names)}, service, init or None)

    def metadata(self) -> dict[str, object]:
        """Methods, hooks and types as the template reads them: JSON-able, type texts with numbered tuples."""
        funcs: list[candid.Type] = [m.func for m in (*self.methods, *self.hooks.values())]
        names = candid.reachable([*funcs, *(candid.Ref(name) for name in self.services)], self.types)
        return {
            "methods": [_method_metadata(m) for m in self.methods],
            "lifecycle": {kind: _method_metadata(self.hooks[kind]) for kind in sorted(self.hooks)},
            "type_defs": {n: type_text(self.types[n], numbered=True) for n in sorted(names)},
        }

    def service_types(self, module: Module) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
        """For each service a module declares, (argument types, result types) by method, written out without names.

        A method's arguments are one type text, or `(a, b)` where there is not exactly one; void results are left out.
        """
        found: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        for name, declared_in in self.services.items():
            service = self.types[name]
            if declared_in is not module or not isinstance(service, candid.Service):
                continue
            args: dict[str, str] = {}
            results: dict[str, str] = {}
            for method in service.methods:
                func = candid.inline(method.type, self.types)
                if not isinstance(func, candid.Func):
                    continue
                texts = [type_text(a.type, numbered=True) for a in func.args]
                args[method.name] = texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
                if func.results:
                    results[method.name] = type_text(func.results[0].type, numbered=True)
            found[name] = (args, results)
        return found


def _method_metadata(method: MethodDeclaration) -> dict[str, object]:
    func = method.func
    params = [
        {"name": arg.name or f"arg{i}", "candid_type": type_text(arg.type, numbered=True)}
        for i, arg in enumerate(func.args)
    ]
    returns = type_text(func.results[0].type, numbered=True) if func.results else ""
    kind = "composite_query" if func.mode == "composite_query" else method.kind
    data: dict[str, object] = {"name": method.name, "method_type": kind, "params": params, "returns": returns}
    if method.guard is not None:
        data["guard"] = method.guard
    if method.is_manual:
        data["manual_reply"] = True
    if method.is_async:
        data["is_async"] = True
    return data


def read_interface(source: Source) -> CanisterInterface:
    """Reads all modules of `source`; what is wrong goes to its findings."""
    reader = _Reader(source)
    reader.declare()
    reader.read()
    return reader.interface


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.interface = CanisterInterface(types=dict(DECLARED_TYPES))
        self.declared: dict[str, str] = dict.fromkeys(DECLARED_TYPES, "Kybra itself")
        self.type_names: set[str] = set(DECLARED_TYPES)

    def report(self, module: Module) -> Report:
        def add(node: ast.AST, rule: int, message: str, remedy: str) -> None:
            self.source.report(module, node, rule, message, remedy)

        return add

    def statements(self) -> Iterator[tuple[Module, ast.stmt]]:
        for module in self.source.modules:
            for node in module.tree.body:
                yield module, node

    def known(self, name: str) -> bool:
        return name in self.type_names

    def declare(self) -> None:
        """Collects the names of types first: a type may be used before the module that declares it is read."""
        for module, node in self.statements():
            name = type_name(node)
            if name is not None:
                self.claim(module, node, name, "type")
                self.type_names.add(name)
                if name in RUST_NAMES:
                    self.report(module)(node, 6, f"type {name} has a name that means something to Rust", "rename it")

    def claim(self, module: Module, node: ast.AST, name: str, what: str) -> None:
        place = f"{module.path}:{getattr(node, 'lineno', 1)}"
        if name in self.declared:
            text = f"{what} {name} is declared by {self.declared[name]} already"
            self.report(module)(node, 5, text, "rename one: all modules share one namespace")
        else:
            self.declared[name] = place

    def read(self) -> None:
        for module, node in self.statements():
            report = self.report(module)
            if isinstance(node, ast.ClassDef) and type_name(node):
                self.interface.types[node.name] = self.class_type(module, node, report)
            elif isinstance(node, ast.FunctionDef):
                self.function(module, node, report)
            elif (alias := alias_value(node)) is not None and (name := type_name(node)):
                self.interface.types[name] = self.alias_type(alias, report)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                declaration = read_map(module, node, self.known, report)
                if declaration is not None:
                    self.interface.maps.append(declaration)
        self.check_guards()
        for later, earlier in unique_memory_ids(self.interface.maps):
            text = f"memory_id {later.memory_id} of map {later.name} is {earlier.name}'s"
            self.report(later.module)(later.node, 19, text, "give each map a memory_id of its own")
        self.misplaced_maps()
        self.self_references()

    def class_type(self, module: Module, node: ast.ClassDef, report: Report) -> candid.Type:
        base = base_name(node)
        if len(node.bases) != 1:
            report(node, 12 if base == "Service" else 10, f"{node.name} has {len(node.bases)} bases", f"keep {base}")
        if base == "Service":
            self.interface.services[node.name] = module
            return read_service(node, self.known, report)
        for keyword in node.keywords:
            if keyword.arg != "total":
                report(node, 10, f"{node.name} has class argument {keyword.arg}", "only total= is allowed")
        fields = tuple(self.fields(node, base, report))
        return candid.Record(fields) if base == "Record" else candid.Variant(fields)

    def fields(self, node: ast.ClassDef, base: str, report: Report) -> Iterator[candid.Field]:
        seen: set[str] = set()
        for item in node.body:
            if base == "Record" and isinstance(item, ast.Expr) and _is_constant(item.value, ...):
                continue
            if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
                report(item, 10, f"{node.name} holds more than `name: type` lines", "move the rest out of the class")
                continue
            if item.value is not None:
                text = f"{node.name}.{item.target.id} has a default, which Candid ignores"
                report(item, 10, text, "leave it out; set the value where the record is made")
            name = candid_name(item.target.id)
            if name in seen:
                report(item, 10, f"{node.name}.{name} is there twice", "keep one")
                continue
            seen.add(name)
            yield candid.Field(name, type_of(item.annotation, self.known, report))

    def alias_type(self, value: ast.expr, report: Report) -> candid.Type:
        if isinstance(value, ast.Call):
            return func_of(value, self.known, report) or candid.Func((), ())
        if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name) and value.value.id == "Alias":
            return type_of(value.slice, self.known, report)
        return type_of(value, self.known, report)

    def function(self, module: Module, node: ast.FunctionDef, report: Report) -> None:
        method = read_method(module, node, self.known, report)
        if method is None:
            return
        self.claim(module, node, node.name, method.kind)
        if method.kind not in HOOKS:
            self.interface.methods.append(method)
        elif method.kind in self.interface.hooks:
            first = self.interface.hooks[method.kind]
            text = f"{method.kind} hook {node.name}: {first.name} in {first.module.path} is one already"
            report(node, 14, text, "keep one and call the rest from it")
        else:
            self.interface.hooks[method.kind] = method

    def check_guards(self) -> None:
        functions: dict[str, tuple[Module, ast.FunctionDef]] = {}
        for module, node in self.statements():
            if isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, (module, node))
        for method in self.interface.methods:
            if method.guard is None or method.guard in self.interface.guards:
                continue
            found = functions.get(method.guard)
            if found is None:
                text = f"guard {method.guard} of {method.name} is no top-level function"
                self.report(method.module)(method.node, 15, text, f"declare def {method.guard}() -> GuardResult")
                continue
            self.interface.guards[method.guard] = found
            self.claim(*found, method.guard, "guard")
            check_guard(found[1], self.report(found[0]))

    def misplaced_maps(self) -> None:
        """A map anywhere but in a top-level assignment is none for Kybra, and it does not say so."""
        for module in self.source.modules:
            top = {id(n.value) for n in module.tree.body if isinstance(n, ast.Assign | ast.AnnAssign) and n.value}
            for node in ast.walk(module.tree):
                if calls_map(node) and id(node) not in top:
                    remedy = "declare the map at the top level of a module and pass it on from there"
                    self.report(module)(node, 18, "map is not declared at the top level", remedy)

    def self_references(self) -> None:
        for module, node in self.statements():
            name = type_name(node)
            try:
                if name is not None:
                    candid.Interface(self.interface.types, candid.Service(())).resolve(candid.Ref(name))
            except candid.CandidError as error:
                self.report(module)(node, 9, str(error), "let the alias name another type")


def base_name(node: ast.ClassDef) -> str:
    """Which of Record, Variant and Service a class derives from; empty for none."""
    return next((b.id for b in node.bases if isinstance(b, ast.Name) and b.id in TYPE_BASES), "")


def alias_value(node: ast.stmt) -> ast.expr | None:
    """The right-hand side of a top-level `X = Alias[...]`, `Tuple[...]` or `Func(...)`."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    head = value.value if isinstance(value, ast.Subscript) else value.func if isinstance(value, ast.Call) else None
    wanted = ("Alias",) if isinstance(value, ast.Subscript) else ("Func",)
    if isinstance(value, ast.Subscript) and isinstance(node, ast.Assign):
        wanted = ("Alias", "Tuple")  # Kybra overlooks an annotated `X: ... = Tuple[...]`
    return value if isinstance(head, ast.Name) and head.id in wanted else None


def type_name(node: ast.stmt) -> str | None:
    """The name of the type a top-level statement declares, if it declares one."""
    if isinstance(node, ast.ClassDef):
        return node.name if base_name(node) else None
    if alias_value(node) is None:
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else None


def _is_constant(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
