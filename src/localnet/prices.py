"""Every price and limit in cycles, bytes and instructions, in one table, and the formulas over it.

This module charges nobody: see `accounts`. Prices are those of a 13-node application subnet. Sources: "Cycle
costs" and "Resource limits" of the IC developer documentation (2026), the replica's fee configuration
(``CyclesAccountManagerConfig::application_subnet``) where the documentation is silent. Where the two differ
the documentation counts: newer replica sources have 317 500 cycles for a GiB second and 10 000 cycles a
second for every canister, which the documentation does not know.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
WASM_PAGE = 65536
SECONDS_PER_DAY = 86_400

MAX_INGRESS_BYTES = 2 * 1024 * 1024
MAX_REPLY_BYTES = 2 * 1024 * 1024
MAX_QUERY_REPLY_BYTES = 3 * 1024 * 1024
MAX_LOCAL_CALL_BYTES = 10 * 1024 * 1024
MAX_REMOTE_CALL_BYTES = 2 * 1024 * 1024
MAX_HTTP_RESPONSE_BYTES = 2_000_000
MAX_HTTP_REQUEST_BYTES = 2_000_000
MAX_HEAP_BYTES = 4 * GIB
MAX_STABLE_PAGES = 500 * GIB // WASM_PAGE
MAX_CHUNK_BYTES = 1024 * 1024
"""A chunk of the chunk store takes this much storage, whatever its length."""
MAX_CHUNKS = 100
GLOBAL_BYTES = 8
"""Storage that one Wasm global takes."""
MAX_WASM_BYTES = 100 * 1024 * 1024
MAX_CONTROLLERS = 10
MAX_OUTSTANDING_CALLS = 500
DEFAULT_PROVISIONAL_CYCLES = 100_000_000_000_000
DEFAULT_FREEZING_THRESHOLD = 30 * SECONDS_PER_DAY
DEFAULT_RESERVED_CYCLES_LIMIT = 5_000_000_000_000
DEFAULT_WASM_MEMORY_LIMIT = 3 * GIB
MIN_LOG_BYTES = 4 * 1024
MAX_LOG_BYTES = 2 * 1024 * 1024
MAX_LOGS_REPLY_BYTES = 2_000_000
"""Reply of ``fetch_canister_logs`` that a canister must be able to pay for."""
MAX_VIEWERS = 10
MAX_ENVIRONMENT_VARIABLES = 20
MAX_ENVIRONMENT_TEXT_BYTES = 128
"""Longest name and longest value of an environment variable."""
RESERVATION_SECONDS = 300_000_000
"""Storage that is reserved for memory taken when the subnet is full: nearly ten years of it."""


@dataclass(frozen=True)
class Limits:
    """Instruction limits of one message, by kind."""

    update: int = 40_000_000_000
    query: int = 5_000_000_000
    install: int = 300_000_000_000
    inspect: int = 200_000_000
    round: int = 7_000_000_000


@dataclass(frozen=True)
class Capacity:
    """What the canisters of one subnet can have together ("Resource limits", "Storage reservation")."""

    memory: int = 2048 * GIB
    """Bytes."""
    memory_threshold: int = 750 * GIB
    """Bytes beyond which whoever takes more memory must reserve cycles for it."""
    compute: int = 299
    """Percent of compute allocation."""

    def reservation(self, used: int) -> tuple[int, int]:
        """Bytes above the threshold and seconds to pay for them, of a subnet where ``used`` bytes are taken."""
        above = min(used, self.memory) - min(self.memory_threshold, self.memory)
        room = self.memory - self.memory_threshold
        if above <= 0 or room <= 0:
            return 0, 0
        return above, RESERVATION_SECONDS * above // room // 2


@dataclass(frozen=True)
class Prices:
    """Fees in cycles on a subnet of ``nodes`` nodes. All of them are the published 13-node figures."""

    nodes: int = 13
    canister_creation: int = 500_000_000_000
    update_message: int = 5_000_000
    instruction: int = 1
    call: int = 260_000
    call_byte: int = 1_000
    ingress_message: int = 1_200_000
    ingress_byte: int = 2_000
    storage_gib_second: int = 127_000
    compute_percent_second: int = 10_000_000
    http_base: int = 3_000_000
    http_per_node: int = 60_000
    http_request_byte: int = 400
    http_response_byte: int = 800
    logs_per_node: int = 5_000_000
    logs_byte_per_node: int = 80

    def execution(self, instructions: int) -> int:
        """The fee of one update message that executed so many instructions."""
        return self.update_message + instructions * self.instruction

    def ingress(self, size: int) -> int:
        """The fee for receiving an ingress message of ``size`` bytes, paid by the receiver."""
        return self.ingress_message + size * self.ingress_byte

    def storage(self, size: int, seconds: int) -> int:
        """The fee for keeping ``size`` bytes for ``seconds``."""
        return size * seconds * self.storage_gib_second // GIB

    def compute(self, percent: int, seconds: int) -> int:
        """The fee for a compute allocation of ``percent`` for ``seconds``."""
        return percent * seconds * self.compute_percent_second

    def logs(self, size: int) -> int:
        """The fee of a canister for ``size`` bytes of another one's log (replica, ``fetch_canister_logs_fee``)."""
        return (self.logs_per_node + self.logs_byte_per_node * size) * self.nodes

    def http_request(self, request_size: int, max_response_bytes: int) -> int:
        """The fee of an HTTPS outcall: the published formula, in the sizes of request and largest response."""
        per_node = (
            self.http_base
            + self.http_per_node * self.nodes
            + self.http_request_byte * request_size
            + self.http_response_byte * max_response_bytes
        )
        return per_node * self.nodes


FREE = Prices(
    canister_creation=0,
    update_message=0,
    instruction=0,
    call=0,
    call_byte=0,
    ingress_message=0,
    ingress_byte=0,
    storage_gib_second=0,
    compute_percent_second=0,
    http_base=0,
    http_per_node=0,
    http_request_byte=0,
    http_response_byte=0,
    logs_per_node=0,
    logs_byte_per_node=0,
)
"""System subnets (NNS, SNS, II, Bitcoin, System) charge nothing."""
