"""`zones fleet rollout`: a release on its way to all zones: start, watch, pause, resume, abort.

Not for releases themselves (`fleet_code`) and not for the code of single zones (`fleet_install`).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from localnet.principal import to_text
from zones import checks, fleet
from zones.commands import Add, Subparsers
from zones.commands.fleet_desk import Desk, explaining
from zones.context import ATTENTION, Context, Progress, Result, checked
from zones.rollouts import FAULTS, OUTCOMES
from zones.tables import Column, Table, iso, time_shown
from zones.upgrading import find_release

WAIT_SECONDS = 1.0
"""How often a rollout is looked at while it runs."""
ACTIONS = ("show", "start", "wait", "pause", "resume", "abort")
CANARY, BATCH, FAILURES = 1, 4, 1
"""A rollout begins with one zone, goes on with four at a time and pauses at the first failure, unless told."""

_CHANGES = (
    Column("canister", "canister"),
    Column("outcome", "outcome"),
    Column("step", "step"),
    Column("begun_at", "begun", time_shown),
    Column("fault", "fault"),
)


def register(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    """Add the command; returns its parser."""
    command = add(
        actions,
        "rollout",
        "bring a release to all zones, canaries first; show, pause, resume or abort that",
        _rollout,
        "zones fleet rollout start --release 1001 --wait",
    )
    command.add_argument("what", nargs="?", choices=ACTIONS, default="show", help="default: show")
    positive = checked(checks.positive)
    command.add_argument("--release", type=positive, metavar="VERSION", help="what to start (default: the newest)")
    command.add_argument(
        "--canary",
        type=checked(checks.whole),
        default=CANARY,
        metavar="N",
        help=f"zones that have to go well before the others are touched (default: {CANARY})",
    )
    command.add_argument(
        "--batch", type=positive, default=BATCH, metavar="N", help=f"zones at a time (default: {BATCH})"
    )
    command.add_argument(
        "--pause-on-failures",
        type=positive,
        default=FAILURES,
        metavar="N",
        help=f"pause when so many zones failed (default: {FAILURES})",
    )
    command.add_argument("--wait", action="store_true", help="stay until the rollout pauses or ends")
    command.add_argument("--all", action="store_true", help="show the zones that went well, too")
    start = add(
        actions, "start", "start zones that are stopped", _start_zones, "zones fleet start rwlgt-iiaaa-aaaaa-aaaaa-cai"
    )
    start.add_argument("zones", nargs="+", metavar="ZONE", help="a zone's canister or id")
    return [command, start]


def _rollout(context: Context) -> Result:
    options = context.options
    desk = Desk(context, signed=options.what not in ("show", "wait"))
    with explaining(options.identity):
        if options.what == "start":
            _start(desk)
        elif options.what in ("pause", "resume", "abort"):
            desk.rollouts.steer(options.what)
    if options.wait or options.what == "wait":
        with Progress() as progress:
            desk.rollouts.wait(lambda rollout: progress.show(_counted(rollout)), lambda: time.sleep(WAIT_SECONDS))
    return _shown(desk)


def _start(desk: Desk) -> None:
    options = desk.options
    plan = {"canary": options.canary, "batch": options.batch, "pause_on_failures": options.pause_on_failures}
    desk.rollouts.start(options.release or find_release(desk.factory, None, None)["version"], **plan)


def _start_zones(context: Context) -> Result:
    desk = Desk(context, signed=True)
    canisters = [desk.canister(zone) for zone in desk.options.zones]
    with explaining(desk.options.identity):
        for canister in canisters:
            desk.rollouts.start_child(canister)
    rows = [{"canister": to_text(canister), "started": True} for canister in canisters]
    table = Table([Column("canister", "canister"), Column("started", "started")], rows)
    return desk.listing("zones", table, "")


def _shown(desk: Desk) -> Result:
    rollout = desk.rollouts.last()
    if rollout is None:
        return Result(desk.summary(rollout=None), ["no rollout was started yet"], Table(_CHANGES, []))
    rows = [fleet.change_row(change) for change in desk.rollouts.changes()]
    listed = rows if desk.options.all else [row for row in rows if row["outcome"] not in ("upgraded", "current")]
    lines = [
        f"rollout   {rollout['number']} of release {rollout['release']}, {rollout['state']}"
        + (f": {rollout['reason']}" if rollout["reason"] else ""),
        f"plan      {rollout['canary']} canaries, {rollout['batch']} at a time, pauses at "
        f"{rollout['pause_on_failures']} failures",
        f"zones     {_counted(rollout)}",
        *(Table(_CHANGES, listed).lines() if listed else []),
    ]
    data = {key: value for key, value in rollout.items() if key not in ("changes", "next")}
    data |= {
        "wasm_hash": rollout["wasm_hash"].hex(),
        "started_at": iso(rollout["started_at"]),
        "ended_at": iso(rollout["ended_at"]),
        "under_way": [to_text(canister) for canister in rollout["under_way"]],
    }
    troubled = rollout["state"] == "paused" or any(rollout["counts"][outcome] for outcome in FAULTS)
    return Result(desk.summary(rollout=data, changes=rows), lines, Table(_CHANGES, rows), ATTENTION if troubled else 0)


def _counted(rollout: dict[str, Any]) -> str:
    """Return how far a rollout is, in a line."""
    counts = rollout["counts"]
    counted = [f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]]
    if rollout["under_way"]:
        counted.append(f"{len(rollout['under_way'])} under way")
    return f"{sum(counts.values())} of {rollout['children']}" + (f": {', '.join(counted)}" if counted else "")
