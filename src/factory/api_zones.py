"""The factory's Candid interface: creation of zones."""

from kybra import Async, Manual, Opt, Principal, blob, ic, nat32, query, text, update

from canister_kit.guards import refuse_anonymous
from canister_kit.zone_args import zone_args_fault
from factory import creation
from factory.candid_types import AckResult, CreationBudget
from factory.context import battery, children, note, open_calls, releases, require_admin, zones
from factory.creation import Created
from factory.principals import to_principal
from factory.zones import INSTALLED, MAX_DAILY_LIMIT, Zone, zone_key


@update(guard=refuse_anonymous)
def create_zone_availability_canister(zone_id: text, rpc_host: text, rpc_path: text) -> Async[Manual[Principal]]:
    """Creates the caller's zone canister for a zone without a call token, or returns the one there is."""
    canister, fault = yield create_zone(zone_id, rpc_host, rpc_path, None)
    if fault:
        ic.reject(fault)
    else:
        ic.reply(to_principal(canister))


@update(guard=refuse_anonymous)
def create_zone_availability_canister_with_token(
    zone_id: text, rpc_host: text, rpc_path: text, call_token: Opt[blob]
) -> Async[Manual[Principal]]:
    """Creates the caller's zone canister for a zone, or returns the one there is."""
    canister, fault = yield create_zone(zone_id, rpc_host, rpc_path, call_token)
    if fault:
        ic.reject(fault)
    else:
        ic.reply(to_principal(canister))


def create_zone(zone_id: str, rpc_host: str, rpc_path: str, call_token: bytes | None) -> Async[Created]:
    """The caller's zone canister, or what is wrong; one creation of a zone at a time."""
    fault = zone_args_fault(zone_id, rpc_host, rpc_path, call_token)
    if fault:
        return b"", fault
    creator = ic.caller().bytes
    key = zone_key(creator, zone_id)
    if open_calls.running(key, ic.time()):
        return b"", f"zone {zone_id} is being created: ask again in a few seconds"
    open_calls.start(key, ic.time())
    zone = Zone(rpc_host, rpc_path, call_token)
    canister, fault = yield creation.create_zone(zones, releases, battery, children, creator, zone_id, zone, call_token)
    open_calls.finish(key)
    return canister, fault


@query
def get_my_zone(zone_id: text) -> Opt[Principal]:
    """The zone canister that the caller created for a zone, once its code runs."""
    zone = zones.find(ic.caller().bytes, zone_id)
    return to_principal(zone.canister) if zone is not None and zone.stage == INSTALLED else None


@query
def get_creation_budget() -> CreationBudget:
    """How many zones may be created a day, and how many were in this window; times in ns."""
    budget = zones.budget(ic.time())
    return {"daily_limit": budget.limit, "used": budget.used, "window_ends_at": budget.ends_at}


@update(guard=require_admin)
def set_daily_creation_limit(limit: nat32) -> AckResult:
    """Sets how many zones may be created a day; 0 stops creations."""
    if limit > MAX_DAILY_LIMIT:
        return {"err": f"the daily limit is at most {MAX_DAILY_LIMIT}, got {limit}"}
    budget = zones.budget(ic.time())
    budget.limit = limit
    zones.store_budget(budget)
    note("set_daily_creation_limit", b"", str(limit))
    return {"ok": None}
