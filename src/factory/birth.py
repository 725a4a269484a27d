"""What a zone canister is born with: its settings on the platform and its first argument.

What admins set, with the reasons in `docs/factory.md`. Not for how it is created (`creation`).
"""

from kybra import ic

from factory.children import MANAGED, MAX_CONTROLLERS, SOVEREIGN
from factory.context import creation_rules
from factory.principals import to_principals
from factory.services import CanisterSettingsChange, ChildStatus
from factory.zones import Creation

SET_BACK = (
    "compute_allocation",
    "memory_allocation",
    "freezing_threshold",
    "wasm_memory_limit",
    "wasm_memory_threshold",
    "minimum_incoming_canister_call_cycles",
    "log_visibility",
    "snapshot_visibility",
    "status_visibility",
)
"""The settings of birth that are the same for every canister; the limit of reserved cycles follows what is reserved."""
ALLOCATIONS = SET_BACK[:2]
"""What is burnt for them whether it is used or not."""


def birth_settings(controllers: list[bytes]) -> CanisterSettingsChange:
    """The settings of a new canister with these controllers, and of one that is given back to the factory.

    All are named, so that none stays as its owners left it: what a setting costs is the battery's to pay from then on,
    and who else may read the canister would not show.
    """
    figures = creation_rules.policy().figures
    change = only_controllers(controllers)
    change["compute_allocation"] = change["memory_allocation"] = 0
    change["freezing_threshold"] = figures["freezing_seconds"]
    change["reserved_cycles_limit"] = figures["reserved_limit"]
    change["wasm_memory_limit"] = figures["wasm_memory_limit"]
    change["wasm_memory_threshold"] = change["minimum_incoming_canister_call_cycles"] = 0
    change["log_visibility"] = {"controllers": None}
    change["snapshot_visibility"] = {"controllers": None}
    change["status_visibility"] = {"controllers": None}
    return change


def settings_set_back(reserved: int) -> CanisterSettingsChange:
    """The settings of birth for a canister whose controllers stay; the platform allows no limit below the reserved."""
    change = birth_settings([])
    change["controllers"] = None
    change["reserved_cycles_limit"] = max(creation_rules.figure("reserved_limit"), reserved)
    return change


def strayed(found: ChildStatus) -> list[str]:
    """The names of a canister's settings that are not those of birth, as far as the platform tells them."""
    wanted, settings = settings_set_back(found["reserved_cycles"]), found["settings"]
    names = [name for name in SET_BACK if settings[name] is not None and settings[name] != wanted[name]]
    if not is_limit_fine(settings["reserved_cycles_limit"], found["reserved_cycles"]):
        names.append("reserved_cycles_limit")
    return names


def is_limit_fine(limit: int, reserved: int) -> bool:
    """Whether a limit of reserved cycles may stay: that of birth, or, where more is reserved, up to twice that.

    What is reserved shrinks day by day: a limit that had to be exactly that would be set at each sweep.
    """
    least = creation_rules.figure("reserved_limit")
    return least <= limit <= (least if reserved <= least else 2 * reserved)


def last_settings(reserved: int) -> CanisterSettingsChange:
    """The settings of a canister that is being ended: nobody but the factory controls it, and all its cycles may go.

    All of birth are named: with a memory limit of its owners' no code can be installed, and with a price that they set
    for calls it answers none.
    """
    change = settings_set_back(reserved)
    change["controllers"] = to_principals([ic.id().bytes])
    change["freezing_threshold"] = 0
    return change


def only_controllers(controllers: list[bytes]) -> CanisterSettingsChange:
    """A change of the controllers and of nothing else."""
    return {
        "controllers": to_principals(controllers),
        "compute_allocation": None,
        "memory_allocation": None,
        "freezing_threshold": None,
        "reserved_cycles_limit": None,
        "wasm_memory_limit": None,
        "wasm_memory_threshold": None,
        "minimum_incoming_canister_call_cycles": None,
        "log_visibility": None,
        "snapshot_visibility": None,
        "status_visibility": None,
    }


def first_controllers(custody: int, owners: list[bytes]) -> list[bytes]:
    """The controllers at birth: the factory, which still has to install the code, and owners where they control."""
    factory = ic.id().bytes
    return [factory] if custody == MANAGED else [factory, *owners][:MAX_CONTROLLERS]


def controllers_of(custody: int, owners: list[bytes]) -> list[bytes]:
    """The controllers that a custody means."""
    factory = ic.id().bytes
    if custody == MANAGED:
        return [factory]
    return list(owners) if custody == SOVEREIGN else [factory, *owners]


def install_argument(creation: Creation, call_token: bytes | None) -> bytes:
    """The zone's init record in Candid. Its texts hold no quote and no backslash: `zone_args` saw to that."""
    token = "null"
    if call_token is not None:
        token = 'opt blob "' + "".join(f"\\{byte:02x}" for byte in call_token) + '"'
    return ic.candid_encode(
        f'(record {{ zone_id = "{creation.zone_id}"; rpc_host = "{creation.rpc_host}"; '
        f'rpc_path = "{creation.rpc_path}"; cycles_requester_id = principal "{ic.id().to_str()}"; '
        f"call_token = {token} }})"
    )
