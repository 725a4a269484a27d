"""The factory's Candid interface: releases of the zone canister."""

from kybra import Opt, blob, ic, nat, nat32, query, update

from factory.candid_types import AckResult, ChunkResult
from factory.context import note, releases, require_admin, require_admin_with_code, require_short, rollouts
from factory.releases import MAX_VERSION, Entry
from factory.types_code import (
    Release,
    ReleaseChunk,
    ReleaseChunkResult,
    ReleaseNotice,
    ReleasePage,
    ReleaseUpload,
)


@update(guard=require_admin_with_code)
def upload_release_chunk(chunk: ReleaseChunk) -> ChunkResult:
    """Keeps one chunk of a zone Wasm, at most 1 MiB, in order from 0; returns how many are stored."""
    wasm_hash, index = chunk["wasm_hash"], chunk["index"]
    before = releases.entry(wasm_hash)
    fault = releases.add_chunk(wasm_hash, index, chunk["data"], ic.time(), rollouts.in_use())
    if fault:
        return {"err": fault}
    entry = releases.entry(wasm_hash)
    count = 0 if entry is None else entry.chunks
    if before is None or count != before.chunks:
        note("upload_release_chunk", b"", f"{index} of {wasm_hash.hex()}")
    return {"ok": count}


@update(guard=require_admin)
def publish_release(notice: ReleaseNotice) -> AckResult:
    """Verifies an uploaded Wasm by its SHA-256 and makes it the code that new zones get."""
    fault = releases.publish(notice["wasm_hash"], notice["version"], notice["notes"], ic.time())
    if fault:
        return {"err": fault}
    note("publish_release", b"", f"{notice['version']} {notice['wasm_hash'].hex()}")
    return {"ok": None}


@update(guard=require_admin)
def retire_release(version: nat) -> AckResult:
    """Drops the code of a former release; canisters that run it go on, and count as running code of this factory."""
    fault = releases.retire(version, ic.time(), rollouts.in_use())
    if fault:
        return {"err": fault}
    note("retire_release", b"", str(version))
    return {"ok": None}


@query
def get_release() -> Opt[Release]:
    """The release that new zones get."""
    current = releases.current()
    return None if current is None else release_of(*current)


@query(guard=require_short)
def get_releases(before: Opt[nat], limit: nat32) -> ReleasePage:
    """Releases, newest first; goes on with the version of the last one. At most 100 at once."""
    found = releases.page(MAX_VERSION + 1 if before is None else before, limit)
    return {"releases": [release_of(*release) for release in found], "total": releases.count()}


@query(guard=require_short)
def get_release_chunk(wasm_hash: blob, index: nat32) -> ReleaseChunkResult:
    """One chunk of a release's gzipped Wasm, for owners who install it themselves; chunks count from 0."""
    entry = releases.entry(wasm_hash)
    if entry is None or not entry.version:
        return {"err": f"no release has the SHA-256 {wasm_hash.hex()[:64]}"}
    if index >= entry.kept():
        return {"err": f"release {entry.version} has {entry.kept()} chunks, there is no chunk {index}"}
    return {"ok": releases.chunk(wasm_hash, index)}


@query(guard=require_short)
def get_release_upload(wasm_hash: blob) -> Opt[ReleaseUpload]:
    """How far an upload got; null where nothing came, or nothing in a day."""
    entry = releases.entry(wasm_hash)
    if entry is None or entry.is_expired(ic.time()):
        return None
    return {"chunks": entry.chunks, "bytes": entry.bytes}


def release_of(wasm_hash: bytes, entry: Entry) -> Release:
    """A release as it is told."""
    return {
        "version": entry.version,
        "wasm_hash": wasm_hash,
        "size": entry.bytes,
        "notes": entry.notes,
        "published_at": entry.published_at,
        "retired_at": entry.retired_at or None,
        "chunks": entry.kept(),
    }
