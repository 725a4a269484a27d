"""The Candid types of the factory's interface for code: releases, rollouts, single changes, status.

Declarations only. Units: sizes in bytes, times in ns since 1970, hashes SHA-256.
"""

from kybra import Opt, Principal, Record, Variant, Vec, blob, nat, nat32, nat64, null, text


class ReleaseChunk(Record):
    wasm_hash: blob
    index: nat32
    data: blob


class ReleaseNotice(Record):
    version: nat
    wasm_hash: blob
    notes: text


class Release(Record):
    version: nat
    wasm_hash: blob
    size: nat64
    notes: text
    published_at: nat64
    retired_at: Opt[nat64]
    chunks: nat32


class ReleaseUpload(Record):
    chunks: nat32
    bytes: nat64


class ReleasePage(Record):
    releases: Vec[Release]
    total: nat32


class ReleaseChunkResult(Variant, total=False):
    ok: blob
    err: text


class RolloutPlan(Record):
    release: nat
    canary: nat
    batch: nat
    pause_on_failures: nat


class RolloutResult(Variant, total=False):
    ok: nat64
    err: text


class RolloutState(Variant, total=False):
    running: null
    paused: null
    aborted: null
    done: null


class RolloutCounts(Record):
    upgraded: nat32
    current: nat32
    restored: nat32
    failed: nat32
    busy: nat32
    skipped: nat32
    waiting: nat32


class ChangeOutcome(Variant, total=False):
    open: null
    upgraded: null
    current: null
    restored: null
    failed: null
    busy: null
    skipped: null
    waiting: null


class CodeChange(Record):
    canister: Principal
    rollout: Opt[nat64]
    release: Opt[nat]
    wasm_hash: blob
    outcome: ChangeOutcome
    step: text
    fault: text
    begun_at: nat64
    step_at: nat64
    snapshot: Opt[blob]


class RolloutPage(Record):
    number: nat64
    release: nat
    wasm_hash: blob
    state: RolloutState
    reason: text
    canary: nat
    batch: nat
    pause_on_failures: nat
    failures: nat32
    started_at: nat64
    ended_at: Opt[nat64]
    children: nat32
    counts: RolloutCounts
    under_way: Vec[Principal]
    changes: Vec[CodeChange]
    next: Opt[Principal]


class CodeAllowance(Record):
    canister: Principal
    wasm_hash: blob


class CodeAllowanceResult(Variant, total=False):
    ok: nat64
    err: text


class CanisterRunState(Variant, total=False):
    stopped: null
    stopping: null
    running: null


class LogVisibility(Variant, total=False):
    controllers: null
    public: null


class CanisterSettings(Record):
    freezing_threshold: nat
    controllers: Vec[Principal]
    reserved_cycles_limit: nat
    log_visibility: LogVisibility
    wasm_memory_limit: nat
    memory_allocation: nat
    compute_allocation: nat


class QueryStats(Record):
    response_payload_bytes_total: nat
    num_instructions_total: nat
    num_calls_total: nat
    request_payload_bytes_total: nat


class CanisterStatus(Record):
    status: CanisterRunState
    memory_size: nat
    cycles: nat
    settings: CanisterSettings
    query_stats: QueryStats
    idle_cycles_burned_per_day: nat
    module_hash: Opt[blob]
    reserved_cycles: nat
