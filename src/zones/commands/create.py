"""`zones create` and `zones join`: a zone from the factory, and its members.

Not for giving roles on a public chain: there the zone's contract does that.
"""

from __future__ import annotations

from localnet.principal import to_text
from zones import checks, deployment
from zones.commands import Add, Subparsers, contract_options
from zones.context import Context, Result, checked
from zones.zone import ADMIN_ROLE


def register(commands: Subparsers, add: Add) -> None:
    """Add both commands."""
    create = add(
        commands, "create", "ask the factory for a zone and make its key file", _create, "zones create --identity owner"
    )
    create.add_argument("--factory", metavar="PRINCIPAL", help="the factory to ask (default: the deployed one)")
    create.add_argument(
        "--zone-id",
        type=checked(checks.zone_id),
        metavar="0x...",
        help="the zone's contract (default: a local one)",
    )
    contract_options.add(create, "JSON-RPC host of the contract's chain, no scheme")
    create.add_argument(
        "--owner",
        type=checked(checks.party),
        action="append",
        default=[],
        dest="owners",
        metavar="PRINCIPAL",
        help="who speaks for the zone in place of --identity; may be repeated",
    )
    create.add_argument(
        "--prove",
        action="store_true",
        help="have the factory ask the contract whether --identity is an owner there, for the share of proven owners",
    )
    join = add(
        commands,
        "join",
        "register a member by public key: the zone looks up the role in its contract",
        _join,
        "zones join --identity alice",
    )
    join.add_argument("--zone", metavar="ID", help="zone id or canister (default: the latest zone)")
    join.add_argument(
        "--public-key", type=checked(checks.public_key), metavar="HEX", help="register this key instead of --identity's"
    )
    join.add_argument(
        "--role", type=checked(checks.positive), help=f"role to give on the local network, {ADMIN_ROLE} for an admin"
    )


def _create(context: Context) -> Result:
    options = context.options
    owner = context.state.identity(options.identity, create=True)
    zone = deployment.create_zone(
        context.agent(owner),
        context.state,
        owner,
        factory=context.factory_id(),
        zone_id=options.zone_id,
        rpc_host=options.rpc_host,
        rpc_path=options.rpc_path,
        call_token=options.call_token,
        owners=options.owners,
        prove=options.prove,
    )
    key_file = context.state.key_path(zone.zone_id)
    data = {"network": context.url, **vars(zone), "key_file": str(key_file)}
    lines = [
        f"zone      {zone.zone_id}",
        f"canister  {zone.canister} on {context.url}",
        f"contract  asked through https://{zone.rpc_host}{options.rpc_path}",
        f"key file  {key_file} (give members a copy: it reads every message)",
        "next: zones join --identity alice",
    ]
    return Result(data, lines)


def _join(context: Context) -> Result:
    options = context.options
    caller = context.state.identity(options.identity, create=options.public_key is None)
    agent = context.agent(caller)
    zone = context.zone(agent)
    public_key = options.public_key or caller.public_key
    member = deployment.join(agent, context.state, zone, public_key, options.role)
    data = {
        "zone_id": zone.zone_id,
        "canister": zone.canister,
        "address": "0x" + member.address.hex(),
        "principal": to_text(member.principal),
        "public_key": public_key.hex(),
        "role": member.role,
    }
    who = "the key" if options.public_key else f"{options.identity} ({context.state.identity_path(options.identity)})"
    lines = [
        f"{who} has role {member.role} in zone {zone.zone_id}",
        f"address    {data['address']}",
        f"principal  {data['principal']}",
        f"next: echo hello | zones send --identity {options.identity}",
    ]
    return Result(data, lines)
