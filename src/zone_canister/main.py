"""The zone canister: what the platform calls by itself, and the methods of the `api` modules by name.

Kybra looks methods, guards and Service classes up in this module, so each is imported here under its own name. Every
call comes in through one of the `api` modules: decorators, types, who may call, the checks of arguments. It goes to one
store, which knows neither callers nor time, and leaves as a value. Error texts are those of the wire contract where it
has one.
"""

# ruff: noqa: F401

from kybra import ic, init, inspect_message, post_upgrade, pre_upgrade, void

from canister_kit import layout
from canister_kit.guards import STRANGER_BYTES, refuse_anonymous
from canister_kit.http_outcall import OutcallService
from canister_kit.upgrade import refuse_foreign_layout
from canister_kit.zone_args import zone_args_fault
from zone_canister import state
from zone_canister.api_limits import (
    get_eviction_info,
    get_member_quota,
    get_message_count,
    get_message_limits,
    get_message_usage,
    get_my_quota_use,
    prune_messages,
    set_member_quota,
    set_message_limits,
)
from zone_canister.api_members import get_role, my_role, oracle_transform_function, update_role
from zone_canister.api_messages import (
    add_message,
    add_messages,
    get_certified_head,
    get_digest_page,
    get_max_message_id,
    get_max_message_id_by_key,
    get_message_by_hash,
    get_message_by_id,
    get_message_sender,
    get_messages_by_range,
    get_messages_by_range_for_key,
    get_messages_meta_by_range,
    get_messages_since,
    get_min_message_id,
    get_min_message_id_by_key,
)
from zone_canister.api_zone import (
    VERSION,
    get_aggregate_status_v1,
    get_controllers,
    get_custody,
    get_cycles_balance,
    get_health,
    get_installation_id,
    get_logical_stable_storage_size,
    get_stable_storage_size,
    get_version,
    get_zone_id,
    refresh_controllers,
    request_topup_if_low,
    set_maintenance,
)
from zone_canister.candid_types import ZoneInit
from zone_canister.context import (
    config,
    members,
    messages,
    require_admin,
    require_keeper,
    require_member,
    require_member_and_batch,
    require_response,
    require_short,
    require_signature,
    require_writing_member,
)
from zone_canister.services import BatteryService, StatusService
from zone_canister.upkeep import certify, work_soon

KIND = "zone"
# What CPython learns of code that runs often is lost with everything else an inspection does: it takes few steps.
argument_bytes = ic.arg_data_raw_size
accept = ic.accept_message


@init
def init_(args: ZoneInit) -> void:
    """Keeps the installation arguments; traps on arguments that could never work."""
    fault = zone_args_fault(args["zone_id"], args["rpc_host"], args["rpc_path"], args["call_token"])
    if fault:
        ic.trap(fault)
    state.settings_map.insert(layout.HEADER_KEY, layout.encode_header(KIND))
    config.write(
        args["zone_id"],
        args["rpc_host"],
        args["rpc_path"],
        args["cycles_requester_id"].bytes,
        args["call_token"],
        ic.time(),
    )
    certify()


@pre_upgrade
def pre_upgrade_() -> void:
    """Leaves the message index behind as a hint; the next version can do without it."""
    if messages.index.covered == messages.state.last_id:
        messages.index.save()


@post_upgrade
def post_upgrade_() -> void:
    """Refuses a stable memory that is not this canister's. Arguments of an upgrade are not read: nothing changes."""
    refuse_foreign_layout(state.settings_map, KIND)
    certify()
    work_soon()


@inspect_message
def inspect_message_() -> void:
    """Keeps long calls out before they are paid for, except those of members; the guards decide about the rest."""
    if argument_bytes() <= STRANGER_BYTES or members.role(ic.caller().bytes) > 0:
        accept()
