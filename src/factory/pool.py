"""Canisters created in advance, so that a zone needs no more than its code when it is asked for.

Flows. A timer fills the pool up to the policy's size as far as the reserve allows; each of its canisters has a creation
record of its own until a zone takes it. The factory alone controls them, and nothing runs on them.
"""

from kybra import Async, ic, void

from factory.birth import birth_settings
from factory.children import FUNDED
from factory.context import creation_rules, creations, deposit_log, open_calls
from factory.services import management
from factory.spending import came_back, spending_fault
from factory.zones import FAILED, POOLED, TAKEN, Creation

POOL_KEY = b"pool"
FILL_SECONDS = 1
RETRY_SECONDS = 3_600


class PoolTimer:
    """Whether the timer is armed; heap only, like the timer itself."""

    def __init__(self):
        self.due = 0

    def arm(self, seconds: int) -> void:
        """Has the pool filled after so many seconds, unless that is due sooner already."""
        due = ic.time() // 1_000_000_000 + seconds
        if not self.due or due < self.due or self.due < due - seconds:
            self.due = due
            ic.set_timer(seconds, fill_pool)


pool_timer = PoolTimer()


def pool_lacks() -> int:
    """How many canisters the pool is short of."""
    return creation_rules.figure("pool_size") - len(creations.pool())


def fill_pool_soon() -> void:
    """Arms the timer if the pool lacks canisters."""
    if pool_lacks() > 0:
        pool_timer.arm(FILL_SECONDS)


def fill_pool() -> Async[void]:
    """Creates what the pool lacks, one canister after the other."""
    pool_timer.due = 0
    if open_calls.running(POOL_KEY, ic.time()):
        return
    while pool_lacks() > 0:
        cycles = creation_rules.figure("creation_cycles")
        if spending_fault(cycles):
            pool_timer.arm(RETRY_SECONDS)
            return
        creation = Creation(ic.id().bytes, "", "", "", b"")
        creation.cycles = cycles
        number = creations.begin(creation, ic.time())
        open_calls.start(POOL_KEY, ic.time())
        settings = birth_settings([ic.id().bytes])
        paid = deposit_log.begin(b"", cycles, "creation", ic.time())
        answer = yield management.create_canister({"settings": settings}).with_cycles128(cycles)
        if answer.Err is None:
            pool_canister(number, answer.Ok["canister_id"].bytes)
        deposit_log.settle(paid, answer.Err is None, came_back(cycles, answer.Err), ic.time())
        open_calls.finish(POOL_KEY)
        if answer.Err is not None:
            creations.advance(number, FAILED, ic.time())
            creations.failed(number, f"creating the canister failed: {answer.Err}", ic.time())
            pool_timer.arm(RETRY_SECONDS)
            return


def pool_canister(number: int, canister: bytes) -> None:
    """Puts a new canister into the pool."""
    creation = creations.has_canister(number, canister, ic.time())
    creation.stage = POOLED
    creations.put(number, creation, ic.time())
    creations.store_pool([*creations.pool(), number])


def take_pooled(number: int) -> bytes:
    """Gives the oldest fitting canister of the pool to a creation and returns it; empty when there is none."""
    waiting = fitting(number)
    pooled = creations.get(waiting)
    if pooled is None:
        return b""
    creations.store_pool([other for other in creations.pool() if other != waiting])
    pooled.stage = TAKEN
    creations.put(waiting, pooled, ic.time())
    creation = creations.has_canister(number, pooled.canister, ic.time())
    creation.cycles = pooled.cycles
    creations.put(number, creation, ic.time())
    fill_pool_soon()
    return pooled.canister


def fitting(number: int) -> int:
    """The oldest creation of the pool whose canister may become that of another creation, 0 for none.

    Who pays for a zone gets the cycles of its price, whatever the policy was when the pool was filled.
    """
    creation = creations.get(number)
    if creation is None:
        return 0
    for waiting in creations.pool():
        pooled = creations.get(waiting)
        if pooled is not None and (creation.funding != FUNDED or creation.cycles == pooled.cycles):
            return waiting
    return 0
