"""The factory's stores over their stable maps, made once, and the guards of its methods.

What every `api` module and flow shares. Guards let a caller through before arguments are decoded; who passes which one
is in `docs/authorization.md`.
"""

from kybra import GuardResult, Principal, ic

from canister_kit.controllers import ControllerCache
from canister_kit.guards import TRANSFORM_BYTES, length_fault, refuse, refuse_anonymous
from canister_kit.in_flight import InFlight
from factory import state
from factory.admins import Admins
from factory.alerts import Alerts
from factory.audit import ADMINS_KEY, OWNERS_KEY, AuditLog
from factory.battery import Battery
from factory.changes import Changes
from factory.children import Children
from factory.creation_policy import CreationRules
from factory.deposit_log import DepositLog
from factory.fuel import FuelStore
from factory.history import CHILD_POINT, FLEET_POINT, History
from factory.lists import PrincipalLists
from factory.lookups import Lookups
from factory.policy import Policy
from factory.releases import ReleaseStore
from factory.rollouts import Rollouts
from factory.sweeps import Sweeps
from factory.zones import Creations

CANISTER_TEXT_CHARS = 27
CALLERS_BYTES = 1_280  # a zone with the longest host and path, ten owners, a token and a proof takes 1 044
ADMIN_BYTES = 8_192  # a hundred principals for the allowlist, the nodes of a policy, the notes of a release
MANAGEMENT = Principal.from_str("aaaaa-aa")

controllers = ControllerCache(state.settings_map)
admins = Admins(state.settings_map)
audit = AuditLog(state.settings_map, state.audit_map, ADMINS_KEY)
owner_acts = AuditLog(state.settings_map, state.owner_acts_map, OWNERS_KEY)
children = Children(state.custody_map, state.ended_map)
lists = PrincipalLists(state.lists_map)
policy = Policy(state.settings_map)
battery = Battery(state.settings_map, state.children_map, policy)
deposit_log = DepositLog(state.settings_map, state.deposits_map, state.paid_map)
fuel = FuelStore(state.settings_map, state.fuel_map)
samples = History(state.samples_map, CHILD_POINT)
fleet_history = History(state.fleet_map, FLEET_POINT)
sweeps = Sweeps(state.settings_map)
alerts = Alerts(state.settings_map, state.alerts_map, state.open_alerts_map)
creations = Creations(state.settings_map, state.creations_map, state.zones_map, state.proofs_map)
creation_rules = CreationRules(state.settings_map, state.allowed_map)
lookups = Lookups(state.settings_map, creation_rules)
releases = ReleaseStore(state.settings_map, state.releases_map, state.release_pieces_map)
changes = Changes(state.settings_map, state.changes_map)
rollouts = Rollouts(state.settings_map, state.consents_map)
open_calls = InFlight()


def require_short() -> GuardResult:
    """Lets everyone through whose arguments are short: decoding them costs the more the longer they are."""
    return refuse(length_fault(CALLERS_BYTES))


def require_response() -> GuardResult:
    """Lets arguments through that an outcall's response can have."""
    return refuse(length_fault(TRANSFORM_BYTES))


def require_signature() -> GuardResult:
    """Lets everyone through who signs, with short arguments."""
    refused = refuse_anonymous()
    return require_short() if "Ok" in refused else refused


def require_admin() -> GuardResult:
    """Lets the factory's admins through, with arguments that hold no code."""
    return refuse(admins.refusal(ic.caller().bytes) or length_fault(ADMIN_BYTES))


def require_admin_with_code() -> GuardResult:
    """Lets the factory's admins through with arguments of any length."""
    return refuse(admins.refusal(ic.caller().bytes))


def require_controller() -> GuardResult:
    """Lets the factory's controllers through, as they were read last."""
    known = controllers.current(ic.time())
    if not known:
        when = "for more than a day" if controllers.read_at() else "yet"
        return refuse(f"The factory does not know its controllers {when}: call refresh_controllers once")
    refusal = "" if ic.caller().bytes in known else "Unauthorized access. Caller is not a controller."
    return refuse(refusal or length_fault(CALLERS_BYTES))


def require_child() -> GuardResult:
    """Lets the factory's children through."""
    caller = ic.caller()
    if len(caller.to_str()) != CANISTER_TEXT_CHARS:
        return refuse("Calling principal must be a canister")
    refusal = "" if battery.is_child(caller.bytes) else "Canister is not permitted to request cycles"
    return refuse(refusal or length_fault(CALLERS_BYTES))


def note(action: str, subject: bytes = b"", details: str = "") -> None:
    """Writes an act of this call's caller into the log of admins and controllers, or into that of the others."""
    caller = ic.caller().bytes
    is_staff = admins.refusal(caller) == "" or caller in controllers.current(ic.time())
    log = audit if is_staff else owner_acts
    log.record(ic.time(), caller, action, subject, details)
