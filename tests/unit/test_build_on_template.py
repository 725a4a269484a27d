"""Canisters built on the genuine template start and answer: bundler and rules keep on the Wasm what they promise."""

import ast
import gzip
from pathlib import Path

import pytest
import wasmtime
from ic.candid import Types, decode, encode

from canister_build import build
from canister_build.kybra_api import IC_FUNCTIONS, MAP_METHODS, NAMES, STANDARD_MODULES
from canister_build.template import find
from tests.canister.template.host import CanisterTrap, Host, load
from tests.support.canister_sources import EVERYTHING, write_package

ANONYMOUS = b"\x04"
# ic-py annotates these constructors wrongly.
BLOB = Types.Vec(Types.Nat8)  # pyright: ignore[reportArgumentType]
WORDS = {
    "type": Types.Record({"from": Types.Nat, "opt": Types.Text, "query": Types.Null}),  # pyright: ignore[reportArgumentType]
    "value": {"from": 5, "opt": "x", "query": None},
}
OPT_TEXT = Types.Opt(Types.Text)  # pyright: ignore[reportArgumentType]


API = """
entries = StableBTreeMap[nat, nat](memory_id=0, max_key_size=16, max_value_size=16)


class Words(Record):
    from_: nat
    opt: text
    query: null


class Other(Service):
    @service_update
    def two(self, a: nat, words: Words) -> Opt[Words]: ...

    @service_update
    def none(self) -> void: ...


@query
def missing() -> Vec[text]:
    return [n for n in wanted if not hasattr(ic, n)] + [n for n in wanted_of_maps if not hasattr(entries, n)]


@query
def fail() -> nat:
    return digits("x")


@query
def keys(words: Words) -> text:
    return repr(sorted(words.items()))


@update
def call() -> Async[text]:
    other = Other(Principal.from_str("aaaaa-aa"))
    first = yield other.two(7, {"from_": 5, "opt": "x", "query": None})
    second = yield other.none()
    return repr((other.canister_id.to_str(), first.Ok, first.Err, second.Ok, second.Err))
"""


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    """One that compiles fast and runs slowly: these canisters do little."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


@pytest.fixture(scope="module")
def start(tmp_path_factory, engine):
    """Builds a canister from a package folder and gives its module on the host, not yet installed."""
    if find() is None:
        pytest.skip("there is no template yet; `make wasm` builds it")

    def started(folder: Path) -> Host:
        out = tmp_path_factory.mktemp("built")
        wasm = out / "canister.wasm"
        wasm.write_bytes(gzip.decompress(build(str(folder), builder="template", out=out).wasm_gz.read_bytes()))
        return Host(load(engine, wasm), engine)

    return started


@pytest.fixture(scope="module")
def everything(start) -> Host:
    """The sample canister, installed."""
    host = start(EVERYTHING)
    owner, name = {"type": Types.Principal, "value": "aaaaa-aa"}, {"type": OPT_TEXT, "value": ["ab"]}
    host.install(encode([owner, name]))
    return host


def value_of(reply: bytes | None) -> object:
    assert reply is not None
    return decode(reply)[0]["value"]


def test_a_canister_of_several_modules_starts_and_answers(everything):
    assert value_of(everything.query("get_version").reply) == 7


def test_maps_declared_away_from_main_work(everything):
    argument = encode([{"type": Types.Text, "value": "a"}, {"type": BLOB, "value": list(b"data")}])
    assert value_of(everything.update("remember", argument).reply) == 1


def test_a_guard_in_another_module_refuses(everything):
    answer = everything.update("manual", encode([{"type": BLOB, "value": []}]), caller=ANONYMOUS)
    assert answer.reject == "Not a member of the zone"


@pytest.fixture(scope="module")
def api(start, tmp_path_factory) -> Host:
    """A canister that imports all a canister may, and fails when asked to."""
    lines = [f"from kybra import {', '.join(sorted(NAMES))}"]
    for module, names in sorted(STANDARD_MODULES.items()):
        if names is not None and module != "__future__":
            lines.append(f"from {module} import {', '.join(sorted(names))}")
    lines += [f"wanted = {sorted(IC_FUNCTIONS)!r}", f"wanted_of_maps = {sorted(MAP_METHODS)!r}"]
    folder = tmp_path_factory.mktemp("api")
    files = {
        "main.py": "from bad.digits import digits\n" + "\n".join(lines) + API,
        "digits.py": "def digits(t):\n    return int(t)\n",
    }
    host = start(write_package(folder, files))
    host.install()
    return host


def test_everything_the_rules_allow_is_there(api):
    assert value_of(api.query("missing").reply) == []


def test_an_error_in_a_method_is_told(api):
    with pytest.raises(CanisterTrap, match="ValueError: invalid literal for int"):
        api.query("fail")


def test_fields_named_like_keywords_carry_an_underscore_in_python_only(api):
    assert value_of(api.query("keys", encode([WORDS])).reply) == "[('from_', 5), ('opt', 'x'), ('query', None)]"


def test_calls_send_and_receive_the_types_of_the_service(api):
    api.update("call")
    (first,) = api.calls
    assert (first.callee, first.method) == (b"", "two")
    assert first.data == encode([{"type": Types.Nat, "value": 7}, WORDS])
    api.reply_to(first, encode([{"type": Types.Opt(WORDS["type"]), "value": [WORDS["value"]]}]))
    (second,) = api.calls
    assert (second.method, second.data) == ("none", b"DIDL\0\0")
    answer = api.reply_to(second, b"DIDL\0\0")
    words = {"from_": 5, "opt": "x", "query": None}
    assert ast.literal_eval(str(value_of(answer.reply))) == ("aaaaa-aa", words, None, None, None)
