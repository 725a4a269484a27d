"""Networks in this process with canisters that do a bit of everything, for tests of saved state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localnet import candid, state_tree
from localnet import management_types as types
from localnet.checkpoint import Setup
from localnet.errors import ErrorCode, Reject
from localnet.message import Rejection, Response
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.outcalls import HttpReply
from localnet.prices import Capacity, Limits
from localnet.principal import ANONYMOUS, MANAGEMENT
from localnet.state_folder import StateFolder
from localnet.system_api import signatures
from tests.localnet.wat import canister

CACHE = ModuleCache(signatures())
SETUP = Setup(["Application", "System"], 7, Limits(), Capacity(memory=1 << 30, memory_threshold=0))
"""Whoever takes memory must reserve cycles for it."""
REFUSAL = Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, "no such server")
SECOND = 1_000_000_000

BUSY = """
(table 3 funcref)
(elem (i32.const 0) $on_answer $on_reject $step_by)
(global $count (mut i64) (i64.const 0))
(global $ratio (mut f64) (f64.const 1))
(func $step
  (global.set $count (i64.add (global.get $count) (i64.const 1)))
  (global.set $ratio (f64.div (global.get $ratio) (f64.const 3)))
  (i64.store (i32.const 5000) (global.get $count)))
(func $step_by (param i32) (call $step))
(func $on_answer (param i32) (call $step) (call $answer64 (global.get $count)))
(func $on_reject (param i32) (call $step) (call $answer32 (call $msg_reject_code)))
;; callee, name of the method, where in the argument the payload starts, seconds to wait for the response (0: for ever)
(func $call (param $id i32) (param $id_size i32) (param $name i32) (param $name_size i32) (param $from i32)
  (param $timeout i32)
  (local $size i32)
  (local.set $size (call $argument (i32.const 1000)))
  (call $call_new (local.get $id) (local.get $id_size) (local.get $name) (local.get $name_size)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (call $call_on_cleanup (i32.const 2) (i32.const 0))
  (if (local.get $timeout) (then (call $call_with_best_effort_response (local.get $timeout))))
  (call $call_data_append (i32.add (i32.const 1000) (local.get $from)) (i32.sub (local.get $size) (local.get $from)))
  (call $call_cycles_add128 (i64.const 0) (i64.const 100000000000))
  (drop (call $call_perform)))
(func $http_request (param $id i32) (param $id_size i32) (param $from i32) (param $timeout i32)
  (call $call (local.get $id) (local.get $id_size) (i32.const 100) (i32.const 12) (local.get $from)
    (local.get $timeout)))
(func (export "canister_init") (drop (call $stable64_grow (i64.const 1))))
(func (export "canister_update count")
  (call $step)
  (call $stable64_write (i64.rem_u (i64.mul (global.get $count) (i64.const 4093)) (i64.const 65528))
    (i64.const 5000) (i64.const 8))
  (call $answer64 (global.get $count)))
(func (export "canister_update http_request") (call $step) (call $answer64 (global.get $count)))
(func (export "canister_update call") (call $http_request (i32.const 1000) (i32.const 10) (i32.const 10) (i32.const 0)))
(func (export "canister_update ask") (call $http_request (i32.const 1000) (i32.const 10) (i32.const 10) (i32.const 5)))
(func (export "canister_update tell")
  (call $http_request (i32.const 1000) (i32.const 10) (i32.const 10) (i32.const 0)) (call $msg_reply))
(func (export "canister_update fetch") (call $http_request (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
(func (export "canister_update have_fetched")
  (call $call (i32.const 1000) (i32.const 10) (i32.const 120) (i32.const 5) (i32.const 10) (i32.const 60)))
(func (export "canister_update wake")
  (drop (call $global_timer_set (i64.add (call $time) (i64.const 3000000000)))) (call $msg_reply))
(func (export "canister_update certify")
  (call $certified_data_set (i32.const 4984) (i32.const 32)) (call $msg_reply))
(func (export "canister_update print") (call $debug_print (i32.const 100) (i32.const 12)) (call $msg_reply))
(func (export "canister_update grow")
  (drop (memory.grow (i32.const 1))) (drop (call $stable64_grow (i64.const 1)))
  (i64.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)) (global.get $count))
  (call $answer64 (call $stable64_size)))
(func (export "canister_update grow_and_trap")
  (drop (memory.grow (i32.const 1))) (drop (call $stable64_grow (i64.const 9))) (call $step) unreachable)
(func (export "canister_query read") (call $answer64 (global.get $count)))
(func (export "canister_query variables") (call $answer32 (call $env_var_count)))
(func (export "canister_query write_and_read")
  (call $stable64_write (i64.const 0) (i64.const 0) (i64.const 40000)) (call $answer64 (global.get $count)))
(func (export "canister_global_timer") (call $step))
(func (export "canister_on_low_wasm_memory")
  (call $step)
  (call $canister_self_copy (i32.const 200) (i32.const 0) (i32.const 10))
  (call $call_new (i32.const 200) (i32.const 10) (i32.const 100) (i32.const 12)
    (i32.const 2) (i32.const 0) (i32.const 2) (i32.const 0))
  (drop (call $call_perform)))
"""
MODULE = canister(BUSY, {100: b"http_request", 120: b"fetch"}, memory="2")
REQUEST = candid.encode(
    [types.HTTP_REQUEST],
    [{"url": "https://example.org/", "max_response_bytes": 100, "method": ("get", None), "headers": []}],
)


def make(setup: Setup) -> Network:
    """An empty network."""
    return Network(setup.kinds, CACHE, seed=setup.seed, limits=setup.limits, capacity=setup.capacity)


def open_folder(path: Path, setup: Setup = SETUP) -> tuple[Network, StateFolder]:
    """The network of a state folder, created when the folder is new."""
    folder = StateFolder(path)
    try:
        network = folder.load(make) or make(setup)
        folder.attach(network)
    except BaseException:
        folder.close()
        raise
    return network, folder


class World:
    """Operations on a network; each does what a client could do."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def ids(self) -> list[bytes]:
        """The canisters there are."""
        return list(self.network.canisters)

    def submit(self, callee: bytes, method: str, arg: bytes = b"", effective: bytes | None = None) -> bytes | None:
        """Submit a call; None when it isn't accepted."""
        try:
            return self.network.submit(ANONYMOUS, callee, method, arg, effective)
        except Reject:
            return None

    def manage(
        self, method: str, kind: candid.Type, value: dict[str, Any], effective: bytes | None = None
    ) -> bytes | None:
        """Submit a call of a management method."""
        return self.submit(MANAGEMENT, method, candid.encode([kind], [value]), effective)

    def create(self, subnet: int = 0) -> bytes | None:
        """Ask for a canister on a subnet."""
        where = list(self.network.subnets)[subnet]
        return self.manage("provisional_create_canister_with_cycles", types.PROVISIONAL_CREATE, {}, where)

    def install(self, canister_id: bytes, mode: str = "install", module: bytes = MODULE) -> bytes | None:
        """Ask for an installation."""
        value = {"canister_id": canister_id, "mode": (mode, None), "wasm_module": module, "arg": b""}
        return self.manage("install_code", types.INSTALL, value)

    def about(self, method: str, canister_id: bytes) -> bytes | None:
        """Call a management method that takes a canister's id."""
        return self.manage(method, types.CANISTER_ID, {"canister_id": canister_id})

    def upload(self, canister_id: bytes, chunk: bytes) -> bytes | None:
        """Put a chunk into a canister's chunk store."""
        return self.manage("upload_chunk", types.UPLOAD_CHUNK, {"canister_id": canister_id, "chunk": chunk})

    def change(self, canister_id: bytes, **settings: Any) -> bytes | None:
        """Ask for other settings."""
        return self.manage("update_settings", types.UPDATE_SETTINGS, {"canister_id": canister_id, "settings": settings})

    def sign(self, callee: bytes, nonce: bytes) -> bytes | None:
        """Submit a call that counts as clients with keys do: with a request id; None when it came before."""
        network, rid = self.network, nonce.rjust(32)
        if rid in network.replays:
            return None
        expiry = network.clock.now + 60 * SECOND
        try:
            return network.submit(ANONYMOUS, callee, "count", b"", None, rid, expiry)
        except Reject:
            return None

    def take_snapshot(self, canister_id: bytes) -> bytes | None:
        """Ask for a snapshot."""
        return self.manage("take_canister_snapshot", types.TAKE_SNAPSHOT, {"canister_id": canister_id})

    def load_snapshot(self, canister_id: bytes) -> bytes | None:
        """Ask for the return to the canister's oldest snapshot, if it has one."""
        for snapshot_id in self.network.canisters[canister_id].snapshots:
            value = {"canister_id": canister_id, "snapshot_id": snapshot_id}
            return self.manage("load_canister_snapshot", types.LOAD_SNAPSHOT, value)
        return None

    def tick(self, seconds: float = 0) -> None:
        """Move time and execute a round."""
        self.network.set_time(self.network.clock.now + int(seconds * SECOND))
        self.network.tick()

    def certify(self) -> list[bytes]:
        """Execute a round; returns what it certifies, by subnet."""
        self.tick()
        return [state_tree.current(self.network, subnet).tree.hash for subnet in self.network.subnets.values()]

    def query(self, canister_id: bytes, method: str) -> bytes | None:
        """Query; None when it fails."""
        try:
            return self.network.query(ANONYMOUS, canister_id, method, b"")
        except Reject:
            return None

    def answer_outcall(self, status: int) -> None:
        """Answer the oldest outcall that waits: with a rejection when the status is 0."""
        for number in list(self.network.outcalls.pending):
            answer = HttpReply(status, [("a", "b")], b"body") if status else Rejection.of(REFUSAL)
            if self.network.answer_outcall(number, [answer]):
                return

    def response(self, rid: bytes | None) -> Response:
        """The response to a submitted call, which must be there."""
        assert rid is not None
        response = self.network.ingress[rid].response
        assert response is not None
        return response

    def deploy(self, subnet: int = 0) -> bytes:
        """Create a canister with `MODULE` at once; returns its id."""
        before = set(self.ids)
        self.create(subnet)
        self.network.tick()
        (found,) = set(self.ids) - before
        rid = self.install(found)
        self.network.tick()
        assert not isinstance(self.response(rid), Rejection)
        return found
