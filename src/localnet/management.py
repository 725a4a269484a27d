"""The management canister ``aaaaa-aa``: who may call which method, and what each does.

Code installation is in `installer`, outcalls are in `outcalls`; types are in `management_types`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localnet import accounts, candid
from localnet import management_types as types
from localnet.candid import CandidError, Type
from localnet.canister import (
    CallMessage,
    CallOrigin,
    Canister,
    Change,
    IngressOrigin,
    Origin,
    Settings,
    Status,
)
from localnet.errors import BadRequest, ErrorCode, Reject
from localnet.installer import Installer, InstallRequest
from localnet.message import Rejection, Reply
from localnet.prices import (
    DEFAULT_PROVISIONAL_CYCLES,
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_CONTROLLERS,
)
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.network import Network, Subnet

UPLOAD_CHUNK_INSTRUCTIONS = 200_000_000
"""Instructions an upload to the chunk store is charged for (replica configuration)."""
_EMPTY_REPLY = candid.encode([], [])
_U64 = 1 << 64
_U128 = 1 << 128


@dataclass
class Call:
    """A management call being executed."""

    origin: Origin
    subnet: Subnet
    cycles: int

    @property
    def caller(self) -> bytes:
        """Who called."""
        return self.origin.caller

    @property
    def by_user(self) -> bool:
        """True for a call from outside."""
        return isinstance(self.origin, IngressOrigin)


class Deferred(Exception):
    """Raised by a method that will answer later; the cycles went with it."""


Handler = Callable[["Management", Call, Any], bytes]
_METHODS: dict[str, tuple[Type | None, Handler]] = {}
_FREE_INGRESS = {"provisional_create_canister_with_cycles", "provisional_top_up_canister"}
_CANISTERS_ONLY = {"create_canister", "deposit_cycles", "raw_rand", "http_request", "canister_info"}
_OWN = {"canister_status", "upload_chunk", "clear_chunk_store", "stored_chunks"}
"""Methods a canister may call on itself, besides its controllers."""
_TARGETS = {"install_chunked_code": "target_canister"}


def _method(argument: Type | None) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _METHODS[handler.__name__] = (argument, handler)
        return handler

    return register


class Management:
    """The management canister of a network (one queue for all of its subnets)."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._installer = Installer(network)
        self.queue: deque[CallMessage] = deque()

    # Calls -------------------------------------------------------------------------------------------

    def admit_ingress(
        self, sender: bytes, method: str, arg: bytes, effective: bytes | None
    ) -> tuple[Canister | None, Subnet]:
        """Who pays for a user's call, and the subnet it goes to. Raises `Reject` when it cannot be accepted."""
        value = self._decode(method, arg)
        if method in _CANISTERS_ONLY:
            raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, f"Only canisters can call ic00 method {method}")
        network = self._network
        if method == "provisional_create_canister_with_cycles":
            return None, self._subnet_for(effective)
        target = value[_TARGETS.get(method, "canister_id")]
        canister = network.canister(target)
        if method not in _FREE_INGRESS and sender not in canister.settings.controllers:
            raise Reject(
                ErrorCode.CANISTER_INVALID_CONTROLLER,
                f"Only controllers of canister {to_text(target)} can call ic00 method {method}",
            )
        return (None if method in _FREE_INGRESS else canister), network.subnets[canister.subnet]

    def _subnet_for(self, effective: bytes | None) -> Subnet:
        network = self._network
        if not effective:
            return network.default_subnet()
        subnet = network.subnets.get(effective) or network.subnet_of(effective)
        if subnet is None:
            raise BadRequest(f"{to_text(effective)} is neither a subnet nor an id of one's canisters")
        return subnet

    def _decode(self, method: str, arg: bytes) -> Any:
        if method not in _METHODS:
            raise Reject(ErrorCode.CANISTER_METHOD_NOT_FOUND, f"Management canister has no method '{method}'")
        argument, _ = _METHODS[method]
        if argument is None:
            return None
        try:
            return candid.decode(arg, [argument])[0]
        except CandidError as error:
            raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, f"Error decoding candid: {error}") from error

    def step(self) -> bool:
        """Execute the next call. False when there is none."""
        if not self.queue:
            return False
        message = self.queue.popleft()
        network = self._network
        call = Call(message.origin, self._subnet_of(message), message.cycles)
        try:
            value = self._decode(message.method, message.arg)
            if call.by_user and message.method in _CANISTERS_ONLY:
                raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, f"Only canisters can call {message.method}")
            reply = _METHODS[message.method][1](self, call, value)
        except Deferred:
            return True
        except Reject as reject:
            network.scheduler.respond(message.origin, Rejection.of(reject), call.cycles)
            return True
        network.scheduler.respond(message.origin, Reply(reply), call.cycles)
        return True

    def _subnet_of(self, message: CallMessage) -> Subnet:
        network = self._network
        if isinstance(message.origin, IngressOrigin):
            entry = network.ingress[message.origin.request_id]
            return network.subnets[entry.subnet]
        return network.subnets[network.canisters[message.origin.caller].subnet]

    def query(self, sender: bytes, method: str, arg: bytes) -> bytes:
        """Evaluate a query call to the management canister. Raises `Reject`."""
        if method != "fetch_canister_logs":
            raise Reject(
                ErrorCode.CANISTER_METHOD_NOT_FOUND, f"Query method {method} not found on the management canister"
            )
        value = self._decode(method, arg)
        canister = self._network.canister(value["canister_id"])
        kind, viewers = canister.settings.log_visibility
        allowed = kind == "public" or sender in canister.settings.controllers or sender in (viewers or [])
        if not allowed:
            raise Reject(
                ErrorCode.CANISTER_REJECTED_MESSAGE, f"Caller {to_text(sender)} is not allowed to access canister logs"
            )
        records = [
            {"idx": record.index, "timestamp_nanos": record.time, "content": record.content} for record in canister.logs
        ]
        return candid.encode([types.LOGS], [{"canister_log_records": records}])

    def _target(self, call: Call, canister_id: bytes, method: str) -> Canister:
        """The canister a call is about, if the caller controls it (or is it, where that is enough)."""
        canister = self._network.canister(canister_id)
        if call.caller in canister.settings.controllers or (method in _OWN and call.caller == canister_id):
            return canister
        controllers = " ".join(sorted(to_text(c) for c in canister.settings.controllers))
        raise Reject(
            ErrorCode.CANISTER_INVALID_CONTROLLER,
            f"Only the controllers of the canister {to_text(canister_id)} can control it.\n"
            f"Canister's controllers: {controllers}\nSender's ID: {to_text(call.caller)}",
        )

    def _record(self, canister: Canister, call: Call, version: int | None, details: tuple[str, object]) -> None:
        canister.version += 1
        change = Change(self._network.clock.now, canister.version, call.origin, version, details)
        canister.add_change(change)

    # Creation, settings, cycles ------------------------------------------------------------------------

    @_method(types.CREATE)
    def create_canister(self, call: Call, value: dict[str, Any]) -> bytes:
        """Create a canister from the attached cycles, less the creation fee."""
        network = self._network
        creator = network.canisters[call.caller]
        fee = network.prices_of(creator).canister_creation
        if call.cycles < fee:
            raise Reject(
                ErrorCode.INSUFFICIENT_CYCLES_FOR_CREATE_CANISTER,
                f"Creating a canister requires a fee of {fee} that is deducted from the canister's initial balance "
                f"but only {call.cycles} cycles were received with the create_canister request.",
            )
        canister = self._create(call, value, call.cycles - fee, None)
        network.burned += fee
        call.cycles = 0
        return candid.encode([types.CANISTER_ID], [{"canister_id": canister.id}])

    @_method(types.PROVISIONAL_CREATE)
    def provisional_create_canister_with_cycles(self, call: Call, value: dict[str, Any]) -> bytes:
        """Create a canister with cycles out of nothing."""
        amount = value["amount"] if value["amount"] is not None else DEFAULT_PROVISIONAL_CYCLES
        canister = self._create(call, value, amount, value["specified_id"])
        return candid.encode([types.CANISTER_ID], [{"canister_id": canister.id}])

    def _create(self, call: Call, value: dict[str, Any], cycles: int, specified: bytes | None) -> Canister:
        settings = Settings(controllers=[call.caller])
        self._apply_settings(settings, value["settings"] or {})
        canister_id, subnet = self._network.allocate_id(call.subnet, specified)
        now = self._network.clock.now
        canister = Canister(canister_id, subnet.id, cycles, settings, now, charged_until=now)
        self._network.canisters[canister_id] = canister
        details = ("creation", {"controllers": list(settings.controllers)})
        self._record(canister, call, value["sender_canister_version"], details)
        return canister

    def _apply_settings(self, settings: Settings, value: dict[str, Any]) -> None:
        """Check all new settings, then change them. Raises `Reject` naming the value and what is allowed."""
        limits = {
            "compute_allocation": 101,
            "memory_allocation": (1 << 48) + 1,
            "freezing_threshold": _U64,
            "reserved_cycles_limit": _U128,
            "wasm_memory_limit": (1 << 48) + 1,
            "wasm_memory_threshold": _U64,
        }
        controllers = value.get("controllers")
        if controllers is not None and len(controllers) > MAX_CONTROLLERS:
            text = f"{len(controllers)} controllers given, at most {MAX_CONTROLLERS} are allowed"
            raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)
        for name, bound in limits.items():
            number = value.get(name)
            if number is not None and number >= bound:
                text = f"{name} is {number}, it must be less than {bound}"
                raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, text)
        for name in (*limits, "log_visibility"):
            if value.get(name) is not None:
                setattr(settings, name, value[name])
        if controllers is not None:
            settings.controllers = list(dict.fromkeys(controllers))

    @_method(types.UPDATE_SETTINGS)
    def update_settings(self, call: Call, value: dict[str, Any]) -> bytes:
        """Change settings; those not given stay."""
        canister = self._target(call, value["canister_id"], "update_settings")
        self._apply_settings(canister.settings, value["settings"])
        canister.version += 1
        if value["settings"]["controllers"] is not None:
            canister.version -= 1
            details = ("controllers_change", {"controllers": list(canister.settings.controllers)})
            self._record(canister, call, value["sender_canister_version"], details)
        return _EMPTY_REPLY

    @_method(types.CANISTER_ID)
    def deposit_cycles(self, call: Call, value: dict[str, Any]) -> bytes:
        """Give the attached cycles to a canister."""
        canister = self._network.canister(value["canister_id"])
        canister.cycles += call.cycles
        call.cycles = 0
        return _EMPTY_REPLY

    @_method(types.PROVISIONAL_TOP_UP)
    def provisional_top_up_canister(self, _call: Call, value: dict[str, Any]) -> bytes:
        """Give cycles out of nothing to a canister."""
        self._network.canister(value["canister_id"]).cycles += value["amount"]
        return _EMPTY_REPLY

    # Code --------------------------------------------------------------------------------------------

    @_method(types.INSTALL)
    def install_code(self, call: Call, value: dict[str, Any]) -> bytes:
        """Install, reinstall or upgrade code given in the message."""
        canister = self._target(call, value["canister_id"], "install_code")
        self._install(call, canister, value, value["wasm_module"])
        return _EMPTY_REPLY

    def _install(self, call: Call, canister: Canister, value: dict[str, Any], module: bytes) -> None:
        kind, options = value["mode"]
        request = InstallRequest(kind, options or {}, module, value["arg"], call.caller)
        self._installer.install(canister, request)
        assert canister.module is not None
        details = ("code_deployment", {"mode": (kind, None), "module_hash": canister.module.hash})
        self._record(canister, call, value["sender_canister_version"], details)

    @_method(types.INSTALL_CHUNKED)
    def install_chunked_code(self, call: Call, value: dict[str, Any]) -> bytes:
        """Install code from a canister's chunk store."""
        canister = self._target(call, value["target_canister"], "install_chunked_code")
        store_id = value["store_canister"] or value["target_canister"]
        store = canister
        if store_id != canister.id:
            store = self._network.canister(store_id)
            if call.caller != store_id:
                store = self._target(call, store_id, "install_chunked_code")
        if store.subnet != canister.subnet:
            raise Reject(
                ErrorCode.CANISTER_NOT_HOSTED_BY_SUBNET,
                f"store canister {to_text(store_id)} is not on the subnet of {to_text(canister.id)}",
            )
        parts = []
        for item in value["chunk_hashes_list"]:
            if item["hash"] not in store.chunks:
                text = f"Error from Wasm chunk store: Chunk {item['hash'].hex()} was not found"
                raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, text)
            parts.append(store.chunks[item["hash"]])
        module = b"".join(parts)
        digest = hashlib.sha256(module).digest()
        if digest != value["wasm_module_hash"]:
            text = f"Error from Wasm chunk store: Wasm module hash {digest.hex()} does not match given hash "
            raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, text + value["wasm_module_hash"].hex())
        self._install(call, canister, value, module)
        return _EMPTY_REPLY

    @_method(types.UPLOAD_CHUNK)
    def upload_chunk(self, call: Call, value: dict[str, Any]) -> bytes:
        """Keep up to a MiB in the chunk store, by its SHA-256."""
        canister = self._target(call, value["canister_id"], "upload_chunk")
        chunk = value["chunk"]
        if len(chunk) > MAX_CHUNK_BYTES:
            raise Reject(
                ErrorCode.CANISTER_CONTRACT_VIOLATION,
                "Error from Wasm chunk store: Wasm chunk size exceeds the maximum chunk size of "
                f"{MAX_CHUNK_BYTES} bytes: {len(chunk)}",
            )
        digest = hashlib.sha256(chunk).digest()
        if digest not in canister.chunks:
            if len(canister.chunks) >= MAX_CHUNKS:
                raise Reject(
                    ErrorCode.CANISTER_CONTRACT_VIOLATION,
                    f"Error from Wasm chunk store: Wasm chunk store has already reached maximum capacity of "
                    f"{MAX_CHUNKS} chunks",
                )
            prices = self._network.prices_of(canister)
            accounts.withdraw(canister, prices.execution(UPLOAD_CHUNK_INSTRUCTIONS), prices)
            canister.chunks[digest] = chunk
        return candid.encode([types.CHUNK_HASH], [{"hash": digest}])

    @_method(types.CANISTER_ID)
    def clear_chunk_store(self, call: Call, value: dict[str, Any]) -> bytes:
        """Drop every chunk."""
        self._target(call, value["canister_id"], "clear_chunk_store").chunks.clear()
        return _EMPTY_REPLY

    @_method(types.CANISTER_ID)
    def stored_chunks(self, call: Call, value: dict[str, Any]) -> bytes:
        """The hashes of the chunks kept."""
        canister = self._target(call, value["canister_id"], "stored_chunks")
        return candid.encode([types.STORED_CHUNKS], [[{"hash": digest} for digest in sorted(canister.chunks)]])

    @_method(types.UNINSTALL)
    def uninstall_code(self, call: Call, value: dict[str, Any]) -> bytes:
        """Remove code and state."""
        canister = self._target(call, value["canister_id"], "uninstall_code")
        self.uninstall(canister, call.origin, value["sender_canister_version"], "canister was uninstalled")
        return _EMPTY_REPLY

    def uninstall(self, canister: Canister, origin: Origin, version: int | None, reason: str) -> None:
        """Remove a canister's code and state; open calls to it are rejected."""
        canister.module = canister.runtime = None
        canister.certified_data = b""
        canister.global_timer = 0
        canister.chunks.clear()
        canister.logs.clear()
        canister.version += 1
        details: tuple[str, object] = ("code_uninstall", None)
        canister.add_change(Change(self._network.clock.now, canister.version, origin, version, details))
        reject = Reject(
            ErrorCode.CANISTER_REJECTED_MESSAGE, f"Canister has been uninstalled: {to_text(canister.id)}, {reason}"
        )
        for context in canister.contexts.values():
            if not context.responded:
                self._network.scheduler.respond(context.origin, Rejection.of(reject), context.cycles)
        canister.contexts.clear()
        self._network.scheduler.finish_stopping(canister)

    # Running state -----------------------------------------------------------------------------------

    @_method(types.CANISTER_ID)
    def start_canister(self, call: Call, value: dict[str, Any]) -> bytes:
        """Run again; a request to stop that is still waiting is rejected."""
        canister = self._target(call, value["canister_id"], "start_canister")
        text = f"Canister {to_text(canister.id)}'s stop request was cancelled"
        for origin, cycles, _ in canister.stop_waiters:
            rejection = Rejection.of(Reject(ErrorCode.CANISTER_STOPPING_CANCELLED, text))
            self._network.scheduler.respond(origin, rejection, cycles)
        canister.stop_waiters.clear()
        canister.status = Status.RUNNING
        canister.version += 1
        return _EMPTY_REPLY

    @_method(types.CANISTER_ID)
    def stop_canister(self, call: Call, value: dict[str, Any]) -> bytes:
        """Take no more calls; answers once every open call is finished."""
        canister = self._target(call, value["canister_id"], "stop_canister")
        if canister.status is Status.STOPPED:
            return _EMPTY_REPLY
        if canister.status is Status.RUNNING:
            canister.status = Status.STOPPING
            canister.version += 1
        canister.stop_waiters.append((call.origin, call.cycles, self._network.clock.now))
        self._network.scheduler.finish_stopping(canister)
        raise Deferred

    @_method(types.CANISTER_ID)
    def delete_canister(self, call: Call, value: dict[str, Any]) -> bytes:
        """Remove a stopped canister; its cycles are gone."""
        canister = self._target(call, value["canister_id"], "delete_canister")
        name = to_text(canister.id)
        if call.caller == canister.id:
            raise Reject(ErrorCode.CANISTER_INVALID_CONTROLLER, f"Canister {name} cannot delete itself")
        if canister.status is not Status.STOPPED:
            raise Reject(ErrorCode.CANISTER_NOT_STOPPED, f"Canister {name} must be stopped before it is deleted.")
        for message in canister.queue:
            if isinstance(message, CallMessage):
                reject = Reject(ErrorCode.CANISTER_NOT_FOUND, f"Canister {name} not found")
                self._network.scheduler.respond(message.origin, Rejection.of(reject), message.cycles)
        del self._network.canisters[canister.id]
        return _EMPTY_REPLY

    # Information -------------------------------------------------------------------------------------

    @_method(types.CANISTER_ID)
    def canister_status(self, call: Call, value: dict[str, Any]) -> bytes:
        """Status, settings, memory and cycles; for controllers and the canister itself."""
        canister = self._target(call, value["canister_id"], "canister_status")
        settings, module = canister.settings, canister.module
        names = [label for _, label, _ in types.DEFINITE_SETTINGS.fields]
        metrics = {
            "wasm_memory_size": canister.heap_bytes,
            "stable_memory_size": canister.stable_bytes,
            "global_memory_size": 8 * len(module.globals) if module else 0,
            "wasm_binary_size": module.size if module else 0,
            "custom_sections_size": module.metadata_size if module else 0,
            "canister_history_size": 0,
            "wasm_chunk_store_size": canister.chunk_bytes,
            "snapshots_size": 0,
        }
        metrics["canister_history_size"] = canister.memory_usage - sum(metrics.values())
        status = {
            "status": (canister.status.name.lower(), None),
            "settings": {name: getattr(settings, name) for name in names},
            "module_hash": module.hash if module else None,
            "memory_size": canister.memory_usage,
            "memory_metrics": metrics,
            "cycles": canister.cycles,
            "reserved_cycles": 0,
            "idle_cycles_burned_per_day": accounts.idle_burn_per_day(canister, self._network.prices_of(canister)),
            "query_stats": {
                "num_calls_total": canister.query_calls,
                "num_instructions_total": canister.query_instructions,
                "request_payload_bytes_total": canister.query_request_bytes,
                "response_payload_bytes_total": canister.query_response_bytes,
            },
        }
        return candid.encode([types.STATUS], [status])

    @_method(types.INFO_ARGS)
    def canister_info(self, _call: Call, value: dict[str, Any]) -> bytes:
        """Module hash, controllers and the newest entries of the history; for any canister."""
        canister = self._network.canister(value["canister_id"])
        count = value["num_requested_changes"] or 0
        recent = canister.history[-count:] if count else []
        info = {
            "total_num_changes": canister.total_changes,
            "recent_changes": [_change(change) for change in recent],
            "module_hash": canister.module.hash if canister.module else None,
            "controllers": canister.settings.controllers,
        }
        return candid.encode([types.INFO], [info])

    @_method(types.CANISTER_ID)
    def fetch_canister_logs(self, _call: Call, _value: dict[str, Any]) -> bytes:
        """Only a query method."""
        raise Reject(
            ErrorCode.CANISTER_REJECTED_MESSAGE, "fetch_canister_logs API is only accessible in non-replicated mode"
        )

    @_method(None)
    def raw_rand(self, _call: Call, _value: None) -> bytes:
        """32 bytes of the network's randomness."""
        return candid.encode([candid.BLOB], [self._network.random()])

    @_method(types.HTTP_REQUEST)
    def http_request(self, call: Call, value: dict[str, Any]) -> bytes:
        """Start an HTTPS outcall; answers when a response came in."""
        canister = self._network.canisters[call.caller]
        self._network.outcalls.request(canister, call.origin, call.cycles, value)
        raise Deferred


def _change(change: Change) -> dict[str, Any]:
    if isinstance(change.origin, CallOrigin):
        origin = {"canister_id": change.origin.caller, "canister_version": change.origin_version}
        named = ("from_canister", origin)
    else:
        named = ("from_user", {"user_id": change.origin.caller})
    return {
        "timestamp_nanos": change.time,
        "canister_version": change.version,
        "origin": named,
        "details": change.details,
    }
