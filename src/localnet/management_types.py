"""Candid types of the management canister's methods (IC interface specification, "The IC management canister").

Only types: what the methods do is in `management`.
"""

from __future__ import annotations

from localnet.candid import (
    BLOB,
    BOOL,
    FLOAT32,
    FLOAT64,
    FUNC_QUERY,
    INT32,
    INT64,
    NAT,
    NAT64,
    NULL,
    PRINCIPAL,
    RESERVED,
    TEXT,
    opt,
    record,
    variant,
    vec,
)

VISIBILITY = variant(controllers=NULL, public=NULL, allowed_viewers=vec(PRINCIPAL))
ENVIRONMENT_VARIABLES = vec(record(name=TEXT, value=TEXT))
SETTINGS = record(
    controllers=opt(vec(PRINCIPAL)),
    compute_allocation=opt(NAT),
    memory_allocation=opt(NAT),
    freezing_threshold=opt(NAT),
    reserved_cycles_limit=opt(NAT),
    minimum_incoming_canister_call_cycles=opt(NAT),
    log_visibility=opt(VISIBILITY),
    log_memory_limit=opt(NAT),
    snapshot_visibility=opt(VISIBILITY),
    status_visibility=opt(VISIBILITY),
    wasm_memory_limit=opt(NAT),
    wasm_memory_threshold=opt(NAT),
    environment_variables=opt(ENVIRONMENT_VARIABLES),
)
DEFINITE_SETTINGS = record(
    controllers=vec(PRINCIPAL),
    compute_allocation=NAT,
    memory_allocation=NAT,
    freezing_threshold=NAT,
    reserved_cycles_limit=NAT,
    minimum_incoming_canister_call_cycles=NAT,
    log_visibility=VISIBILITY,
    log_memory_limit=NAT,
    snapshot_visibility=VISIBILITY,
    status_visibility=VISIBILITY,
    wasm_memory_limit=NAT,
    wasm_memory_threshold=NAT,
    environment_variables=ENVIRONMENT_VARIABLES,
)
CANISTER_ID = record(canister_id=PRINCIPAL)
CREATE = record(settings=opt(SETTINGS), sender_canister_version=opt(NAT64))
PROVISIONAL_CREATE = record(
    amount=opt(NAT), settings=opt(SETTINGS), specified_id=opt(PRINCIPAL), sender_canister_version=opt(NAT64)
)
PROVISIONAL_TOP_UP = record(canister_id=PRINCIPAL, amount=NAT)
UPDATE_SETTINGS = record(canister_id=PRINCIPAL, settings=SETTINGS, sender_canister_version=opt(NAT64))
UPGRADE_OPTIONS = record(skip_pre_upgrade=opt(BOOL), wasm_memory_persistence=opt(variant(keep=NULL, replace=NULL)))
MODE = variant(install=NULL, reinstall=NULL, upgrade=opt(UPGRADE_OPTIONS))
INSTALL = record(mode=MODE, canister_id=PRINCIPAL, wasm_module=BLOB, arg=BLOB, sender_canister_version=opt(NAT64))
CHUNK_HASH = record(hash=BLOB)
INSTALL_CHUNKED = record(
    mode=MODE,
    target_canister=PRINCIPAL,
    store_canister=opt(PRINCIPAL),
    chunk_hashes_list=vec(CHUNK_HASH),
    wasm_module_hash=BLOB,
    arg=BLOB,
    sender_canister_version=opt(NAT64),
)
UPLOAD_CHUNK = record(canister_id=PRINCIPAL, chunk=BLOB)
STORED_CHUNKS = vec(CHUNK_HASH)
UNINSTALL = record(canister_id=PRINCIPAL, sender_canister_version=opt(NAT64))
STATUS = record(
    status=variant(running=NULL, stopping=NULL, stopped=NULL),
    ready_for_migration=BOOL,
    version=NAT64,
    settings=DEFINITE_SETTINGS,
    module_hash=opt(BLOB),
    memory_size=NAT,
    memory_metrics=record(
        wasm_memory_size=NAT,
        stable_memory_size=NAT,
        global_memory_size=NAT,
        wasm_binary_size=NAT,
        custom_sections_size=NAT,
        canister_history_size=NAT,
        wasm_chunk_store_size=NAT,
        snapshots_size=NAT,
        log_memory_store_size=NAT,
    ),
    cycles=NAT,
    reserved_cycles=NAT,
    idle_cycles_burned_per_day=NAT,
    query_stats=record(
        num_calls_total=NAT,
        num_instructions_total=NAT,
        request_payload_bytes_total=NAT,
        response_payload_bytes_total=NAT,
    ),
)
SOURCE = variant(taken_from_canister=RESERVED, metadata_upload=RESERVED)
INFO_ARGS = record(canister_id=PRINCIPAL, num_requested_changes=opt(NAT64))
CHANGE = record(
    timestamp_nanos=NAT64,
    canister_version=NAT64,
    origin=variant(
        from_user=record(user_id=PRINCIPAL),
        from_canister=record(canister_id=PRINCIPAL, canister_version=opt(NAT64)),
    ),
    details=variant(
        creation=record(controllers=vec(PRINCIPAL), environment_variables_hash=opt(BLOB)),
        code_uninstall=NULL,
        code_deployment=record(mode=variant(install=NULL, reinstall=NULL, upgrade=NULL), module_hash=BLOB),
        controllers_change=record(controllers=vec(PRINCIPAL)),
        load_snapshot=record(
            from_canister_id=opt(PRINCIPAL),
            snapshot_id=BLOB,
            canister_version=NAT64,
            taken_at_timestamp=NAT64,
            source=SOURCE,
        ),
    ),
)
INFO = record(total_num_changes=NAT64, recent_changes=vec(CHANGE), module_hash=opt(BLOB), controllers=vec(PRINCIPAL))
HEADER = record(name=TEXT, value=TEXT)
HTTP_RESPONSE = record(status=NAT, headers=vec(HEADER), body=BLOB)
TRANSFORM = record(function=FUNC_QUERY, context=BLOB)
TRANSFORM_ARGS = record(response=HTTP_RESPONSE, context=BLOB)
HTTP_REQUEST = record(
    url=TEXT,
    max_response_bytes=opt(NAT64),
    method=variant(get=NULL, head=NULL, post=NULL),
    headers=vec(HEADER),
    body=opt(BLOB),
    transform=opt(TRANSFORM),
    is_replicated=opt(BOOL),
)
_RANGE = record(start=NAT64, end=NAT64)
FETCH_LOGS = record(canister_id=PRINCIPAL, filter=opt(variant(by_idx=_RANGE, by_timestamp_nanos=_RANGE)))
METADATA_ARGS = record(canister_id=PRINCIPAL, name=TEXT)
METADATA = record(value=BLOB)
LOGS = record(canister_log_records=vec(record(idx=NAT64, timestamp_nanos=NAT64, content=BLOB)))
SNAPSHOT = record(id=BLOB, taken_at_timestamp=NAT64, total_size=NAT64)
SNAPSHOTS = vec(SNAPSHOT)
SNAPSHOT_ID = record(canister_id=PRINCIPAL, snapshot_id=BLOB)
TAKE_SNAPSHOT = record(
    canister_id=PRINCIPAL,
    replace_snapshot=opt(BLOB),
    uninstall_code=opt(BOOL),
    sender_canister_version=opt(NAT64),
)
LOAD_SNAPSHOT = record(canister_id=PRINCIPAL, snapshot_id=BLOB, sender_canister_version=opt(NAT64))
GLOBALS = vec(variant(i32=INT32, i64=INT64, f32=FLOAT32, f64=FLOAT64, v128=NAT))
TIMER = opt(variant(inactive=NULL, active=NAT64))
HOOK_STATUS = opt(variant(condition_not_satisfied=NULL, ready=NULL, executed=NULL))
SNAPSHOT_METADATA = record(
    source=SOURCE,
    taken_at_timestamp=NAT64,
    wasm_module_size=NAT64,
    globals=GLOBALS,
    wasm_memory_size=NAT64,
    stable_memory_size=NAT64,
    wasm_chunk_store=vec(CHUNK_HASH),
    canister_version=NAT64,
    certified_data=BLOB,
    global_timer=TIMER,
    on_low_wasm_memory_hook_status=HOOK_STATUS,
)
_SLICE = record(offset=NAT64, size=NAT64)
READ_SNAPSHOT_DATA = record(
    canister_id=PRINCIPAL,
    snapshot_id=BLOB,
    kind=variant(wasm_module=_SLICE, wasm_memory=_SLICE, stable_memory=_SLICE, wasm_chunk=CHUNK_HASH),
)
SNAPSHOT_CHUNK = record(chunk=BLOB)
UPLOAD_SNAPSHOT_METADATA = record(
    canister_id=PRINCIPAL,
    replace_snapshot=opt(BLOB),
    wasm_module_size=NAT64,
    globals=GLOBALS,
    wasm_memory_size=NAT64,
    stable_memory_size=NAT64,
    certified_data=BLOB,
    global_timer=TIMER,
    on_low_wasm_memory_hook_status=HOOK_STATUS,
)
NEW_SNAPSHOT = record(snapshot_id=BLOB)
_PLACE = record(offset=NAT64)
UPLOAD_SNAPSHOT_DATA = record(
    canister_id=PRINCIPAL,
    snapshot_id=BLOB,
    kind=variant(wasm_module=_PLACE, wasm_memory=_PLACE, stable_memory=_PLACE, wasm_chunk=NULL),
    chunk=BLOB,
)
