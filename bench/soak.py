"""A million messages through one zone at its limit, with upgrades in between: `make soak`.

Batches of all sizes, some of them sent again, flow into a store that is full after a seventh of them; half of the
upgrades leave no index behind. Beside it runs a model in plain Python, and after each stretch the whole store is read
and compared with it: ids, keys, hashes, links, counts, usage, and the digest chain from the certified anchor to the
certified head. The first difference ends the run. It takes minutes, shows how far it is, and keeps its figures in
`bench/results/soak.json` (`--save`).
"""

from __future__ import annotations

import argparse
import hashlib
import struct
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from bench.message_zone import SECOND, MessageZone, Pair, origin, save
from localnet import candid as c
from localnet.errors import Reject
from zones.calls import Method

MESSAGES = 1_000_000
UPGRADES = 20
MAX_BYTES = 64 << 20
KEYS = 1_000
SEGMENT_BYTES = MAX_BYTES // 64
"""Most that is evicted beyond need."""
SIZES = (1, 10, 100, 1_000, 1_000)
SECONDS_BETWEEN_CALLS = 5
REMEMBERED_BATCHES = 64
MAX_ID = 2**32 - 1

_MESSAGE = c.record(
    id=c.NAT32,
    timestamp=c.NAT32,
    key_id=c.BLOB,
    next_msg_id=c.NAT32,
    prev_msg_id=c.NAT32,
    hash=c.BLOB,
    ciphertext=c.BLOB,
)
_SINCE_ARGS = c.record(after_id=c.NAT32, key_id=c.opt(c.BLOB), limit=c.opt(c.NAT32))
_SINCE = Method(
    "get_messages_since",
    [_SINCE_ARGS],
    [c.record(messages=c.vec(_MESSAGE), next_after_id=c.NAT32, complete=c.BOOL, min_id=c.NAT32, max_id=c.NAT32)],
    query=True,
)
_HEAD = Method(
    "get_certified_head",
    [],
    [c.record(first_id=c.NAT32, anchor=c.BLOB, max_id=c.NAT32, head=c.BLOB, certificate=c.opt(c.BLOB))],
    query=True,
)
_DIGESTS = Method(
    "get_digest_page", [c.NAT32], [c.vec(c.record(first_id=c.NAT32, chain=c.BLOB, gone=c.BLOB))], query=True
)
_BY_ID = Method("get_message_by_id", [c.NAT32], [_MESSAGE], query=True)
_BY_HASH = Method("get_message_by_hash", [c.BLOB], [c.opt(_MESSAGE)], query=True)
_USAGE = Method("get_message_usage", [], [c.NAT64], query=True)
_COUNT = Method("get_message_count", [], [c.NAT], query=True)


class Wrong(Exception):
    """The zone said something that the model does not."""


def check(found: Any, expected: Any, what: str) -> None:
    """Raises `Wrong` where two values differ."""
    if found != expected:
        raise Wrong(f"{what}: found {found!r}, expected {expected!r}")


@dataclass(frozen=True)
class Stretch:
    """Figures of a stretch that ends with an upgrade and a comparison of everything."""

    added: int
    calls: int
    first_id: int
    last_id: int
    usage: int
    stable_pages: int
    heap_bytes: int
    instructions_per_message: int
    """Of all calls, those with nothing but duplicates among them, by the messages they added."""
    most_instructions: int
    """Of one call's; the first after an upgrade without `pre_upgrade` makes the index again."""
    upgrade_instructions: int
    left_index: bool
    """Whether the upgrade ran `pre_upgrade`."""


@dataclass(frozen=True)
class Stored:
    """What the model knows of a message."""

    key_id: bytes
    digest: bytes
    time: int


class Model:
    """The messages that should be stored."""

    def __init__(self) -> None:
        self.first_id = 1
        self.messages: deque[Stored] = deque()
        self.ids: dict[Pair, int] = {}

    @property
    def last_id(self) -> int:
        """The last id given out."""
        return self.first_id + len(self.messages) - 1

    def add(self, pairs: list[Pair], now: int) -> list[int]:
        """Adds a batch and returns its ids; a pair that is stored keeps its own."""
        ids = []
        for key_id, ciphertext in pairs:
            digest = hashlib.sha256(ciphertext).digest()
            known = self.ids.get((key_id, digest))
            if known is None:
                self.messages.append(Stored(key_id, digest, now))
                known = self.ids[key_id, digest] = self.last_id
            ids.append(known)
        return ids

    def evict_to(self, first_id: int) -> None:
        """Forgets what comes before an id."""
        while self.first_id < first_id:
            gone = self.messages.popleft()
            del self.ids[gone.key_id, gone.digest]
            self.first_id += 1

    def links(self) -> tuple[list[int], list[int]]:
        """The previous and next id of each message, 0 for none."""
        before, after = [0] * len(self.messages), [0] * len(self.messages)
        newest: dict[bytes, int] = {}
        for position, message in enumerate(self.messages):
            last = newest.get(message.key_id)
            if last is not None:
                before[position] = self.first_id + last
                after[last] = self.first_id + position
            newest[message.key_id] = position
        return before, after


class Soak:
    """The zone, its model, and what was sent lately."""

    def __init__(self, seed: int) -> None:
        self.zone = MessageZone(seed, KEYS)
        self.zone.limit(MAX_BYTES)
        self.model = Model()
        self.lately: deque[list[Pair]] = deque(maxlen=REMEMBERED_BATCHES)
        self.calls = 0
        self.added = 0

    def stretch(self, messages: int, left_index: bool) -> Stretch:
        """Adds so many messages, upgrades, goes on at once, and compares everything."""
        zone, most, added, calls = self.zone, 0, self.added, self.calls
        spent, stop = 0, added + messages
        while self.added < stop:
            cost = self._send(stop - self.added)
            spent, most = spent + cost, max(most, cost)
        a_message = spent // (self.added - added)
        upgrade = zone.upgrade(skip_pre_upgrade=not left_index)
        # Without an index reads wait for it, and an add makes it.
        if left_index:
            self.compare()
        most = max(most, self._send(1))
        if not left_index:
            self.compare()
        return Stretch(
            self.added,
            self.calls - calls,
            self.model.first_id,
            self.model.last_id,
            _USAGE(zone.agent, zone.id),
            zone.stable_pages,
            zone.heap_bytes,
            a_message,
            most,
            upgrade,
            left_index,
        )

    def _send(self, most: int) -> int:
        """Sends a batch, one in eight for the second time; returns the call's instructions."""
        zone, model, pick = self.zone, self.model, self.zone.random
        if self.lately and pick.random() < 1 / 8:
            batch = pick.choice(self.lately)
        else:
            batch = zone.pairs(min(most, pick.choice(SIZES)), pick.choice((0, 100, 232, 232, 232, 1_000)))
            if pick.random() < 1 / 64:
                batch[-1] = (batch[-1][0], pick.randbytes(pick.randrange(20_000)))
        zone.network.clock.set(zone.network.clock.now + SECONDS_BETWEEN_CALLS * SECOND)
        zone.network.tick()
        known = model.last_id
        before = zone.cost().fuel
        ids = zone.zone.add_messages(batch)
        spent = zone.cost().fuel - before
        # What a batch evicts is decided after its duplicates were found.
        expected = model.add(batch, zone.network.clock.now // SECOND)
        check(ids, expected, f"ids of batch {self.calls}")
        first_id = zone.zone.id_range()[0]
        if first_id < model.first_id:
            raise Wrong(f"the first id went from {model.first_id} back to {first_id}")
        model.evict_to(first_id)
        self.calls += 1
        self.added += model.last_id - known
        self.lately.append(batch)
        usage = _USAGE(zone.agent, zone.id)
        if usage > MAX_BYTES:
            raise Wrong(f"{usage} bytes are used, the limit is {MAX_BYTES}")
        if first_id > 1 and usage < MAX_BYTES - SEGMENT_BYTES:
            raise Wrong(f"{usage} bytes are used after an eviction, the limit is {MAX_BYTES}: too much was evicted")
        return spent

    # Comparing ---------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Reads everything and compares it with the model."""
        zone, model = self.zone, self.model
        check(zone.zone.id_range(), (model.first_id, model.last_id), "first and last id")
        check(_COUNT(zone.agent, zone.id), len(model.messages), "count")
        found, messages = self._read_all(), list(model.messages)
        before, after = model.links()
        expected = zip(messages, before, after, strict=True)
        for message_id, (message, previous, following) in enumerate(expected, model.first_id):
            read = found[message_id - model.first_id]
            seen = (read["id"], read["key_id"], read["hash"], read["timestamp"])
            check(seen, (message_id, message.key_id, message.digest, message.time), f"message {message_id}")
            check(hashlib.sha256(read["ciphertext"]).digest(), message.digest, f"ciphertext of message {message_id}")
            check((read["prev_msg_id"], read["next_msg_id"]), (previous, following), f"links of message {message_id}")
        self._compare_single_reads(messages, before)
        self._compare_chain(messages)

    def _read_all(self) -> list[dict[str, Any]]:
        zone, found, after_id = self.zone, [], 0
        while True:
            page = _SINCE(zone.agent, zone.id, {"after_id": after_id, "key_id": None, "limit": None})
            found += page["messages"]
            if page["complete"]:
                return found
            after_id = page["next_after_id"]

    def _compare_single_reads(self, messages: list[Stored], before: list[int]) -> None:
        zone, model = self.zone, self.model
        for message_id in zone.random.sample(range(model.first_id, model.last_id + 1), 10):
            message = messages[message_id - model.first_id]
            check(_BY_ID(zone.agent, zone.id, message_id)["hash"], message.digest, f"hash of {message_id} by id")
            check(_BY_HASH(zone.agent, zone.id, message.digest)["hash"], message.digest, f"{message_id} by hash")
            chain = []
            while message_id >= model.first_id:
                chain.append(message_id)
                message_id = before[message_id - model.first_id]
            of_key = zone.zone.messages_of_key(message.key_id, 0, chain[0])
            check([read.id for read in of_key], chain[: len(of_key)], f"messages of a key up to {chain[0]}")
        gone = zone.random.randrange(model.first_id) if model.first_id > 1 else MAX_ID
        try:
            raise Wrong(f"message {gone} is still there: {_BY_ID(zone.agent, zone.id, gone)}")
        except Reject as reject:
            if not reject.message.endswith(f"message not found: {gone}"):
                raise

    def _compare_chain(self, messages: list[Stored]) -> None:
        """Follows the digest chain by its definition from the anchor to the head."""
        zone, model = self.zone, self.model
        head = _HEAD(zone.agent, zone.id)
        check((head["first_id"], head["max_id"]), (model.first_id, model.last_id), "ends of the certified head")
        groups = _DIGESTS(zone.agent, zone.id, model.first_id)
        while len(page := _DIGESTS(zone.agent, zone.id, groups[-1]["first_id"])) > 1:
            check(page[0], groups[-1], "group where a page of the chain begins")
            groups += page[1:]
        check(groups[0]["chain"], head["anchor"], "anchor")
        sender = bytes([len(zone.agent.caller)]) + zone.agent.caller
        chain = head["anchor"]
        ends = [entry["first_id"] for entry in groups[1:]] + [model.last_id + 1]
        for entry, end in zip(groups, ends, strict=True):
            check(chain, entry["chain"], f"chain before message {entry['first_id']}")
            first = max(entry["first_id"], model.first_id)
            stored = messages[first - model.first_id : end - model.first_id]
            marks = [b"\x29" + message.key_id + b"\x20" + message.digest for message in stored]
            start = struct.pack("<II", entry["first_id"], stored[0].time)
            chain = hashlib.sha256(b"".join((chain, start, sender, entry["gone"], *marks))).digest()
        check(chain, head["head"], "head of the chain")


def main() -> None:
    """Run all stretches and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"in all (default: {MESSAGES:,})")
    parser.add_argument("--upgrades", type=int, default=UPGRADES, help=f"in between (default: {UPGRADES})")
    parser.add_argument("--save", action="store_true", help="keep the figures in bench/results/soak.json")
    parser.add_argument("--seed", type=int, default=1, help="seed of keys, texts and batches (default: 1)")
    options = parser.parse_args()
    source, started = origin(options.seed), time.monotonic()
    soak = Soak(options.seed)
    print(f"seed {options.seed}: {options.messages:,} messages, {options.upgrades} upgrades, limit {MAX_BYTES:,} bytes")
    stretches: list[Stretch] = []
    for number in range(1, options.upgrades + 1):
        stop = options.messages * number // options.upgrades
        stretches.append(soak.stretch(stop - soak.added, left_index=number % 2 == 1))
        last = stretches[-1]
        print(
            f"{number:3}/{options.upgrades}  {last.added:9,} added, {last.first_id:,} to {last.last_id:,} stored, "
            f"{last.usage:,} bytes in {last.stable_pages:,} pages, heap {last.heap_bytes:,}, "
            f"{last.instructions_per_message:,} instructions a message; {time.monotonic() - started:.0f} s",
            flush=True,
        )
    soak.zone.settle()
    soak.compare()
    print("everything read again at the end: nothing wrong")
    if options.save:
        figures = {"messages": soak.added, "calls": soak.calls, "max_bytes": MAX_BYTES, "keys": KEYS}
        save("soak", {**source, **figures, "stretches": [asdict(item) for item in stretches]})


if __name__ == "__main__":
    main()
