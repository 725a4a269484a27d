"""Cycles accounts: what a canister must keep, what it pays over time, and what messages cost it.

Applies the table in `prices` to a `Canister`; decides nothing about execution. What is taken for good is added
to the network's ``burned``, what is made out of nothing to its ``minted``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.message import OutgoingCall, Reply, Response
from localnet.prices import MAX_REPLY_BYTES, SECONDS_PER_DAY, Limits, Prices
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.network import Network

CHARGE_INTERVAL = 10 * 1_000_000_000
"""Nanoseconds between charges for memory and compute (replica configuration)."""


def allocated(canister: Canister, more: int = 0) -> int:
    """Bytes the canister takes of its subnet, were its memory ``more`` bytes larger: usage, at least the allocation."""
    return max(canister.memory_usage + more, canister.settings.memory_allocation)


def idle_burn_per_day(canister: Canister, prices: Prices, more: int = 0) -> int:
    """Cycles per day for memory and compute allocation, were the memory ``more`` bytes larger."""
    compute = prices.compute(canister.settings.compute_allocation, SECONDS_PER_DAY)
    return prices.storage(allocated(canister, more), SECONDS_PER_DAY) + compute


def freezing_cycles(canister: Canister, prices: Prices, more: int = 0) -> int:
    """The balance below which the canister is frozen, were its memory ``more`` bytes larger.

    Reserved cycles count: they can only pay for memory and compute.
    """
    return freezing_cycles_of(canister, prices, allocated(canister, more))


def freezing_cycles_of(canister: Canister, prices: Prices, memory: int) -> int:
    """`freezing_cycles` of a canister that takes ``memory`` bytes of its subnet."""
    settings = canister.settings
    a_day = prices.storage(memory, SECONDS_PER_DAY) + prices.compute(settings.compute_allocation, SECONDS_PER_DAY)
    return max(0, a_day * settings.freezing_threshold // SECONDS_PER_DAY - canister.reserved)


def memory_of_others(network: Network, canister: Canister) -> int:
    """Bytes the other canisters of the canister's subnet take."""
    return sum(
        allocated(other)
        for other in network.canisters.values()
        if other.subnet == canister.subnet and other is not canister
    )


def growth_reservation(network: Network, canister: Canister, before: int, after: int) -> int:
    """Cycles to reserve when the bytes a canister takes grow. Raises `Reject` when the subnet has no room."""
    if after <= before:
        return 0
    others = memory_of_others(network, canister)
    capacity = network.capacity
    if others + after > capacity.memory:
        raise Reject(
            ErrorCode.SUBNET_OVERSUBSCRIBED,
            f"Canister requested {after - before} bytes of memory but only "
            f"{max(0, capacity.memory - others - before)} bytes are available in the subnet.",
        )
    prices = network.prices_of(canister)
    old, new = (prices.storage(*capacity.reservation(others + used)) for used in (before, after))
    return new - old


def check_reservation(canister: Canister, grown: int, amount: int, balance: int) -> None:
    """Raise `Reject` unless ``amount`` of the balance can be reserved for ``grown`` bytes of memory."""
    limit = canister.settings.reserved_cycles_limit
    excess = canister.reserved + amount - limit
    if amount and excess > 0:
        raise Reject(
            ErrorCode.RESERVED_CYCLES_LIMIT_EXCEEDED_IN_MEMORY_GROW,
            f"Canister cannot grow memory by {grown} bytes due to its reserved cycles limit. The current limit "
            f"({limit}) would be exceeded by {excess}.",
        )
    if balance < amount:
        raise cannot_grow(grown, amount - balance)


def cannot_grow(grown: int, missing: int) -> Reject:
    """The rejection of an operation whose memory the canister cannot pay for."""
    return Reject(
        ErrorCode.INSUFFICIENT_CYCLES_IN_MEMORY_GROW,
        f"Canister cannot grow memory by {max(0, grown)} bytes due to insufficient cycles. At least {missing} "
        "additional cycles are required.",
    )


def reserve(canister: Canister, amount: int) -> None:
    """Move cycles from the balance to the reserved ones."""
    canister.cycles -= amount
    canister.reserved += amount


def out_of_cycles(canister: Canister, missing: int) -> Reject:
    """The rejection of a message a canister cannot pay for."""
    return Reject(
        ErrorCode.CANISTER_OUT_OF_CYCLES,
        f"Canister {to_text(canister.id)} is out of cycles: please top up the canister with at least "
        f"{missing} additional cycles",
    )


def withdraw(canister: Canister, amount: int, prices: Prices) -> None:
    """Set ``amount`` aside unless that would freeze the canister. Raises `Reject` (out of cycles)."""
    need = freezing_cycles(canister, prices) + amount
    if amount and canister.cycles < need:
        raise out_of_cycles(canister, need - canister.cycles)
    canister.cycles -= amount


def check_operation(network: Network, canister: Canister, fee: int, more: int) -> int:
    """Cycles to reserve for a management operation that makes the canister's memory ``more`` bytes larger.

    Raises `Reject` when the canister cannot pay the fee and keep that memory, or the subnet has no room for it.
    """
    prices = network.prices_of(canister)
    reservation = growth_reservation(network, canister, allocated(canister), allocated(canister, more))
    threshold = freezing_cycles(canister, prices, more)
    if canister.cycles < threshold:
        raise cannot_grow(more, threshold - canister.cycles)
    if fee and canister.cycles < threshold + fee:
        out = out_of_cycles(canister, threshold + fee - canister.cycles)
        raise Reject(out.error_code, f"Canister snapshotting failed with: `{out.message}`")
    check_reservation(canister, more, reservation, canister.cycles - fee)
    return reservation


def pay_for_operation(network: Network, canister: Canister, fee: int, more: int) -> None:
    """Charge a management operation (see `check_operation`). Raises `Reject`, and then nothing is charged."""
    reservation = check_operation(network, canister, fee, more)
    burn(network, canister, fee)
    reserve(canister, reservation)


def burn(network: Network, canister: Canister, amount: int) -> None:
    """Take cycles for good; the caller knows that they are there."""
    canister.cycles -= amount
    network.burned += amount


def drain(network: Network, canister: Canister) -> None:
    """Take all cycles of a canister that is deleted or ran dry."""
    network.burned += canister.cycles + canister.reserved
    canister.cycles = canister.reserved = 0


def mint(network: Network, canister: Canister, amount: int) -> None:
    """Give a canister cycles out of nothing."""
    canister.cycles += amount
    network.minted += amount


def charge_for_time(network: Network, canister: Canister) -> bool:
    """Charge memory and compute allocation up to now. False when the canister cannot pay any more.

    Reserved cycles pay first.
    """
    elapsed = network.clock.now - canister.charged_until
    if elapsed < CHARGE_INTERVAL:
        return True
    seconds = elapsed // 1_000_000_000
    prices = network.prices_of(canister)
    fee = prices.storage(allocated(canister), seconds)
    fee += prices.compute(canister.settings.compute_allocation, seconds)
    canister.charged_until += seconds * 1_000_000_000
    if fee > canister.cycles + canister.reserved:
        return False
    from_reserved = min(fee, canister.reserved)
    canister.reserved -= from_reserved
    canister.cycles -= fee - from_reserved
    network.burned += fee
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
