"""How the controllers of a child become what its custody says, and its settings what the battery is ready to pay for.

Flows: read who controls it, set what differs. Not for who may want that (`custody`).
"""

from kybra import Async, ic, text, void

from canister_kit.in_flight import SECOND
from factory.birth import (
    ALLOCATIONS,
    birth_settings,
    controllers_of,
    only_controllers,
    settings_set_back,
    strayed,
)
from factory.children import ENDING, LIVE, MANAGED
from factory.context import audit, children, open_calls, releases
from factory.custody import awaited, debt_fault, live_fault
from factory.examination import control_fault, examine
from factory.lately import is_first
from factory.marks import change_fault, custody_fault, custody_key, retirement_fault
from factory.policy import DAY
from factory.principals import to_principal, to_text
from factory.services import CanisterSettingsChange, ChildStatus, management
from factory.zone_services import ZoneService

told: dict[bytes, int] = {}
"""When the audit log was told last that a child's settings were set back, or were not: once a day is enough."""


def set_controllers(canister: bytes, wanted: list[bytes]) -> Async[text]:
    """Makes these the controllers of a child that was just read; returns what went wrong, or ""."""
    child = children.get(canister)
    if child is None:
        return f"{to_text(canister)} is no child of this factory"
    # Who controls a zone that is being ended could say in its name what it gave back.
    if child.stage in ENDING:
        return live_fault(child)
    if sorted(child.controllers) == sorted(wanted):
        return ""
    fault = control_fault(canister)
    if not fault:
        fault = yield change_settings(canister, only_controllers(wanted))
    return fault


def change_settings(canister: bytes, settings: CanisterSettingsChange) -> Async[text]:
    """Changes a child's settings, and its record with its controllers; returns what went wrong, or ""."""
    answer = yield management.update_settings({"canister_id": to_principal(canister), "settings": settings})
    if answer.Err is not None:
        return f"changing the settings of {to_text(canister)} failed: {answer.Err}"
    child, controllers = children.get(canister), settings["controllers"]
    if child is not None and controllers is not None:
        wanted = [controller.bytes for controller in controllers]
        children.info_read(canister, wanted, child.module_hash, ic.id().bytes, ic.time())
    return ""


def set_back(canister: bytes, found: ChildStatus) -> Async[bool]:
    """Sets the settings of a child back that the factory alone controls, if they are not those of birth.

    Its owners set them before they gave it up, on the platform and not through here. True when it burns less from now
    on than was read of it.
    """
    child = children.get(canister)
    if child is None or child.stage != LIVE or child.controllers != [ic.id().bytes]:
        return False
    names = strayed(found)
    if not names or custody_fault(canister) or retirement_fault(canister):
        return False
    fault = yield change_settings(canister, settings_set_back(found["reserved_cycles"]))
    values = [(name, found["settings"][name]) for name in names]
    details = fault or ", ".join([f"{name} {next(iter(v)) if isinstance(v, dict) else v}" for name, v in values])
    if is_first(told, bytes([fault == ""]) + canister, DAY * SECOND, ic.time()):
        audit.record(ic.time(), ic.id().bytes, "set_settings_back", canister, details)
    return not fault and any(name in names for name in ALLOCATIONS)


def tell_controllers(canister: bytes) -> Async[void]:
    """Has a child read its controllers, if it runs code of ours now that nobody else can change it any more."""
    fault = yield examine(canister)
    child = children.get(canister)
    if not fault and child is not None and child.custody == MANAGED and releases.is_published(child.module_hash):
        yield ZoneService(to_principal(canister)).refresh_controllers()


def carry_out(canister: bytes, owners: list[bytes], custody: int) -> Async[text]:
    """Sets what an offer says on the platform, with `managed` the settings of birth; returns what went wrong, or "".

    Whose zone it is, is read first: it may have passed to others since the offer was made, and then takes their word.
    """
    fault = yield examine(canister)
    child = children.get(canister)
    if fault or child is None:
        return fault or f"{to_text(canister)} is no child of this factory"
    wanted = controllers_of(custody, owners)
    if sorted(child.controllers) != sorted(wanted):
        missing = awaited(child)
        if missing:
            return f"{len(missing)} have yet to accept, as the zone is theirs by now: {to_text(missing[0])}"
        fault = live_fault(child) or debt_fault(child, custody)
        if fault:
            return fault
    if custody != MANAGED:
        fault = yield set_controllers(canister, wanted)
        return fault
    fault = control_fault(canister)
    if not fault:
        fault = yield change_settings(canister, birth_settings(wanted))
    return fault


def hand_over(canister: bytes) -> Async[text]:
    """Carries an accepted offer of custody out; returns what went wrong, or "". Accepting once more repeats it."""
    child = children.get(canister)
    if child is None:
        return f"{to_text(canister)} is no child of this factory"
    key = custody_key(canister)
    fault = live_fault(child) or custody_fault(canister) or retirement_fault(canister)
    if fault:
        return fault
    # A child is stopped for a while when its code changes: only who controls it then can start it again.
    owners, custody = list(child.offered), child.offered_custody
    # Since the offer was made more may have been spent on the zone.
    fault = change_fault(canister) or debt_fault(child, custody)
    if fault:
        return fault
    open_calls.start(key, ic.time())
    fault = yield carry_out(canister, owners, custody)
    child = children.get(canister)
    if not fault and child is not None:
        child.owners = owners
        child.agreed = []
        child.clear_offer()
        children.put(canister, child)
        if custody == MANAGED:
            yield tell_controllers(canister)
    open_calls.finish(key)
    return fault
