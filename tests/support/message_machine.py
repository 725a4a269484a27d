"""What can happen to a message store, in any order, and what must hold after each step, against a plain model.

The rules and checks are the same for the store on the host and for the canister's Wasm: each has a subclass that says
how things are done there. Not for what only one of them can do.
"""

from __future__ import annotations

import copy
import hashlib
import struct
from collections.abc import Sequence
from typing import Any, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.message_model import LAST, MessageModel
from zone_canister.message_log import INDEX_BYTES, PAGE_RESERVED_BYTES
from zone_canister.message_pages import PAGE_BYTES
from zone_canister.message_state import MIB

KEYS = [bytes([20]) + bytes([number]) * 20 + bytes(20) for number in range(5)]
MOST_CALL_BYTES = 1_800_000

Pairs = list[tuple[bytes, bytes]]

ciphertexts = (
    st.binary(max_size=12)
    | st.sampled_from([b"", b"same", b"again"])
    | st.tuples(st.integers(0, 255), st.sampled_from([200, 5_900, 6_100, 20_000])).map(lambda n: bytes([n[0]]) * n[1])
)
pairs = st.tuples(st.integers(0, len(KEYS) - 1), ciphertexts)


class StoreReads(Protocol):
    """What a client reads: records as dicts, ids 0 and senders None where there is none."""

    count: int
    min_id: int
    max_id: int
    usage: int

    def by_id(self, message_id: int) -> dict[str, Any] | None: ...
    def by_hash(self, digest: bytes) -> dict[str, Any] | None: ...
    def by_range(self, low: int, high: int) -> list[dict[str, Any]]: ...
    def by_range_for_key(self, key_id: bytes, low: int, high: int) -> list[dict[str, Any]]: ...
    def ends_of_key(self, key_id: bytes) -> tuple[int, int]: ...
    def metas(self, low: int, high: int) -> list[dict[str, Any]]: ...
    def sender(self, message_id: int) -> bytes | None: ...
    def since(self, after_id: int, key_id: bytes | None, most: int) -> dict[str, Any]: ...
    def head(self) -> dict[str, Any]: ...
    def digest_page(self, from_id: int) -> list[tuple[int, bytes, bytes]]: ...
    def pending_since(self) -> int | None: ...


class MessageMachine(RuleBasedStateMachine):
    """Rules and invariants; `senders` are the principals that add, `keys` what they add under."""

    senders: Sequence[bytes]
    keys: Sequence[bytes] = KEYS

    def __init__(self) -> None:
        super().__init__()
        self.model = MessageModel()
        self.max_bytes, self.most, self.age = MIB, 0, 0
        self.over_limits = False
        self.saved: list[tuple[Any, dict[str, Any]]] = []

    # What a subclass supplies -------------------------------------------------------------------------

    def time(self) -> int:
        """Now, in seconds."""
        raise NotImplementedError

    def wait(self, seconds: int) -> None:
        """Lets time pass."""
        raise NotImplementedError

    def reads(self) -> StoreReads:
        """The store as it is read now."""
        raise NotImplementedError

    def send(self, batch: Pairs, sender: bytes) -> list[int] | str:
        """Adds pairs: their ids, or why none was stored."""
        raise NotImplementedError

    def change_limits(self, max_bytes: int, most: int, age: int) -> None:
        """Sets all limits."""
        raise NotImplementedError

    def prune_to(self, up_to_id: int) -> None:
        """Removes all messages up to an id."""
        raise NotImplementedError

    def reclaim(self, most_pages: int) -> None:
        """One step of background work, of at most so many pages where that can be chosen."""
        raise NotImplementedError

    def replace_code(self, hint: bool, pages_at_once: int) -> None:
        """An upgrade, with what `pre_upgrade` leaves or without it."""
        raise NotImplementedError

    def snapshot(self) -> Any:
        """What `load` needs to go back to how things are now."""
        raise NotImplementedError

    def load(self, snapshot: Any) -> None:
        """Goes back to a snapshot; the time is not taken back."""
        raise NotImplementedError

    # Rules --------------------------------------------------------------------------------------------

    @rule(batch=st.lists(pairs, max_size=12), copies=st.sampled_from([1, 1, 1, 25]), sender=st.integers(0, 2))
    def add(self, batch: list[tuple[int, bytes]], copies: int, sender: int) -> None:
        """Some messages, new and known ones; in many copies they fill the store."""
        keys = self.keys
        many = [(keys[key % len(keys)], text + bytes([n]) * bool(n)) for n in range(copies) for key, text in batch]
        while sum(len(text) + 50 for _, text in many) > MOST_CALL_BYTES:
            many.pop()
        self.reconcile(may_evict=False)
        before, reads = copy.deepcopy(self.model), self.reads()
        expected = self.model.add(many, self.senders[sender], self.time())
        added = [self.model.messages[number] for number in self.model.messages if number > before.last_id]
        most_bytes = 3 * PAGE_RESERVED_BYTES + sum(most_room(len(message.ciphertext)) for message in added)
        answer = self.send(many, self.senders[sender])
        if isinstance(answer, str):
            assert "the zone's limit is" in answer
            assert most_bytes > self.max_bytes or len(added) > self.most > 0
            self.model = before
            return
        assert answer == expected
        full = reads.usage + most_bytes > self.max_bytes
        crowded = self.most > 0 and len(before.messages) + len(added) > self.most
        self.reconcile(may_evict=self.over_limits or (bool(added) and (full or crowded)))
        self.over_limits = self.over_limits and self.exceeds_limits()

    @rule(
        max_bytes=st.sampled_from([MIB, MIB, 2 * MIB]),
        most=st.sampled_from([0, 3, 40]),
        age=st.sampled_from([0, 5, 50]),
    )
    def set_limits(self, max_bytes: int, most: int, age: int) -> None:
        """Other limits, narrower or wider: the background works off what exceeds them."""
        self.reconcile(may_evict=False)
        self.change_limits(max_bytes, most, age)
        self.max_bytes, self.most, self.age = max_bytes, most, age
        self.reconcile(may_evict=False)
        self.over_limits = self.exceeds_limits()

    @rule(seconds=st.sampled_from([1, 7, 60]))
    def pass_time(self, seconds: int) -> None:
        """Time passes; what has a limit of age expires."""
        self.wait(seconds)
        self.reconcile(may_evict=self.over_limits)

    @rule(count=st.integers(0, 9))
    def prune(self, count: int) -> None:
        """Removes the oldest messages by their ids."""
        self.reconcile(may_evict=False)
        up_to_id = min(self.model.first_id + count, self.model.last_id + 1) - 1
        self.prune_to(up_to_id)
        self.model.forget_below(up_to_id + 1)
        self.reconcile(may_evict=False)

    @rule(pages=st.sampled_from([1, 3, 500]))
    def work(self, pages: int) -> None:
        """The background does a step."""
        self.reclaim(pages)
        self.reconcile(may_evict=self.over_limits)
        self.over_limits = self.over_limits and self.exceeds_limits()
        assert pages < 500 or not self.over_limits

    @rule(hint=st.booleans(), pages_at_once=st.sampled_from([1, 10**6]))
    def upgrade(self, hint: bool, pages_at_once: int) -> None:
        """The code is replaced by the same code."""
        self.replace_code(hint, pages_at_once)
        self.reconcile(may_evict=self.over_limits)

    @precondition(lambda self: len(self.saved) < 3)
    @rule()
    def take_snapshot(self) -> None:
        """Keeps everything as it is now."""
        names = ("model", "max_bytes", "most", "age", "over_limits")
        self.saved.append((self.snapshot(), {name: copy.deepcopy(getattr(self, name)) for name in names}))

    @precondition(lambda self: self.saved)
    @rule(which=st.integers(0, 2))
    def load_snapshot(self, which: int) -> None:
        """Goes back to what was kept: later messages are gone, time has passed."""
        snapshot, state = self.saved[which % len(self.saved)]
        self.load(snapshot)
        for name, value in copy.deepcopy(state).items():
            setattr(self, name, value)
        self.reconcile(may_evict=False)

    def exceeds_limits(self) -> bool:
        """Whether more is stored than the limits allow, which only lowering them may bring about."""
        reads = self.reads()
        stored = reads.max_id + 1 - reads.head()["first_id"]
        return reads.usage > self.max_bytes or 0 < self.most < stored

    def reconcile(self, *, may_evict: bool) -> None:
        """The model learns what the store evicted; the store may evict the oldest alone, and not without a reason."""
        if self.age:
            self.model.forget_before(self.time() - self.age)
        reads = self.reads()
        first_id = reads.max_id + 1 - reads.count
        assert first_id >= self.model.first_id if may_evict else first_id == self.model.first_id
        self.model.forget_below(first_id)

    # Invariants ---------------------------------------------------------------------------------------

    @invariant()
    def every_read_agrees_with_the_model(self) -> None:
        """By id, hash, range and key, from every side; links lead to what the model has next and before."""
        reads, model = self.reads(), self.model
        numbers = list(model.messages)
        assert (reads.count, reads.min_id) == (len(numbers), numbers[0] if numbers else 0)
        assert reads.max_id == model.last_id
        assert reads.by_range(0, LAST) == model.by_range(0, LAST)
        middle = (model.first_id + model.last_id) // 2
        for low, high in ((middle, LAST), (0, middle), (middle, middle), (middle + 1, middle)):
            assert reads.by_range(low, high) == model.by_range(low, high)
        for key in self.keys:
            self._reads_of_a_key_agree(reads, key, middle)
        metas = reads.metas(0, LAST)
        assert [(meta["id"], meta["sender"]) for meta in metas] == [(n, model.messages[n].sender) for n in numbers]
        for number in numbers[:2] + numbers[-2:]:
            assert reads.by_id(number) == model.record(number)
            assert reads.sender(number) == model.messages[number].sender
            digest = model.messages[number].hash
            assert reads.by_hash(digest) == model.record(model.newest_with(digest))
        assert reads.by_id(model.first_id - 1) is None
        assert reads.by_id(model.last_id + 1) is None

    def _reads_of_a_key_agree(self, reads: StoreReads, key: bytes, middle: int) -> None:
        ids = self.model.ids_of(key)
        assert reads.ends_of_key(key) == ((ids[0], ids[-1]) if ids else (0, 0))
        for low, high in ((0, LAST), (middle, LAST), (0, middle)):
            assert reads.by_range_for_key(key, low, high) == self.model.by_range_for_key(key, low, high)
        page = reads.since(middle, key, 2)
        later = [number for number in ids if number > middle]
        assert [message["id"] for message in page["messages"]] == later[:2]
        assert page["complete"] == (len(later) <= 2)

    @invariant()
    def the_chain_leads_to_the_head(self) -> None:
        """The digest chain leads over what a client can read to the head."""
        reads, model = self.reads(), self.model
        first_id, head = model.first_id, reads.head()
        groups = groups_from(reads, first_id)
        assert bool(groups) == bool(model.messages)
        if not groups:
            return
        ends = [start for start, _, _ in groups[1:]] + [model.last_id + 1]
        values = [value for _, value, _ in groups[1:]] + [head["head"]]
        for (start, value, gone), end, next_value in zip(groups, ends, values, strict=True):
            numbers = range(max(start, first_id), end)
            first = model.messages[numbers[0]]
            marks = b"".join(b"\x29" + model.messages[n].key_id + b"\x20" + model.messages[n].hash for n in numbers)
            context = struct.pack("<II", start, first.timestamp) + bytes([len(first.sender)]) + first.sender
            assert hashlib.sha256(value + context + gone + marks).digest() == next_value
        if first_id == head["first_id"]:
            assert groups[0][1] == head["anchor"]

    @invariant()
    def nothing_exceeds_the_limits(self) -> None:
        """Unless they were lowered and the background has not come round to it."""
        assert self.over_limits or not self.exceeds_limits()

    @invariant()
    def usage_is_whole_pages_and_the_index(self) -> None:
        """Usage is what the formula says, as far as it can be seen from outside."""
        reads = self.reads()
        stored = reads.max_id + 1 - reads.head()["first_id"]
        assert (reads.usage - stored * INDEX_BYTES) % PAGE_RESERVED_BYTES == 0


def most_room(size: int) -> float:
    """What a ciphertext of so many bytes takes at most, with what it leaves unused of its and its neighbours' pages.

    One that does not fit a page has pages of its own, and the next message begins another one.
    """
    if size > PAGE_BYTES // 2:
        return (3 + size // PAGE_BYTES) * PAGE_RESERVED_BYTES
    return 2.1 * (size + 200)


def groups_from(reads: StoreReads, first_id: int) -> list[tuple[int, bytes, bytes]]:
    """All groups of the digest chain from the one that holds an id on, as a client pages through them."""
    groups = reads.digest_page(first_id)
    while groups:
        more = reads.digest_page(groups[-1][0])
        if len(more) == 1:
            break
        groups += more[1:]
    return groups
