"""What the build reads from a canister's source: Candid, the template's method table, the types of services."""

from pathlib import Path

import pytest

from canister_build import SourceError, candid_of
from canister_build.candid import compatible, parse, plain, type_text
from canister_build.interface import read_interface
from canister_build.sources import load
from tests.support.canister_sources import EVERYTHING, write_package

HEAD = "from kybra import Record, Tuple, Variant, Vec, blob, nat, null, query, text, update, void\n"


@pytest.fixture(scope="module")
def interface():
    source = load(str(EVERYTHING))
    return read_interface(source)


def methods(text: str) -> dict[str, str]:
    return {name: type_text(func).removeprefix("func ") for name, func in parse(text).methods().items()}


def test_annotations_become_candid():
    text = candid_of(str(EVERYTHING))
    assert methods(text)["lookup"] == (
        '(who : principal, keys : vec blob, pair : record { nat64; text }, from : opt Person, "empty" : Nothing)'
        " -> (opt Person) query"
    )
    assert methods(text)["ask"].endswith("-> (Outcome) composite_query")
    assert methods(text)["manual"] == "(data : blob) -> (record { nat64; text })"
    types = {name: type_text(type_) for name, type_ in parse(text).types.items()}
    assert types["Outcome"] == 'variant { ok; "import" : Pair; never : empty; err : text }'
    assert types["Pair"] == "record { blob; Person }"
    assert types["Notify"] == "func (nat8) -> () oneway"
    assert types["Remote"].startswith("service { look : (person : Person) -> (opt Outcome) query;")
    assert types["Seconds"] == "nat64"


def test_only_types_the_service_needs_are_declared_in_alphabetical_order():
    types = list(parse(candid_of(str(EVERYTHING))).types)
    assert types == sorted(types)
    assert "GuardResult" not in types


def test_methods_keep_the_order_of_the_source():
    assert list(methods(candid_of(str(EVERYTHING))))[:3] == ["get_version", "numbers", "lookup"]


def test_the_installation_argument_is_that_of_init():
    init = parse(candid_of(str(EVERYTHING))).init
    assert [(a.name, type_text(a.type)) for a in init or ()] == [("owner", "principal"), ("name", "opt text")]


def test_a_canister_without_init_arguments_has_no_constructor(tmp_path):
    text = HEAD + "@query\ndef f() -> void:\n    pass\n"
    assert candid_of(str(write_package(tmp_path, {"main.py": text}))) == "service : {\n  f : () -> () query;\n}\n"


def test_the_generated_text_is_a_subtype_of_itself_and_of_its_plain_form():
    text = candid_of(str(EVERYTHING))
    assert compatible(text, text) == []
    assert [p.method for p in compatible(text, plain(text))] == ["ask"], "only the composite query differs"


def test_types_may_be_declared_in_any_module_and_used_before_their_line(tmp_path):
    files = {
        "main.py": HEAD
        + "from bad.shapes import A\n@query\ndef f(a: A) -> Vec['B']:\n    return []\nB = Tuple[nat, A]\n",
        "shapes.py": HEAD + "class A(Record):\n    next: Vec['A']\n",
    }
    types = parse(candid_of(str(write_package(tmp_path, files)))).types
    assert {name: type_text(t) for name, t in types.items()} == {
        "A": "record { next : vec A }",
        "B": "record { nat; A }",
    }


def test_wrong_types_are_refused_with_all_their_places(tmp_path):
    text = HEAD + "@query\ndef f(a: bytes) -> nat:\n    return 1\n\n@update\ndef g() -> Unknown:\n    pass\n"
    with pytest.raises(SourceError) as error:
        candid_of(str(write_package(tmp_path, {"main.py": text})))
    assert [(f.line, f.rule) for f in error.value.findings] == [(3, 8), (7, 8)]
    assert "bad/main.py:3: rule 8: bytes is no Candid type\n    write blob" in str(error.value)


def test_the_method_table_says_how_each_method_is_run(interface):
    table = {m["name"]: m for m in interface.metadata()["methods"]}
    assert table["lookup"]["guard"] == "members_only"
    assert table["lookup"]["method_type"] == "query"
    assert table["ask"]["method_type"] == "composite_query"
    assert table["manual"]["manual_reply"]
    assert table["manual"]["is_async"]
    assert "is_async" not in table["remember"]
    assert table["remember"]["params"] == [
        {"name": "name", "candid_type": "text"},
        {"name": "data", "candid_type": "blob"},
    ]
    assert table["remember"]["returns"] == "Height"
    assert table["manual"]["returns"] == "record { 0 : nat64; 1 : text }"


def test_the_method_table_has_hooks_and_every_type_they_need(interface):
    metadata = interface.metadata()
    assert set(metadata["lifecycle"]) == {"heartbeat", "init", "inspect_message", "post_upgrade", "pre_upgrade"}
    assert metadata["lifecycle"]["init"]["name"] == "start"
    assert metadata["lifecycle"]["init"]["returns"] == ""
    assert metadata["lifecycle"]["heartbeat"]["is_async"]
    assert metadata["type_defs"]["Pair"] == "record { 0 : blob; 1 : Person }"
    assert metadata["type_defs"]["RejectionCode"].startswith("variant { NoError : null; ")


def test_services_carry_their_types_written_out(interface):
    module = interface.services["Remote"]
    arg_types, return_types = interface.service_types(module)["Remote"]
    person = parse_person(interface)
    assert arg_types["look"] == person
    assert arg_types["push"].startswith("(blob, vec nat, func (vec record { 0 : blob; 1 : record {")
    assert arg_types["ping"] == "()"
    assert "push" not in return_types
    assert return_types["ping"] == "nat"
    assert return_types["look"].startswith("opt variant { ok : null; ")


def parse_person(interface) -> str:
    return type_text(interface.types["Person"], numbered=True).replace("Seconds", "nat64")


def test_stable_maps_are_read(interface):
    assert {m.name: (m.memory_id, type_text(m.key)) for m in interface.maps} == {
        "people": (0, "text"),
        "counts": (254, "nat64"),
    }


@pytest.mark.parametrize("name", ["zone_canister", "factory"])
def test_the_checked_in_interface_is_the_generated_one(name):
    checked_in = Path(__file__).parents[2] / "src" / name / f"{name}.did"
    assert checked_in.read_text() == candid_of(name), f"run: python -m canister_build {name} --write-did"
