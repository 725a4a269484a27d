"""How a zone ends: stopped, its cycles given back to the battery, its canister deleted.

A flow over the management canister. That it has begun is written down first, and from then on the child is no longer
fuelled nor upgraded; each step may be repeated, so a retirement that stopped half way is taken up from its beginning.
What was done already is read from the platform: what code runs, what that code gave back, whether the canister is
gone. That code is believed only where the factory's own record says that it put it there: its owners could have, with
an argument of theirs. Nothing is deleted before what it gave back is in the books. Not for who may ask (`api_custody`).
"""

from kybra import Async, Tuple, ic, nat, text

from canister_kit.status import CanisterIdRecord
from factory.birth import last_settings
from factory.children import CREATED, ENDING, LIVE, RETIRED, RETIRING, Child
from factory.context import (
    alerts,
    battery,
    children,
    creations,
    deposit_log,
    fuel,
    lists,
    open_calls,
    samples,
)
from factory.creation import zone_list
from factory.custody import consent_fault
from factory.examination import examine_controlled, is_gone
from factory.installation import LEAST_CYCLES
from factory.marks import (
    change_fault,
    creation_fault,
    custody_fault,
    deposit_fault,
    retirement_fault,
    retirement_key,
)
from factory.principals import to_principal, to_text
from factory.returner import RETURNER_HASH, RETURNER_WASM, ReturnerService
from factory.services import ChildStatus, management

MAX_CANDIDATES = 1_000

Retired = Tuple[nat, text]


def retire(canister: bytes) -> Async[Retired]:
    """Ends a child that may end; returns all cycles that it gave back, and what went wrong or ""."""
    key = retirement_key(canister)
    child = children.get(canister)
    if child is None or child.stage == RETIRED:
        fault = "" if child is not None else f"{to_text(canister)} is no child of this factory"
        return deposit_log.given_back(canister), fault
    fault = busy_fault(canister, child) or retirement_fault(canister)
    if fault:
        return 0, fault
    open_calls.start(key, ic.time())
    fault = yield examine_controlled(canister)
    child = children.get(canister)
    if child is not None and is_gone(fault):
        # A change of its code, which began meanwhile, ends by itself; of the others each could bring something back.
        fault = upheld_fault(canister, child)
    elif child is not None:
        take_back(canister)
        # Whose word it takes is what the platform says now.
        fault = fault or busy_fault(canister, child) or consent_fault(child)
        if not fault:
            begin(canister)
            fault = yield empty_and_delete(canister)
    open_calls.finish(key)
    if not fault:
        end(canister)
    return deposit_log.given_back(canister), fault


def busy_fault(canister: bytes, child: Child) -> str:
    """What else is being done to a child, or ""."""
    return change_fault(canister) or upheld_fault(canister, child)


def upheld_fault(canister: bytes, child: Child) -> str:
    """What is being done to a child that its end waits for even when its canister is gone, or ""."""
    return deposit_fault(canister) or custody_fault(canister) or creation_fault(child)


def begin(canister: bytes) -> None:
    """Writes down that a child is being retired."""
    child = children.get(canister)
    if child is not None:
        child.stage = RETIRING
        child.clear_offer()
        children.put(canister, child)


def take_back(canister: bytes) -> None:
    """Makes a child that is being retired what it was before, if the factory may not end it any more.

    By what was read of it last: its owners may have taken it for themselves alone, or taken in another one.
    """
    child = children.get(canister)
    if child is None or child.stage != RETIRING or (child.controlled and not consent_fault(child)):
        return
    child.stage = LIVE if battery.is_child(canister) else CREATED
    child.emptied = False
    if not child.controlled:
        child.agreed = []
    children.put(canister, child)


def empty_and_delete(canister: bytes) -> Async[text]:
    """Takes what cycles it can out of a child and deletes it; returns what went wrong or ""."""
    this: CanisterIdRecord = {"canister_id": to_principal(canister)}
    answer = yield management.stop_canister(this)
    if answer.Err is not None:
        return f"stopping {to_text(canister)} failed: {answer.Err}"
    answer = yield management.canister_status(this)
    if answer.Err is not None:
        return f"reading the status of {to_text(canister)} failed: {answer.Err}"
    held, child = answer.Ok["cycles"], children.get(canister)
    # Installed anew it would forget what it gave back.
    is_ready = child is not None and child.emptied and answer.Ok["module_hash"] == RETURNER_HASH
    # What others deposited since counts, too.
    most = deposit_log.held(canister) + held if is_ready else held
    # What holds less is deleted with what it has.
    if not is_ready and held >= LEAST_CYCLES:
        fault = yield prepare(canister, answer.Ok)
        if fault:
            return fault
        is_ready = True
    if is_ready:
        fault = yield give_back(canister, most)
        if fault:
            return fault
    answer = yield management.delete_canister(this)
    return "" if answer.Err is None else f"deleting {to_text(canister)} failed: {answer.Err}"


def prepare(canister: bytes, found: ChildStatus) -> Async[text]:
    """Puts code on a stopped child that does nothing but give its cycles back; nobody else may change that any more."""
    settings = last_settings(found["reserved_cycles"])
    answer = yield management.update_settings({"canister_id": to_principal(canister), "settings": settings})
    if answer.Err is not None:
        return f"changing the settings of {to_text(canister)} failed: {answer.Err}"
    deposit_log.hold(canister, found["cycles"])
    answer = yield management.install_code(
        {
            "mode": {"reinstall": None},
            "canister_id": to_principal(canister),
            "wasm_module": RETURNER_WASM,
            "arg": ic.candid_encode(f'(record {{ canister_id = principal "{ic.id().to_str()}" }})'),
        }
    )
    if answer.Err is not None:
        return f"installing the code that gives cycles back failed: {answer.Err}"
    child = children.get(canister)
    if child is not None:
        child.emptied = True
        children.put(canister, child)
    return ""


def give_back(canister: bytes, most: int) -> Async[text]:
    """Has a child's cycles, at most so many, deposited to the factory by the code that `prepare` put on it."""
    this: CanisterIdRecord = {"canister_id": to_principal(canister)}
    answer = yield management.start_canister(this)
    if answer.Err is not None:
        return f"starting {to_text(canister)} failed: {answer.Err}"
    answer = yield ReturnerService(to_principal(canister)).give_back()
    fault = f"giving the cycles back failed: {answer.Err}"
    if answer.Err is None:
        fault = ""
        deposit_log.give_back(canister, int.from_bytes(answer.Ok, "little"), most, ic.time())
    answer = yield management.stop_canister(this)
    return fault or ("" if answer.Err is None else f"stopping {to_text(canister)} failed: {answer.Err}")


def end(canister: bytes) -> None:
    """Writes down that a child has ended: nothing is read of it any more, its place is free, another is canonical."""
    child = children.get(canister)
    if child is None:
        return
    child.stage = RETIRED
    child.controlled = False
    child.controllers = []
    children.put(canister, child)
    for books in (battery, fuel, samples, deposit_log):
        books.forget(canister)
    alerts.clear_all(canister, ic.time())
    number = creations.at(child.creator, child.zone_id)
    creation = creations.get(number)
    if creation is not None and creation.canister == canister:
        creations.free(number, creation)
    if creations.canonical(child.zone_id) == canister:
        creations.set_canonical(child.zone_id, next_canonical(child.zone_id))


def next_canonical(zone_id: str) -> bytes:
    """The first proven canister of a zone_id that has not ended, empty for none."""
    name = zone_list(zone_id)
    for position in range(min(lists.length(name), MAX_CANDIDATES)):
        canister = lists.page(name, position, 1)[0]
        child = children.get(canister)
        if child is not None and child.proven and child.stage not in ENDING:
            return canister
    return b""
