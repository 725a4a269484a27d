"""Cycles accounts: what a canister must keep, what it pays over time, and what messages cost it.

Applies the table in `prices` to a `Canister`; decides nothing about execution.
"""

from __future__ import annotations

from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.message import OutgoingCall, Reply, Response
from localnet.prices import MAX_REPLY_BYTES, SECONDS_PER_DAY, Limits, Prices
from localnet.principal import to_text

CHARGE_INTERVAL = 10 * 1_000_000_000
"""Nanoseconds between charges for memory and compute (replica configuration)."""


def idle_burn_per_day(canister: Canister, prices: Prices, more: int = 0) -> int:
    """Cycles per day for memory and compute allocation, were the memory ``more`` bytes larger."""
    settings = canister.settings
    memory = max(canister.memory_usage + more, settings.memory_allocation)
    return prices.storage(memory, SECONDS_PER_DAY) + prices.compute(settings.compute_allocation, SECONDS_PER_DAY)


def freezing_cycles(canister: Canister, prices: Prices, more: int = 0) -> int:
    """The balance below which the canister is frozen, were its memory ``more`` bytes larger."""
    return idle_burn_per_day(canister, prices, more) * canister.settings.freezing_threshold // SECONDS_PER_DAY


def out_of_cycles(canister: Canister, missing: int) -> Reject:
    """The rejection of a message a canister cannot pay for."""
    return Reject(
        ErrorCode.CANISTER_OUT_OF_CYCLES,
        f"Canister {to_text(canister.id)} is out of cycles: please top up the canister with at least "
        f"{missing} additional cycles",
    )


def withdraw(canister: Canister, amount: int, prices: Prices) -> None:
    """Take ``amount`` unless that would freeze the canister. Raises `Reject` (out of cycles)."""
    need = freezing_cycles(canister, prices) + amount
    if amount and canister.cycles < need:
        raise out_of_cycles(canister, need - canister.cycles)
    canister.cycles -= amount


def check_operation(canister: Canister, fee: int, more: int, prices: Prices) -> None:
    """Raise `Reject` unless the canister can pay a management operation's fee and keep ``more`` bytes of memory."""
    threshold = freezing_cycles(canister, prices, more)
    if canister.cycles < threshold:
        raise Reject(
            ErrorCode.INSUFFICIENT_CYCLES_IN_MEMORY_GROW,
            f"Canister cannot grow memory by {max(0, more)} bytes due to insufficient cycles. At least "
            f"{threshold - canister.cycles} additional cycles are required.",
        )
    if fee and canister.cycles < threshold + fee:
        out = out_of_cycles(canister, threshold + fee - canister.cycles)
        raise Reject(out.error_code, f"Canister snapshotting failed with: `{out.message}`")


def charge_for_time(canister: Canister, now: int, prices: Prices) -> bool:
    """Charge memory and compute allocation up to ``now``. False when the canister cannot pay any more."""
    elapsed = now - canister.charged_until
    if elapsed < CHARGE_INTERVAL:
        return True
    seconds = elapsed // 1_000_000_000
    settings = canister.settings
    memory = max(canister.memory_usage, settings.memory_allocation)
    fee = prices.storage(memory, seconds) + prices.compute(settings.compute_allocation, seconds)
    canister.charged_until += seconds * 1_000_000_000
    if fee > canister.cycles:
        canister.cycles = 0
        return False
    canister.cycles -= fee
    return True


def call_cost(call: OutgoingCall, prices: Prices, limits: Limits) -> tuple[int, int]:
    """Fee of sending a call, and cycles set aside for its response.

    Set aside are the transmission of the largest response and the execution of the longest callback.
    """
    fee = prices.call + prices.call_byte * (len(call.data) + len(call.method.encode()))
    return fee, prices.call_byte * MAX_REPLY_BYTES + prices.execution(limits.update)


def response_cost(response: Response, prices: Prices) -> int:
    """Fee for transmitting a response, paid by the caller."""
    size = len(response.data) if isinstance(response, Reply) else len(response.message.encode())
    return prices.call_byte * size
