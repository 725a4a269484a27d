"""The page files of a state folder: large values in pages, each stored once and never rewritten while it is needed.

A checkpoint adds one file with the pages no file holds yet. A file goes when little of it is needed any more: what
is still needed is copied into the new file first. What the pages mean is `image`'s business.

A page file is pages one after the other; which they are stands in the checkpoint (`PageFiles.index`), as a list of
``[file number, digests, offset, size, offset, size, …]`` with the digests (32 bytes each) joined.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from localnet.image import DIGEST_BYTES, PAGE_BYTES, StateError

MAX_FILES = 32
"""Page files kept before the smallest ones are merged."""
_WASTE = 2
"""A file is given up when it is this many times larger than what is needed of it."""


@dataclass(frozen=True)
class _Place:
    file: int
    offset: int
    size: int


class PageFiles:
    """The pages of one state folder. One checkpoint is written at a time: `begin`, `put`…, `finish`, `commit`."""

    def __init__(self, folder: Path, index: Iterable[Any] = ()) -> None:
        self._folder = folder
        self._places: dict[bytes, _Place] = {}
        self._verified: set[bytes] = set()
        self._new: BinaryIO | None = None
        self._number = 0
        self._size = 0
        self.written = 0
        """Bytes the last checkpoint added."""
        self._readers: dict[int, BinaryIO] = {}
        for number, digests, *numbers in index:
            for at in range(len(digests) // DIGEST_BYTES):
                digest = digests[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]
                self._places[digest] = _Place(number, *numbers[2 * at : 2 * at + 2])

    def path(self, number: int) -> Path:
        """The page file of a checkpoint."""
        return self._folder / f"pages-{number:08}"

    def begin(self, number: int) -> None:
        """Start the page file of the checkpoint with that number."""
        self._new = self.path(number).open("wb")
        self._number = number
        self._size = 0

    def put(self, page: memoryview) -> bytes:
        """Keep a page, unless a file has it already; returns its digest."""
        digest = hashlib.sha256(page).digest()
        if digest not in self._places:
            self._write(digest, page)
        return digest

    def _write(self, digest: bytes, page: memoryview | bytes) -> None:
        assert self._new is not None
        self._new.write(page)
        self._places[digest] = _Place(self._number, self._size, len(page))
        self._size += len(page)

    def get(self, digest: bytes) -> bytes:
        """A page, checked against its digest. Raises `StateError`."""
        place = self._places.get(digest)
        page = b"" if place is None else self._read(place)
        if digest not in self._verified:
            if hashlib.sha256(page).digest() != digest:
                where = "no file" if place is None else f"{self.path(place.file)} at {place.offset}"
                raise StateError(f"a page of memory is missing or damaged ({where})")
            self._verified.add(digest)
        return page

    def _read(self, place: _Place) -> bytes:
        reader = self._readers.get(place.file)
        if reader is None:
            try:
                reader = self._readers[place.file] = self.path(place.file).open("rb")
            except OSError as error:
                raise StateError(f"{self.path(place.file)} cannot be read: {error.strerror}") from error
        return os.pread(reader.fileno(), place.size, place.offset)

    def finish(self, needed: set[bytes]) -> list[Any]:
        """Complete the new file so that the needed pages are in few, well-filled files; returns the index.

        Raises `StateError` when one of them was never kept.
        """
        self._places = {digest: place for digest, place in self._places.items() if digest in needed}
        if len(self._places) != len(needed):
            raise StateError(f"{len(needed) - len(self._places)} pages were never kept")
        live: dict[int, int] = {}
        for place in self._places.values():
            live[place.file] = live.get(place.file, 0) + place.size
        live.pop(self._number, None)
        gone = {number for number, size in live.items() if self.path(number).stat().st_size > _WASTE * size}
        if len(live) - len(gone) >= MAX_FILES:
            gone |= set(sorted(live, key=lambda number: live[number])[: MAX_FILES // 2])
        for digest, place in list(self._places.items()):
            if place.file in gone:
                self._write(digest, self._read(place))
        self.written = self._size
        files: dict[int, tuple[list[bytes], list[int]]] = {}
        for digest, place in self._places.items():
            digests, numbers = files.setdefault(place.file, ([], []))
            digests.append(digest)
            numbers += [place.offset, place.size]
        return [[number, b"".join(digests), *numbers] for number, (digests, numbers) in files.items()]

    def sync(self) -> None:
        """Make the new file outlast a failure of power."""
        assert self._new is not None
        self._new.flush()
        os.fsync(self._new.fileno())
        self._new.close()
        self._new = None

    def abort(self) -> None:
        """Give up the new file: what is in it is not kept."""
        assert self._new is not None
        self._new.close()
        self._new = None
        self.path(self._number).unlink(missing_ok=True)
        self._places = {digest: place for digest, place in self._places.items() if place.file != self._number}

    def drop_unused(self) -> None:
        """Remove the files no page is needed of, and close what was open for reading."""
        used = {place.file for place in self._places.values()}
        self.close()
        for path in self._folder.glob("pages-*"):
            if not any(path == self.path(number) for number in used):
                path.unlink()

    def close(self) -> None:
        """Close what is open for reading."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._verified.clear()


class Digests:
    """A page store that keeps nothing: for the hash of a state."""

    def put(self, page: memoryview) -> bytes:
        """The digest of a page."""
        return hashlib.sha256(page).digest()

    def get(self, digest: bytes) -> bytes:
        """Nothing was kept."""
        raise StateError(f"no page {digest.hex()} of at most {PAGE_BYTES} bytes was kept")
