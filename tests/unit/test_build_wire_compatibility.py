"""Clients of the canisters in production today can talk to ours: Candid subtyping, method by method.

`tests/contract/not_yet_exported.txt` names the methods that are still to come; it may only shrink.
"""

from pathlib import Path

import pytest

from canister_build import candid_of
from canister_build.candid import INIT, compatible, parse

CONTRACT = Path(__file__).parents[1] / "contract"
LIST = CONTRACT / "not_yet_exported.txt"
CANISTERS = {"zone": "zone_canister", "factory": "factory"}

AT_MOST = 39
"""How many names the list had when it was last shortened; lower it with every method that is exported."""

NOT_YET_EXPORTED = LIST.read_text().split()
METHODS = [
    (contract, method)
    for contract in CANISTERS
    for method in (*parse((CONTRACT / f"{contract}.did").read_text()).methods(), INIT)
]


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """Our Candid, by the contract's name."""
    return {contract: candid_of(canister) for contract, canister in CANISTERS.items()}


@pytest.mark.parametrize(("contract", "method"), METHODS, ids=[f"{c}.{m}" for c, m in METHODS])
def test_clients_of_the_contract_can_call_ours(generated, contract, method):
    exported = parse(generated[contract]).methods()
    if f"{contract}.{method}" in NOT_YET_EXPORTED:
        assert method not in exported, f"{contract}.{method} is exported now: take it out of {LIST.name}"
        return
    theirs = (CONTRACT / f"{contract}.did").read_text()
    problems = compatible(generated[contract], theirs, oneway_as_void=True)
    assert [str(p) for p in problems if p.method == method] == []


def test_the_list_of_missing_methods_is_sorted_and_names_methods_of_the_contract():
    assert sorted(set(NOT_YET_EXPORTED)) == NOT_YET_EXPORTED
    assert set(NOT_YET_EXPORTED) <= {f"{contract}.{method}" for contract, method in METHODS}


def test_the_list_of_missing_methods_only_shrinks():
    assert len(NOT_YET_EXPORTED) == AT_MOST, "set AT_MOST to the length of the list; it never rises"


@pytest.mark.parametrize("contract", CANISTERS)
def test_the_contract_serves_its_own_clients(contract):
    text = (CONTRACT / f"{contract}.did").read_text()
    assert compatible(text, text) == []
