"""`zones fleet admins|audit|releases`: who may change the fleet, what they did, and the code its zones get.

Not for fuel (`fleet_battery`).
"""

from __future__ import annotations

import argparse

from localnet.principal import to_text
from zones import checks, fleet
from zones.commands import Add, Subparsers
from zones.commands.fleet_desk import LAST, NUMBER, Desk, explaining, newest
from zones.context import Context, Progress, Result, checked
from zones.errors import UserError
from zones.tables import Column, Table, time_shown
from zones.zone_code import read_wasm

_ADMINS = (Column("admin", "admin"), Column("name", "identity here"))
_ACTS = (
    NUMBER,
    Column("time", "time", time_shown),
    Column("action", "action"),
    Column("subject", "subject"),
    Column("details", "details"),
    Column("caller", "caller"),
)
_RELEASES = (
    Column("version", "version", right=True),
    Column("published_at", "published", time_shown),
    Column("retired_at", "retired", time_shown),
    Column("size", "bytes", right=True),
    Column("wasm_sha256", "SHA-256 of the Wasm"),
    Column("notes", "notes"),
)


def register(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    """Add the commands; returns their parsers."""
    admins = add(
        actions,
        "admins",
        "show the factory's admins, add one or remove one",
        _admins,
        "zones fleet admins --add w7x7r-cok77-xa",
    )
    change = admins.add_mutually_exclusive_group()
    party = checked(checks.party)
    change.add_argument("--add", type=party, metavar="PRINCIPAL", help="make a principal an admin; for controllers")
    change.add_argument("--remove", type=party, metavar="PRINCIPAL", help="take an admin's rights; for controllers")
    audit = add(actions, "audit", "show what admins did, or owners", _audit, "zones fleet audit --last 20")
    audit.add_argument(
        "--last", type=checked(checks.entries), default=LAST, metavar="N", help=f"most acts to show (default: {LAST})"
    )
    audit.add_argument("--owners", action="store_true", help="what owners and creators of zones did")
    return [admins, audit, _add_releases(actions, add)]


def _add_releases(actions: Subparsers, add: Add) -> argparse.ArgumentParser:
    command = add(
        actions,
        "releases",
        "show the releases that zones get, publish one or retire one",
        _releases,
        "zones fleet releases --publish build/zone_canister/zone_canister.wasm.gz --version 1001",
    )
    change = command.add_mutually_exclusive_group()
    change.add_argument("--publish", metavar="WASM", help="upload this gzipped Wasm and make it the release")
    change.add_argument(
        "--retire", type=checked(checks.positive), metavar="VERSION", help="drop the code of a former release"
    )
    command.add_argument("--version", type=checked(checks.positive), metavar="N", help="version of what is published")
    command.add_argument("--notes", default="", help="notes of what is published")
    return command


def _admins(context: Context) -> Result:
    options = context.options
    desk = Desk(context, signed=options.add is not None or options.remove is not None)
    with explaining(options.identity):
        if options.add is not None:
            desk.factory.add_admin(options.add)
        elif options.remove is not None:
            desk.factory.remove_admin(options.remove)
    names = {identity.sender(): name for name, identity in context.state.identities().items()}
    rows = [{"admin": to_text(admin), "name": names.get(admin)} for admin in desk.factory.admins()]
    return desk.listing("admins", Table(_ADMINS, rows), "the factory has no admins")


def _audit(context: Context) -> Result:
    desk = Desk(context)
    rows = [fleet.act_row(act) for act in newest(desk.factory.acts(owners=desk.options.owners), desk.options.last)]
    return desk.listing("acts", Table(_ACTS, rows), "nothing was done yet")


def _releases(context: Context) -> Result:
    options = context.options
    if (options.publish is None) != (options.version is None):
        raise UserError("--publish and --version belong together", "give the Wasm's version, the source's VERSION")
    desk = Desk(context, signed=options.publish is not None or options.retire is not None)
    with explaining(options.identity):
        if options.publish is not None:
            _publish(desk, options.publish)
        elif options.retire is not None:
            desk.factory.retire_release(options.retire)
    rows = [fleet.release_row(release) for release in desk.factory.releases()]
    return desk.listing("releases", Table(_RELEASES, rows), "no release was published yet: run `zones deploy`")


def _publish(desk: Desk, path: str) -> None:
    wasm = read_wasm(path)
    with Progress() as progress:
        digest = desk.factory.upload_release(wasm, lambda done, size: progress.bytes("zone Wasm", done, size))
    desk.factory.publish_release(desk.options.version, digest, desk.options.notes)
