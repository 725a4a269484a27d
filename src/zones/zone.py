"""Client of one zone canister: messages, roles, figures. Methods of the wire contract, typed.

Not for encryption or batching (`zones.messages`); results come back as the canister gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from zones.agent import Agent
from zones.calls import Method, ok_or_raise

ADMIN_ROLE = 400
"""Least role of a zone's admin; any role above 0 is a member's."""
MEMBER_ROLE = 200
"""Role that the command line gives a new member on a local network."""

_PAIR = c.Type("record", fields=((0, "key_id", c.BLOB), (1, "ciphertext", c.BLOB)))
_MESSAGE = c.record(
    id=c.NAT32,
    timestamp=c.NAT32,
    key_id=c.BLOB,
    next_msg_id=c.NAT32,
    prev_msg_id=c.NAT32,
    hash=c.BLOB,
    ciphertext=c.BLOB,
)
_IDS = c.variant(ok=c.vec(c.NAT32), err=c.TEXT)
_ADD_MESSAGES = Method("add_messages", [c.vec(_PAIR)], [_IDS])
_BY_RANGE = Method("get_messages_by_range", [c.NAT32, c.NAT32], [c.vec(_MESSAGE)], query=True)
_BY_KEY = Method("get_messages_by_range_for_key", [c.BLOB, c.NAT32, c.NAT32], [c.vec(_MESSAGE)], query=True)
_MIN_OF_KEY = Method("get_min_message_id_by_key", [c.BLOB], [c.opt(c.NAT32)], query=True)
_MIN_ID = Method("get_min_message_id", [], [c.NAT32], query=True)
_MAX_ID = Method("get_max_message_id", [], [c.NAT32], query=True)
_COUNT = Method("get_message_count", [], [c.NAT], query=True)
_USAGE = Method("get_message_usage", [], [c.NAT64], query=True)
_UPDATE_ROLE = Method("update_role", [c.BLOB], [c.NAT])
_GET_ROLE = Method("get_role", [c.PRINCIPAL], [c.NAT], query=True)
_ZONE_ID = Method("get_zone_id", [], [c.TEXT], query=True)
_VERSION = Method("get_version", [], [c.NAT], query=True)
_CYCLES = Method("get_cycles_balance", [], [c.NAT], query=True)
_PAGES = Method("get_stable_storage_size", [], [c.NAT], query=True)


@dataclass(frozen=True)
class Message:
    """A stored message: `timestamp` in seconds since 1970, `key_id` 41 bytes, `ciphertext` as it was sent."""

    id: int
    timestamp: int
    key_id: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class Zone:
    """A zone canister seen through an agent; `canister` is its principal."""

    agent: Agent
    canister: bytes

    def add_messages(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """Store (key_id, ciphertext) pairs; returns their ids in order. The same pair again has the same id."""
        records = [{"key_id": key_id, "ciphertext": ciphertext} for key_id, ciphertext in pairs]
        return ok_or_raise("add_messages", _ADD_MESSAGES(self.agent, self.canister, records))

    def messages(self, first: int, last: int) -> list[Message]:
        """Return messages with ids from `first` to `last`, oldest first, as many of them as one reply holds."""
        return [_message(record) for record in _BY_RANGE(self.agent, self.canister, first, last)]

    def messages_of_key(self, key_id: bytes, first: int, last: int) -> list[Message]:
        """Return messages of one key between two ids, newest first, as many of them as one reply holds."""
        return [_message(record) for record in _BY_KEY(self.agent, self.canister, key_id, first, last)]

    def first_id_of_key(self, key_id: bytes) -> int | None:
        """Return the first message id of a key, None when it has none."""
        return _MIN_OF_KEY(self.agent, self.canister, key_id)

    def id_range(self) -> tuple[int, int]:
        """Return the smallest and the largest message id; (0, 0) when there is no message."""
        return _MIN_ID(self.agent, self.canister), _MAX_ID(self.agent, self.canister)

    def update_role(self, public_key: bytes) -> int:
        """Make the zone ask its membership contract for the role of a 65-byte public key; returns the role."""
        return _UPDATE_ROLE(self.agent, self.canister, public_key)

    def role(self, principal: bytes) -> int:
        """Return the role the zone has noted for a principal, 0 when it has none."""
        return _GET_ROLE(self.agent, self.canister, principal)

    def zone_id(self) -> str:
        """Return the zone's id, the address of its membership contract."""
        return _ZONE_ID(self.agent, self.canister)

    def cycles(self) -> int:
        """Return the balance in cycles."""
        return _CYCLES(self.agent, self.canister)

    def status(self) -> dict[str, Any]:
        """Return zone id, version, cycles, message figures (count, ids, bytes) and 64 KiB pages of stable memory."""
        first, last = self.id_range()
        return {
            "zone_id": self.zone_id(),
            "version": _VERSION(self.agent, self.canister),
            "cycles": self.cycles(),
            "messages": _COUNT(self.agent, self.canister),
            "first_id": first,
            "last_id": last,
            "message_bytes": _USAGE(self.agent, self.canister),
            "stable_pages": _PAGES(self.agent, self.canister),
        }


def _message(record: dict[str, Any]) -> Message:
    return Message(record["id"], record["timestamp"], record["key_id"], record["ciphertext"])
