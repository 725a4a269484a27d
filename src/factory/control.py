"""How the controllers of a child become what its custody says.

A flow: read who controls it, set what differs, read nothing twice. Not for who may want that (`custody`).
"""

from kybra import Async, ic, text

from factory.birth import only_controllers
from factory.context import children
from factory.examination import examine
from factory.principals import to_principal, to_text
from factory.services import management


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
