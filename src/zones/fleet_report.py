"""The fleet's report: everything that its page shows, read from a factory.

Not for the page itself (`fleet_page`). Queries only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localnet.principal import from_text
from zones import fleet
from zones.background import Progress, at_once
from zones.battery import Battery
from zones.factory import Factory
from zones.readings import Readings


@dataclass(frozen=True)
class FleetReport:
    """What a report shows: rows as `zones fleet` has them, histories as the factory keeps them (times in s)."""

    network: str
    made_at: int
    """When the figures were read, s since 1970."""
    figures: dict[str, Any]
    policy: dict[str, int]
    alerts: list[dict[str, Any]]
    """Open alerts, the newest first."""
    history: list[dict[str, int]]
    zones: list[dict[str, Any]]
    zone_histories: dict[str, list[dict[str, int]]]
    """By canister."""


def collect(
    network: str,
    now: int,
    factory: Factory,
    battery: Battery,
    readings: Readings,
    zones: list[dict[str, Any]],
    progress: Progress,
) -> FleetReport:
    """Read a report on `zones` (see `fleet.children`) at the time `now` (s); histories are read a few at a time."""
    read = at_once(lambda zone: readings.child_history(from_text(zone["canister"])), zones, progress)
    return FleetReport(
        network=network,
        made_at=now,
        figures=fleet.figures(factory, battery, readings),
        policy=battery.policy(),
        alerts=[fleet.alert_row(alert) for alert in battery.alerts(open_only=True)],
        history=readings.history(),
        zones=zones,
        zone_histories={zone["canister"]: history for zone, history in zip(zones, read, strict=True)},
    )
