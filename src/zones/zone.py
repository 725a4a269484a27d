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
_META = c.record(id=c.NAT32, timestamp=c.NAT32, key_id=c.BLOB, hash=c.BLOB, sender=c.PRINCIPAL)
_METAS = Method("get_messages_meta_by_range", [c.NAT32, c.NAT32], [c.vec(_META)], query=True)
_SINCE_ARGS = c.record(after_id=c.NAT32, key_id=c.opt(c.BLOB), limit=c.opt(c.NAT32))
_SINCE_PAGE = c.record(messages=c.vec(_MESSAGE), next_after_id=c.NAT32, complete=c.BOOL, min_id=c.NAT32, max_id=c.NAT32)
_SINCE = Method("get_messages_since", [_SINCE_ARGS], [_SINCE_PAGE], query=True)
_HEAD_RECORD = c.record(first_id=c.NAT32, anchor=c.BLOB, max_id=c.NAT32, head=c.BLOB, certificate=c.opt(c.BLOB))
_HEAD = Method("get_certified_head", [], [_HEAD_RECORD], query=True)
_DIGEST_ENTRY = c.record(first_id=c.NAT32, chain=c.BLOB, gone=c.BLOB)
_DIGEST_PAGE = Method("get_digest_page", [c.NAT32], [c.vec(_DIGEST_ENTRY)], query=True)
_LIMITS = c.record(max_bytes=c.opt(c.NAT64), max_messages=c.opt(c.NAT32), max_age_seconds=c.opt(c.NAT32))
_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_SET_LIMITS = Method("set_message_limits", [_LIMITS], [_ACK])
_GET_LIMITS = Method("get_message_limits", [], [_LIMITS], query=True)
_EVICTION_RECORD = c.record(
    messages_evicted=c.NAT64,
    bytes_evicted=c.NAT64,
    first_id=c.NAT32,
    pending_bytes=c.NAT64,
    pending_since=c.opt(c.NAT64),
)
_EVICTION = Method("get_eviction_info", [], [_EVICTION_RECORD], query=True)
_PRUNE = Method("prune_messages", [c.NAT32], [c.variant(ok=c.NAT, err=c.TEXT)])
_QUOTA = c.record(max_messages=c.opt(c.NAT32), max_bytes=c.opt(c.NAT64))
_SET_QUOTA = Method("set_member_quota", [_QUOTA], [_ACK])
_GET_QUOTA = Method("get_member_quota", [], [_QUOTA], query=True)
_MY_USE = Method("get_my_quota_use", [], [c.record(messages=c.NAT32, bytes=c.NAT64)], query=True)
_MY_ROLE = Method("my_role", [], [c.NAT], query=True)
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


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a stored message without its ciphertext: `hash` is its SHA-256, `sender` a principal."""

    id: int
    timestamp: int
    key_id: bytes
    hash: bytes
    sender: bytes


@dataclass(frozen=True)
class Head:
    """Where the messages begin and end, the digest chain's values there, and the certificate over all of it."""

    first_id: int
    anchor: bytes
    max_id: int
    head: bytes
    certificate: bytes | None


@dataclass(frozen=True)
class DigestEntry:
    """A group of messages in the digest chain: its first id, the chain's value before it.

    `gone` is what the chain took in of the group's first messages, as far as they are not stored any more.
    """

    first_id: int
    chain: bytes
    gone: bytes


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

    def messages_since(self, after_id: int, key_id: bytes | None, limit: int) -> list[Message]:
        """Return messages after an id, of one key or all, oldest first: at most `limit`, as many as one reply holds."""
        page = _SINCE(self.agent, self.canister, {"after_id": after_id, "key_id": key_id, "limit": limit})
        return [_message(record) for record in page["messages"]]

    def metas(self, first: int, last: int) -> list[Meta]:
        """Return messages with ids from `first` to `last` without ciphertexts, as many of them as one reply holds."""
        return [Meta(**record) for record in _METAS(self.agent, self.canister, first, last)]

    def certified_head(self) -> Head:
        """Return the head of the digest chain and its certificate, which proves nothing before it was checked."""
        return Head(**_HEAD(self.agent, self.canister))

    def digest_page(self, from_id: int) -> list[DigestEntry]:
        """Return the groups of the digest chain from the one that holds an id on, as many as one reply has."""
        return [DigestEntry(**record) for record in _DIGEST_PAGE(self.agent, self.canister, from_id)]

    def first_id_of_key(self, key_id: bytes) -> int | None:
        """Return the first message id of a key, None when it has none."""
        return _MIN_OF_KEY(self.agent, self.canister, key_id)

    def id_range(self) -> tuple[int, int]:
        """Return the smallest and the largest message id; (0, 0) when there is no message."""
        return _MIN_ID(self.agent, self.canister), _MAX_ID(self.agent, self.canister)

    def limits(self) -> dict[str, int | None]:
        """Return `max_bytes`, `max_messages` and `max_age_seconds` of the message store, None for no limit."""
        return _GET_LIMITS(self.agent, self.canister)

    def set_limits(
        self, *, max_bytes: int | None = None, max_messages: int | None = None, max_age_seconds: int | None = None
    ) -> None:
        """Set the limits that are given; 0 lifts one, but for `max_bytes`. For admins."""
        limits = {"max_bytes": max_bytes, "max_messages": max_messages, "max_age_seconds": max_age_seconds}
        ok_or_raise("set_message_limits", _SET_LIMITS(self.agent, self.canister, limits))

    def eviction(self) -> dict[str, int | None]:
        """Return `messages_evicted` and `bytes_evicted` ever, `first_id` kept, `pending_bytes`, `pending_since` (s)."""
        return _EVICTION(self.agent, self.canister)

    def prune(self, up_to_id: int) -> int:
        """Remove all messages up to an id; returns how many that were. For admins."""
        return ok_or_raise("prune_messages", _PRUNE(self.agent, self.canister, up_to_id))

    def quota(self) -> dict[str, int]:
        """Return `max_messages` and `max_bytes` that one member may add in any 24 hours."""
        return _GET_QUOTA(self.agent, self.canister)

    def set_quota(self, *, max_messages: int | None = None, max_bytes: int | None = None) -> None:
        """Set what one member may add in any 24 hours, as far as it is given. For admins."""
        quota = {"max_messages": max_messages, "max_bytes": max_bytes}
        ok_or_raise("set_member_quota", _SET_QUOTA(self.agent, self.canister, quota))

    def my_quota_use(self) -> dict[str, int]:
        """Return `messages` and `bytes` that the caller has added within his quota's window."""
        return _MY_USE(self.agent, self.canister)

    def message_bytes(self) -> int:
        """Return the bytes that messages and their index take, which `max_bytes` limits."""
        return _USAGE(self.agent, self.canister)

    def my_role(self) -> int:
        """Return the caller's role, 0 when he has none."""
        return _MY_ROLE(self.agent, self.canister)

    def update_role(self, public_key: bytes) -> int:
        """Make the zone ask its membership contract for the role of a 65-byte public key; returns the role."""
        return _UPDATE_ROLE(self.agent, self.canister, public_key)

    def role(self, principal: bytes) -> int:
        """Return the role the zone has noted for a principal, 0 when it has none."""
        return _GET_ROLE(self.agent, self.canister, principal)

    def zone_id(self) -> str:
        """Return the zone's id, the address of its membership contract."""
        return _ZONE_ID(self.agent, self.canister)

    def version(self) -> int:
        """Return the version of the canister's code."""
        return _VERSION(self.agent, self.canister)

    def cycles(self) -> int:
        """Return the balance in cycles."""
        return _CYCLES(self.agent, self.canister)

    def status(self) -> dict[str, Any]:
        """Return zone id, version, cycles, message figures (count, ids, bytes) and 64 KiB pages of stable memory."""
        first, last = self.id_range()
        return {
            "zone_id": self.zone_id(),
            "version": self.version(),
            "cycles": self.cycles(),
            "messages": _COUNT(self.agent, self.canister),
            "first_id": first,
            "last_id": last,
            "message_bytes": self.message_bytes(),
            "stable_pages": _PAGES(self.agent, self.canister),
        }


def _message(record: dict[str, Any]) -> Message:
    return Message(record["id"], record["timestamp"], record["key_id"], record["ciphertext"])
