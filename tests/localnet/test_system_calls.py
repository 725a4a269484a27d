"""System calls cost what the replica's table says, by the call and by the byte."""

import re
from dataclasses import replace

import pytest

from localnet import system_calls
from localnet.errors import ErrorCode, RejectCode
from localnet.message import CanisterView, Context, Mode, Rejection
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.prices import Limits, Prices
from localnet.runtime import Outcome, Runtime, SnapshotPool
from localnet.system_api import signatures
from localnet.system_calls import DIRTY_PAGE, PRICES, STABLE_ACCESS, STABLE_GROW, STABLE_SIZE
from tests.localnet.wat import canister, number

CACHE = ModuleCache(signatures())
NETWORK = Network(["Application"], CACHE)
STABLE_PAGES = 3
LIMIT = Limits().update
VIEW = CanisterView(b"\x01" * 10, b"\x02" * 29, frozenset(), 1, 0, 0, environment={"": "v" * 20, "n" * 20: ""})
BYTES = 8
"""What every size is in the calls below."""
NEW_CALL = "(call $call_new {})".format("(i32.const 0)" * 8)
MODES = {
    **dict.fromkeys(("accept_message", "msg_method_name_size", "msg_method_name_copy"), Mode.INSPECT),
    **dict.fromkeys(("data_certificate_size", "data_certificate_copy"), Mode.QUERY),
    **dict.fromkeys(("msg_reject_msg_size", "msg_reject_msg_copy"), Mode.REJECT),
    **dict.fromkeys(("msg_reject_code", "msg_cycles_refunded", "msg_cycles_refunded128"), Mode.REPLY),
}
"""Where a function may be called, if not in an update."""


def run(calls: str, mode: Mode = Mode.UPDATE, limit: int = LIMIT) -> tuple[Outcome, Context]:
    """What a function did that makes the calls; its heap is zero, its stable memory has `STABLE_PAGES` pages."""
    module = CACHE.get(canister(f'(func (export "canister_update go") {calls})'))
    services = replace(NETWORK.services(Prices()), data_certificate=lambda _canister: bytes(100))
    start = Context(Mode.START, VIEW, 0, LIMIT)
    runtime = Runtime(module, services, NETWORK.shims, SnapshotPool(), start, bytes(STABLE_PAGES * 65536))
    context = Context(mode, VIEW, 0, limit, arg=bytes(100), caller=bytes(29), method="m" * 20, balance=10**15)
    context.reject = Rejection(RejectCode.CANISTER_REJECT, "r" * 20, 0)
    context.certificate = True
    runtime.begin(context)
    outcome = runtime.run_export("canister_update go")
    runtime.undo()
    return outcome, context


def cost(call: str, before: str = "", mode: Mode = Mode.UPDATE) -> tuple[int, int]:
    """Instructions that a call adds: those of the canister's own code beyond its operators, and the system's."""
    without, with_it = run(before, mode)[0], run(before + call, mode)[0]
    assert without.error is None
    assert with_it.error is None
    operators = len(re.findall(r"\((?!drop)", call))
    return with_it.fuel - without.fuel - operators, with_it.system_calls - without.system_calls


def call_of(name: str) -> str:
    """The text of a call: every size is `BYTES`, everything else is 0."""
    kind = signatures()[name]
    sizes = PRICES[name].sizes
    arguments = [f"({kind}.const {BYTES if index in sizes else 0})" for index, kind in enumerate(map(str, kind.params))]
    call = f"(call ${name} {' '.join(arguments)})"
    return f"(drop {call})" if kind.results else call


def stable(name: str, *arguments: int) -> str:
    """The text of a call of a stable-memory function."""
    kind = signatures()[name]
    call = "(call ${} {})".format(
        name, " ".join(f"({p}.const {a})" for p, a in zip(kind.params, arguments, strict=True))
    )
    return f"(drop {call})" if kind.results else call


def test_every_system_call_has_a_price() -> None:
    assert {name for name in signatures() if not name.startswith("stable")} == PRICES.keys()


@pytest.mark.parametrize("name", sorted(PRICES.keys() - {"trap", "debug_print", "env_var_name_copy"}))
def test_a_system_call_costs_its_price_and_nothing_else(name: str) -> None:
    before = NEW_CALL if name.startswith("call_") and name != "call_new" else ""
    price = PRICES[name]
    expected = price.fixed + price.per_byte * BYTES * len(price.sizes)
    assert cost(call_of(name), before, MODES.get(name, Mode.UPDATE)) == (0, expected)


def test_copying_the_name_of_a_variable_costs_by_the_byte() -> None:
    call = "(call $env_var_name_copy (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 20))"
    assert cost(call) == (0, 500 + 20)


def test_a_reply_costs_fifty_instructions_a_byte() -> None:
    call = "(call $msg_reply_data_append (i32.const 0) (i32.const 1000))"
    assert cost(call) == (0, 500 + 50 * 1000)


def test_printing_costs_by_the_byte_as_long_as_the_log_has_room() -> None:
    def line(size: int) -> str:
        return f"(call $debug_print (i32.const 0) (i32.const {size}))"

    assert cost(line(1000)) == (0, 100 + 1000 * (2 + 50))
    assert cost(line(1000), line(4000)) == (0, 100 + 1000 * 2 + 96 * 50)
    assert cost(line(50_000)) == (0, 100 + 4096 * (2 + 50))


def test_trapping_costs_like_printing() -> None:
    outcome, _ = run("(call $trap (i32.const 0) (i32.const 10))")
    assert outcome.error is not None
    assert outcome.error.error_code is ErrorCode.CANISTER_CALLED_TRAP
    assert outcome.system_calls == 500 + 10 + 10 * (2 + 50)


@pytest.mark.parametrize("bits", ["", "64"])
def test_stable_memory_costs_by_the_access_the_byte_and_the_page(bits: str) -> None:
    read, write = f"stable{bits}_read", f"stable{bits}_write"
    dirtied = stable(write, 0, 0, 3 * 4096)
    assert cost(stable(f"stable{bits}_size")) == (0, STABLE_SIZE)
    assert cost(stable(f"stable{bits}_grow", 0)) == (0, STABLE_GROW)
    assert cost(stable(f"stable{bits}_grow", 40)) == (0, STABLE_GROW)
    assert cost(stable(read, 0, 0, 0)) == (0, STABLE_ACCESS)
    assert cost(stable(read, 0, 0, 60_000)) == (0, STABLE_ACCESS + 60_000)
    assert cost(stable(write, 0, 0, 0)) == (0, STABLE_ACCESS)
    assert cost(stable(write, 4095, 0, 1)) == (0, STABLE_ACCESS + 1 + DIRTY_PAGE)
    assert cost(stable(write, 4095, 0, 4098)) == (0, STABLE_ACCESS + 4098 + 3 * DIRTY_PAGE)
    assert cost(stable(write, 4095, 0, 4098), dirtied) == (0, STABLE_ACCESS + 4098)
    assert cost(stable(write, 65536, 0, 65536)) == (0, STABLE_ACCESS + 65536 + 16 * DIRTY_PAGE)


def test_system_calls_count_against_the_instruction_limit() -> None:
    calls = "(drop (call $time))" * 20
    used = run(calls)[0]
    assert used.instructions == used.fuel + used.system_calls
    assert used.system_calls == 20 * 500
    assert run(calls, limit=used.instructions)[0].error is None
    short, _ = run(calls, limit=used.instructions - 1)
    assert short.error is not None
    assert short.error.error_code is ErrorCode.CANISTER_INSTRUCTION_LIMIT_EXCEEDED
    assert short.instructions == used.instructions - 1


def test_stable_memory_counts_against_the_instruction_limit_and_the_journal_does_not() -> None:
    loop = """(local $i i32) (loop $next (br_if $next (i32.lt_u
      (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20000))))"""
    calls = loop + stable("stable64_write", 0, 0, 1) + stable("stable64_write", 4096, 0, 1)
    used = run(calls)[0].instructions
    assert run(calls, limit=used)[0].error is None
    assert run(calls, limit=used - 1)[0].error is not None


def test_a_single_call_over_the_limit_is_stopped_at_once() -> None:
    outcome, _ = run("(call $debug_print (i32.const 0) (i32.const 4000)) (drop (call $time))", limit=1_000)
    assert outcome.error is not None
    assert outcome.error.error_code is ErrorCode.CANISTER_INSTRUCTION_LIMIT_EXCEEDED
    assert outcome.instructions == 1_000


def test_the_performance_counter_sees_system_calls() -> None:
    def counted(calls: str) -> int:
        text = f"{calls} (call $answer64 (call $performance_counter (i32.const 0)))"
        return number(bytes(run(text)[1].reply_data))

    assert counted("(drop (call $time))") - counted("") == 500 + 1
    assert counted(stable("stable64_write", 0, 0, 100)) - counted("") == STABLE_ACCESS + 100 + DIRTY_PAGE + 4


def test_log_lines_are_priced_by_what_the_log_can_take() -> None:
    assert system_calls.logged(0, 0) == 0
    assert system_calls.logged(10, 5_000) == 20
