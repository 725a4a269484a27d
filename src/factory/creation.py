"""How a zone canister comes to be: reserved, created, code installed, controllers set, registered.

Flows over the management canister. Each step is written down before its call and after it, and a creation that stopped
half way is taken up where it stopped when its creator asks again: what a step did is then read from the platform, never
tried twice. The id of a new canister is stored by the first statement after the platform named it. One creation of a
zone at a time; who asks meanwhile waits. Each flow returns its result and an error text, one of which is empty.
"""

from kybra import Async, Tuple, blob, ic, nat64, text

from canister_kit.in_flight import InFlight
from factory.birth import birth_settings, controllers_of, first_controllers, install_argument
from factory.children import ENDING, FUNDED, MANAGED, SOVEREIGN, SPONSORED, Child
from factory.children import LIVE as CHILD_LIVE
from factory.context import battery, children, creation_rules, creations, deposit_log, fuel, lists, open_calls, releases
from factory.control import set_controllers
from factory.custody import debt_fault
from factory.examination import examine
from factory.fuel import DELETED
from factory.installation import INSTALL, install_release
from factory.pool import take_pooled
from factory.principals import to_text
from factory.proof import prove
from factory.services import management
from factory.spending import came_back, spending_fault
from factory.zones import CREATED, FAILED, INSTALLED, LIVE, RESERVED, Creation, zone_key

SECOND = 1_000_000_000
# What taking a creation up again may cost, most of it the transfer of the code to the chunk store.
TAKING_UP_CYCLES = 50_000_000_000
TAKING_UP_INTERVAL = 60 * SECOND
LONGEST_INTERVAL = 6 * 3_600 * SECOND
UNPAID = "a sponsored zone begins as managed: send the price along as cycles, or repay and take custody later"
MAX_POLLS = 60
MAX_WAITING = 8
WAITING_KEY = b"waiting"

waiting = InFlight()
"""Callers that wait for a creation which another call carries out."""

Created = Tuple[blob, text]
Begun = Tuple[nat64, text]


def make_zone(asked: Creation, call_token: bytes | None, public_key: bytes | None) -> Async[Created]:
    """The canister of the creator's zone, made if there is none yet; the arguments have been checked."""
    key = zone_key(asked.creator, asked.zone_id)
    fault = yield wait_for(key, asked.zone_id)
    if fault:
        return b"", fault
    open_calls.start(key, ic.time())
    canister, fault = yield find_or_make(asked, call_token, public_key)
    open_calls.finish(key)
    return canister, fault


def wait_for(key: bytes, zone_id: str) -> Async[text]:
    """Waits while a creation of this zone runs, a call of the factory's own status at a time."""
    fault = f"zone {zone_id} is being created: ask again in a few seconds"
    if not open_calls.running(key, ic.time()):
        return ""
    if waiting.waited_for(ic.time()) >= MAX_WAITING:
        return fault
    waiting.start(key, ic.time())
    open_calls.start(WAITING_KEY, ic.time())
    for _ in range(MAX_POLLS):
        yield management.canister_status({"canister_id": ic.id()})
        if not open_calls.running(key, ic.time()):
            fault = ""
            break
    waiting.finish(key)
    open_calls.finish(WAITING_KEY)
    return fault


def find_or_make(asked: Creation, call_token: bytes | None, public_key: bytes | None) -> Async[Created]:
    """What `make_zone` does while nobody else creates this zone."""
    number = creations.at(asked.creator, asked.zone_id)
    known = creations.get(number)
    if known is not None:
        fault = known_fault(number, known, asked)
        if not fault and known.stage == LIVE and public_key is not None and not known.proven:
            fault = yield prove_later(number, asked, call_token, public_key)
        if fault or known.stage == LIVE:
            return b"" if fault else known.canister, fault
        fault = yield finish(number, call_token, False)
        return b"" if fault else known.canister, fault
    number, fault = yield begin(asked, call_token, public_key)
    if fault:
        return b"", fault
    fault = yield get_canister(number)
    if fault:
        return b"", fault
    fault = yield finish(number, call_token, True)
    made = creations.get(number)
    return b"" if fault or made is None else made.canister, fault


def prove_later(number: int, asked: Creation, call_token: bytes | None, public_key: bytes) -> Async[text]:
    """Has the proof checked of a zone that was created without one; returns why it is not proven, or ""."""
    fault = sponsored_fault(number, asked.zone_id)
    if fault:
        return fault
    fault = yield prove(asked, call_token, public_key)
    fault = fault or sponsored_fault(number, asked.zone_id)
    known = creations.get(number)
    child = None if known is None else children.get(known.canister)
    if fault or known is None or child is None or child.stage != CHILD_LIVE:
        return fault or f"zone {asked.zone_id} is being retired"
    known.proven = child.proven = True
    creations.put(number, known, ic.time())
    children.put(known.canister, child)
    if known.funding == SPONSORED:
        creations.claim_sponsorship(known.zone_id, number)
    be_canonical(known)
    return ""


def sponsored_fault(number: int, zone_id: str) -> str:
    """Why a creation is no proven one of a zone_id that was sponsored for another creation, or ""."""
    known, earlier = creations.get(number), creations.sponsored_for(zone_id)
    if earlier in (0, number) or (known is not None and known.funding == FUNDED):
        return ""
    return (
        f"zone {zone_id} had its sponsored canister (creation {earlier}): another one that is sponsored stays unproven"
    )


def known_fault(number: int, known: Creation, asked: Creation) -> str:
    """Why a creation that is there already is no answer to another request, nor can be taken up now, or ""."""
    difference = known.difference(asked)
    if difference:
        return f"zone {known.zone_id} was created with {difference}: ask with the same arguments"
    fault = ending_fault(known)
    if not fault and fuel.get(known.canister).state == DELETED:
        fault = f"{to_text(known.canister)}, canister of zone {known.zone_id}, was deleted: end it with retire_child"
    if fault or known.stage == LIVE:
        return fault
    if known.stage == RESERVED:
        return (
            f"the answer to creation {number} of zone {known.zone_id} was lost: "
            "an admin settles it (settle_creation), then ask again"
        )
    now = ic.time()
    since, interval = now - known.tried_at, taking_up_interval(known)
    if since < interval:
        wait = -(-(interval - since) // SECOND)
        return f"creation {number} was tried {since // SECOND} seconds ago: try again in {wait} seconds"
    fault = spending_fault(TAKING_UP_CYCLES) or creation_rules.admit_taking_up(now)
    if not fault:
        known.tried_at = now
        creations.put(number, known, now)
    return fault


def taking_up_interval(known: Creation) -> int:
    """How long after its last try a creation may be taken up (ns): a minute, then as long as it was tried in vain.

    One that its owners keep from being carried out would use up what all creations may be taken up in a day.
    """
    return max(TAKING_UP_INTERVAL, min(known.tried_at - known.asked_at, LONGEST_INTERVAL))


def ending_fault(known: Creation) -> str:
    """Whether the canister of a creation is being retired."""
    child = children.get(known.canister)
    if child is not None and child.stage in ENDING:
        return f"zone {known.zone_id} is being retired: ask again when that is done"
    return ""


def admission_fault(asked: Creation, with_proof: bool) -> str:
    """Why no canister can be created for a request now, or ""."""
    if releases.current() is None:
        return "no release of the zone canister is published yet: nothing to install"
    fault = ""
    if asked.funding == FUNDED:
        price = funded_price()
        if not creation_rules.policy().funded_open:
            fault = "funded creations are closed"
        elif ic.msg_cycles_available128() < price:
            fault = f"a zone costs {price} cycles, {ic.msg_cycles_available128()} came with the call"
    elif asked.custody != MANAGED:
        fault = UNPAID
    else:
        fault = creation_rules.caller_fault(asked.creator) or creation_rules.share_fault(with_proof, ic.time())
        earlier = creations.sponsored_for(asked.zone_id) if with_proof else 0
        if not fault and earlier:
            fault = (
                f"zone {asked.zone_id} had its sponsored canister (creation {earlier}): send the price along as cycles"
            )
    return fault or spending_fault(creation_rules.figure("creation_cycles"))


def funded_price() -> int:
    """What a funded zone costs, in cycles."""
    return creation_rules.figure("creation_cycles") + creation_rules.figure("funded_fee")


def begin(asked: Creation, call_token: bytes | None, public_key: bytes | None) -> Async[Begun]:
    """Admits a request, has its proof checked, takes it from its share and writes it down; returns its id."""
    fault = admission_fault(asked, public_key is not None)
    if fault:
        return 0, fault
    if public_key is not None:
        fault = yield prove(asked, call_token, public_key)
        fault = fault or admission_fault(asked, True)
        if fault:
            return 0, fault
        asked.proven = True
    now = ic.time()
    asked.cycles = creation_rules.figure("creation_cycles")
    if asked.funding == FUNDED:
        asked.price = funded_price()
    else:
        asked.count_window, asked.cycles_window = creation_rules.take(asked.proven, asked.cycles, now)
    number = creations.begin(asked, now)
    if asked.funding == SPONSORED and asked.proven:
        creations.claim_sponsorship(asked.zone_id, number)
    return number, ""


def get_canister(number: int) -> Async[text]:
    """Gives a reserved creation a canister: one of the pool, or a new one."""
    creation = creations.get(number)
    if creation is None:
        return f"creation {number} is unknown"
    if take_pooled(number):
        has_canister(number, [ic.id().bytes])
        return ""
    controllers = first_controllers(creation.custody, creation.owners)
    settings = birth_settings(controllers)
    paid = deposit_log.begin(b"", creation.cycles, "creation", ic.time())
    answer = yield management.create_canister({"settings": settings}).with_cycles128(creation.cycles)
    if answer.Err is None:
        creations.has_canister(number, answer.Ok["canister_id"].bytes, ic.time())
        has_canister(number, controllers)
    deposit_log.settle(paid, answer.Err is None, came_back(creation.cycles, answer.Err), ic.time())
    if answer.Err is None:
        return ""
    fault = f"creating the canister failed: {answer.Err}"
    give_up(number, fault)
    return fault


def has_canister(number: int, controllers: list[bytes]) -> None:
    """Makes the canister that a creation got a child with these controllers; takes the price if it is funded.

    What is not there of the price is owed: who settles a creation has not the cycles of the call that was lost.
    """
    creation = creations.get(number)
    if creation is None:
        return
    child = Child(creation.zone_id, creation.creator, ic.time())
    child.funding, child.proven, child.owners = creation.funding, creation.proven, list(creation.owners)
    if creation.funding == SPONSORED:
        child.owed = creation.cycles
    else:
        child.owed = creation.price - ic.msg_cycles_accept128(creation.price)
    children.put(creation.canister, child)
    children.info_read(creation.canister, controllers, b"", ic.id().bytes, ic.time())
    lists.add(zone_list(creation.zone_id), creation.canister)
    lists.add(creator_list(creation.creator), creation.canister)


def give_up(number: int, fault: str) -> None:
    """Ends a creation that got no canister: its place and its part of the share are free again."""
    creations.advance(number, FAILED, ic.time())
    creation = creations.failed(number, fault, ic.time())
    creations.free(number, creation)
    if creation.zone_id and creation.funding == SPONSORED:
        windows = creation.count_window, creation.cycles_window
        creation_rules.give_back(creation.proven, creation.cycles, windows)
        if creations.sponsored_for(creation.zone_id) == number:
            creations.claim_sponsorship(creation.zone_id, 0)


def finish(number: int, call_token: bytes | None, fresh: bool) -> Async[text]:
    """Carries a creation that has a canister to its end; `fresh` when nothing was tried with the canister yet."""
    creation = creations.get(number)
    if creation is not None and creation.stage == CREATED:
        fault = yield run_release(number, call_token, fresh)
        if fault:
            return kept(number, fault)
        creation = creations.advance(number, INSTALLED, ic.time())
    if creation is not None and creation.stage == INSTALLED:
        fault = yield give_to_owners(creation, fresh)
        if fault:
            return kept(number, fault)
        fault = register(number)
        return fault
    return ""


def give_to_owners(creation: Creation, fresh: bool) -> Async[text]:
    """Makes the controllers of a creation's canister those that were asked for; returns what went wrong, or "".

    A canister that its owners have passed on meanwhile is left to whom they passed it on.
    """
    if not fresh:
        fault = yield examine(creation.canister)
        if fault:
            return fault
    child = children.get(creation.canister)
    if child is None:
        return f"{to_text(creation.canister)} is no child of this factory"
    others = [one for one in child.controllers if one != ic.id().bytes and one not in creation.owners]
    if others:
        return ""
    # One who shares control has it from birth: he can only be reminded.
    fault = debt_fault(child, creation.custody) if creation.custody == SOVEREIGN else ""
    if not fault:
        fault = yield set_controllers(creation.canister, controllers_of(creation.custody, creation.owners))
    return fault


def kept(number: int, fault: str) -> str:
    """Writes down what kept a creation from being carried out; returns that, and when it may be taken up."""
    creation = creations.failed(number, fault, ic.time())
    seconds = taking_up_interval(creation) // SECOND
    return f"{fault}; the canister {to_text(creation.canister)} is kept: ask again in {seconds} seconds"


def run_release(number: int, call_token: bytes | None, fresh: bool) -> Async[text]:
    """Installs the current release on a creation's canister, unless it runs one already."""
    creation = creations.get(number)
    release = releases.current()
    if creation is None or release is None:
        return f"creation {number} or the release it needs is gone"
    if not fresh:
        fault = yield examine(creation.canister)
        child = children.get(creation.canister)
        if fault or child is None:
            return fault or f"{to_text(creation.canister)} is no child of this factory"
        fault = ending_fault(creation)
        if fault:
            return fault
        if releases.is_published(child.module_hash):
            return ""
        if child.module_hash:
            return f"{to_text(creation.canister)} runs code that this factory did not publish"
    argument = install_argument(creation, call_token)
    fault = yield install_release(creation.canister, release[0], INSTALL, argument)
    return fault


def register(number: int) -> str:
    """Makes a creation's canister a zone: a child that may ask for cycles, and the canonical one if it is proven.

    Returns why not, or "": what is being retired stays so.
    """
    creation = creations.get(number)
    child = None if creation is None else children.get(creation.canister)
    if creation is None or child is None:
        return f"creation {number} or its canister is gone"
    fault = ending_fault(creation)
    if fault:
        return fault
    creation = creations.advance(number, LIVE, ic.time())
    child.stage = CHILD_LIVE
    children.put(creation.canister, child)
    battery.register(creation.canister, ic.time())
    be_canonical(creation)
    return ""


def be_canonical(creation: Creation) -> None:
    """Makes a creation's canister the canonical one of its zone_id if it is proven and there is none yet."""
    if creation.proven and not creations.canonical(creation.zone_id):
        creations.set_canonical(creation.zone_id, creation.canister)


def zone_list(zone_id: str) -> bytes:
    """The name of the list of a zone_id's canisters."""
    return b"z" + zone_id.lower().encode()


def creator_list(creator: bytes) -> bytes:
    """The name of the list of a creator's canisters."""
    return b"c" + creator
