"""The fleet as an operator sees it: every zone canister of a factory, what it runs, whether it answers.

Not for what a single command shows. Reads only; children are asked a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from localnet.principal import from_text, to_text
from zones.agent import Agent, IcAgent
from zones.background import Progress, at_once
from zones.battery import Battery
from zones.errors import RejectedError, ReplyError
from zones.factory import Factory
from zones.readings import Readings
from zones.rollouts import EMPTY_ARGUMENT, Rollouts
from zones.tables import NS, iso
from zones.zone import Zone
from zones.zone_index import RETIRED, ZoneIndex

TROUBLE = ("stopped", "deleted", "unreachable")
"""States of a zone canister that somebody should look at."""


def children(readings: Readings, factory: Factory, index: ZoneIndex) -> list[dict[str, Any]]:
    """Return a row for each zone canister of the factory as it was read last, in the order of their principals.

    One that is retired meanwhile is left out, as the factory does: `retired` has them.
    """
    versions = release_versions(factory)
    entries = {zone["canister"]: index_row(zone) for zone in index.zones()}
    rows = [{**child_row(child, versions), **entries.get(child["canister"], {})} for child in readings.children()]
    return [row for row in rows if row.get("stage") != RETIRED]


def retired(factory: Factory, index: ZoneIndex) -> list[dict[str, Any]]:
    """Return a row for each zone canister that was retired as far as the audit log goes back, the last one first."""
    rows: dict[bytes, dict[str, Any]] = {}
    for act in factory.acts():
        canister = act["subject"]
        if act["action"] != "retire_child" or canister is None or canister in rows:
            continue
        zone = index.zone(canister)
        if zone is not None and zone["stage"] == RETIRED:
            known = {"canister": to_text(canister), "zone_id": zone["zone_id"], "retired_at": iso(act["time"])}
            rows[canister] = {**known, **index_row(zone)}
    return list(rows.values())


def index_row(zone: dict[str, Any]) -> dict[str, Any]:
    """Return what the factory's index has of a zone canister as fields of its row; `owed` in cycles."""
    return {
        "stage": zone["stage"],
        "custody": zone["custody"],
        "funding": zone["funding"],
        "creator": to_text(zone["creator"]),
        "created_at": iso(zone["created_at"]),
        "owners": [to_text(owner) for owner in zone["owners"]],
        "proven": zone["proven"],
        "owed": zone["owed"],
    }


def child_row(child: dict[str, Any], versions: dict[bytes, int]) -> dict[str, Any]:
    """Return a child as a row; `burn` is what it burns a day, `code` in words, `release` a published version."""
    module = child["module_hash"]
    release = versions.get(module)
    unpublished = "foreign" if module else "unknown"
    return {
        "canister": to_text(child["canister"]),
        "zone_id": child["zone_id"],
        "state": child["state"],
        "controlled": child["controlled"],
        "code": unpublished if release is None else f"release {release}",
        "release": release,
        "module_hash": module and module.hex(),
        "cycles": child["balance"] if child["read_at"] else None,
        "burn": burn_of(child),
        "runway_days": child["runway_days"],
        "read_at": iso(child["read_at"]),
        "paid": child["paid"],
        "allowance": child["allowance"],
        "fuelled": child["fuelled"],
        "quota_used": child["quota_used"],
        "quota_limit": child["quota_limit"],
    }


def burn_of(child: dict[str, Any]) -> int | None:
    """Return the cycles a day that a child's runway is reckoned with, None before it was read."""
    return max(child["idle_burn"], child["recent_burn"] or 0) if child["read_at"] else None


def is_trouble(row: dict[str, Any]) -> bool:
    """Return whether somebody should look at a zone canister."""
    return row["state"] in TROUBLE or row["code"] == "foreign" or row.get("fault") is not None


def ask_all(agent: IcAgent, rows: Sequence[dict[str, Any]], progress: Progress) -> list[dict[str, Any]]:
    """Return the rows with what each zone says of itself now: see `ask`."""
    return at_once(lambda row: {**row, **ask(agent, row["canister"])}, rows, progress)


def ask(agent: Agent, canister: str) -> dict[str, Any]:
    """Return what a zone canister says of itself now: version and cycles, or `fault` where it does not answer.

    Foreign code may answer anything: that is a fault, too. A network that is away is none: raises NetworkError.
    """
    zone = Zone(agent, from_text(canister))
    try:
        return {"zone_id": zone.zone_id(), "version": zone.version(), "cycles": zone.cycles(), "fault": None}
    except (RejectedError, ReplyError) as error:
        return {"version": None, "fault": error.message}


def release_versions(factory: Factory) -> dict[bytes, int]:
    """Return the version of each release the factory published, by module hash."""
    return {release["wasm_hash"]: release["version"] for release in factory.releases()}


def sweep(readings: Readings, progress: Progress, wait: Callable[[], None]) -> dict[str, Any]:
    """Have the factory look at all its children now, and return the sweep when it has ended.

    `wait` is called between two looks at how far it is. A sweep that runs already is waited for.
    """
    before = readings.battery()["sweep"]
    if not before["number"] or before["ended_at"] is not None:
        readings.start_sweep()
    while True:
        status = readings.battery()
        found = status["sweep"]
        progress(found["looked_at"], status["children"])
        if found["ended_at"] is not None and found != before:
            return sweep_row(found)
        wait()


def figures(factory: Factory, battery: Battery, readings: Readings) -> dict[str, Any]:
    """Return the state of the factory: its battery, quota, children, last sweep, release, alerts, sums of deposits."""
    status, quota, power = factory.status(), battery.quota(), readings.battery()
    return {
        "factory": to_text(factory.canister),
        "version": status["version"],
        "children": power["children"],
        "cycles": power["balance"],
        "reserve": power["reserve"],
        "own_burn": power["own_burn"],
        "fleet_burn": power["fleet_burn"],
        "runway_days": power["runway_days"],
        "passed_on": power["passed_on"],
        "open_alerts": power["open_alerts"],
        "sweep": sweep_row(power["sweep"]) if power["sweep"]["number"] else None,
        "release": release_row(status["release"]) if status["release"] else None,
        "quota": vars(quota),
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


def upgrade(
    agent: IcAgent, rollouts: Rollouts, canister: bytes, module: bytes, argument: bytes = EMPTY_ARGUMENT
) -> dict[str, Any]:
    """Bring a child to other code, `module` as `Rollouts.upgrade` takes it.

    Returns its versions before and after, and the `fault` that kept it from changing. Raises RejectedError where the
    caller may not do that.
    """
    name = to_text(canister)
    row: dict[str, Any] = {"canister": name, "before": ask(agent, name)["version"], "fault": None}
    try:
        rollouts.upgrade(canister, module, argument)
    except RejectedError as error:
        if "Unauthorized" in error.message:
            raise
        row["fault"] = error.message
    return {**row, "after": ask(agent, name)["version"]}


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


def change_row(change: dict[str, Any]) -> dict[str, Any]:
    """Return a change of a child's code as a row; `snapshot` is the one that was taken on the way."""
    return {
        "canister": to_text(change["canister"]),
        "outcome": change["outcome"],
        "step": change["step"],
        "release": change["release"],
        "sha256": change["wasm_hash"].hex(),
        "rollout": change["rollout"],
        "begun_at": iso(change["begun_at"]),
        "step_at": iso(change["step_at"]),
        "snapshot": change["snapshot"] and change["snapshot"].hex(),
        "fault": change["fault"] or None,
    }


def platform_row(status: dict[str, Any]) -> dict[str, Any]:
    """Return what the platform says of a canister as a row: status, memory (bytes), cycles, settings."""
    settings = {name: value for name, value in status["settings"].items() if name != "controllers"}
    module = status["module_hash"]
    return {
        **{name: value for name, value in status.items() if name != "settings"},
        "module_hash": module and module.hex(),
        **settings,
        "controllers": [to_text(controller) for controller in status["settings"]["controllers"]],
    }


def sweep_row(swept: dict[str, Any]) -> dict[str, Any]:
    """Return a sweep as a row."""
    return {**swept, "begun_at": iso(swept["begun_at"]), "ended_at": iso(swept["ended_at"])}


def reading_row(reading: dict[str, int]) -> dict[str, Any]:
    """Return a reading of a history as a row."""
    return {**reading, "time": iso(reading["time"] * NS)}
