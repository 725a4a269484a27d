"""What every command of `zones` is given: state folder, network, identity, and how to print.

Not for parsing the command line (`zones.cli`) and not for doing anything on a network.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from zones import checks
from zones.agent import IcAgent, Signer
from zones.background import begun
from zones.errors import RejectedError, UserError, ZonesError
from zones.network import resolve
from zones.state import State, ZoneRecord
from zones.tables import Table, printable
from zones.zone import Zone

CALL_SECONDS = 300.0
"""Longest wait for one call: installing a canister whose Wasm must first be compiled takes a while."""
LOOK_SECONDS = 1.0
"""How often a call that takes long is looked after."""

_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Result:
    """What a command found out: `data` for `--json`, `lines` for people, `table` for `--csv`.

    `exit_code` is 0, or ATTENTION where the command did its work and something needs looking at.
    """

    data: dict[str, Any]
    lines: Iterable[str]
    table: Table | None = None
    exit_code: int = 0


ATTENTION = 5
"""Exit code of a command that did its work and found something that needs looking at."""


class Context:
    """The state folder, the network and the identity that the options of a command name."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.state = State.locate(options.state)
        self._is_away_said = False

    @property
    def url(self) -> str:
        """URL of the network."""
        return resolve(self.state, self.options.network)

    def agent(self, signer: Signer) -> IcAgent:
        """Return an agent for the network."""
        return IcAgent(self.url, signer, deadline=CALL_SECONDS, away=self._say_away)

    def _say_away(self, trouble: str) -> None:
        """Say on a terminal, once, that a network that does not answer is asked again."""
        if not self._is_away_said and sys.stderr.isatty():
            self._is_away_said = True
            sys.stderr.write(f"\r\033[K{printable(trouble)}; asking again for up to {CALL_SECONDS:.0f} s\n")
            sys.stderr.flush()

    def zone(self, agent: IcAgent) -> ZoneRecord:
        """Return the zone that --zone names, the latest one without it.

        One that was made elsewhere is known by its canister alone.
        """
        named = self.options.zone
        if named is not None and named.endswith("-cai") and self.state.find_zone(self.url, named) is None:
            return ZoneRecord(Zone(agent, checks.principal(named)).zone_id(), named, "")
        return self.state.zone(self.url, named)

    def factory_id(self) -> bytes:
        """Return the principal of the factory that --factory names, the deployed one without it."""
        named = getattr(self.options, "factory", None) or self.state.factory(self.url)
        if named is None:
            raise UserError(
                f"no factory was deployed to {self.url} yet", "run `zones deploy`, or name one with --factory"
            )
        return checks.principal(named)


class Progress:
    """One line on a terminal's stderr that is overwritten as work goes on; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def show(self, text: str) -> None:
        """Replace the line."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{printable(text)}")
            sys.stderr.flush()
            self._shown = True

    def bytes(self, what: str, done: int, size: int) -> None:
        """Show how far an upload is."""
        self.show(f"{what}: {done // 1024} of {size // 1024} KiB")


def watched(work: Callable[[], _Done], look: Callable[[int], None]) -> _Done:
    """Do work that takes long, and call `look` with the seconds since every second until it is done.

    What `look` finds wrong with the network is the work's to find. Ctrl-C does not wait for the work.
    """
    done = begun(work)
    started = time.monotonic()
    while wait([done], LOOK_SECONDS).not_done:
        with suppress(ZonesError):
            look(int(time.monotonic() - started))
    return done.result()


NOT_A_MEMBER, NOT_AN_ADMIN = "Not a member of the zone", "Not an admin"
"""What the zone's guards say to callers without a role and to those whose role is too low."""


@contextmanager
def explaining(identity: str) -> Iterator[None]:
    """Add to a zone's refusal of a caller what he can do about it."""
    try:
        yield
    except RejectedError as error:
        if NOT_A_MEMBER in error.message:
            what, hint = f"{identity} is no member of the zone", f"zones join --identity {identity}"
        elif NOT_AN_ADMIN in error.message:
            what = f"{identity} is neither an admin of the zone nor a controller of its canister"
            hint = f"name an admin with --identity; on a local network: zones join --identity {identity} --role 400"
        else:
            raise
        raise RejectedError(what, hint, code=error.code) from error


def checked(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return an argparse type that applies one of `zones.checks`."""

    def parse(text: str) -> Any:
        try:
            return check(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def time_text(seconds: float) -> str:
    """Return a time (s since 1970) for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def cycles_text(amount: int) -> str:
    """Return an amount of cycles for people, for example `1.500 T`."""
    return f"{amount / 1e12:.3f} T"
