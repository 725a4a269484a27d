"""The factory's Candid interface: rollouts of a release, owners' consent, and how far each child's change got."""

from kybra import Opt, Principal, ic, nat, nat32, query, text, update

from factory.candid_types import AckResult
from factory.changes import ENDED, OPEN, STEP_NAMES, WAITING, Change
from factory.children import SHARED
from factory.context import (
    changes,
    children,
    note,
    releases,
    require_admin,
    require_controller,
    require_short,
    require_signature,
    rollouts,
)
from factory.principals import to_principal, to_principals
from factory.rollout_flow import begin, feed, go_on_soon
from factory.rollouts import ABORTED, DONE, PAUSED, RUNNING, Rollout, plan_fault
from factory.types_code import (
    ChangeOutcome,
    CodeAllowance,
    CodeAllowanceResult,
    CodeChange,
    RolloutPage,
    RolloutPlan,
    RolloutResult,
    RolloutState,
)

MOST_A_PAGE = 200
NOT_AN_OWNER = "Unauthorized access. Caller is not an owner of the zone."

# By the numbers that `changes` and `rollouts` give them.
OUTCOMES: list[ChangeOutcome] = [
    {"open": None},
    {"upgraded": None},
    {"current": None},
    {"restored": None},
    {"failed": None},
    {"busy": None},
    {"skipped": None},
    {"waiting": None},
]
STATES: list[RolloutState] = [{}, {"running": None}, {"paused": None}, {"aborted": None}, {"done": None}]


@update(guard=require_admin)
def start_rollout(plan: RolloutPlan) -> RolloutResult:
    """Begins to bring a release to all children the factory may change; returns the rollout's number.

    First `canary` children, and only when all of them went well the rest, `batch` at a time; it pauses when
    `pause_on_failures` children failed since it went on last.
    """
    fault = plan_fault(plan["canary"], plan["batch"], plan["pause_on_failures"])
    found = releases.with_version(plan["release"])
    if not fault and (found is None or not found[1].is_kept()):
        fault = f"there is no release {plan['release']} whose code is kept"
    former = rollouts.last()
    if not fault and rollouts.in_use() and former is not None:
        fault = f"rollout {former.number} of release {former.version} is under way: abort it first"
    if fault or found is None:
        return {"err": fault}
    rollout = Rollout(1 if former is None else former.number + 1, plan["release"], found[0], ic.time())
    rollout.canary, rollout.batch = plan["canary"], plan["batch"]
    rollout.pause_on_failures = plan["pause_on_failures"]
    rollouts.put(rollout)
    note("start_rollout", b"", f"{rollout.number}: release {rollout.version} {rollout.wasm_hash.hex()}")
    feed()
    go_on_soon()
    return {"ok": rollout.number}


@update(guard=require_admin)
def pause_rollout() -> AckResult:
    """Takes no more children; those under way are brought to their end."""
    rollout = rollouts.last()
    if rollout is None or rollout.state != RUNNING:
        return {"err": "no rollout is running"}
    rollout.pause("an admin paused it")
    rollouts.put(rollout)
    note("pause_rollout", b"", str(rollout.number))
    return {"ok": None}


@update(guard=require_admin)
def resume_rollout() -> AckResult:
    """Goes on with a paused rollout; children that were busy are tried again, also after its end."""
    rollout = rollouts.last()
    if rollout is None or rollout.state not in (PAUSED, DONE):
        return {"err": "no rollout is paused or done"}
    if not releases.is_kept(rollout.wasm_hash):
        return {"err": f"the code of release {rollout.version} is not kept any more"}
    rollout.resume()
    rollouts.put(rollout)
    note("resume_rollout", b"", str(rollout.number))
    feed()
    go_on_soon()
    return {"ok": None}


@update(guard=require_admin)
def abort_rollout() -> AckResult:
    """Ends a rollout; children under way are brought to their end, those that have the release keep it."""
    rollout = rollouts.last()
    if rollout is None or rollout.state not in (RUNNING, PAUSED):
        return {"err": "no rollout is under way"}
    rollout.finish(ABORTED, ic.time())
    rollouts.put(rollout)
    note("abort_rollout", b"", str(rollout.number))
    return {"ok": None}


@update(guard=require_signature)
def accept_release(canister: Principal, release: nat) -> AckResult:
    """Lets the factory install a release on a shared child, for its owners; one that waited for it is changed now."""
    wasm_hash, fault = consented(canister.bytes, release)
    if fault:
        return {"err": fault}
    if not rollouts.is_accepted(canister.bytes, wasm_hash, [ic.caller().bytes]):
        note("accept_release", canister.bytes, str(release))
    rollouts.accept(canister.bytes, wasm_hash, ic.caller().bytes)
    rollout = rollouts.last()
    change = changes.get(canister.bytes)
    if rollout is None or change is None or rollout.wasm_hash != wasm_hash:
        return {"ok": None}
    is_going_on = rollout.state == DONE or (rollout.state == RUNNING and rollout.attempts() >= rollout.canary)
    if is_going_on and change.rollout == rollout.number and change.outcome == WAITING:
        again = Change(rollout.wasm_hash, rollout.version, rollout.number, ic.time())
        again.former_outcome = WAITING
        fault = begin(canister.bytes, again)
        return {"err": f"accepted, but {fault}"} if fault else {"ok": None}
    return {"ok": None}


@update(guard=require_signature)
def accept_reinstall(canister: Principal, release: nat, repeated: text) -> AckResult:
    """Lets the factory wipe a shared child with a release within a day, once; each of its owners has to.

    `repeated` is the canister's id once more.
    """
    child = children.get(canister.bytes)
    wasm_hash, fault = consented(canister.bytes, release)
    if fault or child is None:
        return {"err": fault}
    if repeated != canister.to_str():
        return {"err": f"everything in {canister.to_str()} would be lost: repeat its principal, got {repeated[:64]!r}"}
    note("accept_reinstall", canister.bytes, str(release))
    rollouts.agree_to_wipe(child, canister.bytes, wasm_hash, ic.caller().bytes, ic.time())
    return {"ok": None}


def consented(canister: bytes, release: int) -> tuple[bytes, str]:
    """The SHA-256 of the release that the caller lets the factory put on a shared child, or why he cannot."""
    child = children.get(canister)
    if child is None or not child.is_owner(ic.caller().bytes):
        return b"", NOT_AN_OWNER
    if child.custody != SHARED:
        return b"", "only a shared canister waits for its owners' consent"
    found = releases.with_version(release)
    return (b"", f"there is no release {release}") if found is None else (found[0], "")


@update(guard=require_controller)
def allow_code(allowance: CodeAllowance) -> CodeAllowanceResult:
    """Allows code that is no release on one child for an hour, for the factory's controllers; returns until when."""
    canister, wasm_hash = allowance["canister"].bytes, allowance["wasm_hash"]
    if children.get(canister) is None:
        return {"err": f"{allowance['canister'].to_str()} is no child of this factory"}
    if len(wasm_hash) != 32:
        return {"err": f"wasm_hash must be 32 bytes, got {len(wasm_hash)}"}
    note("allow_code", canister, wasm_hash.hex())
    return {"ok": rollouts.allow(canister, wasm_hash, ic.caller().bytes, ic.time())}


@query(guard=require_short)
def get_rollout(after: Opt[Principal], limit: nat32) -> Opt[RolloutPage]:
    """The rollout under way or the last one, with the changes of some children in the order of their principals.

    Goes on after `next`; at most 200 children at once, those it has not come to yet are left out.
    """
    rollout = rollouts.last()
    if rollout is None:
        return None
    page = children.page(None if after is None else after.bytes, min(max(limit, 1), MOST_A_PAGE))
    found = [(canister, changes.get(canister)) for canister in page]
    return {
        "number": rollout.number,
        "release": rollout.version,
        "wasm_hash": rollout.wasm_hash,
        "state": STATES[rollout.state],
        "reason": rollout.reason,
        "canary": rollout.canary,
        "batch": rollout.batch,
        "pause_on_failures": rollout.pause_on_failures,
        "failures": rollout.failures,
        "started_at": rollout.started_at,
        "ended_at": rollout.ended_at or None,
        "children": children.count(),
        "counts": {
            "upgraded": rollout.counts[1],
            "current": rollout.counts[2],
            "restored": rollout.counts[3],
            "failed": rollout.counts[4],
            "busy": rollout.counts[5],
            "skipped": rollout.counts[6],
            "waiting": rollout.counts[7],
        },
        "under_way": to_principals(changes.under_way()),
        "changes": [
            told(canister, change)
            for canister, change in found
            if change is not None and change.rollout == rollout.number
        ],
        "next": to_principal(page[-1]) if page else None,
    }


@query(guard=require_short)
def get_code_change(canister: Principal) -> Opt[CodeChange]:
    """The change of a child's code that is under way, or the last one."""
    change = changes.get(canister.bytes)
    return None if change is None else told(canister.bytes, change)


def told(canister: bytes, change: Change) -> CodeChange:
    """A change as Candid carries it; its outcome is open until the last step was made."""
    return {
        "canister": to_principal(canister),
        "rollout": change.rollout or None,
        "release": change.version or None,
        "wasm_hash": change.wasm_hash,
        "outcome": OUTCOMES[change.outcome if change.step == ENDED else OPEN],
        "step": STEP_NAMES[change.step],
        "fault": change.fault,
        "begun_at": change.begun_at,
        "step_at": change.step_at,
        "snapshot": change.snapshot or None,
    }
