"""The factory's Candid interface: cycles for children, after the contract's cycles manager."""

from kybra import Async, Principal, Vec, ic, nat, query, update

from canister_kit.cycles import TransferCyclesResult
from factory.battery import Refusal
from factory.context import battery, open_calls, require_child
from factory.principals import to_principals
from factory.services import management


@update(guard=require_child)
def cycles_manager_transferCycles(cycles_requested: nat) -> Async[TransferCyclesResult]:
    """Deposits cycles to the calling child within its quota and that of all children."""
    child = ic.caller()
    try:
        grant = battery.reserve(child.bytes, cycles_requested, ic.canister_balance128(), ic.time())
    except Refusal as refusal:
        return {"err": refusal.case}
    key = b"deposit" + child.bytes + ic.time().to_bytes(8, "big")
    open_calls.start(key, ic.time())
    deposit = management.deposit_cycles({"canister_id": child}).with_cycles128(grant.amount)
    answer = yield deposit
    open_calls.finish(key)
    if answer.Err is not None:
        battery.give_back(grant)
        return {"err": {"other": f"Error sending cycles to {child.to_str()}"}}
    return {"ok": grant.amount}


@query
def get_cycles_manager_children() -> Vec[Principal]:
    """All children in ascending order of their principals."""
    return to_principals(battery.children())


@query
def get_cycles_manager_children_count() -> nat:
    """How many children there are."""
    return battery.count()
