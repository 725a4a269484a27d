"""Error and reject codes of the Internet Computer, and the exception that carries them.

Texts belong to the places that find the fault; this module only knows the numbers and their names.
"""

from __future__ import annotations

from enum import IntEnum


class RejectCode(IntEnum):
    """Reject codes of the IC interface specification ("Reject codes")."""

    SYS_FATAL = 1
    SYS_TRANSIENT = 2
    DESTINATION_INVALID = 3
    CANISTER_REJECT = 4
    CANISTER_ERROR = 5
    SYS_UNKNOWN = 6


class ErrorCode(IntEnum):
    """The replica's implementation-specific error codes; the hundreds digit is the reject code."""

    SUBNET_OVERSUBSCRIBED = 101
    CANISTER_QUEUE_FULL = 201
    INGRESS_MESSAGE_TIMEOUT = 202
    CANISTER_QUEUE_NOT_EMPTY = 203
    INGRESS_HISTORY_FULL = 204
    CANISTER_ID_ALREADY_EXISTS = 205
    STOP_CANISTER_REQUEST_TIMEOUT = 206
    CANISTER_OUT_OF_CYCLES = 207
    CANISTER_NOT_FOUND = 301
    CANISTER_SNAPSHOT_NOT_FOUND = 305
    INSUFFICIENT_MEMORY_ALLOCATION = 402
    INSUFFICIENT_CYCLES_FOR_CREATE_CANISTER = 403
    SUBNET_NOT_FOUND = 404
    CANISTER_NOT_HOSTED_BY_SUBNET = 405
    CANISTER_REJECTED_MESSAGE = 406
    UNKNOWN_MANAGEMENT_MESSAGE = 407
    INVALID_MANAGEMENT_PAYLOAD = 408
    CANISTER_SNAPSHOT_IMMUTABLE = 409
    CANISTER_TRAPPED = 502
    CANISTER_CALLED_TRAP = 503
    CANISTER_CONTRACT_VIOLATION = 504
    CANISTER_INVALID_WASM = 505
    CANISTER_DID_NOT_REPLY = 506
    CANISTER_OUT_OF_MEMORY = 507
    CANISTER_STOPPED = 508
    CANISTER_STOPPING = 509
    CANISTER_NOT_STOPPED = 510
    CANISTER_STOPPING_CANCELLED = 511
    CANISTER_INVALID_CONTROLLER = 512
    CANISTER_FUNCTION_NOT_FOUND = 513
    CANISTER_NON_EMPTY = 514
    QUERY_CALL_GRAPH_LOOP_DETECTED = 517
    INSUFFICIENT_CYCLES_IN_CALL = 520
    CANISTER_WASM_ENGINE_ERROR = 521
    CANISTER_INSTRUCTION_LIMIT_EXCEEDED = 522
    QUERY_CALL_GRAPH_TOO_DEEP = 525
    QUERY_CALL_GRAPH_TOTAL_INSTRUCTION_LIMIT_EXCEEDED = 526
    COMPOSITE_QUERY_CALLED_IN_REPLICATED_MODE = 527
    INSUFFICIENT_CYCLES_IN_COMPUTE_ALLOCATION = 530
    INSUFFICIENT_CYCLES_IN_MEMORY_ALLOCATION = 531
    INSUFFICIENT_CYCLES_IN_MEMORY_GROW = 532
    RESERVED_CYCLES_LIMIT_EXCEEDED_IN_MEMORY_ALLOCATION = 533
    RESERVED_CYCLES_LIMIT_EXCEEDED_IN_MEMORY_GROW = 534
    CANISTER_METHOD_NOT_FOUND = 536
    CANISTER_WASM_MODULE_NOT_FOUND = 537
    CANISTER_ALREADY_INSTALLED = 538
    CANISTER_WASM_MEMORY_LIMIT_EXCEEDED = 539
    RESERVED_CYCLES_LIMIT_IS_TOO_LOW = 540
    DEADLINE_EXPIRED = 601


def camel_case(member: IntEnum) -> str:
    """The name PocketIC's JSON uses for a code, for example ``CanisterCalledTrap``."""
    return member.name.title().replace("_", "")


class Reject(Exception):
    """A call's rejection: what a caller sees instead of a reply.

    ``error_code`` is the replica's number (its hundreds digit is the reject code), ``message`` the text.
    ``reject_code`` may be given where a canister forwards a code of its own choice.
    """

    def __init__(self, error_code: ErrorCode, message: str, reject_code: RejectCode | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.reject_code = reject_code if reject_code is not None else RejectCode(error_code // 100)


class BadRequest(Exception):
    """The client's HTTP request cannot be served; ``status`` is the HTTP status code to answer with."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
