"""The zone's Candid interface: roles, as the zone's membership contract gives them."""

from kybra import Async, Manual, Principal, blob, ic, nat, query, update

from canister_kit import oracle
from canister_kit.http_outcall import (
    OUTCALL_CYCLES,
    HttpResponse,
    OutcallService,
    TransformArgs,
    role_request,
    without_headers,
)
from canister_kit.keys import PUBLIC_KEY_BYTES, address_of, principal_of
from zone_canister.context import (
    MANAGEMENT_CANISTER,
    config,
    members,
    outcall_rules,
    require_response,
    require_short,
    require_signature,
)


@query
def my_role() -> nat:
    """The caller's cached role, 0 when there is none."""
    return members.role(ic.caller().bytes)


@query(guard=require_short)
def get_role(member: Principal) -> nat:
    """The cached role of a principal, 0 when there is none."""
    return members.role(member.bytes)


@update(guard=require_signature)
def update_role(public_key: blob) -> Async[Manual[nat]]:
    """Asks the zone's contract for the role of a public key and caches it; for the key's own principal and members."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        ic.reject(f"Invalid public key size: {len(public_key)}")
        return
    caller = ic.caller().bytes
    principal = principal_of(public_key)
    by_member = members.role(caller) > 0
    if caller != principal and not by_member:
        ic.reject("Only the key's own principal or a member may update its role")
        return
    fault = outcall_rules.admit(principal, caller if by_member else b"", ic.time())
    if fault:
        ic.reject(fault)
        return
    body = oracle.role_call(config.zone_id(), config.call_token(), address_of(public_key))
    request = role_request(config.rpc_host(), config.rpc_path(), body)
    answer = yield OutcallService(MANAGEMENT_CANISTER).http_request(request).with_cycles(OUTCALL_CYCLES)
    outcall_rules.finished(principal)
    if answer.Err is not None:
        ic.reject(f"role lookup failed: {answer.Err}")
        return
    try:
        role = oracle.role_of(answer.Ok["status"], answer.Ok["body"])
    except oracle.OracleError as fault:
        ic.reject(str(fault))
        return
    members.store(principal, role, ic.time())
    ic.reply(role)


@query(guard=require_response)
def oracle_transform_function(args: TransformArgs) -> HttpResponse:
    """The response of an outcall without its headers, which differ between replicas."""
    return without_headers(args)
