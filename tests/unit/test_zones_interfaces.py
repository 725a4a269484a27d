"""What the client library declares of methods fits the canisters' Candid: its arguments are taken, replies are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from canister_build.candid import compatible
from localnet import candid as wire
from zones import battery, creations, custody, factory, readings, rollouts, upgrading, zone, zone_index
from zones.calls import Method

SOURCES = Path(__file__).parents[2] / "src"
CLIENTS = {
    "factory": (battery, creations, custody, factory, readings, rollouts, zone_index),
    "zone_canister": (zone, upgrading),
}
METHODS = [
    (canister, method)
    for canister, modules in CLIENTS.items()
    for module in modules
    for value in vars(module).values()
    for method in (value.values() if isinstance(value, dict) else [value])
    if isinstance(method, Method)
]


def written(declared: wire.Type) -> str:
    """A type as a .did file has it."""
    if declared.kind in ("opt", "vec"):
        assert declared.of is not None
        return f"{declared.kind} {written(declared.of)}"
    if declared.kind in ("record", "variant"):
        fields = "; ".join(f"{number} : {written(of)}" for number, _, of in declared.fields)
        return f"{declared.kind} {{ {fields} }}"
    return declared.kind


def service(method: Method) -> str:
    """A method as the client declares it, as the interface of a canister."""
    arguments, results = (", ".join(map(written, types)) for types in (method.arguments, method.results))
    return f"service : {{ {method.name} : ({arguments}) -> ({results}){' query' if method.query else ''} }}"


@pytest.mark.parametrize(("canister", "method"), METHODS, ids=[f"{c}.{m.name}" for c, m in METHODS])
def test_a_client_can_call_the_method_it_declares(canister: str, method: Method) -> None:
    interface = (SOURCES / canister / f"{canister}.did").read_text()
    problems = compatible(interface, service(method))
    assert [str(problem) for problem in problems if problem.method == method.name] == []


def test_the_methods_of_the_clients_are_found() -> None:
    assert len(METHODS) > 80
