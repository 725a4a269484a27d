"""Reads canister methods, hooks, guards and the signatures of services (rules 12 to 16).

Not for types: an annotation's meaning is `annotations`' to say.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .annotations import Report, candid_name, result_of, type_of
from .candid.types import Arg, Func, Method, Service
from .kybra_api import DECORATORS, HOOKS, SERVICE_DECORATORS
from .sources import Module

MAX_PARAMETERS = 5
_WITHOUT_PARAMETERS = HOOKS - {"init", "post_upgrade"}


@dataclass(frozen=True)
class MethodDeclaration:
    """A query, an update or a lifecycle hook as it is declared."""

    name: str
    kind: str
    """The decorator's name."""
    func: Func
    guard: str | None
    is_manual: bool
    is_async: bool
    module: Module
    node: ast.FunctionDef


def decorator_name(decorator: ast.expr) -> str | None:
    """The bare name of a decorator, with or without arguments; None if it is dotted or computed."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return target.id if isinstance(target, ast.Name) else None


def read_method(
    module: Module, node: ast.FunctionDef, known: Callable[[str], bool], report: Report
) -> MethodDeclaration | None:
    """The method or hook a top-level function is, or None if it is neither."""
    decorators = [d for d in node.decorator_list if decorator_name(d) in DECORATORS]
    if not decorators:
        return None
    if len(node.decorator_list) > 1:
        report(node, 13, f"{node.name} has {len(node.decorator_list)} decorators", "keep one")
    kind = decorator_name(decorators[0]) or ""
    args = _parameters(node, node.args.args, known, report)
    inner, is_async, is_manual = _result(node, kind, report)
    results = result_of(inner, known, report) if inner is not None else ()
    yields = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(node))
    if yields and not is_async:
        report(node, 16, f"{node.name} yields but does not return Async[...]", "annotate it -> Async[T]")
    if is_async and not yields:
        report(node, 16, f"{node.name} returns Async[...] but never yields", "annotate it with the bare result")
    if kind in HOOKS:
        _check_hook(node, kind, bool(args), bool(results), is_async, report)
    query_mode = "composite_query" if is_async else "query"
    mode = query_mode if kind == "query" else None
    guard = _guard_name(node, decorators[0], kind, report)
    return MethodDeclaration(node.name, kind, Func(args, results, mode), guard, is_manual, is_async, module, node)


def own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions and classes inside it."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))


def _parameters(
    node: ast.FunctionDef, parameters: list[ast.arg], known: Callable[[str], bool], report: Report, rule: int = 13
) -> tuple[Arg, ...]:
    found = node.args
    if found.vararg or found.kwarg:
        report(node, rule, f"{node.name} takes *args or **kwargs", "name every parameter")
    if found.kwonlyargs or found.posonlyargs:
        report(node, rule, f"{node.name} has keyword-only or positional-only parameters", "leave out `*` and `/`")
    if found.defaults or any(found.kw_defaults):
        report(node, rule, f"{node.name} has default values, which callers never see", "use Opt[...]")
    if len(parameters) > MAX_PARAMETERS:
        text = f"{node.name} has {len(parameters)} parameters, {MAX_PARAMETERS} are allowed"
        report(node, rule, text, "take one Record instead")
    args: list[Arg] = []
    for parameter in parameters:
        if parameter.annotation is None:
            report(parameter, rule, f"parameter {parameter.arg} of {node.name} has no type", "annotate it")
        else:
            args.append(Arg(type_of(parameter.annotation, known, report), candid_name(parameter.arg)))
    return tuple(args)


def _result(node: ast.FunctionDef, kind: str, report: Report) -> tuple[ast.expr | None, bool, bool]:
    """(annotation without its wrappers, is it Async, is it Manual)."""
    inner = node.returns
    if inner is None:
        report(node, 14 if kind in HOOKS else 13, f"{node.name} has no result type", "annotate it, -> void for none")
    wrappers: list[str] = []
    while isinstance(inner, ast.Subscript) and isinstance(inner.value, ast.Name):
        if inner.value.id not in ("Async", "Manual") or inner.value.id in wrappers:
            break
        wrappers.append(inner.value.id)
        inner = inner.slice
    if wrappers == ["Manual", "Async"]:
        report(node, 16, f"{node.name} returns Manual[Async[...]]", "write Async[Manual[...]]")
    if isinstance(inner, ast.Constant) and inner.value is None:
        report(inner, 13, f"{node.name} is annotated -> None", "annotate it -> void")
        inner = None
    return inner, "Async" in wrappers, "Manual" in wrappers


def _check_hook(
    node: ast.FunctionDef, kind: str, has_parameters: bool, has_result: bool, is_async: bool, report: Report
) -> None:
    if has_result:
        report(node, 14, f"{kind} hook {node.name} returns a value", "annotate it -> void")
    if has_parameters and kind in _WITHOUT_PARAMETERS:
        report(node, 14, f"{kind} hook {node.name} takes parameters", "only init and post_upgrade may")
    if is_async and kind != "heartbeat":
        report(node, 14, f"{kind} hook {node.name} is a generator", "only heartbeat may be; set a timer instead")


def _guard_name(node: ast.FunctionDef, decorator: ast.expr, kind: str, report: Report) -> str | None:
    if not isinstance(decorator, ast.Call):
        return None
    guard: str | None = None
    for keyword in decorator.keywords:
        if keyword.arg != "guard":
            report(node, 15, f"decorator of {node.name} has argument {keyword.arg}", "only guard= is allowed")
        elif isinstance(keyword.value, ast.Name):
            guard = keyword.value.id
        else:
            text = f"guard of {node.name} is {ast.unparse(keyword.value)}"
            report(node, 15, text, "give the bare name of a function")
    if decorator.args:
        report(node, 15, f"decorator of {node.name} has positional arguments", "write guard=name")
    if guard is not None and kind in HOOKS:
        report(node, 15, f"{kind} hook {node.name} has a guard", "guards are for queries and updates")
    return guard


def check_guard(node: ast.FunctionDef, report: Report) -> None:
    """Reports what keeps a function from being a guard."""
    arguments = node.args
    if arguments.args or arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
        report(node, 15, f"guard {node.name} takes parameters", "read what it needs from ic.caller() and the like")
    if not (isinstance(node.returns, ast.Name) and node.returns.id == "GuardResult"):
        report(node, 15, f"guard {node.name} is not annotated -> GuardResult", "annotate it so")
    if node.decorator_list:
        report(node, 15, f"guard {node.name} is decorated", "a guard is a plain function")


def read_service(node: ast.ClassDef, known: Callable[[str], bool], report: Report) -> Service:
    """The service a `Service` subclass declares."""
    methods: list[Method] = []
    for item in node.body:
        if not isinstance(item, ast.FunctionDef):
            report(item, 12, f"service {node.name} holds more than methods", "leave out docstrings, fields and pass")
            continue
        names = [d.id if isinstance(d, ast.Name) else "" for d in item.decorator_list]
        if len(names) != 1 or names[0] not in SERVICE_DECORATORS:
            remedy = "decorate it with exactly one of @service_query and @service_update, by bare name"
            report(item, 12, f"method {item.name} of service {node.name} is decorated wrongly", remedy)
            continue
        if not (len(item.body) == 1 and isinstance(item.body[0], ast.Expr) and _is_ellipsis(item.body[0])):
            report(item, 12, f"method {item.name} of service {node.name} has a body", "write `...` and nothing else")
        parameters = item.args.args
        if not parameters or parameters[0].arg != "self":
            report(item, 12, f"method {item.name} of service {node.name} does not take self first", "add self")
            continue
        args = _parameters(item, parameters[1:], known, report, rule=12)
        if item.returns is None:
            report(item, 12, f"method {item.name} of service {node.name} has no result type", "annotate it")
            continue
        mode = "query" if names[0] == "service_query" else None
        methods.append(Method(item.name, Func(args, result_of(item.returns, known, report), mode)))
    if not node.body:
        report(node, 12, f"service {node.name} has no methods", "declare one")
    return Service(tuple(methods))


def _is_ellipsis(statement: ast.Expr) -> bool:
    return isinstance(statement.value, ast.Constant) and statement.value.value is ...
