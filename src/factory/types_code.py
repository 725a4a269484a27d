"""The Candid types of the factory's interface for code: releases of the zone canister.

Declarations only. Units: sizes in bytes, times in ns since 1970, hashes SHA-256.
"""

from kybra import Opt, Record, Variant, Vec, blob, nat, nat32, nat64, text


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
