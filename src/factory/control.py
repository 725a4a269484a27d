"""How the controllers of a child become what its custody says.

Flows: read who controls it, set what differs. Not for who may want that (`custody`).
"""

from kybra import Async, ic, text

from factory.birth import controllers_of, only_controllers
from factory.children import MANAGED
from factory.context import children, open_calls, releases
from factory.custody import debt_fault
from factory.examination import examine
from factory.marks import change_fault, custody_fault, custody_key, retirement_fault
from factory.principals import to_principal, to_text
from factory.services import management
from factory.zone_services import ZoneService


def set_controllers(canister: bytes, wanted: list[bytes], fresh: bool) -> Async[text]:
    """Makes these the child's controllers; returns what went wrong, or "". Of a fresh child the record is believed."""
    if not fresh or not has_record(canister):
        fault = yield examine(canister)
        if fault:
            return fault
    child = children.get(canister)
    if child is None:
        return f"{to_text(canister)} is no child of this factory"
    if sorted(child.controllers) == sorted(wanted):
        return ""
    if not child.controlled:
        return f"the factory does not control {to_text(canister)}: its owners do"
    answer = yield management.update_settings(
        {"canister_id": to_principal(canister), "settings": only_controllers(wanted)}
    )
    if answer.Err is not None:
        return f"setting the controllers of {to_text(canister)} failed: {answer.Err}"
    child = children.get(canister)
    if child is not None:
        children.info_read(canister, wanted, child.module_hash, ic.id().bytes, ic.time())
    return ""


def has_record(canister: bytes) -> bool:
    """Whether the controllers of a child are on record."""
    child = children.get(canister)
    return child is not None and child.controllers != []


def hand_over(canister: bytes) -> Async[text]:
    """Carries an accepted offer of custody out; returns what went wrong, or "". Accepting once more repeats it."""
    child = children.get(canister)
    if child is None:
        return f"{to_text(canister)} is no child of this factory"
    key = custody_key(canister)
    fault = custody_fault(canister) or retirement_fault(canister)
    if fault:
        return fault
    # A child is stopped for a while when its code changes: only who controls it then can start it again.
    owners, custody = list(child.offered), child.offered_custody
    # Since the offer was made more may have been spent on the zone.
    fault = change_fault(canister) or debt_fault(child, custody)
    if fault:
        return fault
    open_calls.start(key, ic.time())
    fault = yield set_controllers(canister, controllers_of(custody, owners), False)
    child = children.get(canister)
    if not fault and child is not None:
        child.owners = owners
        child.agreed = []
        child.clear_offer()
        children.put(canister, child)
        # Nobody but the factory can put other code there now, so what was read of it holds.
        if custody == MANAGED and releases.is_published(child.module_hash):
            yield ZoneService(to_principal(canister)).refresh_controllers()
    open_calls.finish(key)
    return fault
