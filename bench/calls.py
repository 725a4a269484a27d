"""What the canisters' operations cost, on localnet inside this process: `make bench ARGS='--json'`.

Prints for each operation the instructions charged (one an operator and one a byte of bulk copies, and the published
prices of system calls), also a message, and the reads and writes of stable memory with the bytes they moved. Random
texts come from a printed seed. Times are left out: they say more about the machine than about the canisters.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import canister_build
from bench.inprocess import CIPHERTEXT_BYTES, HOST, ZONE_ID, DirectAgent, T, accesses, create
from bench.message_zone import origin
from localnet import candid
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.system_api import signatures
from zones import management
from zones.creations import Creations, Wish
from zones.factory import Factory
from zones.identity import principal_of
from zones.zone import Zone

PUBLIC_KEY = b"\x04" + bytes(64)


@dataclass(frozen=True)
class Row:
    """One measured operation; `messages` is what the totals are to be divided by."""

    operation: str
    messages: int
    instructions: int
    stable_reads: int
    bytes_read: int
    stable_writes: int
    bytes_written: int

    @property
    def per_message(self) -> int:
        """Instructions a message."""
        return self.instructions // self.messages


def measure(seed: int) -> list[Row]:
    """Run every operation once, in order, on a fresh network."""
    texts = random.Random(seed)
    network = Network(["Application"], ModuleCache(signatures()), seed=seed)
    agent = DirectAgent(network, principal_of(PUBLIC_KEY))
    wasm = {name: canister_build.build(name, builder="template") for name in ("factory", "zone_canister")}
    rows: list[Row] = []

    def row(operation: str, canister: bytes, call: Callable[[], Any], messages: int = 1) -> Any:
        before = accesses(network, canister)
        result = call()
        moved = [now - then for now, then in zip(accesses(network, canister), before, strict=True)]
        rows.append(Row(operation, messages, agent.instructions, *moved))
        return result

    def pairs(count: int) -> list[tuple[bytes, bytes]]:
        keys = [bytes([20]) + bytes([number]) * 20 + bytes(20) for number in range(10)]
        return [(keys[number % 10], texts.randbytes(CIPHERTEXT_BYTES)) for number in range(count)]

    factory_id = create(agent, 1_000 * T)
    factory = Factory(agent, factory_id)
    code = wasm["factory"].wasm_gz.read_bytes()
    install: Callable[[], None] = lambda: management.install(agent, factory_id, code, candid.encode([], []))  # noqa: E731
    row("install factory", factory_id, install)
    factory.refresh_controllers()
    factory.add_admin(agent.sender())
    zone_code = wasm["zone_canister"].wasm_gz.read_bytes()
    digest = factory.upload_release(zone_code, lambda _done, _size: None)
    row("publish_release", factory_id, lambda: factory.publish_release(1000, digest, "bench"))
    creations, wish = Creations(agent, factory_id), Wish(ZONE_ID, HOST)
    zone_id = row("create a zone (all calls)", factory_id, lambda: creations.create(wish))
    zone = Zone(agent, zone_id)
    row("query get_version", zone_id, lambda: agent.query(zone_id, "get_version", candid.encode([], [])))
    row("update_role (with outcall)", zone_id, lambda: zone.update_role(PUBLIC_KEY))
    zone.add_messages(pairs(1))
    row("add_messages of 1", zone_id, lambda: zone.add_messages(pairs(1)))
    for count in (10, 100, 1_000):
        batch = pairs(count)
        row(f"add_messages of {count}", zone_id, lambda batch=batch: zone.add_messages(batch), count)
    row("the same 1000 again", zone_id, lambda: zone.add_messages(batch), 1_000)
    row("get_messages_by_range of 10", zone_id, lambda: zone.messages(1, 10), 10)
    row("get_messages_by_range of 1000", zone_id, lambda: zone.messages(1, 1_000), 1_000)
    row("get_messages_by_range_for_key", zone_id, lambda: zone.messages_of_key(batch[0][0], 1, 2_000), 111)
    return rows


def main() -> None:
    """Print the rows as a table, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random ciphertexts (default: 1)")
    options = parser.parse_args()
    source = origin(options.seed)
    zone = source["zone"]
    rows = measure(options.seed)
    if options.json:
        print(json.dumps({**source, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    print(f"seed {options.seed}, source {zone['source_hash'][:16]}, template {str(zone['template_hash'])[:16]}\n")
    print(f"{'operation':30}{'instructions':>14}{'a message':>13}{'reads':>9}{'bytes':>13}{'writes':>9}{'bytes':>13}")
    for row in rows:
        print(
            f"{row.operation:30}{row.instructions:14,}{row.per_message:13,}{row.stable_reads:9,}{row.bytes_read:13,}"
            f"{row.stable_writes:9,}{row.bytes_written:13,}"
        )
    size = Path(canister_build.build("zone_canister", builder="template").wasm_gz).stat().st_size
    print(f"\nzone_canister.wasm.gz: {size:,} bytes")


if __name__ == "__main__":
    main()
