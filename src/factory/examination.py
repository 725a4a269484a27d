"""What the platform says of a child before the factory does anything to it: who controls it and what code it runs.

A flow: one call of `canister_info`, which anyone may make of any canister. The child's record is corrected by it.
"""

from kybra import Async, ic, text

from canister_kit.in_flight import SECOND
from factory.context import battery, children, fuel
from factory.fuel import DELETED, UNKNOWN
from factory.lately import is_first
from factory.principals import to_principal, to_text
from factory.services import management

LOOK_INTERVAL = 60 * SECOND

looks: dict[bytes, int] = {}
"""When a child was last looked at for those who may ask for it as often as they like: each look costs cycles."""


def may_look(canister: bytes, purpose: bytes) -> bool:
    """Whether a child may be looked at because somebody asks for it: once a minute, whatever came of the last time.

    For each purpose, so that who may have one thing only cannot keep others from another.
    """
    return is_first(looks, purpose + canister, LOOK_INTERVAL, ic.time())


def is_gone(fault: str) -> bool:
    """Whether a call of the management canister was rejected because there is no such canister (any more)."""
    return "Rejection code 3," in fault and "not found" in fault


def examine(canister: bytes) -> Async[text]:
    """Reads a child's controllers and module hash into its record; returns why that failed, or ""."""
    answer = yield management.canister_info({"canister_id": to_principal(canister), "num_requested_changes": None})
    if answer.Err is not None:
        fault = f"reading what the platform knows of {to_text(canister)} failed: {answer.Err}"
        if is_gone(fault) and battery.is_child(canister):
            fuel.set_state(canister, DELETED)
        return fault
    if fuel.get(canister).state == DELETED:
        fuel.set_state(canister, UNKNOWN)
    info = answer.Ok
    controllers = [controller.bytes for controller in info["controllers"]]
    children.info_read(canister, controllers, info["module_hash"] or b"", ic.id().bytes, ic.time())
    return ""


def examine_controlled(canister: bytes) -> Async[text]:
    """Reads a child and returns why the factory may not act on it, or ""; what every privileged act begins with."""
    if children.get(canister) is None:
        return f"{to_text(canister)} is no child of this factory"
    fault = yield examine(canister)
    return fault or control_fault(canister)


def control_fault(canister: bytes) -> str:
    """Why the factory may do nothing to a child, as it was read last, or ""."""
    child = children.get(canister)
    if child is None or not child.controlled:
        return f"the factory does not control {to_text(canister)}: its owners do"
    return ""
