"""What the platform says of a child before the factory does anything to it: who controls it and what code it runs.

A flow: one call of `canister_info`, which anyone may make of any canister. The child's record is corrected by it.
"""

from kybra import Async, ic, text

from factory.context import children
from factory.principals import to_principal, to_text
from factory.services import management


def is_gone(fault: str) -> bool:
    """Whether a call of the management canister was rejected because there is no such canister (any more)."""
    return "Rejection code 3," in fault and "not found" in fault


def examine(canister: bytes) -> Async[text]:
    """Reads a child's controllers and module hash into its record; returns why that failed, or ""."""
    answer = yield management.canister_info({"canister_id": to_principal(canister), "num_requested_changes": None})
    if answer.Err is not None:
        return f"reading what the platform knows of {to_text(canister)} failed: {answer.Err}"
    info = answer.Ok
    controllers = [controller.bytes for controller in info["controllers"]]
    children.info_read(canister, controllers, info["module_hash"] or b"", ic.id().bytes, ic.time())
    return ""


def examine_controlled(canister: bytes) -> Async[text]:
    """Reads a child and returns why the factory may not act on it, or ""; what every privileged act begins with."""
    if children.get(canister) is None:
        return f"{to_text(canister)} is no child of this factory"
    fault = yield examine(canister)
    if fault:
        return fault
    child = children.get(canister)
    if child is None or not child.controlled:
        return f"the factory does not control {to_text(canister)}: its owners do"
    return ""
