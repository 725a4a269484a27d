"""What a zone canister is born with: its settings on the platform and its first argument.

What admins set, with the reasons in `docs/factory.md`. Not for how it is created (`creation`).
"""

from kybra import ic

from factory.children import MANAGED, MAX_CONTROLLERS, SOVEREIGN
from factory.context import creation_rules
from factory.principals import to_principals
from factory.services import CanisterSettingsChange
from factory.zones import Creation


def birth_settings(controllers: list[bytes]) -> CanisterSettingsChange:
    """The settings of a new canister with these controllers."""
    figures = creation_rules.policy().figures
    return {
        "controllers": to_principals(controllers),
        "compute_allocation": None,
        "memory_allocation": None,
        "freezing_threshold": figures["freezing_seconds"],
        "reserved_cycles_limit": figures["reserved_limit"],
        "wasm_memory_limit": figures["wasm_memory_limit"],
    }


def only_controllers(controllers: list[bytes]) -> CanisterSettingsChange:
    """A change of the controllers and of nothing else."""
    return {
        "controllers": to_principals(controllers),
        "compute_allocation": None,
        "memory_allocation": None,
        "freezing_threshold": None,
        "reserved_cycles_limit": None,
        "wasm_memory_limit": None,
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
