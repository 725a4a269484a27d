"""Reports of made-up fleets, as long and as odd as a test wants them."""

from __future__ import annotations

import random
from typing import Any

from localnet.principal import to_text
from zones.fleet_report import FleetReport

T = 10**12
DAY = 86_400
NOW = 1_780_000_000


def report(zones: int, readings: int, seed: int = 1, **changes: Any) -> FleetReport:
    """A fleet of zones that burn and are refilled; `changes` replace fields of the report."""
    chance = random.Random(seed)
    rows = [_zone(chance, number) for number in range(zones)]
    times = [NOW - (readings - 1 - number) * DAY // 4 for number in range(readings)]
    burn = sum(row["burn"] for row in rows)
    history = [
        {
            "time": time,
            "battery": 80 * T - number * T // 8,
            "fleet": zones * T + chance.randrange(T // 2),
            "passed_on": number * T // 8,
            "burn": burn * (100 + chance.randrange(20)) // 100,
            "children": zones,
        }
        for number, time in enumerate(times)
    ]
    fields: dict[str, Any] = {
        "network": "http://127.0.0.1:4943",
        "made_at": NOW,
        "figures": {
            "factory": "rwlgt-iiaaa-aaaaa-aaaaa-cai",
            "children": zones,
            "cycles": history[-1]["battery"] if history else 100 * T,
            "reserve": 5 * T,
            "fleet_burn": burn,
            "runway_days": 61 if burn else None,
            "open_alerts": 0,
        },
        "policy": {"alert_days": 7},
        "alerts": [],
        "history": history,
        "zones": rows,
        "zone_histories": {row["canister"]: _history(chance, row, times) for row in rows},
    }
    return FleetReport(**{**fields, **changes})


def _zone(chance: random.Random, number: int) -> dict[str, Any]:
    burn = chance.choice([0, 300_000_000, 4 * 10**9, 60 * 10**9])
    cycles = chance.randrange(T // 10, 2 * T)
    return {
        "canister": to_text((number + 7).to_bytes(8, "big") + b"\x01\x01"),
        "zone_id": "0x" + chance.randbytes(20).hex(),
        "state": chance.choice(["running"] * 8 + ["stopped", "unreachable"]),
        "code": "release 1000",
        "cycles": cycles,
        "burn": burn,
        "runway_days": cycles // burn if burn else None,
        "read_at": "2026-05-28T20:26:40Z",
    }


def _history(chance: random.Random, row: dict[str, Any], times: list[int]) -> list[dict[str, int]]:
    balances = [row["cycles"] + chance.randrange(T // 4) for _ in times]
    return [{"time": time, "balance": balance, "paid": 0} for time, balance in zip(times, balances, strict=True)]
