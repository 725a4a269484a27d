"""Settings of canisters: what each does, what a subnet has room for, and cycles reserved for memory."""

from typing import Any

import pytest

from localnet import accounts, candid
from localnet import management_types as types
from localnet.envelope import hash_of_map
from localnet.errors import ErrorCode, Reject
from localnet.prices import GIB, MAX_LOGS_REPLY_BYTES, RESERVATION_SECONDS, Capacity, Limits, Prices
from localnet.principal import MANAGEMENT
from tests.localnet.direct import Direct, Refused
from tests.localnet.passing import info, manager, through
from tests.localnet.wat import COUNTER, canister, number, word
from tests.support.network import ANONYMOUS, CallRejected, Network, Principal

__all__ = ["manager"]

ALICE = Principal.self_authenticating(b"alice")
BOB = Principal.self_authenticating(b"bob")
MIB = 1 << 20
T = 10**12

GROWING = """
(func (export "canister_update grow")
  (drop (call $argument (i32.const 32)))
  (call $answer64 (call $stable64_grow (i64.extend_i32_u (i32.load (i32.const 32))))))
(func (export "canister_query size") (call $answer64 (call $stable64_size)))
"""
PAGES_PER_MIB = 16


def grow(net: Direct, target: Any, mebibytes: int) -> None:
    net.update(target.id, "grow", word(mebibytes * PAGES_PER_MIB))


# Every setting -----------------------------------------------------------------------------------


def test_settings_not_given_have_the_published_defaults(net: Network) -> None:
    settings = net.canister_status(net.create())["settings"]
    assert settings == {
        "controllers": [ANONYMOUS.bytes],
        "compute_allocation": 0,
        "memory_allocation": 0,
        "freezing_threshold": 2_592_000,
        "reserved_cycles_limit": 5 * T,
        "minimum_incoming_canister_call_cycles": 0,
        "log_visibility": ("controllers", None),
        "log_memory_limit": 4096,
        "snapshot_visibility": ("controllers", None),
        "status_visibility": ("controllers", None),
        "wasm_memory_limit": 3 * GIB,
        "wasm_memory_threshold": 0,
        "environment_variables": [],
    }


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("compute_allocation", 101, "CanisterContractViolation"),
        ("memory_allocation", 1 << 64, "CanisterContractViolation"),
        ("freezing_threshold", 1 << 64, "CanisterContractViolation"),
        ("reserved_cycles_limit", 1 << 128, "CanisterContractViolation"),
        ("wasm_memory_limit", 1 << 48, "CanisterContractViolation"),
        ("wasm_memory_threshold", 1 << 48, "CanisterContractViolation"),
        ("log_memory_limit", 4095, "CanisterRejectedMessage"),
        ("log_memory_limit", 2 * MIB + 1, "CanisterRejectedMessage"),
        ("controllers", [BOB] * 11, "InvalidManagementPayload"),
        ("log_visibility", ("allowed_viewers", [bytes([i]) for i in range(11)]), "InvalidManagementPayload"),
        ("snapshot_visibility", ("allowed_viewers", [bytes([i]) for i in range(11)]), "InvalidManagementPayload"),
        ("status_visibility", ("allowed_viewers", [bytes([i]) for i in range(11)]), "InvalidManagementPayload"),
        ("environment_variables", [{"name": str(i), "value": ""} for i in range(21)], "InvalidManagementPayload"),
        ("environment_variables", [{"name": "x" * 129, "value": ""}], "InvalidManagementPayload"),
        ("environment_variables", [{"name": "x", "value": "é" * 65}], "InvalidManagementPayload"),
        ("environment_variables", [{"name": "x", "value": ""}] * 2, "InvalidManagementPayload"),
    ],
)
def test_a_setting_out_of_range_changes_nothing(net: Network, setting: str, value: Any, code: str) -> None:
    target = net.create()
    before = net.canister_status(target)
    with pytest.raises(CallRejected) as caught:
        net.update_settings(target, **{"freezing_threshold": 1, setting: value})
    assert caught.value.error_code == code
    after = net.canister_status(target)
    assert (after["settings"], after["version"]) == (before["settings"], before["version"])


def test_environment_variables_are_read_by_the_canister(net: Network, manager: Principal) -> None:
    body = """
    (func (export "canister_query count") (call $answer32 (call $env_var_count)))
    (func (export "canister_query first")
      (call $env_var_name_copy (i32.const 0) (i32.const 32) (i32.const 0) (call $env_var_name_size (i32.const 0)))
      (call $answer (i32.const 32) (call $env_var_name_size (i32.const 0))))
    (func (export "canister_query exists")
      (call $answer32 (call $env_var_name_exists (i32.const 32) (call $argument (i32.const 32)))))
    (func (export "canister_query value")
      (local $size i32)
      (local.set $size (call $argument (i32.const 32)))
      (call $env_var_value_copy (i32.const 32) (local.get $size) (i32.const 300) (i32.const 0)
        (call $env_var_value_size (i32.const 32) (local.get $size)))
      (call $answer (i32.const 300) (call $env_var_value_size (i32.const 32) (local.get $size))))
    (func (export "canister_query beyond") (call $answer32 (call $env_var_name_size (i32.const 2))))
    """
    variables = [{"name": "second", "value": "zwei"}, {"name": "first", "value": "eins"}]
    target = net.create(environment_variables=variables)
    net.install(target, canister(body))
    assert number(net.query(target, "count")) == 2
    assert net.query(target, "first") == b"first"
    assert net.query(target, "value", b"second") == b"zwei"
    assert number(net.query(target, "exists", b"second")) == 1
    assert number(net.query(target, "exists", b"third")) == 0
    for method, arg, text in (
        ("value", b"third", "there is no environment variable 'third'"),
        ("beyond", b"", "index 2 is out of bounds"),
        ("exists", b"x" * 129, "the name has 129 bytes"),
        ("exists", b"\xff", "not UTF-8"),
    ):
        with pytest.raises(CallRejected, match=text) as caught:
            net.query(target, method, arg)
        assert caught.value.error_code == "CanisterContractViolation"
    creation = info(net, manager, target)["recent_changes"][0]["details"][1]
    assert creation["environment_variables_hash"] == hash_of_map({"first": "eins", "second": "zwei"})
    net.update_settings(target, environment_variables=[])
    assert number(net.query(target, "count")) == 0


def test_who_reads_the_status_is_a_setting(net: Network) -> None:
    target = net.create(controllers=[ALICE], sender=ALICE)
    query = candid.encode([types.CANISTER_ID], [{"canister_id": target.bytes}])
    for ask in (net.update, net.query):
        with pytest.raises(CallRejected):
            ask(None, "canister_status", query, BOB)
    net.update_settings(target, ALICE, status_visibility=("allowed_viewers", [BOB.bytes]))
    assert net.canister_status(target, BOB)["version"] > 0
    (asked,) = candid.decode(net.query(None, "canister_status", query, BOB), [types.STATUS])
    assert asked["settings"]["controllers"] == [ALICE.bytes]
    with pytest.raises(CallRejected):
        net.query(None, "canister_status", query)
    net.update_settings(target, ALICE, status_visibility=("public", None))
    assert net.query(None, "canister_status", query)


PRINTING = """
(func (export "canister_update print") (call $debug_print (i32.const 32) (call $argument (i32.const 32)))
  (call $msg_reply))
"""


def test_the_log_keeps_what_its_limit_holds(net: Network) -> None:
    target = net.deploy(canister(PRINTING))
    for line in range(20):
        net.update(target, "print", bytes([65 + line]) * 500)
    assert [line[:1] for line in net.logs(target)] == [bytes([65 + line]) for line in range(13, 20)]
    before = net.canister_status(target)["memory_size"]
    net.update_settings(target, log_memory_limit=100_000)
    status = net.canister_status(target)
    assert status["memory_metrics"]["log_memory_store_size"] == 100_000
    assert status["memory_size"] - before == 100_000 - 4096
    for line in range(20):
        net.update(target, "print", bytes([97 + line]) * 500)
    assert len(net.logs(target)) == 27
    net.update_settings(target, log_memory_limit=0)
    assert net.logs(target) == []
    net.update(target, "print", b"nobody listens")
    assert net.logs(target) == []


def test_logs_are_filtered_by_number_and_time_and_sold_to_canisters(net: Network, manager: Principal) -> None:
    target = net.deploy(canister(PRINTING))
    times = []
    for line in range(5):
        net.update(target, "print", bytes([65 + line]))
        net.advance(10)
        times.append(net.time())
    net.update_settings(target, controllers=[ANONYMOUS, manager])

    def ask(kind: str, start: int, end: int) -> bytes:
        value = {"canister_id": target.bytes, "filter": (kind, {"start": start, "end": end})}
        reply = net.query(None, "fetch_canister_logs", candid.encode([types.FETCH_LOGS], [value]))
        (found,) = candid.decode(reply, [types.LOGS])
        return b"".join(line["content"] for line in found["canister_log_records"])

    assert ask("by_idx", 1, 3) == b"BC"
    assert ask("by_timestamp_nanos", times[2], times[4]) == b"DE"
    everything = {"canister_id": target.bytes, "filter": None}
    fee = Prices().logs(MAX_LOGS_REPLY_BYTES)
    with pytest.raises(CallRejected, match=f"{fee} cycles are required"):
        through(net, manager, "fetch_canister_logs", types.FETCH_LOGS, everything, fee - 1)
    cycles = net.cycles(manager)
    reply = through(net, manager, "fetch_canister_logs", types.FETCH_LOGS, everything, fee)
    assert cycles - net.cycles(manager) == pytest.approx(Prices().logs(len(reply)), rel=0.2)
    with pytest.raises(CallRejected, match="not accessible via ingress"):
        net.manage("fetch_canister_logs", types.FETCH_LOGS, everything)


def test_reinstalling_drops_the_log(net: Network) -> None:
    target = net.deploy(canister(PRINTING))
    net.update(target, "print", b"old")
    net.upgrade(target, canister(PRINTING))
    assert net.logs(target) == [b"old"]
    with pytest.raises(CallRejected, match="unreachable"):
        net.reinstall(target, canister('(func (export "canister_init") unreachable)'))
    assert net.logs(target)[0] == b"old"
    net.reinstall(target, canister(PRINTING))
    assert net.logs(target) == []


def test_calls_with_fewer_cycles_than_the_setting_asks_for_are_refused(net: Network) -> None:
    calling = """
    (table 2 funcref)
    (elem (i32.const 0) $done $failed)
    (func $done (param i32) (call $answer32 (i32.const 1)))
    (func $failed (param i32)
      (call $msg_reject_msg_copy (i32.const 300) (i32.const 0) (call $msg_reject_msg_size))
      (call $msg_reject (i32.const 300) (call $msg_reject_msg_size)))
    ;; argument: 8 bytes of cycles, the callee's id
    (func (export "canister_update call")
      (local $size i32)
      (local.set $size (call $argument (i32.const 32)))
      (call $call_new (i32.const 40) (i32.sub (local.get $size) (i32.const 8)) (i32.const 200) (i32.const 9)
        (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
      (call $call_cycles_add (i64.load (i32.const 32)))
      (drop (call $call_perform)))
    """
    caller = net.deploy(canister(COUNTER + calling, {200: b"increment"}))
    callee = net.create(minimum_incoming_canister_call_cycles=1_000)
    net.install(callee, canister(COUNTER))
    cycles = net.cycles(caller)
    with pytest.raises(CallRejected, match="requires at least 1000 cycles"):
        net.update(caller, "call", (999).to_bytes(8, "little") + callee.bytes)
    assert net.cycles(callee) == net.cycles(callee)
    assert cycles - net.cycles(caller) < 20_000_000
    assert number(net.query(callee, "read")) == 0
    net.update(caller, "call", (1_000).to_bytes(8, "little") + callee.bytes)
    net.update(callee, "increment")
    net.update_settings(caller, minimum_incoming_canister_call_cycles=1_000)
    net.update(caller, "call", bytes(8) + caller.bytes)
    assert number(net.query(callee, "read")) == 2


def test_update_settings_thaws_a_canister_that_could_not_pay_for_the_call(net: Network) -> None:
    target = net.deploy(canister(COUNTER))
    net.update_settings(target, freezing_threshold=(1 << 64) - 1)
    with pytest.raises(CallRejected, match="out of cycles"):
        net.canister_status(target)
    cycles = net.cycles(target)
    net.update_settings(target, freezing_threshold=1)
    assert net.cycles(target) < cycles
    assert net.canister_status(target)["settings"]["freezing_threshold"] == 1


# Compute and memory of a subnet --------------------------------------------------------------------


def test_a_subnet_has_compute_for_299_percent() -> None:
    net = Direct()
    targets = [net.create(freezing_threshold=0, compute_allocation=100) for _ in range(2)]
    with pytest.raises(Refused, match="remaining compute capacity is 99%") as caught:
        net.create(freezing_threshold=0, compute_allocation=100)
    assert caught.value.code is ErrorCode.SUBNET_OVERSUBSCRIBED
    net.create(freezing_threshold=0, compute_allocation=99)
    net.change(targets[0], compute_allocation=50)
    net.change(targets[1], compute_allocation=100)
    net.create(freezing_threshold=0, compute_allocation=50)


def test_an_allocation_the_balance_does_not_keep_is_refused() -> None:
    net = Direct()
    target = net.create(cycles=T)
    with pytest.raises(Refused, match="Cannot increase compute allocation to 1%") as caught:
        net.change(target, compute_allocation=1)
    assert caught.value.code is ErrorCode.INSUFFICIENT_CYCLES_IN_COMPUTE_ALLOCATION
    with pytest.raises(Refused, match="Cannot increase memory allocation to") as caught:
        net.change(target, memory_allocation=100 * GIB)
    assert caught.value.code is ErrorCode.INSUFFICIENT_CYCLES_IN_MEMORY_ALLOCATION
    # A threshold alone may freeze the canister.
    net.change(target, freezing_threshold=1 << 40)


def test_a_memory_allocation_is_paid_for_and_taken_from_the_subnet() -> None:
    net = Direct(capacity=Capacity(memory=100 * MIB))
    target = net.create(memory_allocation=60 * MIB)
    burn = net.status(target)["idle_cycles_burned_per_day"]
    assert burn == Prices().storage(60 * MIB, 86_400)
    with pytest.raises(Refused, match="bytes are available in the subnet") as caught:
        net.create(memory_allocation=50 * MIB)
    assert caught.value.code is ErrorCode.SUBNET_OVERSUBSCRIBED
    net.install(target, canister(GROWING))
    grow(net, target, 50)
    assert net.status(target)["idle_cycles_burned_per_day"] == burn
    # Usage beyond the allocation is allowed: it guarantees, it does not limit.
    grow(net, target, 20)
    assert net.status(target)["idle_cycles_burned_per_day"] > burn


def test_a_full_subnet_gives_no_memory_to_messages_code_chunks_and_snapshots() -> None:
    net = Direct(capacity=Capacity(memory=100 * MIB))
    target = net.deploy(canister(GROWING))
    grow(net, target, 60)
    with pytest.raises(Refused, match="exceeded its allowed memory") as caught:
        grow(net, target, 50)
    assert caught.value.code is ErrorCode.CANISTER_OUT_OF_MEMORY
    snapshot = {"canister_id": target.id}
    with pytest.raises(Refused, match="available in the subnet"):
        net.manage("take_canister_snapshot", types.TAKE_SNAPSHOT, snapshot)
    with pytest.raises(Refused, match="available in the subnet"):
        net.deploy(canister(GROWING, memory="800"))
    grow(net, target, 39)
    with pytest.raises(Refused, match="available in the subnet"):
        net.manage("upload_chunk", types.UPLOAD_CHUNK, {"canister_id": target.id, "chunk": b"x"})
    assert target.stable_bytes == 99 * MIB


def test_memory_of_deleted_canisters_can_be_taken_by_others() -> None:
    net = Direct(capacity=Capacity(memory=100 * MIB))
    first = net.create(memory_allocation=90 * MIB)
    with pytest.raises(Refused):
        net.create(memory_allocation=90 * MIB)
    net.about("stop_canister", first)
    net.about("delete_canister", first)
    net.create(memory_allocation=90 * MIB)


# Reserved cycles -----------------------------------------------------------------------------------

NEARLY_FULL = Capacity(memory=200 * MIB, memory_threshold=100 * MIB)
"""Small enough to reserve from; the price of a byte is the published one."""


def test_below_the_threshold_nothing_is_reserved() -> None:
    net = Direct(capacity=NEARLY_FULL)
    target = net.deploy(canister(GROWING))
    grow(net, target, 98)
    assert net.status(target)["reserved_cycles"] == 0


def test_memory_above_the_threshold_reserves_cycles_by_the_published_formula() -> None:
    net = Direct(capacity=NEARLY_FULL)
    target = net.deploy(canister(GROWING))
    grow(net, target, 98)
    cycles, used = target.cycles, target.memory_usage
    grow(net, target, 40)
    above = used + 40 * MIB - 100 * MIB
    # The area of a triangle: bytes above the threshold, half the time that share of the rest stands for.
    seconds = RESERVATION_SECONDS * above // (100 * MIB) // 2
    reserved = net.status(target)["reserved_cycles"]
    assert reserved == Prices().storage(above, seconds)
    assert reserved < cycles - target.cycles < reserved + 100_000_000
    # A second step reserves the difference; at the capacity ten years would be reserved for the last byte.
    grow(net, target, 40)
    above += 40 * MIB
    assert target.reserved == Prices().storage(above, RESERVATION_SECONDS * above // (100 * MIB) // 2)


def test_reserved_cycles_pay_for_storage_first_and_lower_the_freezing_threshold() -> None:
    net = Direct(capacity=NEARLY_FULL)
    target = net.deploy(canister(GROWING))
    grow(net, target, 150)
    prices = net.network.prices
    reserved, cycles = target.reserved, target.cycles
    assert accounts.freezing_cycles(target, prices) == 0
    net.advance(1_000)
    paid = Prices().storage(target.memory_usage, 1_000)
    assert reserved - target.reserved == pytest.approx(paid, rel=0.01)
    assert target.cycles == cycles
    target.reserved = 1
    net.advance(1_000)
    assert target.reserved == 0
    assert target.cycles < cycles


def test_the_limit_stops_growth_that_would_reserve_more() -> None:
    net = Direct(capacity=NEARLY_FULL)
    target = net.deploy(canister(GROWING), reserved_cycles_limit=0)
    grow(net, target, 90)
    with pytest.raises(Refused, match=r"due to its reserved cycles limit. The current limit \(0\)") as caught:
        grow(net, target, 20)
    assert caught.value.code is ErrorCode.RESERVED_CYCLES_LIMIT_EXCEEDED_IN_MEMORY_GROW
    assert target.stable_bytes == 90 * MIB
    with pytest.raises(Refused, match="reserved cycles limit"):
        net.manage("take_canister_snapshot", types.TAKE_SNAPSHOT, {"canister_id": target.id})
    with pytest.raises(Refused, match="Cannot increase memory allocation") as caught:
        net.change(target, memory_allocation=150 * MIB)
    assert caught.value.code is ErrorCode.RESERVED_CYCLES_LIMIT_EXCEEDED_IN_MEMORY_ALLOCATION
    net.change(target, reserved_cycles_limit=100 * T)
    grow(net, target, 20)
    assert target.reserved > 0
    with pytest.raises(Refused, match="below the reserved cycles balance") as caught:
        net.change(target, reserved_cycles_limit=target.reserved - 1)
    assert caught.value.code is ErrorCode.RESERVED_CYCLES_LIMIT_IS_TOO_LOW


def test_growth_the_balance_cannot_reserve_for_is_undone() -> None:
    net = Direct(capacity=NEARLY_FULL, limits=Limits(update=1_000_000_000, install=1_000_000_000))
    target = net.deploy(canister(GROWING), cycles=T, freezing_threshold=0)
    with pytest.raises(Refused, match="due to insufficient cycles") as caught:
        grow(net, target, 198)
    assert caught.value.code is ErrorCode.INSUFFICIENT_CYCLES_IN_MEMORY_GROW
    assert (target.stable_bytes, target.reserved) == (0, 0)


def test_installation_allocations_and_snapshots_reserve_too() -> None:
    net = Direct(capacity=NEARLY_FULL)
    net.create(memory_allocation=100 * MIB)
    target = net.create()
    seen = [target.reserved]
    net.install(target, canister(GROWING, memory="160"))
    seen.append(target.reserved)
    net.manage("take_canister_snapshot", types.TAKE_SNAPSHOT, {"canister_id": target.id})
    seen.append(target.reserved)
    net.manage("upload_chunk", types.UPLOAD_CHUNK, {"canister_id": target.id, "chunk": b"x"})
    seen.append(target.reserved)
    net.change(target, memory_allocation=60 * MIB)
    seen.append(target.reserved)
    assert seen == sorted(set(seen))


def test_free_subnets_reserve_nothing() -> None:
    net = Direct("System", capacity=NEARLY_FULL)
    target = net.deploy(canister(GROWING), reserved_cycles_limit=0)
    grow(net, target, 150)
    assert target.reserved == 0


def test_reserved_cycles_are_lost_with_the_canister() -> None:
    net = Direct(capacity=NEARLY_FULL)
    target = net.deploy(canister(GROWING))
    grow(net, target, 150)
    left = target.cycles + target.reserved
    burned = net.network.burned
    net.about("stop_canister", target)
    net.about("delete_canister", target)
    assert net.network.burned - burned == left


def test_a_reject_at_the_door_costs_nothing() -> None:
    net = Direct()
    target = net.create(sender=ALICE.bytes)
    cycles = target.cycles
    with pytest.raises(Reject, match="Only controllers"):
        net.update(MANAGEMENT, "start_canister", candid.encode([types.CANISTER_ID], [{"canister_id": target.id}]))
    assert target.cycles == cycles
