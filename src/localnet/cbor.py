"""Decodes CBOR that comes from anybody, into plain dicts, lists, bytes, text and numbers.

Narrower than `cbor2`, which writes ours: no tags but the self-describing one (others build cyclic lists, patterns
and huge numbers), bounded depth and number of items, nothing behind the value.
"""

from __future__ import annotations

import struct
from typing import Any

MAX_DEPTH = 200
MAX_ITEMS = 200_000
"""Items in one value: a read_state request has up to 1 000 paths of up to 127 labels."""
SELF_DESCRIBED = 55799
_BREAK = object()
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_INDEFINITE = -1


class CborError(ValueError):
    """The bytes are no CBOR value of the accepted kind; says why."""


def decode(data: bytes) -> Any:
    """The value in the bytes. Raises `CborError`."""
    decoder = _Decoder(data)
    value = decoder.item(0)
    if value is _BREAK:
        raise CborError("a break code outside of an item of indefinite length")
    if decoder.at != len(data):
        raise CborError(f"{len(data) - decoder.at} bytes behind the value")
    return value


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        self._left = MAX_ITEMS

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise CborError(f"{end - len(self._data)} bytes are missing at the end")
        taken, self.at = self._data[self.at : end], end
        return taken

    def item(self, depth: int) -> Any:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise CborError(f"more than {MAX_DEPTH} levels or {MAX_ITEMS} items")
        head = self._take(1)[0]
        major, low = head >> 5, head & 31
        if major == 7:
            return self._simple(low)
        size = self._size(major, low)
        if major == 0:
            return size
        if major == 1:
            return -1 - size
        if major in (2, 3):
            return self._string(major, size, depth)
        if major == 4:
            return self._items(size, depth)
        if major == 5:
            return self._map(size, depth)
        if size != SELF_DESCRIBED:
            raise CborError(f"tag {size} is not accepted")
        return self._value(depth)

    def _size(self, major: int, low: int) -> int:
        if low < 24:
            return low
        if low < 28:
            return int.from_bytes(self._take(1 << (low - 24)), "big")
        if low == 31 and 2 <= major <= 5:
            return _INDEFINITE
        raise CborError(f"additional information {low} of major type {major}")

    def _simple(self, low: int) -> Any:
        if low in _SIMPLE:
            return _SIMPLE[low]
        if low in _FLOATS:
            return struct.unpack(_FLOATS[low], self._take(1 << (low - 24)))[0]
        if low == 31:
            return _BREAK
        raise CborError(f"simple value {low} is not accepted")

    def _value(self, depth: int) -> Any:
        value = self.item(depth + 1)
        if value is _BREAK:
            raise CborError("a break code where a value must be")
        return value

    def _string(self, major: int, size: int, depth: int) -> bytes | str:
        if size == _INDEFINITE:
            parts = self._items(size, depth)
            kind = bytes if major == 2 else str
            if not all(isinstance(part, kind) for part in parts):
                raise CborError("a string of indefinite length with parts of another kind")
            return kind().join(parts)
        data = self._take(size)
        if major == 2:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise CborError(f"text that is no UTF-8: {error}") from error

    def _items(self, size: int, depth: int) -> list[Any]:
        if size != _INDEFINITE:
            return [self._value(depth) for _ in range(size)]
        items = []
        while (value := self.item(depth + 1)) is not _BREAK:
            items.append(value)
        return items

    def _map(self, size: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        while size != 0:
            key = self.item(depth + 1)
            if key is _BREAK and size == _INDEFINITE:
                break
            if not isinstance(key, (str, bytes, int)) or key in found:
                raise CborError("a map with a key that is repeated or no text, byte string or number")
            found[key] = self._value(depth)
            size -= size > 0
        return found
