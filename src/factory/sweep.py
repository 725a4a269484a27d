"""The battery goes to its children: a timer looks at each of them and refills those that run low.

Flows over the management canister, in slices: a few lanes at a time take the next child from a shared cursor, and each
ends after some children and goes on in a message of its own, so that the factory can be stopped within seconds. No
child is ever called. Those that the factory controls are read by their status; of the others only code and controllers
are looked at, and they get the allowance that an admin gave them, if any.
"""

from kybra import Async, ic, void

from canister_kit.in_flight import SECOND
from factory.alerts import (
    BATTERY_LOW,
    FOREIGN_CODE,
    LOW_RUNWAY,
    QUOTA_REACHED,
    UNREACHABLE,
    UNUSUAL_BURN,
)
from factory.battery import Need
from factory.children import LIVE
from factory.context import (
    alerts,
    battery,
    children,
    controllers,
    creation_rules,
    deposit_log,
    fleet_history,
    fuel,
    open_calls,
    policy,
    releases,
    samples,
    sweeps,
)
from factory.control import set_back
from factory.deposits import ALLOWANCE, code_fault, deposit, reconcile, report_window, waits_for_quota
from factory.examination import examine, is_gone
from factory.fuel import DELETED, RUNNING, STOPPED, STOPPING, UNCONTROLLED, Fuel, freezing_need
from factory.fuel import UNREACHABLE as STATE_UNREACHABLE
from factory.history import battery_burn, child_burn, in_units
from factory.policy import DAY
from factory.principals import to_principal
from factory.services import ChildStatus, management

BEAT_SECONDS = 600
LANES = 4
SLICE = 8
OUT_OF_CYCLES = "out of cycles"
OWN_KEY = b"own status"
MOOT = {
    STATE_UNREACHABLE: (),
    UNCONTROLLED: (LOW_RUNWAY, UNUSUAL_BURN),
    DELETED: (LOW_RUNWAY, UNUSUAL_BURN, QUOTA_REACHED, FOREIGN_CODE),
}
"""What nobody can tell of a child any more that is in a state: alerts of it are cleared."""
RUN_STATES = {"running": RUNNING, "stopping": STOPPING, "stopped": STOPPED}


def arm() -> None:
    """Sets the timer; timers die at every upgrade. A repeating one outlives a trap in what it runs."""
    ic.set_timer_interval(BEAT_SECONDS, beat)


def beat() -> Async[void]:
    """Begins a sweep when one is due, and takes up one that was interrupted."""
    now = ic.time()
    reconcile(now)
    if sweeps.is_stuck(now):
        start_lanes()
    elif sweeps.is_due(policy.get("sweep_seconds"), now):
        yield begin_sweep()


def begin_sweep() -> Async[void]:
    """Reads what the battery itself needs, then lets the lanes run."""
    yield read_own_need()
    if not sweeps.is_running():
        sweeps.begin(fuel.take_thirsty(), ic.time())
        start_lanes()


def start_lanes() -> None:
    """Each lane is a message of its own."""
    for _ in range(LANES):
        ic.set_timer(0, lane)


def lane() -> Async[void]:
    """Looks at some children one after the other, and goes on in another message."""
    for _ in range(SLICE):
        canister = sweeps.take(children, ic.time())
        if canister is None:
            end_sweep()
            return
        key = b"sweep" + canister
        open_calls.start(key, ic.time())
        yield look_at(canister)
        open_calls.finish(key)
        sweeps.leave(canister, ic.time())
    ic.set_timer(0, lane)


def end_sweep() -> None:
    """Keeps what the sweep found, when it is over."""
    sweep = sweeps.end(ic.time())
    if sweep is None:
        return
    balance = ic.canister_balance128()
    figures = [in_units(amount) for amount in (balance, sweep.balances, deposit_log.passed_on(), sweep.burn)]
    fleet_history.add(b"", (ic.time() // SECOND, *figures, sweep.looked_at))
    report_battery(balance)


def read_own_need() -> Async[void]:
    """Reads the battery's own burn and freezing threshold, from which its reserve follows, and its controllers."""
    open_calls.start(OWN_KEY, ic.time())
    answer = yield management.canister_status({"canister_id": ic.id()})
    open_calls.finish(OWN_KEY)
    if answer.Err is None:
        idle = answer.Ok["idle_cycles_burned_per_day"]
        threshold = answer.Ok["settings"]["freezing_threshold"]
        measured = battery_burn(fleet_history, ic.time() // SECOND)
        battery.store_need(Need(idle, threshold, measured, ic.time()))
        found = answer.Ok["settings"]["controllers"]
        controllers.store([controller.bytes for controller in found], ic.time())
    report_battery(ic.canister_balance128())


def report_battery(balance: int) -> None:
    """Raises the alert when less is left above the reserve than the children may have together in one window."""
    reserve = battery.reserve_cycles()
    is_low = balance - reserve < battery.aggregate().limit
    alerts.report(is_low, BATTERY_LOW, b"", f"{balance} cycles, of which {reserve} are the reserve", ic.time())


def look_at(canister: bytes) -> Async[void]:
    """Reads one child and refills it when it runs low."""
    child = children.get(canister)
    if child is None or child.stage != LIVE or not battery.is_child(canister):
        return
    if not child.controlled:
        yield look_from_afar(canister)
        return
    answer = yield management.canister_status({"canister_id": to_principal(canister)})
    if answer.Err is not None:
        yield look_why(canister, answer.Err)
        return
    reading, burn = keep_reading(canister, answer.Ok)
    # What was read of its burn is wrong when allocations went: it is filled by the next sweep.
    burns_less = yield set_back(canister, answer.Ok)
    if not burns_less:
        yield refill_if_low(canister, reading, burn)
    runway = fuel.get(canister).runway(burn)
    is_low = runway is not None and runway < policy.get("alert_days") * DAY
    alerts.report(is_low, LOW_RUNWAY, canister, f"{reading.balance} cycles at {burn} a day", ic.time())


def keep_reading(canister: bytes, status: ChildStatus) -> tuple[Fuel, int]:
    """Keeps a child's status; returns it with the child's burn a day."""
    now = ic.time()
    controllers = [controller.bytes for controller in status["settings"]["controllers"]]
    child = children.info_read(canister, controllers, status["module_hash"] or b"", ic.id().bytes, now)
    reading = fuel.get(canister)
    reading.state = RUN_STATES[next(iter(status["status"]))]
    reading.read_at = now
    reading.balance = status["cycles"]
    reading.reserved = status["reserved_cycles"]
    reading.idle_burn = status["idle_cycles_burned_per_day"]
    threshold = min(status["settings"]["freezing_threshold"], creation_rules.figure("freezing_seconds"))
    reading.freezing = freezing_need(reading.idle_burn, threshold, reading.reserved)
    reading.memory = status["memory_size"]
    fuel.put(canister, reading)
    seconds = now // SECOND
    samples.add(canister, (seconds, in_units(reading.balance), in_units(deposit_log.paid(canister))))
    burn = child_burn(samples, canister, seconds)
    alerts.report(False, UNREACHABLE, canister, "", now)
    details = f"{burn.recent} cycles a day, usually {burn.usual}"
    is_unusual = burn.is_unusual(policy.get("unusual_times"), policy.get("unusual_cycles"))
    alerts.report(is_unusual, UNUSUAL_BURN, canister, details, now)
    code_fault(canister, child)
    report_window(canister, child)
    burn_now = max(reading.idle_burn, burn.recent or 0)
    sweeps.count(reading.balance, burn_now, False)
    return reading, burn_now


def refill_if_low(canister: bytes, reading: Fuel, burn: int) -> Async[void]:
    """Refills a child below the policy's balance or runway; what a quota refused comes first in the next sweep.

    It is filled to the policy's balance, beyond that only as far as its memory alone needs, and at most to
    `refill_most`: what it burns besides is measured over hours, and a busy hour is no reason for a month of such hours.
    """
    days = policy.get("runway_days")
    needed = min(policy.get("refill_most"), reading.freezing + days * reading.idle_burn)
    target = max(policy.get("refill_to"), needed)
    amount = target - reading.balance
    is_low = reading.balance < max(policy.get("refill_below"), reading.freezing + days * burn)
    if not is_low or amount < policy.get("min_top_up"):
        return
    amount, fault = yield deposit(canister, amount, "sweep")
    if amount:
        sweeps.count_deposit(amount)
        now_has = fuel.get(canister)
        now_has.balance += amount
        fuel.put(canister, now_has)
    elif waits_for_quota(fault):
        fuel.add_thirsty(canister)


def look_why(canister: bytes, refusal: str) -> Async[void]:
    """What it means that a child's status could not be read."""
    if OUT_OF_CYCLES in refusal:
        amount, _ = yield deposit(canister, policy.get("refill_to"), "out of cycles")
        child = children.get(canister)
        # Others' code is paid nothing, now and next time.
        if child is not None and releases.is_published(child.module_hash):
            fuel.add_thirsty(canister)
        unreadable(canister, STATE_UNREACHABLE, refusal)
        if amount:
            sweeps.count_deposit(amount)
        return
    fault = yield examine(canister)
    child = children.get(canister)
    if is_gone(refusal) and fault:
        unreadable(canister, DELETED, "deleted")
    elif not fault and child is not None and not child.controlled:
        unreadable(canister, UNCONTROLLED, "")
    else:
        unreadable(canister, STATE_UNREACHABLE, refusal)


def look_from_afar(canister: bytes) -> Async[void]:
    """Reads code and controllers of a child that the factory does not control, and pays its allowance when due."""
    fault = yield examine(canister)
    if fault:
        unreadable(canister, DELETED if is_gone(fault) else STATE_UNREACHABLE, fault)
        return
    unreadable(canister, UNCONTROLLED, "")
    child = children.get(canister)
    if child is not None:
        code_fault(canister, child)
        report_window(canister, child)
    yield pay_allowance(canister)


def pay_allowance(canister: bytes) -> Async[void]:
    """Pays a child its allowance when it is due; one whose answer is lost counts as paid, as it does in the books."""
    reading = fuel.get(canister)
    before = reading.allowance_at
    if not reading.allowance or ic.time() - before < DAY * SECOND:
        return
    amount, _ = yield deposit(canister, reading.allowance, ALLOWANCE)
    if amount:
        sweeps.count_deposit(amount)
    elif battery.is_child(canister):
        fuel.allowance_paid(canister, before)


def unreadable(canister: bytes, state: int, why: str) -> None:
    """Keeps that a child could not be read; the alert follows unless its owners alone control it."""
    if not battery.is_child(canister):
        return  # it has ended meanwhile, and with it everything that was kept of it
    fuel.set_state(canister, state)
    alerts.report(state != UNCONTROLLED, UNREACHABLE, canister, why, ic.time())
    for kind in MOOT[state]:
        alerts.report(False, kind, canister, "", ic.time())
    sweeps.count(0, 0, state != UNCONTROLLED)
