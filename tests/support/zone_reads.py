"""Reads of a zone canister as `message_machine` asks for them: each is a query of one member."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ic.principal import Principal

from tests.support.actor import Actor
from tests.support.network import CallRejected


class ZoneReads:
    """What a member reads of a zone now; figures are those of the time at which this was made."""

    def __init__(self, zone: Actor, member: Principal):
        self._zone = zone
        self._member = member
        status = self._call("get_aggregate_status_v1")
        self.count = status["message_count"]
        self.min_id = status["message_min_id"]
        self.max_id = status["message_max_id"]
        self.usage = status["message_usage"]

    def _call(self, method: str, *values: Any) -> Any:
        return self._zone.call(method, *values, sender=self._member)

    def by_id(self, message_id: int) -> dict[str, Any] | None:
        """A message, None where the zone says that there is none."""
        try:
            return self._call("get_message_by_id", message_id)
        except CallRejected as rejected:
            if not rejected.message.endswith(f"message not found: {message_id}"):
                raise
            return None

    def by_hash(self, digest: bytes) -> dict[str, Any] | None:
        """The newest message with a hash."""
        return self._call("get_message_by_hash", digest)

    def by_range(self, low: int, high: int) -> list[dict[str, Any]]:
        """A page of a range."""
        return self._call("get_messages_by_range", low, high)

    def by_range_for_key(self, key_id: bytes, low: int, high: int) -> list[dict[str, Any]]:
        """A page of a range of one key."""
        return self._call("get_messages_by_range_for_key", key_id, low, high)

    def ends_of_key(self, key_id: bytes) -> tuple[int, int]:
        """The oldest and the newest id of a key, 0 for none."""
        ends = [self._call(f"get_{end}_message_id_by_key", key_id) for end in ("min", "max")]
        return ends[0] or 0, ends[1] or 0

    def metas(self, low: int, high: int) -> list[dict[str, Any]]:
        """A page of what is known of messages without their ciphertexts."""
        return self._call("get_messages_meta_by_range", low, high)

    def sender(self, message_id: int) -> bytes | None:
        """Who sent a message, None for none."""
        return self._call("get_message_sender", message_id)

    def since(self, after_id: int, key_id: bytes | None, most: int) -> dict[str, Any]:
        """A page of what came after an id."""
        return self._call("get_messages_since", {"after_id": after_id, "key_id": key_id, "limit": most})

    @cached_property
    def _head(self) -> dict[str, Any]:
        return self._call("get_certified_head")

    def head(self) -> dict[str, Any]:
        """Both ends of the store and of its digest chain, with the certificate."""
        return self._head

    def digest_page(self, from_id: int) -> list[tuple[int, bytes, bytes]]:
        """Groups of the digest chain: first id, chain value before it, what is gone of it."""
        return [(entry["first_id"], entry["chain"], entry["gone"]) for entry in self._call("get_digest_page", from_id)]

    def pending_since(self) -> int | None:
        """Since when something waits to be evicted."""
        return self._call("get_eviction_info")["pending_since"]
