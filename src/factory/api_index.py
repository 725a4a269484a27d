"""The factory's Candid interface: which zone canisters there are, by canister, by zone_id, by creator, page by page."""

from kybra import Opt, Principal, Vec, nat32, query, text

from canister_kit.zone_args import zone_id_fault
from factory.children import CUSTODY_NAMES, SPONSORED, STAGE_NAMES
from factory.context import children, creations, lists, require_short
from factory.creation import creator_list, zone_list
from factory.custody import awaited
from factory.principals import to_principal, to_principals
from factory.types_zones import ZoneEntry, ZonePage

MAX_PAGE = 100


@query(guard=require_short)
def get_zone(canister: Principal) -> Opt[ZoneEntry]:
    """What the factory knows of a zone canister."""
    return entry(canister.bytes)


@query(guard=require_short)
def list_zones(after: Opt[Principal], limit: nat32) -> Vec[ZoneEntry]:
    """Zone canisters that have not ended, in ascending order of their principals, from after one on; at most 100.

    Ended ones are told by `get_zone` and in the lists by zone_id and creator.
    """
    canisters = children.page(None if after is None else after.bytes, min(limit, MAX_PAGE))
    return entries(canisters)


@query(guard=require_short)
def get_zones_by_id(zone_id: text, start: nat32, limit: nat32) -> ZonePage:
    """All canisters that were created for a zone_id, the oldest first; at most 100 from a position on.

    Anybody may have one created for any zone_id: `canonical` is the one whose creator its contract named an owner.
    """
    if zone_id_fault(zone_id):
        return {"zones": [], "next": None, "canonical": None}
    page = page_of(zone_list(zone_id), start, limit)
    canonical = creations.canonical(zone_id)
    page["canonical"] = to_principal(canonical) if canonical else None
    return page


@query(guard=require_short)
def get_zones_by_creator(creator: Principal, start: nat32, limit: nat32) -> ZonePage:
    """All canisters that a principal had created, the oldest first; at most 100 from a position on."""
    return page_of(creator_list(creator.bytes), start, limit)


def page_of(name: bytes, start: int, limit: int) -> ZonePage:
    """A page of a list and where the next one starts."""
    most = min(limit, MAX_PAGE)
    canisters = lists.page(name, start, most)
    end = start + len(canisters)
    return {
        "zones": entries(canisters),
        "next": end if end < lists.length(name) else None,
        "canonical": None,
    }


def entries(canisters: list[bytes]) -> list[ZoneEntry]:
    """What is known of some canisters."""
    found: list[ZoneEntry] = []
    for canister in canisters:
        known = entry(canister)
        if known is not None:
            found.append(known)
    return found


def entry(canister: bytes) -> ZoneEntry | None:
    """What is known of a canister, None of one that is no child."""
    child = children.get(canister)
    if child is None:
        return None
    return {
        "canister": to_principal(canister),
        "zone_id": child.zone_id,
        "creator": to_principal(child.creator),
        "created_at": child.created_at,
        "stage": {STAGE_NAMES[child.stage]: None},  # pyright: ignore[reportReturnType]
        "custody": {CUSTODY_NAMES[child.custody]: None},  # pyright: ignore[reportReturnType]
        "funding": {"sponsored": None} if child.funding == SPONSORED else {"funded": None},
        "proven": child.proven,
        "canonical": creations.canonical(child.zone_id) == canister,
        "owners": to_principals(child.owners),
        "offered": to_principals(child.offered),
        "accepted": to_principals(child.accepted),
        "awaited": to_principals(awaited(child)),
        "offered_custody": {CUSTODY_NAMES[child.offered_custody]: None} if child.offered_custody else None,  # pyright: ignore[reportReturnType]
        "agreed_to_retire": to_principals(child.agreed),
        "owed": child.owed,
        "controlled": child.controlled,
        "controllers": to_principals(child.controllers),
        "module_hash": child.module_hash or None,
        "info_read_at": child.info_read_at or None,
    }
