"""What the commands of `zones fleet` and `zones custody` share: the factory, tables, progress, explained refusals.

Not for any one command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from localnet.principal import to_text
from zones import checks, fleet
from zones.battery import Battery
from zones.context import Context, Progress, Result
from zones.creations import Creations
from zones.custody import Custody
from zones.errors import RejectedError, UserError
from zones.factory import Factory
from zones.identity import Anonymous
from zones.readings import Readings
from zones.rollouts import Rollouts
from zones.tables import Column, Table
from zones.zone_index import ZoneIndex

LAST = 50
"""How many entries of a log are shown unless told."""
_NOT_AN_ADMIN, _NOT_A_CONTROLLER = "Caller is not an admin", "Caller is not a controller"
_NOT_AN_OWNER = ("Caller does not speak for the zone", "Caller is not an owner of the zone")
_OWED = "cycles are owed for this zone"


class Desk:
    """The factory that a command is about, seen by who calls: nobody in particular unless `signed`."""

    def __init__(self, context: Context, *, signed: bool = False) -> None:
        self.context = context
        self.options = context.options
        factory = context.factory_id()
        signer = context.state.identity(self.options.identity) if signed else Anonymous()
        self.agent = context.agent(signer)
        self.factory = Factory(self.agent, factory)
        self.battery = Battery(self.agent, factory)
        self.readings = Readings(self.agent, factory)
        self.rollouts = Rollouts(self.agent, factory)
        self.index = ZoneIndex(self.agent, factory)
        self.custody = Custody(self.agent, factory)
        self.creations = Creations(self.agent, factory)

    def canister(self, named: str) -> bytes:
        """Return the canister of a zone that is named by its canister or by its id.

        An id stands for the zone that was made from here, else for the one that its contract vouches for, else for the
        only one there is.
        """
        known = self.context.state.find_zone(self.context.url, named)
        if known is not None or not named.startswith("0x"):
            return checks.party(known.canister if known else named)
        canonical, zones = self.index.of_id(checks.zone_id(named))
        if canonical is not None or len(zones) == 1:
            return canonical or zones[0]["canister"]
        raise UserError(
            f"{len(zones)} zones of the factory have the id {named}, and its contract vouches for none"
            if zones
            else f"the factory has no zone {named}",
            "name its canister: " + (", ".join(to_text(zone["canister"]) for zone in zones) or "`zones fleet list`"),
        )

    def zone(self, canister: bytes) -> dict[str, Any]:
        """Return a zone as the factory's index has it."""
        found = self.index.zone(canister)
        if found is None:
            raise self.unknown(canister)
        return found

    def check_again(self, canister: bytes, again: str | None) -> None:
        """Raise UserError unless the zone whose data an act would destroy was named once more."""
        name = to_text(canister)
        if again != name:
            raise UserError(
                f"all data of {name} would be destroyed; its canister once more is "
                f"{'missing' if again is None else again}",
                f"to do that give --again {name}",
            )

    def unknown(self, canister: bytes) -> UserError:
        """Return what is to be said of a canister that the factory tells nothing of: none of its zones, or retired."""
        name, known = to_text(canister), self.index.zone(canister)
        if known is not None:
            return UserError(
                f"{name} was the canister of zone {known['zone_id']} and is {known['stage']}",
                f"`zones custody show {name}` shows what is known of it",
            )
        return UserError(
            f"{name} is no zone of the factory {to_text(self.factory.canister)}", "`zones fleet list` lists them"
        )

    def zones(self) -> list[dict[str, Any]]:
        """Return a row for each zone of the factory."""
        return fleet.children(self.readings, self.factory, self.index)

    def summary(self, **data: Any) -> dict[str, Any]:
        """Return what `--json` shows, under the network and the factory."""
        return {"network": self.context.url, "factory": to_text(self.factory.canister), **data}

    def listing(self, key: str, table: Table, none: str, *, exit_code: int = 0, **data: Any) -> Result:
        """Return a result that is a table, or the line `none` where it has no rows."""
        lines = table.lines() if table.rows else [none]
        return Result(self.summary(**{key: list(table.rows)}, **data), lines, table, exit_code)


def of_a_factory(*commands: argparse.ArgumentParser) -> None:
    """Add what all commands about a factory take."""
    for command in commands:
        command.add_argument("--factory", metavar="PRINCIPAL", help="the factory (default: the deployed one)")
        command.add_argument("--csv", action="store_true", help="print a table as CSV instead of text")


def again_option(command: argparse.ArgumentParser) -> None:
    """Add --again, which `Desk.check_again` checks."""
    command.add_argument("--again", metavar="CANISTER", help="the zone's canister once more, in full")


def newest(entries: Iterable[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return the newest entries of a log, as many as asked for, in the order in which they came to be."""
    return list(islice(entries, most))[::-1]


@contextmanager
def counting(what: str) -> Iterator[Any]:
    """Show on a terminal how many of all are done; gives the function to call with (done, in all)."""
    with Progress() as progress:
        yield lambda done, size: progress.show(f"{what}: {done} of {size}")


@contextmanager
def explaining(identity: str) -> Iterator[None]:
    """Add to the factory's refusal of a caller what he can do about it."""
    try:
        yield
    except RejectedError as error:
        if _NOT_AN_ADMIN in error.message:
            what, hint = "no admin of the factory", "`zones fleet admins` lists them, a controller adds one"
        elif _NOT_A_CONTROLLER in error.message:
            what = "no controller of the factory, as it read them last"
            hint = "name a controller with --identity; `dfx canister info` lists them"
        elif any(text in error.message for text in _NOT_AN_OWNER):
            what, hint = "no owner of the zone", "name one with --identity; `zones custody show` lists them"
        elif _OWED in error.message:
            raise RejectedError(error.message, "`zones custody repay` does that", code=error.code) from error
        else:
            raise
        raise RejectedError(f"{identity} is {what}", hint, code=error.code) from error


NUMBER = Column("number", "no.", right=True)
