"""The Candid types of what is known of the fleet's cycles: each child's, the battery's own, and both over time.

Declarations only. Units: amounts in cycles, burn in cycles a day, runway in days, sizes in bytes, times in ns since
1970; times of readings in seconds since 1970.
"""

from kybra import Opt, Principal, Record, Variant, Vec, blob, nat, nat32, nat64, null, text


class FuelState(Variant, total=False):
    unknown: null
    running: null
    stopping: null
    stopped: null
    deleted: null
    unreachable: null
    uncontrolled: null


class ChildFuel(Record):
    canister: Principal
    zone_id: text
    state: FuelState
    controlled: bool
    module_hash: Opt[blob]
    read_at: Opt[nat64]
    balance: nat
    reserved: nat
    freezing: nat
    memory: nat
    idle_burn: nat
    recent_burn: Opt[nat]
    usual_burn: Opt[nat]
    runway_days: Opt[nat]
    paid: nat
    allowance: nat
    fuelled: bool
    quota_limit: nat
    quota_used: nat
    quota_ends_at: nat64


class FleetPage(Record):
    children: Vec[ChildFuel]
    next_after: Opt[Principal]
    count: nat64


class ChildReading(Record):
    time: nat64
    balance: nat
    paid: nat


class FleetReading(Record):
    time: nat64
    battery: nat
    fleet: nat
    passed_on: nat
    burn: nat
    children: nat32


class SweepState(Record):
    number: nat64
    begun_at: nat64
    ended_at: Opt[nat64]
    looked_at: nat32
    refilled: nat32
    unreadable: nat32
    deposited: nat


class BatteryStatus(Record):
    balance: nat
    reserve: nat
    freezing: nat
    own_burn: nat
    fleet_burn: nat
    runway_days: Opt[nat]
    passed_on: nat
    children: nat64
    open_alerts: nat64
    sweep: SweepState
