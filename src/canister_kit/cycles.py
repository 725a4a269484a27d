"""The result of asking a battery for cycles, as the contract of both canisters declares it.

Amounts are in cycles. Not for prices: what the platform charges is the platform's business.
"""

from kybra import Variant, nat, null, text


class TransferCyclesError(Variant, total=False):
    insufficient_cycles_available: null
    too_few_cycles_requested: null
    aggregate_quota_reached: null
    canister_quota_reached: null
    other: text


class TransferCyclesResult(Variant, total=False):
    ok: nat
    err: TransferCyclesError
