"""`zones deploy`: the factory and the zone release it hands out.

Not for zones themselves: `zones create` makes those.
"""

from __future__ import annotations

from localnet.principal import from_text
from zones import checks, deployment
from zones.commands import Add, Subparsers
from zones.context import Context, Progress, Result, checked, cycles_text
from zones.deployment import DEFAULT_CYCLES, LOCAL_SHARES
from zones.factory import CreationShares, Factory


def register(commands: Subparsers, add: Add) -> None:
    """Add the command."""
    command = add(
        commands,
        "deploy",
        "build both canisters, install or upgrade the factory and publish the zone's Wasm to it",
        _deploy,
        "zones deploy --cycles 20T",
    )
    command.add_argument(
        "--cycles",
        type=checked(checks.cycles),
        default=DEFAULT_CYCLES,
        help="cycles of a new factory, on a local network (default: 20T)",
    )
    command.add_argument("--factory", metavar="PRINCIPAL", help="an existing canister to install the factory into")
    command.add_argument(
        "--builder", choices=("template", "kybra"), default="template", help="what compiles them (default: template)"
    )
    command.add_argument("--notes", default="", help="notes of the release, shown by `zones status`")


def _deploy(context: Context) -> Result:
    options = context.options
    agent = context.agent(context.state.identity(options.identity, create=True))
    # Before minutes of building: is there a network at all, and a place for the factory?
    deployment.known_factory(context.state, context.url, options.factory)
    agent.status()
    with Progress() as progress:
        progress.show("building the factory")
        factory_wasm = deployment.build("factory", options.builder)
        progress.show("building the zone canister")
        zone_wasm = deployment.build("zone_canister", options.builder)
        done = deployment.deploy(
            agent,
            context.state,
            factory_wasm,
            zone_wasm,
            cycles=options.cycles,
            factory=options.factory,
            notes=options.notes,
            progress=progress.bytes,
        )
    balance = Factory(agent, from_text(done.factory)).cycles()
    data = {
        "network": context.url,
        "factory": done.factory,
        "installed": done.installed,
        "published": done.published,
        "factory_wasm_sha256": factory_wasm.digest.hex(),
        "zone_wasm_sha256": zone_wasm.digest.hex(),
        "zone_version": zone_wasm.version,
        "cycles": balance,
        "kept_creation_shares": done.other_shares and vars(done.other_shares),
    }
    lines = [
        f"factory  {done.factory} on {context.url}, {cycles_text(balance)} cycles",
        f"code     {'installed' if done.installed else 'unchanged'}, {len(factory_wasm.wasm)} bytes",
        f"release  zone version {zone_wasm.version}, {len(zone_wasm.wasm)} bytes, "
        f"{'published' if done.published else 'published before'}",
        *([] if done.other_shares is None else [_shares_text(done.other_shares)]),
        "next: zones create",
    ]
    return Result(data, lines)


def _shares_text(shares: CreationShares) -> str:
    """Return a line on shares of creations that were kept, with the command that sets those of a new local factory."""
    return (
        f"policy   {shares.daily_creations} zones a day, {shares.unproven_creations} of them without a proof, as they "
        f"were set; a new local factory's: zones fleet policy --daily-creations {LOCAL_SHARES.daily_creations} "
        f"--daily-cycles {LOCAL_SHARES.daily_cycles} --unproven-creations {LOCAL_SHARES.unproven_creations} "
        f"--unproven-cycles {LOCAL_SHARES.unproven_cycles}"
    )
