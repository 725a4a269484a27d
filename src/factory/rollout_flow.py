"""What keeps changes of code going: a timer that takes up what was left, bounds stops, brings a rollout's children in.

Flows and heap state. Everything that counts is in the stores, so that an upgrade of the factory or a trap loses a
driver at most; the timer finds the change without one and goes on with it. Not for a change's steps (`change_flow`).
"""

from kybra import Async, ic, text, void

from factory import changes as steps
from factory.change_flow import Code, cancelled, drive
from factory.changes import MOST_OPEN, Change
from factory.children import LIVE
from factory.context import changes, children, open_calls, rollouts
from factory.marks import change_key
from factory.principals import to_principal
from factory.rollouts import RUNNING, Rollout
from factory.services import management

TICK_SECONDS = 15
STOP_SECONDS = 30  # neither queries nor updates are answered meanwhile
LOST_TICKS = 4
LOOK_SECONDS = 300
CHILDREN_A_TICK = 200
SECOND = 1_000_000_000


class Timer:
    """What is due on the heap: when the timer fires, and which children wait for a driver or for a cancelled stop."""

    def __init__(self):
        self.due = 0
        self.waiting: list[bytes] = []
        self.cancelling: list[bytes] = []


timer = Timer()


def go_on_soon() -> void:
    """Arms the timer, unless it is armed; one that is long overdue counts as lost."""
    now = ic.time()
    if timer.due and now < timer.due + LOST_TICKS * TICK_SECONDS * SECOND:
        return
    timer.due = now + TICK_SECONDS * SECOND
    ic.set_timer(TICK_SECONDS, run_changes)


def look_after_changes() -> void:
    """Sets a timer that outlives a trap in what it runs, for the one that such a trap took; at every start."""
    ic.set_timer_interval(LOOK_SECONDS, go_on_if_needed)


def go_on_if_needed() -> void:
    """Arms the timer if there is something to go on with."""
    rollout = rollouts.last()
    if changes.under_way() or (rollout is not None and rollout.state == RUNNING):
        go_on_soon()


def run_changes() -> void:
    """The timer: takes up changes without a driver, ends stops that take too long, feeds the rollout."""
    timer.due = 0
    now = ic.time()
    under_way = changes.under_way()
    for canister in under_way:
        if not open_calls.running(change_key(canister), now):
            drive_soon(canister)
        elif takes_too_long(canister, now):
            timer.cancelling.append(canister)
            ic.set_timer(0, cancel_stop)
    feed()
    go_on_if_needed()


def takes_too_long(canister: bytes, now: int) -> bool:
    """Whether a child was told to stop and has not for half a minute."""
    change = changes.get(canister)
    return (
        change is not None
        and change.step in (steps.STOP, steps.STOP_AGAIN)
        and now - change.step_at >= STOP_SECONDS * SECOND
    )


def cancel_stop() -> Async[void]:
    """Starts a child that does not stop: the platform rejects the stop that its driver waits for."""
    canister = timer.cancelling.pop()
    if not takes_too_long(canister, ic.time()):
        return
    cancelled.add(canister)
    key = b"cancel" + canister
    open_calls.start(key, ic.time())
    yield management.start_canister({"canister_id": to_principal(canister)})
    open_calls.finish(key)


def drive_soon(canister: bytes) -> void:
    """Gives a change a driver, in a message of its own."""
    timer.waiting.append(canister)
    ic.set_timer(0, drive_next)


def drive_next() -> Async[void]:
    """Drives a change that waits for a driver; what it leaves free goes to the next child."""
    canister = timer.waiting.pop(0)
    if open_calls.running(change_key(canister), ic.time()):
        return
    yield drive(canister, Code())
    feed()
    go_on_soon()


def begin(canister: bytes, change: Change) -> text:
    """Puts a change under way with a driver of its own, or says why not."""
    fault = changes.begin(canister, change)
    if not fault:
        drive_soon(canister)
        go_on_soon()
    return fault


def feed() -> void:
    """Puts the next children of a running rollout under way, as many as may be changed at a time."""
    rollout = rollouts.last()
    if rollout is None or rollout.state != RUNNING:
        return
    under_way = changes.under_way()
    slots = min(rollout.slots(len(under_way)), MOST_OPEN - len(under_way))
    for canister in children.page(rollout.cursor, CHILDREN_A_TICK if slots else 0):
        if not slots:
            break
        rollout.cursor = canister
        if canister in under_way:
            rollout.pass_over(changes.get(canister))
        elif take(rollout, canister):
            slots -= 1
    if slots and not changes.under_way() and not children.page(rollout.cursor, 1):
        rollout.walked(ic.time())
    rollouts.put(rollout)


def is_ready(rollout: Rollout, canister: bytes) -> bool:
    """Whether a child is in use and nobody's consent is missing."""
    child = children.get(canister)
    if child is None or child.stage != LIVE:
        return False
    return not rollouts.custody_fault(child, canister, rollout.wasm_hash)


def take(rollout: Rollout, canister: bytes) -> bool:
    """Puts a child's change under way, if it comes next."""
    former = changes.get(canister)
    if not rollout.takes(former, is_ready(rollout, canister)):
        return False
    change = Change(rollout.wasm_hash, rollout.version, rollout.number, ic.time())
    if former is not None and former.rollout == rollout.number:
        change.former_outcome = former.outcome
    return not begin(canister, change)
