"""What one message execution gets to see, and what it leaves behind.

Plain data between the scheduler (which fills in a `Context` and applies the effects) and the system API
(which reads and writes it). Nothing here takes effect by itself: a trap is undone by dropping the context.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from localnet.errors import Reject, RejectCode


class Mode(Enum):
    """The execution contexts of the IC interface specification ("Overview of imports")."""

    START = "start"
    INIT = "init"
    PRE_UPGRADE = "pre_upgrade"
    UPDATE = "update"
    REPLICATED_QUERY = "replicated query"
    QUERY = "non replicated query"
    COMPOSITE_QUERY = "composite query"
    REPLY = "reply callback"
    REJECT = "reject callback"
    COMPOSITE_REPLY = "composite reply callback"
    COMPOSITE_REJECT = "composite reject callback"
    CLEANUP = "cleanup"
    COMPOSITE_CLEANUP = "composite cleanup"
    INSPECT = "inspect message"
    TRANSFORM = "outcall transform"
    TASK = "system task"


REPLICATED = frozenset(
    {
        Mode.INIT, Mode.PRE_UPGRADE, Mode.UPDATE, Mode.REPLICATED_QUERY, Mode.REPLY, Mode.REJECT,
        Mode.CLEANUP, Mode.TASK, Mode.START,
    }
)  # fmt: skip


@dataclass
class Reply:
    """A successful response."""

    data: bytes


@dataclass
class Rejection:
    """A response that is a rejection: code, text, and the error code users see."""

    code: RejectCode
    message: str
    error_code: int

    @staticmethod
    def of(reject: Reject) -> Rejection:
        """The response a `Reject` stands for."""
        return Rejection(reject.reject_code, reject.message, int(reject.error_code))


Response = Reply | Rejection


@dataclass
class OutgoingCall:
    """A call a canister made: where to, and which table functions handle the response."""

    callee: bytes
    method: str
    reply_fun: int
    reply_env: int
    reject_fun: int
    reject_env: int
    cleanup: tuple[int, int] | None = None
    data: bytearray = field(default_factory=bytearray)
    cycles: int = 0
    deadline: int = 0
    """Nanoseconds after which the caller gives up, where it asked for a best-effort response; 0 for never."""
    fee: int = 0
    """What sending it cost."""
    prepaid: int = 0
    """Cycles set aside for the response: its transmission and the execution of its callback."""

    def closure(self, *, replied: bool) -> tuple[int, int]:
        """Table index and environment of the callback for a reply or a reject."""
        return (self.reply_fun, self.reply_env) if replied else (self.reject_fun, self.reject_env)


@dataclass
class CanisterView:
    """The facts about the canister a running message may ask for."""

    id: bytes
    subnet: bytes
    controllers: frozenset[bytes]
    status: int
    """1 running, 2 stopping, 3 stopped."""
    version: int
    freezing_cycles: int
    """Balance the canister may not go below by its own doing."""
    memory: int = 0
    """Bytes the canister takes of its subnet."""
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables, by name."""


@dataclass
class Context:
    """One execution: inputs first, then what the message changed."""

    mode: Mode
    canister: CanisterView
    time: int
    limit: int
    """Most instructions this execution may take."""
    caller: bytes = b""
    arg: bytes = b""
    method: str = ""
    reject: Rejection | None = None
    deadline: int = 0
    """Until when the caller waits, in nanoseconds; 0 for ever."""
    cycles_available: int = 0
    cycles_refunded: int = 0
    responded: bool = False
    """The call context has its response already (a callback of a call made after replying)."""
    instructions_before: int = 0
    """Instructions the same call context used in earlier messages."""
    outstanding: dict[bytes, int] = field(default_factory=dict)
    """Calls to each callee that haven't come back, those of this message included."""
    reply_limit: int = 2 * 1024 * 1024
    certificate: bool = False
    """A data certificate is present: only on the canister a user's query is for, and not in callbacks."""

    balance: int = 0
    reply_data: bytearray = field(default_factory=bytearray)
    response: Response | None = None
    accepted: int = 0
    burned: int = 0
    reserved: int = 0
    """Cycles moved from the balance to the reserved ones, for memory taken."""
    pending: OutgoingCall | None = None
    calls: list[OutgoingCall] = field(default_factory=list)
    certified_data: bytes | None = None
    global_timer: int | None = None
    message_accepted: bool = False
    logs: list[bytes] = field(default_factory=list)
