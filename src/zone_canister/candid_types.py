"""The Candid types of the zone canister's interface, as the wire contract declares them.

Declarations only. Units: `timestamp` in seconds since 1970, ids from 1, `key_id` 41 bytes, `hash` 32 bytes.
"""

from kybra import Opt, Principal, Record, Tuple, Variant, Vec, blob, nat, nat8, nat32, nat64, null, text


class ZoneInit(Record):
    zone_id: text
    rpc_host: text
    rpc_path: text
    cycles_requester_id: Principal
    call_token: Opt[blob]


class Nat32Result(Variant, total=False):
    ok: nat32
    err: text


class Nat32ListResult(Variant, total=False):
    ok: Vec[nat32]
    err: text


class Message(Record):
    id: nat32
    timestamp: nat32
    key_id: blob
    next_msg_id: nat32
    prev_msg_id: nat32
    hash: blob
    ciphertext: blob


KeyedCiphertext = Tuple[blob, blob]


class AckResult(Variant, total=False):
    ok: null
    err: text


class NatResult(Variant, total=False):
    ok: nat
    err: text


class Controllers(Record):
    controllers: Vec[Principal]
    read_at: Opt[nat64]


class CustodyKind(Variant, total=False):
    managed: null
    shared: null
    sovereign: null


class ZoneCustody(Record):
    custody: Opt[CustodyKind]
    factory: Principal
    factory_can: Vec[text]
    controllers: Vec[Principal]
    read_at: Opt[nat64]


class MaintenanceArgs(Record):
    on: bool
    restoring: bool


class MaintenanceResult(Variant, total=False):
    ok: nat64
    err: text


class ZoneHealth(Record):
    version: nat
    layout: text
    installation_id: int
    maintenance_until: Opt[nat64]
    messages: nat
    first_id: nat32
    last_id: nat32
    members: nat


class MessageMeta(Record):
    id: nat32
    timestamp: nat32
    key_id: blob
    hash: blob
    sender: Principal


class MessageLimits(Record):
    max_bytes: Opt[nat64]
    max_messages: Opt[nat32]
    max_age_seconds: Opt[nat32]


class EvictionInfo(Record):
    messages_evicted: nat64
    bytes_evicted: nat64
    first_id: nat32
    pending_bytes: nat64
    pending_since: Opt[nat64]


class MemberQuota(Record):
    max_messages: Opt[nat32]
    max_bytes: Opt[nat64]


class QuotaUse(Record):
    messages: nat32
    bytes: nat64


class SinceArgs(Record):
    after_id: nat32
    key_id: Opt[blob]
    limit: Opt[nat32]


class MessagesSince(Record):
    messages: Vec[Message]
    next_after_id: nat32
    complete: bool
    min_id: nat32
    max_id: nat32


class CertifiedHead(Record):
    first_id: nat32
    anchor: blob
    max_id: nat32
    head: blob
    certificate: Opt[blob]


class DigestEntry(Record):
    first_id: nat32
    chain: blob
    gone: blob


class MetaDataInfo(Record):
    public_key: Opt[blob]
    vet_protected_key: Opt[blob]
    manifest: nat
    timestamp: int


class SlotTimestamp(Record):
    key: nat8
    timestamp: int


class AggregateStatusV1(Record):
    version: nat
    installation_id: int
    zone_id: text
    role: nat
    cycles_balance: nat
    stable_storage_size: nat
    metadata_timestamps: Vec[SlotTimestamp]
    metadata_info: MetaDataInfo
    message_min_id: nat32
    message_max_id: nat32
    message_usage: nat64
    message_count: nat
    file_system_last_file_id: nat
    file_system_file_count: nat
    file_system_directory_count: nat
    file_system_max_usage: nat64
    attachment_usage: nat64
    attachment_count: nat
    attachment_max_usage: nat64
