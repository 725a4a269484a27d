"""`zones status`: versions, cycles, counts and roles of the factory and a zone.

Not for changing anything: every call here is a query.
"""

from __future__ import annotations

from typing import Any

from localnet.principal import from_text, to_text
from zones.agent import IcAgent
from zones.commands import Add, Subparsers
from zones.context import Context, Result, cycles_text
from zones.factory import Factory
from zones.identity import Anonymous
from zones.state import ZoneRecord
from zones.zone import Zone


def register(commands: Subparsers, add: Add) -> None:
    """Add the command."""
    command = add(
        commands,
        "status",
        "show the factory and a zone: versions, cycles, counts, members",
        _status,
        "zones status --json",
    )
    command.add_argument("--factory", metavar="PRINCIPAL", help="the factory (default: the deployed one)")
    command.add_argument("--zone", metavar="ID", help="zone id or canister (default: the latest zone)")


def _status(context: Context) -> Result:
    agent = context.agent(Anonymous())
    data: dict[str, Any] = {"network": context.url, "factory": None, "zone": None}
    lines = [f"network   {context.url}"]
    named = context.options.zone
    if named is None or context.options.factory or context.state.factory(context.url):
        data["factory"] = _factory(agent, context.factory_id())
        lines += _factory_lines(data["factory"])
    if named is None and not context.state.zones(context.url):
        return Result(data, [*lines, "next: zones create"])
    zone = _zone(agent, context, context.zone(agent))
    data["zone"] = zone
    lines += [
        f"zone      {zone['zone_id']}",
        f"canister  {zone['canister']}, version {zone['version']}, {cycles_text(zone['cycles'])} cycles",
        f"messages  {zone['messages']} (ids {zone['first_id']} to {zone['last_id']}), {zone['message_bytes']} bytes, "
        f"{zone['stable_pages']} pages of stable memory",
        *(
            f"member    {member['name']}: role {member['role']}, address {member['address']}"
            for member in zone["members"]
        ),
    ]
    return Result(data, lines)


def _factory_lines(factory: dict[str, Any]) -> list[str]:
    release = factory["release"]
    return [
        f"factory   {factory['canister']}, version {factory['version']}, {cycles_text(factory['cycles'])} cycles, "
        f"{factory['zones']} zones",
        f"release   zone version {release['version']}, {release['size']} bytes" if release else "release   none yet",
    ]


def _factory(agent: IcAgent, canister: bytes) -> dict[str, Any]:
    status = Factory(agent, canister).status()
    release = status["release"]
    shown = release and {
        "version": release["version"],
        "wasm_sha256": release["wasm_hash"].hex(),
        "size": release["size"],
        "notes": release["notes"],
        "published_at": release["published_at"],
    }
    return {"canister": to_text(canister), **status, "release": shown}


def _zone(agent: IcAgent, context: Context, record: ZoneRecord) -> dict[str, Any]:
    zone = Zone(agent, from_text(record.canister))
    members = []
    for name, identity in context.state.identities().items():
        role = zone.role(identity.sender())
        if role:
            address = "0x" + identity.address.hex()
            members.append({"name": name, "role": role, "address": address, "principal": to_text(identity.sender())})
    return {"canister": record.canister, **zone.status(), "members": members}
