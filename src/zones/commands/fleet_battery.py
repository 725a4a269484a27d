"""`zones fleet refill|refund|refund-account|deposits|alerts`: what the battery gives to whom, and what it has to say.

Not for code or admins (`fleet_code`).
"""

from __future__ import annotations

import argparse

from localnet.principal import from_text, to_text
from zones import checks, fleet
from zones.commands import Add, Subparsers
from zones.commands.fleet_desk import LAST, NUMBER, Desk, counting, explaining, newest
from zones.context import ATTENTION, Context, Result, checked, cycles_text
from zones.errors import RejectedError, UserError
from zones.tables import Column, Table, time_shown

_CANISTER = Column("canister", "canister")
_REFILLED = (_CANISTER, Column("received", "received", cycles_text, right=True), Column("fault", "fault"))
_DEPOSITS = (
    NUMBER,
    Column("begun_at", "begun", time_shown),
    _CANISTER,
    Column("attached", "attached", cycles_text, right=True),
    Column("refunded", "refunded", cycles_text, right=True),
    Column("outcome", "outcome"),
    Column("reason", "reason"),
)
_ALERTS = (
    NUMBER,
    Column("kind", "kind"),
    _CANISTER,
    Column("raised_at", "raised", time_shown),
    Column("cleared_at", "cleared", time_shown),
    Column("details", "details"),
)


def register(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    """Add the commands; returns their parsers."""
    refund = add(
        actions,
        "refund",
        "send what lies on the factory's account at the cycles ledger to the refund account",
        _refund,
        "zones fleet refund",
    )
    account = add(
        actions,
        "refund-account",
        "show whom `refund` sends to and on which ledger, or set it; for controllers",
        _refund_account,
        "zones fleet refund-account --set w7x7r-cok77-xa",
    )
    party = checked(checks.party)
    account.add_argument("--set", type=party, metavar="PRINCIPAL", help="who gets what is refunded")
    account.add_argument("--ledger", type=party, metavar="CANISTER", help="the ledger (default: mainnet's)")
    return [
        refund,
        account,
        _add_refill(actions, add),
        _add_deposits(actions, add),
        _add_alerts(actions, add),
    ]


def _add_refill(actions: Subparsers, add: Add) -> argparse.ArgumentParser:
    command = add(
        actions,
        "refill",
        "have zones refilled from the battery, up to the policy's balance",
        _refill,
        "zones fleet refill rwlgt-iiaaa-aaaaa-aaaaa-cai",
    )
    command.add_argument("zones", nargs="*", metavar="ZONE", help="a zone's canister or id")
    command.add_argument("--all", action="store_true", help="all zones of the factory")
    return command


def _add_deposits(actions: Subparsers, add: Add) -> argparse.ArgumentParser:
    command = add(
        actions,
        "deposits",
        "show what the battery paid to whom, and what became of it",
        _deposits,
        "zones fleet deposits --last 20",
    )
    _add_last(command, "deposits")
    command.add_argument("--zone", metavar="ZONE", help="only those to this zone canister")
    return command


def _add_alerts(actions: Subparsers, add: Add) -> argparse.ArgumentParser:
    command = add(
        actions,
        "alerts",
        "show what needs looking at; the exit code is 5 while an alert is open",
        _alerts,
        "zones fleet alerts --all",
    )
    command.add_argument("--all", action="store_true", help="those that were cleared, too")
    _add_last(command, "alerts")
    return command


def _add_last(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--last",
        type=checked(checks.entries),
        default=LAST,
        metavar="N",
        help=f"most {what} to show (default: {LAST})",
    )


def _refill(context: Context) -> Result:
    desk = Desk(context, signed=True)
    named = desk.options.zones
    if bool(named) == desk.options.all:
        raise UserError("which zones are to be refilled?", "name their canisters, or give --all for all of them")
    canisters = [desk.canister(zone) for zone in named] or [from_text(row["canister"]) for row in desk.zones()]
    with counting("refilled") as progress:
        rows = list(fleet.refill(desk.battery, canisters, progress))
    faults = {row["fault"] for row in rows}
    if len(faults) == 1 and rows[0]["fault"]:  # nothing was done, for one reason
        with explaining(desk.options.identity):
            raise RejectedError(rows[0]["fault"])
    table, code = Table(_REFILLED, rows), ATTENTION if faults - {None} else 0
    return desk.listing("refills", table, "the factory has no zones yet", exit_code=code)


def _refund(context: Context) -> Result:
    desk = Desk(context, signed=True)
    account = to_text(desk.battery.refund_account())
    with explaining(desk.options.identity):
        block = desk.battery.refund()
    row = {"account": account, "block": block}
    said = "there was nothing to send" if block is None else f"sent to {account}, block {block} of the cycles ledger"
    return Result(desk.summary(**row), [said], Table([Column(key, key) for key in row], [row]))


def _deposits(context: Context) -> Result:
    desk = Desk(context)
    found = desk.battery.deposits()
    if desk.options.zone:
        canister = desk.canister(desk.options.zone)
        found = (deposit for deposit in found if deposit["canister"] == canister)
    rows = [fleet.deposit_row(deposit) for deposit in newest(found, desk.options.last)]
    sums = desk.battery.deposit_sums()
    listed = desk.listing("deposits", Table(_DEPOSITS, rows), "no deposit was made yet", sums=sums)
    totals = [
        f"{outcome}: {one['count']} deposits ever, {cycles_text(one['attached'])} attached, "
        f"{cycles_text(one['refunded'])} refunded"
        for outcome, one in sums.items()
        if one["count"]
    ]
    return Result(listed.data, [*listed.lines, *totals], listed.table)


def _alerts(context: Context) -> Result:
    desk = Desk(context)
    found = desk.battery.alerts(open_only=not desk.options.all)
    rows = [fleet.alert_row(alert) for alert in newest(found, desk.options.last)]
    is_open = any(row["cleared_at"] is None for row in rows)
    none = "no alert was ever raised" if desk.options.all else "no alert is open"
    return desk.listing("alerts", Table(_ALERTS, rows), none, exit_code=ATTENTION if is_open else 0)


def _refund_account(context: Context) -> Result:
    options = context.options
    if options.ledger is not None and options.set is None:
        raise UserError("--ledger is for a refund account", "name it with --set, too")
    desk = Desk(context, signed=options.set is not None)
    if options.set is not None:
        with explaining(options.identity):
            desk.battery.set_refund_account(options.set, options.ledger)
    row = {"account": to_text(desk.battery.refund_account()), "ledger": to_text(desk.battery.refund_ledger())}
    columns = (Column("account", "refund account"), Column("ledger", "ledger"))
    return desk.listing("refunds", Table(columns, [row]), "")
