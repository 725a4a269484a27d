"""The fleet as an operator sees it: every zone canister of a factory, what it runs, whether it answers.

Not for what a single command shows. Reads only; children are asked a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from localnet.principal import to_text
from zones.agent import IcAgent
from zones.battery import Battery
from zones.errors import RejectedError
from zones.factory import Factory
from zones.tables import iso
from zones.zone import Zone

AT_ONCE = 4
"""How many zones are asked at the same time."""

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""


def children(agent: IcAgent, factory: Factory, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yield a row for each zone canister of the factory, in the order of their principals; see `child`."""
    canisters = factory.children()
    versions = release_versions(factory)
    progress(0, len(canisters))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = pool.map(lambda canister: child(agent, canister, versions), canisters)
        for done, row in enumerate(rows, 1):
            progress(done, len(canisters))
            yield row


def release_versions(factory: Factory) -> dict[bytes, int]:
    """Return the version of each release the factory published, by module hash."""
    return {release["wasm_hash"]: release["version"] for release in factory.releases()}


def child(agent: IcAgent, canister: bytes, versions: dict[bytes, int]) -> dict[str, Any]:
    """Return what a zone canister says of itself, and what the network says of it.

    `release` is the version of the published code it runs, None where the factory never published that code. A zone
    that does not answer has `fault`, and nothing of what only it could tell.
    """
    module, controllers = agent.canister_info(canister)
    row: dict[str, Any] = {
        "canister": to_text(canister),
        "zone_id": None,
        "version": None,
        "cycles": None,
        "release": None if module is None else versions.get(module),
        "module_hash": module and module.hex(),
        "controllers": [to_text(controller) for controller in controllers],
        "fault": None,
    }
    zone = Zone(agent, canister)
    try:
        row.update(zone_id=zone.zone_id(), version=zone.version(), cycles=zone.cycles())
    except RejectedError as error:
        row["fault"] = error.message
    return row


def figures(factory: Factory, battery: Battery) -> dict[str, Any]:
    """Return the state of the factory: cycles, reserve, quota, children, release, open alerts, sums of deposits."""
    status, quota, policy = factory.status(), battery.quota(), battery.policy()
    return {
        "factory": to_text(factory.canister),
        "version": status["version"],
        "cycles": status["cycles"],
        "reserve": policy["reserve"],
        "children": status["zones"],
        "release": release_row(status["release"]) if status["release"] else None,
        "quota": vars(quota),
        "open_alerts": battery.open_alerts(),
        "deposits": battery.deposit_sums(),
    }


def release_row(release: dict[str, Any]) -> dict[str, Any]:
    """Return a release as a row."""
    return {
        "version": release["version"],
        "wasm_sha256": release["wasm_hash"].hex(),
        "size": release["size"],
        "published_at": iso(release["published_at"]),
        "retired_at": iso(release["retired_at"]),
        "notes": release["notes"],
    }


def deposit_row(deposit: dict[str, Any]) -> dict[str, Any]:
    """Return a deposit as a row."""
    return {
        "number": deposit["number"],
        "begun_at": iso(deposit["begun_at"]),
        "ended_at": iso(deposit["ended_at"]),
        "canister": text_or_none(deposit["canister"]),
        "attached": deposit["attached"],
        "refunded": deposit["refunded"],
        "outcome": deposit["outcome"],
        "reason": deposit["reason"],
    }


def alert_row(alert: dict[str, Any]) -> dict[str, Any]:
    """Return an alert as a row; without a canister it is about the factory."""
    return {
        "number": alert["number"],
        "kind": alert["kind"],
        "canister": text_or_none(alert["canister"]),
        "raised_at": iso(alert["raised_at"]),
        "cleared_at": iso(alert["cleared_at"]),
        "details": alert["details"],
    }


def act_row(act: dict[str, Any]) -> dict[str, Any]:
    """Return an act of an admin or owner as a row."""
    return {
        "number": act["number"],
        "time": iso(act["time"]),
        "caller": to_text(act["caller"]),
        "action": act["action"],
        "subject": text_or_none(act["subject"]),
        "details": act["details"],
    }


def text_or_none(principal: bytes | None) -> str | None:
    """Return a principal as text, None for none."""
    return None if principal is None else to_text(principal)


def refill(battery: Battery, canisters: Sequence[bytes], progress: Progress) -> Iterator[dict[str, Any]]:
    """Have children refilled one after the other; yield for each what it got, or the `fault` why it got nothing."""
    for done, canister in enumerate(canisters):
        progress(done, len(canisters))
        row: dict[str, Any] = {"canister": to_text(canister), "received": 0, "fault": None}
        try:
            row["received"] = battery.refill(canister)
        except RejectedError as error:
            row["fault"] = error.message
        yield row
