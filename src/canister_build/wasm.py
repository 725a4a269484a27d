"""Edits the outside of a Wasm binary: its exports and custom sections.

Not for code: functions, data and imports are passed through as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

_HEADER = b"\0asm\x01\0\0\0"
_CUSTOM, _EXPORT = 0, 7
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"


class WasmError(Exception):
    """Bytes that are no Wasm module."""


def sections(wasm: bytes) -> Iterator[tuple[int, bytes]]:
    """(id, content) of every section; raises `WasmError` for anything but a Wasm 1 module."""
    if wasm[:8] != _HEADER:
        raise WasmError(f"not a Wasm module: it begins with {wasm[:8].hex()}, expected {_HEADER.hex()}")
    at = len(_HEADER)
    while at < len(wasm):
        kind = wasm[at]
        size, start = read_leb(wasm, at + 1)
        if start + size > len(wasm):
            raise WasmError(f"section {kind} at byte {at} is cut off")
        yield kind, wasm[start : start + size]
        at = start + size


def edit(
    wasm: bytes,
    *,
    keep_export: Callable[[str], bool] = lambda _: True,
    keep_custom: Callable[[str], bool] = lambda _: True,
    custom: dict[str, bytes] | None = None,
) -> bytes:
    """The module with only the exports and custom sections that are to be kept, and `custom` ones added."""
    parts = [_HEADER]
    for kind, content in sections(wasm):
        if kind == _CUSTOM and not keep_custom(_text(content, 0)[0]):
            continue
        parts.append(_section(kind, _exports(content, keep_export) if kind == _EXPORT else content))
    for name, data in (custom or {}).items():
        parts.append(_section(_CUSTOM, _named(name) + data))
    return b"".join(parts)


def exports(wasm: bytes) -> list[str]:
    """The names a module exports, in order."""
    content = next((c for kind, c in sections(wasm) if kind == _EXPORT), b"\0")
    return [name for name, _ in _entries(content)]


def custom_sections(wasm: bytes) -> dict[str, bytes]:
    """A module's custom sections by name."""
    found: dict[str, bytes] = {}
    for kind, content in sections(wasm):
        if kind == _CUSTOM:
            name, start = _text(content, 0)
            found[name] = content[start:]
    return found


def compress(data: bytes) -> bytes:
    """`data` as a gzip file that depends on nothing else: no time, no name, no operating system."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    return _GZIP_HEADER + body + zlib.crc32(data).to_bytes(4, "little") + (len(data) % 2**32).to_bytes(4, "little")


def read_leb(data: bytes, at: int) -> tuple[int, int]:
    """(unsigned number, position after it) of the LEB128 at `at`; raises `WasmError` where the bytes end first."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    raise WasmError("a number is cut off")


def write_leb(value: int) -> bytes:
    """An unsigned number as LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _text(data: bytes, at: int) -> tuple[str, int]:
    size, start = read_leb(data, at)
    return data[start : start + size].decode(), start + size


def _named(name: str) -> bytes:
    return write_leb(len(name.encode())) + name.encode()


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + write_leb(len(content)) + content


def _entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, encoded entry) of every export."""
    count, at = read_leb(content, 0)
    for _ in range(count):
        begin = at
        name, at = _text(content, at)
        _, at = read_leb(content, at + 1)
        yield name, content[begin:at]


def _exports(content: bytes, keep: Callable[[str], bool]) -> bytes:
    kept = [entry for name, entry in _entries(content) if keep(name)]
    return write_leb(len(kept)) + b"".join(kept)
