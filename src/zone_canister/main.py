"""The zone canister's Candid interface: decorators, types, who may call, and the checks of arguments.

Every call comes in here, goes to one store, and leaves as a value. Not for logic: that is in the stores, which know
neither callers nor time. Error texts are those of the wire contract where it has one.
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
    nat64,
    post_upgrade,
    query,
    text,
    update,
    void,
)

from canister_kit import layout
from canister_kit.cycles import TransferCyclesResult
from canister_kit.guards import STRANGER_BYTES, refuse, refuse_anonymous
from canister_kit.upgrade import refuse_foreign_layout
from canister_kit.zone_args import zone_args_fault
from zone_canister import oracle, state
from zone_canister.candid_types import (
    HttpResponse,
    KeyedCiphertext,
    Message,
    Nat32ListResult,
    Nat32Result,
    TransformArgs,
    ZoneInit,
)
from zone_canister.config import LOW_BALANCE, TOPUP_CYCLES, Config
from zone_canister.members import PUBLIC_KEY_BYTES, MemberCache, principal_of
from zone_canister.messages import MessageStore
from zone_canister.outcalls import OutcallRules
from zone_canister.services import BatteryService, HttpRequest, OutcallService

VERSION = 1000
KIND = "zone"
OUTCALL_CYCLES = 20_949_972_000
MANAGEMENT_CANISTER = Principal.from_str("aaaaa-aa")

config = Config(state.settings_map)
members = MemberCache(state.members_map)
messages = MessageStore(
    state.settings_map,
    state.message_index_map,
    state.message_pages_map,
    state.message_lookup_map,
    state.message_postings_map,
)
outcall_rules = OutcallRules(state.settings_map)


def require_member() -> GuardResult:
    """Lets members through."""
    return refuse("" if members.role(ic.caller().bytes) else "Not a member of the zone")


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


@post_upgrade
def post_upgrade_() -> void:
    """Refuses a stable memory that is not this canister's. Arguments of an upgrade are not read: nothing changes."""
    refuse_foreign_layout(state.settings_map, KIND)


@inspect_message
def inspect_message_() -> void:
    """Keeps long calls out before they are paid for, except those of members; the guards decide about the rest."""
    if ic.arg_data_raw_size() <= STRANGER_BYTES or members.role(ic.caller().bytes) > 0:
        ic.accept_message()


@query
def oracle_transform_function(args: TransformArgs) -> HttpResponse:
    """The response of an outcall without its headers, which differ between replicas."""
    response = args["response"]
    return {"status": response["status"], "headers": [], "body": response["body"]}


@update(guard=require_member)
def add_message(key_id: blob, ciphertext: blob) -> Nat32Result:
    """Stores one message under a key and returns its id."""
    fault = messages.fault([(key_id, ciphertext)], True)
    if fault:
        return {"err": fault}
    return {"ok": messages.add([(key_id, ciphertext)], ic.caller().bytes, seconds())[0]}


@update(guard=require_member)
def add_messages(items: Vec[KeyedCiphertext]) -> Nat32ListResult:
    """Stores all messages or none, and returns their ids in order."""
    fault = messages.fault(items, False)
    if fault:
        return {"err": fault}
    return {"ok": messages.add(items, ic.caller().bytes, seconds())}


@query(guard=require_member)
def get_message_by_id(message_id: nat32) -> Manual[Message]:
    """One message; rejects when there is none with this id."""
    message = messages.by_id(message_id)
    if message is None:
        ic.reject(f"message not found: {message_id}")
    else:
        ic.reply(message)


@query(guard=require_member)
def get_message_by_hash(message_hash: blob) -> Opt[Message]:
    """The newest message whose ciphertext has this SHA-256."""
    return messages.by_hash(message_hash)


@query(guard=require_member)
def get_messages_by_range(min_message_id: nat32, max_message_id: nat32) -> Vec[Message]:
    """Messages with ids in a range, oldest first, as many as a reply holds."""
    return messages.by_range(min_message_id, max_message_id)


@query(guard=require_member)
def get_messages_by_range_for_key(key_id: blob, min_message_id: nat32, max_message_id: nat32) -> Vec[Message]:
    """Messages of one key with ids in a range, newest first, as many as a reply holds."""
    return messages.by_range_for_key(key_id, min_message_id, max_message_id)


@query
def get_min_message_id() -> nat32:
    """The first id stored, 0 when there is none."""
    return messages.min_id()


@query
def get_max_message_id() -> nat32:
    """The last id given out, 0 when there is none."""
    return messages.max_id()


@query(guard=require_member)
def get_min_message_id_by_key(key_id: blob) -> Opt[nat32]:
    """The first id stored under a key."""
    return messages.first_id_of_key(key_id)


@query(guard=require_member)
def get_max_message_id_by_key(key_id: blob) -> Opt[nat32]:
    """The last id stored under a key."""
    return messages.last_id_of_key(key_id)


@query
def get_message_usage() -> nat64:
    """Bytes that messages and their index take."""
    return messages.usage()


@query
def get_message_count() -> nat:
    """How many messages are stored."""
    return messages.count()


@query
def my_role() -> nat:
    """The caller's cached role, 0 when there is none."""
    return members.role(ic.caller().bytes)


@query
def get_role(member: Principal) -> nat:
    """The cached role of a principal, 0 when there is none."""
    return members.role(member.bytes)


@update(guard=refuse_anonymous)
def update_role(public_key: blob) -> Async[Manual[nat]]:
    """Asks the zone's contract for the role of a public key and caches it; for the key's own principal and members."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        ic.reject(f"Invalid public key size: {len(public_key)}")
        return
    caller = ic.caller().bytes
    principal = principal_of(public_key)
    by_member = members.role(caller) > 0
    if caller != principal and not by_member:
        ic.reject("Only the key's own principal or a member may update its role")
        return
    fault = outcall_rules.admit(principal, by_member, ic.time())
    if fault:
        ic.reject(fault)
        return
    body = oracle.role_call(config.zone_id(), config.call_token(), oracle.address_of(public_key))
    answer = yield OutcallService(MANAGEMENT_CANISTER).http_request(role_request(body)).with_cycles(OUTCALL_CYCLES)
    outcall_rules.finished(principal)
    if answer.Err is not None:
        ic.reject(f"role lookup failed: {answer.Err}")
        return
    try:
        role = oracle.role_of(answer.Ok["status"], answer.Ok["body"])
    except oracle.OracleError as fault:
        ic.reject(str(fault))
        return
    members.store(principal, role, ic.time())
    ic.reply(role)


def role_request(body: bytes) -> HttpRequest:
    """The outcall that carries a JSON-RPC request to the node of the zone's contract."""
    host = config.rpc_host()
    return {
        "url": f"https://{host}{config.rpc_path()}",
        "max_response_bytes": oracle.MAX_RESPONSE_BYTES,
        "method": {"post": None},
        "headers": [
            {"name": "Host", "value": host},
            {"name": "User-Agent", "value": oracle.USER_AGENT},
            {"name": "Content-Type", "value": "application/json"},
        ],
        "body": body,
        "transform": {"function": (ic.id(), "oracle_transform_function"), "context": oracle.CONTEXT},
    }


@update(guard=refuse_anonymous)
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


def seconds() -> int:
    """The time of this call, in seconds since 1970."""
    return ic.time() // 1_000_000_000
