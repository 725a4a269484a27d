"""`zones fleet`: the factory's zones, their fuel, their code, and who may change them.

Not for a single zone's messages (`zones status`). Here are the group, the list and the state of it; the battery's books
are in `fleet_battery`, admins and code in `fleet_code`.
"""

from __future__ import annotations

from typing import Any

from zones import fleet
from zones.commands import Add, Subparsers, fleet_battery, fleet_code
from zones.commands.fleet_desk import Desk, counting
from zones.context import ATTENTION, Context, Result, cycles_text
from zones.tables import Column, Table, time_shown

_CHILDREN = (
    Column("canister", "canister"),
    Column("zone_id", "zone"),
    Column("version", "version", right=True),
    Column("cycles", "cycles", cycles_text, right=True),
    Column("code", "code"),
    Column("fault", "fault"),
)


def register(commands: Subparsers, add: Add) -> None:
    """Add the group and all its commands."""
    group = commands.add_parser(
        "fleet",
        help="the factory's zones: fuel, code, alerts, policy",
        description="Look after all zones of a factory: their fuel, their code, alerts, and the policy.",
        epilog="example: zones fleet list",
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    added = [
        _add_list(actions, add),
        _add_status(actions, add),
        *fleet_battery.register(actions, add),
        *fleet_code.register(actions, add),
    ]
    for command in added:
        command.add_argument("--factory", metavar="PRINCIPAL", help="the factory (default: the deployed one)")
        command.add_argument("--csv", action="store_true", help="print a table as CSV instead of text")


def _add_list(actions: Subparsers, add: Add) -> Any:
    return add(
        actions,
        "list",
        "list the factory's zones: what code they run, what cycles they have, whether they answer",
        _list,
        "zones fleet list --csv",
    )


def _add_status(actions: Subparsers, add: Add) -> Any:
    command = add(
        actions,
        "status",
        "show the state of the factory and its battery, or what is known of one zone canister",
        _status,
        "zones fleet status rwlgt-iiaaa-aaaaa-aaaaa-cai",
    )
    command.add_argument("zone", nargs="?", metavar="ZONE", help="a zone's canister, or its id where it is known here")
    return command


def _list(context: Context) -> Result:
    desk = Desk(context)
    with counting("zones") as progress:
        rows = [_with_code(row) for row in fleet.children(desk.agent, desk.factory, progress)]
    silent = sum(row["fault"] is not None for row in rows)
    table = Table(_CHILDREN, rows)
    return desk.listing("zones", table, "the factory has no zones yet", exit_code=ATTENTION if silent else 0)


def _with_code(row: dict[str, Any]) -> dict[str, Any]:
    """Return a child's row with its code in words."""
    unpublished = "foreign" if row["module_hash"] else "none"
    return {**row, "code": unpublished if row["release"] is None else f"release {row['release']}"}


def _status(context: Context) -> Result:
    desk = Desk(context)
    return _child_status(desk) if desk.options.zone else _fleet_status(desk)


def _child_status(desk: Desk) -> Result:
    canister = desk.canister(desk.options.zone)
    row = _with_code(fleet.child(desk.agent, canister, fleet.release_versions(desk.factory)))
    row["child"] = canister in desk.factory.children()
    cycles = None if row["cycles"] is None else cycles_text(row["cycles"])
    lines = [
        f"canister     {row['canister']}, {'a child' if row['child'] else 'no child'} of this factory",
        f"zone         {row['zone_id'] or 'unknown'}",
        f"code         {row['code']}, version {row['version'] or 'unknown'}, SHA-256 {row['module_hash'] or 'none'}",
        f"cycles       {cycles or 'unknown'}",
        f"controllers  {', '.join(row['controllers']) or 'none'}",
    ]
    if row["fault"]:
        lines.append(f"fault        {row['fault']}")
    return Result(desk.summary(**row), lines, Table(_CHILDREN, [row]), ATTENTION if row["fault"] else 0)


def _fleet_status(desk: Desk) -> Result:
    data = fleet.figures(desk.factory, desk.battery)
    quota, release, sums = data["quota"], data["release"], data["deposits"]
    settled = sums["settled"]
    lines = [
        f"factory   {data['factory']}, version {data['version']}, {data['children']} zones",
        f"battery   {cycles_text(data['cycles'])} cycles, at least {cycles_text(data['reserve'])} of which stay",
        f"quota     {cycles_text(quota['used'])} of {cycles_text(quota['limit'])} used in {quota['seconds']} s",
        f"deposits  {settled['count']} settled, {cycles_text(settled['attached'] - settled['refunded'])} in all; "
        + ", ".join(f"{sums[outcome]['count']} {outcome}" for outcome in ("pending", "failed", "unknown")),
        f"release   version {release['version']}, {release['size']} bytes, {time_shown(release['published_at'])} UTC"
        if release
        else "release   none yet: run `zones deploy`",
        f"alerts    {data['open_alerts']} open" + (": see `zones fleet alerts`" if data["open_alerts"] else ""),
    ]
    columns = [Column(key, key) for key in ("factory", "version", "cycles", "reserve", "children", "open_alerts")]
    return Result({"network": desk.context.url, **data}, lines, Table(columns, [data]))
