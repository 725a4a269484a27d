"""What is being done to a child, so that nothing else is done to it meanwhile: by which keys its open calls are marked.

Flows look here before they begin and after calls that they waited for. Each check returns what is under way, or "".
"""

from kybra import ic

from factory.children import Child
from factory.context import changes, deposit_log, open_calls
from factory.principals import to_text
from factory.zones import zone_key


def change_key(canister: bytes) -> bytes:
    """The mark of a change of code, and of an installation."""
    return b"change" + canister


def custody_key(canister: bytes) -> bytes:
    """The mark of a transfer that is carried out."""
    return b"custody" + canister


def retirement_key(canister: bytes) -> bytes:
    """The mark of a zone's end."""
    return b"retire" + canister


def deposit_key(canister: bytes) -> bytes:
    """The mark of a deposit."""
    return b"deposit" + canister


def change_fault(canister: bytes) -> str:
    """Whether a child's code is being changed or installed."""
    fault = changes.fault(canister)
    if not fault and open_calls.running(change_key(canister), ic.time()):
        fault = "the code of this canister is being changed: try again in a minute"
    return fault


def custody_fault(canister: bytes) -> str:
    """Whether a child is being handed over."""
    if open_calls.running(custody_key(canister), ic.time()):
        return "a transfer of this zone is being carried out: ask again in a few seconds"
    return ""


def creation_fault(child: Child) -> str:
    """Whether a child's creation is being carried out."""
    if open_calls.running(zone_key(child.creator, child.zone_id), ic.time()):
        return f"zone {child.zone_id} is being created: ask again in a few seconds"
    return ""


def deposit_fault(canister: bytes) -> str:
    """Whether a deposit to a child is being made, or was and its answer has not come."""
    if open_calls.running(deposit_key(canister), ic.time()) or deposit_log.is_pending(canister):
        return f"a deposit to {to_text(canister)} is under way: ask again when it has ended"
    return ""


def retirement_fault(canister: bytes) -> str:
    """Whether a child is being brought to its end."""
    if open_calls.running(retirement_key(canister), ic.time()):
        return "this zone is being retired: ask again in a few seconds"
    return ""
