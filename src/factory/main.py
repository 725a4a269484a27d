"""The factory canister: what the platform calls by itself, and the methods of the `api` modules by name.

Kybra looks methods, guards and Service classes up in this module, so each is imported here under its own name. Every
call comes in through one of the `api` modules: decorators, types, who may call, the checks of arguments. Logic is in
the stores, which know neither callers nor time, and in the flows, which call other canisters. Error texts are those of
the wire contract where it has one.
"""

# ruff: noqa: F401

from kybra import ic, init, inspect_message, post_upgrade, pre_upgrade, void

from canister_kit import layout
from canister_kit.http_outcall import OutcallService
from canister_kit.upgrade import refuse_foreign_layout
from factory import state
from factory.api_admin import (
    VERSION,
    add_admin,
    get_admins,
    get_audit_log,
    get_cycles_balance,
    get_owner_log,
    get_stable64_size,
    get_stable_size,
    get_version,
    refresh_controllers,
    remove_admin,
)
from factory.api_battery import (
    cycles_manager_transferCycles,
    cycles_manager_transferCyclesToCanister,
    get_aggregate_quota_settings,
    get_alerts,
    get_battery_policy,
    get_cycles_manager_children,
    get_cycles_manager_children_count,
    get_cycles_manager_info,
    get_deposits,
    get_refund_account,
    get_refund_ledger,
    refund,
    set_battery_policy,
    set_refund_account,
    settle_deposit,
    update_aggregate_quota_settings,
)
from factory.api_code import (
    get_release,
    get_release_chunk,
    get_release_upload,
    get_releases,
    publish_release,
    retire_release,
    upload_release_chunk,
)
from factory.api_custody import (
    accept_custody,
    cancel_custody_offer,
    offer_custody,
    refresh_custody,
    repay,
    retire_child,
    waive_repayment,
)
from factory.api_fleet import (
    get_battery_status,
    get_child_history,
    get_child_status,
    get_fleet,
    get_fleet_history,
    set_child_allowance,
    set_child_fuel,
    start_sweep,
)
from factory.api_index import get_zone, get_zones_by_creator, get_zones_by_id, list_zones
from factory.api_install import canister_status, install_code, reinstall_code, start_canister, upgrade_code
from factory.api_rollout import (
    abort_rollout,
    accept_reinstall,
    accept_release,
    allow_code,
    get_code_change,
    get_rollout,
    pause_rollout,
    resume_rollout,
    start_rollout,
)
from factory.api_zones import (
    change_creation_allowlist,
    create_zone,
    create_zone_availability_canister,
    create_zone_availability_canister_with_token,
    get_creation,
    get_creation_allowlist,
    get_creation_policy,
    get_my_creation,
    get_my_zone,
    oracle_transform_function,
    set_creation_policy,
    settle_creation,
)
from factory.context import (
    CALLERS_BYTES,
    admins,
    open_calls,
    require_admin,
    require_admin_with_code,
    require_child,
    require_controller,
    require_response,
    require_short,
    require_signature,
)
from factory.ledger import LedgerService
from factory.pool import fill_pool_soon
from factory.returner import ReturnerService
from factory.rollout_flow import cancel_stop, drive_next, go_on_if_needed, look_after_changes, run_changes
from factory.services import ManagementService
from factory.sweep import arm
from factory.zone_services import ZoneService

KIND = "factory"


@init
def init_() -> void:
    """Marks the stable memory as this canister's and sets the timers."""
    state.settings_map.insert(layout.HEADER_KEY, layout.encode_header(KIND))
    arm()
    look_after_changes()


@pre_upgrade
def pre_upgrade_() -> void:
    """Refuses an upgrade under open calls: their callbacks, and with them new canisters' ids, would be lost."""
    count = open_calls.count(ic.time())
    if count:
        ic.trap(f"{count} calls in flight: stop the factory first")


@post_upgrade
def post_upgrade_() -> void:
    """Refuses a stable memory that is not this canister's; sets the timers again."""
    refuse_foreign_layout(state.settings_map, KIND)
    arm()
    look_after_changes()
    go_on_if_needed()
    fill_pool_soon()


@inspect_message
def inspect_message_() -> void:
    """Keeps long calls out before they are paid for, except those of admins; the guards decide about the rest."""
    if ic.arg_data_raw_size() <= CALLERS_BYTES or admins.refusal(ic.caller().bytes) == "":
        ic.accept_message()
