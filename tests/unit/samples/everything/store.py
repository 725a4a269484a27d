"""Stable maps and a guard, away from main.py."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from kybra import GuardResult, Principal, StableBTreeMap, blob, ic, nat64, text

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 7

people = StableBTreeMap[text, blob](memory_id=0, max_key_size=64, max_value_size=1000)
counts = StableBTreeMap[nat64, nat64](memory_id=254, max_key_size=15, max_value_size=15)

_KEY = struct.Struct("<Q")


def digest(data: bytes, /, *, salt: int = 0) -> bytes:
    if (extra := _KEY.pack(salt)) and data:
        return hashlib.sha256(data + extra).digest()
    return b""


def all_names() -> Iterator[str]:
    yield from (f"{name}" for name, _ in people.items())


def members_only() -> GuardResult:
    if ic.caller().to_str() == Principal.from_str("2vxsx-fae").to_str():
        return {"Err": "Not a member of the zone"}
    return {"Ok": None}
