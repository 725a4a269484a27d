"""Snapshots of canisters: what they hold, who may take, load, read and upload them, and what they cost."""

import hashlib
from typing import Any

import pytest

from localnet import candid
from localnet import management_types as types
from localnet.management_snapshots import BASE_INSTRUCTIONS, MAX_SLICE_BYTES
from localnet.prices import Prices
from localnet.snapshots import MAX_SNAPSHOTS
from tests.localnet.passing import info, manager, through
from tests.localnet.wat import COUNTER, canister, number, word
from tests.support.network import CallRejected, Network, Principal

__all__ = ["manager"]

ALICE = Principal.self_authenticating(b"alice")
BOB = Principal.self_authenticating(b"bob")

STATE = """
(global $i (mut i32) (i32.const 0))
(global $l (mut i64) (i64.const 0))
(global $f (mut f32) (f32.const 0))
(global $d (mut f64) (f64.const 0))
;; argument: one number, written into every kind of state there is
(func (export "canister_update set")
  (local $n i32)
  (drop (call $argument (i32.const 32)))
  (local.set $n (i32.load (i32.const 32)))
  (i32.store (i32.const 200) (local.get $n))
  (drop (memory.grow (i32.const 1)))
  (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (local.get $n))
  (global.set $i (local.get $n))
  (global.set $l (i64.extend_i32_u (local.get $n)))
  (global.set $f (f32.convert_i32_u (local.get $n)))
  (global.set $d (f64.convert_i32_u (local.get $n)))
  (drop (call $stable64_grow (i64.const 1)))
  (call $stable64_write (i64.const 8) (i64.const 200) (i64.const 4))
  (call $certified_data_set (i32.const 200) (i32.const 4))
  (call $msg_reply))
(func (export "canister_query get")
  (i32.store (i32.const 300) (i32.load (i32.const 200)))
  (i32.store (i32.const 304) (global.get $i))
  (i64.store (i32.const 308) (global.get $l))
  (f32.store (i32.const 316) (global.get $f))
  (f64.store (i32.const 320) (global.get $d))
  (if (i64.ne (call $stable64_size) (i64.const 0))
    (then (call $stable64_read (i64.const 328) (i64.const 8) (i64.const 4))))
  (i32.store (i32.const 332) (memory.size))
  (i64.store (i32.const 336) (call $stable64_size))
  (call $answer (i32.const 300) (i32.const 44)))
"""


def state_module(marker: int = 0) -> bytes:
    """A canister whose state is one number in many places; ``marker`` makes other modules of it."""
    return canister(STATE, {4000: bytes([marker])})


def contents(net: Network, target: Principal) -> tuple[bytes, bytes, bytes | None]:
    """Everything a snapshot brings back."""
    status = net.canister_status(target)
    return net.query(target, "get"), net.stable_memory(target), status["module_hash"]


def test_loading_a_snapshot_brings_back_all_state(net: Network) -> None:
    target = net.deploy(state_module())
    net.update(target, "set", word(7))
    chunk = {"canister_id": target.bytes, "chunk": b"kept"}
    net.manage("upload_chunk", types.UPLOAD_CHUNK, chunk, effective=target)
    before = contents(net, target)
    snapshot = net.take_snapshot(target)
    net.update(target, "set", word(8))
    net.manage("clear_chunk_store", types.CANISTER_ID, {"canister_id": target.bytes}, effective=target)
    net.upgrade(target, state_module(1))
    assert contents(net, target) != before
    net.load_snapshot(target, snapshot["id"])
    assert contents(net, target) == before
    stored = net.manage("stored_chunks", types.CANISTER_ID, {"canister_id": target.bytes}, effective=target)
    assert candid.decode(stored, [types.STORED_CHUNKS]) == [[{"hash": hashlib.sha256(b"kept").digest()}]]
    # It runs on from there, and the snapshot is untouched by that.
    net.update(target, "set", word(9))
    net.load_snapshot(target, snapshot["id"])
    assert contents(net, target) == before


def test_certified_data_comes_back_with_a_snapshot(net: Network) -> None:
    target = net.deploy(state_module())
    net.update(target, "set", word(7))
    snapshot = net.take_snapshot(target)
    assert read_metadata(net, target, snapshot["id"])["certified_data"] == word(7)
    net.update(target, "set", word(8))
    net.load_snapshot(target, snapshot["id"])
    assert read_metadata(net, target, net.take_snapshot(target)["id"])["certified_data"] == word(7)


def test_a_message_that_traps_after_a_load_is_undone_to_the_snapshot(net: Network) -> None:
    body = STATE + '(func (export "canister_update fail") (i32.store (i32.const 200) (i32.const 1)) unreachable)'
    target = net.deploy(canister(body))
    net.update(target, "set", word(5))
    before = contents(net, target)
    snapshot = net.take_snapshot(target)
    net.update(target, "set", word(6))
    net.load_snapshot(target, snapshot["id"])
    with pytest.raises(CallRejected, match="unreachable"):
        net.update(target, "fail")
    assert contents(net, target) == before


WAITING = """
(table 1 funcref)
(elem (i32.const 0) $back)
(func $back (param i32) (call $answer32 (i32.load (i32.const 200))))
(func (export "canister_update wait")
  (i32.store (i32.const 200) (i32.const 1))
  (call $call_new (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 8)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (call $call_data_append (i32.const 80) (i32.const 6))
  (drop (call $call_perform)))
(func (export "canister_update set") (i32.store (i32.const 200) (i32.const 2)) (call $msg_reply))
"""


def test_a_running_canister_with_open_calls_can_be_taken_and_loaded(net: Network) -> None:
    target = net.deploy(canister(WAITING, {64: b"raw_rand", 80: b"DIDL\0\0"}))
    net.update(target, "wait")
    snapshot = net.take_snapshot(target)
    net.update(target, "set")
    waiting = net.submit(target, "wait")
    loading = net.submit(
        None,
        "load_canister_snapshot",
        candid.encode([types.LOAD_SNAPSHOT], [{"canister_id": target.bytes, "snapshot_id": snapshot["id"]}]),
    )
    net.wait(loading)
    # The callback of the call made before the load runs on what was loaded.
    assert number(net.wait(waiting)) == 1
    assert net.canister_status(target)["status"] == ("running", None)


def test_a_load_of_a_taken_snapshot_leaves_the_timer_alone(net: Network) -> None:
    body = """
    (global $fired (mut i32) (i32.const 0))
    (func (export "canister_global_timer") (global.set $fired (i32.const 1)))
    (func (export "canister_update arm")
      (drop (call $argument (i32.const 32)))
      (call $answer64 (call $global_timer_set (i64.load (i32.const 32)))))
    """
    target = net.deploy(canister(body))
    first, second = net.time() + 10**15, net.time() + 2 * 10**15
    net.update(target, "arm", first.to_bytes(8, "little"))
    snapshot = net.take_snapshot(target)
    assert read_metadata(net, target, snapshot["id"])["global_timer"] == ("active", first)
    net.update(target, "arm", second.to_bytes(8, "little"))
    net.load_snapshot(target, snapshot["id"])
    # The specification leaves it open; the replica keeps the timer as it is.
    assert number(net.update(target, "arm", bytes(8))) == second


def test_snapshots_are_listed_replaced_and_deleted(net: Network) -> None:
    target = net.deploy(state_module())
    first, second = net.take_snapshot(target), net.take_snapshot(target)
    assert net.snapshots(target) == [first, second]
    third = net.take_snapshot(target, replace=first["id"])
    assert net.snapshots(target) == [second, third]
    assert len({first["id"], second["id"], third["id"]}) == 3
    net.delete_snapshot(target, second["id"])
    assert net.snapshots(target) == [third]
    for gone in (first, second):
        with pytest.raises(CallRejected, match="Could not find the snapshot ID") as caught:
            net.load_snapshot(target, gone["id"])
        assert (caught.value.error_code, caught.value.reject_code) == ("CanisterSnapshotNotFound", "DestinationInvalid")
        with pytest.raises(CallRejected, match="Could not find"):
            net.delete_snapshot(target, gone["id"])
        with pytest.raises(CallRejected, match="Could not find"):
            net.take_snapshot(target, replace=gone["id"])
    assert net.snapshots(target) == [third]


def test_a_canister_has_at_most_ten_snapshots(net: Network) -> None:
    target = net.deploy(state_module())
    taken = [net.take_snapshot(target) for _ in range(MAX_SNAPSHOTS)]
    with pytest.raises(CallRejected, match="maximum number of snapshots allowed: 10") as caught:
        net.take_snapshot(target)
    assert caught.value.error_code == "CanisterRejectedMessage"
    net.take_snapshot(target, replace=taken[0]["id"])
    assert len(net.snapshots(target)) == MAX_SNAPSHOTS


def test_an_empty_canister_has_nothing_to_snapshot(net: Network) -> None:
    target = net.create()
    with pytest.raises(CallRejected, match="empty canister") as caught:
        net.take_snapshot(target)
    assert caught.value.error_code == "CanisterRejectedMessage"


def test_a_snapshot_can_be_loaded_into_an_empty_or_stopped_canister(net: Network) -> None:
    target = net.deploy(state_module())
    net.update(target, "set", word(7))
    before = contents(net, target)
    snapshot = net.take_snapshot(target, uninstall_code=True)
    assert net.canister_status(target)["module_hash"] is None
    net.stop(target)
    net.load_snapshot(target, snapshot["id"])
    assert net.canister_status(target)["status"] == ("stopped", None)
    net.start(target)
    assert contents(net, target) == before


def test_a_snapshot_of_another_canister_is_loaded_by_a_controller_of_both(net: Network, manager: Principal) -> None:
    source = net.deploy(state_module(), controllers=[ALICE, BOB], sender=ALICE)
    net.update(source, "set", word(7))
    taken = net.take_snapshot(source, ALICE)
    target = net.create(controllers=[BOB, Principal.anonymous()], sender=BOB)
    net.load_snapshot(target, taken["id"], BOB)
    assert net.query(target, "get") == net.query(source, "get")
    change = info(net, manager, target)["recent_changes"][-1]["details"]
    assert change[1]["from_canister_id"] == source.bytes
    net.update_settings(source, sender=ALICE, controllers=[ALICE])
    with pytest.raises(CallRejected, match="Only a controller of the canister that snapshot") as caught:
        net.load_snapshot(target, taken["id"], BOB)
    assert caught.value.error_code == "CanisterRejectedMessage"
    with pytest.raises(CallRejected, match="does not belong to canister"):
        net.delete_snapshot(target, taken["id"], BOB)


def test_loading_is_in_the_history_and_raises_the_version(net: Network, manager: Principal) -> None:
    target = net.deploy(state_module(), sender=ALICE)
    version = net.canister_status(target, ALICE)["version"]
    taken = net.take_snapshot(target, ALICE)
    assert net.canister_status(target, ALICE)["version"] == version
    net.load_snapshot(target, taken["id"], ALICE)
    assert net.canister_status(target, ALICE)["version"] == version + 1
    change = info(net, manager, target)["recent_changes"][-1]
    assert change["canister_version"] == version + 1
    assert change["origin"] == ("from_user", {"user_id": ALICE.bytes})
    assert change["details"] == (
        "load_snapshot",
        {
            "from_canister_id": None,
            "snapshot_id": taken["id"],
            "canister_version": version,
            "taken_at_timestamp": taken["taken_at_timestamp"],
            "source": ("taken_from_canister", None),
        },
    )


def test_snapshots_count_as_memory_and_cost_instructions(net: Network) -> None:
    target = net.deploy(state_module())
    net.update(target, "set", word(7))
    before = net.canister_status(target)
    cycles = net.cycles(target)
    taken = net.take_snapshot(target)
    after = net.canister_status(target)
    metrics = before["memory_metrics"]
    parts = ("wasm_memory_size", "stable_memory_size", "global_memory_size", "wasm_binary_size")
    assert taken["total_size"] == sum(metrics[part] for part in parts) + len(word(7))
    assert after["memory_metrics"]["snapshots_size"] == taken["total_size"]
    assert after["memory_size"] - before["memory_size"] == taken["total_size"]
    assert after["idle_cycles_burned_per_day"] > before["idle_cycles_burned_per_day"]
    # Besides the operation itself, only the calls' reception is paid.
    fee = Prices().execution(BASE_INSTRUCTIONS + taken["total_size"])
    assert fee < cycles - net.cycles(target) < fee + 5 * Prices().ingress(500)
    cycles = net.cycles(target)
    net.load_snapshot(target, taken["id"])
    assert cycles - net.cycles(target) > fee


def test_a_snapshot_the_canister_cannot_pay_for_is_refused(net: Network) -> None:
    target = net.create(cycles=310_000_000_000)
    net.install(target, state_module())
    net.update_settings(target, freezing_threshold=0, compute_allocation=50)
    # 50 percent cost 500 M cycles a second: this leaves about a second's worth.
    net.advance(net.cycles(target) // 500_000_000 - 1)
    assert 0 < net.cycles(target) < Prices().execution(BASE_INSTRUCTIONS)
    with pytest.raises(CallRejected, match="Canister snapshotting failed with") as caught:
        net.take_snapshot(target)
    assert caught.value.error_code == "CanisterOutOfCycles"
    assert net.snapshots(target) == []


def daily(net: Network, target: Principal) -> int:
    """Cycles the canister burns a day when idle."""
    return net.canister_status(target)["idle_cycles_burned_per_day"]


def test_a_snapshot_that_would_freeze_the_canister_is_refused(net: Network) -> None:
    target = net.deploy(state_module())
    # A balance for nearly all of the threshold at this size: the snapshot would double it.
    net.update_settings(target, freezing_threshold=net.cycles(target) * 86_400 // daily(net, target) * 9 // 10)
    with pytest.raises(CallRejected, match="cannot grow memory by") as caught:
        net.take_snapshot(target)
    assert caught.value.error_code == "InsufficientCyclesInMemoryGrow"


def test_snapshots_go_with_the_canister(net: Network) -> None:
    target = net.deploy(state_module())
    taken = net.take_snapshot(target)
    net.uninstall(target)
    assert net.snapshots(target) == [taken]
    net.stop(target)
    net.delete(target)
    other = net.create()
    with pytest.raises(CallRejected, match="Could not find the snapshot"):
        net.load_snapshot(other, taken["id"])


def test_only_controllers_handle_snapshots_but_viewers_may_read_them(net: Network, manager: Principal) -> None:
    target = net.deploy(state_module(), controllers=[ALICE], sender=ALICE)
    taken = net.take_snapshot(target, ALICE)
    with pytest.raises(CallRejected, match="Only controllers") as caught:
        net.snapshots(target, BOB)
    assert caught.value.error_code == "CanisterInvalidController"
    with pytest.raises(CallRejected, match="can control it"):
        through(net, manager, "list_canister_snapshots", types.CANISTER_ID, {"canister_id": target.bytes})
    net.update_settings(target, ALICE, snapshot_visibility=("allowed_viewers", [BOB.bytes]))
    assert net.snapshots(target, BOB) == [taken]
    for action in (net.load_snapshot, net.delete_snapshot):
        with pytest.raises(CallRejected, match="Only controllers"):
            action(target, taken["id"], BOB)
    with pytest.raises(CallRejected, match="Only controllers"):
        net.take_snapshot(target, BOB)
    net.update_settings(target, ALICE, snapshot_visibility=("public", None))
    listed = through(net, manager, "list_canister_snapshots", types.CANISTER_ID, {"canister_id": target.bytes})
    assert candid.decode(listed, [types.SNAPSHOTS]) == [[taken]]


# Download and upload -------------------------------------------------------------------------------


def read_metadata(net: Network, target: Principal, snapshot_id: bytes) -> dict[str, Any]:
    value = {"canister_id": target.bytes, "snapshot_id": snapshot_id}
    reply = net.manage("read_canister_snapshot_metadata", types.SNAPSHOT_ID, value, effective=target)
    return candid.decode(reply, [types.SNAPSHOT_METADATA])[0]


def read_data(net: Network, target: Principal, snapshot_id: bytes, kind: str, **where: Any) -> bytes:
    value = {"canister_id": target.bytes, "snapshot_id": snapshot_id, "kind": (kind, where)}
    reply = net.manage("read_canister_snapshot_data", types.READ_SNAPSHOT_DATA, value, effective=target)
    return candid.decode(reply, [types.SNAPSHOT_CHUNK])[0]["chunk"]


def upload_metadata(net: Network, target: Principal, metadata: dict[str, Any]) -> bytes:
    value = {"canister_id": target.bytes, **metadata}
    reply = net.manage("upload_canister_snapshot_metadata", types.UPLOAD_SNAPSHOT_METADATA, value, effective=target)
    return candid.decode(reply, [types.NEW_SNAPSHOT])[0]["snapshot_id"]


def upload_data(net: Network, target: Principal, snapshot_id: bytes, kind: tuple[str, Any], chunk: bytes) -> None:
    value = {"canister_id": target.bytes, "snapshot_id": snapshot_id, "kind": kind, "chunk": chunk}
    net.manage("upload_canister_snapshot_data", types.UPLOAD_SNAPSHOT_DATA, value, effective=target)


def copy_snapshot(net: Network, source: Principal, snapshot_id: bytes, target: Principal) -> bytes:
    """Download a snapshot and upload it to another canister."""
    metadata = read_metadata(net, source, snapshot_id)
    new = upload_metadata(net, target, metadata)
    for kind in ("wasm_module", "wasm_memory", "stable_memory"):
        for offset in range(0, metadata[f"{kind}_size"], 100_000):
            size = min(100_000, metadata[f"{kind}_size"] - offset)
            piece = read_data(net, source, snapshot_id, kind, offset=offset, size=size)
            upload_data(net, target, new, (kind, {"offset": offset}), piece)
    for entry in metadata["wasm_chunk_store"]:
        piece = read_data(net, source, snapshot_id, "wasm_chunk", hash=entry["hash"])
        upload_data(net, target, new, ("wasm_chunk", None), piece)
    return new


def test_a_snapshot_is_downloaded_and_uploaded_to_another_canister(net: Network) -> None:
    source = net.deploy(state_module())
    net.update(source, "set", word(7))
    net.manage("upload_chunk", types.UPLOAD_CHUNK, {"canister_id": source.bytes, "chunk": b"kept"}, effective=source)
    taken = net.take_snapshot(source)
    target = net.create()
    new = copy_snapshot(net, source, taken["id"], target)
    metadata = read_metadata(net, target, new)
    assert metadata["source"] == ("metadata_upload", None)
    same = read_metadata(net, source, taken["id"])
    for name in ("globals", "wasm_module_size", "wasm_chunk_store", "certified_data", "global_timer"):
        assert metadata[name] == same[name]
    assert net.snapshots(target)[0]["total_size"] == taken["total_size"]
    net.load_snapshot(target, new)
    assert contents(net, target) == contents(net, source)


def test_an_uploaded_timer_is_set_when_the_snapshot_is_loaded(net: Network) -> None:
    body = """
    (func (export "canister_update arm") (call $answer64 (call $global_timer_set (i64.const 0))))
    """
    source = net.deploy(canister(body))
    copied = copy_snapshot(net, source, net.take_snapshot(source)["id"], source)
    when = net.time() + 10**15
    metadata = {**read_metadata(net, source, copied), "global_timer": ("active", when)}
    timed = upload_metadata(net, source, metadata)
    module = read_data(net, source, copied, "wasm_module", offset=0, size=metadata["wasm_module_size"])
    upload_data(net, source, timed, ("wasm_module", {"offset": 0}), module)
    net.load_snapshot(source, timed)
    assert number(net.update(source, "arm")) == when


def test_an_uploaded_state_of_the_low_memory_hook_must_fit_the_memory(net: Network) -> None:
    source = net.deploy(canister(COUNTER))
    taken = net.take_snapshot(source)["id"]
    metadata = read_metadata(net, source, taken)
    assert metadata["on_low_wasm_memory_hook_status"] == ("condition_not_satisfied", None)
    module = read_data(net, source, taken, "wasm_module", offset=0, size=metadata["wasm_module_size"])
    states = {}
    for state in ("condition_not_satisfied", "executed"):
        states[state] = upload_metadata(net, source, {**metadata, "on_low_wasm_memory_hook_status": (state, None)})
        upload_data(net, source, states[state], ("wasm_module", {"offset": 0}), module)
    with pytest.raises(CallRejected, match="Hook status") as caught:
        net.load_snapshot(source, states["executed"])
    assert caught.value.error_code == "InvalidManagementPayload"
    net.load_snapshot(source, states["condition_not_satisfied"])
    # A threshold larger than what the limit leaves beside one page: memory is low.
    net.update_settings(source, wasm_memory_limit=100_000, wasm_memory_threshold=50_000)
    with pytest.raises(CallRejected, match="condition satisfied: true"):
        net.load_snapshot(source, states["condition_not_satisfied"])
    net.load_snapshot(source, states["executed"])
    taken = net.take_snapshot(source)["id"]
    assert read_metadata(net, source, taken)["on_low_wasm_memory_hook_status"] == ("executed", None)


def test_slices_outside_of_a_snapshot_are_refused(net: Network) -> None:
    target = net.deploy(state_module())
    taken = net.take_snapshot(target)["id"]
    size = read_metadata(net, target, taken)["wasm_memory_size"]
    with pytest.raises(CallRejected, match=f"offset: {size}, size: 1") as caught:
        read_data(net, target, taken, "wasm_memory", offset=size, size=1)
    assert caught.value.error_code == "InvalidManagementPayload"
    with pytest.raises(CallRejected, match="Requested slice too large"):
        read_data(net, target, taken, "wasm_memory", offset=0, size=MAX_SLICE_BYTES + 1)
    with pytest.raises(CallRejected, match="not found"):
        read_data(net, target, taken, "wasm_chunk", hash=bytes(32))
    with pytest.raises(CallRejected, match="created by metadata upload") as caught:
        upload_data(net, target, taken, ("wasm_memory", {"offset": 0}), b"x")
    assert caught.value.error_code == "CanisterSnapshotImmutable"
    copied = copy_snapshot(net, target, taken, target)
    with pytest.raises(CallRejected, match="Invalid subslice"):
        upload_data(net, target, copied, ("wasm_memory", {"offset": size - 1}), b"xx")


def test_an_uploaded_snapshot_that_fits_no_module_is_not_loaded(net: Network) -> None:
    target = net.deploy(state_module())
    taken = net.take_snapshot(target)["id"]
    metadata = read_metadata(net, target, taken)
    module = read_data(net, target, taken, "wasm_module", offset=0, size=metadata["wasm_module_size"])
    before = contents(net, target)
    faults: list[tuple[dict[str, Any], str]] = [
        ({"globals": metadata["globals"][:-1]}, "exported globals"),
        ({"globals": [("i32", 0)] * len(metadata["globals"])}, "exported globals"),
        ({"wasm_memory_size": 0}, "its module starts with"),
    ]
    for change, text in faults:
        wrong = upload_metadata(net, target, {**metadata, **change})
        upload_data(net, target, wrong, ("wasm_module", {"offset": 0}), module)
        with pytest.raises(CallRejected, match=text) as caught:
            net.load_snapshot(target, wrong)
        assert caught.value.error_code == "InvalidManagementPayload"
    unfinished = upload_metadata(net, target, metadata)
    with pytest.raises(CallRejected, match="Wasm module is not valid"):
        net.load_snapshot(target, unfinished)
    assert contents(net, target) == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"wasm_module_size": 0}, "wasm_module_size is 0"),
        ({"wasm_memory_size": 100}, "multiple of 65536"),
        ({"stable_memory_size": 1 << 50}, "stable_memory_size is 1125899906842624"),
        ({"wasm_memory_size": (1 << 32) + 65536}, "wasm_memory_size is 4295032832"),
        ({"certified_data": bytes(33)}, "certified_data of 33 bytes"),
        ({"globals": [("v128", 0)]}, "v128"),
        ({"globals": [("i32", 0)] * 1001}, "1001 globals"),
    ],
)
def test_impossible_metadata_is_refused(net: Network, change: dict[str, Any], text: str) -> None:
    target = net.create()
    metadata = {
        "wasm_module_size": 8,
        "globals": [],
        "wasm_memory_size": 0,
        "stable_memory_size": 0,
        "certified_data": b"",
        "global_timer": None,
    }
    with pytest.raises(CallRejected, match=text) as caught:
        upload_metadata(net, target, {**metadata, **change})
    assert caught.value.error_code == "InvalidManagementPayload"


def test_a_counter_in_a_global_survives_many_snapshots(net: Network) -> None:
    target = net.deploy(canister(COUNTER))
    taken = {}
    for count in range(1, 6):
        net.update(target, "increment")
        taken[count] = net.take_snapshot(target)["id"]
    for count in (3, 1, 5, 2, 4):
        net.load_snapshot(target, taken[count])
        assert number(net.query(target, "read")) == count
        assert number(net.update(target, "increment")) == count + 1
