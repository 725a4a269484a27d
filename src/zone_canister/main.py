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
    pre_upgrade,
    query,
    text,
    update,
    void,
)

from canister_kit import layout, oracle
from canister_kit.controllers import ControllerCache
from canister_kit.cycles import TransferCyclesResult
from canister_kit.guards import STRANGER_BYTES, refuse, refuse_anonymous
from canister_kit.http_outcall import (
    OUTCALL_CYCLES,
    HttpResponse,
    OutcallService,
    TransformArgs,
    role_request,
    without_headers,
)
from canister_kit.keys import PUBLIC_KEY_BYTES, address_of, principal_of
from canister_kit.outcalls import OutcallRules
from canister_kit.upgrade import refuse_foreign_layout
from canister_kit.zone_args import zone_args_fault
from zone_canister import message_wire, state
from zone_canister.background import Background
from zone_canister.candid_types import (
    AckResult,
    AggregateStatusV1,
    CertifiedHead,
    Controllers,
    DigestEntry,
    EvictionInfo,
    KeyedCiphertext,
    MaintenanceArgs,
    MaintenanceResult,
    MemberQuota,
    Message,
    MessageLimits,
    MessageMeta,
    MessagesSince,
    Nat32ListResult,
    Nat32Result,
    NatResult,
    QuotaUse,
    SinceArgs,
    ZoneHealth,
    ZoneInit,
)
from zone_canister.config import LOW_BALANCE, TOPUP_CYCLES, Config
from zone_canister.maintenance import Maintenance
from zone_canister.members import MemberCache
from zone_canister.message_batch import batch_fault
from zone_canister.message_migration import FirstLayout
from zone_canister.message_reader import Reader, learn
from zone_canister.messages import MAX_BATCH, MAX_MESSAGE_ID, MessageStore, Refused
from zone_canister.quotas import MemberQuotas
from zone_canister.services import BatteryService, StatusService

VERSION = 1000
KIND = "zone"
ADMIN_ROLE = 400
NOT_A_MEMBER = "Not a member of the zone"
NOT_A_KEEPER = "Not the factory or a controller, as the zone read them last: see refresh_controllers"
INDEXED_A_CALL = 100_000  # at some 100 000 instructions each; a call may take 40 G
INDEXED_A_QUERY = 20_000  # a query may take 5 G
INDEX_FAULT = "the message index is being made again after an upgrade: try again in a minute"
MOVING_FAULT = "messages are being moved to a new layout after an upgrade: try again in a minute"
MOVED_A_STEP = 5_000
EVICTED_PAGES_A_STEP = 500
MAINTENANCE_SECONDS = 30
TRANSFORM_BYTES = 50 * 1_024  # 48 KiB of headers, a body of 1 KiB, framing
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
    return refuse(maintenance.fault(ic.time()) if members.role(ic.caller().bytes) else NOT_A_MEMBER)


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
    if members.role(caller) < ADMIN_ROLE and caller not in controllers.all():
        return refuse("Not an admin")
    return refuse(length_fault(STRANGER_BYTES) or maintenance.fault(ic.time()))


def require_signature() -> GuardResult:
    """Lets everyone through who signs, unless the zone's code is being changed."""
    refused = refuse_anonymous()
    return refuse(length_fault(STRANGER_BYTES) or maintenance.fault(ic.time())) if "Ok" in refused else refused


def require_keeper() -> GuardResult:
    """Lets through who may change the zone's code: controllers, and the factory unless they are known without it."""
    caller = ic.caller().bytes
    known = controllers.all()
    keeps = caller in known or (not known and caller == config.battery())
    return refuse(length_fault(STRANGER_BYTES) if keeps else NOT_A_KEEPER)


def length_fault(most: int) -> str:
    """What is wrong with the length of the arguments, which may have at most so many bytes, or ""."""
    size = ic.arg_data_raw_size()
    return "" if size <= most else f"the arguments have {size} bytes: at most {most} are allowed"


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
    if ic.arg_data_raw_size() <= STRANGER_BYTES or members.role(ic.caller().bytes) > 0:
        ic.accept_message()


@query(guard=require_response)
def oracle_transform_function(args: TransformArgs) -> HttpResponse:
    """The response of an outcall without its headers, which differ between replicas."""
    return without_headers(args)


@update(guard=require_writing_member)
def add_message(key_id: blob, ciphertext: blob) -> Nat32Result:
    """Stores one message under a key and returns its id."""
    ids, fault = stored([(key_id, ciphertext)], True)
    return {"err": fault} if fault else {"ok": ids[0]}


@update(guard=require_member_and_batch)
def add_messages(items: Vec[KeyedCiphertext]) -> Nat32ListResult:
    """Stores all messages or none, and returns their ids in order."""
    ids, fault = stored(items, False)
    return {"err": fault} if fault else {"ok": ids}


def stored(items: list[tuple[bytes, bytes]], single: bool) -> tuple[list[int], str]:
    """Adds messages for the caller: their ids, or why none was stored."""
    caller, now = ic.caller().bytes, seconds()
    fault = messages.fault(items, single)
    if fault:
        return [], fault
    fault = start_fault(INDEXED_A_CALL)
    if fault:
        work_soon()
        return [], fault
    if messages.expire(now):
        certify()
    window = quotas.window(caller, now)
    # Before anything is hashed: a member who has used his quota up cannot make the zone work.
    fault = quotas.fault(window, len(items), 0, now)
    if fault:
        return [], fault
    batch = messages.prepare(items)
    fault = quotas.fault(window, len(items), batch.size, now)
    if fault:
        return [], fault
    if batch.fresh:
        try:
            messages.add(batch, caller, now)
        except Refused as refused:
            work_soon()
            return [], str(refused)
        certify()
    quotas.count(caller, window, len(items), batch.size)
    if messages.state.pending_since or messages.limits.max_age_seconds or not background.has_learned:
        work_soon()
    return batch.ids, ""


@query(guard=require_member)
def get_message_by_id(message_id: nat32) -> Manual[Message]:
    """One message; rejects when there is none with this id."""
    reader = reader_or_reject()
    if reader is not None:
        record = reader.message(message_id)
        if record:
            ic.reply_raw(message_wire.message(record))
        else:
            ic.reject(f"message not found: {message_id}")


@query(guard=require_member)
def get_message_by_hash(message_hash: blob) -> Manual[Opt[Message]]:
    """The newest message whose ciphertext has this SHA-256."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply_raw(message_wire.optional_message(reader.by_hash(message_hash)))


@query(guard=require_member)
def get_messages_by_range(min_message_id: nat32, max_message_id: nat32) -> Manual[Vec[Message]]:
    """Messages with ids in a range, oldest first, as many as a reply holds."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply_raw(message_wire.messages(*reader.by_range(min_message_id, max_message_id, MAX_MESSAGE_ID)))


@query(guard=require_member)
def get_messages_by_range_for_key(key_id: blob, min_message_id: nat32, max_message_id: nat32) -> Manual[Vec[Message]]:
    """Messages of one key with ids in a range, newest first, as many as a reply holds."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply_raw(message_wire.messages(*reader.by_range_for_key(key_id, min_message_id, max_message_id)))


@query(guard=require_member)
def get_messages_since(args: SinceArgs) -> Manual[MessagesSince]:
    """Messages after an id, oldest first, of one key or all, and what a client needs to go on."""
    reader = reader_or_reject()
    if reader is not None:
        most = MAX_MESSAGE_ID if args["limit"] is None else max(1, args["limit"])
        count, records, next_after_id, complete = reader.since(args["after_id"], args["key_id"], most)
        ic.reply_raw(message_wire.since(count, records, next_after_id, complete, reader.min_id, messages.state.last_id))


@query(guard=require_member)
def get_messages_meta_by_range(min_message_id: nat32, max_message_id: nat32) -> Manual[Vec[MessageMeta]]:
    """Ids, keys, hashes, senders and times of messages with ids in a range, as many as a reply holds."""
    reader = Reader(messages, seconds())
    ic.reply_raw(message_wire.metas(*reader.metas(min_message_id, max_message_id)))


@query(guard=require_member)
def get_message_sender(message_id: nat32) -> Opt[Principal]:
    """Who sent a message, null when there is none with this id."""
    sender = Reader(messages, seconds()).sender(message_id)
    return None if sender is None else Principal.from_hex(sender.hex())


@query(guard=require_member)
def get_certified_head() -> CertifiedHead:
    """Where the messages begin and end and their digest chain, with the certificate over it where there is one."""
    head = messages.state
    return {
        "first_id": head.first_id,
        "anchor": head.anchor,
        "max_id": head.last_id,
        "head": head.head,
        "certificate": ic.data_certificate(),
    }


@query(guard=require_member)
def get_digest_page(from_id: nat32) -> Vec[DigestEntry]:
    """The groups in which the digest chain takes messages in, from the one that holds an id on."""
    entries = Reader(messages, seconds()).digest_page(from_id)
    return [{"first_id": first_id, "chain": chain, "gone": gone} for first_id, chain, gone in entries]


@query
def get_min_message_id() -> nat32:
    """The first id stored, 0 when there is none."""
    return Reader(messages, seconds()).min_id


@query
def get_max_message_id() -> nat32:
    """The last id given out, 0 when there is none."""
    return messages.state.last_id


@query(guard=require_member)
def get_min_message_id_by_key(key_id: blob) -> Manual[Opt[nat32]]:
    """The first id stored under a key."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply(reader.oldest_of_key(key_id, 1) or None)


@query(guard=require_member)
def get_max_message_id_by_key(key_id: blob) -> Manual[Opt[nat32]]:
    """The last id stored under a key."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply(reader.newest_of_key(key_id, MAX_MESSAGE_ID) or None)


@query
def get_message_usage() -> nat64:
    """Bytes that messages and their index take; `docs/storage.md` has the formula."""
    return messages.usage()


@query
def get_message_count() -> nat:
    """How many messages are stored."""
    return Reader(messages, seconds()).count


@update(guard=require_admin)
def set_message_limits(limits: MessageLimits) -> AckResult:
    """Sets the limits that are given; 0 lifts one, but for max_bytes. What exceeds them is evicted step by step."""
    if messages.expire(seconds()):
        certify()
    fault = messages.limits.change(limits["max_bytes"], limits["max_messages"], limits["max_age_seconds"])
    if fault:
        return {"err": fault}
    messages.note_pending(seconds())
    work_soon()
    return {"ok": None}


@query
def get_message_limits() -> MessageLimits:
    """The limits of the message store, null for none."""
    limits = messages.limits
    return {
        "max_bytes": limits.max_bytes,
        "max_messages": limits.max_messages or None,
        "max_age_seconds": limits.max_age_seconds or None,
    }


@query
def get_eviction_info() -> EvictionInfo:
    """What was evicted ever, the first id kept, and what waits to be evicted and since when (s)."""
    state_ = messages.state
    return {
        "messages_evicted": state_.evicted,
        "bytes_evicted": state_.evicted_bytes,
        "first_id": state_.first_id,
        "pending_bytes": messages.pending_bytes(seconds()),
        "pending_since": state_.pending_since or None,
    }


@update(guard=require_admin)
def prune_messages(up_to_id: nat32) -> NatResult:
    """Removes all messages up to an id and returns how many that were; their ids are never used again."""
    before = messages.state.first_id
    messages.move_first(min(up_to_id, messages.state.last_id) + 1)
    messages.note_pending(seconds())
    certify()
    work_soon()
    return {"ok": messages.state.first_id - before}


@update(guard=require_admin)
def set_member_quota(quota: MemberQuota) -> AckResult:
    """Sets how many messages and bytes one member may add in any 24 hours, as far as it is given."""
    fault = quotas.change(quota["max_messages"], quota["max_bytes"])
    return {"err": fault} if fault else {"ok": None}


@query
def get_member_quota() -> MemberQuota:
    """How many messages and bytes one member may add in any 24 hours."""
    return {"max_messages": quotas.max_messages, "max_bytes": quotas.max_bytes}


@query(guard=require_member)
def get_my_quota_use() -> QuotaUse:
    """What the caller has added within the window of his quota."""
    used_messages, used_bytes = quotas.used(ic.caller().bytes, seconds())
    return {"messages": used_messages, "bytes": used_bytes}


def reader_or_reject() -> Reader | None:
    """A reader of the messages; rejects while their index is being made again."""
    if messages.unindexed or first_layout.is_pending:
        # What a query indexes is forgotten with it, so it begins only what it can end.
        fault = INDEX_FAULT if messages.unindexed > INDEXED_A_QUERY else start_fault(INDEXED_A_QUERY)
        if fault:
            ic.reject(fault)
            return None
    return Reader(messages, seconds())


def start_fault(most: int) -> str:
    """Why messages cannot be added or read so soon after an upgrade, or ""; up to `most` are indexed for it."""
    if first_layout.is_pending:
        return MOVING_FAULT
    return "" if messages.index_more(most) else INDEX_FAULT


def certify() -> void:
    """Makes the message chain's head the certified data."""
    ic.set_certified_data(messages.certified_data())


def work_soon() -> void:
    """Arms the timer for background work, if it is not armed."""
    now = seconds()
    if background.arm(now, background.STEP_SECONDS):
        ic.set_timer(background.STEP_SECONDS, work)


def work() -> void:
    """One step of background work: eviction, and the index that an upgrade did not leave.

    Under maintenance the index alone, which is not kept.
    """
    background.disarm()
    now = seconds()
    indexed = messages.index_more(INDEXED_A_CALL)
    if maintenance.is_on(ic.time()):
        wait = MAINTENANCE_SECONDS if indexed else background.STEP_SECONDS
        background.arm(now, wait)
        ic.set_timer(wait, work)
        return
    if indexed and first_layout.is_pending:
        indexed = first_layout.move(messages, MOVED_A_STEP)
    more = messages.reclaim(now, EVICTED_PAGES_A_STEP)
    certify()
    if indexed and messages.state.count and not background.has_learned:
        background.has_learned = True
        learn(messages, now)
    delay = background.STEP_SECONDS if more or not indexed else messages.next_expiry(now)
    if delay and background.arm(now, delay):
        ic.set_timer(delay, work)


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

    Returns when that ends by itself (ns), 0 when it does not or is over.
    """
    now = ic.time()
    if not args["on"]:
        maintenance.end()
        work_soon()
        return {"ok": 0}
    if not args["restoring"]:
        return {"ok": maintenance.begin(now)}
    fault = maintenance.hold(now)
    return {"err": fault} if fault else {"ok": 0}


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


@update(guard=require_signature)
def refresh_controllers() -> Async[Manual[Controllers]]:
    """Reads the canister's controllers from its own status, at most once a minute."""
    if controllers.due(ic.time()):
        answer = yield StatusService(MANAGEMENT_CANISTER).canister_status({"canister_id": ic.id()})
        if answer.Err is not None:
            ic.reject(f"reading the controllers failed: {answer.Err}")
            return
        controllers.store([found.bytes for found in answer.Ok["settings"]["controllers"]], ic.time())
    ic.reply(get_controllers())


@query
def my_role() -> nat:
    """The caller's cached role, 0 when there is none."""
    return members.role(ic.caller().bytes)


@query(guard=require_short)
def get_role(member: Principal) -> nat:
    """The cached role of a principal, 0 when there is none."""
    return members.role(member.bytes)


@update(guard=require_signature)
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
    fault = outcall_rules.admit(principal, caller if by_member else b"", ic.time())
    if fault:
        ic.reject(fault)
        return
    body = oracle.role_call(config.zone_id(), config.call_token(), address_of(public_key))
    request = role_request(config.rpc_host(), config.rpc_path(), body)
    answer = yield OutcallService(MANAGEMENT_CANISTER).http_request(request).with_cycles(OUTCALL_CYCLES)
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


def seconds() -> int:
    """The time of this call, in seconds since 1970."""
    return ic.time() // 1_000_000_000
