"""`zones fleet allowance|fuel|waive|allow-code|creation|settle-deposit`: what admins decide on single zones.

Not for what its owners decide (`custody`).
"""

from __future__ import annotations

import argparse

from localnet.principal import to_text
from zones import checks
from zones.commands import Add, Subparsers
from zones.commands.fleet_desk import Desk, explaining
from zones.context import ATTENTION, Context, Result, checked, cycles_text
from zones.creations import creation_row
from zones.errors import UserError
from zones.tables import Column, Table, iso, time_shown

_CANISTER = Column("canister", "canister")
_ALLOWANCE = (_CANISTER, Column("allowance", "cycles a day", cycles_text, right=True))
_FUEL = (_CANISTER, Column("fuelled", "gets cycles"))
_WAIVED = (_CANISTER, Column("waived", "waived", cycles_text, right=True))
_ALLOWED = (_CANISTER, Column("sha256", "SHA-256"), Column("until", "until", time_shown))
_CREATION = (
    Column("id", "no.", right=True),
    Column("stage", "stage"),
    Column("running", "running"),
    Column("zone_id", "zone"),
    _CANISTER,
    Column("creator", "creator"),
    Column("asked_at", "asked", time_shown),
    Column("fault", "fault"),
)


def register(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    """Add the commands; returns their parsers."""
    allowance = add(
        actions,
        "allowance",
        "set what a zone that the factory does not control is given a day; for admins",
        _allowance,
        "zones fleet allowance rwlgt-iiaaa-aaaaa-aaaaa-cai 100B",
    )
    fuel = add(
        actions,
        "fuel",
        "have a zone get no more cycles from the battery, or get them again; for admins",
        _fuel,
        "zones fleet fuel rwlgt-iiaaa-aaaaa-aaaaa-cai off",
    )
    waive = add(
        actions,
        "waive",
        "let a zone be handed over without what is owed for it; for admins",
        _waive,
        "zones fleet waive rwlgt-iiaaa-aaaaa-aaaaa-cai",
    )
    allow = add(
        actions,
        "allow-code",
        "let admins put code that is no release on a zone within an hour; for controllers",
        _allow_code,
        "zones fleet allow-code rwlgt-iiaaa-aaaaa-aaaaa-cai 3f0a...",
    )
    for command in (allowance, fuel, waive, allow):
        command.add_argument("zone", metavar="ZONE", help="a zone's canister or id")
    allowance.add_argument(
        "cycles", type=checked(checks.cycles_limit), metavar="CYCLES", help="500B, 1T, or none for nothing"
    )
    fuel.add_argument("switch", choices=("on", "off"), help="off: nothing, whoever asks; on: by the policy again")
    allow.add_argument("sha256", type=checked(checks.sha256), metavar="SHA256", help="of the gzipped Wasm")
    return [allowance, fuel, waive, allow, _add_creation(actions, add), _add_settling(actions, add)]


def _add_creation(actions: Subparsers, add: Add) -> argparse.ArgumentParser:
    command = add(
        actions,
        "creation",
        "show how far a creation got, or settle one whose answer was lost; for admins",
        _creation,
        "zones fleet creation 17 --settle none",
    )
    command.add_argument("which", metavar="NUMBER", help="the creation, or the id of a zone that --identity asked for")
    command.add_argument(
        "--settle",
        type=checked(_settled),
        metavar="CANISTER",
        help="the canister it got, as dashboards list it, or none when it got none",
    )
    return command


def _add_settling(actions: Subparsers, add: Add) -> argparse.ArgumentParser:
    command = add(
        actions,
        "settle-deposit",
        "say what became of a deposit whose answer was lost; for admins",
        _settle_deposit,
        "zones fleet settle-deposit 17 --lost 'the balance did not change'",
    )
    command.add_argument(
        "number", type=checked(checks.whole), metavar="NUMBER", help="as `zones fleet deposits` has it"
    )
    decision = command.add_mutually_exclusive_group()
    for name in ("arrived", "lost"):
        decision.add_argument(
            f"--{name}", metavar="REASON", help=f"it {name}, and why you say so (default: what the readings tell)"
        )
    return command


def _settled(text: str) -> bytes:
    """Return the canister that a creation is said to have got, no bytes for none."""
    return b"" if text == "none" else checks.party(text)


def _allowance(context: Context) -> Result:
    desk = Desk(context, signed=True)
    canister = desk.canister(desk.options.zone)
    with explaining(desk.options.identity):
        desk.readings.set_allowance(canister, desk.options.cycles)
    row = {"canister": to_text(canister), "allowance": desk.options.cycles}
    return desk.listing("allowances", Table(_ALLOWANCE, [row]), "")


def _fuel(context: Context) -> Result:
    desk = Desk(context, signed=True)
    canister, is_on = desk.canister(desk.options.zone), desk.options.switch == "on"
    with explaining(desk.options.identity):
        desk.readings.set_fuel(canister, is_on)
    row = {"canister": to_text(canister), "fuelled": is_on}
    return desk.listing("fuel", Table(_FUEL, [row]), "")


def _waive(context: Context) -> Result:
    desk = Desk(context, signed=True)
    zone = desk.zone(desk.canister(desk.options.zone))
    with explaining(desk.options.identity):
        desk.custody.waive(zone["canister"])
    row = {"canister": to_text(zone["canister"]), "waived": zone["owed"]}
    return desk.listing("waived", Table(_WAIVED, [row]), "")


def _allow_code(context: Context) -> Result:
    desk = Desk(context, signed=True)
    canister = desk.canister(desk.options.zone)
    with explaining(desk.options.identity):
        until = desk.rollouts.allow_code(canister, desk.options.sha256)
    row = {"canister": to_text(canister), "sha256": desk.options.sha256.hex(), "until": iso(until)}
    return desk.listing("allowed", Table(_ALLOWED, [row]), "")


def _settle_deposit(context: Context) -> Result:
    desk, options = Desk(context, signed=True), context.options
    is_decided = options.arrived is not None or options.lost is not None
    arrived = options.arrived is not None if is_decided else None
    reason = options.arrived or options.lost or ""
    with explaining(options.identity):
        desk.battery.settle(options.number, arrived, reason)
    found = next((entry for entry in desk.battery.deposits() if entry["number"] == options.number), None)
    row = {"number": options.number, "outcome": "" if found is None else found["outcome"]}
    return desk.listing("settled", Table([Column(key, key) for key in row], [row]), "")


def _creation(context: Context) -> Result:
    options = context.options
    is_mine = options.which.startswith("0x")
    if options.settle is not None and is_mine:
        raise UserError("--settle is for a creation's number", f"`zones fleet creation {options.which}` shows it")
    desk = Desk(context, signed=is_mine or options.settle is not None)
    if options.settle is not None:
        with explaining(options.identity):
            desk.creations.settle(checks.whole(options.which), options.settle or None)
    if is_mine:
        found = desk.creations.mine(checks.zone_id(options.which))
    else:
        found = desk.creations.creation(checks.whole(options.which))
    if found is None:
        whose = f"{options.identity} has asked for no zone" if is_mine else "the factory has no creation"
        raise UserError(f"{whose} {options.which}", "they are numbered from 1 on; zone ids are their creators'")
    row = creation_row(found)
    table = Table(_CREATION, [row])
    is_over = found["stage"] in ("live", "pooled", "taken") or found["running"]
    return desk.listing("creations", table, "", exit_code=0 if is_over else ATTENTION)
