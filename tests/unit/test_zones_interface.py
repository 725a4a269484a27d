"""The clients' method types against what the canisters declare: a call built here is a call they take."""

from __future__ import annotations

from types import ModuleType

import pytest

import zones.factory
import zones.zone
from canister_build import candid_of
from canister_build.candid import INIT, compatible
from localnet.candid import BLOB, Type
from zones.calls import Method


def text_of(kind: Type) -> str:
    """The Candid text of a client's type; fields are written as the numbers their labels stand for."""
    if kind == BLOB:
        return "blob"
    if kind.of is not None:
        return f"{kind.kind} {text_of(kind.of)}"
    if kind.kind in ("record", "variant"):
        return kind.kind + " { " + "".join(f"{number} : {text_of(of)}; " for number, _, of in kind.fields) + "}"
    return kind.kind


def interface_of(client: ModuleType) -> str:
    methods = [value for value in vars(client).values() if isinstance(value, Method)]
    assert len(methods) > 8
    lines = []
    for method in methods:
        arguments, results = (", ".join(map(text_of, types)) for types in (method.arguments, method.results))
        lines.append(f"{method.name} : ({arguments}) -> ({results}){' query' if method.query else ''};")
    return "service : { " + "\n".join(lines) + " }"


@pytest.mark.parametrize(("canister", "client"), [("zone_canister", zones.zone), ("factory", zones.factory)])
def test_the_canister_takes_and_gives_what_its_client_declares(canister: str, client: ModuleType) -> None:
    problems = compatible(candid_of(canister), interface_of(client))
    assert [problem for problem in problems if problem.method != INIT] == []  # a client installs nothing
