"""`zones fleet policy`: what zones get and when, what the battery keeps, and who may have zones created.

Not for what came of it (`fleet_battery`).
"""

from __future__ import annotations

import argparse
from typing import Any

from localnet.principal import to_text
from zones import battery, checks, zone_index
from zones.commands import Add, Subparsers
from zones.commands.fleet_desk import Desk, explaining
from zones.context import Context, Result, checked, cycles_text
from zones.errors import UserError
from zones.tables import Column, Table

_BATTERY = {
    "min_top_up": "least that a zone may ask for",
    "child_limit": "most that a zone gets in a day",
    "shared_limit": "most that a zone others control, too, gets in 30 days",
    "refill_below": "a zone is refilled below this balance",
    "refill_to": "what a zone is refilled to",
    "refill_most": "most that a zone is refilled to whose memory needs more",
    "reserve": "least that the battery keeps",
    "runway_days": "a zone is refilled below this many days of its burn",
    "reserve_days": "days of its own burn that the battery keeps",
    "alert_days": "a runway below this many days is an alert",
    "sweep_seconds": "how often the battery looks at its zones",
    "unusual_times": "burning so many times the usual is an alert",
    "unusual_cycles": "if it is at least so much a day more",
}
_QUOTA = {"quota": "most that all zones get in a window", "quota_seconds": "length of that window"}
_CREATION = {
    "creation_cycles": "what a new zone gets from the battery",
    "daily_creations": "most zones in a day that the battery pays for",
    "daily_cycles": "most cycles in a day for new zones",
    "unproven_creations": "most of those for callers whose zone's contract names them no owner",
    "unproven_cycles": "most of those cycles for such callers",
    "pool_size": "canisters made in advance",
    "lookup_cycles": "most cycles in an hour for looking roles of strangers up, and as much for the allowlist's",
    "owner_role": "least role in the zone's contract that makes an owner",
    "daily_takings_up": "how often in a day creations that stopped half way are gone on with",
    "funded_fee": "what a zone costs beside its own cycles who pays himself",
    "freezing_seconds": "a new zone's freezing threshold",
    "reserved_limit": "a new zone's reserved cycles limit",
    "wasm_memory_limit": "a new zone's limit of Wasm memory in bytes",
}
_OTHER = {
    "creation": "whose zones the battery pays for: open, allowlist or closed",
    "funded": "whether anyone may pay for a zone himself: yes or no",
}
_SHOWN = {
    **_BATTERY,
    **_QUOTA,
    **_OTHER,
    **_CREATION,
    "funded_price": "what a zone costs who pays himself",
    "allowlist": "principals whose zones the battery pays for in that mode",
    "trusted_nodes": "RPC hosts that are asked for a proof",
    "creations_used": "zones of this day so far",
    "pooled": "canisters made in advance that are there",
}
_CYCLES = (*battery.CYCLES_FIGURES, *zone_index.CYCLES_FIGURES, "quota", "funded_price")


def register(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    """Add the command; returns its parser."""
    command = add(
        actions,
        "policy",
        "show or set what zones get and when, what the battery keeps, who may have zones created",
        _policy,
        "zones fleet policy --refill-to 2T --quota 20T --creation allowlist --allow 2vxsx-fae",
    )
    for name, meaning in {**_BATTERY, **_QUOTA, **_CREATION}.items():
        is_cycles = name in _CYCLES
        command.add_argument(
            "--" + name.replace("_", "-"),
            type=checked(checks.cycles_limit if is_cycles else checks.whole),
            metavar="CYCLES" if is_cycles else "N",
            help=meaning + ("; 2T, 500B, none" if is_cycles else ""),
        )
    command.add_argument("--creation", choices=zone_index.MODES, help=_OTHER["creation"])
    command.add_argument("--funded", choices=("yes", "no"), help=_OTHER["funded"])
    for option, check, meaning in (
        ("--allow", checks.party, "put a principal on the allowlist"),
        ("--forbid", checks.principal, "take one off"),
    ):
        command.add_argument(
            option, type=checked(check), action="append", default=[], metavar="PRINCIPAL", help=meaning
        )
    for option, meaning in (("--trust", "have a node asked for proofs"), ("--distrust", "ask a node no more")):
        command.add_argument(
            option,
            type=checked(checks.node),
            action="append",
            default=[],
            metavar="NODE",
            help=f"{meaning}: its host followed by its path",
        )
    return [command]


def _given(options: argparse.Namespace, names: dict[str, str]) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in names}
    return {name: figure for name, figure in given.items() if figure is not None}


def _policy(context: Context) -> Result:
    options = context.options
    fuel, quota, creation = (_given(options, names) for names in (_BATTERY, _QUOTA, _CREATION))
    if options.creation is not None:
        creation["mode"] = options.creation
    if options.funded is not None:
        creation["funded_open"] = options.funded == "yes"
    nodes, principals = options.trust or options.distrust, options.allow or options.forbid
    desk = Desk(context, signed=bool(fuel or quota or creation or nodes or principals))
    if nodes:
        creation["trusted_nodes"] = _nodes(desk)
    with explaining(options.identity):
        if fuel:
            desk.battery.set_policy(fuel)
        if quota:
            now = desk.battery.quota()
            desk.battery.set_quota(quota.get("quota", now.limit), quota.get("quota_seconds", now.seconds))
        if creation:
            desk.index.set_policy(creation)
        if principals:
            desk.index.change_allowlist(options.allow, options.forbid)
    figures = _figures(desk)
    rows = [{"figure": name, "value": figures[name], "meaning": meaning} for name, meaning in _SHOWN.items()]
    columns = (Column("figure", "figure"), Column("value", "value", right=True), Column("meaning", "meaning"))
    shown = [{**row, "value": _text(row["figure"], row["value"])} for row in rows]
    return Result(desk.summary(policy=figures), Table(columns, shown).lines(), Table(columns, rows))


def _nodes(desk: Desk) -> list[str]:
    """Return the nodes that are asked for proofs once those named are added and removed."""
    known, options = desk.index.policy()["trusted_nodes"], desk.options
    unknown = [node for node in options.distrust if node not in known]
    if unknown:
        raise UserError(f"{unknown[0]!r} is not asked for proofs", f"these are: {', '.join(known) or 'none'}")
    return [node for node in dict.fromkeys([*known, *options.trust]) if node not in options.distrust]


def _figures(desk: Desk) -> dict[str, Any]:
    """Return every figure of the policy as `--json` has it."""
    quota, creation = desk.battery.quota(), desk.index.policy()
    proven, unproven = creation["proven"], creation["unproven"]
    return {
        **desk.battery.policy(),
        "quota": quota.limit,
        "quota_seconds": quota.seconds,
        "creation": creation["mode"],
        "funded": "yes" if creation["funded_open"] else "no",
        **{
            name: creation[name] for name in (*_CREATION, "funded_price", "trusted_nodes", "pooled") if name in creation
        },
        "unproven_creations": unproven["creations"],
        "unproven_cycles": unproven["cycles"],
        "creations_used": proven["creations_used"] + unproven["creations_used"],
        "allowlist": [to_text(principal) for principal in desk.index.allowlist()],
    }


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    return cycles_text(value) if name in _CYCLES else str(value)
