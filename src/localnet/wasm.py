"""Reads a canister's Wasm binary section by section and prepares it for compilation.

The preparation adds exports the embedder needs (the heap, function table 0, every mutable global), makes the
start function an export, too, because stable memory is not there yet when an instance is made, and drops custom
sections. It neither validates code (wasmtime does) nor runs it.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field

from localnet.candid import uleb
from localnet.prices import MAX_WASM_BYTES

PASS_VERSION = 2
"""Part of the key of the compiled-module cache: raise it whenever this pass changes its output."""

HEAP_EXPORT = "localnet heap"
TABLE_EXPORT = "localnet table"
GLOBAL_EXPORT = "localnet global "
START_EXPORT = "localnet start"

_MAGIC = b"\x00asm\x01\x00\x00\x00"
_GZIP_MAGIC = b"\x1f\x8b\x08"
_CUSTOM, _IMPORT, _TABLE, _MEMORY, _GLOBAL, _EXPORT, _START = 0, 2, 4, 5, 6, 7, 8
_SECTION_ORDER = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 13: 6, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}


class InvalidWasm(ValueError):
    """The bytes aren't a Wasm module a canister can run; the text says why."""


@dataclass
class Prepared:
    """A module ready to compile, with what the binary told about itself."""

    wasm: bytes
    globals: list[str] = field(default_factory=list)
    """Export names of the mutable globals."""
    metadata: dict[str, tuple[bool, bytes]] = field(default_factory=dict)
    """Custom sections ``icp:public NAME`` and ``icp:private NAME``: name to (public, content)."""
    has_memory: bool = False
    has_table: bool = False


class _Reader:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise InvalidWasm("unexpected end of the module")
        piece = self.data[self.at : self.at + size]
        self.at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def uleb(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise InvalidWasm("number of more than 64 bits")

    def name(self) -> str:
        try:
            return self.take(self.uleb()).decode()
        except UnicodeDecodeError as error:
            raise InvalidWasm("a name is not UTF-8") from error

    def limits(self) -> int:
        flags = self.byte()
        self.uleb()
        if flags & 1:
            self.uleb()
        return flags

    def constant_expression(self) -> None:
        while True:
            opcode = self.byte()
            if opcode == 0x0B:
                return
            if opcode in (0x41, 0x42, 0x23, 0xD2, 0xD0):
                while self.byte() & 0x80:
                    pass
            elif opcode == 0x43:
                self.take(4)
            elif opcode == 0x44:
                self.take(8)
            elif opcode == 0xFD:
                self.uleb()
                self.take(16)
            elif opcode not in (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E):
                raise InvalidWasm(f"opcode 0x{opcode:02x} in a constant expression")


def decompress(module: bytes) -> bytes:
    """The Wasm bytes of a module that may be gzipped.

    Raises `InvalidWasm` when it is neither, or larger than 100 MiB once unpacked.
    """
    if module.startswith(_GZIP_MAGIC):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            module = unpacker.decompress(module, MAX_WASM_BYTES + 1)
        except (zlib.error, gzip.BadGzipFile) as error:
            raise InvalidWasm(f"the gzip stream is broken: {error}") from error
        if not unpacker.eof and len(module) <= MAX_WASM_BYTES:
            raise InvalidWasm("the gzip stream is cut off")
    if len(module) > MAX_WASM_BYTES:
        raise InvalidWasm(f"more than the {MAX_WASM_BYTES} bytes a module may have")
    if not module.startswith(_MAGIC):
        raise InvalidWasm("it does not start with the Wasm magic number and version 1")
    return module


def _sections(module: bytes) -> list[tuple[int, bytes]]:
    reader = _Reader(module, len(_MAGIC))
    sections = []
    while reader.at < len(module):
        number = reader.byte()
        sections.append((number, reader.take(reader.uleb())))
    return sections


def _count_imports(body: bytes) -> tuple[int, int, int]:
    """Imported tables, memories and globals."""
    reader = _Reader(body)
    counts = [0, 0, 0]
    for _ in range(reader.uleb()):
        reader.name()
        reader.name()
        kind = reader.byte()
        if kind == 0:
            reader.uleb()
        elif kind == 1:
            reader.byte()
            reader.limits()
            counts[0] += 1
        elif kind == 2:
            reader.limits()
            counts[1] += 1
        elif kind == 3:
            reader.take(2)
            counts[2] += 1
        else:
            raise InvalidWasm(f"import of unknown kind {kind}")
    return counts[0], counts[1], counts[2]


def _mutable_globals(body: bytes, first: int) -> list[int]:
    reader = _Reader(body)
    found = []
    for index in range(reader.uleb()):
        reader.byte()
        if reader.byte():
            found.append(first + index)
        reader.constant_expression()
    return found


def _metadata(body: bytes, into: dict[str, tuple[bool, bytes]]) -> None:
    reader = _Reader(body)
    try:
        name = reader.name()
    except InvalidWasm:
        return
    for prefix, public in (("icp:public ", True), ("icp:private ", False)):
        if name.startswith(prefix):
            into[name[len(prefix) :]] = (public, body[reader.at :])


def prepare(module: bytes) -> Prepared:
    """Add the embedder's exports to a decompressed module. Raises `InvalidWasm`."""
    prepared = Prepared(wasm=b"")
    out: list[tuple[int, bytes]] = []
    imported = (0, 0, 0)
    added: list[bytes] = []
    exports = b"\x00"
    for number, body in _sections(module):
        if number == _CUSTOM:
            _metadata(body, prepared.metadata)
            continue
        if number not in _SECTION_ORDER:
            raise InvalidWasm(f"unknown section {number}")
        if number == _IMPORT:
            imported = _count_imports(body)
        elif number == _TABLE and _Reader(body).uleb():
            prepared.has_table = True
        elif number == _MEMORY and _Reader(body).uleb():
            prepared.has_memory = True
            if body[1] & 4:
                raise InvalidWasm("its memory is 64-bit, which this network does not run")
        elif number == _GLOBAL:
            for index in _mutable_globals(body, imported[2]):
                name = f"{GLOBAL_EXPORT}{index}"
                prepared.globals.append(name)
                added.append(uleb(len(name)) + name.encode() + b"\x03" + uleb(index))
        elif number == _EXPORT:
            exports = body
            continue
        elif number == _START:
            added.append(uleb(len(START_EXPORT)) + START_EXPORT.encode() + b"\x00" + body)
            continue
        out.append((number, body))
    if imported != (0, 0, 0):
        raise InvalidWasm("it imports a table, memory or global, which no canister can be given")
    if prepared.has_table:
        added.append(uleb(len(TABLE_EXPORT)) + TABLE_EXPORT.encode() + b"\x01\x00")
    if prepared.has_memory:
        added.append(uleb(len(HEAP_EXPORT)) + HEAP_EXPORT.encode() + b"\x02\x00")
    reader = _Reader(exports)
    count = reader.uleb() + len(added)
    body = uleb(count) + exports[reader.at :] + b"".join(added)
    place = next((i for i, (n, _) in enumerate(out) if _SECTION_ORDER[n] > _SECTION_ORDER[_EXPORT]), len(out))
    out.insert(place, (_EXPORT, body))
    prepared.wasm = _MAGIC + b"".join(bytes([n]) + uleb(len(b)) + b for n, b in out)
    return prepared
