"""What the zone does by itself: certifying its messages, and background work in bounded steps by a timer.

Eviction, the index that an upgrade did not leave, messages of the first layout. Nothing here answers a caller.
"""

from kybra import ic, void

from zone_canister.context import background, first_layout, maintenance, messages, quotas, seconds
from zone_canister.message_reader import learn

INDEXED_A_CALL = 100_000  # at some 100 000 instructions each; a call may take 40 G
INDEX_FAULT = "the message index is being made again after an upgrade: try again in a minute"
MOVING_FAULT = "messages are being moved to a new layout after an upgrade: try again in a minute"
MOVED_A_STEP = 5_000
MEMBERS_A_STEP = 200
DROPPED_IDS_A_STEP = 500_000
SAMPLED_PAGES_A_STEP = 5_000
UNSAMPLED_PAGES = 16  # that are worth a step of their own
EVICTED_PAGES_A_STEP = 500
MAINTENANCE_SECONDS = 30


def start_fault(most: int) -> str:
    """Why messages cannot be added or read so soon after an upgrade, or ""; up to `most` are indexed for it."""
    if first_layout.is_pending:
        return MOVING_FAULT
    return "" if messages.index_more(most) else INDEX_FAULT


def certify() -> void:
    """Makes the message chain's head the certified data."""
    ic.set_certified_data(messages.certified_data())


def work_soon() -> void:
    """Arms the timer for background work, if it is not armed."""
    now = seconds()
    if background.rest_page >= 0:
        background.rest_page = messages.state.next_page + UNSAMPLED_PAGES
    if background.arm(now, background.STEP_SECONDS):
        ic.set_timer(background.STEP_SECONDS, work)


def work() -> void:
    """One step of background work: eviction, and what the index lacks.

    Under maintenance the index alone, which is not kept.
    """
    background.disarm()
    now = seconds()
    indexed = messages.index_more(INDEXED_A_CALL)
    if maintenance.is_on(ic.time()):
        wait = MAINTENANCE_SECONDS if indexed else background.STEP_SECONDS
        background.arm(now, wait)
        ic.set_timer(wait, work)
        return
    if indexed and first_layout.is_pending:
        indexed = first_layout.move(messages, MOVED_A_STEP)
    more = messages.reclaim(now, EVICTED_PAGES_A_STEP)
    idle = quotas.forget_idle(now, MEMBERS_A_STEP)
    dropped = messages.index.drop_more(DROPPED_IDS_A_STEP)
    sampled = messages.sample_more(SAMPLED_PAGES_A_STEP, ic.time())
    certify()
    if indexed and messages.state.count:
        if background.rest_page < 0:
            learn(messages, now)
        background.rest_page = messages.state.next_page + UNSAMPLED_PAGES
    more = more or not (indexed and idle and dropped and sampled)
    delay = background.STEP_SECONDS if more else messages.next_expiry(now)
    if delay and background.arm(now, delay):
        ic.set_timer(delay, work)
