"""The Candid types of the factory's interface: the wire contract's, and those of the factory's own methods.

Declarations only. Units: sizes in bytes, times in ns since 1970, amounts in cycles, hashes SHA-256.
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


class ReleaseUpload(Record):
    chunks: nat32
    bytes: nat64


class ChunkResult(Variant, total=False):
    ok: nat32
    err: text


class AckResult(Variant, total=False):
    ok: null
    err: text


class CreationBudget(Record):
    daily_limit: nat32
    used: nat32
    window_ends_at: nat64


class AuditEntry(Record):
    number: nat64
    time: nat64
    caller: Principal
    subject: Opt[Principal]
    action: text
    details: text


class AuditPage(Record):
    entries: Vec[AuditEntry]
    next_number: nat64
