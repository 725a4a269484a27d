"""Candid types of the management canister's methods (IC interface specification, "The IC management canister").

Only types: what the methods do is in `management`.
"""

from __future__ import annotations

from localnet.candid import (
    BLOB,
    BOOL,
    FUNC_QUERY,
    NAT,
    NAT64,
    NULL,
    PRINCIPAL,
    TEXT,
    opt,
    record,
    variant,
    vec,
)

LOG_VISIBILITY = variant(controllers=NULL, public=NULL, allowed_viewers=vec(PRINCIPAL))
SETTINGS = record(
    controllers=opt(vec(PRINCIPAL)),
    compute_allocation=opt(NAT),
    memory_allocation=opt(NAT),
    freezing_threshold=opt(NAT),
    reserved_cycles_limit=opt(NAT),
    log_visibility=opt(LOG_VISIBILITY),
    wasm_memory_limit=opt(NAT),
    wasm_memory_threshold=opt(NAT),
)
DEFINITE_SETTINGS = record(
    controllers=vec(PRINCIPAL),
    compute_allocation=NAT,
    memory_allocation=NAT,
    freezing_threshold=NAT,
    reserved_cycles_limit=NAT,
    log_visibility=LOG_VISIBILITY,
    wasm_memory_limit=NAT,
    wasm_memory_threshold=NAT,
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
INFO_ARGS = record(canister_id=PRINCIPAL, num_requested_changes=opt(NAT64))
CHANGE = record(
    timestamp_nanos=NAT64,
    canister_version=NAT64,
    origin=variant(
        from_user=record(user_id=PRINCIPAL),
        from_canister=record(canister_id=PRINCIPAL, canister_version=opt(NAT64)),
    ),
    details=variant(
        creation=record(controllers=vec(PRINCIPAL)),
        code_uninstall=NULL,
        code_deployment=record(mode=variant(install=NULL, reinstall=NULL, upgrade=NULL), module_hash=BLOB),
        controllers_change=record(controllers=vec(PRINCIPAL)),
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
LOGS = record(canister_log_records=vec(record(idx=NAT64, timestamp_nanos=NAT64, content=BLOB)))
