"""`zones fleet`: the factory's zones, their fuel, their code, and who may change them.

Not for a single zone's messages (`zones status`). Here are the group, the list, the state of it and its history; the
battery's books are in `fleet_battery`, admins and code in `fleet_code`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from localnet.principal import to_text
from zones import fleet
from zones.commands import (
    Add,
    Subparsers,
    fleet_battery,
    fleet_code,
    fleet_info,
    fleet_install,
    fleet_policy,
    fleet_rollout,
    fleet_zone,
)
from zones.commands.fleet_desk import Desk, counting, explaining, of_a_factory
from zones.context import ATTENTION, Context, Result, cycles_text
from zones.errors import UserError
from zones.fleet_page import page
from zones.fleet_report import collect
from zones.tables import NOTHING, Column, Table, days_shown, joined, time_shown

SWEEP_WAIT_SECONDS = 1.0
"""How often a sweep is looked at while it runs."""

_ZONE = (Column("canister", "canister"), Column("zone_id", "zone"))
_FUEL = (
    Column("custody", "custody"),
    Column("state", "state"),
    Column("code", "code"),
    Column("cycles", "cycles", cycles_text, right=True),
    Column("burn", "burn a day", cycles_text, right=True),
    Column("runway_days", "runway", days_shown, right=True),
)
_CHILDREN = (*_ZONE, *_FUEL, Column("read_at", "read", time_shown))
_ASKED = (*_CHILDREN, Column("version", "version", right=True), Column("fault", "fault"))
_RETIRED = (
    *_ZONE,
    Column("stage", "stage"),
    Column("creator", "creator"),
    Column("created_at", "created", time_shown),
    Column("retired_at", "retired", time_shown),
)
_TIME = Column("time", "time", time_shown)
_FLEET_HISTORY = (
    _TIME,
    Column("battery", "battery", cycles_text, right=True),
    Column("fleet", "zones", cycles_text, right=True),
    Column("burn", "burn a day", cycles_text, right=True),
    Column("passed_on", "passed on", cycles_text, right=True),
    Column("children", "count", right=True),
)
_CHILD_HISTORY = (
    _TIME,
    Column("balance", "cycles", cycles_text, right=True),
    Column("paid", "paid to it", cycles_text, right=True),
)
_SWEEP = tuple(
    Column(key, key.replace("_", " "))
    for key in ("number", "begun_at", "ended_at", "looked_at", "refilled", "unreadable", "deposited")
)
_NAMED = "a zone's canister or id"


def register(commands: Subparsers, add: Add) -> None:
    """Add the group and all its commands."""
    group = commands.add_parser(
        "fleet",
        help="the factory's zones: fuel, code, alerts, policy",
        description="Look after all zones of a factory: their fuel, their code, alerts, and the policy.",
        epilog="example: zones fleet list",
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    of_a_factory(
        *_add_overview(actions, add),
        *fleet_battery.register(actions, add),
        *fleet_code.register(actions, add),
        *fleet_rollout.register(actions, add),
        *fleet_install.register(actions, add),
        *fleet_info.register(actions, add),
        *fleet_policy.register(actions, add),
        *fleet_zone.register(actions, add),
    )


def _add_overview(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    listed = add(
        actions,
        "list",
        "list the factory's zones as they were read last: state, code, cycles, burn, runway",
        _list,
        "zones fleet list --csv",
    )
    which = listed.add_mutually_exclusive_group()
    which.add_argument("--ask", action="store_true", help="ask every zone, too: its version, and its cycles now")
    which.add_argument(
        "--retired", action="store_true", help="those that were retired instead, as far as the audit log goes back"
    )
    status = add(
        actions,
        "status",
        "show the state of the factory and its battery, or what is known of one zone canister",
        _status,
        "zones fleet status rwlgt-iiaaa-aaaaa-aaaaa-cai",
    )
    status.add_argument("zone", nargs="?", metavar="ZONE", help=_NAMED)
    status.add_argument("--full", action="store_true", help="what the platform says of a zone, too; for admins")
    history = add(
        actions,
        "history",
        "show the cycles and the burn of all zones over time, or the cycles of one",
        _history,
        "zones fleet history --csv > fleet.csv",
    )
    history.add_argument("zone", nargs="?", metavar="ZONE", help=_NAMED)
    swept = add(
        actions,
        "sweep",
        "have the factory look at all zones now, and refill those that run low",
        _sweep,
        "zones fleet sweep",
    )
    report = add(
        actions,
        "report",
        "write a page with plots of the fleet's cycles, burn and runway, which opens without a network",
        _report,
        "zones fleet report --file fleet.html",
    )
    report.add_argument("--file", default="fleet.html", metavar="PATH", help="where to (default: fleet.html)")
    return [listed, status, history, swept, report]


def _list(context: Context) -> Result:
    desk = Desk(context)
    if desk.options.retired:
        rows = fleet.retired(desk.factory, desk.index)
        return desk.listing("zones", Table(_RETIRED, rows), "no zone was retired")
    rows, columns = desk.zones(), _CHILDREN
    if desk.options.ask:
        with counting("zones asked") as progress:
            rows, columns = fleet.ask_all(desk.agent, rows, progress), _ASKED
    code = ATTENTION if any(map(fleet.is_trouble, rows)) else 0
    return desk.listing("zones", Table(columns, rows), "the factory has no zones yet", exit_code=code)


def _status(context: Context) -> Result:
    desk = Desk(context, signed=context.options.full)
    if desk.options.full and not desk.options.zone:
        raise UserError("--full is for one zone", "name its canister")
    return _child_status(desk) if desk.options.zone else _fleet_status(desk)


def _child_status(desk: Desk) -> Result:
    canister = desk.canister(desk.options.zone)
    child = desk.readings.child(canister)
    if child is None:
        raise desk.unknown(canister)
    row = fleet.child_row(child, fleet.release_versions(desk.factory))
    entry = desk.index.zone(canister)
    if entry is not None:
        row |= fleet.index_row(entry)
    row.update(fleet.ask(desk.agent, row["canister"]))
    controllers = desk.agent.canister_controllers(canister)
    row["controllers"] = [to_text(controller) for controller in controllers]
    lines = [f"{column.title:<12} {shown}" for column, shown in Table(_ASKED, [row]).shown(row)]
    lines += [
        f"{'paid to it':<12} {cycles_text(row['paid'])} ever; {cycles_text(row['quota_used'])} of "
        f"{cycles_text(row['quota_limit'])} of its quota",
        f"{'controllers':<12} {', '.join(row['controllers']) or 'none'}",
        f"{'owners':<12} {', '.join(row.get('owners', [])) or 'none'}",
    ]
    if desk.options.full:
        with explaining(desk.options.identity):
            row["platform"] = fleet.platform_row(desk.rollouts.child_status(canister))
        lines += [f"{name.replace('_', ' '):<26} {joined(value) or NOTHING}" for name, value in row["platform"].items()]
    return Result(desk.summary(**row), lines, Table(_ASKED, [row]), ATTENTION if fleet.is_trouble(row) else 0)


def _fleet_status(desk: Desk) -> Result:
    data = fleet.figures(desk.factory, desk.battery, desk.readings)
    quota, release, sums, swept = data["quota"], data["release"], data["deposits"], data["sweep"]
    settled = sums["settled"]
    runway = "no burn yet" if data["runway_days"] is None else f"{days_shown(data['runway_days'])} above the reserve"
    lines = [
        f"factory   {data['factory']}, version {data['version']}, {data['children']} zones",
        f"battery   {cycles_text(data['cycles'])} cycles, of which {cycles_text(data['reserve'])} are the reserve",
        f"burn      {cycles_text(data['fleet_burn'])} a day by zones, {cycles_text(data['own_burn'])} by the factory",
        f"runway    {runway}",
        f"quota     {cycles_text(quota['used'])} of {cycles_text(quota['limit'])} used in {quota['seconds']} s",
        f"deposits  {settled['count']} settled, {cycles_text(settled['attached'] - settled['refunded'])} in all; "
        + ", ".join(f"{sums[outcome]['count']} {outcome}" for outcome in ("pending", "failed", "unknown"))
        + f"; {cycles_text(sums['returned']['refunded'])} given back by {sums['returned']['count']} retired zones",
        f"sweep     {_sweep_text(swept) if swept else 'none yet: `zones fleet sweep` begins one'}",
        f"release   version {release['version']}, {release['size']} bytes, {time_shown(release['published_at'])} UTC"
        if release
        else "release   none yet: run `zones deploy`",
        f"alerts    {data['open_alerts']} open" + (": see `zones fleet alerts`" if data["open_alerts"] else ""),
    ]
    keys = ("factory", "version", "children", "cycles", "reserve", "fleet_burn", "runway_days", "open_alerts")
    return Result({"network": desk.context.url, **data}, lines, Table([Column(key, key) for key in keys], [data]))


def _sweep_text(swept: dict[str, object]) -> str:
    ended = swept["ended_at"]
    when = f"ended {time_shown(str(ended))} UTC" if ended else f"running since {time_shown(str(swept['begun_at']))} UTC"
    return (
        f"number {swept['number']}, {when}: {swept['looked_at']} zones looked at, {swept['refilled']} refilled, "
        f"{swept['unreadable']} not readable"
    )


def _history(context: Context) -> Result:
    desk = Desk(context)
    none = "nothing was read yet: `zones fleet sweep` reads all zones now"
    if desk.options.zone:
        canister = desk.canister(desk.options.zone)
        rows = [fleet.reading_row(reading) for reading in desk.readings.child_history(canister)]
        return desk.listing("history", Table(_CHILD_HISTORY, rows), none, canister=to_text(canister))
    rows = [fleet.reading_row(reading) for reading in desk.readings.history()]
    return desk.listing("history", Table(_FLEET_HISTORY, rows), none)


def _sweep(context: Context) -> Result:
    desk = Desk(context, signed=True)
    with counting("zones looked at") as progress, explaining(desk.options.identity):
        swept = fleet.sweep(desk.readings, progress, lambda: time.sleep(SWEEP_WAIT_SECONDS))
    code = ATTENTION if swept["unreadable"] else 0
    lines = [f"sweep {_sweep_text(swept)}, {cycles_text(swept['deposited'])} deposited"]
    return Result(desk.summary(sweep=swept), lines, Table(_SWEEP, [swept]), code)


def _report(context: Context) -> Result:
    desk = Desk(context)
    path = Path(desk.options.file)
    with counting("zones read") as progress:
        report = collect(
            context.url, int(time.time()), desk.factory, desk.battery, desk.readings, desk.zones(), progress
        )
    try:
        path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}", "name another file with --file") from error
    row = {"file": str(path), "zones": len(report.zones), "readings": len(report.history), "alerts": len(report.alerts)}
    lines = [
        f"{path}: {row['zones']} zones, {row['readings']} readings, {row['alerts']} open alerts",
        "open it in a browser",
    ]
    return Result(desk.summary(**row), lines, Table([Column(key, key) for key in row], [row]))
