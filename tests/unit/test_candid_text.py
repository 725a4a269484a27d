"""Candid text: what is read comes out again, in both grammars, and mistakes are named with their place."""

import contextlib
import io
from pathlib import Path

import pytest
from antlr4.CommonTokenStream import CommonTokenStream
from antlr4.InputStream import InputStream
from antlr4.tree.Tree import ParseTreeWalker
from hypothesis import given
from ic.parser.DIDEmitter import DIDEmitter, DIDLexer, DIDParser

from canister_build.candid import CandidError, parse, parse_type, plain, render, type_text
from canister_build.candid.types import Field, Opt, Prim, Record, inline, label_hash
from tests.support.candid_strategies import interfaces

CONTRACT = Path(__file__).parents[1] / "contract"


def methods_as_ic_py_reads_them(text: str) -> dict[str, tuple[int, int]]:
    """(arguments, results) by method; fails on any complaint of ic-py's parser."""
    parser = DIDParser(CommonTokenStream(DIDLexer(InputStream(text))))
    with contextlib.redirect_stderr(io.StringIO()) as complaints:
        tree = parser.program()
    assert complaints.getvalue() == ""
    emitter = DIDEmitter()
    ParseTreeWalker().walk(emitter, tree)
    return {name: (len(m.argTypes), len(m.retTypes)) for name, m in emitter.getActor()["methods"].items()}


@given(interfaces())
def test_what_is_written_reads_back_as_the_same(interface):
    assert parse(render(interface)) == interface


@given(interfaces())
def test_the_plain_form_says_the_same_apart_from_composite_queries(interface):
    again = parse(render(interface, plain=True))
    assert again.types.keys() == interface.types.keys()
    assert again.methods().keys() == interface.methods().keys()
    assert (again.init is None) == (interface.init is None)


@pytest.mark.parametrize("name", ["zone", "factory"])
def test_ic_py_reads_the_plain_form(name):
    text = (CONTRACT / f"{name}.did").read_text()
    expected = {name: (len(f.args), len(f.results)) for name, f in parse(text).methods().items()}
    assert methods_as_ic_py_reads_them(plain(text)) == expected


def test_names_that_are_keywords_are_quoted():
    text = 'record { "opt" : nat; "query" : text; from : bool; "two words" : null; "a\\"b" : nat }'
    assert type_text(parse_type(text)) == text


def test_tuples_and_blobs_have_their_short_form_and_a_numbered_one():
    pair = parse_type("record { blob; variant { ok; err : text } }")
    assert type_text(pair) == "record { blob; variant { ok; err : text } }"
    assert type_text(pair, numbered=True) == "record { 0 : blob; 1 : variant { ok : null; err : text } }"


def test_unnumbered_fields_count_on_from_the_last_number():
    assert parse_type("record { 5 : nat; text }") == Record((Field(5, Prim("nat")), Field(6, Prim("text"))))


def test_labels_hash_as_the_specification_says():
    # The base-223 hash, worked out by hand for a short label; two known labels from the specification's examples.
    assert label_hash("ab") == 97 * 223 + 98
    assert label_hash("ok") == 24860
    assert label_hash("err") == 5048165


def test_long_declarations_and_methods_take_a_line_for_each_part():
    fields = "; ".join(f"a_rather_long_field_name_{i} : nat64" for i in range(4))
    args = ", ".join(f"a_rather_long_argument_name_{i} : nat64" for i in range(4))
    text = render(parse(f"type T = record {{ {fields} }}; service : {{ m : ({args}) -> (T) query }}"))
    assert "type T = record {\n  a_rather_long_field_name_0 : nat64;\n" in text
    assert "  m : (\n    a_rather_long_argument_name_0 : nat64,\n" in text
    assert "\n  ) -> (T) query;\n" in text


def test_a_service_may_be_named_and_labels_may_be_escaped():
    interface = parse('type S = service { "caf\\u{e9}\\n" : () -> () }; service : () -> S')
    assert list(interface.methods()) == ["café\n"]
    assert interface.init == ()


def test_one_type_expression_may_be_checked_against_declarations():
    with pytest.raises(CandidError, match="type T is not declared"):
        parse_type("vec T", {})
    with pytest.raises(CandidError, match="expected the end"):
        parse_type("nat nat")


def test_comments_and_names_in_quotes_are_read():
    interface = parse('/* a\nb */ service svc : { "do it" : () -> () oneway; // last\n}')
    assert interface.methods()["do it"].mode == "oneway"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("type A = nat", "line 1, column 13", None),
        ("service : { a : (nat -> () }", "line 1", "expected ',' or ')'"),
        ("service : { a : () -> () }; x", "line 1", "expected the end"),
        ("type A = recordd; service : {}", None, "type recordd is not declared"),
        ("type A = B; type B = A; service : {}", None, "only another name for itself"),
        ("type A = nat; type A = text;", "line 1", "declared twice"),
        ("type A = record { a : nat; a : text };", "line 1", "there twice"),
        ("service : {\n  a : () -> ();\n  a : () -> ();\n}", "line 3", "method a is there twice"),
        ("service : { a : () -> () query oneway }", "line 1", "one mode"),
        ("service : { a : Nat }; ", None, "type Nat is not declared"),
        ("type F = nat; service : { a : F }", None, "method a is not a function"),
        ("type = nat;", "line 1", "expected a type name"),
        ("type A = record { a : nat b };", "line 1", "expected ';' or '}'"),
        ("type A = record { nat : };", "line 1", "expected a type"),
        ("service : { 5 : () -> () }", "line 1", "expected a name"),
        ("type S = nat; service : S", "line 1", "S is not a service"),
        ("service : { a : () () }", "line 1", "expected '->'"),
        ("service : { a : () -> () b : () -> () }", "line 1", "expected ';' or '}'"),
        ("type A = §;", "line 1, column 10", "unexpected '§'"),
    ],
)
def test_mistakes_are_named_with_their_place(text, place, message):
    if message is None:
        parse(text)
        return
    with pytest.raises(CandidError) as error:
        parse(text)
    assert message in str(error.value)
    assert place is None or str(error.value).startswith(place)


def test_inlining_stops_at_a_type_inside_itself():
    types = parse("type L = opt record { nat; L }; type A = vec L; service : {}").types
    assert type_text(inline(types["A"], types)) == "vec opt record { nat; L }"
    assert isinstance(inline(types["L"], types), Opt)
