"""`zones custody`: who owns a zone and controls its canister, how that passes on, and how a zone ends.

Not for what admins of the factory decide (`fleet_zone`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from localnet.principal import to_text
from zones import checks
from zones.commands import Add, Subparsers
from zones.commands.fleet_desk import Desk, again_option, explaining, of_a_factory
from zones.context import ATTENTION, Context, Result, checked, cycles_text
from zones.custody import custody_row, missing
from zones.errors import RejectedError, UserError
from zones.network import IC_URL
from zones.paying import through_payer, through_wallet
from zones.tables import Column, Table, time_shown
from zones.zone_index import CUSTODIES, RETIRED

_CONTROL = {
    "managed": "the factory alone controls it",
    "shared": "the factory and its owners control it",
    "sovereign": "its owners alone control it",
}
_COLUMNS = (
    Column("canister", "canister"),
    Column("zone_id", "zone"),
    Column("stage", "stage"),
    Column("custody", "custody"),
    Column("funding", "funding"),
    Column("owed", "owed", cycles_text, right=True),
    Column("read_at", "read", time_shown),
)
_REPAID = (
    Column("canister", "canister"),
    Column("repaid", "repaid", cycles_text, right=True),
    Column("owed", "still owed", cycles_text, right=True),
)
_EXAMPLE_ZONE = "rwlgt-iiaaa-aaaaa-aaaaa-cai"
_EXAMPLE_TERMS = " --custody sovereign --owner w7x7r-cok77-xa"


def register(commands: Subparsers, add: Add) -> None:
    """Add the group and all its commands."""
    group = commands.add_parser(
        "custody",
        help="a zone's owners: offer it, accept it, end it",
        description="See and change who owns a zone and controls its canister. What is owed for a zone that the "
        "factory paid for is repaid with cycles, which only canisters can send: a cycles wallet does it with `zones "
        "custody repay`, or with the call that `show` prints; or an admin of the factory waives it "
        "(`zones fleet waive`).",
        epilog=f"example: zones custody show {_EXAMPLE_ZONE}",
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")

    def added(name: str, summary: str, run: Callable[[Context], Result], options: str = "") -> argparse.ArgumentParser:
        command = add(actions, name, summary, run, f"zones custody {name} {_EXAMPLE_ZONE}{options}")
        command.add_argument("zone", metavar="ZONE", help="a zone's canister or id")
        of_a_factory(command)
        return command

    show = added("show", "show a zone's owners and controllers, what is owed, and what is offered to whom", _show)
    show.add_argument("--refresh", action="store_true", help="have the factory read the controllers anew first")
    offer = added(
        "offer",
        "offer a zone to owners; it is theirs once each new one has accepted, and each who loses it",
        _offer,
        _EXAMPLE_TERMS,
    )
    accept = added("accept", "accept a zone that is offered to --identity, as `show` tells", _accept, _EXAMPLE_TERMS)
    for command, needed in ((offer, True), (accept, False)):
        command.add_argument(
            "--custody",
            required=needed,
            choices=CUSTODIES,
            help="; ".join(f"{name}: {meaning}" for name, meaning in _CONTROL.items()),
        )
        command.add_argument(
            "--owner",
            required=needed,
            type=checked(checks.party),
            action="append",
            dest="owners",
            metavar="PRINCIPAL",
            help="one of its owners; may be repeated",
        )
    added("cancel", "take back an offer that was not carried out, and one's wish to retire the zone", _cancel)
    repay = added(
        "repay",
        "repay what is owed for a zone from a cycles wallet; for anybody",
        _repay,
        " --wallet rdmx6-jaaaa-aaaaa-aaadq-cai",
    )
    repay.add_argument(
        "--wallet",
        type=checked(checks.party),
        metavar="CANISTER",
        help="a cycles wallet that --identity controls (default: none, on a local network: cycles out of nothing)",
    )
    repay.add_argument(
        "--cycles", type=checked(checks.cycles), metavar="CYCLES", help="500B, 1T (default: all that is owed)"
    )
    retire = added(
        "retire",
        "destroy a zone with all its messages; each of its owners has to ask for it",
        _retire,
        f" --again {_EXAMPLE_ZONE}",
    )
    again_option(retire)
    release = added(
        "accept-release",
        "let the factory install a release on a zone that it controls together with owners",
        _accept_release,
        " --release 1001",
    )
    wipe = added(
        "accept-reinstall",
        "let the factory wipe a zone that it controls together with owners, once; each of them has to",
        _accept_reinstall,
        f" --release 1001 --again {_EXAMPLE_ZONE}",
    )
    again_option(wipe)
    for command in (release, wipe):
        command.add_argument(
            "--release", required=True, type=checked(checks.positive), metavar="VERSION", help="which one"
        )


def _show(context: Context) -> Result:
    desk = Desk(context, signed=context.options.refresh)
    canister = desk.canister(context.options.zone)
    if context.options.refresh:
        desk.custody.refresh(canister)
    return _shown(desk, desk.zone(canister))


def _offer(context: Context) -> Result:
    options = context.options
    return _act(context, lambda desk, zone: desk.custody.offer(zone, options.custody, options.owners))


def _accept(context: Context) -> Result:
    options = context.options

    def accept(desk: Desk, zone: bytes) -> None:
        if not (options.custody and options.owners):
            offer = custody_row(desk.zone(zone))["offer"]
            if offer is None:
                raise UserError("this zone is offered to nobody", "one of its owners offers it: zones custody offer")
            raise UserError(
                f"what is accepted? {offer['custody']} to {', '.join(offer['owners'])} is offered",
                f"to accept just that: {_accepting(to_text(zone), offer)}",
            )
        desk.custody.accept(zone, options.custody, options.owners)

    return _act(context, accept)


def _accepting(zone: str, offer: dict[str, Any]) -> str:
    """Return the command that accepts an offer: it repeats it, so that no other is accepted by mistake."""
    owners = " ".join(f"--owner {owner}" for owner in offer["owners"])
    return f"zones custody accept {zone} --custody {offer['custody']} {owners}"


def _cancel(context: Context) -> Result:
    return _act(context, lambda desk, zone: desk.custody.cancel(zone))


def _act(context: Context, act: Callable[[Desk, bytes], None]) -> Result:
    """Do something to a zone and show what came of it; the exit code says whether others have yet to act."""
    desk = Desk(context, signed=True)
    canister = desk.canister(context.options.zone)
    with explaining(context.options.identity):
        act(desk, canister)
    return _shown(desk, desk.zone(canister))


def _retire(context: Context) -> Result:
    desk = Desk(context, signed=True)
    canister = desk.canister(context.options.zone)
    name, again = to_text(canister), context.options.again
    desk.check_again(canister, again)
    try:
        with explaining(context.options.identity):
            recovered = desk.custody.retire(canister, again)
    except RejectedError:
        zone, caller = desk.zone(canister), desk.agent.sender()
        if caller in zone["agreed_to_retire"] and missing(zone["owners"], zone["agreed_to_retire"]):
            return _shown(desk, zone)  # what the caller can do is done
        raise
    row = {**custody_row(desk.zone(canister)), "recovered": recovered}
    lines = [f"{name} is retired, {cycles_text(recovered)} cycles came back"]
    return Result(desk.summary(**row), lines, Table(_COLUMNS, [row]))


def _accept_release(context: Context) -> Result:
    return _consent(context, lambda desk, zone, release: desk.custody.accept_release(zone, release))


def _accept_reinstall(context: Context) -> Result:
    def accept(desk: Desk, zone: bytes, release: int) -> None:
        again = context.options.again
        desk.check_again(zone, again)
        desk.custody.accept_reinstall(zone, release, again)

    return _consent(context, accept)


def _consent(context: Context, accept: Callable[[Desk, bytes, int], None]) -> Result:
    """Consent to a release and show which."""
    desk = Desk(context, signed=True)
    canister, release = desk.canister(context.options.zone), context.options.release
    with explaining(context.options.identity):
        accept(desk, canister, release)
    row = {"canister": to_text(canister), "release": release}
    table = Table([Column(key, key) for key in row], [row])
    return desk.listing("accepted", table, "")


def _shown(desk: Desk, zone: dict[str, Any]) -> Result:
    row = custody_row(zone)
    offer, unheard = row["offer"], missing(zone["owners"], zone["agreed_to_retire"])
    agreed = [] if row["stage"] == RETIRED else row["agreed_to_retire"]
    lines = [
        f"canister     {row['canister']}",
        f"zone         {row['zone_id']}, {row['stage']}",
        f"custody      {row['custody']}: {_CONTROL[row['custody']]}",
        f"controllers  {', '.join(row['controllers']) or 'not read yet'}",
        f"owners       {', '.join(row['owners']) or 'none: its creator speaks for it'}",
        f"creator      {row['creator']}",
        f"owed         {cycles_text(row['owed'])}" + (f": {_repaying(desk, row)}" if row["owed"] else ""),
    ]
    if offer:
        lines.append(f"offer        {offer['custody']} to {', '.join(offer['owners'])}")
        lines.append(f"waits for    {', '.join(offer['waits_for']) or 'somebody to accept again: it failed'}")
        lines.append(f"to accept    {_accepting(row['canister'], offer)}")
    if agreed:
        lines.append(f"retirement   asked for by {', '.join(agreed)}; {', '.join(map(to_text, unheard))} have yet to")
    return Result(desk.summary(**row), lines, Table(_COLUMNS, [row]), ATTENTION if offer or agreed else 0)


def _repay(context: Context) -> Result:
    options = context.options
    if options.wallet is None and context.url == IC_URL:
        raise UserError(
            "which wallet repays? Only canisters can send cycles",
            "name a cycles wallet that --identity controls with --wallet, or make the call that `show` prints",
        )
    desk = Desk(context, signed=True)
    zone = desk.zone(desk.canister(options.zone))
    owed, name = zone["owed"], to_text(zone["canister"])
    amount = min(owed, options.cycles or owed)
    send = partial(through_payer, desk.agent)
    if options.wallet is not None:
        send = partial(through_wallet, desk.agent, options.wallet)
    left = desk.custody.repay(zone["canister"], amount, send) if amount else 0
    row = {"canister": name, "repaid": owed - left, "owed": left}
    return desk.listing("repaid", Table(_REPAID, [row]), "", exit_code=ATTENTION if left else 0)


def _repaying(desk: Desk, row: dict[str, Any]) -> str:
    """Return how what is owed is repaid: no command line can send cycles with a call, a wallet can."""
    network = "ic" if desk.context.url == IC_URL else desk.context.url
    return (
        f"dfx canister call --network {network} {to_text(desk.factory.canister)} repay "
        f"'(principal \"{row['canister']}\")' --with-cycles {row['owed']} --wallet <your wallet>"
    )
