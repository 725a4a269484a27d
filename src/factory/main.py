"""The factory's Candid interface: decorators, types, who may call, and the checks of arguments.

Every call comes in here and goes to one store or flow. Not for logic: that is in the stores, which know neither callers
nor time, and in `creation`. Error texts are those of the wire contract where it has one.
"""

from kybra import (
    Async,
    GuardResult,
    Manual,
    Opt,
    Principal,
    Vec,
    blob,
    ic,
    init,
    inspect_message,
    nat,
    nat32,
    post_upgrade,
    pre_upgrade,
    query,
    text,
    update,
    void,
)

from canister_kit import layout
from canister_kit.cycles import TransferCyclesResult
from canister_kit.guards import STRANGER_BYTES, refuse, refuse_anonymous
from canister_kit.in_flight import InFlight
from canister_kit.upgrade import refuse_foreign_layout
from canister_kit.zone_args import zone_args_fault
from factory import creation, state
from factory.admins import Admins
from factory.battery import Battery, Refusal
from factory.candid_types import (
    AckResult,
    ChunkResult,
    CreationBudget,
    Release,
    ReleaseChunk,
    ReleaseNotice,
    ReleaseUpload,
)
from factory.creation import Created
from factory.releases import ReleaseStore

# Kybra looks Service classes up in the entry module.
from factory.services import ManagementService, management  # noqa: F401
from factory.zones import INSTALLED, MAX_DAILY_LIMIT, Zone, ZoneIndex, zone_key

VERSION = 1000
KIND = "factory"
CANISTER_TEXT_CHARS = 27

admins = Admins(state.settings_map)
battery = Battery(state.settings_map, state.children_map)
zones = ZoneIndex(state.settings_map, state.zones_map)
releases = ReleaseStore(state.settings_map, state.releases_map, state.release_pieces_map)
open_calls = InFlight()


def require_admin() -> GuardResult:
    """Lets the factory's controllers through, as they were read last."""
    return refuse(admins.refusal(ic.caller().bytes))


def require_child() -> GuardResult:
    """Lets the factory's children through."""
    caller = ic.caller()
    if len(caller.to_str()) != CANISTER_TEXT_CHARS:
        return refuse("Calling principal must be a canister")
    return refuse("" if battery.is_child(caller.bytes) else "Canister is not permitted to request cycles")


@init
def init_() -> void:
    """Marks the stable memory as this canister's."""
    state.settings_map.insert(layout.HEADER_KEY, layout.encode_header(KIND))


@pre_upgrade
def pre_upgrade_() -> void:
    """Refuses an upgrade under open calls: their callbacks, and with them new canisters' ids, would be lost."""
    count = open_calls.count(ic.time())
    if count:
        ic.trap(f"{count} calls in flight: stop the factory first")


@post_upgrade
def post_upgrade_() -> void:
    """Refuses a stable memory that is not this canister's."""
    refuse_foreign_layout(state.settings_map, KIND)


@inspect_message
def inspect_message_() -> void:
    """Keeps long calls out before they are paid for, except those of admins; the guards decide about the rest."""
    if ic.arg_data_raw_size() <= STRANGER_BYTES or admins.refusal(ic.caller().bytes) == "":
        ic.accept_message()


@update(guard=refuse_anonymous)
def create_zone_availability_canister(zone_id: text, rpc_host: text, rpc_path: text) -> Async[Manual[Principal]]:
    """Creates the caller's zone canister for a zone without a call token, or returns the one there is."""
    canister, fault = yield create_zone(zone_id, rpc_host, rpc_path, None)
    if fault:
        ic.reject(fault)
    else:
        ic.reply(creation.to_principal(canister))


@update(guard=refuse_anonymous)
def create_zone_availability_canister_with_token(
    zone_id: text, rpc_host: text, rpc_path: text, call_token: Opt[blob]
) -> Async[Manual[Principal]]:
    """Creates the caller's zone canister for a zone, or returns the one there is."""
    canister, fault = yield create_zone(zone_id, rpc_host, rpc_path, call_token)
    if fault:
        ic.reject(fault)
    else:
        ic.reply(creation.to_principal(canister))


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
    canister, fault = yield creation.create_zone(zones, releases, battery, creator, zone_id, zone, call_token)
    open_calls.finish(key)
    return canister, fault


@query
def get_my_zone(zone_id: text) -> Opt[Principal]:
    """The zone canister that the caller created for a zone, once its code runs."""
    zone = zones.find(ic.caller().bytes, zone_id)
    return creation.to_principal(zone.canister) if zone is not None and zone.stage == INSTALLED else None


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
    return {"ok": None}


@update(guard=require_child)
def cycles_manager_transferCycles(cycles_requested: nat) -> Async[TransferCyclesResult]:
    """Deposits cycles to the calling child within its quota and that of all children."""
    child = ic.caller()
    try:
        grant = battery.reserve(child.bytes, cycles_requested, ic.canister_balance128(), ic.time())
    except Refusal as refusal:
        return {"err": refusal.case}
    key = b"deposit" + child.bytes + ic.time().to_bytes(8, "big")
    open_calls.start(key, ic.time())
    deposit = management.deposit_cycles({"canister_id": child}).with_cycles128(grant.amount)
    answer = yield deposit
    open_calls.finish(key)
    if answer.Err is not None:
        battery.give_back(grant)
        return {"err": {"other": f"Error sending cycles to {child.to_str()}"}}
    return {"ok": grant.amount}


@query
def get_cycles_manager_children() -> Vec[Principal]:
    """All children in ascending order of their principals."""
    return [creation.to_principal(child) for child in battery.children()]


@query
def get_cycles_manager_children_count() -> nat:
    """How many children there are."""
    return battery.count()


@update(guard=refuse_anonymous)
def refresh_controllers() -> Async[Manual[Vec[Principal]]]:
    """The factory's controllers, who are its admins, from its own status; read again at most once a minute."""
    if not admins.due(ic.time()):
        ic.reply([creation.to_principal(controller) for controller in admins.all()])
        return
    answer = yield management.canister_status({"canister_id": ic.id()})
    if answer.Err is not None:
        ic.reject(f"reading the controllers failed: {answer.Err}")
        return
    controllers = answer.Ok["settings"]["controllers"]
    admins.store([controller.bytes for controller in controllers], ic.time())
    ic.reply(controllers)


@update(guard=require_admin)
def upload_release_chunk(chunk: ReleaseChunk) -> ChunkResult:
    """Keeps one chunk of a zone Wasm, at most 1 MiB, in order from 0; returns how many are stored."""
    fault = releases.add_chunk(chunk["wasm_hash"], chunk["index"], chunk["data"], ic.time())
    if fault:
        return {"err": fault}
    entry = releases.entry(chunk["wasm_hash"])
    return {"ok": 0 if entry is None else entry.chunks}


@update(guard=require_admin)
def publish_release(notice: ReleaseNotice) -> AckResult:
    """Verifies an uploaded Wasm by its SHA-256 and makes it the code that new zones get."""
    fault = releases.publish(notice["wasm_hash"], notice["version"], notice["notes"], ic.time())
    return {"err": fault} if fault else {"ok": None}


@query
def get_release() -> Opt[Release]:
    """The release that new zones get."""
    current = releases.current()
    if current is None:
        return None
    wasm_hash, entry = current
    return {
        "version": entry.version,
        "wasm_hash": wasm_hash,
        "size": entry.bytes,
        "notes": entry.notes,
        "published_at": entry.published_at,
    }


@query
def get_release_upload(wasm_hash: blob) -> Opt[ReleaseUpload]:
    """How far an upload got."""
    entry = releases.entry(wasm_hash)
    return None if entry is None else {"chunks": entry.chunks, "bytes": entry.bytes}


@query
def get_version() -> nat:
    """The version of this canister's code; grows with each release."""
    return VERSION


@query
def get_cycles_balance() -> nat:
    """The canister's balance in cycles."""
    return ic.canister_balance128()
