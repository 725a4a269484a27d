"""Whether the caller of a creation owns the zone: its own contract, at zone_id, is asked for the role of his key.

A flow: one HTTPS outcall. A proof counts only when a node that the admins trust answered it: the caller chooses the
node, and his own would say what he likes. Not for what a proof is good for (`creation_policy`).
"""

from kybra import Async, ic, text

from canister_kit import oracle
from canister_kit.http_outcall import OUTCALL_CYCLES, HttpResponse, OutcallService, role_request
from canister_kit.keys import PUBLIC_KEY_BYTES, address_of, principal_of
from factory.context import MANAGEMENT, creation_rules, lookups
from factory.zones import Creation


def prove(asked: Creation, call_token: bytes | None, public_key: bytes) -> Async[text]:
    """Asks the zone's contract whether the creator is an owner there; returns why he is not proven to be, or ""."""
    budget = lookups.budget_of(asked.creator)
    fault = key_fault(asked, public_key) or lookups.fault(asked.creator, budget, ic.time())
    if fault:
        return fault
    body = oracle.role_call(asked.zone_id, call_token, address_of(public_key))
    request = role_request(asked.rpc_host, asked.rpc_path, body)
    lookup = lookups.begin(asked.creator, budget, ic.time())
    answer = yield OutcallService(MANAGEMENT).http_request(request).with_cycles(OUTCALL_CYCLES)
    # Of a rejected call the platform may have taken its price, or not have been reached at all.
    spent = OUTCALL_CYCLES - ic.msg_cycles_refunded128() if answer.Err is None else None
    lookups.end(lookup, spent, ic.time())
    return f"role lookup failed: {answer.Err}" if answer.Err is not None else role_fault(asked, answer.Ok)


def role_fault(asked: Creation, response: HttpResponse) -> str:
    """Why a node's answer does not make the creator an owner, or ""."""
    try:
        role = oracle.role_of(response["status"], response["body"])
    except oracle.OracleError as wrong:
        return str(wrong)
    least = creation_rules.figure("owner_role")
    if role < least:
        return (
            f"the contract at {asked.zone_id} gives your key the role {role}, an owner has {least}: "
            "ask without public_key for a zone without a proof"
        )
    return ""


def key_fault(asked: Creation, public_key: bytes) -> str:
    """What is wrong with a public key as a proof, before anybody is asked, or ""."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        return f"Invalid public key size: {len(public_key)}"
    if principal_of(public_key) != asked.creator:
        return "public_key is not the caller's: it has another principal"
    nodes = creation_rules.policy().nodes
    if asked.rpc_host + asked.rpc_path not in nodes:
        return (
            f"the node {asked.rpc_host}{asked.rpc_path} is not trusted with a proof, these are: {', '.join(nodes)}; "
            "ask without public_key for a zone without a proof"
        )
    return ""
