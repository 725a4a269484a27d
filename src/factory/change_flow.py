"""How a change of a child's code is driven: one management call a step, each written down before it is made.

Flows. Whoever drives a change takes a turn; a driver that finds another turn in the record, because it was thought
lost, leaves the change alone. A step that may have been made before (`again`) is settled by reading where making it
twice is not the same. What follows from a step is decided in `changes`.
"""

from kybra import Async, CallResult, ic, text, void

from factory import changes as steps
from factory.changes import Change, Health, health_fault
from factory.children import CREATED, LIVE, MANAGED, SHARED
from factory.context import audit, changes, children, open_calls, policy, releases, rollouts
from factory.deposits import refill
from factory.examination import examine, is_gone
from factory.fuel import freezing_need
from factory.installation import CHUNKS_IN_USE, LEAST_CYCLES, UPGRADE, install_release, install_whole
from factory.marks import change_key, custody_fault
from factory.principals import to_principal
from factory.services import ChildStatus, management
from factory.zone_services import ZoneHealthReply, ZoneMaintenanceResult, ZoneService

EMPTY_ARGUMENT = b"DIDL\x00\x00"
TRANSIENT = ("Rejection code 1,", "Rejection code 2,")
TRAPPED = "Rejection code 5,"
PASSING = (steps.EXAMINE, steps.FUEL, steps.FLAG, steps.MEASURE, steps.CHECK, steps.HOLD)
"""Steps that wait and try again when the network was at fault: the child answers its members meanwhile."""
NOT_STOPPED = "it was started, or lost sight of, while it stopped"
cancelled: set[bytes] = set()
"""Children that were told to start because they did not stop in time, since they were seen stopped last."""


class Code:
    """The Wasm of an admin's call, for code that is not kept as a release, and the argument of its upgrade."""

    def __init__(self, wasm: bytes = b"", arg: bytes = EMPTY_ARGUMENT):
        self.wasm = wasm
        self.arg = arg
        self.is_of_call = bool(wasm) or arg != EMPTY_ARGUMENT


class Work:
    """What a step is given: the child, its change, whether the step may have been made before, what to install."""

    def __init__(self, canister: bytes, change: Change, again: bool, code: Code):
        self.canister = canister
        self.target = to_principal(canister)
        self.change = change
        self.again = again
        self.code = code


def drive(canister: bytes, code: Code) -> Async[void]:
    """Goes on with a child's change until it has ended or has to wait."""
    taken = changes.take_over(canister)
    if taken is None:
        return
    change, again = taken
    turn = change.turn
    key = change_key(canister)
    while change.step != steps.ENDED:
        open_calls.start(key, ic.time())
        try:
            fault = yield STEPS[change.step](Work(canister, change, again, code))
        finally:
            open_calls.finish(key)
        known = changes.get(canister)
        if known is None or known.turn != turn or not settle(canister, change, fault):
            return
        again = False


def settle(canister: bytes, change: Change, fault: str) -> bool:
    """Writes down how a step ended and what comes next; False when that has to wait."""
    now = ic.time()
    step = change.step
    if step in (steps.EXAMINE, steps.FUEL, steps.FLAG) and change.outcome and not change.may_be_closed():
        change.end(change.outcome, fault, now)
    elif step != steps.ENDED and not fault:
        change.succeeded(now)
    elif step in PASSING and change.may_wait() and any(code in fault for code in TRANSIENT):
        change.tries += 1
    elif step != steps.ENDED:
        change.failed(fault, now)
    changes.put(canister, change)
    if change.step == steps.ENDED:
        ended(canister, change)
    return not fault or change.step != step


def ended(canister: bytes, change: Change) -> None:
    """A change has ended: the rollout counts it, the log says it."""
    rollout = rollouts.last()
    details = f"{steps.OUTCOME_NAMES[change.outcome]} {change.version} {change.wasm_hash.hex()[:16]} {change.fault}"
    audit.record(ic.time(), ic.id().bytes, "change_code", canister, details)
    if rollout is not None and change.rollout == rollout.number:
        rollout.ended(change.former_outcome, change.outcome)
        rollouts.put(rollout)


# Steps: each makes its call and returns what went wrong, or ""; what it learns it leaves in the change. --------


def examine_step(work: Work) -> Async[text]:
    """Reads who controls the child and what it runs; decides whether anything is to be done to it."""
    unused = unused_fault(work)
    if unused:
        return unused
    fault = yield examine(work.canister)
    if fault:
        if is_gone(fault):
            work.change.outcome = steps.SKIPPED
            return "it was deleted"
        return fault
    unused = unused_fault(work)
    child = children.get(work.canister)
    if unused or child is None:
        return unused
    work.change.former_hash = child.module_hash or bytes(32)
    fault = custody_fault(work.canister)
    if fault:
        work.change.outcome = steps.BUSY
        return fault
    if not child.controlled:
        work.change.outcome = steps.SKIPPED
        return "the factory does not control it"
    fault = rollouts.custody_fault(child, work.canister, work.change.wasm_hash)
    if fault:
        work.change.outcome = steps.WAITING if child.custody == SHARED else steps.SKIPPED
        return fault
    if child.module_hash == work.change.wasm_hash:
        work.change.outcome = steps.CURRENT
        return ""
    if work.change.version and not work.code.wasm and not releases.is_kept(work.change.wasm_hash):
        return f"the code of release {work.change.version} is not kept any more"
    if not releases.is_published(child.module_hash):
        if work.change.rollout:
            work.change.outcome = steps.SKIPPED
            return f"it runs code that was not published: {child.module_hash.hex()}"
        work.change.flags |= steps.SILENT
    if not releases.is_published(work.change.wasm_hash):
        work.change.flags |= steps.SILENT
    return ""


def unused_fault(work: Work) -> str:
    """Why there is no zone in use to change, with the outcome that follows, or ""."""
    child = children.get(work.canister)
    if child is not None and child.stage == CREATED:
        work.change.outcome = steps.WAITING
        return "its creation is not complete"
    if child is None or child.stage != LIVE:
        work.change.outcome = steps.SKIPPED
        return "it is not in use"
    return ""


def fuel_step(work: Work) -> Async[text]:
    """Fills the child up, if it runs code of ours, as the work ahead costs cycles; a rollout starts it if need be."""
    fault = ""
    if releases.is_published(work.change.former_hash):
        _, fault = yield refill(work.canister, policy.get("refill_to"), "before a change of its code")
    answer = yield management.canister_status({"canister_id": work.target})
    if answer.Err is not None:
        return f"reading the status failed: {answer.Err}"
    status: ChildStatus = answer.Ok
    if (status["module_hash"] or bytes(32)) != work.change.former_hash:
        return "somebody else changes its code"
    threshold = status["settings"]["freezing_threshold"]
    frozen = freezing_need(status["idle_cycles_burned_per_day"], threshold, status["reserved_cycles"])
    if status["cycles"] < frozen + LEAST_CYCLES:
        # What its owners set or took out is no reason to pause a rollout: it is tried again.
        work.change.outcome = steps.BUSY if work.change.rollout else steps.OPEN
        return f"it holds {status['cycles']} cycles, a change of its code needs {frozen + LEAST_CYCLES}; {fault}"
    if "running" in status["status"]:
        return ""
    if not work.change.rollout:
        work.change.flags |= steps.SILENT
        return ""
    child = children.get(work.canister)
    if child is None or child.custody != MANAGED:
        work.change.outcome = steps.SKIPPED
        return "it is stopped, and not by the factory alone: whoever stopped it has to start it first"
    answer = yield management.start_canister({"canister_id": work.target})
    return "" if answer.Err is None else f"it is stopped, and starting it failed: {answer.Err}"


def flag_step(work: Work) -> Async[text]:
    """Has the child refuse what would change it, once it has read who may ask for that.

    Its controllers may have changed since it read them; whether it could read them is seen by what it answers then.
    """
    fault = yield unasked_fault(work)
    if fault:
        return fault
    yield zone(work.canister).refresh_controllers()
    answer = yield zone(work.canister).set_maintenance({"on": True, "restoring": False})
    fault = result_fault("setting the maintenance flag", answer)
    if not fault:
        work.change.flag_until = answer.Ok["ok"]
    elif answer.Err is None:
        work.change.outcome = steps.BUSY
    return "" if goes_unasked(work, answer.Err) else fault


def goes_unasked(work: Work, rejection: str | None) -> bool:
    """Whether the child's own code cannot answer any more, which an admin then changes without asking it anything.

    A rollout leaves such a child to him; there is no way back, as what it was before is not known.
    """
    child = children.get(work.canister)
    is_admins = not work.change.rollout and child is not None and child.custody == MANAGED
    if not is_admins or rejection is None or TRAPPED not in rejection:
        return False
    work.change.flags |= steps.SILENT
    return True


def unasked_fault(work: Work) -> Async[text]:
    """Why a child is not to be asked now: others control it, too, and have put other code there; "" if it may be.

    What its owners install between this answer and the question is asked all the same: there is no call that gives up
    waiting. Code that never answers keeps the factory from being stopped.
    """
    child = children.get(work.canister)
    if child is not None and child.custody == MANAGED:
        return ""
    fault = yield examine(work.canister)
    return fault or surprise(work, [work.change.former_hash])


def measure_step(work: Work) -> Async[text]:
    """Reads what the change must leave as it is."""
    fault = yield unasked_fault(work)
    if fault:
        return fault
    answer = yield zone(work.canister).get_health()
    if answer.Err is not None:
        return "" if goes_unasked(work, answer.Err) else f"asking for its health failed: {answer.Err}"
    work.change.before = health_of(answer.Ok)
    return ""


def stop_step(work: Work) -> Async[text]:
    """Stops the child; who waits too long cancels that by a start (`rollout_flow`)."""
    is_stopped = False
    if work.again:
        fault = yield running_fault(work)
        if fault and (fault != NOT_STOPPED or work.change.step == steps.STOP):
            return fault
        is_stopped = not fault
    if not is_stopped:
        answer = yield management.stop_canister({"canister_id": work.target})
        if answer.Err is not None:
            return f"it did not stop: {answer.Err}"
    if work.canister not in cancelled:
        return ""
    # The start that was to end the stop may have come after it.
    cancelled.remove(work.canister)
    fault = yield running_fault(work)
    return fault


def running_fault(work: Work) -> Async[text]:
    """Reads whether the child is stopped; returns why not, or ""."""
    answer = yield management.canister_status({"canister_id": work.target})
    if answer.Err is not None:
        return f"reading the status failed: {answer.Err}"
    return "" if "stopped" in answer.Ok["status"] else NOT_STOPPED


def snapshot_step(work: Work) -> Async[text]:
    """Takes a snapshot of the stopped child."""
    if work.again:
        answer = yield management.list_canister_snapshots({"canister_id": work.target})
        if answer.Err is not None:
            work.change.flags |= steps.UNSEEN
            return f"listing its snapshots failed: {answer.Err}"
        taken = [found["id"] for found in answer.Ok if found["taken_at_timestamp"] >= work.change.step_at]
        if taken:
            work.change.took(taken[-1])
            return ""
    fault = ""
    # In the place of one that an earlier change left, if its owners have not deleted that.
    for former in [work.change.snapshot, b""] if work.change.snapshot else [b""]:
        answer = yield management.take_canister_snapshot(
            {"canister_id": work.target, "replace_snapshot": former or None}
        )
        if answer.Err is None:
            work.change.took(answer.Ok["id"])
            return ""
        fault = f"taking a snapshot failed: {answer.Err}"
    return fault


def install_step(work: Work) -> Async[text]:
    """Upgrades the code, from the release or with what an admin's call brought."""
    if work.again:
        answer = yield management.canister_status({"canister_id": work.target})
        if answer.Err is not None:
            return f"reading the status failed: {answer.Err}"
        if answer.Ok["module_hash"] == work.change.wasm_hash:
            return ""
        work.change.flags &= ~steps.UNSURE
        if "stopped" not in answer.Ok["status"]:
            return "somebody started it before its code was changed"
    fault = yield examine(work.canister)
    fault = fault or surprise(work, [work.change.former_hash])
    child = children.get(work.canister)
    if not fault and child is not None:
        fault = rollouts.custody_fault(child, work.canister, work.change.wasm_hash)
    if fault:
        return fault
    if work.code.wasm:
        fault = yield install_whole(work.canister, work.code.wasm, UPGRADE, work.code.arg)
        return fault
    if work.change.has(steps.BROUGHT) and not work.code.is_of_call:
        return "what to install is known no more: the call that brought it was lost"
    fault = yield install_release(work.canister, work.change.wasm_hash, UPGRADE, work.code.arg)
    if fault == CHUNKS_IN_USE:
        work.change.outcome = steps.BUSY
    return fault


def surprise(work: Work, expected: list[bytes]) -> str:
    """What somebody else did to a child meanwhile, as read just now, or ""; `expected` is code that it may run."""
    child = children.get(work.canister)
    if child is None or not child.controlled:
        return "the factory lost control of it"
    if (child.module_hash or bytes(32)) not in expected:
        return "somebody else changed its code"
    return ""


def start_step(work: Work) -> Async[text]:
    """Starts the child, whatever it runs now."""
    answer = yield management.start_canister({"canister_id": work.target})
    if answer.Err is None:
        return ""
    fault = yield examine(work.canister)
    child = children.get(work.canister)
    if is_gone(fault):
        work.change.end(steps.FAILED, "its canister was deleted meanwhile", ic.time())
        return ""
    if not fault and child is not None and not child.controlled:
        if work.change.snapshot:
            work.change.flags |= steps.KEEPS_SNAPSHOT
        work.change.end(steps.FAILED, "the factory lost control of it and could not start it", ic.time())
    return f"starting it failed: {answer.Err}"


def check_step(work: Work) -> Async[text]:
    """Asks the new code how it is: version, and everything that was measured before."""
    fault = yield examine(work.canister)
    if fault:
        return fault
    child = children.get(work.canister)
    if child is None or child.module_hash != work.change.wasm_hash:
        work.change.flags |= steps.KEEPS_SNAPSHOT
        work.change.end(steps.FAILED, "somebody else changed its code meanwhile: it is left as it is", ic.time())
        return ""
    answer = yield zone(work.canister).get_health()
    if answer.Err is not None:
        return f"the new code does not tell its health: {answer.Err}"
    found: ZoneHealthReply = answer.Ok
    is_flagged = found["maintenance_until"] is not None
    fault = health_fault(work.change.before, health_of(found), work.change.version, found["version"], is_flagged)
    return f"the check failed: {fault}" if fault else ""


def hold_step(work: Work) -> Async[text]:
    """Tells the child that it goes back, so that the flag does not end meanwhile.

    A child that says that its flag is gone has let members in: there is no way back then. One that does not answer,
    because its new code is too broken for that, is taken back by the time at which its flag ends, if nobody but the
    factory could have cleared it before.
    """
    work.change.outcome = steps.OPEN
    fault = yield examine(work.canister)
    child = children.get(work.canister)
    if not fault and child is not None and child.module_hash != work.change.wasm_hash:
        work.change.outcome = steps.FAILED
        return "somebody else changed its code"
    if not fault:
        answer = yield zone(work.canister).set_maintenance({"on": True, "restoring": True})
        fault = result_fault("holding the maintenance flag", answer)
        if answer.Err is None and fault:
            work.change.outcome = steps.FAILED
    if fault and (child is None or child.custody != MANAGED):
        work.change.outcome = steps.FAILED
    return fault


def load_step(work: Work) -> Async[text]:
    """Puts the child back to what it was before; the same if done twice, as it is stopped all the while."""
    fault = yield examine(work.canister)
    if fault:
        return fault
    fault = surprise(work, [work.change.wasm_hash, work.change.former_hash][: 1 + work.again])
    if fault:
        work.change.outcome = steps.FAILED
        return fault
    answer = yield management.load_canister_snapshot({"canister_id": work.target, "snapshot_id": work.change.snapshot})
    return "" if answer.Err is None else f"going back to the snapshot failed: {answer.Err}"


def clear_step(work: Work) -> Async[text]:
    """Lets members in again."""
    fault = yield examine(work.canister)
    if fault:
        return fault
    child = children.get(work.canister)
    if child is None or not releases.is_published(child.module_hash):
        return "it runs code that was not published"
    answer = yield zone(work.canister).set_maintenance({"on": False, "restoring": False})
    return result_fault("clearing the maintenance flag", answer)


def delete_step(work: Work) -> Async[text]:
    """Deletes the snapshot, one that was not seen included."""
    if work.change.has(steps.UNSEEN):
        answer = yield management.list_canister_snapshots({"canister_id": work.target})
        if answer.Err is not None:
            return f"listing its snapshots failed: {answer.Err}"
        work.change.saw([(found["id"], found["taken_at_timestamp"]) for found in answer.Ok])
        if not work.change.leaves_snapshot():
            return ""
    answer = yield management.delete_canister_snapshot(
        {"canister_id": work.target, "snapshot_id": work.change.snapshot}
    )
    if answer.Err is None:
        return ""
    fault = f"deleting the snapshot {work.change.snapshot.hex()} failed: {answer.Err}"
    answer = yield management.list_canister_snapshots({"canister_id": work.target})
    if answer.Err is None and work.change.snapshot not in [found["id"] for found in answer.Ok]:
        return ""
    return fault


STEPS = {
    steps.EXAMINE: examine_step,
    steps.FUEL: fuel_step,
    steps.FLAG: flag_step,
    steps.MEASURE: measure_step,
    steps.STOP: stop_step,
    steps.SNAPSHOT: snapshot_step,
    steps.INSTALL: install_step,
    steps.START: start_step,
    steps.CHECK: check_step,
    steps.HOLD: hold_step,
    steps.STOP_AGAIN: stop_step,
    steps.LOAD: load_step,
    steps.CLEAR: clear_step,
    steps.DELETE: delete_step,
}


def zone(canister: bytes) -> ZoneService:
    """The child's own methods."""
    return ZoneService(to_principal(canister))


def health_of(found: ZoneHealthReply) -> Health:
    """What a zone said of itself."""
    counts = (found["messages"], found["first_id"], found["last_id"], found["members"])
    return Health(found["layout"][: steps.MAX_LAYOUT_BYTES], counts, found["installation_id"])


def result_fault(what: str, answer: CallResult[ZoneMaintenanceResult]) -> str:
    """What went wrong with a call that answers ok or err, or ""."""
    if answer.Err is not None:
        return f"{what} failed: {answer.Err}"
    refused = answer.Ok.get("err")
    return "" if refused is None else f"{what} failed: {refused}"
