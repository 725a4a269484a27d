"""The template's patches, each shown by a canister on wasmtime.

Not a test of the network: calls are answered, timers fired and upgrades made by the test itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from ic import candid
from ic.candid import decode, encode

import canister_build
from tests.canister import template_host
from tests.canister.template_host import CALLER, PAGE, SELF, Answer, CanisterTrap, Host, Message
from tests.canister.template_probe import MAIN
from tests.support.canister_sources import write_package

# ic-py's own annotations of its types contradict each other.
Types: Any = candid.Types
EMPTY_QUERY_LIMIT = 50_000
INIT_LIMIT = 400_000_000
POINT = Types.Record({"x": Types.Int32, "y": Types.Opt(Types.Int32), "from": Types.Text})
BLOB = Types.Vec(Types.Nat8)
PAIR = Types.Tuple(BLOB, Types.Nat64)
OTHER = bytes.fromhex("00000000000000080101")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[wasmtime.Module, wasmtime.Engine]:
    root = tmp_path_factory.mktemp("probe")
    package = write_package(root, {"main.py": MAIN}, package="probe")
    artifact = canister_build.build(str(package), builder="template", out=root / "out")
    engine = template_host.engine()
    return template_host.load(engine, artifact.wasm_gz), engine


@pytest.fixture
def host(compiled: tuple[wasmtime.Module, wasmtime.Engine]) -> Host:
    fresh = Host(*compiled)
    fresh.install(args((Types.Opt(Types.Text), ["hello"])))
    return fresh


@pytest.fixture(scope="module")
def shared(compiled: tuple[wasmtime.Module, wasmtime.Engine]) -> Host:
    """For tests that leave nothing behind."""
    fresh = Host(*compiled)
    fresh.install()
    return fresh


def args(*values: tuple[Any, Any]) -> bytes:
    return encode([{"type": kind, "value": value} for kind, value in values])


def one(answer: Answer) -> Any:
    assert answer.reject is None
    assert answer.reply is not None
    return decode(answer.reply)[0]["value"]


# --- 1. native SHA-2


def test_hashlib_is_native(shared: Host) -> None:
    data = bytes(range(232))
    assert bytes(one(shared.query("sha256", args((BLOB, list(data)))))) == hashlib.sha256(data).digest()
    assert shared.fuel < 100_000
    assert bytes(one(shared.query("sha224", args((BLOB, list(data)))))) == hashlib.sha224(data).digest()


def test_a_missing_module_is_an_import_error(shared: Host) -> None:
    for name in ("socket", "json", "basilisk_sandbox", "_basilisk_sandbox", "_basilisk_cedar", "nonsense"):
        assert one(shared.query("imports", args((Types.Text, name)))).startswith("ModuleNotFoundError")
    for name in ("struct", "typing", "functools", "collections.abc", "kybra"):
        assert one(shared.query("imports", args((Types.Text, name)))) == "there"


# --- 2. arguments by their declared types


def test_arguments_arrive_as_kybra_gives_them(shared: Host) -> None:
    sent = args(
        (Types.Nat, 7), (BLOB, [1, 2]), (Types.Opt(Types.Text), []), (Types.Principal, CALLER), (PAIR, ([3], 4))
    )
    answer = one(shared.query("described", sent))
    assert answer.startswith("int b'\\x01\\x02' None Principal ")
    assert answer.endswith(" (b'\\x03', 4)")


@pytest.mark.parametrize(
    "wrong",
    [
        (Types.Text, "text"),
        (Types.Vec(Types.Nat16), [1]),
        (Types.Vec(Types.Text), []),
        (Types.Nat, 1),
        (Types.Principal, CALLER),
        (Types.Opt(BLOB), [[1]]),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused(shared: Host, wrong: tuple[Any, Any]) -> None:
    with pytest.raises(CanisterTrap, match=r"failed to decode call arguments: needs_blob: value 1 \(blob\)"):
        shared.query("needs_blob", args(wrong))


def test_a_missing_argument_is_refused_and_one_too_many_ignored(shared: Host) -> None:
    with pytest.raises(CanisterTrap, match="it is missing"):
        shared.query("needs_blob")
    assert one(shared.query("needs_blob", args((BLOB, [1]), (Types.Text, "more")))) == 1
    assert one(shared.query("optional")) == []


def test_options_take_what_fits_and_nothing_else(shared: Host) -> None:
    assert one(shared.query("optional", args((Types.Opt(Types.Nat32), [5])))) == [5]
    assert one(shared.query("optional", args((Types.Nat32, 5)))) == [5]
    assert one(shared.query("optional", args((Types.Opt(Types.Text), ["five"])))) == []
    assert one(shared.query("optional", args((Types.Null, None)))) == []


def test_records_and_variants_follow_subtyping(shared: Host) -> None:
    wider = Types.Record({"x": Types.Int32, "from": Types.Text, "more": Types.Vec(Types.Text)})
    answer = shared.query("point", args((wider, {"x": -5, "from": "here", "more": ["a"]})))
    assert one(answer) == {f"_{key}": value for key, value in hashes({"x": -5, "y": [], "from": "here"}).items()}
    with pytest.raises(CanisterTrap, match="a record does not fit the declared record"):
        shared.query("point", args((Types.Record({"x": Types.Int32}), {"x": 1})))
    with pytest.raises(CanisterTrap, match="a variant does not fit the declared variant"):
        shared.query("shape", args((Types.Variant({"square": Types.Nat}), {"square": 1})))


def hashes(record: dict[str, Any]) -> dict[int, Any]:
    """Fields by Candid's hash of their names."""
    found: dict[int, Any] = {}
    for name, value in record.items():
        number = 0
        for byte in name.encode():
            number = (number * 223 + byte) % 2**32
        found[number] = value
    return found


@settings(max_examples=60, deadline=None)
@given(value=st.integers(-(2**200), 2**200))
def test_integers_of_any_size_come_back(shared: Host, value: int) -> None:
    assert one(shared.query("integer", args((Types.Int, value)))) == value


@settings(max_examples=30, deadline=None)
@given(value=st.floats(allow_nan=False))
def test_floats_come_back(shared: Host, value: float) -> None:
    assert one(shared.query("real", args((Types.Float64, value)))) == value


def test_recursive_types_are_read_to_a_depth(shared: Host) -> None:
    def chain(depth: int) -> bytes:
        # type 0 = record { next : opt 0; value : nat8 }, its fields in the order of their hashes
        numbers = hashes({"next": b"\x01", "value": b"\x7b"})
        fields = b"".join(leb(number) + kind for number, kind in sorted(numbers.items()))
        next_first = min(numbers, key=lambda n: n) == next(n for n, kind in numbers.items() if kind == b"\x01")
        value = b"\x00\x01" if next_first else b"\x01\x00"
        for _ in range(depth - 1):
            value = b"\x01" + value + b"\x01" if next_first else b"\x01\x01" + value
        return b"DIDL\x02\x6c\x02" + fields + b"\x6e\x00\x01\x00" + value

    assert one(shared.query("node", chain(10))) == 10
    with pytest.raises(CanisterTrap, match="nested deeper"):
        shared.query("node", chain(200))


def leb(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_values_that_take_no_bytes_are_refused_cheaply(shared: Host) -> None:
    bomb = b"DIDL\x01\x6d\x7f\x01\x00" + leb(2**32)
    with pytest.raises(CanisterTrap, match="decoding quota exceeded"):
        shared.query("units", bomb)
    assert shared.fuel < 200_000
    with pytest.raises(CanisterTrap, match="decoding quota exceeded"):
        shared.query("needs_blob", b"DIDL\x02\x6d\x7b\x6d\x7f\x02\x00\x01\x00" + leb(2**32))
    assert shared.fuel < 200_000
    assert one(shared.query("units", b"DIDL\x01\x6d\x7f\x01\x00" + leb(1000))) == 1000


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=60), prefix=st.sampled_from([b"", b"DIDL", b"DIDL\x01\x6d\x7b\x01\x00", b"DIDL\x00\x01"])
)
def test_broken_messages_trap_and_never_crash(shared: Host, prefix: bytes, data: bytes) -> None:
    for method in ("needs_blob", "point", "shape", "described", "pairs"):
        try:
            shared.query(method, prefix + data)
        except CanisterTrap as trap:
            assert str(trap).startswith("failed to decode call arguments: ")  # noqa: PT017
    with pytest.raises(CanisterTrap):
        shared.query("needs_blob", b"DIDL" + b"\xff" * 40)


# --- results


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("bad_nat8", "bad_nat8: 256 is out of range for nat8"),
        ("bad_record", "bad_record: the dict for record lacks 'y'"),
        ("bad_list", "bad_list: expected list for vec, got tuple"),
        ("float_wanted", "float_wanted: expected float for float64, got int"),
    ],
)
def test_a_result_that_does_not_fit_traps(shared: Host, method: str, text: str) -> None:
    with pytest.raises(CanisterTrap) as trap:
        shared.query(method)
    assert str(trap.value).replace('"', "'") == f"failed to encode the result: {text}"


def test_a_blob_may_be_a_list_of_ints(shared: Host) -> None:
    assert one(shared.query("blob_of_list")) == [1, 2, 255]


def test_exceptions_and_traps_carry_their_text(shared: Host) -> None:
    with pytest.raises(CanisterTrap, match=r"^ValueError: on purpose$"):
        shared.query("raises")
    with pytest.raises(CanisterTrap, match=r"^trapped on purpose$"):
        shared.query("traps")
    assert shared.query("rejects") == Answer(None, "rejected on purpose")
    assert one(shared.query("replies", args((Types.Nat, 41)))) == 42


# --- 3. guards


def test_a_guard_lets_through(shared: Host) -> None:
    assert one(shared.query("guarded_open", args((Types.Nat, 3)))) == 3


def test_a_guard_rejects_with_its_text_before_arguments_are_decoded(host: Host) -> None:
    assert host.update("guarded_shut", b"no Candid at all") == Answer(None, "shut \N{EM DASH} go away")
    assert one(host.query("seen")) == ["init hello"]


def test_a_guard_that_raises_or_answers_nonsense_traps(shared: Host) -> None:
    with pytest.raises(CanisterTrap, match=r"^RuntimeError: the guard broke$"):
        shared.query("guarded_broken")
    with pytest.raises(CanisterTrap, match="must return"):
        shared.query("guarded_odd")


# --- 4. the stable layout


def test_an_installation_over_old_bytes_traps(compiled: tuple[wasmtime.Module, wasmtime.Engine]) -> None:
    host = Host(*compiled, stable=bytes(PAGE))
    with pytest.raises(CanisterTrap, match="stable memory is not empty at installation"):
        host.install()


def test_an_upgrade_keeps_the_maps_and_calls_the_hooks(
    compiled: tuple[wasmtime.Module, wasmtime.Engine], host: Host
) -> None:
    host.update("put", args((Types.Nat64, 1), (BLOB, [1, 2, 3])))
    host.run("canister_pre_upgrade")
    upgraded = Host(*compiled, stable=bytes(host.stable))
    upgraded.upgrade()
    assert one(upgraded.query("seen")) == ["post_upgrade"]
    assert one(upgraded.query("get", args((Types.Nat64, 1)))) == [[1, 2, 3]]
    assert one(upgraded.query("get", args((Types.Nat64, 99)))) == [list(b"saved")]


@pytest.mark.parametrize(
    ("at", "found", "text"),
    [
        (0, b"MGR\x02", "foreign layout: .* begin with 4d475202"),
        (0, b"\0\0\0\0", "foreign layout: .* begin with 00000000"),
        (0, b"VERSION!", "foreign layout: .* begin with 56455253494f4e21"),
        (PAGE, b"BTR\x01", "memory 0 begins with 42545201; expected 42545202"),
        (PAGE, b"SGL\x02", "memory 0 begins with 53474c02"),
    ],
)
def test_an_upgrade_over_a_foreign_layout_traps_and_touches_nothing(
    compiled: tuple[wasmtime.Module, wasmtime.Engine], host: Host, at: int, found: bytes, text: str
) -> None:
    foreign = bytearray(host.stable)
    foreign[at : at + len(found)] = found
    upgraded = Host(*compiled, stable=bytes(foreign))
    with pytest.raises(CanisterTrap, match=text):
        upgraded.upgrade()
    assert upgraded.stable == foreign


# --- 5. no output


def test_ordinary_paths_print_nothing(host: Host) -> None:
    host.query("nothing")
    host.update("put", args((Types.Nat64, 1), (BLOB, [1])))
    with pytest.raises(CanisterTrap):
        host.query("raises")
    assert host.debug == []
    host.update("print_something")
    assert host.debug == [b"one 2", b"three"]


def test_nothing_but_the_system_api_is_imported(compiled: tuple[wasmtime.Module, wasmtime.Engine]) -> None:
    assert {i.module for i in compiled[0].imports} == {"ic0"}


# --- 6. and 8. cost


def test_an_empty_query_and_an_installation_are_cheap(host: Host) -> None:
    assert host.fuel < INIT_LIMIT
    host.query("nothing")
    assert host.fuel < EMPTY_QUERY_LIMIT


def test_a_batch_is_decoded_at_a_fair_price(shared: Host) -> None:
    count = 500
    assert one(shared.query("pairs", args((Types.Vec(PAIR), [([1] * 232, 5)] * count)))) == count
    assert shared.fuel / count < 12_000


# --- 7. calls


def test_a_call_carries_its_declared_types(host: Host) -> None:
    host.update("configure", args((Types.Principal, OTHER)))
    (call,) = host.calls
    assert (call.callee, call.method, call.cycles) == (OTHER, "configure", 10**18)
    sent = decode(call.data)
    settings_sent = {f"_{key}": value for key, value in hashes({"controllers": [], "threshold": [5]}).items()}
    assert [part["value"] for part in sent] == [settings_sent, ["x"]]
    answer = host.reply_to(call, b"DIDL\0\0")
    assert one(answer) == "None None"


def test_answers_reach_the_generator(host: Host) -> None:
    host.update("ask", args((Types.Principal, OTHER), (Types.Text, "key")))
    (call,) = host.calls
    assert decode(call.data)[0]["value"] == "key"
    assert one(host.reply_to(call, args((Types.Nat, 2**100)))) == 2**100


def test_a_reject_and_a_wrong_reply_become_results(host: Host) -> None:
    host.update("ask", args((Types.Principal, OTHER), (Types.Text, "key")))
    assert one(host.reject_to(host.calls[0], 4, "no")) == 0
    host.update("ask", args((Types.Principal, OTHER), (Types.Text, "key")))
    assert one(host.reply_to(host.calls[0], args((Types.Text, "five")))) == 0
    host.perform_code = 2
    assert one(host.update("ask", args((Types.Principal, OTHER), (Types.Text, "key")))) == 0
    rejected, misread, unsent = one(host.query("seen"))[1:]
    assert rejected == "Rejection code 4, no"
    assert misread.startswith("Rejection code 5, failed to decode the reply")
    assert unsent.startswith("Rejection code 2, ")


def test_generators_wait_for_generators(host: Host) -> None:
    host.update("nested", args((Types.Principal, OTHER)))
    host.reply_to(host.calls[0], args((Types.Nat, 3)))
    assert decode(host.calls[0].data)[0]["value"] == "second"
    assert one(host.reply_to(host.calls[0], args((Types.Nat, 4)))) == 7


def test_two_calls_under_way_do_not_mix(host: Host) -> None:
    host.update("ask", args((Types.Principal, OTHER), (Types.Text, "a")))
    first = host.calls[0]
    host.update("ask", args((Types.Principal, OTHER), (Types.Text, "b")))
    second = host.calls[0]
    assert one(host.reply_to(second, args((Types.Nat, 2)))) == 2
    assert one(host.reply_to(first, args((Types.Nat, 1)))) == 1


def test_raw_calls_pass_bytes(host: Host) -> None:
    host.update("raw", args((Types.Principal, OTHER)))
    (call,) = host.calls
    assert call.cycles == 7
    assert [part["value"] for part in decode(call.data)] == [
        {f"_{key}": value for key, value in hashes({"a": 5, "b": "x"}).items()},
        [True],
    ]
    assert one(host.reply_to(call, b"anything")) == list(b"anything")


def test_a_wrong_call_argument_names_method_and_types(host: Host) -> None:
    answer = host.update("wrong_argument", args((Types.Principal, OTHER)))
    assert one(answer) == "Other.get: expected str for text, got int"


def test_a_trap_after_a_call_releases_what_is_held(host: Host) -> None:
    host.update("trap_later", args((Types.Principal, OTHER)))
    (call,) = host.calls
    assert call.cleanup is not None
    with pytest.raises(CanisterTrap, match="too late"):
        host.reply_to(call, args((Types.Nat, 1)))


# --- maps


def test_a_map_gives_back_what_it_got(host: Host) -> None:
    assert one(host.update("put", args((Types.Nat64, 5), (BLOB, [1])))) == []
    assert one(host.update("put", args((Types.Nat64, 5), (BLOB, [2])))) == [[1]]
    assert one(host.query("get", args((Types.Nat64, 5)))) == [[2]]
    assert one(host.update("remove", args((Types.Nat64, 5)))) == [[2]]
    assert one(host.query("get", args((Types.Nat64, 5)))) == []


def test_keys_sort_as_under_kybra(host: Host) -> None:
    assert one(host.update("sorted_keys")) == repr(
        [
            [b"", b"a", b"aa", b"ab", b"b"],
            [-300, -1, 0, 3, 300],
            [0, 5, 255, 256, 1 << 80],
            ["-300", "-1", "0", "3", "300"],
            True,
            5,
        ]
    )


def test_a_map_holds_records(host: Host) -> None:
    host.update("put_text", args((Types.Text, "b"), (POINT, {"x": 1, "y": [], "from": "here"})))
    host.update("put_text", args((Types.Text, "a"), (POINT, {"x": 2, "y": [3], "from": "there"})))
    assert [pair[0] for pair in map(tuple_of, one(host.query("all_texts")))] == ["a", "b"]


def tuple_of(pair: Any) -> tuple[Any, ...]:
    return tuple(pair.values()) if isinstance(pair, dict) else tuple(pair)


def test_an_entry_that_is_too_large_traps_as_under_kybra(host: Host) -> None:
    host.update("put_too_large", args((Types.Nat64, 289)))
    with pytest.raises(CanisterTrap, match="301 bytes with Candid's framing; max_value_size is 300"):
        host.update("put_too_large", args((Types.Nat64, 290)))


# --- timers and the rest of the system API


def test_timers_run_as_messages_of_their_own(host: Host) -> None:
    start = host.now
    host.update("set_timers")
    assert host.timer == start + 10 * 10**9
    seen = run_timers(host, start + 10 * 10**9)
    assert seen == ["init hello", "once"]
    assert host.timer == start + 20 * 10**9
    run_timers(host, start + 20 * 10**9)
    seen = run_timers(host, start + 40 * 10**9)
    assert seen == ["init hello", "once", "again", "again"]


def run_timers(host: Host, now: int) -> list[str]:
    """Lets the platform's timer go off and the canister's calls to itself run."""
    host.now = now
    host.run("canister_global_timer")
    for call in host.calls:
        assert (call.callee, call.method) == (SELF, "<timer>")
        answer = host.run(f"canister_update {call.method}", Message(call.data, SELF, call.method))
        assert answer.reply is not None
        host.reply_to(call, answer.reply)
    return one(host.query("seen"))


def test_a_timer_that_traps_leaves_the_others_running(host: Host) -> None:
    host.update("set_broken_timer")
    host.update("set_timers")
    host.now += 10**9
    host.run("canister_global_timer")
    (call,) = host.calls
    with pytest.raises(CanisterTrap, match="timer broke"):
        host.run(f"canister_update {call.method}", Message(call.data, SELF, call.method))
    host.reject_to(call, 5, "trapped")
    assert "once" in run_timers(host, host.now + 9 * 10**9)


def test_nobody_else_may_run_a_timer(host: Host) -> None:
    with pytest.raises(CanisterTrap, match="timers are run by the canister itself"):
        host.update("<timer>", (1).to_bytes(8, "little"))


def test_the_system_api_tells_about_the_call(shared: Host) -> None:
    caller, self_, time, balance, method = one(shared.query("about")).split()
    assert self_ == "rrkah-fqaaa-aaaaa-aaaaq-cai" or self_.endswith("-cai")
    assert caller.count("-") == 10
    assert (int(time), int(balance), method) == (shared.now, shared.balance, "about")


def test_principals_are_checked(shared: Host) -> None:
    answer = one(shared.update("principals"))
    expected = hashlib.sha224(b"key").digest().hex().upper() + "02"
    assert answer.startswith(f"b'' {expected} 2vxsx-fae ")
    assert "is not a principal" in answer


def test_candid_text_names_fields_by_number(shared: Host) -> None:
    data = args((POINT, {"x": 1000, "y": [-1], "from": 'a"b'}), (Types.Nat, 2**70), (BLOB, [1]))
    text = one(shared.query("decoded", args((BLOB, list(data)))))
    assert "1_000 : int32" in text
    assert "opt (-1 : int32)" in text
    assert '"a\\"b"' in text
    assert "1_180_591_620_717_411_303_424 : nat" in text
    assert text.endswith('blob "\\01")')


def test_the_result_of_the_probe_is_small_enough_to_install(tmp_path: Path) -> None:
    from canister_build.template import locate
    from canister_build.template.recipe import MAX_GZIPPED
    from canister_build.wasm import compress

    assert len(compress(locate().path.read_bytes())) <= MAX_GZIPPED
