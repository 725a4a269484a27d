"""The log of a state folder: everything that reached a network from outside since its last checkpoint, in order.

Execution is deterministic, so a checkpoint and the log after it are the network's state. What the entries do is not
known here: they are calls of the `Network` methods marked `recorded`.

| offset | size | content of a log file |
|---|---|---|
| 0 | 8 | `LNETLOG` and a zero byte |
| 8 | 4 | format version, little-endian like all numbers here |
| 12 | 8 | number of the checkpoint it follows |
| 20 | | records |

| offset | size | content of a record |
|---|---|---|
| 0 | 4 | length of the CBOR |
| 4 | 4 | CRC-32 of the length |
| 8 | 4 | CRC-32 of the CBOR |
| 12 | | CBOR: `[method, arguments, result]` |
"""

from __future__ import annotations

import functools
import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import cbor2

from localnet.image import StateError

logger = logging.getLogger("localnet")

FORMAT = 1
_MAGIC = b"LNETLOG\0"
_HEADER = struct.Struct("<8sIQ")
_RECORD = struct.Struct("<III")

P = ParamSpec("P")
R = TypeVar("R")


class Recorder(Protocol):
    """Notes what reaches a network, before its effects are told to anybody."""

    failure: str | None
    """Why nothing can be noted any more: then what the network holds must not be told either."""

    def run(self, name: str, arguments: tuple[Any, ...], call: Callable[[], R], refusals: tuple[type, ...]) -> R:
        """Make the call and note it with its result."""
        ...


class Recorded(Protocol):
    """Something whose inputs may be recorded."""

    recorder: Recorder | None


S = TypeVar("S", bound=Recorded)


def recorded(
    *refusals: type[Exception],
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Mark a method as an input from outside. Its arguments are positional; they and its result are plain CBOR.

    Calls that end in one of ``refusals`` have changed nothing, and aren't noted. Recorded methods must not call each
    other, and depend on nothing but their arguments and the state.
    """

    def mark(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @functools.wraps(method)
        def call(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
            if self.recorder is None:
                return method(self, *args, **kwargs)
            if kwargs:
                raise TypeError(f"{method.__name__} is recorded and takes positional arguments only")
            return self.recorder.run(method.__name__, args, lambda: method(self, *args, **kwargs), refusals)

        return call

    return mark


class Log:
    """A log file that is being written. Records reach the operating system at once."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._file).st_size
        if self.size < _HEADER.size:
            os.ftruncate(self._file, 0)
            self._write(_HEADER.pack(_MAGIC, FORMAT, number))
            self.size = _HEADER.size

    @property
    def empty(self) -> bool:
        """True while there are no records."""
        return self.size == _HEADER.size

    def append(self, content: list[Any]) -> None:
        """Append one record. Raises ``OSError``; the log must not be used any more then."""
        body = cbor2.dumps(content)
        record = _RECORD.pack(len(body), _length_checksum(len(body)), zlib.crc32(body)) + body
        self._write(record)
        self.size += len(record)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Make it outlast a failure of power, and close it."""
        os.fsync(self._file)
        os.close(self._file)


def _length_checksum(length: int) -> int:
    return zlib.crc32(length.to_bytes(4, "little"))


def read(path: Path, number: int) -> Iterator[list[Any]]:
    """The records of a log. One that was cut off at the end, as by a kill, is dropped and the file shortened.

    Raises `StateError` for another format, or when a record is damaged that others follow.
    """
    data = path.read_bytes()
    if len(data) < _HEADER.size:
        return
    magic, version, follows = _HEADER.unpack_from(data)
    if magic != _MAGIC or follows != number:
        raise StateError(f"{path} is no log that follows checkpoint {number}")
    if version != FORMAT:
        raise StateError(f"{path} has format {version}, this localnet reads format {FORMAT}")
    at = _HEADER.size
    while at < len(data):
        end = _record_end(data, at)
        if end is None:
            # Zeros at the end are what a file system leaves of a write it lost with the machine's power.
            if any(data[at:]) and not _is_torn(data, at):
                raise StateError(f"{path} is damaged at byte {at} of {len(data)}: a record does not match its checksum")
            logger.warning("%s: the last record, cut off at byte %d, was never acknowledged and is dropped", path, at)
            os.truncate(path, at)
            return
        yield cbor2.loads(data[at + _RECORD.size : end])
        at = end


def _record_end(data: bytes, at: int) -> int | None:
    """Where the record at an offset ends; None when it isn't whole."""
    start = at + _RECORD.size
    if start > len(data):
        return None
    length, length_checksum, checksum = _RECORD.unpack_from(data, at)
    end = start + length
    whole = length_checksum == _length_checksum(length) and end <= len(data)
    return end if whole and zlib.crc32(data[start:end]) == checksum else None


def _is_torn(data: bytes, at: int) -> bool:
    """Whether the broken record at an offset is the last one."""
    if at + _RECORD.size > len(data):
        return True
    length, length_checksum, _ = _RECORD.unpack_from(data, at)
    return length_checksum == _length_checksum(length) and at + _RECORD.size + length >= len(data)
