"""What system calls cost in instructions: the table, and nothing that applies it.

Source: the replica's ``rs/embedders/src/wasmtime_embedder``, as of 2025: fixed parts from
``system_api_complexity.rs`` (``overhead``, and ``overhead_native`` for stable memory), which parameter counts the bytes
and how much a byte costs from ``linker.rs``; dirty pages from ``rs/config/src/subnet_config.rs``.
"""

from __future__ import annotations

from dataclasses import dataclass

TRANSMITTED_BYTE = 50
"""A byte that leaves the sandbox in a reply, a reject, a call or a log (``BYTE_TRANSMISSION_COST_FACTOR``)."""
DIRTY_PAGE = 1_000
"""A page (4 KiB) of stable memory written for the first time in a message (``DEFAULT_DIRTY_PAGE_OVERHEAD``)."""
STABLE_ACCESS = 20
"""``stable_read``, ``stable_write`` and their 64-bit forms, besides one a byte and `DIRTY_PAGE`."""
STABLE_GROW = 100
STABLE_SIZE = 0
"""Answered inside Wasm by the replica, which charges nothing for it."""
LOG_CAPACITY = 4 * 1024
"""Bytes of a canister's log."""


@dataclass(frozen=True)
class Price:
    """A fixed part, and ``per_byte`` for each byte that the parameters numbered ``sizes`` count."""

    fixed: int
    sizes: tuple[int, ...] = ()
    per_byte: int = 1


_PLAIN = Price(500)
_COPY = Price(500, (2,))
"""``(dst, offset, size)``"""

PRICES: dict[str, Price] = {
    "accept_message": _PLAIN,
    "call_cycles_add": _PLAIN,
    "call_cycles_add128": _PLAIN,
    "call_data_append": Price(500, (1,), TRANSMITTED_BYTE),
    "call_new": Price(1_500, (1, 3)),
    "call_on_cleanup": _PLAIN,
    "call_perform": Price(5_000),
    "call_with_best_effort_response": _PLAIN,
    "canister_cycle_balance": _PLAIN,
    "canister_cycle_balance128": _PLAIN,
    "canister_liquid_cycle_balance128": _PLAIN,
    "canister_self_copy": _COPY,
    "canister_self_size": _PLAIN,
    "canister_status": _PLAIN,
    "canister_version": _PLAIN,
    "certified_data_set": Price(500, (1,)),
    "cost_call": _PLAIN,
    "cost_create_canister": _PLAIN,
    "cost_http_request": _PLAIN,
    "cycles_burn128": _PLAIN,
    "data_certificate_copy": _COPY,
    "data_certificate_present": _PLAIN,
    "data_certificate_size": _PLAIN,
    "debug_print": Price(100),
    "env_var_count": _PLAIN,
    "env_var_name_copy": Price(500, (3,)),
    "env_var_name_exists": _PLAIN,
    "env_var_name_size": _PLAIN,
    "env_var_value_copy": Price(500, (4,)),
    "env_var_value_size": _PLAIN,
    "global_timer_set": _PLAIN,
    "in_replicated_execution": _PLAIN,
    "is_controller": Price(1_000, (1,)),
    "msg_arg_data_copy": _COPY,
    "msg_arg_data_size": _PLAIN,
    "msg_caller_copy": _COPY,
    "msg_caller_size": _PLAIN,
    "msg_cycles_accept": _PLAIN,
    "msg_cycles_accept128": _PLAIN,
    "msg_cycles_available": _PLAIN,
    "msg_cycles_available128": _PLAIN,
    "msg_cycles_refunded": _PLAIN,
    "msg_cycles_refunded128": _PLAIN,
    "msg_deadline": _PLAIN,
    "msg_method_name_copy": _COPY,
    "msg_method_name_size": _PLAIN,
    "msg_reject": Price(500, (1,), TRANSMITTED_BYTE),
    "msg_reject_code": _PLAIN,
    "msg_reject_msg_copy": _COPY,
    "msg_reject_msg_size": _PLAIN,
    "msg_reply": _PLAIN,
    "msg_reply_data_append": Price(500, (1,), TRANSMITTED_BYTE),
    "performance_counter": Price(200),
    "root_key_copy": _COPY,
    "root_key_size": _PLAIN,
    "subnet_self_copy": _COPY,
    "subnet_self_size": _PLAIN,
    "time": _PLAIN,
    "trap": Price(500, (1,)),
}
"""Every function of ``ic0`` but those of stable memory. `logged` comes on top for ``debug_print`` and ``trap``."""


def logged(size: int, already: int) -> int:
    """The price of a log line of ``size`` bytes, in a message that logged ``already`` bytes before it."""
    return 2 * min(size, LOG_CAPACITY) + TRANSMITTED_BYTE * min(size, max(0, LOG_CAPACITY - already))
