"""The factory's Candid interface: who owns a zone and controls its canister, what is owed for it, how it ends."""

from kybra import Async, Principal, ic, text, update

from factory import custody
from factory.candid_types import AckResult
from factory.children import CUSTODY_NAMES, ENDING, LIVE, RETIRED, Child
from factory.context import admins, children, note, open_calls, require_admin, require_signature
from factory.control import hand_over
from factory.examination import LOOK_INTERVAL, examine, may_look
from factory.marks import custody_fault, retirement_fault
from factory.principals import to_text
from factory.retirement import retire, take_back
from factory.types_zones import CustodyOffer, RepayResult, RetireResult

LOOKED_AT = "this zone was looked at within the last minute: ask again in a minute"


@update(guard=require_signature)
def offer_custody(offer: CustodyOffer) -> Async[AckResult]:
    """Offers a zone to owners in a custody, for who speaks for the zone.

    Done once each new owner has accepted, and each present one who loses the zone or a say in it.
    """
    canister, caller = offer["canister"].bytes, ic.caller().bytes
    owners = [owner.bytes for owner in offer["owners"]]
    kind = kind_of(offer)
    child, fault = spoken_for(canister)
    if child is None or fault:
        return {"err": fault}
    fault = custody.offer_fault(child, owners, kind, ic.id().bytes)
    if fault:
        return {"err": fault}
    if (child.offered, child.offered_custody) != (owners, kind):
        note("offer_custody", canister, terms(kind, owners))
    child.offered, child.offered_custody = owners, kind
    child.accepted = [caller]
    children.put(canister, child)
    if custody.awaited(child):
        return {"ok": None}
    fault = yield hand_over(canister)
    return {"err": fault} if fault else {"ok": None}


@update(guard=require_signature)
def accept_custody(offer: CustodyOffer) -> Async[AckResult]:
    """Accepts an offer, for new owners and those from whom it takes something; the last acceptance carries it out.

    The offer is repeated: one that was replaced since the caller read it is not accepted by mistake.
    """
    canister, caller = offer["canister"].bytes, ic.caller().bytes
    child = children.get(canister)
    if child is None or not child.offered or caller not in [*child.offered, *child.owners]:
        return {"err": "custody of this zone was not offered to you"}
    owners, kind = [owner.bytes for owner in offer["owners"]], kind_of(offer)
    if (sorted(child.offered), child.offered_custody) != (sorted(owners), kind):
        return {
            "err": f"what is offered is {terms(child.offered_custody, child.offered)}, not {terms(kind, owners)}: "
            "look at it again"
        }
    if caller not in child.accepted:
        child.accepted.append(caller)
        children.put(canister, child)
        note("accept_custody", canister)
    if custody.awaited(child):
        return {"ok": None}
    fault = yield hand_over(canister)
    return {"err": fault} if fault else {"ok": None}


def kind_of(offer: CustodyOffer) -> int:
    """The custody that an offer is of."""
    return custody.NAMES[next(iter(offer["custody"]))]


def terms(kind: int, owners: list[bytes]) -> str:
    """An offer in words."""
    return f"{CUSTODY_NAMES[kind]} to {', '.join(map(to_text, owners))}"


@update(guard=require_signature)
def cancel_custody_offer(canister: Principal) -> AckResult:
    """Takes back an offer that was not carried out, and the caller's wish to retire the zone. For its owners."""
    child, fault = spoken_for(canister.bytes)
    if child is None or fault:
        return {"err": fault}
    if child.offered or ic.caller().bytes in child.agreed:
        note("cancel_custody_offer", canister.bytes)
    child.clear_offer()
    child.agreed = [owner for owner in child.agreed if owner != ic.caller().bytes]
    children.put(canister.bytes, child)
    return {"ok": None}


def spoken_for(canister: bytes) -> tuple[Child | None, str]:
    """The live child that the caller speaks for, or why he may not change whose it is now."""
    child = children.get(canister)
    if child is None:
        return None, f"{to_text(canister)} is no child of this factory"
    if not child.is_owner(ic.caller().bytes):
        return None, custody.NOT_AN_OWNER
    fault = custody.live_fault(child) or custody_fault(canister)
    return (None, fault) if fault else (child, "")


@update(guard=require_signature)
def repay(canister: Principal) -> RepayResult:
    """Takes the cycles that are owed for a zone from those sent along; returns what is still owed."""
    child = children.get(canister.bytes)
    if child is None:
        return {"err": f"{canister.to_str()} is no child of this factory"}
    if child.stage in ENDING:
        return {"err": custody.live_fault(child)}
    paid = ic.msg_cycles_accept128(min(child.owed, ic.msg_cycles_available128()))
    if paid:
        child.owed -= paid
        children.put(canister.bytes, child)
        note("repay", canister.bytes, f"{paid} cycles, {child.owed} still owed")
    return {"ok": child.owed}


@update(guard=require_admin)
def waive_repayment(canister: Principal) -> AckResult:
    """Agrees that a zone's owners take custody over without repaying what is owed."""
    child = children.get(canister.bytes)
    if child is None:
        return {"err": f"{canister.to_str()} is no child of this factory"}
    note("waive_repayment", canister.bytes, f"{child.owed} cycles")
    child.owed = 0
    children.put(canister.bytes, child)
    return {"ok": None}


@update(guard=require_signature)
def refresh_custody(canister: Principal) -> Async[AckResult]:
    """Reads a zone's controllers from the platform and corrects its record; at most once a minute."""
    child = children.get(canister.bytes)
    if child is None:
        return {"err": f"{canister.to_str()} is no child of this factory"}
    if child.stage == RETIRED:
        return {"err": custody.live_fault(child)}
    if ic.time() - child.info_read_at < LOOK_INTERVAL:
        return {"ok": None}
    key = b"info" + canister.bytes
    if open_calls.running(key, ic.time()):
        return {"err": "this zone is being read: ask again in a few seconds"}
    if not may_look(canister.bytes, b"refresh"):
        return {"err": LOOKED_AT}
    open_calls.start(key, ic.time())
    fault = yield examine(canister.bytes)
    open_calls.finish(key)
    if not retirement_fault(canister.bytes):
        take_back(canister.bytes)
    return {"err": fault} if fault else {"ok": None}


@update(guard=require_signature)
def retire_child(canister: Principal, repeated: text) -> Async[RetireResult]:
    """Ends a zone: its data is destroyed, its cycles come back to the battery, its canister is deleted.

    `repeated` is the canister's id once more. Each owner of a zone must ask for it; of one without owners, and of one
    whose canister was deleted by others, its creator or an admin. The last who asks has it done. Returns the cycles
    that came back.
    """
    child = children.get(canister.bytes)
    if child is None:
        return {"err": f"{canister.to_str()} is no child of this factory"}
    caller = ic.caller().bytes
    is_admin = admins.refusal(caller) == ""
    if not is_admin and not child.is_owner(caller) and caller != child.creator:
        return {"err": custody.NOT_AN_OWNER}
    if repeated != canister.to_str():
        return {"err": f"all data of the zone is destroyed: repeat its canister id {canister.to_str()} to do that"}
    is_new = caller in child.owners and caller not in child.agreed
    if is_new:
        child.agreed.append(caller)
        children.put(canister.bytes, child)
    missing = custody.consent_fault(child)
    if is_new or is_admin or (not missing and child.stage == LIVE):
        note("retire_child", canister.bytes)
    # A canister that was deleted is nobody's any more: its creator, too, may have that looked at.
    is_doubtful = child.stage != RETIRED and (missing != "" or not child.controlled)
    if is_doubtful:
        if missing and not is_admin and caller != child.creator:
            return {"err": missing}
        if not may_look(canister.bytes, b"retire"):
            return {"err": missing or LOOKED_AT}
    recovered, fault = yield retire(canister.bytes)
    if is_doubtful and missing and not is_admin and not fault:
        note("retire_child", canister.bytes, "its canister was deleted")
    return {"err": fault} if fault else {"ok": recovered}
