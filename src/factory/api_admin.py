"""The factory's Candid interface: admins, the audit log, controllers, figures of the canister itself."""

from kybra import Async, Manual, Opt, Principal, Vec, ic, nat, nat32, nat64, query, update

from factory.audit import AuditLog
from factory.candid_types import AckResult, AuditEntry, AuditPage
from factory.context import (
    admins,
    audit,
    controllers,
    note,
    open_calls,
    owner_acts,
    require_controller,
    require_short,
    require_signature,
)
from factory.principals import to_principal, to_principals
from factory.services import management

VERSION = 1000
MAX_NUMBER = 2**64 - 1
CONTROLLERS_KEY = b"controllers"


@query
def get_admins() -> Vec[Principal]:
    """The factory's admins in the order in which they were added."""
    return to_principals(admins.all())


@update(guard=require_controller)
def add_admin(admin: Principal) -> AckResult:
    """Makes a principal an admin."""
    fault = admins.add(admin.bytes)
    if fault:
        return {"err": fault}
    note("add_admin", admin.bytes)
    return {"ok": None}


@update(guard=require_controller)
def remove_admin(admin: Principal) -> AckResult:
    """Takes an admin's rights; the last one stays."""
    fault = admins.remove(admin.bytes)
    if fault:
        return {"err": fault}
    note("remove_admin", admin.bytes)
    return {"ok": None}


@query(guard=require_short)
def get_audit_log(before: Opt[nat64], limit: nat32) -> AuditPage:
    """What admins and controllers did, and what came of changes of code, newest first; at most 200 at once.

    Goes on with the number of the last entry.
    """
    return audit_page(audit, before, limit)


@query(guard=require_short)
def get_owner_log(before: Opt[nat64], limit: nat32) -> AuditPage:
    """What owners, creators and those who repaid did, newest first; at most 200 at once.

    Goes on with the number of the last entry.
    """
    return audit_page(owner_acts, before, limit)


def audit_page(log: AuditLog, before: int | None, limit: int) -> AuditPage:
    """A page of a log as Candid carries it."""
    acts = log.page(MAX_NUMBER if before is None else before, limit)
    entries: list[AuditEntry] = []
    for act in acts:
        entries.append(
            {
                "number": act.number,
                "time": act.time,
                "caller": to_principal(act.caller),
                "subject": to_principal(act.subject) if act.subject else None,
                "action": act.action,
                "details": act.details,
            }
        )
    return {"entries": entries, "next_number": log.next_number()}


@update(guard=require_signature)
def refresh_controllers() -> Async[Manual[Vec[Principal]]]:
    """The factory's controllers, from its own status; read again at most once in 5 seconds."""
    if not controllers.due(ic.time()):
        ic.reply(to_principals(controllers.all()))
        return
    if open_calls.running(CONTROLLERS_KEY, ic.time()):
        ic.reject("the controllers are being read: ask again in a few seconds")
        return
    open_calls.start(CONTROLLERS_KEY, ic.time())
    answer = yield management.canister_status({"canister_id": ic.id()})
    open_calls.finish(CONTROLLERS_KEY)
    if answer.Err is not None:
        ic.reject(f"reading the controllers failed: {answer.Err}")
        return
    found = answer.Ok["settings"]["controllers"]
    controllers.store([controller.bytes for controller in found], ic.time())
    ic.reply(found)


@query
def get_version() -> nat:
    """The version of this canister's code; grows with each release."""
    return VERSION


@query
def get_cycles_balance() -> nat:
    """The canister's balance in cycles."""
    return ic.canister_balance128()


@update
def get_stable_size() -> nat32:
    """Stable memory taken from the platform, in pages of 64 KiB."""
    return ic.stable64_size()


@update
def get_stable64_size() -> nat64:
    """Stable memory taken from the platform, in pages of 64 KiB."""
    return ic.stable64_size()
