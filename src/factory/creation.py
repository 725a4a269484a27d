"""How a zone canister comes to be: created, installed from the current release, registered. Written down at each step.

Talks to the management canister, so it is driven by yields; what it decides with lies in pure stores. A creation that
stops half way is taken up where it stopped when its creator asks again; the canister id is stored before anything else
happens after the creation. Each flow returns its result and an error text, one of which is empty.
"""

from kybra import Async, Tuple, blob, ic, text

from factory.battery import Battery
from factory.children import LIVE, Child, Children
from factory.installation import INSTALL, install_release
from factory.principals import to_text
from factory.releases import ReleaseStore
from factory.services import management
from factory.zones import CREATED, INSTALLED, Zone, ZoneIndex

CREATION_CYCLES = 1_500_000_000_000

Created = Tuple[blob, text]


def create_zone(
    zones: ZoneIndex,
    releases: ReleaseStore,
    battery: Battery,
    children: Children,
    creator: bytes,
    zone_id: str,
    zone: Zone,
    call_token: bytes | None,
) -> Async[Created]:
    """The principal of the creator's zone canister, made if there is none yet; the arguments have been checked."""
    known = zones.find(creator, zone_id)
    if known is not None:
        difference = known.difference(zone)
        if difference:
            return b"", f"zone {zone_id} was created with {difference}: ask with the same arguments"
        if known.stage == INSTALLED:
            return known.canister, ""
        zone = known
    release = releases.current()
    if release is None:
        return b"", "no release of the zone canister is published yet: nothing to install"
    if known is None:
        fault = admission_fault(zones, battery)
        if fault:
            return b"", fault
        zone.asked_at = ic.time()
        fault = yield create_canister(zones, children, creator, zone_id, zone)
        if fault:
            return b"", fault
    argument = install_argument(zone, zone_id, call_token)
    fault = yield install_release(zone.canister, release[0], INSTALL, argument)
    if fault:
        return b"", f"{fault}; the canister {to_text(zone.canister)} is kept: ask again"
    zone.stage = INSTALLED
    zones.store(creator, zone_id, zone)
    child = children.get(zone.canister)
    if child is not None:
        child.stage = LIVE
        children.put(zone.canister, child)
    battery.register(zone.canister, ic.time())
    return zone.canister, ""


def admission_fault(zones: ZoneIndex, battery: Battery) -> str:
    """Why no zone can be created now, or ""."""
    balance = ic.canister_balance128()
    reserve = battery.reserve_cycles()
    if balance < CREATION_CYCLES + reserve:
        return (
            f"the factory holds {balance} cycles: a creation takes {CREATION_CYCLES} "
            f"and the reserve of {reserve} is never touched"
        )
    now = ic.time()
    budget = zones.budget(now)
    if budget.left(now) == 0:
        wait = (budget.ends_at - now) // 1_000_000_000
        return f"the {budget.limit} creations of this day are used up: try again in {wait} seconds"
    return ""


def create_canister(zones: ZoneIndex, children: Children, creator: bytes, zone_id: str, zone: Zone) -> Async[text]:
    """Creates the canister and files it at once; returns what went wrong, or ""."""
    now = ic.time()
    budget = zones.budget(now)
    window = budget.take(1)
    zones.store_budget(budget)
    answer = yield management.create_canister({"settings": None}).with_cycles128(CREATION_CYCLES)
    if answer.Err is not None:
        budget = zones.budget(ic.time())
        budget.give_back(1, window)
        zones.store_budget(budget)
        return f"creating the canister failed: {answer.Err}"
    zone.canister = answer.Ok["canister_id"].bytes
    zone.stage = CREATED
    zones.store(creator, zone_id, zone)
    children.put(zone.canister, Child(zone_id, creator, ic.time()))
    return ""


def install_argument(zone: Zone, zone_id: str, call_token: bytes | None) -> bytes:
    """The zone's init record in Candid. Its texts hold no quote and no backslash: `zone_args` saw to that."""
    token = "null"
    if call_token is not None:
        token = 'opt blob "' + "".join(f"\\{byte:02x}" for byte in call_token) + '"'
    return ic.candid_encode(
        f'(record {{ zone_id = "{zone_id}"; rpc_host = "{zone.rpc_host}"; rpc_path = "{zone.rpc_path}"; '
        f'cycles_requester_id = principal "{ic.id().to_str()}"; call_token = {token} }})'
    )
