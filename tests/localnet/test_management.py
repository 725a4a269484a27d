"""The management canister: creation, settings, code, running state, information, authorisation."""

import gzip
import hashlib
from typing import Any

import pytest

from localnet import candid
from localnet import management_types as types
from localnet.candid import NAT, PRINCIPAL, record
from localnet.prices import Prices
from tests.localnet.passing import info, manager, through
from tests.localnet.wat import COUNTER, canister, custom_section, number
from tests.support.network import ANONYMOUS, CallRejected, Network, Principal

__all__ = ["manager"]

ALICE = Principal.self_authenticating(b"alice")
BOB = Principal.self_authenticating(b"bob")


def test_create_canister_takes_the_fee_from_the_attached_cycles(net: Network, manager: Principal) -> None:
    reply = through(net, manager, "create_canister", types.CREATE, {}, 1_500_000_000_000)
    created = Principal(candid.decode(reply, [types.CANISTER_ID])[0]["canister_id"])
    # 500 B since 2025: "Cycles costs" of the IC developer documentation.
    assert net.cycles(created) == 1_000_000_000_000
    with pytest.raises(CallRejected, match="requires a fee of 500000000000"):
        through(net, manager, "create_canister", types.CREATE, {}, 499_999_999_999)
    with pytest.raises(CallRejected, match="Only canisters"):
        net.manage("create_canister", types.CREATE, {})


def test_settings_are_kept_and_shown(net: Network) -> None:
    wanted = {
        "compute_allocation": 1,
        "memory_allocation": 1_000_000,
        "freezing_threshold": 1_000,
        "reserved_cycles_limit": 7,
        "wasm_memory_limit": 1 << 30,
        "wasm_memory_threshold": 5,
        "log_visibility": ("public", None),
    }
    target = net.create(controllers=[ALICE, BOB], **wanted)
    settings = net.canister_status(target, sender=ALICE)["settings"]
    assert {name: settings[name] for name in wanted} == wanted
    assert sorted(settings["controllers"]) == sorted([ALICE.bytes, BOB.bytes])
    net.update_settings(target, sender=BOB, freezing_threshold=2_000, controllers=[BOB])
    with pytest.raises(CallRejected, match="Only controllers") as caught:
        net.canister_status(target, sender=ALICE)
    assert caught.value.error_code == "CanisterInvalidController"
    assert net.canister_status(target, sender=BOB)["settings"]["freezing_threshold"] == 2_000


@pytest.mark.parametrize(
    ("setting", "value"),
    [("compute_allocation", 101), ("freezing_threshold", 1 << 64), ("memory_allocation", 1 << 64)],
)
def test_settings_out_of_range_are_refused_with_their_value(net: Network, setting: str, value: int) -> None:
    target = net.create()
    with pytest.raises(CallRejected, match=f"{setting} is {value}"):
        net.update_settings(target, ANONYMOUS, **{setting: value})


def test_at_most_ten_controllers_are_allowed(net: Network) -> None:
    target = net.create()
    with pytest.raises(CallRejected, match="11 controllers"):
        net.update_settings(target, controllers=[Principal(bytes([i])) for i in range(11)])


def test_install_needs_an_empty_canister_and_upgrade_a_full_one(net: Network) -> None:
    module = canister(COUNTER)
    target = net.create()
    with pytest.raises(CallRejected, match="no Wasm module"):
        net.upgrade(target, module)
    net.install(target, module)
    with pytest.raises(CallRejected, match="not empty") as caught:
        net.install(target, module)
    assert caught.value.error_code == "CanisterNonEmpty"
    net.update(target, "increment")
    net.reinstall(target, module)
    assert number(net.query(target, "read")) == 0


UPGRADING = """
(global $saved (mut i32) (i32.const 0))
(func (export "canister_init") (drop (call $stable64_grow (i64.const 1))))
(func (export "canister_pre_upgrade") (i32.store (i32.const 16) (i32.const 77))
  (call $stable64_write (i64.const 0) (i64.const 16) (i64.const 4)))
(func (export "canister_post_upgrade") (call $stable64_read (i64.const 16) (i64.const 0) (i64.const 4))
  (global.set $saved (i32.load (i32.const 16))))
(func (export "canister_query saved") (call $answer32 (global.get $saved)))
(func (export "canister_update remember") (i32.store (i32.const 40) (i32.const 5)) (call $answer32 (i32.const 0)))
(func (export "canister_query remembered") (call $answer32 (i32.load (i32.const 40))))
"""


def test_upgrade_hooks_run_and_pre_upgrade_can_be_skipped(net: Network) -> None:
    module = canister(UPGRADING)
    target = net.deploy(module)
    net.upgrade(target, module, skip_pre_upgrade=True)
    assert number(net.query(target, "saved")) == 0
    net.upgrade(target, module)
    assert number(net.query(target, "saved")) == 77


def test_an_upgrade_can_keep_the_heap(net: Network) -> None:
    module = canister(UPGRADING) + custom_section("icp:private enhanced-orthogonal-persistence")
    target = net.deploy(module)
    net.update(target, "remember")
    net.upgrade(target, module, wasm_memory_persistence=("keep", None))
    assert number(net.query(target, "remembered")) == 5
    net.upgrade(target, module, wasm_memory_persistence=("replace", None))
    assert number(net.query(target, "remembered")) == 0


def test_keeping_the_heap_is_for_modules_that_are_made_for_it(net: Network) -> None:
    plain = canister(UPGRADING)
    made = plain + custom_section("icp:private enhanced-orthogonal-persistence")
    target = net.deploy(plain)
    with pytest.raises(CallRejected, match="Invalid upgrade option") as caught:
        net.upgrade(target, plain, wasm_memory_persistence=("keep", None))
    assert caught.value.error_code == "CanisterContractViolation"
    net.upgrade(target, made)
    with pytest.raises(CallRejected, match="Missing upgrade option") as caught:
        net.upgrade(target, made)
    assert caught.value.error_code == "CanisterContractViolation"


@pytest.mark.parametrize("hook", ["canister_pre_upgrade", "canister_post_upgrade", "start"])
def test_an_upgrade_that_traps_leaves_everything_as_it_was(net: Network, hook: str) -> None:
    module = canister(UPGRADING)
    target = net.deploy(module)
    net.update(target, "remember")
    before = net.canister_status(target)
    if hook == "canister_pre_upgrade":
        old = canister(UPGRADING.replace("(i32.const 77))", "(i32.const 77)) unreachable"))
        target = net.deploy(old)
        net.update(target, "remember")
        before = net.canister_status(target)
        bad = module
    elif hook == "start":
        bad = canister(UPGRADING + "(func $begin unreachable) (start $begin)")
    else:
        bad = canister(UPGRADING.replace("(global.set $saved", "unreachable (global.set $saved"))
    with pytest.raises(CallRejected, match="unreachable"):
        net.upgrade(target, bad)
    after = net.canister_status(target)
    assert (after["module_hash"], after["memory_size"]) == (before["module_hash"], before["memory_size"])
    assert number(net.query(target, "remembered")) == 5
    assert net.stable_memory(target)[:4] == bytes(4)
    if hook == "canister_pre_upgrade":
        net.upgrade(target, bad, skip_pre_upgrade=True)


def test_a_failed_init_leaves_an_empty_canister(net: Network) -> None:
    target = net.create()
    with pytest.raises(CallRejected, match="unreachable"):
        net.install(target, canister('(func (export "canister_init") unreachable)'))
    assert net.canister_status(target)["module_hash"] is None


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (b"no wasm", "magic number"),
        (b"\x1f\x8b\x08broken", "gzip"),
        (b"\0asm\1\0\0\0\xff\xff\xff\xff\xff\xff", "not valid"),
        (b"", "magic number"),
    ],
)
def test_what_is_no_module_is_refused(net: Network, module: bytes, text: str) -> None:
    target = net.create()
    with pytest.raises(CallRejected, match=text) as caught:
        net.install(target, module)
    assert caught.value.error_code == "CanisterInvalidWasm"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('(module (import "ic0" "make_coffee" (func)))', "ic0.make_coffee"),
        ('(module (import "wasi_snapshot_preview1" "fd_write" (func)))', "wasi_snapshot_preview1.fd_write"),
        ('(module (import "ic0" "time" (func (param i32))))', "ic0.time"),
        ('(module (func (export "canister_dance")))', "canister_dance"),
        ('(module (func (export "canister_update x") (param i32)))', "canister_update x"),
        ('(module (func (export "canister_update x")) (func (export "canister_query x")))', "duplicate method 'x'"),
        ("(module (memory i64 1))", "64-bit"),
    ],
)
def test_modules_no_canister_can_run_are_refused_with_the_name_at_fault(net: Network, text: str, named: str) -> None:
    import wasmtime

    target = net.create()
    with pytest.raises(CallRejected) as caught:
        net.install(target, bytes(wasmtime.wat2wasm(text)))
    assert named in caught.value.message
    assert caught.value.error_code == "CanisterInvalidWasm"


def test_gzipped_modules_are_known_by_the_hash_of_the_gzip(net: Network) -> None:
    module = gzip.compress(canister(COUNTER), mtime=0)
    target = net.deploy(module)
    assert net.canister_status(target)["module_hash"] == hashlib.sha256(module).digest()
    assert number(net.update(target, "increment")) == 1


def test_large_modules_go_through_the_chunk_store(net: Network) -> None:
    module = canister(COUNTER, {1000: bytes(range(256)) * 8500}, memory="40")
    assert len(module) > 2 * 1024 * 1024
    target = net.deploy(module)
    assert net.canister_status(target)["module_hash"] == hashlib.sha256(module).digest()


def test_chunks_are_kept_listed_and_cleared(net: Network) -> None:
    store = net.create()
    chunk = {"canister_id": store.bytes, "chunk": b"x" * 100}
    reply = net.manage("upload_chunk", types.UPLOAD_CHUNK, chunk, effective=store)
    digest = hashlib.sha256(b"x" * 100).digest()
    assert candid.decode(reply, [types.CHUNK_HASH]) == [{"hash": digest}]
    about = {"canister_id": store.bytes}
    listed = net.manage("stored_chunks", types.CANISTER_ID, about, effective=store)
    assert candid.decode(listed, [types.STORED_CHUNKS]) == [[{"hash": digest}]]
    net.manage("clear_chunk_store", types.CANISTER_ID, about, effective=store)
    assert candid.decode(net.manage("stored_chunks", types.CANISTER_ID, about), [types.STORED_CHUNKS]) == [[]]
    with pytest.raises(CallRejected, match="1048577"):
        net.manage("upload_chunk", types.UPLOAD_CHUNK, {**chunk, "chunk": bytes(1048577)})


def test_the_chunk_store_holds_a_hundred_chunks_of_a_mebibyte_s_storage(net: Network) -> None:
    store = net.create()
    about = {"canister_id": store.bytes}

    def upload(chunk: bytes) -> None:
        net.manage("upload_chunk", types.UPLOAD_CHUNK, {**about, "chunk": chunk}, effective=store)

    for number_ in range(100):
        upload(bytes([number_]))
    assert net.canister_status(store)["memory_metrics"]["wasm_chunk_store_size"] == 100 * 1024 * 1024
    with pytest.raises(CallRejected, match="maximum capacity of 100 chunks") as caught:
        upload(b"one more")
    assert caught.value.error_code == "CanisterContractViolation"
    cycles = net.cycles(store)
    upload(bytes([50]))
    # Known chunks are paid for like new ones: 200 M instructions (replica configuration).
    assert cycles - net.cycles(store) == pytest.approx(Prices().execution(200_000_000), rel=0.02)
    net.uninstall(store)
    assert net.canister_status(store)["memory_metrics"]["wasm_chunk_store_size"] == 0


def test_chunks_of_another_canister_are_for_its_controllers(net: Network) -> None:
    module = canister(COUNTER)
    digest = hashlib.sha256(module).digest()
    store = net.create(controllers=[ALICE], sender=ALICE)
    net.manage("upload_chunk", types.UPLOAD_CHUNK, {"canister_id": store.bytes, "chunk": module}, ALICE, store)
    target = net.create(controllers=[ALICE, BOB], sender=ALICE)
    value = {
        "mode": ("install", None),
        "target_canister": target.bytes,
        "store_canister": store.bytes,
        "chunk_hashes_list": [{"hash": digest}],
        "wasm_module_hash": digest,
        "arg": b"",
    }
    with pytest.raises(CallRejected, match="can control it") as caught:
        net.manage("install_chunked_code", types.INSTALL_CHUNKED, value, BOB, target)
    assert caught.value.error_code == "CanisterInvalidController"
    for change, text in (
        ({"chunk_hashes_list": [{"hash": b"short"}]}, "length is not 32"),
        ({"chunk_hashes_list": [{"hash": digest}] * 101}, "101 chunks given"),
        ({"store_canister": b"\x00"}, "not found"),
    ):
        with pytest.raises(CallRejected, match=text):
            net.manage("install_chunked_code", types.INSTALL_CHUNKED, {**value, **change}, ALICE, target)
    cycles = net.cycles(target)
    net.manage("install_chunked_code", types.INSTALL_CHUNKED, value, ALICE, target)
    # Putting a chunk together takes an instruction a byte, as if it were full.
    assert cycles - net.cycles(target) > 1024 * 1024


def test_a_canister_installs_from_its_own_chunk_store(net: Network, manager: Principal) -> None:
    module = canister(COUNTER)
    own = {"canister_id": manager.bytes, "chunk": module}
    through(net, manager, "upload_chunk", types.UPLOAD_CHUNK, own)
    created = through(net, manager, "create_canister", types.CREATE, {}, 2_000_000_000_000)
    child = Principal(candid.decode(created, [types.CANISTER_ID])[0]["canister_id"])
    value = {
        "mode": ("install", None),
        "target_canister": child.bytes,
        "store_canister": manager.bytes,
        "chunk_hashes_list": [{"hash": hashlib.sha256(module).digest()}],
        "wasm_module_hash": hashlib.sha256(module).digest(),
        "arg": b"",
    }
    with pytest.raises(CallRejected, match="does not match"):
        through(net, manager, "install_chunked_code", types.INSTALL_CHUNKED, {**value, "wasm_module_hash": bytes(32)})
    missing = {**value, "chunk_hashes_list": [{"hash": bytes(32)}]}
    with pytest.raises(CallRejected, match="was not found"):
        through(net, manager, "install_chunked_code", types.INSTALL_CHUNKED, missing)
    through(net, manager, "install_chunked_code", types.INSTALL_CHUNKED, value)
    assert number(net.update(child, "increment")) == 1


def test_uninstalling_removes_code_and_state(net: Network) -> None:
    target = net.deploy(canister(UPGRADING))
    net.update_settings(target, freezing_threshold=77, compute_allocation=1)
    net.stop(target)
    before = net.canister_status(target)
    net.uninstall(target)
    status = net.canister_status(target)
    assert (status["module_hash"], status["memory_metrics"]["stable_memory_size"]) == (None, 0)
    # Cycles, settings, history and running state stay.
    assert (status["status"], status["settings"]) == (("stopped", None), before["settings"])
    assert status["version"] == before["version"] + 1
    assert before["cycles"] - status["cycles"] < 10_000_000


def test_cycles_sent_with_a_call_that_needs_none_come_back(net: Network, manager: Principal) -> None:
    target = net.create(cycles=10)
    calls: list[tuple[str, candid.Type, dict[str, Any]]] = [
        ("provisional_create_canister_with_cycles", types.PROVISIONAL_CREATE, {"amount": 5}),
        ("provisional_top_up_canister", types.PROVISIONAL_TOP_UP, {"canister_id": target.bytes, "amount": 1}),
        ("canister_info", types.INFO_ARGS, {"canister_id": target.bytes}),
    ]
    for method, kind, value in calls:
        cycles = net.cycles(manager)
        through(net, manager, method, kind, value, 10**12)
        assert cycles - net.cycles(manager) < 10**9
    assert net.cycles(target) == 11
    cycles = net.cycles(manager)
    with pytest.raises(CallRejected, match="not found"):
        through(net, manager, "deposit_cycles", types.CANISTER_ID, {"canister_id": b"\x00"}, 10**12)
    assert cycles - net.cycles(manager) < 10**9


def test_a_stopped_canister_is_ready_for_migration(net: Network) -> None:
    target = net.deploy(canister(COUNTER))
    assert not net.canister_status(target)["ready_for_migration"]
    net.stop(target)
    assert net.canister_status(target)["ready_for_migration"]


def test_only_a_stopped_canister_is_deleted(net: Network) -> None:
    target = net.create()
    with pytest.raises(CallRejected, match="must be stopped") as caught:
        net.delete(target)
    assert caught.value.error_code == "CanisterNotStopped"
    net.stop(target)
    net.stop(target)
    net.delete(target)
    assert not net.exists(target)


def test_only_controllers_manage_a_canister(net: Network, manager: Principal) -> None:
    target = net.deploy(canister(COUNTER), controllers=[ALICE], sender=ALICE)
    for action in (net.start, net.stop, net.uninstall, net.delete, net.canister_status):
        with pytest.raises(CallRejected, match="Only controllers"):
            action(target, sender=BOB)
    for action in (net.upgrade, net.reinstall):
        with pytest.raises(CallRejected, match="Only controllers"):
            action(target, canister(COUNTER), sender=BOB)
    with pytest.raises(CallRejected, match="can control it"):
        through(net, manager, "stop_canister", types.CANISTER_ID, {"canister_id": target.bytes})


def test_a_canister_reads_its_own_status(net: Network, manager: Principal) -> None:
    reply = through(net, manager, "canister_status", types.CANISTER_ID, {"canister_id": manager.bytes})
    (status,) = candid.decode(reply, [types.STATUS])
    assert status["settings"]["controllers"] == [b"\x04"]
    assert status["status"] == ("running", None)
    assert status["idle_cycles_burned_per_day"] > 0


def test_canister_info_tells_the_history(net: Network, manager: Principal) -> None:
    module = canister(COUNTER)
    target = net.deploy(module, sender=ALICE)
    net.update_settings(target, sender=ALICE, controllers=[ALICE, BOB])
    net.upgrade(target, module, sender=BOB)
    net.reinstall(target, module, sender=BOB)
    snapshot = net.take_snapshot(target, ALICE)
    net.load_snapshot(target, snapshot["id"], ALICE)
    net.uninstall(target, ALICE)
    net.install(target, module, sender=ALICE)
    told = info(net, manager, target)
    assert told["total_num_changes"] == 8
    digest = hashlib.sha256(module).digest()
    assert [(change["details"][0], (change["details"][1] or {}).get("mode")) for change in told["recent_changes"]] == [
        ("creation", None),
        ("code_deployment", ("install", None)),
        ("controllers_change", None),
        ("code_deployment", ("upgrade", None)),
        ("code_deployment", ("reinstall", None)),
        ("load_snapshot", None),
        ("code_uninstall", None),
        ("code_deployment", ("install", None)),
    ]
    by = [change["origin"] for change in told["recent_changes"]]
    assert by[0] == ("from_user", {"user_id": ALICE.bytes})
    assert by[3] == ("from_user", {"user_id": BOB.bytes})
    assert told["recent_changes"][3]["details"][1]["module_hash"] == told["module_hash"] == digest
    versions = [change["canister_version"] for change in told["recent_changes"]]
    assert versions == sorted(set(versions))
    assert versions[-1] == net.canister_status(target, ALICE)["version"]
    times = [change["timestamp_nanos"] for change in told["recent_changes"]]
    assert times == sorted(times)
    assert sorted(told["controllers"]) == sorted([ALICE.bytes, BOB.bytes])
    assert [len(info(net, manager, target, wanted)["recent_changes"]) for wanted in (0, 3, 8, 9)] == [0, 3, 8, 8]


def test_the_history_keeps_the_newest_twenty_changes(net: Network, manager: Principal) -> None:
    target = net.create()
    for number_ in range(25):
        net.update_settings(target, controllers=[ANONYMOUS, Principal(bytes([number_]))])
    told = info(net, manager, target)
    assert told["total_num_changes"] == 26
    kept = [change["details"][1]["controllers"][1] for change in told["recent_changes"]]
    assert kept == [bytes([number_]) for number_ in range(5, 25)]
    # Without a number no changes are told.
    bare = through(net, manager, "canister_info", types.INFO_ARGS, {"canister_id": target.bytes})
    assert candid.decode(bare, [types.INFO])[0]["recent_changes"] == []


def test_changes_by_canisters_carry_the_version_they_gave(net: Network, manager: Principal) -> None:
    target = net.create()
    net.update_settings(target, controllers=[ANONYMOUS, manager])
    for version in (None, 17):
        value = {
            "canister_id": target.bytes,
            "settings": {"controllers": [b"\x04", manager.bytes]},
            "sender_canister_version": version,
        }
        through(net, manager, "update_settings", types.UPDATE_SETTINGS, value)
    origins = [change["origin"] for change in info(net, manager, target)["recent_changes"][-2:]]
    assert origins == [
        ("from_canister", {"canister_id": manager.bytes, "canister_version": version}) for version in (None, 17)
    ]


def test_everybody_may_query_what_canister_info_tells(net: Network) -> None:
    target = net.deploy(canister(COUNTER), sender=ALICE)
    payload = candid.encode([types.INFO_ARGS], [{"canister_id": target.bytes, "num_requested_changes": 1}])
    (told,) = candid.decode(net.query(None, "canister_info", payload, BOB), [types.INFO])
    assert (told["total_num_changes"], len(told["recent_changes"])) == (2, 1)
    with pytest.raises(CallRejected, match="Only canisters"):
        net.update(None, "canister_info", payload, BOB)


def test_metadata_is_public_or_for_controllers(net: Network, manager: Principal) -> None:
    sections = custom_section("icp:public about", b"all") + custom_section("icp:private notes", b"mine")
    target = net.deploy(canister(COUNTER) + sections)

    def ask(name: str) -> bytes:
        value = {"canister_id": target.bytes, "name": name}
        reply = through(net, manager, "canister_metadata", types.METADATA_ARGS, value)
        return candid.decode(reply, [types.METADATA])[0]["value"]

    assert ask("about") == b"all"
    for name in ("notes", "nothing"):
        with pytest.raises(CallRejected, match=f"no metadata section with the name {name}"):
            ask(name)
    net.update_settings(target, controllers=[ANONYMOUS, manager])
    assert ask("notes") == b"mine"
    net.uninstall(target)
    with pytest.raises(CallRejected, match="no Wasm module"):
        ask("about")


def test_cycles_are_deposited_and_topped_up(net: Network, manager: Principal) -> None:
    target = net.create(cycles=1_000)
    through(net, manager, "deposit_cycles", types.CANISTER_ID, {"canister_id": target.bytes}, 5_000)
    assert net.cycles(target) == 6_000
    net.manage("provisional_top_up_canister", types.PROVISIONAL_TOP_UP, {"canister_id": target.bytes, "amount": 10})
    assert net.cycles(target) == 6_010


def test_logs_are_for_controllers_unless_public(net: Network) -> None:
    target = net.create(controllers=[ALICE], sender=ALICE)
    with pytest.raises(CallRejected, match="not allowed to access"):
        net.logs(target, BOB)
    net.update_settings(target, sender=ALICE, log_visibility=("allowed_viewers", [BOB.bytes]))
    assert net.logs(target, BOB) == []


def test_unknown_methods_and_broken_arguments_are_refused(net: Network) -> None:
    unknown = ("sign_with_ecdsa", "vetkd_derive_key", "subnet_info", "node_metrics_history", "canister_metrics")
    for method in unknown:
        with pytest.raises(CallRejected, match=f"no method '{method}'") as caught:
            net.update(None, method, b"DIDL\0\0")
        assert caught.value.error_code == "CanisterMethodNotFound"
    with pytest.raises(CallRejected, match="Error decoding candid") as caught:
        net.update(None, "start_canister", b"DIDL\0\1\x7d\1")
    assert caught.value.error_code == "InvalidManagementPayload"
    with pytest.raises(CallRejected, match="field canister_id is missing"):
        net.manage("start_canister", record(other=PRINCIPAL, x=NAT), {"other": b"", "x": 1})
