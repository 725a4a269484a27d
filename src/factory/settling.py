"""What becomes of a creation whose answer was lost: an admin names the canister it got, or says that there is none.

A flow. Answers are lost when the factory was upgraded under an open call in spite of its refusal. The platform lists
nobody's canisters to a canister, so the factory cannot look by itself; what an admin names is examined.
"""

from kybra import Async, ic, text

from factory.context import children, creations, open_calls
from factory.creation import give_up, has_canister
from factory.pool import POOL_KEY, pool_canister
from factory.principals import to_principal, to_text
from factory.services import management
from factory.zones import RESERVED, Creation, zone_key


def settle(number: int, canister: bytes) -> Async[text]:
    """Gives a lost creation its canister, or ends it when `canister` is empty; returns why not, or ""."""
    fault = lost_fault(number)
    if fault:
        return fault
    if not canister:
        give_up(number, "its answer was lost; an admin found no canister")
        return ""
    key = b"settle" + canister
    open_calls.start(key, ic.time())
    answer = yield management.canister_info({"canister_id": to_principal(canister), "num_requested_changes": None})
    open_calls.finish(key)
    if answer.Err is not None:
        return f"reading what the platform knows of {to_text(canister)} failed: {answer.Err}"
    controllers = [controller.bytes for controller in answer.Ok["controllers"]]
    fault = lost_fault(number) or canister_fault(canister, controllers, answer.Ok["module_hash"])
    creation = creations.get(number)
    if fault or creation is None:
        return fault
    if not creation.zone_id:
        pool_canister(number, canister)
        return ""
    creations.has_canister(number, canister, ic.time())
    has_canister(number, controllers)
    return ""


def lost_fault(number: int) -> str:
    """Why a creation is not one whose answer was lost, or ""."""
    creation = creations.get(number)
    if creation is None:
        return f"creation {number} is unknown"
    if creation.stage != RESERVED:
        return f"creation {number} has an outcome: see get_creation"
    return "its call is open: wait for its answer" if open_calls.running(call_key(creation), ic.time()) else ""


def call_key(creation: Creation) -> bytes:
    """The mark of the call that creates a creation's canister."""
    return zone_key(creation.creator, creation.zone_id) if creation.zone_id else POOL_KEY


def canister_fault(canister: bytes, controllers: list[bytes], module_hash: bytes | None) -> str:
    """Why a canister is not the one that a lost creation got, or ""."""
    if children.get(canister) is not None or is_pooled(canister):
        return f"{to_text(canister)} belongs to another creation"
    if ic.id().bytes not in controllers:
        return f"the factory does not control {to_text(canister)}"
    return f"{to_text(canister)} runs code already" if module_hash else ""


def is_pooled(canister: bytes) -> bool:
    """Whether a canister waits in the pool."""
    found = [creations.get(number) for number in creations.pool()]
    return any(creation is not None and creation.canister == canister for creation in found)
