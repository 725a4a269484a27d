"""The factory's Candid interface: creation of zones, and the policy for it."""

from kybra import Async, Manual, Opt, Principal, Vec, blob, ic, nat32, nat64, query, text, update

from canister_kit.http_outcall import HttpResponse, TransformArgs, without_headers
from canister_kit.zone_args import zone_args_fault
from factory import creation, custody
from factory.candid_types import AckResult
from factory.children import CUSTODY_NAMES, FUNDED, MANAGED, SPONSORED
from factory.context import (
    creation_rules,
    creations,
    note,
    open_calls,
    require_admin,
    require_response,
    require_short,
    require_signature,
)
from factory.creation import Created
from factory.creation_policy import MODE_NAMES, NAMES
from factory.pool import fill_pool_soon
from factory.principals import to_principal, to_principals
from factory.settling import call_key, settle
from factory.types_zones import (
    AllowlistChange,
    CreateZoneResult,
    CreationInfo,
    CreationPolicyChange,
    CreationPolicyInfo,
    SettleCreation,
    ShareUse,
    ZoneWish,
)
from factory.zones import LIVE, STAGE_NAMES, Creation, token_hash

MAX_PAGE = 200
MAX_CHANGES = 100
MODES = {name: mode for mode, name in MODE_NAMES.items()}


@update(guard=require_signature)
def create_zone_availability_canister(zone_id: text, rpc_host: text, rpc_path: text) -> Async[Manual[Principal]]:
    """Creates the caller's zone canister for a zone without a call token, or returns the one there is."""
    asked = Creation(ic.caller().bytes, zone_id, rpc_host, rpc_path, b"")
    canister, fault = yield ask_for(asked, None, None)
    if fault:
        ic.reject(fault)
    else:
        ic.reply(to_principal(canister))


@update(guard=require_signature)
def create_zone_availability_canister_with_token(
    zone_id: text, rpc_host: text, rpc_path: text, call_token: Opt[blob]
) -> Async[Manual[Principal]]:
    """Creates the caller's zone canister for a zone, or returns the one there is."""
    asked = Creation(ic.caller().bytes, zone_id, rpc_host, rpc_path, token_hash(call_token))
    canister, fault = yield ask_for(asked, call_token, None)
    if fault:
        ic.reject(fault)
    else:
        ic.reply(to_principal(canister))


@update(guard=require_signature)
def create_zone(wish: ZoneWish) -> Async[CreateZoneResult]:
    """Creates the caller's zone canister, or returns the one there is.

    Cycles sent along pay for it, and its owners control it from birth; without cycles it is sponsored. `public_key` is
    the caller's, for the zone's contract to name him an owner.
    """
    asked = Creation(
        ic.caller().bytes, wish["zone_id"], wish["rpc_host"], wish["rpc_path"], token_hash(wish["call_token"])
    )
    asked.owners = [owner.bytes for owner in wish["owners"]]
    asked.custody = custody.NAMES[next(iter(wish["custody"]))]
    canister, fault = yield ask_for(asked, wish["call_token"], wish["public_key"])
    if fault:
        return {"err": fault}
    number = creations.at(asked.creator, asked.zone_id)
    return {"ok": {"canister": to_principal(canister), "creation": number}}


def ask_for(asked: Creation, call_token: bytes | None, public_key: bytes | None) -> Async[Created]:
    """The one path of all creations: checks of what costs nothing, then `creation.make_zone`."""
    fault = zone_args_fault(asked.zone_id, asked.rpc_host, asked.rpc_path, call_token)
    fault = fault or custody.owners_fault(asked.owners, asked.custody, ic.id().bytes)
    asked.funding = FUNDED if ic.msg_cycles_available128() > 0 else SPONSORED
    if not fault and asked.funding == SPONSORED and asked.custody != MANAGED and not is_known(asked):
        fault = creation.UNPAID
    if fault:
        return b"", fault
    canister, fault = yield creation.make_zone(asked, call_token, public_key)
    return canister, fault


def is_known(asked: Creation) -> bool:
    """Whether the creator's place for this zone is taken."""
    return creations.at(asked.creator, asked.zone_id) > 0


@query(guard=require_response)
def oracle_transform_function(args: TransformArgs) -> HttpResponse:
    """The response of an outcall without its headers, which differ between replicas."""
    return without_headers(args)


@query(guard=require_short)
def get_my_zone(zone_id: text) -> Opt[Principal]:
    """The zone canister that the caller created for a zone, once its code runs."""
    known = creations.get(creations.at(ic.caller().bytes, zone_id))
    return to_principal(known.canister) if known is not None and known.stage == LIVE else None


@query(guard=require_short)
def get_creation(id: nat64) -> Opt[CreationInfo]:
    """How far a creation got, and what went wrong with it."""
    return creation_info(id)


@query(guard=require_short)
def get_my_creation(zone_id: text) -> Opt[CreationInfo]:
    """The creation that has the caller's place for a zone."""
    return creation_info(creations.at(ic.caller().bytes, zone_id))


def creation_info(number: int) -> CreationInfo | None:
    """A creation as the interface shows it."""
    found = creations.get(number)
    if found is None:
        return None
    return {
        "id": number,
        "stage": {STAGE_NAMES[found.stage]: None},  # pyright: ignore[reportReturnType]
        "creator": to_principal(found.creator),
        "zone_id": found.zone_id,
        "canister": to_principal(found.canister) if found.canister else None,
        "owners": to_principals(found.owners),
        "custody": {CUSTODY_NAMES[found.custody]: None},  # pyright: ignore[reportReturnType]
        "funding": {"sponsored": None} if found.funding == SPONSORED else {"funded": None},
        "proven": found.proven,
        "cycles": found.cycles,
        "asked_at": found.asked_at,
        "changed_at": found.changed_at,
        "running": open_calls.running(call_key(found), ic.time()),
        "fault": found.fault,
    }


@update(guard=require_admin)
def settle_creation(answer: SettleCreation) -> Async[AckResult]:
    """Says what became of a creation whose answer was lost: the canister it got, which is examined, or none."""
    named = answer["canister"]
    canister = b"" if named is None else named.bytes
    note("settle_creation", canister, str(answer["id"]))
    fault = yield settle(answer["id"], canister)
    return {"err": fault} if fault else {"ok": None}


@query
def get_creation_policy() -> CreationPolicyInfo:
    """Who may have zones created, what they cost, and what is used of the shares of this day."""
    policy = creation_rules.policy()
    figures = policy.figures
    return {
        "mode": {MODE_NAMES[policy.mode]: None},  # pyright: ignore[reportReturnType]
        "funded_open": policy.funded_open,
        "creation_cycles": figures["creation_cycles"],
        "funded_price": creation.funded_price(),
        "daily_creations": figures["daily_creations"],
        "daily_cycles": figures["daily_cycles"],
        "proven": share_use(True),
        "unproven": share_use(False),
        "pool_size": figures["pool_size"],
        "lookup_cycles": figures["lookup_cycles"],
        "owner_role": figures["owner_role"],
        "daily_takings_up": figures["daily_takings_up"],
        "funded_fee": figures["funded_fee"],
        "freezing_seconds": figures["freezing_seconds"],
        "reserved_limit": figures["reserved_limit"],
        "wasm_memory_limit": figures["wasm_memory_limit"],
        "pooled": len(creations.pool()),
        "trusted_nodes": policy.nodes,
    }


def share_use(proven: bool) -> ShareUse:
    """What is used of a share in the window of now; its end is 0 while nothing is."""
    count, cycles = creation_rules.share(proven)
    is_over = count.ends_at <= ic.time()
    return {
        "creations": count.limit,
        "creations_used": 0 if is_over else count.used,
        "cycles": cycles.limit,
        "cycles_used": 0 if is_over else cycles.used,
        "window_ends_at": 0 if is_over else count.ends_at,
    }


@update(guard=require_admin)
def set_creation_policy(change: CreationPolicyChange) -> AckResult:
    """Sets what is given of the policy and leaves the rest."""
    policy = creation_rules.policy()
    mode, nodes, funded_open = change["mode"], change["trusted_nodes"], change["funded_open"]
    policy.mode = policy.mode if mode is None else MODES[next(iter(mode))]
    policy.nodes = policy.nodes if nodes is None else list(nodes)
    policy.funded_open = policy.funded_open if funded_open is None else funded_open
    policy.figures.update({name: change[name] for name in NAMES if change[name] is not None})
    fault = creation_rules.change(policy)
    if fault:
        return {"err": fault}
    note("set_creation_policy", b"", ", ".join(f"{name} {change[name]}" for name in change if change[name] is not None))
    fill_pool_soon()
    return {"ok": None}


@update(guard=require_admin)
def change_creation_allowlist(change: AllowlistChange) -> AckResult:
    """Removes principals from the allowlist, then adds others, or changes nothing; at most 100 in one call."""
    count = len(change["add"]) + len(change["remove"])
    if count > MAX_CHANGES:
        return {"err": f"at most {MAX_CHANGES} principals in one call, got {count}"}
    added, removed = [[principal.bytes for principal in change[name]] for name in ("add", "remove")]
    fault = creation_rules.change_allowed(added, removed, ic.time())
    if fault:
        return {"err": fault}
    for action, principals in (("forbid_creations", removed), ("allow_creations", added)):
        for principal in principals:
            note(action, principal)
    return {"ok": None}


@query(guard=require_short)
def get_creation_allowlist(after: Opt[Principal], limit: nat32) -> Vec[Principal]:
    """Principals on the allowlist in ascending order, from after one on; at most 200."""
    start = None if after is None else after.bytes
    return to_principals(creation_rules.allowed(start, min(limit, MAX_PAGE)))
