"""A zone and a factory in memory behind the agent interface, to drive the clients without a network.

Speaks Candid as the canisters do, so that the clients' types are tried too. Not a model of the canisters' rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from localnet import candid as c
from zones.errors import NetworkError, RejectedError

PAIR = c.Type("record", fields=((0, "0", c.BLOB), (1, "1", c.BLOB)))
MESSAGE = c.record(
    id=c.NAT32,
    timestamp=c.NAT32,
    key_id=c.BLOB,
    next_msg_id=c.NAT32,
    prev_msg_id=c.NAT32,
    hash=c.BLOB,
    ciphertext=c.BLOB,
)


class FakeZone:
    """A zone canister that holds at most `reply_messages` messages in a reply."""

    def __init__(self, reply_messages: int = 1_000) -> None:
        self.messages: list[dict[str, Any]] = []
        self.reply_messages = reply_messages
        self.batches: list[int] = []
        self.lose_replies = 0
        """So many of the next replies to add_messages are lost on their way, after the call took effect."""

    def add_messages(self, argument: bytes) -> bytes:
        (pairs,) = c.decode(argument, [c.vec(PAIR)])
        self.batches.append(len(pairs))
        ids = [self._add(pair["0"], pair["1"]) for pair in pairs]
        if self.lose_replies:
            self.lose_replies -= 1
            raise NetworkError("the reply was lost")
        return c.encode([c.variant(ok=c.vec(c.NAT32), err=c.TEXT)], [("ok", ids)])

    def _add(self, key_id: bytes, ciphertext: bytes) -> int:
        digest = hashlib.sha256(ciphertext).digest()
        for message in self.messages:
            if message["hash"] == digest:
                return message["id"]
        number = len(self.messages) + 1
        fields = {"id": number, "timestamp": 1_700_000_000, "next_msg_id": 0, "prev_msg_id": 0}
        self.messages.append({**fields, "key_id": key_id, "hash": digest, "ciphertext": ciphertext})
        return number

    def get_messages_by_range(self, argument: bytes) -> bytes:
        first, last = c.decode(argument, [c.NAT32, c.NAT32])
        assert first > 0
        return c.encode([c.vec(MESSAGE)], [self.messages[first - 1 : last][: self.reply_messages]])

    def get_messages_by_range_for_key(self, argument: bytes) -> bytes:
        key_id, first, last = c.decode(argument, [c.BLOB, c.NAT32, c.NAT32])
        found = [m for m in reversed(self.messages) if m["key_id"] == key_id and first <= m["id"] <= last]
        return c.encode([c.vec(MESSAGE)], [found[: self.reply_messages]])

    def get_min_message_id_by_key(self, argument: bytes) -> bytes:
        (key_id,) = c.decode(argument, [c.BLOB])
        ids = [m["id"] for m in self.messages if m["key_id"] == key_id]
        return c.encode([c.opt(c.NAT32)], [min(ids, default=None)])

    def get_min_message_id(self, _argument: bytes) -> bytes:
        return c.encode([c.NAT32], [1 if self.messages else 0])

    def get_max_message_id(self, _argument: bytes) -> bytes:
        return c.encode([c.NAT32], [len(self.messages)])


class FakeFactory:
    """A factory canister that keeps uploaded releases."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, dict[int, bytes]] = {}
        self.uploads = 0
        self.fail_after = 10**9
        """So many chunks are taken before the network goes away."""

    def upload_release_chunk(self, argument: bytes) -> bytes:
        (chunk,) = c.decode(argument, [c.record(wasm_hash=c.BLOB, index=c.NAT32, data=c.BLOB)])
        if self.uploads == self.fail_after:
            raise NetworkError("the network is away")
        self.uploads += 1
        stored = self.chunks.setdefault(chunk["wasm_hash"], {})
        stored[chunk["index"]] = chunk["data"]
        return c.encode([c.variant(ok=c.NAT32, err=c.TEXT)], [("ok", len(stored))])

    def get_release_upload(self, argument: bytes) -> bytes:
        (digest,) = c.decode(argument, [c.BLOB])
        stored = self.chunks.get(digest)
        upload = None if stored is None else {"chunks": len(stored), "bytes": sum(map(len, stored.values()))}
        return c.encode([c.opt(c.record(chunks=c.NAT32, bytes=c.NAT64))], [upload])

    def publish_release(self, argument: bytes) -> bytes:
        (release,) = c.decode(argument, [c.record(version=c.NAT, wasm_hash=c.BLOB, notes=c.TEXT)])
        stored = self.chunks.get(release["wasm_hash"], {})
        if hashlib.sha256(b"".join(stored[index] for index in sorted(stored))).digest() == release["wasm_hash"]:
            result = ("ok", None)
        else:
            result = ("err", "the chunks have another SHA-256")
        return c.encode([c.variant(ok=c.NULL, err=c.TEXT)], [result])


class FakeAgent:
    """An agent whose calls end in the methods of Python objects."""

    def __init__(self, canisters: dict[bytes, object]) -> None:
        self.canisters = canisters
        self.calls: list[tuple[str, bytes | None]] = []

    def sender(self) -> bytes:
        return b"\x04"

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        return self._call(canister, method, argument)

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        self.calls.append((method, effective))
        return self._call(canister, method, argument)

    def _call(self, canister: bytes, method: str, argument: bytes) -> bytes:
        function: Callable[[bytes], bytes] | None = getattr(self.canisters[canister], method, None)
        if function is None:
            raise RejectedError(f"no method {method}", code=3)
        return function(argument)
