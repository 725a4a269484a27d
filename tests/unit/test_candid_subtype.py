"""Candid subtyping: the rules of the specification one by one, then as properties over any types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canister_build.candid import INIT, compatible, parse, parse_type, render, subtype_reason
from canister_build.candid.types import Field, Interface, Opt, Prim, Record, Service, Type, Variant, Vec
from tests.support.candid_strategies import interfaces, types

EXTRA = Field("an extra label", Prim("text"))


def is_subtype(sub: str, sup: str, *, lossy: bool = True) -> bool:
    return subtype_reason(parse_type(sub), parse_type(sup), allow_lossy_opt=lossy) is None


@pytest.mark.parametrize(
    ("sub", "sup"),
    [
        ("nat", "int"),
        ("vec nat", "vec int"),
        ("empty", "nat"),
        ("text", "reserved"),
        ("null", "opt nat"),
        ("nat", "opt int"),
        ("opt nat", "opt int"),
        ("blob", "vec nat8"),
        ("record { a : nat; b : text }", "record { a : int }"),
        ("record {}", "record { a : opt nat }"),
        ("record {}", "record { a : reserved; b : null }"),
        ("record { nat; text }", "record { 1 : text; 0 : int }"),
        ("variant { a }", "variant { b : nat; a }"),
        ("variant {}", "variant { a }"),
        ("func (int) -> (nat) query", "func (nat) -> (int) query"),
        ("func (int, opt text) -> (nat, text)", "func (nat) -> (int)"),
        ("service { a : () -> (); b : () -> () }", "service { a : () -> () }"),
        ("service { a : (int) -> () }", "service { a : (nat) -> () }"),
    ],
)
def test_a_subtype_may_stand_for_its_supertype(sub, sup):
    assert is_subtype(sub, sup)
    assert is_subtype(sub, sup, lossy=False)


@pytest.mark.parametrize(
    ("sub", "sup"),
    [
        ("int", "nat"),
        ("nat8", "nat"),
        ("nat32", "nat64"),
        ("text", "blob"),
        ("opt nat", "nat"),
        ("vec int", "vec nat"),
        ("record { a : int }", "record { a : nat }"),
        ("record {}", "record { a : nat }"),
        ("record { nat }", "record { nat; nat }"),
        ("variant { a; b }", "variant { a }"),
        ("variant { a : int }", "variant { a : nat }"),
        ("record { a : nat }", "variant { a : nat }"),
        ("func (nat) -> ()", "func (int) -> ()"),
        ("func () -> (int)", "func () -> (nat)"),
        ("func (text) -> ()", "func () -> ()"),
        ("func () -> ()", "func () -> () query"),
        ("func () -> () query", "func () -> ()"),
        ("func () -> () composite_query", "func () -> () query"),
        ("service {}", "service { a : () -> () }"),
        ("reserved", "nat"),
        ("principal", "service {}"),
    ],
)
def test_other_pairs_may_not(sub, sup):
    assert not is_subtype(sub, sup)


@pytest.mark.parametrize(("sub", "sup"), [("text", "opt nat"), ("opt text", "opt nat"), ("reserved", "opt nat")])
def test_a_value_lost_to_null_counts_only_where_it_is_allowed(sub, sup):
    assert is_subtype(sub, sup, lossy=True)
    assert not is_subtype(sub, sup, lossy=False)


def test_recursive_types_are_compared():
    env = parse("type L = opt record { nat; L }; type M = opt record { int; M }; service : {}")
    left, right = parse_type("L"), parse_type("M")
    assert subtype_reason(left, right, env, allow_lossy_opt=False) is None
    assert subtype_reason(right, left, env, allow_lossy_opt=False) is not None


def test_recursion_through_function_arguments_ends():
    env = parse("type F = func (F) -> (); type G = func (G) -> (opt nat); service : {}")
    assert subtype_reason(parse_type("G"), parse_type("F"), env) is None
    assert subtype_reason(parse_type("F"), parse_type("G"), env) is None


@given(interfaces())
def test_every_interface_serves_its_own_clients(interface):
    text = render(interface)
    assert compatible(text, text) == []


@given(types())
def test_every_type_is_its_own_subtype(type_):
    assert subtype_reason(type_, type_, allow_lossy_opt=False) is None


@given(types())
def test_empty_is_below_and_reserved_above_everything(type_):
    assert subtype_reason(Prim("empty"), type_, allow_lossy_opt=False) is None
    assert subtype_reason(type_, Prim("reserved"), allow_lossy_opt=False) is None


@st.composite
def widened(draw: st.DrawFn, type_: Type) -> Type:
    """A supertype of `type_`, by one of the rules."""
    ways: list[Type] = [Prim("reserved"), type_]
    if not isinstance(type_, Opt) and type_ not in (Prim("null"), Prim("reserved")):
        ways.append(Opt(type_))
    if type_ == Prim("nat"):
        ways.append(Prim("int"))
    if isinstance(type_, Opt | Vec):
        ways.append(type(type_)(draw(widened(type_.inner))))
    if isinstance(type_, Variant):
        ways.append(Variant((*type_.fields, EXTRA)) if EXTRA not in type_.fields else type_)
    if isinstance(type_, Record) and type_.fields:
        first, *rest = type_.fields
        ways.append(Record(tuple(rest)))
        ways.append(Record((Field(first.label, draw(widened(first.type))), *rest)))
    return draw(st.sampled_from(ways))


@given(st.data(), types())
def test_what_is_widened_twice_is_a_supertype_of_the_first(data, narrow):
    middle = data.draw(widened(narrow))
    wide = data.draw(widened(middle))
    for sub, sup in ((narrow, middle), (middle, wide), (narrow, wide)):
        assert subtype_reason(sub, sup) is None


def test_each_method_that_breaks_is_named_with_the_reason():
    ours = "type T = record { a : nat }; service : (text) -> { x : (T) -> (); y : () -> (opt text); z : () -> () }"
    contract = "service : (nat) -> { x : (record {}) -> (); y : () -> (text); w : () -> () }"
    problems = {p.method: p.message for p in compatible(ours, contract)}
    assert set(problems) == {"x", "y", "w", INIT}
    assert "field a : nat is missing" in problems["x"]
    assert problems["w"] == "is missing"


def test_a_type_that_fails_in_one_method_does_not_pass_in_the_next():
    ours = "type T = record { a : text }; service : { x : () -> (T); y : () -> (T) }"
    contract = "type T = record { a : nat }; service : { x : () -> (T); y : () -> (T) }"
    assert {p.method for p in compatible(ours, contract)} == {"x", "y"}


def test_an_installation_argument_may_grow_by_an_optional_field():
    contract = "service : (record { a : text }) -> {}"
    assert compatible("service : (record { a : text; b : opt nat }) -> {}", contract) == []
    assert [p.method for p in compatible("service : (record { a : text; b : nat }) -> {}", contract)] == [INIT]


def test_oneway_is_accepted_as_a_void_update_only_when_asked_for():
    ours, contract = "service : { x : () -> () }", "service : { x : () -> () oneway }"
    assert [p.method for p in compatible(ours, contract)] == ["x"]
    assert compatible(ours, contract, oneway_as_void=True) == []
    assert compatible("service : { x : () -> () query }", contract, oneway_as_void=True) != []


def test_ignored_methods_are_not_looked_at():
    assert compatible("service : {}", "service : { x : () -> () }", ignore=frozenset({"x"})) == []


def test_an_unknown_name_is_an_error_and_no_answer():
    env = Interface({}, Service(()))
    with pytest.raises(Exception, match="type T is not declared"):
        subtype_reason(parse_type("T"), Prim("nat"), env)
