"""`zones fleet info`: zone canisters as platform, canister and contract have them, not as the factory read them.

Not for fuel and history (`fleet`, `fleet_battery`).
"""

from __future__ import annotations

import argparse

import httpx

from localnet.principal import from_text
from zones import checks, fleet, info
from zones.background import at_once
from zones.commands import Add, Subparsers, root_keys
from zones.commands.fleet_desk import Desk, counting
from zones.context import ATTENTION, Context, Result, checked
from zones.errors import UserError
from zones.network import contract_of
from zones.tables import Column, Table, time_shown

_COLUMNS = (
    Column("canister", "canister"),
    Column("zone_id", "zone"),
    Column("version", "version", right=True),
    Column("code", "code"),
    Column("controllers", "controllers", " ".join),
    Column("certified_at", "certified", time_shown),
    Column("node", "chain"),
    Column("contract_version", "contract", right=True),
    Column("owner", "owner"),
    Column("owner_name", "name"),
    Column("fault", "fault"),
    Column("node_fault", "chain's fault"),
)


def register(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    """Add the command; returns its parser."""
    command = add(
        actions,
        "info",
        "show what the platform certifies of zone canisters, what they say, and what their contracts say",
        _info,
        "zones fleet info rwlgt-iiaaa-aaaaa-aaaaa-cai",
    )
    command.add_argument("zones", nargs="*", metavar="ZONE", help="a zone's canister or id")
    command.add_argument("--all", action="store_true", help="all zones of the factory")
    command.add_argument(
        "--node",
        type=checked(checks.node),
        action="append",
        dest="nodes",
        metavar="HOST/PATH",
        help="a node to ask for contracts; may be repeated (default: those the factory trusts with proofs)",
    )
    command.add_argument("--no-chain", action="store_true", help="ask no node")
    root_keys.add_option(command, "that certifies", "mainnet's or the local network's; none for others")
    return [command]


def _info(context: Context) -> Result:
    desk = Desk(context)
    named = desk.options.zones
    if bool(named) == desk.options.all:
        raise UserError("which zones?", "name their canisters, or give --all for all of them")
    canisters = list(map(desk.canister, named)) or [from_text(row["canister"]) for row in desk.zones()]
    with httpx.Client() as client, counting("zones looked up") as progress:
        sources = info.Sources(
            desk.agent,
            root_keys.known(context),
            fleet.release_versions(desk.factory),
            info.local_build(),
            [] if desk.options.no_chain else _nodes(desk),
            client,
            {"0x" + identity.address.hex(): name for name, identity in context.state.identities().items()},
        )
        rows = at_once(lambda canister: info.row(sources, canister, desk.index.zone(canister)), canisters, progress)
    strange = any(row["fault"] or row["node_fault"] or row["code"] in ("foreign", "none") for row in rows)
    none = "the factory has no zones yet"
    return desk.listing("zones", Table(_COLUMNS, rows), none, exit_code=ATTENTION if strange else 0)


def _nodes(desk: Desk) -> list[tuple[str, str]]:
    """Return name and URL of the nodes to ask; the local network's contract is asked where it really is."""
    local = contract_of(desk.context.state, desk.context.url)
    if desk.options.nodes is None and local is not None:
        return [(local.rpc_host, local.membership_url)]
    return [(node, f"https://{node}") for node in desk.options.nodes or desk.index.policy()["trusted_nodes"]]
