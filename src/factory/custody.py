"""Custody: who controls a zone canister, and how that passes on.

Pure. `managed` is the factory alone, `shared` the factory and up to 9 owners, `sovereign` up to 10 owners and not the
factory. A transfer takes two steps: it is offered by one who speaks for the zone, and accepted by each new owner and by
each present one from whom it takes something; then it can be carried out (`control`). Each check returns what is wrong,
or "".
"""

from canister_kit.guards import ANONYMOUS
from factory.children import LIVE, MANAGED, MAX_OWNERS, MAX_SHARED_OWNERS, SHARED, SOVEREIGN, STAGE_NAMES, Child
from factory.principals import to_text

MOST_OWNERS = {MANAGED: MAX_OWNERS, SHARED: MAX_SHARED_OWNERS, SOVEREIGN: MAX_OWNERS}
NAMES = {"managed": MANAGED, "shared": SHARED, "sovereign": SOVEREIGN}
NOT_AN_OWNER = "Unauthorized access. Caller does not speak for the zone."


def owners_fault(owners: list[bytes], custody: int, factory: bytes) -> str:
    """Why these cannot be the owners of a zone in this custody, or ""."""
    most = MOST_OWNERS[custody]
    least = 0 if custody == MANAGED else 1
    if not least <= len(owners) <= most:
        return f"owners must be {least} to {most} in this custody, got {len(owners)}"
    for owner in owners:
        if owner == ANONYMOUS:
            return "owners: the anonymous principal owns nothing"
        if owner == b"":
            return "owners: the management canister owns nothing"
        if owner == factory:
            return "owners: the factory is no owner"
    return "owners: a principal is named twice" if len(set(owners)) < len(owners) else ""


def live_fault(child: Child) -> str:
    """Why a zone has no custody to change, and needs no cycles, or ""."""
    return "" if child.stage == LIVE else f"this zone is not live: it is {STAGE_NAMES[child.stage]}"


def consent_fault(child: Child) -> str:
    """Which of its owners have yet to ask for the end of a zone, or ""."""
    missing = [owner for owner in child.owners if owner not in child.agreed]
    if not missing:
        return ""
    return f"{len(missing)} of {len(child.owners)} owners have yet to ask for it: {to_text(missing[0])}"


def debt_fault(child: Child, custody: int) -> str:
    """Why owners cannot have control of a zone before something is repaid, or ""."""
    if custody == MANAGED or not child.owed:
        return ""
    return f"{child.owed} cycles are owed for this zone: repay them, or ask an admin to waive them"


def awaited(child: Child) -> list[bytes]:
    """Who has yet to accept what is offered: new owners, and present ones who lose the zone or a say in it.

    All present ones do when a zone becomes or ceases to be managed. In the first case they lose its control; in the
    second each of them can do alone what the factory did for none without the others: take them out on the platform,
    and read and replace what the zone holds.
    """
    is_everybodys = MANAGED in (child.custody, child.offered_custody) and child.custody != child.offered_custody
    losing = child.owners if is_everybodys else [owner for owner in child.owners if owner not in child.offered]
    new = [owner for owner in child.offered if owner not in child.owners]
    return [principal for principal in [*new, *losing] if principal not in child.accepted] if child.offered else []


def offer_fault(child: Child, owners: list[bytes], custody: int, factory: bytes) -> str:
    """Why a zone cannot be offered to these owners in this custody, or ""."""
    if not owners:
        return "an offer names at least one owner"
    fault = debt_fault(child, custody)
    if fault:
        return fault
    if not child.controlled:
        return "the factory does not control this zone: its owners set its controllers themselves"
    return owners_fault(owners, custody, factory)
