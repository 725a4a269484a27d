"""The zone canister's code: uploaded in chunks, verified by SHA-256, kept, and handed out by reference.

Pure. The platform's chunk store is only a cache of what lies here (`creation` fills it). A chunk is what one call
carries (at most 1 MiB, as the chunk store takes it); it is kept in pieces of 64 KiB, because a map's node reserves its
largest value many times under Kybra.

    settings "release"  32 bytes, the hash of the release that new zones get
    releases 32 hash -> u32 chunks | u64 bytes | u64 uploaded at (ns) | u64 version, 0 until published
                        | u64 published at (ns) | u16 length, notes | per chunk 32 hash
    pieces   32 hash | u32 chunk (big-e.) | u16 piece (big-e.) -> at most 65536 bytes
"""

import hashlib
import struct

from kybra import StableBTreeMap, blob, text

HASH_BYTES = 32
CHUNK_BYTES = 1_048_576
PIECE_BYTES = 65_536
MAX_CHUNKS = 32
MAX_NOTES_BYTES = 800
MAX_KEPT = 4
MAX_VERSION = 2**64 - 1
CURRENT_KEY = "release"
ENTRY = struct.Struct("<IQQQQH")


class Entry:
    """One upload or release."""

    def __init__(self, stored: bytes):
        head = ENTRY.unpack_from(stored)
        self.chunks, self.bytes, self.uploaded_at, self.version, self.published_at, notes = head
        self.notes = stored[ENTRY.size : ENTRY.size + notes].decode()
        hashes = stored[ENTRY.size + notes :]
        self.chunk_hashes = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]

    def encode(self) -> bytes:
        """The entry as it is stored."""
        notes = self.notes.encode()
        head = ENTRY.pack(self.chunks, self.bytes, self.uploaded_at, self.version, self.published_at, len(notes))
        return head + notes + b"".join(self.chunk_hashes)


class ReleaseStore:
    """Uploads and releases over their stable maps."""

    def __init__(
        self,
        settings: StableBTreeMap[text, blob],
        releases: StableBTreeMap[blob, blob],
        pieces: StableBTreeMap[blob, blob],
    ):
        self._settings = settings
        self._releases = releases
        self._pieces = pieces

    def entry(self, wasm_hash: bytes) -> Entry | None:
        """The upload or release with this hash."""
        stored = self._releases.get(wasm_hash) if len(wasm_hash) == HASH_BYTES else None
        return None if stored is None else Entry(stored)

    def current(self) -> tuple[bytes, Entry] | None:
        """Hash and entry of the release that new zones get, None before the first."""
        wasm_hash = self._settings.get(CURRENT_KEY)
        entry = None if wasm_hash is None else self.entry(wasm_hash)
        return None if wasm_hash is None or entry is None else (wasm_hash, entry)

    def add_chunk(self, wasm_hash: bytes, index: int, data: bytes, now: int) -> str:
        """Keeps one chunk and returns "", or says what is wrong. Chunks come in order; a kept one may come again."""
        if len(wasm_hash) != HASH_BYTES:
            return f"wasm_hash must be {HASH_BYTES} bytes, got {len(wasm_hash)}"
        if not 0 < len(data) <= CHUNK_BYTES:
            return f"a chunk holds 1 to {CHUNK_BYTES} bytes, got {len(data)}"
        entry = self.entry(wasm_hash) or Entry(ENTRY.pack(0, 0, now, 0, 0, 0))
        digest = hashlib.sha256(data).digest()
        if index < entry.chunks:
            same = entry.chunk_hashes[index] == digest
            return (
                ""
                if same
                else f"chunk {index} is stored with other bytes: its SHA-256 is {entry.chunk_hashes[index].hex()}"
            )
        if entry.version:
            return f"the release {wasm_hash.hex()} is published and complete: it has {entry.chunks} chunks"
        if index != entry.chunks:
            return f"chunk {index} is out of order: the next is {entry.chunks}"
        if index >= MAX_CHUNKS:
            return f"a release has at most {MAX_CHUNKS} chunks"
        if entry.chunks == 0:
            self._make_room()
        for piece, start in enumerate(range(0, len(data), PIECE_BYTES)):
            self._pieces.insert(piece_key(wasm_hash, index, piece), data[start : start + PIECE_BYTES])
        entry.chunks += 1
        entry.bytes += len(data)
        entry.chunk_hashes.append(digest)
        self._releases.insert(wasm_hash, entry.encode())
        return ""

    def publish(self, wasm_hash: bytes, version: int, notes: str, now: int) -> str:
        """Makes a complete upload the current release and returns "", or says what is wrong.

        An upload whose bytes do not have the hash they were announced with is dropped.
        """
        entry = self.entry(wasm_hash)
        if entry is None:
            return f"nothing was uploaded for {wasm_hash.hex()[:64]}: call upload_release_chunk first"
        if len(notes.encode()) > MAX_NOTES_BYTES:
            return f"notes must be at most {MAX_NOTES_BYTES} bytes, got {len(notes.encode())}"
        current = self.current()
        if current is not None and current[0] == wasm_hash and current[1].version == version:
            return ""
        newest = 0 if current is None else current[1].version
        if not newest < version <= MAX_VERSION:
            return f"version must be above the current release's {newest} and at most {MAX_VERSION}, got {version}"
        digest = hashlib.sha256()
        for index in range(entry.chunks):
            digest.update(self.chunk(wasm_hash, index))
        if digest.digest() != wasm_hash:
            self._drop(wasm_hash, entry)
            return (
                f"the {entry.chunks} chunks uploaded have SHA-256 {digest.hexdigest()}, "
                f"not {wasm_hash.hex()}: upload them again"
            )
        entry.version = version
        entry.published_at = now
        entry.notes = notes
        self._releases.insert(wasm_hash, entry.encode())
        self._settings.insert(CURRENT_KEY, wasm_hash)
        return ""

    def chunk(self, wasm_hash: bytes, index: int) -> bytes:
        """The bytes of one chunk, empty when there is none."""
        parts = []
        for piece in range(CHUNK_BYTES // PIECE_BYTES):
            part = self._pieces.get(piece_key(wasm_hash, index, piece))
            if part is None:
                break
            parts.append(part)
        return b"".join(parts)

    def _make_room(self) -> None:
        """Drops the oldest upload or former release when another one comes; the current release stays."""
        kept = [(Entry(stored), wasm_hash) for wasm_hash, stored in self._releases.items()]
        if len(kept) < MAX_KEPT:
            return
        current = self._settings.get(CURRENT_KEY)
        entry, wasm_hash = min(
            ((entry, key) for entry, key in kept if key != current), key=lambda candidate: candidate[0].uploaded_at
        )
        self._drop(wasm_hash, entry)

    def _drop(self, wasm_hash: bytes, entry: Entry) -> None:
        for index in range(entry.chunks):
            for piece in range(CHUNK_BYTES // PIECE_BYTES):
                self._pieces.remove(piece_key(wasm_hash, index, piece))
        self._releases.remove(wasm_hash)


def piece_key(wasm_hash: bytes, index: int, piece: int) -> bytes:
    """The pieces key of one piece of a chunk."""
    return wasm_hash + index.to_bytes(4, "big") + piece.to_bytes(2, "big")
