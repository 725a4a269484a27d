"""The factory's Candid interface: cycles for children, after the contract's cycles manager, and the battery's books."""

from kybra import Async, Manual, Opt, Principal, Vec, ic, nat, nat32, nat64, query, update, void

from canister_kit.cycles import TransferCyclesResult
from canister_kit.guards import ANONYMOUS
from factory.admins import NOT_AN_ADMIN
from factory.alerts import Alert
from factory.candid_types import AckResult
from factory.context import (
    CANISTER_TEXT_CHARS,
    admins,
    alerts,
    battery,
    children,
    deposit_log,
    fuel,
    note,
    policy,
    require_admin,
    require_child,
    require_controller,
    require_short,
    require_signature,
    samples,
)
from factory.deposit_log import UNKNOWN, Deposit, Sum
from factory.deposits import top_up, transfer
from factory.history import child_burn
from factory.ledger import TransferResult
from factory.policy import NAMES
from factory.principals import to_principal, to_principals
from factory.quota import SECOND
from factory.reconciling import ARRIVED, LOST, verdict
from factory.refund import cycles_ledger, refund_account, send_refund, store_refund_account
from factory.types_battery import (
    AggregateQuotaSettings,
    AlertEntry,
    AlertKind,
    AlertPage,
    BatteryPolicy,
    BatteryPolicyChange,
    DepositEntry,
    DepositOutcome,
    DepositPage,
    DepositSum,
    SettleDeposit,
)

MAX_LISTED = 5_000
# In the order of the numbers that `deposit_log` and `alerts` give them; alerts begin at 1.
OUTCOMES: list[DepositOutcome] = [
    {"pending": None},
    {"settled": None},
    {"failed": None},
    {"unknown": None},
    {"returned": None},
]
KINDS: list[AlertKind] = [
    {},
    {"low_runway": None},
    {"foreign_code": None},
    {"unreachable": None},
    {"quota_reached": None},
    {"battery_low": None},
    {"unusual_burn": None},
]


@update(guard=require_child)
def cycles_manager_transferCycles(cycles_requested: nat) -> Async[TransferCyclesResult]:
    """Deposits cycles to the calling child within its quota and that of all children."""
    result = yield transfer(ic.caller().bytes, cycles_requested, "asked for by the child")
    return result


@update(guard=require_signature)
def cycles_manager_transferCyclesToCanister(canister_id: Principal) -> Async[Manual[TransferCyclesResult]]:
    """Fills a child up to the policy's balance; for its owners, itself and admins."""
    fault = refill_fault(canister_id, ic.caller().bytes)
    if fault:
        ic.reject(fault)
        return
    if not admins.refusal(ic.caller().bytes):
        note("refill", canister_id.bytes)
    result = yield top_up(canister_id.bytes, policy.get("refill_to"), "asked for by an owner or admin")
    ic.reply(result)


def refill_fault(canister_id: Principal, caller: bytes) -> str:
    """Why a caller may not have a canister refilled, or ""."""
    if len(canister_id.to_str()) != CANISTER_TEXT_CHARS:
        return "canisterId principal must be a canister"
    child = children.get(canister_id.bytes)
    if child is None or not battery.is_child(canister_id.bytes):
        return "Canister is not permitted to request cycles"
    if caller == canister_id.bytes or child.is_owner(caller) or not admins.refusal(caller):
        return ""
    return NOT_AN_ADMIN


@query
def get_cycles_manager_children() -> Vec[Principal]:
    """Children in ascending order of their principals, the first 5 000: `get_fleet` and `list_zones` have pages."""
    return to_principals(battery.children(MAX_LISTED))


@query
def get_cycles_manager_children_count() -> nat:
    """How many children there are."""
    return battery.count()


@query
def get_cycles_manager_info() -> str:
    """The quotas in a text for humans."""
    quota = get_aggregate_quota_settings()
    figures = ", ".join([f"{name} = {figure}" for name, figure in policy.all().items()])
    return (
        f"CyclesManager {{ defaultSettings = {{ {figures} }}, aggregateSettings = {{ maxAmount = {quota['maxAmount']}, "
        f"durationInSeconds = {quota['durationInSeconds']}, cyclesUsed = {quota['cyclesUsed']} }}, "
        f"children = {battery.count()} }}"
    )


@query
def get_aggregate_quota_settings() -> AggregateQuotaSettings:
    """The quota of all children together, and what is used of it in the window of now."""
    quota = battery.aggregate()
    quota.turn(ic.time())
    return {"maxAmount": quota.limit, "durationInSeconds": quota.window, "cyclesUsed": quota.used}


@update(guard=require_admin)
def update_aggregate_quota_settings(max_amount: nat, duration_in_seconds: nat) -> Manual[void]:
    """Replaces the quota of all children together; a window with nothing used begins."""
    fault = battery.set_aggregate(max_amount, duration_in_seconds, ic.time())
    if fault:
        ic.reject(fault)
        return
    note("update_aggregate_quota_settings", b"", f"{max_amount} in {duration_in_seconds} s")
    ic.reply(None)


@query
def get_battery_policy() -> BatteryPolicy:
    """What a child gets and when, and what the battery keeps."""
    figures = policy.all()
    return {
        "min_top_up": figures["min_top_up"],
        "child_limit": figures["child_limit"],
        "shared_limit": figures["shared_limit"],
        "refill_below": figures["refill_below"],
        "refill_to": figures["refill_to"],
        "runway_days": figures["runway_days"],
        "reserve": figures["reserve"],
        "reserve_days": figures["reserve_days"],
        "alert_days": figures["alert_days"],
        "sweep_seconds": figures["sweep_seconds"],
        "unusual_times": figures["unusual_times"],
        "unusual_cycles": figures["unusual_cycles"],
        "refill_most": figures["refill_most"],
    }


@update(guard=require_admin)
def set_battery_policy(changes: BatteryPolicyChange) -> AckResult:
    """Sets the figures that are given; the others stay."""
    given = {name: changes[name] for name in NAMES if changes[name] is not None}
    fault = policy.change(given)
    if fault:
        return {"err": fault}
    note("set_battery_policy", b"", ", ".join([f"{name} = {figure}" for name, figure in given.items()]))
    return {"ok": None}


@update(guard=require_admin)
def refund() -> Async[Manual[Opt[TransferResult]]]:
    """Sends what the factory has on the cycles ledger to the refund account; none when that is no more than the fee."""
    note("refund", refund_account())
    result, fault = yield send_refund()
    if fault:
        ic.reject(fault)
    else:
        ic.reply(result)


@query
def get_refund_account() -> Principal:
    """Who gets what is refunded."""
    return to_principal(refund_account())


@query
def get_refund_ledger() -> Principal:
    """The ledger that refunds come from."""
    return to_principal(cycles_ledger())


@update(guard=require_controller)
def set_refund_account(account: Principal, ledger: Opt[Principal]) -> AckResult:
    """Names who gets what is refunded; the ledger is mainnet's unless another one is given."""
    if account.bytes in (ANONYMOUS, b""):
        return {"err": "the refund account is neither the anonymous principal nor the management canister"}
    store_refund_account(account.bytes, None if ledger is None else ledger.bytes)
    note("set_refund_account", account.bytes, "" if ledger is None else f"on the ledger {ledger.to_str()}")
    return {"ok": None}


@query(guard=require_short)
def get_deposits(before: Opt[nat64], limit: nat32) -> DepositPage:
    """Deposits, newest first; goes on with the number of the last entry. At most 200 at once, with all sums."""
    oldest, next_number = deposit_log.ends()
    pending, settled, failed, unknown, returned = [sum_entry(one) for one in deposit_log.sums()]
    return {
        "entries": [deposit_entry(deposit) for deposit in deposit_log.page(before, limit)],
        "oldest_number": oldest,
        "next_number": next_number,
        "sums": {
            "pending": pending,
            "settled": settled,
            "failed": failed,
            "unknown": unknown,
            "returned": returned,
        },
    }


@query(guard=require_short)
def get_alerts(open_only: bool, before: Opt[nat64], limit: nat32) -> AlertPage:
    """Alerts, newest first; goes on with the number of the last entry. At most 200 at once."""
    page = alerts.open(before, limit) if open_only else alerts.page(before, limit)
    return {
        "entries": [alert_entry(alert) for alert in page],
        "open_count": alerts.open_count(),
        "next_number": alerts.ends()[0],
    }


@update(guard=require_admin)
def settle_deposit(answer: SettleDeposit) -> AckResult:
    """Says what became of a deposit whose answer was lost: what the readings around it tell, or what the caller says.

    What he says takes a reason, which is written down. One that did not arrive is taken off what the child was given
    and owes; the quotas it was counted in are over.
    """
    number, arrived, reason = answer["number"], answer["arrived"], answer["reason"]
    found = deposit_log.get(number)
    if found is None or found.outcome != UNKNOWN:
        return {"err": f"deposit {number} is none whose answer was lost: see get_deposits"}
    if arrived is not None and not reason:
        return {"err": "a decision takes a reason: it is written down"}
    if arrived is None:
        usual = child_burn(samples, found.canister, ic.time() // SECOND).usual or 0
        burn = max(fuel.get(found.canister).idle_burn, usual)
        told, shown = verdict(found, samples.points(found.canister), burn)
        if not told:
            return {"err": f"the readings do not tell ({shown}): say whether it arrived, and why"}
        arrived, reason = told == ARRIVED, f"by the readings: {shown}"
    note("settle_deposit", found.canister, f"{number} {ARRIVED if arrived else LOST}: {reason}")
    deposit_log.settle(number, arrived, 0 if arrived else found.attached, ic.time())
    if not arrived and found.is_owed:
        children.discharge(found.canister, found.attached)
    return {"ok": None}


def deposit_entry(deposit: Deposit) -> DepositEntry:
    """A deposit as Candid carries it."""
    return {
        "number": deposit.number,
        "canister": to_principal(deposit.canister) if deposit.canister else None,
        "attached": deposit.attached,
        "refunded": deposit.refunded,
        "outcome": OUTCOMES[deposit.outcome],
        "reason": deposit.reason,
        "begun_at": deposit.begun_at,
        "ended_at": deposit.ended_at or None,
    }


def sum_entry(one: Sum) -> DepositSum:
    """Sums of deposits as Candid carries them."""
    return {"count": one.count, "attached": one.attached, "refunded": one.refunded}


def alert_entry(alert: Alert) -> AlertEntry:
    """An alert as Candid carries it."""
    return {
        "number": alert.number,
        "kind": KINDS[alert.kind],
        "canister": to_principal(alert.canister) if alert.canister else None,
        "raised_at": alert.raised_at,
        "cleared_at": alert.cleared_at or None,
        "details": alert.details,
    }
