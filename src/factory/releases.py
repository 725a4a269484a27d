"""The zone canister's code: uploaded in chunks, verified by SHA-256, kept, and handed out by reference.

Pure. The platform's chunk store is only a cache of what lies here (`installation` fills it). A chunk is what one call
carries (at most 1 MiB, as the chunk store takes it); it is kept in pieces of 64 KiB, because a map's node reserves its
largest value many times under Kybra. The record of a published release stays when its code goes: children that run it
run code of ours. Times in ns.

    settings "release"  32 bytes, the hash of the release that new zones get
    releases 32 hash -> u32 chunks that are kept | u64 bytes | u64 last chunk came at | u64 version, 0 until
                        published | u64 published at | u64 retired at, 0 for not | u16 length, notes
                        | per chunk 32 hash; a release whose code gave way to another's has them too, to take it again
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
MAX_KEPT = 6  # uploads and releases with their code: 84 MB of what Kybra builds
MAX_RELEASES = 1_000
MAX_PAGE = 100
MAX_VERSION = 2**64 - 1
UPLOAD_LIFETIME = 86_400 * 1_000_000_000
CURRENT_KEY = "release"
ENTRY = struct.Struct("<IQQQQQH")


class Entry:
    """One upload or release."""

    def __init__(self, stored: bytes):
        head = ENTRY.unpack_from(stored)
        self.chunks, self.bytes, self.touched_at, self.version, self.published_at, self.retired_at, notes = head
        self.notes = stored[ENTRY.size : ENTRY.size + notes].decode()
        hashes = stored[ENTRY.size + notes :]
        self.chunk_hashes = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]

    def is_expired(self, now: int) -> bool:
        """Whether this is an upload that nobody went on with for a day."""
        return not self.version and now - self.touched_at >= UPLOAD_LIFETIME

    def is_kept(self) -> bool:
        """Whether all of its code is here."""
        return 0 < self.chunks == len(self.chunk_hashes)

    def kept(self) -> int:
        """How many chunks its code has, 0 when it is not all here."""
        return self.chunks if self.is_kept() else 0

    def encode(self) -> bytes:
        """The entry as it is stored."""
        notes = self.notes.encode()
        head = ENTRY.pack(
            self.chunks, self.bytes, self.touched_at, self.version, self.published_at, self.retired_at, len(notes)
        )
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
        self._versions: dict[int, bytes] | None = None

    def entry(self, wasm_hash: bytes) -> Entry | None:
        """The upload or release with this hash."""
        stored = self._releases.get(wasm_hash) if len(wasm_hash) == HASH_BYTES else None
        return None if stored is None else Entry(stored)

    def current(self) -> tuple[bytes, Entry] | None:
        """Hash and entry of the release that new zones get, None before the first."""
        wasm_hash = self._settings.get(CURRENT_KEY)
        entry = None if wasm_hash is None else self.entry(wasm_hash)
        return None if wasm_hash is None or entry is None else (wasm_hash, entry)

    def is_published(self, module_hash: bytes) -> bool:
        """Whether a canister with this module hash runs code that was published here, retired or not."""
        entry = self.entry(module_hash)
        return entry is not None and entry.version > 0

    def is_kept(self, wasm_hash: bytes) -> bool:
        """Whether all of a code is here, published or not."""
        entry = self.entry(wasm_hash)
        return entry is not None and entry.is_kept()

    def with_version(self, version: int) -> tuple[bytes, Entry] | None:
        """Hash and entry of the published release with this version."""
        wasm_hash = self._by_version().get(version)
        entry = None if wasm_hash is None else self.entry(wasm_hash)
        return None if wasm_hash is None or entry is None else (wasm_hash, entry)

    def count(self) -> int:
        """How many releases were published."""
        return len(self._by_version())

    def page(self, before: int, most: int) -> list[tuple[bytes, Entry]]:
        """Published releases with versions below `before`, newest first, at most so many and at most 100."""
        versions = sorted([version for version in self._by_version() if version < before], reverse=True)
        found = [self.with_version(version) for version in versions[: min(most, MAX_PAGE)]]
        return [release for release in found if release is not None]

    def add_chunk(self, wasm_hash: bytes, index: int, data: bytes, now: int, in_use: bytes = b"") -> str:
        """Keeps one chunk and returns "", or says what is wrong. Chunks come in order; a kept one may come again.

        The code of the release `in_use` is not dropped to make room for it.
        """
        if len(wasm_hash) != HASH_BYTES:
            return f"wasm_hash must be {HASH_BYTES} bytes, got {len(wasm_hash)}"
        if not 0 < len(data) <= CHUNK_BYTES:
            return f"a chunk holds 1 to {CHUNK_BYTES} bytes, got {len(data)}"
        entry = self.entry(wasm_hash)
        if entry is not None and entry.is_expired(now):
            self._drop(wasm_hash, entry)
            entry = None
        entry = entry or Entry(ENTRY.pack(0, 0, now, 0, 0, 0, 0))
        digest = hashlib.sha256(data).digest()
        if index < entry.chunks:
            stored = entry.chunk_hashes[index]
            return (
                "" if stored == digest else f"chunk {index} is stored with other bytes: its SHA-256 is {stored.hex()}"
            )
        if entry.version and entry.is_kept():
            return f"the release {wasm_hash.hex()} is published and complete: it has {entry.chunks} chunks"
        if entry.retired_at:
            return f"the release {wasm_hash.hex()} was retired, and its code is not taken again"
        if index != entry.chunks:
            return f"chunk {index} is out of order: the next is {entry.chunks}"
        if entry.version and entry.chunk_hashes[index] != digest:
            published = entry.chunk_hashes[index].hex()
            return f"chunk {index} of release {entry.version} has SHA-256 {published}, got {digest.hex()}"
        if index >= MAX_CHUNKS:
            return f"a release has at most {MAX_CHUNKS} chunks"
        if entry.chunks == 0 and not self._make_room(now, in_use):
            return f"{MAX_KEPT} releases and uploads are kept: retire a release first"
        for piece, start in enumerate(range(0, len(data), PIECE_BYTES)):
            self._pieces.insert(piece_key(wasm_hash, index, piece), data[start : start + PIECE_BYTES])
        entry.chunks += 1
        entry.touched_at = now
        if not entry.version:
            entry.bytes += len(data)
            entry.chunk_hashes.append(digest)
        self._releases.insert(wasm_hash, entry.encode())
        return ""

    def publish(self, wasm_hash: bytes, version: int, notes: str, now: int) -> str:
        """Makes a complete upload the current release and returns "", or says what is wrong.

        An upload whose bytes do not have the hash they were announced with is dropped.
        """
        entry = self.entry(wasm_hash)
        if entry is None or entry.is_expired(now):
            return f"nothing was uploaded for {wasm_hash.hex()[:64]}: call upload_release_chunk first"
        if len(notes.encode()) > MAX_NOTES_BYTES:
            return f"notes must be at most {MAX_NOTES_BYTES} bytes, got {len(notes.encode())}"
        if entry.version:
            return "" if entry.version == version else f"{wasm_hash.hex()} is published as version {entry.version}"
        newest = max(self._by_version(), default=0)
        if not newest < version <= MAX_VERSION:
            return f"version must be above the newest release's {newest} and at most {MAX_VERSION}, got {version}"
        if len(self._by_version()) >= MAX_RELEASES:
            return f"at most {MAX_RELEASES} releases are published in a factory's life"
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
        self._versions = None
        return ""

    def retire(self, version: int, now: int, in_use: bytes = b"") -> str:
        """Takes a release out of service and drops its code, or says why not; its record stays."""
        found = self.with_version(version)
        if found is None:
            return f"there is no release {version}"
        wasm_hash, entry = found
        if wasm_hash == self._settings.get(CURRENT_KEY):
            return f"release {version} is what new zones get: publish another one first"
        if wasm_hash == in_use:
            return f"release {version} is being rolled out: abort the rollout first"
        if not entry.retired_at:
            entry.retired_at = now
            self._drop(wasm_hash, entry)
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

    def _make_room(self, now: int, in_use: bytes) -> bool:
        """Drops the oldest upload or former release when another one comes; what expired goes before."""
        kept: list[tuple[int, bytes, Entry]] = []
        for wasm_hash, stored in self._releases.items():
            entry = Entry(stored)
            if entry.is_expired(now):
                self._drop(wasm_hash, entry)
            elif entry.chunks:
                kept.append((entry.touched_at, wasm_hash, entry))
        if len(kept) < MAX_KEPT:
            return True
        stays = (self._settings.get(CURRENT_KEY), in_use)
        candidates = [found for found in kept if found[1] not in stays]
        if not candidates:
            return False
        _, wasm_hash, entry = min(candidates, key=lambda candidate: candidate[0])
        self._drop(wasm_hash, entry)
        return True

    def _drop(self, wasm_hash: bytes, entry: Entry) -> None:
        """Removes the code, and the record of what was never published."""
        for index in range(entry.chunks):
            for piece in range(CHUNK_BYTES // PIECE_BYTES):
                self._pieces.remove(piece_key(wasm_hash, index, piece))
        if entry.version:
            entry.chunks = 0
            if entry.retired_at:
                entry.chunk_hashes = []
            self._releases.insert(wasm_hash, entry.encode())
        else:
            self._releases.remove(wasm_hash)

    def _by_version(self) -> dict[int, bytes]:
        """Hashes of all published releases by version; made of the map when it is asked for."""
        if self._versions is None:
            entries = [(Entry(stored).version, wasm_hash) for wasm_hash, stored in self._releases.items()]
            self._versions = {version: wasm_hash for version, wasm_hash in entries if version}
        return self._versions


def piece_key(wasm_hash: bytes, index: int, piece: int) -> bytes:
    """The pieces key of one piece of a chunk."""
    return wasm_hash + index.to_bytes(4, "big") + piece.to_bytes(2, "big")
