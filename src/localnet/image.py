"""Turns the objects of a network into plain data for CBOR, and back, so that no field is ever lost unnoticed.

Every dataclass and enum of localnet is known by itself; whatever else turns up is refused at once. It neither
reads nor writes files: see `pages` and `checkpoint`.

Plain data is None, booleans, whole numbers, text, short bytes, and lists that start with what they are:

| list | stands for |
|---|---|
| `["l" / "t" / "q" / "s" / "z", item, …]` | list, tuple, deque, set, frozenset |
| `["d", key, value, …]` | dict, in its order |
| `["b", bytes]`, `["f", 8 bytes]` | bytearray; floating-point number, bit by bit |
| `["e", class, value]` | member of an enum |
| `[number, field, …]` | object of the dataclass with that number in `Encoder.classes` |
| `["m", size, digests]` | many bytes, in pages of `PAGE_BYTES` known by their SHA-256 (or `NO_DIGEST`) |
| `[tag, …]` | what a codec given to encoder and decoder makes of its own classes |
"""

from __future__ import annotations

import importlib
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any, Protocol

PAGE_BYTES = 65536
BLOB_BYTES = 4096
DIGEST_BYTES = 32
ZEROS = bytes(PAGE_BYTES)
NO_DIGEST = bytes(DIGEST_BYTES)
"""Stands for a page of zeros, which is stored nowhere."""
TRANSIENT = {"transient": True}
"""Metadata of a dataclass field that is not saved: its default value is right after loading."""

_PACKAGE = __package__ or "localnet"


class StateError(Exception):
    """Saved state cannot be written or read; the text says why and what to do."""


class PageStore(Protocol):
    """Where the pages of large values go, and come from."""

    def put(self, page: memoryview) -> bytes:
        """Keep a page; returns its digest."""
        ...

    def get(self, digest: bytes) -> bytes:
        """A page that was kept. Raises `StateError`."""
        ...


def _saved_fields(kind: type[Any]) -> list[Field[Any]]:
    found = []
    for item in fields(kind):
        if not item.metadata.get("transient"):
            found.append(item)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise StateError(f"{kind.__name__}.{item.name} is transient and has no default value")
    return found


def _name(kind: type[Any]) -> str:
    package, _, module = kind.__module__.rpartition(".")
    if package != _PACKAGE:
        raise StateError(f"{kind.__module__}.{kind.__qualname__} is no part of a network's state that can be saved")
    return f"{module}.{kind.__qualname__}"


Blobs = dict[int, tuple[bytes, list[Any]]]
"""Large bytes and their plain data, by ``id`` of the bytes (which live as long as they are listed here)."""


class Encoder:
    """Makes plain data; ``classes`` are the dataclasses met so far, with the names of their fields.

    ``known`` are the ``blobs`` of the encoder before, whose pages were kept: they needn't be looked at again.
    """

    def __init__(
        self,
        pages: PageStore,
        codecs: Mapping[type[Any], Callable[[Encoder, Any], list[Any]]],
        known: Blobs | None = None,
    ) -> None:
        self.pages = pages
        self.classes: dict[str, list[str]] = {}
        self.blobs: Blobs = {}
        self._known = known or {}
        self._codecs = codecs
        self._numbers: dict[type[Any], tuple[int, list[str]]] = {}

    def encode(self, value: Any) -> Any:
        """Plain data for a value. Raises `StateError` naming a class that can't be saved."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is bytes:
            return value if len(value) < BLOB_BYTES else self._blob(value)
        if kind in _SEQUENCES:
            return [_SEQUENCES[kind], *map(self.encode, value)]
        if kind in _SETS:
            return [_SETS[kind], *sorted(map(self.encode, value))]
        if kind is dict:
            return ["d", *(self.encode(part) for pair in value.items() for part in pair)]
        if kind is bytearray:
            return ["b", self.encode(bytes(value))]
        if kind is float:
            return ["f", struct.pack("<d", value)]
        codec = self._codecs.get(kind)
        if codec is not None:
            return codec(self, value)
        if isinstance(value, Enum):
            return ["e", _name(kind), value.value]
        if is_dataclass(value):
            number, names = self._class(kind)
            return [number, *(self.encode(getattr(value, name)) for name in names)]
        raise StateError(f"a {kind.__module__}.{kind.__qualname__} cannot be saved")

    def _class(self, kind: type[Any]) -> tuple[int, list[str]]:
        known = self._numbers.get(kind)
        if known is None:
            names = [item.name for item in _saved_fields(kind)]
            known = self._numbers[kind] = len(self.classes), names
            self.classes[_name(kind)] = names
        return known

    def _blob(self, value: bytes) -> list[Any]:
        kept = self.blobs.get(id(value)) or self._known.get(id(value)) or (value, self.memory(memoryview(value)))
        self.blobs[id(value)] = kept
        return kept[1]

    def memory(self, content: memoryview) -> list[Any]:
        """Plain data for many bytes: their pages go to the page store."""
        digests = []
        for at in range(0, len(content), PAGE_BYTES):
            page = content[at : at + PAGE_BYTES]
            digests.append(NO_DIGEST if page == ZEROS[: len(page)] else self.pages.put(page))
        return ["m", len(content), b"".join(digests)]


_SEQUENCES = {list: "l", tuple: "t", deque: "q"}
_SETS = {set: "s", frozenset: "z"}


class Decoder:
    """Makes objects of plain data; ``classes`` is what the encoder had at its end.

    Raises `StateError` at once when a class has other fields now than it had then.
    """

    def __init__(
        self,
        pages: PageStore,
        classes: Mapping[str, list[str]],
        codecs: Mapping[str, Callable[[Decoder, list[Any]], Any]],
    ) -> None:
        self.pages = pages
        self._codecs = codecs
        self._classes = [(self._find(name), names) for name, names in classes.items()]
        for kind, names in self._classes:
            now = [item.name for item in _saved_fields(kind)]
            if now != names:
                raise StateError(f"{kind.__name__} was saved with the fields {names}, but this localnet has {now}")

    @staticmethod
    def _find(name: str) -> type[Any]:
        module, _, qualified = name.partition(".")
        try:
            found = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), qualified)
        except (ImportError, AttributeError) as error:
            raise StateError(f"it holds a {name}, which this localnet does not know") from error
        if not isinstance(found, type) or not (is_dataclass(found) or issubclass(found, Enum)):
            raise StateError(f"it holds a {name}, which is no class of a state")
        return found

    def decode(self, value: Any) -> Any:
        """The value plain data stands for. Raises `StateError`."""
        if not isinstance(value, list):
            return value
        tag, *rest = value
        if isinstance(tag, int):
            kind, names = self._classes[tag]
            return kind(**{name: self.decode(item) for name, item in zip(names, rest, strict=True)})
        make = _MAKERS.get(tag)
        if make is not None:
            return make(map(self.decode, rest))
        if tag == "d":
            items = [self.decode(item) for item in rest]
            return dict(zip(items[::2], items[1::2], strict=True))
        if tag == "m":
            return b"".join(page for _, page in self.pieces(value))
        if tag == "b":
            return bytearray(self.decode(rest[0]))
        if tag == "f":
            return struct.unpack("<d", rest[0])[0]
        if tag == "e":
            return self._find(rest[0])(rest[1])
        if tag in self._codecs:
            return self._codecs[tag](self, rest)
        raise StateError(f"it holds {tag!r}, which this localnet does not know")

    def pieces(self, value: list[Any]) -> Iterator[tuple[int, bytes]]:
        """Offsets and content of the pages of an ``["m", …]``."""
        _, size, digests = value
        for index in range(-(-size // PAGE_BYTES)):
            at = index * PAGE_BYTES
            digest = digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
            yield at, ZEROS[: size - at] if digest == NO_DIGEST else self.pages.get(digest)


_MAKERS: dict[str, Callable[[Iterator[Any]], Any]] = {"l": list, "t": tuple, "q": deque, "s": set, "z": frozenset}
