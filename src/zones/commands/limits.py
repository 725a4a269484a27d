"""`zones limits`, `zones quota` and `zones prune`: how much a zone keeps, how much a member may add, what goes.

Not for reading messages. Without options `limits` and `quota` show what is set and how much of it is used.
"""

from __future__ import annotations

from typing import Any

from localnet.principal import from_text
from zones import checks
from zones.agent import Signer
from zones.commands import Add, Subparsers
from zones.context import Context, Result, checked, explaining, time_text
from zones.identity import Anonymous
from zones.zone import Zone


def register(commands: Subparsers, add: Add) -> None:
    """Add the commands."""
    limits = add(
        commands,
        "limits",
        "show or set how many messages a zone keeps before it evicts the oldest, and what it has evicted",
        _limits,
        "zones limits --max-bytes 64MiB --max-age 30d",
    )
    limits.add_argument("--max-bytes", type=checked(checks.size), metavar="SIZE", help="most bytes, 1MiB to 4GiB")
    limits.add_argument(
        "--max-messages", type=checked(checks.count_limit), metavar="N", help="most messages, `none` for no limit"
    )
    limits.add_argument(
        "--max-age", type=checked(checks.age_limit), metavar="AGE", help="longest time, as 24h or 30d; `none` for ever"
    )
    quota = add(
        commands,
        "quota",
        "show or set what one member may add in any 24 hours, and show what the caller has",
        _quota,
        "zones quota --max-messages 10000 --max-bytes 16MiB",
    )
    quota.add_argument("--max-bytes", type=checked(checks.size), metavar="SIZE", help="most bytes of a member")
    quota.add_argument(
        "--max-messages", type=checked(checks.message_count), metavar="N", help="most messages of a member"
    )
    prune = add(
        commands,
        "prune",
        "remove a zone's oldest messages for good",
        _prune,
        "zones prune --up-to 1000",
    )
    prune.add_argument(
        "--up-to", type=checked(checks.message_id), metavar="ID", required=True, help="last message id to remove"
    )
    for command in (limits, quota, prune):
        command.add_argument("--zone", metavar="ID", help="zone id or canister (default: the latest zone)")


def _limits(context: Context) -> Result:
    options = context.options
    changes = {
        "max_bytes": options.max_bytes,
        "max_messages": options.max_messages,
        "max_age_seconds": options.max_age,
    }
    zone, named = _zone(context, changes)
    if _given(changes):
        with explaining(options.identity):
            zone.set_limits(**changes)
    limits, eviction, used = zone.limits(), zone.eviction(), zone.message_bytes()
    lines = [
        f"max bytes     {limits['max_bytes']}, {used} in use",
        f"max messages  {limits['max_messages'] or 'no limit'}",
        f"max age       {_age_text(limits['max_age_seconds'])}",
        f"evicted       {eviction['messages_evicted']} messages, {eviction['bytes_evicted']} bytes; the first id kept "
        f"is {eviction['first_id']}",
    ]
    if eviction["pending_bytes"]:
        since = eviction["pending_since"]
        begun = f" since {time_text(since)} UTC" if since else ""
        lines.append(f"pending       {eviction['pending_bytes']} bytes are being evicted{begun}")
    return Result({**named, **limits, "message_bytes": used, "eviction": eviction}, lines)


def _age_text(seconds: int | None) -> str:
    if not seconds:
        return "no limit"
    return f"{seconds // 86_400} days" if seconds % 86_400 == 0 else f"{seconds} s"


def _quota(context: Context) -> Result:
    options = context.options
    changes = {"max_messages": options.max_messages, "max_bytes": options.max_bytes}
    zone, named = _zone(context, changes)
    if _given(changes):
        with explaining(options.identity):
            zone.set_quota(**changes)
    quota = zone.quota()
    used = zone.my_quota_use() if zone.my_role() else None
    lines = [f"a member may add {quota['max_messages']} messages and {quota['max_bytes']} bytes in any 24 hours"]
    if used is None:
        lines.append(f"{options.identity} is no member of the zone")
    else:
        lines.append(f"{options.identity} has added {used['messages']} messages and {used['bytes']} bytes")
    return Result({**named, **quota, "used": used}, lines)


def _prune(context: Context) -> Result:
    options = context.options
    zone, named = _zone(context, {"up_to": options.up_to})
    with explaining(options.identity):
        removed = zone.prune(options.up_to)
    first_id = zone.eviction()["first_id"]
    return Result(
        {**named, "removed": removed, "first_id": first_id},
        [f"removed {removed} messages; the first id kept is {first_id}"],
    )


def _given(changes: dict[str, Any]) -> bool:
    return any(value is not None for value in changes.values())


def _zone(context: Context, changes: dict[str, Any]) -> tuple[Zone, dict[str, Any]]:
    """Return the zone, and what `--json` says of it; who changes nothing needs no identity."""
    name = context.options.identity
    signer: Signer = Anonymous()
    if _given(changes) or context.state.identity_path(name).exists():
        signer = context.state.identity(name)
    agent = context.agent(signer)
    record = context.zone(agent)
    return Zone(agent, from_text(record.canister)), {"zone_id": record.zone_id, "canister": record.canister}
