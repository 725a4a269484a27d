"""What the zone's messages cost, on localnet inside this process: `make bench-messages ARGS='--json'`.

For each operation, number of distinct keys and number of stored messages: instructions a message, those of the
canister's own code (one an operator and one a byte of bulk copies) and with the published prices of its system calls,
and its accesses of stable memory. Random texts come from a printed seed. Times are left out, as in `bench.calls`.

An operation is repeated and its mean taken, so that a single that begins a page counts as often as it happens. The
operations of one zone follow one another: the last ones find up to 20 000 messages more than the row says.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from bench.message_zone import MOST_BYTES, MessageZone, Pair, origin, save
from localnet import candid as c

LEVELS = (0, 10_000, 100_000, 1_000_000)
KEYS = (10, 10_000)
BATCHES = ((10, 10), (100, 5), (1_000, 3))
"""Messages of a batch, and how often it is sent."""
SINGLES = 64
LARGEST_BATCH = 10_000
LARGEST_BATCH_CIPHERTEXT_BYTES = 150
"""A message to a canister has 2 MiB: 10 000 ciphertexts of 232 bytes do not fit one."""
SAMPLES = 64
SAMPLED = 100
"""One in so many messages that fill the zone is remembered, to be sent again."""
MAX_ID = 2**32 - 1
NAT32, BLOB = c.NAT32, c.BLOB
RANGE = (NAT32, NAT32)
SINCE = c.record(after_id=NAT32, key_id=c.opt(BLOB), limit=c.opt(NAT32))

Call = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One operation at one level; all but the first five fields are means a message."""

    operation: str
    batch: int
    keys: int
    stored: int
    at_limit: bool
    """Whether the store is full, so that adding evicts."""
    instructions_per_message: int
    with_system_calls: int
    stable_reads: float
    bytes_read: int
    stable_writes: float
    bytes_written: int


@dataclass(frozen=True)
class Level:
    """The canister at one level: sizes in bytes, instructions of whole calls."""

    keys: int
    stored: int
    usage: int
    stable_pages: int
    heap_bytes: int
    heap_bytes_after_upgrade: int
    upgrade_instructions: int
    index_instructions_without_hint: int
    """Of the background work that makes the index again after an upgrade without `pre_upgrade`."""


class Bench:
    """Measures a new zone with so many distinct keys and stored messages."""

    def __init__(self, seed: int, keys: int, stored: int):
        self.zone = MessageZone(seed, keys)
        self.keys = keys
        self.stored = stored
        self.rows: list[Row] = []
        self.levels: list[Level] = []
        self.samples: list[Pair] = []

    def run(self) -> None:
        """Measures everything."""
        zone, stored = self.zone, self.stored
        self.fill()
        heap = zone.heap_bytes
        if stored:
            self._reads()
            self._duplicates()
        self._adds(at_limit=False)
        if stored:
            zone.limit(self._usage())
            self._adds(at_limit=True)
            zone.limit(MOST_BYTES)
            zone.settle()
            self._upgrades(heap)

    def fill(self) -> None:
        """Stores so many messages and lets the background do its part."""
        # The first message of a zone starts background work, which is no part of what adding costs.
        self.zone.fill(self.stored or 1, lambda batch: self.samples.extend(batch[::SAMPLED]))
        self.zone.settle()

    # Operations --------------------------------------------------------------------------------------

    def _reads(self) -> None:
        zone, stored, pick = self.zone, self.stored, self.zone.random.randint
        ids = [pick(1, stored) for _ in range(SAMPLES)]
        self._row("get_message_by_id", 1, [self._ask("get_message_by_id", [NAT32], i) for i in ids])
        digests = [hashlib.sha256(ciphertext).digest() for _, ciphertext in zone.random.sample(self.samples, SAMPLES)]
        self._row("get_message_by_hash", 1, [self._ask("get_message_by_hash", [BLOB], d) for d in digests])
        for count in (10, 100, 1_000):
            starts = [pick(1, stored - count) for _ in range(5)]
            for method in ("get_messages_by_range", "get_messages_meta_by_range"):
                self._row(method, count, [self._ask(method, RANGE, s, s + count - 1) for s in starts])
            since = [{"after_id": start, "key_id": None, "limit": count} for start in starts]
            self._row("get_messages_since", count, [self._ask("get_messages_since", [SINCE], s) for s in since])
            key, first = zone.keys[0], max(1, stored + 1 - count * self.keys)
            found = len(zone.zone.messages_of_key(key, first, MAX_ID))
            of_key = self._ask("get_messages_by_range_for_key", [BLOB, *RANGE], key, first, MAX_ID)
            self._row("get_messages_by_range_for_key", found, [of_key])
        self.searches()

    def searches(self) -> None:
        """Reads that begin in the midst of a key's messages, or at its first one."""
        zone, keys, middle = self.zone, self.zone.random.choices(self.zone.keys, k=10), self.stored // 2
        low = max(0, middle - 10 * self.keys)
        for method in ("get_min_message_id_by_key", "get_max_message_id_by_key"):
            self._row(method, 1, [self._ask(method, [BLOB], key) for key in keys])
        for operation, after_id in ("from the first", 0), ("from the middle", middle):
            since = [{"after_id": after_id, "key_id": key, "limit": 1} for key in keys]
            asked = [self._ask("get_messages_since", [SINCE], value) for value in since]
            self._row(f"get_messages_since of a key, {operation}", 1, asked)
        found = [max(len(zone.zone.messages_of_key(key, low, middle)), 1) for key in keys]
        of_key = "get_messages_by_range_for_key"
        asked = [self._ask(of_key, [BLOB, *RANGE], key, low, middle) for key in keys]
        self._row(f"{of_key} up to the middle", sum(found) // len(found), asked)

    def _duplicates(self) -> None:
        zone = self.zone
        known = zone.random.sample(self.samples, SAMPLES)
        self._row("duplicate by add_message", 1, [self.add(pair) for pair in known])
        self._row("duplicates from anywhere", len(known), [self._add_batch(known)])
        batch = zone.pairs(1_000)
        zone.zone.add_messages(batch)
        self._row("duplicates of the last batch", 1_000, [self._add_batch(batch)])

    def _adds(self, *, at_limit: bool) -> None:
        zone = self.zone
        self._row("add_message", 1, [self.add(pair) for pair in zone.pairs(SINGLES)], at_limit)
        for count, times in BATCHES:
            batches = [self._add_batch(zone.pairs(count)) for _ in range(times)]
            self._row("add_messages", count, batches, at_limit)
        largest = self._add_batch(zone.pairs(LARGEST_BATCH, LARGEST_BATCH_CIPHERTEXT_BYTES))
        self._row("add_messages", LARGEST_BATCH, [largest], at_limit)

    def _upgrades(self, heap: int) -> None:
        zone, newest = self.zone, self.zone.zone.id_range()[1]
        first: dict[str, tuple[int, Call]] = {
            "add_message": (1, self.add(zone.pairs(1)[0])),
            "add_messages": (1_000, self._add_batch(zone.pairs(1_000))),
            "duplicate by add_message": (1, self.add(zone.pairs(1)[0])),
            "get_min_message_id_by_key": (1, self._ask("get_min_message_id_by_key", [BLOB], zone.keys[0])),
            "get_message_by_id": (1, self._ask("get_message_by_id", [NAT32], newest - 5_000)),
            "get_messages_by_range": (
                1_000,
                self._ask("get_messages_by_range", RANGE, newest - 5_999, newest - 5_000),
            ),
        }
        first["duplicate by add_message"][1]()
        # Before any upgrade has left an index behind.
        zone.upgrade(skip_pre_upgrade=True)
        before = zone.cost()
        zone.settle()
        index, upgrade, after = (zone.cost() - before).fuel, 0, 0
        for operation, (count, call) in first.items():
            upgrade = zone.upgrade()
            self._row(f"first {operation} after an upgrade", count, [call])
            zone.settle()
            after = max(after, zone.heap_bytes)
        self.levels.append(Level(self.keys, self.stored, self._usage(), zone.stable_pages, heap, after, upgrade, index))

    def _ask(self, method: str, arguments: Sequence[c.Type], *values: Any) -> Call:
        return partial(self.zone.agent.query, self.zone.id, method, c.encode(arguments, values))

    def add(self, pair: Pair) -> Call:
        """A call that adds one message."""
        return partial(self.zone.agent.update, self.zone.id, "add_message", c.encode([BLOB, BLOB], pair))

    def _add_batch(self, pairs: list[Pair]) -> Call:
        return partial(self.zone.zone.add_messages, pairs)

    def _usage(self) -> int:
        return c.decode(self._ask("get_message_usage", [])(), [c.NAT64])[0]

    def _row(self, operation: str, batch: int, calls: Sequence[Call], at_limit: bool = False) -> None:
        before = self.zone.cost()
        for call in calls:
            call()
        cost, count = self.zone.cost() - before, batch * len(calls)
        self.rows.append(
            Row(
                operation,
                batch,
                self.keys,
                self.stored,
                at_limit,
                cost.fuel // count,
                (cost.fuel + cost.system_calls) // count,
                round(cost.stable_reads / count, 2),
                cost.bytes_read // count,
                round(cost.stable_writes / count, 2),
                cost.bytes_written // count,
            )
        )


def measure(seed: int, levels: Iterable[int], keys: Iterable[int] = KEYS) -> tuple[list[Row], list[Level]]:
    """Rows and levels of a zone for each number of keys."""
    rows: list[Row] = []
    reached: list[Level] = []
    for number in keys:
        for stored in levels:
            bench = Bench(seed, number, stored)
            bench.run()
            rows += bench.rows
            reached += bench.levels
    return rows, reached


def main() -> None:
    """Print the rows as a table, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--most", type=int, default=LEVELS[-1], help="at most so many stored messages")
    parser.add_argument("--quick", dest="most", action="store_const", const=10_000, help="the same as --most 10000")
    parser.add_argument("--keys", type=int, nargs="+", default=KEYS, help="numbers of distinct keys")
    parser.add_argument("--save", action="store_true", help="keep the result in bench/results/messages.json")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random ciphertexts (default: 1)")
    options = parser.parse_args()
    source = origin(options.seed)
    rows, levels = measure(options.seed, [level for level in LEVELS if level <= options.most], options.keys)
    result = {**source, "rows": [asdict(row) for row in rows], "levels": [asdict(at) for at in levels]}
    if options.save:
        save("messages", result)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    manifest = result["zone"]
    print(f"seed {options.seed}, commit {result['commit']}, builder {manifest['builder']}")
    print(f"source {manifest['source_hash'][:16]}, template {str(manifest['template_hash'])[:16]}; a message:\n")
    print(f"{'operation':42}{'batch':>7}{'keys':>7}{'stored':>10}{'instructions':>14}{'charged':>12}", end="")
    print(f"{'reads':>8}{'bytes':>9}{'writes':>8}{'bytes':>9}")
    for row in rows:
        print(
            f"{row.operation + (', full' if row.at_limit else ''):42}{row.batch:7,}{row.keys:7,}{row.stored:10,}"
            f"{row.instructions_per_message:14,}{row.with_system_calls:12,}"
            f"{row.stable_reads:8}{row.bytes_read:9,}{row.stable_writes:8}{row.bytes_written:9,}"
        )
    for level in levels:
        print("\n" + "  ".join(f"{name} {value:,}" for name, value in asdict(level).items()))


if __name__ == "__main__":
    main()
