"""The factory's Candid interface: what the fleet holds and burns, now and over time; sweeps and allowances."""

from kybra import Async, Opt, Principal, Vec, ic, nat, nat32, query, update

from canister_kit.in_flight import SECOND
from factory.candid_types import AckResult
from factory.children import RETIRED, Child
from factory.context import (
    alerts,
    battery,
    children,
    deposit_log,
    fleet_history,
    fuel,
    note,
    policy,
    require_admin,
    require_short,
    samples,
    sweeps,
)
from factory.deposits import is_shared
from factory.history import UNIT, child_burn
from factory.policy import DAY
from factory.principals import to_principal, to_text
from factory.sweep import begin_sweep
from factory.types_fleet import BatteryStatus, ChildFuel, ChildReading, FleetPage, FleetReading, FuelState, SweepState

MAX_PAGE = 100
# In the order of the numbers that `fuel` gives them.
STATES: list[FuelState] = [
    {"unknown": None},
    {"running": None},
    {"stopping": None},
    {"stopped": None},
    {"deleted": None},
    {"unreachable": None},
    {"uncontrolled": None},
]


@query(guard=require_short)
def get_fleet(after: Opt[Principal], limit: nat32) -> FleetPage:
    """Children that have not ended, in ascending order of their principals from after one on; at most 100 at once."""
    most = min(limit, MAX_PAGE)
    page = children.page(None if after is None else after.bytes, most)
    found: list[ChildFuel] = []
    for canister in page:
        child = children.get(canister)
        if child is not None:
            found.append(child_fuel(canister, child))
    return {
        "children": found,
        "next_after": to_principal(page[-1]) if page and len(page) == most else None,
        "count": children.count(),
    }


@query(guard=require_short)
def get_child_status(canister: Principal) -> Opt[ChildFuel]:
    """One child, as it was read last; null for one that has ended."""
    child = children.get(canister.bytes)
    return None if child is None or child.stage == RETIRED else child_fuel(canister.bytes, child)


@query(guard=require_short)
def get_child_history(canister: Principal) -> Vec[ChildReading]:
    """A child's balance over time, oldest first: every sweep of a week, a day's of a month, a week's of a year."""
    readings: list[ChildReading] = []
    for time, balance, paid in samples.points(canister.bytes):
        readings.append({"time": time, "balance": balance * UNIT, "paid": paid * UNIT})
    return readings


@query
def get_fleet_history() -> Vec[FleetReading]:
    """The battery's and the children's balances over time, oldest first."""
    readings: list[FleetReading] = []
    for time, own, fleet, passed_on, burn, count in fleet_history.points(b""):
        readings.append(
            {
                "time": time,
                "battery": own * UNIT,
                "fleet": fleet * UNIT,
                "passed_on": passed_on * UNIT,
                "burn": burn * UNIT,
                "children": count,
            }
        )
    return readings


@query
def get_battery_status() -> BatteryStatus:
    """What the battery holds, keeps and burns, and how far the present sweep is."""
    need = battery.need()
    balance = ic.canister_balance128()
    reserve = battery.reserve_cycles()
    readings = fleet_history.points(b"")
    fleet_burn = readings[-1][4] * UNIT if readings else 0
    burn = need.burn() + fleet_burn
    return {
        "balance": balance,
        "reserve": reserve,
        "freezing": need.freezing(),
        "own_burn": need.burn(),
        "fleet_burn": fleet_burn,
        "runway_days": max(0, balance - reserve) // burn if burn else None,
        "passed_on": deposit_log.passed_on(),
        "children": children.count(),
        "open_alerts": alerts.open_count(),
        "sweep": sweep_state(),
    }


@update(guard=require_admin)
def start_sweep() -> Async[AckResult]:
    """Begins a sweep over the children now, unless one runs."""
    if sweeps.is_running():
        return {"err": f"sweep {sweeps.present().number} is running"}
    note("start_sweep")
    yield begin_sweep()
    return {"ok": None}


@update(guard=require_admin)
def set_child_allowance(canister: Principal, cycles_a_day: nat) -> AckResult:
    """Sets what a child that the factory does not control is given a day, beside what it may ask for; 0 for nothing."""
    least, most = policy.get("min_top_up"), policy.get("shared_limit")
    if children.get(canister.bytes) is None:
        return {"err": f"{to_text(canister.bytes)} is no child of this factory"}
    if cycles_a_day and not least <= cycles_a_day <= most:
        return {"err": f"an allowance is 0 or {least} to {most} cycles a day, got {cycles_a_day}"}
    reading = fuel.get(canister.bytes)
    reading.allowance = cycles_a_day
    fuel.put(canister.bytes, reading)
    note("set_child_allowance", canister.bytes, str(cycles_a_day))
    return {"ok": None}


@update(guard=require_admin)
def set_child_fuel(canister: Principal, on: bool) -> AckResult:
    """Stops the deposits to a child, whoever asks for them, or lets them be made again; what it has stays with it."""
    if not battery.is_child(canister.bytes):
        return {"err": f"{to_text(canister.bytes)} is no child that gets cycles"}
    battery.set_fuelled(canister.bytes, on)
    note("set_child_fuel", canister.bytes, "on" if on else "off")
    return {"ok": None}


def child_fuel(canister: bytes, child: Child) -> ChildFuel:
    """A child as Candid carries it."""
    reading = fuel.get(canister)
    burn = child_burn(samples, canister, reading.read_at // SECOND)
    runway = reading.runway(max(reading.idle_burn, burn.recent or 0))
    used = limit = ends_at = 0
    is_fuelled = False
    if battery.is_child(canister):
        is_fuelled = battery.is_fuelled(canister)
        quota = battery.quota(canister, is_shared(child))
        quota.turn(ic.time())
        used, limit, ends_at = quota.used, quota.limit, quota.ends_at
    return {
        "canister": to_principal(canister),
        "zone_id": child.zone_id,
        "state": STATES[reading.state],
        "controlled": child.controlled,
        "module_hash": child.module_hash or None,
        "read_at": reading.read_at or None,
        "balance": reading.balance,
        "reserved": reading.reserved,
        "freezing": reading.freezing,
        "memory": reading.memory,
        "idle_burn": reading.idle_burn,
        "recent_burn": burn.recent,
        "usual_burn": burn.usual,
        "runway_days": None if runway is None else runway // DAY,
        "paid": deposit_log.paid(canister),
        "allowance": reading.allowance,
        "fuelled": is_fuelled,
        "quota_limit": limit,
        "quota_used": used,
        "quota_ends_at": ends_at,
    }


def sweep_state() -> SweepState:
    """The present sweep as Candid carries it."""
    sweep = sweeps.present()
    return {
        "number": sweep.number,
        "begun_at": sweep.begun_at,
        "ended_at": sweep.ended_at or None,
        "looked_at": sweep.looked_at,
        "refilled": sweep.refilled,
        "unreadable": sweep.unreadable,
        "deposited": sweep.deposited,
    }
