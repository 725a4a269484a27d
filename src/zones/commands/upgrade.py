"""`zones upgrade`: an owner installs a release of the factory on a zone canister that he controls.

Not for what the factory controls alone: it rolls releases out itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from localnet.principal import from_text
from zones import checks, upgrading
from zones.commands import Add, Subparsers
from zones.context import Context, Progress, Result, checked
from zones.errors import RejectedError
from zones.factory import Factory
from zones.upgrade_journal import Journal

NOT_A_CONTROLLER = "IC0512"
"""Error code of the platform for who may not manage a canister."""


def register(commands: Subparsers, add: Add) -> None:
    """Add the command."""
    command = add(
        commands,
        "upgrade",
        "install a release of the factory on a zone canister that the caller controls, and undo it if its check fails",
        _upgrade,
        "zones upgrade --release 1001 --sha256 3f0a...",
    )
    command.add_argument("--zone", metavar="ID", help="zone id or canister (default: the latest zone)")
    command.add_argument("--factory", metavar="ID", help="canister of the factory (default: the deployed one)")
    command.add_argument(
        "--release", type=checked(checks.positive), metavar="VERSION", help="version (default: the current release)"
    )
    command.add_argument(
        "--sha256", type=checked(checks.sha256), metavar="HEX", help="what the release's SHA-256 has to be"
    )


def _upgrade(context: Context) -> Result:
    options = context.options
    agent = context.agent(context.state.identity(options.identity))
    zone = context.zone(agent)
    factory = Factory(agent, context.factory_id())
    release = upgrading.find_release(factory, options.release, options.sha256)
    journal = Journal(context.state, context.state.upgrade_path(zone.canister, agent.status()["root_key"]))
    with Progress() as progress, _explaining(options.identity, zone.canister):
        done = upgrading.upgrade(agent, from_text(zone.canister), factory, release, progress.show, journal)
    data = {
        "zone": zone.canister,
        "before": done.before,
        "after": done.after,
        "sha256": done.digest.hex(),
        "changed": done.changed,
    }
    said = f"upgraded from {done.before} to {done.after}" if done.changed else f"runs release {done.after} already"
    return Result(data, [f"{zone.canister} {said} (SHA-256 {done.digest.hex()})"])


@contextmanager
def _explaining(identity: str, canister: str) -> Iterator[None]:
    """Add to the platform's refusal of a caller what he can do about it."""
    try:
        yield
    except RejectedError as error:
        if error.error_code != NOT_A_CONTROLLER and "Only controllers" not in error.message:
            raise
        raise RejectedError(
            f"{identity} does not control {canister}",
            f"name one of its controllers with --identity (`zones custody show {canister}`); what the factory controls "
            "is upgraded by it",
            code=error.code,
            error_code=error.error_code,
        ) from error
