"""The packed tables of the message index: what is gone does not pile up."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from tests.support.maps import FakeMap
from zone_canister.message_tables import SHARDS, Table

TAG_BYTES = 6


def table() -> Table:
    hints: Any = FakeMap(11, 8208)
    return Table(1, TAG_BYTES, hints)


def place(found: Table, message_id: int) -> tuple[int, bytes]:
    shard, tag = found.split(hashlib.sha256(b"%d" % message_id).digest())
    return shard, tag


def entries(found: Table) -> int:
    return sum(len(shard or b"") for shard in found.shards) // (TAG_BYTES + 4)


def test_a_small_store_keeps_few_entries_of_messages_that_are_gone():
    found, kept = table(), 100
    for message_id in range(1, 200_000):
        found.first_id = max(1, message_id - kept)
        found.add(*place(found, message_id), message_id)
    assert entries(found) <= SHARDS + kept
    for message_id in range(199_999 - kept, 200_000):
        assert message_id in found.find(*place(found, message_id))


def test_a_shard_that_is_filled_on_purpose_is_swept_at_a_cost_of_few_entries_a_message(monkeypatch):
    found, swept = table(), 0
    sweep = found._sweep

    def counted(shard: bytearray) -> None:
        nonlocal swept
        swept += len(shard) // (TAG_BYTES + 4)
        sweep(shard)

    monkeypatch.setattr(found, "_sweep", counted)
    found.first_id = 2
    for message_id in range(2, 50_000):
        found.add(7, message_id.to_bytes(TAG_BYTES, "big"), message_id)
    assert entries(found) == 49_998
    assert swept <= 2 * 50_000


def test_an_entry_that_is_used_again_and_again_does_not_keep_those_behind_it():
    found, texts = table(), random.Random(1)
    hot, tags = b"always", {}
    found.add(7, hot, 1)
    for message_id in range(2, 5_000):
        found.first_id = max(1, message_id - 3)
        found.put(7, hot, message_id, message_id - 1)
        tags[message_id] = texts.randbytes(TAG_BYTES)
        found.add(7, tags[message_id], message_id)
        assert len(found.shards[7]) // (TAG_BYTES + 4) <= 20
        assert found.find(7, hot) == [message_id]
        for recent in range(max(2, message_id - 3), message_id):
            assert found.find(7, tags[recent]) == [recent]
