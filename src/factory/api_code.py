"""The factory's Candid interface: releases of the zone canister."""

from kybra import Opt, blob, ic, query, update

from factory.candid_types import AckResult, ChunkResult, Release, ReleaseChunk, ReleaseNotice, ReleaseUpload
from factory.context import note, releases, require_admin


@update(guard=require_admin)
def upload_release_chunk(chunk: ReleaseChunk) -> ChunkResult:
    """Keeps one chunk of a zone Wasm, at most 1 MiB, in order from 0; returns how many are stored."""
    fault = releases.add_chunk(chunk["wasm_hash"], chunk["index"], chunk["data"], ic.time())
    if fault:
        return {"err": fault}
    entry = releases.entry(chunk["wasm_hash"])
    return {"ok": 0 if entry is None else entry.chunks}


@update(guard=require_admin)
def publish_release(notice: ReleaseNotice) -> AckResult:
    """Verifies an uploaded Wasm by its SHA-256 and makes it the code that new zones get."""
    fault = releases.publish(notice["wasm_hash"], notice["version"], notice["notes"], ic.time())
    if fault:
        return {"err": fault}
    note("publish_release", b"", f"{notice['version']} {notice['wasm_hash'].hex()}")
    return {"ok": None}


@query
def get_release() -> Opt[Release]:
    """The release that new zones get."""
    current = releases.current()
    if current is None:
        return None
    wasm_hash, entry = current
    return {
        "version": entry.version,
        "wasm_hash": wasm_hash,
        "size": entry.bytes,
        "notes": entry.notes,
        "published_at": entry.published_at,
    }


@query
def get_release_upload(wasm_hash: blob) -> Opt[ReleaseUpload]:
    """How far an upload got."""
    entry = releases.entry(wasm_hash)
    return None if entry is None else {"chunks": entry.chunks, "bytes": entry.bytes}
