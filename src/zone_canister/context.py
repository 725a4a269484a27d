"""The zone's stores over their stable maps, made once, and the guards of its methods.

What every `api` module shares. Guards decide by the caller and the length of the arguments, before they are decoded;
who passes which one is in `docs/authorization.md`.
"""

from kybra import GuardResult, Principal, ic

from canister_kit.controllers import ControllerCache
from canister_kit.guards import ADMITTED, STRANGER_BYTES, TRANSFORM_BYTES, length_fault, refuse, refuse_anonymous
from canister_kit.in_flight import SECOND
from canister_kit.outcalls import OutcallRules
from zone_canister import state
from zone_canister.background import Background
from zone_canister.config import Config
from zone_canister.maintenance import Maintenance
from zone_canister.members import MemberCache
from zone_canister.message_batch import batch_fault
from zone_canister.message_migration import FirstLayout
from zone_canister.messages import MAX_BATCH, MessageStore
from zone_canister.quotas import MemberQuotas

ADMIN_ROLE = 400
NOT_A_MEMBER = "Not a member of the zone"
NOT_A_KEEPER = "Not the factory or a controller, as the zone read them last: see refresh_controllers"
STALE = "Not an admin: the zone read its controllers more than a day ago, see refresh_controllers"
MANAGEMENT_CANISTER = Principal.from_str("aaaaa-aa")

config = Config(state.settings_map)
members = MemberCache(state.members_map)
messages = MessageStore(
    state.settings_map,
    state.message_states_map,
    state.message_pages_map,
    state.message_directory_map,
    state.message_hints_map,
)
first_layout = FirstLayout(
    state.settings_map,
    state.first_index_map,
    state.first_pages_map,
    state.first_lookup_map,
    state.first_postings_map,
)
quotas = MemberQuotas(state.settings_map, state.member_quotas_map)
controllers = ControllerCache(state.settings_map)
maintenance = Maintenance(state.settings_map)
background = Background()
outcall_rules = OutcallRules(state.settings_map)


def require_short() -> GuardResult:
    """Lets everyone through whose arguments are short: decoding them costs the more the longer they are."""
    return refuse(length_fault(STRANGER_BYTES))


def require_response() -> GuardResult:
    """Lets arguments through that an outcall's response can have."""
    return refuse(length_fault(TRANSFORM_BYTES))


def require_member() -> GuardResult:
    """Lets members through with short arguments."""
    return refuse(length_fault(STRANGER_BYTES) if members.role(ic.caller().bytes) else NOT_A_MEMBER)


def require_writing_member() -> GuardResult:
    """Lets members through with a message of any length, unless the zone's code is being changed."""
    if not members.role(ic.caller().bytes):
        return refuse(NOT_A_MEMBER)
    return refuse(maintenance.fault(ic.time())) if maintenance.since else ADMITTED


def require_member_and_batch() -> GuardResult:
    """The same with a batch that is not too long: its length is read before it is decoded."""
    if not members.role(ic.caller().bytes):
        return refuse(NOT_A_MEMBER)
    fault = maintenance.fault(ic.time())
    if fault or ic.arg_data_raw_size() <= MAX_BATCH:
        return refuse(fault)
    return refuse(batch_fault(ic.arg_data_raw()))


def require_admin() -> GuardResult:
    """Lets the zone's admins and the canister's controllers, as it read them last, change it."""
    caller = ic.caller().bytes
    if members.role(caller) < ADMIN_ROLE and caller not in controllers.current(ic.time()):
        return refuse(STALE if caller in controllers.all() else "Not an admin")
    return refuse(length_fault(STRANGER_BYTES) or maintenance.fault(ic.time()))


def require_signature() -> GuardResult:
    """Lets everyone through who signs, unless the zone's code is being changed."""
    refused = refuse_anonymous()
    return refuse(length_fault(STRANGER_BYTES) or maintenance.fault(ic.time())) if "Ok" in refused else refused


def require_keeper() -> GuardResult:
    """Lets through who may change the zone's code: controllers, and the factory unless they are known without it."""
    keeps = ic.caller().bytes in keepers()
    return refuse(length_fault(STRANGER_BYTES) if keeps else NOT_A_KEEPER)


def keepers() -> list[bytes]:
    """Who may change the zone's code: its controllers, or the factory while they are not known."""
    return controllers.all() or [config.battery()]


def seconds() -> int:
    """The time of this call, in seconds since 1970."""
    return ic.time() // SECOND
