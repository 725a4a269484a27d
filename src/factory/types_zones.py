"""The Candid types of creations, zones and their custody.

Declarations only. Units: times in ns since 1970, amounts in cycles, zone_id `0x` and 40 hex digits.
"""

from kybra import Opt, Principal, Record, Variant, Vec, blob, nat, nat32, nat64, null, text


class Custody(Variant, total=False):
    managed: null
    shared: null
    sovereign: null


class Funding(Variant, total=False):
    sponsored: null
    funded: null


class CreationStage(Variant, total=False):
    reserved: null
    created: null
    installed: null
    live: null
    failed: null
    pooled: null
    taken: null


class ZoneStage(Variant, total=False):
    created: null
    live: null
    retiring: null
    retired: null


class ZoneWish(Record):
    zone_id: text
    rpc_host: text
    rpc_path: text
    call_token: Opt[blob]
    owners: Vec[Principal]
    custody: Custody
    public_key: Opt[blob]


class CreatedZone(Record):
    canister: Principal
    creation: nat64


class CreateZoneResult(Variant, total=False):
    ok: CreatedZone
    err: text


class CreationInfo(Record):
    id: nat64
    stage: CreationStage
    creator: Principal
    zone_id: text
    canister: Opt[Principal]
    owners: Vec[Principal]
    custody: Custody
    funding: Funding
    proven: bool
    cycles: nat
    asked_at: nat64
    changed_at: nat64
    running: bool
    fault: text


class SettleCreation(Record):
    id: nat64
    canister: Opt[Principal]


class CreationMode(Variant, total=False):
    open: null
    allowlist: null
    closed: null


class ShareUse(Record):
    creations: nat32
    creations_used: nat32
    cycles: nat
    cycles_used: nat
    window_ends_at: nat64


class CreationPolicyInfo(Record):
    mode: CreationMode
    funded_open: bool
    creation_cycles: nat
    funded_price: nat
    daily_creations: nat32
    daily_cycles: nat
    proven: ShareUse
    unproven: ShareUse
    pool_size: nat32
    pooled: nat32
    lookup_cycles: nat
    owner_role: nat
    daily_takings_up: nat
    funded_fee: nat
    freezing_seconds: nat
    reserved_limit: nat
    wasm_memory_limit: nat
    trusted_nodes: Vec[text]


class CreationPolicyChange(Record):
    mode: Opt[CreationMode]
    funded_open: Opt[bool]
    creation_cycles: Opt[nat]
    daily_creations: Opt[nat32]
    daily_cycles: Opt[nat]
    unproven_creations: Opt[nat32]
    unproven_cycles: Opt[nat]
    pool_size: Opt[nat32]
    lookup_cycles: Opt[nat]
    owner_role: Opt[nat]
    daily_takings_up: Opt[nat]
    funded_fee: Opt[nat]
    freezing_seconds: Opt[nat]
    reserved_limit: Opt[nat]
    wasm_memory_limit: Opt[nat]
    trusted_nodes: Opt[Vec[text]]


class AllowlistChange(Record):
    add: Vec[Principal]
    remove: Vec[Principal]


class CustodyOffer(Record):
    canister: Principal
    custody: Custody
    owners: Vec[Principal]


class RepayResult(Variant, total=False):
    ok: nat
    err: text


class RetireResult(Variant, total=False):
    ok: nat
    err: text


class ZoneEntry(Record):
    canister: Principal
    zone_id: text
    creator: Principal
    created_at: nat64
    stage: ZoneStage
    custody: Custody
    funding: Funding
    proven: bool
    canonical: bool
    owners: Vec[Principal]
    offered: Vec[Principal]
    accepted: Vec[Principal]
    awaited: Vec[Principal]
    offered_custody: Opt[Custody]
    agreed_to_retire: Vec[Principal]
    owed: nat
    controlled: bool
    controllers: Vec[Principal]
    module_hash: Opt[blob]
    info_read_at: Opt[nat64]


class ZonePage(Record):
    zones: Vec[ZoneEntry]
    next: Opt[nat32]
    canonical: Opt[Principal]
