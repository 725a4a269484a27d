"""How cycles get to a child: what every deposit goes through, whoever asked for it.

Flows over the management canister. Before each deposit the platform is asked what code the child runs, so that code
the factory did not publish gets nothing; the grant is reserved in the quotas and the deposit written down before the
call, and both are corrected by exactly what came back. One deposit to a child at a time.
"""

from kybra import Async, Tuple, ic, nat, text

from canister_kit.cycles import TransferCyclesError, TransferCyclesResult
from canister_kit.in_flight import LOST_AFTER
from factory.alerts import FOREIGN_CODE, QUOTA_REACHED
from factory.battery import Refusal
from factory.children import Child
from factory.context import alerts, battery, children, deposit_log, fuel, open_calls, policy, releases
from factory.custody import live_fault
from factory.examination import examine, examine_controlled
from factory.marks import custody_fault, deposit_fault, deposit_key
from factory.principals import to_principal, to_text
from factory.services import management
from factory.spending import came_back

NO_CYCLES = {
    "insufficient_cycles_available": "the battery's reserve is never touched",
    "too_few_cycles_requested": "less was asked for than the smallest top-up",
    "aggregate_quota_reached": "the quota of all children is used up",
    "canister_quota_reached": "the child's quota is used up",
}
ENOUGH = "Canister has enough cycles"
QUOTA_CASES = ("aggregate_quota_reached", "canister_quota_reached")

ALLOWANCE = "allowance"
"""Why an admin's allowance is paid: it is held against the quota of all children, and not against the child's own."""

Deposited = Tuple[nat, text]


def deposit(canister: bytes, amount: int, reason: str) -> Async[Deposited]:
    """Deposits to a child what quotas and reserve allow of an amount; returns what arrived and why not, or ""."""
    result = yield transfer(canister, amount, reason)
    return outcome(result)


def refill(canister: bytes, target: int, reason: str) -> Async[Deposited]:
    """Fills a child that the factory controls up to a balance; returns what arrived and why nothing did, or "".

    A child that has enough gets nothing and that is no fault.
    """
    result = yield top_up(canister, target, reason)
    amount, fault = outcome(result)
    return amount, "" if fault == ENOUGH else fault


def top_up(canister: bytes, target: int, reason: str) -> Async[TransferCyclesResult]:
    """Fills a child that the factory controls up to a balance, as the contract declares the result."""
    key = b"top up" + canister
    open_calls.start(key, ic.time())
    result = yield read_and_fill(canister, target, reason)
    open_calls.finish(key)
    return result


def read_and_fill(canister: bytes, target: int, reason: str) -> Async[TransferCyclesResult]:
    """What `top_up` does between its marks."""
    fault = yield examine_controlled(canister)
    if fault:
        return failed(fault)
    answer = yield management.canister_status({"canister_id": to_principal(canister)})
    if answer.Err is not None:
        return failed(f"reading the status of {to_text(canister)} failed: {answer.Err}")
    balance = answer.Ok["cycles"]
    if balance >= target:
        return failed(ENOUGH)
    result = yield transfer(canister, max(policy.get("min_top_up"), target - balance), reason)
    return result


def transfer(canister: bytes, requested: int, reason: str) -> Async[TransferCyclesResult]:
    """Deposits to a child what quotas and reserve allow, as the contract declares the result."""
    key = deposit_key(canister)
    fault = deposit_fault(canister)
    if fault:
        return failed(fault)
    open_calls.start(key, ic.time())
    result = yield examine_and_pay(canister, requested, reason)
    open_calls.finish(key)
    return result


def examine_and_pay(canister: bytes, requested: int, reason: str) -> Async[TransferCyclesResult]:
    """A deposit to a child that no other deposit is under way to."""
    fault = yield examine(canister)
    child = children.get(canister)
    if fault or child is None or not battery.is_child(canister):
        return failed(fault or f"{to_text(canister)} is no child of this factory")
    # What comes after a retirement has read the balance would be deleted with the canister.
    fault = live_fault(child) or code_fault(canister, child) or custody_fault(canister) or fuel_fault(canister)
    if fault:
        return failed(fault)
    try:
        balance, is_granted = ic.canister_balance128(), reason == ALLOWANCE
        grant = battery.reserve(canister, requested, balance, ic.time(), is_shared(child), is_granted)
    except Refusal as refusal:
        report_quotas(canister, next(iter(refusal.case)))
        return {"err": refusal.case}
    report_quotas(canister, "")
    charged = children.charge(canister, grant.amount)
    number = deposit_log.begin(canister, grant.amount, reason, ic.time(), charged > 0)
    if is_granted:
        fuel.allowance_paid(canister, ic.time())
    call = management.deposit_cycles({"canister_id": to_principal(canister)}).with_cycles128(grant.amount)
    answer = yield call
    refunded = came_back(grant.amount, answer.Err)
    battery.give_back(grant, refunded)
    deposit_log.settle(number, answer.Err is None, refunded, ic.time())
    children.discharge(canister, min(charged, refunded))
    if answer.Err is not None:
        return failed(f"Error sending cycles to {to_text(canister)}")
    return {"ok": grant.amount - refunded}


def code_fault(canister: bytes, child: Child) -> str:
    """Why a child's code gets no cycles, or ""; the alert follows."""
    is_foreign = not releases.is_published(child.module_hash)
    details = f"module hash {child.module_hash.hex() or 'none'}"
    alerts.report(is_foreign, FOREIGN_CODE, canister, details, ic.time())
    if is_foreign:
        return f"{to_text(canister)} runs code that this factory did not publish ({details}): no cycles"
    return ""


def fuel_fault(canister: bytes) -> str:
    """Why an admin lets a child have no cycles, or ""."""
    return "" if battery.is_fuelled(canister) else f"an admin has stopped the cycles of {to_text(canister)}"


def report_quotas(canister: bytes, case: str) -> None:
    """Raises the alert that says which quota is used up, and clears what is not so."""
    now = ic.time()
    if case not in ("", *QUOTA_CASES):
        return
    alerts.report(case == QUOTA_CASES[0], QUOTA_REACHED, b"", NO_CYCLES[QUOTA_CASES[0]], now)
    if case != QUOTA_CASES[0]:
        alerts.report(case == QUOTA_CASES[1], QUOTA_REACHED, canister, NO_CYCLES[QUOTA_CASES[1]], now)


def report_window(canister: bytes, child: Child) -> None:
    """Clears the alert that a child's quota is used up once it is not: the child may never ask again."""
    if battery.is_child(canister) and battery.quota(canister, is_shared(child)).left(ic.time()):
        alerts.report(False, QUOTA_REACHED, canister, "", ic.time())


def waits_for_quota(fault: str) -> bool:
    """Whether a deposit was refused because a quota is used up for now."""
    return fault.split(":")[0] in QUOTA_CASES


def is_shared(child: Child) -> bool:
    """Whether others than the factory can take the cycles of a child, as it was read last."""
    return child.controllers != [ic.id().bytes]


def reconcile(now: int) -> None:
    """Ends the deposits whose answers were lost: they count as paid and are not made again."""
    for number in deposit_log.pending():
        waiting = deposit_log.get(number)
        if waiting is not None and now - waiting.begun_at >= LOST_AFTER:
            deposit_log.give_up(number, now)


def failed(reason: str) -> TransferCyclesResult:
    """A result that the contract has no case for."""
    error: TransferCyclesError = {"other": reason}
    return {"err": error}


def outcome(result: TransferCyclesResult) -> Deposited:
    """A result as an amount and a fault."""
    if "err" not in result:
        return result.get("ok", 0), ""
    error = result["err"]
    case = next(iter(error))
    return 0, error.get("other") or f"{case}: {NO_CYCLES[case]}"
