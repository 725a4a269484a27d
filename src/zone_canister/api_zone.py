"""The zone's Candid interface: the canister itself, its controllers, its cycles, and its state under an upgrade."""

from kybra import Async, Manual, Principal, ic, nat, query, text, update

from canister_kit import layout
from canister_kit.cycles import TransferCyclesResult
from zone_canister import state
from zone_canister.candid_types import (
    AggregateStatusV1,
    Controllers,
    CustodyKind,
    MaintenanceArgs,
    MaintenanceResult,
    ZoneCustody,
    ZoneHealth,
)
from zone_canister.config import LOW_BALANCE, TOPUP_CYCLES
from zone_canister.context import (
    MANAGEMENT_CANISTER,
    config,
    controllers,
    keepers,
    maintenance,
    members,
    messages,
    require_keeper,
    require_signature,
    seconds,
)
from zone_canister.message_reader import Reader
from zone_canister.services import BatteryService, StatusService
from zone_canister.upkeep import work_soon

VERSION = 1000
FACTORY_CAN_AT_LEAST = ["give cycles"]
FACTORY_CAN = [
    *FACTORY_CAN_AT_LEAST,
    "replace the code",
    "read and erase what is stored",
    "stop and delete the canister",
    "change settings and controllers",
]


@query
def get_aggregate_status_v1() -> AggregateStatusV1:
    """What a client asks for first, in one call: neutral for whoever is no member."""
    role = members.role(ic.caller().bytes)
    reader = Reader(messages, seconds())
    return {
        "version": VERSION,
        "installation_id": config.installation_id(),
        "zone_id": config.zone_id(),
        "role": role,
        "cycles_balance": ic.canister_balance128(),
        "stable_storage_size": ic.stable64_size(),
        "metadata_timestamps": [],
        "metadata_info": {"public_key": None, "vet_protected_key": None, "manifest": 0, "timestamp": 0},
        "message_min_id": reader.min_id if role else 0,
        "message_max_id": reader.last_id if role else 0,
        "message_usage": messages.usage() if role else 0,
        "message_count": reader.count if role else 0,
        "file_system_last_file_id": 0,
        "file_system_file_count": 0,
        "file_system_directory_count": 0,
        "file_system_max_usage": 0,
        "attachment_usage": 0,
        "attachment_count": 0,
        "attachment_max_usage": 0,
    }


@update(guard=require_keeper)
def set_maintenance(args: MaintenanceArgs) -> MaintenanceResult:
    """Refuses updates while the zone's code is changed: for half an hour, or until told otherwise when restoring.

    Returns when that ends by itself (ns), 0 when it does not or is over. What one controller has set no other one can
    clear or set again while it holds.
    """
    now = ic.time()
    caller = ic.caller().bytes
    if not args["on"]:
        fault = maintenance.end(caller, keepers(), now)
        work_soon()
    elif args["restoring"]:
        fault = maintenance.hold(caller, keepers(), now)
    else:
        fault = maintenance.begin(caller, keepers(), now)
    return {"err": fault} if fault else {"ok": maintenance.until(now) or 0}


@query(guard=require_keeper)
def get_health() -> ZoneHealth:
    """What must not change when the zone's code does, for whoever changes it."""
    return {
        "version": VERSION,
        "layout": (state.settings_map.get(layout.HEADER_KEY) or b"").decode(),
        "installation_id": config.installation_id(),
        "maintenance_until": maintenance.until(ic.time()),
        "messages": messages.state.count,
        "first_id": messages.state.first_id,
        "last_id": messages.state.last_id,
        "members": state.members_map.len(),
    }


@query
def get_controllers() -> Controllers:
    """The canister's controllers as it read them last, and when (ns); see `refresh_controllers`."""
    read_at = controllers.read_at()
    return {
        "controllers": [Principal.from_hex(principal.hex()) for principal in controllers.all()],
        "read_at": read_at or None,
    }


@query
def get_custody() -> ZoneCustody:
    """Who controls the zone and what the factory can do to it, by the controllers read last; null before that."""
    factory, known = config.battery(), controllers.all()
    read_at = controllers.read_at() or None
    return {
        "custody": None if read_at is None else custody_of(factory, known),
        "factory": Principal.from_hex(factory.hex()),
        "factory_can": [] if read_at is None else FACTORY_CAN if factory in known else FACTORY_CAN_AT_LEAST,
        "controllers": [Principal.from_hex(principal.hex()) for principal in known],
        "read_at": read_at,
    }


def custody_of(factory: bytes, known: list[bytes]) -> CustodyKind:
    """What these controllers mean."""
    if factory not in known:
        return {"sovereign": None}
    return {"managed": None} if len(known) == 1 else {"shared": None}


@update(guard=require_signature)
def refresh_controllers() -> Async[Manual[Controllers]]:
    """Reads the canister's controllers from its own status, at most once in 5 seconds."""
    if controllers.due(ic.time()):
        answer = yield StatusService(MANAGEMENT_CANISTER).canister_status({"canister_id": ic.id()})
        if answer.Err is not None:
            ic.reject(f"reading the controllers failed: {answer.Err}")
            return
        controllers.store([found.bytes for found in answer.Ok["settings"]["controllers"]], ic.time())
    ic.reply(get_controllers())


@update(guard=require_signature)
def request_topup_if_low() -> Async[TransferCyclesResult]:
    """Asks the battery for cycles when the balance is below 0.7 T; at most once in 10 minutes."""
    if ic.canister_balance128() >= LOW_BALANCE:
        return {"ok": 0}
    fault = config.admit_topup(ic.time())
    if fault:
        return {"err": {"other": fault}}
    battery = BatteryService(Principal.from_hex(config.battery().hex()))
    answer = yield battery.cycles_manager_transferCycles(TOPUP_CYCLES)
    if answer.Err is not None:
        return {"err": {"other": answer.Err}}
    return answer.Ok


@query
def get_zone_id() -> text:
    """The address of the zone's membership contract."""
    return config.zone_id()


@query
def get_version() -> nat:
    """The version of this canister's code; grows with each release."""
    return VERSION


@query
def get_installation_id() -> int:
    """When the canister was first installed, in ns since 1970; survives upgrades."""
    return config.installation_id()


@query
def get_cycles_balance() -> nat:
    """The canister's balance in cycles."""
    return ic.canister_balance128()


@query
def get_stable_storage_size() -> nat:
    """Stable memory taken from the platform, in pages of 64 KiB."""
    return ic.stable64_size()


@query
def get_logical_stable_storage_size() -> nat:
    """Stable memory that the stores use of it, in pages of 64 KiB."""
    if ic.stable64_size() == 0:
        return 0
    return layout.logical_pages(ic.stable64_read(layout.MEMORY_SIZES_OFFSET, layout.MEMORY_SIZES_BYTES))
