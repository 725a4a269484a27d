"""The state of one canister: settings, code, cycles, queue, call contexts, history, logs.

Data only: messages are executed by `scheduler`, settings changed by `management`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from localnet.message import OutgoingCall, Response
from localnet.modules import CompiledModule
from localnet.prices import (
    DEFAULT_FREEZING_THRESHOLD,
    DEFAULT_RESERVED_CYCLES_LIMIT,
    DEFAULT_WASM_MEMORY_LIMIT,
    GLOBAL_BYTES,
    MAX_CHUNK_BYTES,
    MAX_HEAP_BYTES,
    MIN_LOG_BYTES,
)
from localnet.runtime import Runtime
from localnet.snapshots import Snapshot

LOG_RECORD_OVERHEAD = 16
MAX_HISTORY = 20
HISTORY_ENTRY_BYTES = 100


class Status(IntEnum):
    """Running state, numbered as ``ic0.canister_status`` reports it."""

    RUNNING = 1
    STOPPING = 2
    STOPPED = 3


Visibility = tuple[str, list[bytes] | None]
"""``("controllers" | "public", None)`` or ``("allowed_viewers", principals)``."""


class LowMemory(Enum):
    """Whether the Wasm memory is nearly used up, and ``canister_on_low_wasm_memory`` has run since it is.

    The values are the management canister's names.
    """

    NO = "condition_not_satisfied"
    READY = "ready"
    EXECUTED = "executed"


@dataclass
class Settings:
    """A canister's settings, in the units of the management canister."""

    controllers: list[bytes] = field(default_factory=list)
    compute_allocation: int = 0
    memory_allocation: int = 0
    freezing_threshold: int = DEFAULT_FREEZING_THRESHOLD
    reserved_cycles_limit: int = DEFAULT_RESERVED_CYCLES_LIMIT
    wasm_memory_limit: int = DEFAULT_WASM_MEMORY_LIMIT
    wasm_memory_threshold: int = 0
    log_visibility: Visibility = ("controllers", None)
    log_memory_limit: int = MIN_LOG_BYTES
    snapshot_visibility: Visibility = ("controllers", None)
    status_visibility: Visibility = ("controllers", None)
    environment_variables: dict[str, str] = field(default_factory=dict)
    minimum_incoming_canister_call_cycles: int = 0


@dataclass(frozen=True)
class IngressOrigin:
    """A call that came from a user; the answer goes to the ingress history."""

    request_id: bytes
    caller: bytes


@dataclass(frozen=True)
class CallOrigin:
    """A call another canister made; the answer goes to its callback."""

    caller: bytes
    callback: int
    remote: bool = False
    """The caller is on another subnet: the response needs a round to get there."""
    deadline: int = 0
    """Until when a caller that asked for a best-effort response waits for it, in nanoseconds; 0 for ever."""


@dataclass(frozen=True)
class TaskOrigin:
    """A heartbeat or timer; nobody waits for an answer."""

    caller: bytes = b""


Origin = IngressOrigin | CallOrigin | TaskOrigin


@dataclass
class CallMessage:
    """A call waiting to be executed."""

    origin: Origin
    method: str
    arg: bytes
    cycles: int = 0
    subnet: bytes = b""
    """Of a call to the management canister: the subnet that executes it."""


@dataclass
class ResponseMessage:
    """A response waiting for its callback to be executed."""

    callback: int
    response: Response
    refund: int
    best_effort: bool = False
    """Dropped when it comes after the callback's deadline."""


@dataclass
class CallContext:
    """A call being answered: it lives until it responded and every call made for it came back."""

    origin: Origin
    cycles: int
    responded: bool = False
    outstanding: int = 0
    instructions: int = 0


@dataclass
class Callback:
    """What to do when the response to a call arrives."""

    context: int
    call: OutgoingCall


@dataclass(frozen=True)
class Change:
    """An entry of the canister's history."""

    time: int
    version: int
    origin: Origin
    origin_version: int | None
    details: tuple[str, object]


@dataclass
class LogRecord:
    """A line of the canister's log."""

    index: int
    time: int
    content: bytes


@dataclass
class Canister:
    """Everything the network knows about one canister."""

    id: bytes
    subnet: bytes
    cycles: int
    settings: Settings
    created_at: int
    reserved: int = 0
    """Cycles set aside for memory taken when the subnet was nearly full; they pay for memory and compute alone."""
    status: Status = Status.RUNNING
    module: CompiledModule | None = None
    runtime: Runtime | None = None
    version: int = 0
    certified_data: bytes = b""
    global_timer: int = 0
    charged_until: int = 0
    queue: deque[CallMessage | ResponseMessage] = field(default_factory=deque)
    contexts: dict[int, CallContext] = field(default_factory=dict)
    callbacks: dict[int, Callback] = field(default_factory=dict)
    next_context: int = 0
    next_callback: int = 0
    outstanding: dict[bytes, int] = field(default_factory=dict)
    """Calls to each callee that haven't come back."""
    deadlines: dict[int, int] = field(default_factory=dict)
    """Callbacks of calls with a best-effort response that haven't come back, with their deadlines."""
    low_memory: LowMemory = LowMemory.NO
    stop_waiters: list[tuple[Origin, int, int]] = field(default_factory=list)
    """Who waits for the canister to stop: origin, cycles to give back, time of the request."""
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    snapshots: dict[bytes, Snapshot] = field(default_factory=dict)
    """By id, oldest first."""
    next_snapshot: int = 0
    history: list[Change] = field(default_factory=list)
    total_changes: int = 0
    logs: list[LogRecord] = field(default_factory=list)
    next_log: int = 0
    query_calls: int = 0
    query_instructions: int = 0
    query_request_bytes: int = 0
    query_response_bytes: int = 0

    @property
    def armed_timer(self) -> int:
        """When the global timer fires, 0 for never: that of a canister which does not run waits."""
        return self.global_timer if self.status is Status.RUNNING else 0

    @property
    def heap_bytes(self) -> int:
        """Bytes of Wasm memory."""
        return self.runtime.heap_bytes if self.runtime is not None else 0

    @property
    def is_low_on_memory(self) -> bool:
        """True when less Wasm memory is left than the setting ``wasm_memory_threshold``."""
        threshold = self.settings.wasm_memory_threshold
        limit = self.settings.wasm_memory_limit or MAX_HEAP_BYTES
        return threshold > 0 and self.heap_bytes + threshold > limit

    @property
    def stable_bytes(self) -> int:
        """Bytes of stable memory."""
        return self.runtime.stable.pages * 65536 if self.runtime is not None else 0

    @property
    def chunk_bytes(self) -> int:
        """Bytes of the chunk store."""
        return len(self.chunks) * MAX_CHUNK_BYTES

    @property
    def snapshot_bytes(self) -> int:
        """Bytes of the canister's snapshots."""
        return sum(snapshot.size for snapshot in self.snapshots.values())

    @property
    def code_and_state_bytes(self) -> int:
        """Bytes of code, memories and chunk store: what uninstalling the canister frees."""
        module = self.module
        code = module.size + module.metadata_size + GLOBAL_BYTES * len(module.globals) if module is not None else 0
        return self.heap_bytes + self.stable_bytes + self.chunk_bytes + code

    @property
    def memory_usage(self) -> int:
        """Bytes the canister pays storage for (without its allocation)."""
        return self.code_and_state_bytes + self.history_bytes + self.snapshot_bytes + self.settings.log_memory_limit

    @property
    def history_bytes(self) -> int:
        """Bytes of the history."""
        return HISTORY_ENTRY_BYTES * len(self.history)

    def add_change(self, change: Change) -> None:
        """Append to the history, which keeps the newest entries."""
        self.total_changes += 1
        self.history.append(change)
        del self.history[:-MAX_HISTORY]

    def add_logs(self, lines: list[bytes], time: int) -> None:
        """Append to the log, which keeps the newest lines that fit."""
        for line in lines:
            self.logs.append(LogRecord(self.next_log, time, line))
            self.next_log += 1
        if lines:
            self.trim_logs()

    def trim_logs(self) -> None:
        """Drop the oldest lines of a log that is larger than its limit."""
        size = sum(len(record.content) + LOG_RECORD_OVERHEAD for record in self.logs)
        while size > self.settings.log_memory_limit:
            size -= len(self.logs.pop(0).content) + LOG_RECORD_OVERHEAD
