"""The template's patches, each shown by a canister on wasmtime.

Not a test of the network: calls are answered, timers fired and upgrades made by the test itself.
"""

from __future__ import annotations

import hashlib

import pytest

from canister_build.template import locate
from canister_build.template.recipe import MAX_GZIPPED
from canister_build.wasm import compress
from tests.canister.template.conftest import Compiled
from tests.canister.template.host import PAGE, SELF, Answer, CanisterTrap, Host, Message
from tests.canister.template.values import BLOB, PAIR, POINT, Types, args, named, one, values

EMPTY_QUERY_LIMIT = 50_000
INIT_LIMIT = 400_000_000
OTHER = bytes.fromhex("00000000000000080101")


def test_hashlib_is_native(shared: Host) -> None:
    data = bytes(range(232))
    assert bytes(one(shared.query("sha256", args((BLOB, list(data)))))) == hashlib.sha256(data).digest()
    assert shared.fuel < 100_000
    assert bytes(one(shared.query("sha224", args((BLOB, list(data)))))) == hashlib.sha224(data).digest()


def test_memory_is_copied_moved_and_filled_at_one_instruction_a_byte(shared: Host) -> None:
    sizes = (100_000, 200_000)
    statements = {"copy": "bytearray(V)", "fill": "bytearray(len(V))", "move": "W.insert(0, 7)"}
    for name, statement in statements.items():
        fuel = []
        for size in sizes:
            shared.update(
                "run", args((Types.Text, f"global V, W; V = b'v' * {size}; W = bytearray(V) + bytes(9); del W[-9:]"))
            )
            shared.update("run", args((Types.Text, statement)))
            fuel.append(shared.fuel)
        assert fuel[1] - fuel[0] < 1.1 * (sizes[1] - sizes[0]), name


def test_memory_is_compared_at_three_instructions_a_byte_and_in_the_order_of_bytes(shared: Host) -> None:
    fuel = []
    for size in (100_000, 200_000):
        shared.update("run", args((Types.Text, f"global V, W; V = b'v' * {size}; W = b'v' * {size}")))
        shared.update("run", args((Types.Text, "assert V == W")))
        fuel.append(shared.fuel)
    assert fuel[1] - fuel[0] < 3.1 * 100_000
    pairs = [(bytes(9) + b"\x01" + bytes(n), bytes(9) + b"\x80" + bytes(n)) for n in range(9)]
    pairs += [(b"\x01" + bytes(7) + b"\xff", b"\x02" + bytes(8)), (b"\x7f" * 8, b"\x80" * 8)]
    shared.update("run", args((Types.Text, f"for less, more in {pairs}:\n  assert less < more and not more <= less")))


def test_what_the_source_made_is_no_garbage_to_look_for(shared: Host) -> None:
    shared.update("run", args((Types.Text, "import gc\nassert gc.get_freeze_count() > 1_000, gc.get_freeze_count()")))
    shared.update("run", args((Types.Text, "import gc\ngc.collect()")))
    assert shared.fuel < 1_000_000


def test_a_missing_module_is_an_import_error(shared: Host) -> None:
    for name in ("socket", "json", "basilisk_sandbox", "_basilisk_sandbox", "_basilisk_cedar", "nonsense"):
        assert one(shared.query("imports", args((Types.Text, name)))).startswith("ModuleNotFoundError")
    for name in ("struct", "typing", "functools", "collections.abc", "kybra"):
        assert one(shared.query("imports", args((Types.Text, name)))) == "there"


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


def test_an_installation_over_old_bytes_traps(compiled: Compiled) -> None:
    host = Host(*compiled, stable=bytes(PAGE))
    with pytest.raises(CanisterTrap, match="stable memory is not empty at installation"):
        host.install()


def test_an_upgrade_keeps_the_maps_and_calls_the_hooks(compiled: Compiled, host: Host) -> None:
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
    compiled: Compiled, host: Host, at: int, found: bytes, text: str
) -> None:
    foreign = bytearray(host.stable)
    foreign[at : at + len(found)] = found
    upgraded = Host(*compiled, stable=bytes(foreign))
    with pytest.raises(CanisterTrap, match=text):
        upgraded.upgrade()
    assert upgraded.stable == foreign


def test_ordinary_paths_print_nothing(host: Host) -> None:
    host.query("nothing")
    host.update("put", args((Types.Nat64, 1), (BLOB, [1])))
    with pytest.raises(CanisterTrap):
        host.query("raises")
    assert host.debug == []
    host.update("print_something")
    assert host.debug == [b"one 2", b"three"]


def test_nothing_but_the_system_api_is_imported(compiled: Compiled) -> None:
    assert {i.module for i in compiled[0].imports} == {"ic0"}


def test_an_empty_query_and_an_installation_are_cheap(host: Host) -> None:
    assert host.fuel < INIT_LIMIT
    host.query("nothing")
    assert host.fuel < EMPTY_QUERY_LIMIT


def test_a_batch_is_decoded_at_a_fair_price(shared: Host) -> None:
    count = 500
    assert one(shared.query("pairs", args((Types.Vec(PAIR), [([1] * 232, 5)] * count)))) == count
    assert shared.fuel / count < 12_000


def test_a_call_carries_its_declared_types(host: Host) -> None:
    host.update("configure", args((Types.Principal, OTHER)))
    (call,) = host.calls
    assert (call.callee, call.method, call.cycles) == (OTHER, "configure", 10**18)
    settings_sent = named({"controllers": [], "threshold": [5]})
    assert values(call.data) == [settings_sent, ["x"]]
    answer = host.reply_to(call, b"DIDL\0\0")
    assert one(answer) == "None None"


def test_answers_reach_the_generator(host: Host) -> None:
    host.update("ask", args((Types.Principal, OTHER), (Types.Text, "key")))
    (call,) = host.calls
    assert values(call.data)[0] == "key"
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
    assert values(host.calls[0].data)[0] == "second"
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
    assert values(call.data) == [
        named({"a": 5, "b": "x"}),
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
    assert [key for key, _ in one(host.query("all_texts"))] == ["a", "b"]


def test_an_entry_that_is_too_large_traps_as_under_kybra(host: Host) -> None:
    host.update("put_too_large", args((Types.Nat64, 289)))
    with pytest.raises(CanisterTrap, match="301 bytes with Candid's framing; max_value_size is 300"):
        host.update("put_too_large", args((Types.Nat64, 290)))


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


def test_the_template_leaves_room_for_a_canister_in_an_install_message() -> None:
    assert len(compress(locate().path.read_bytes())) <= MAX_GZIPPED
