"""What a zone canister is born with: its settings on the platform and its first argument.

What admins set, with the reasons in `docs/factory.md`. Not for how it is created (`creation`).
"""

from kybra import ic

from factory.children import MANAGED, MAX_CONTROLLERS, SOVEREIGN
from factory.context import creation_rules
from factory.principals import to_principals
from factory.services import CanisterSettingsChange, ChildSettings
from factory.zones import Creation


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


def is_dearer(found: ChildSettings) -> bool:
    """Whether a canister's settings cost more than those of birth."""
    allocations = found["compute_allocation"] or found["memory_allocation"]
    return bool(allocations) or found["freezing_threshold"] > creation_rules.figure("freezing_seconds")


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
