"""The Candid types of the battery's interface: quotas, policy, deposits, alerts, what the fleet burns.

Declarations only. Units: amounts in cycles, burn in cycles a day, sizes in bytes, times in ns since 1970, runway in
days. The names of the contract's types are the contract's.
"""

from kybra import Opt, Principal, Record, Variant, Vec, nat, nat64, null, text


class AggregateQuotaSettings(Record):
    maxAmount: nat
    durationInSeconds: nat
    cyclesUsed: nat


class BatteryPolicy(Record):
    min_top_up: nat
    child_limit: nat
    shared_limit: nat
    refill_below: nat
    refill_to: nat
    runway_days: nat
    reserve: nat
    reserve_days: nat
    alert_days: nat
    sweep_seconds: nat
    unusual_times: nat
    unusual_cycles: nat
    refill_most: nat


class BatteryPolicyChange(Record):
    min_top_up: Opt[nat]
    child_limit: Opt[nat]
    shared_limit: Opt[nat]
    refill_below: Opt[nat]
    refill_to: Opt[nat]
    runway_days: Opt[nat]
    reserve: Opt[nat]
    reserve_days: Opt[nat]
    alert_days: Opt[nat]
    sweep_seconds: Opt[nat]
    unusual_times: Opt[nat]
    unusual_cycles: Opt[nat]
    refill_most: Opt[nat]


class DepositOutcome(Variant, total=False):
    pending: null
    settled: null
    failed: null
    unknown: null
    returned: null


class DepositEntry(Record):
    number: nat64
    canister: Opt[Principal]
    attached: nat
    refunded: nat
    outcome: DepositOutcome
    reason: text
    begun_at: nat64
    ended_at: Opt[nat64]


class SettleDeposit(Record):
    number: nat64
    arrived: Opt[bool]
    reason: text


class DepositSum(Record):
    count: nat64
    attached: nat
    refunded: nat


class DepositSums(Record):
    pending: DepositSum
    settled: DepositSum
    failed: DepositSum
    unknown: DepositSum
    returned: DepositSum


class DepositPage(Record):
    entries: Vec[DepositEntry]
    oldest_number: nat64
    next_number: nat64
    sums: DepositSums


class AlertKind(Variant, total=False):
    low_runway: null
    foreign_code: null
    unreachable: null
    quota_reached: null
    battery_low: null
    unusual_burn: null


class AlertEntry(Record):
    number: nat64
    kind: AlertKind
    canister: Opt[Principal]
    raised_at: nat64
    cleared_at: Opt[nat64]
    details: text


class AlertPage(Record):
    entries: Vec[AlertEntry]
    open_count: nat64
    next_number: nat64
