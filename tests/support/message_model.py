"""What the message store of a zone does, in a dict: the plain model that its tests compare it with.

Slow and obvious. It does not know when the store evicts nor what expires: `forget_below` and `forget_before` tell it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

LAST = 2**32 - 1


@dataclass(frozen=True)
class Stored:
    """A message as it was sent, with the time (s) at which it was stored."""

    key_id: bytes
    ciphertext: bytes
    sender: bytes
    timestamp: int

    @property
    def hash(self) -> bytes:
        """SHA-256 of the ciphertext."""
        return hashlib.sha256(self.ciphertext).digest()


class MessageModel:
    """Messages by id, in the order of their ids."""

    def __init__(self) -> None:
        self.messages: dict[int, Stored] = {}
        self.last_id = 0

    @property
    def first_id(self) -> int:
        """The first id there is, last + 1 when there is none."""
        return next(iter(self.messages), self.last_id + 1)

    def add(self, pairs: list[tuple[bytes, bytes]], sender: bytes, now: int) -> list[int]:
        """Stores what is new of some (key_id, ciphertext) pairs; the ids of all."""
        known = {(message.key_id, message.ciphertext): number for number, message in self.messages.items()}
        ids = []
        for pair in pairs:
            if pair not in known:
                self.last_id += 1
                known[pair] = self.last_id
                self.messages[self.last_id] = Stored(*pair, sender, now)
            ids.append(known[pair])
        return ids

    def forget_below(self, first_id: int) -> None:
        """The store evicted all before an id."""
        self.messages = {number: message for number, message in self.messages.items() if number >= first_id}

    def forget_before(self, time: int) -> None:
        """What is older than a time (s) has expired."""
        while self.messages and self.messages[self.first_id].timestamp < time:
            del self.messages[self.first_id]

    def ids_of(self, key_id: bytes) -> list[int]:
        """The ids of a key, oldest first."""
        return [number for number, message in self.messages.items() if message.key_id == key_id]

    def record(self, message_id: int) -> dict[str, Any]:
        """A message as it leaves."""
        message = self.messages[message_id]
        ids = self.ids_of(message.key_id)
        at = ids.index(message_id)
        return {
            "id": message_id,
            "timestamp": message.timestamp,
            "key_id": message.key_id,
            "next_msg_id": ids[at + 1] if at + 1 < len(ids) else 0,
            "prev_msg_id": ids[at - 1] if at else 0,
            "hash": message.hash,
            "ciphertext": message.ciphertext,
        }

    def by_range(self, low: int, high: int) -> list[dict[str, Any]]:
        """Messages with ids in a range, oldest first."""
        return [self.record(number) for number in self.messages if low <= number <= high]

    def by_range_for_key(self, key_id: bytes, low: int, high: int) -> list[dict[str, Any]]:
        """Messages of a key with ids in a range, newest first."""
        return [self.record(number) for number in reversed(self.ids_of(key_id)) if low <= number <= high]

    def newest_with(self, digest: bytes) -> int:
        """The newest id with a hash, 0 for none."""
        return max([number for number, message in self.messages.items() if message.hash == digest], default=0)
