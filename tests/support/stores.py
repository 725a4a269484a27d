"""The canisters' stores on the host, over stand-ins for their stable maps, and their replies as clients see them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from canister_build import candid as did
from canister_build.candid import types as did_types
from localnet import candid as wire
from tests.support.actor import wire_type
from tests.support.maps import maps_of
from zone_canister import message_wire
from zone_canister.message_reader import Reader
from zone_canister.messages import MessageStore


def message_store(maps: Any = None) -> MessageStore:
    """A message store over the given maps of the zone canister, or an empty one over fresh maps."""
    maps = maps or maps_of("zone_canister")
    return MessageStore(
        maps.settings_map,
        maps.message_states_map,
        maps.message_pages_map,
        maps.message_directory_map,
        maps.message_hints_map,
    )


def add(store: MessageStore, pairs: list[tuple[bytes, bytes]], sender: bytes, now: int) -> list[int]:
    """Adds pairs as the canister does, and returns their ids."""
    assert store.fault(pairs, single=False) == ""
    batch = store.prepare(pairs)
    store.add(batch, sender, now)
    return batch.ids


def decoded(method: str, reply: bytes) -> Any:
    """A reply of the zone canister as its checked-in interface says."""
    return wire.decode(reply, [_result_type(method)])[0]


def encoded(method: str, value: Any) -> bytes:
    """A reply of the zone canister with this value."""
    return wire.encode([_result_type(method)], [value])


def arguments(method: str, argument: bytes) -> list[Any]:
    """The arguments of a call of the zone canister."""
    declared = _interface().methods()[method].args
    return wire.decode(argument, [wire_type(did_types.inline(arg.type, _interface().types)) for arg in declared])


@cache
def _interface() -> did.Interface:
    return did.parse((Path(str(files("zone_canister"))) / "zone_canister.did").read_text())


@cache
def _result_type(method: str) -> wire.Type:
    (result,) = _interface().methods()[method].results
    return wire_type(did_types.inline(result.type, _interface().types))


class Reads:
    """What clients get to see of a store at a time (s)."""

    def __init__(self, store: MessageStore, now: int):
        self._reader = Reader(store, now)
        self._store = store
        self._now = now
        self.count = self._reader.count
        self.min_id = self._reader.min_id
        self.max_id = store.state.last_id
        self.usage = store.usage()

    def by_id(self, message_id: int) -> dict[str, Any] | None:
        """A message, None for none."""
        record = self._reader.message(message_id)
        return decoded("get_message_by_id", message_wire.message(record)) if record else None

    def by_hash(self, digest: bytes) -> dict[str, Any] | None:
        """The newest message with a hash."""
        return decoded("get_message_by_hash", message_wire.optional_message(self._reader.by_hash(digest)))

    def by_range(self, low: int, high: int) -> list[dict[str, Any]]:
        """A page of a range."""
        reply = message_wire.messages(*self._reader.by_range(low, high, 2**32))
        return decoded("get_messages_by_range", reply)

    def by_range_for_key(self, key_id: bytes, low: int, high: int) -> list[dict[str, Any]]:
        """A page of a range of one key."""
        reply = message_wire.messages(*self._reader.by_range_for_key(key_id, low, high))
        return decoded("get_messages_by_range_for_key", reply)

    def ends_of_key(self, key_id: bytes) -> tuple[int, int]:
        """The oldest and the newest id of a key, 0 for none."""
        return self._reader.oldest_of_key(key_id, 1), self._reader.newest_of_key(key_id, 2**32 - 1)

    def metas(self, low: int, high: int) -> list[dict[str, Any]]:
        """A page of what is known of messages without their ciphertexts."""
        return decoded("get_messages_meta_by_range", message_wire.metas(*self._reader.metas(low, high)))

    def sender(self, message_id: int) -> bytes | None:
        """Who sent a message, None for none."""
        return self._reader.sender(message_id)

    def since(self, after_id: int, key_id: bytes | None = None, most: int = 2**32) -> dict[str, Any]:
        """A page of what came after an id."""
        count, records, next_after_id, complete = self._reader.since(after_id, key_id, most)
        ends = self._reader.min_id, self.max_id
        return decoded("get_messages_since", message_wire.since(count, records, next_after_id, complete, *ends))

    def head(self) -> dict[str, Any]:
        """Both ends of the store and of its digest chain."""
        state = self._store.state
        return {"first_id": state.first_id, "anchor": state.anchor, "max_id": state.last_id, "head": state.head}

    def digest_page(self, from_id: int) -> list[tuple[int, bytes, bytes]]:
        """Groups of the digest chain: first id, chain value before it, what is gone of it."""
        return self._reader.digest_page(from_id)

    def pending_since(self) -> int | None:
        """Since when something waits to be evicted."""
        return self._store.state.pending_since or None
