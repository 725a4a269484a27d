"""Changes of code on the host: whatever a platform answers or loses, no child stays stopped and no message is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from factory import changes as steps
from factory.changes import MOST_OPEN, MOST_TRIES, Change, Changes, Health, decode_change, health_fault
from factory.children import MANAGED, SHARED, SOVEREIGN, Child
from factory.rollouts import ABORTED, DONE, PAUSED, RUNNING, Rollout, Rollouts, decode_rollout, plan_fault
from tests.support.maps import maps_of

SECOND = 1_000_000_000
HALF_HOUR = 1_800 * SECOND
CHILD = b"child"
NEW, OLD = b"n" * 32, b"o" * 32


class World:
    """A child on a platform: it takes in a message whenever it runs without the flag."""

    def __init__(self, is_shared: bool) -> None:
        self.is_shared = is_shared
        self.now = 1_000 * SECOND
        self.is_running = True
        self.code = OLD
        self.flag_until: int | None = None
        self.messages = 10
        self.snapshot: tuple[bytes, int, int | None] | None = None
        self.lost = False

    def clear_by_owner(self) -> None:
        """An owner lets members in; the zone refuses that once going back has begun."""
        if self.is_shared and self.is_running and self.flag_until != 0:
            self.flag_until = None
            self.pass_time(1)

    def pass_time(self, seconds: int) -> None:
        self.now += seconds * SECOND
        if self.is_running and not self.is_flagged():
            self.messages += 1

    def is_flagged(self) -> bool:
        return self.flag_until is not None and (self.flag_until == 0 or self.now < self.flag_until)

    def make(self, change: Change) -> str:
        """Makes a step as the flows do; what goes wrong, or ""."""
        step = change.step
        if step == steps.FLAG:
            self.flag_until = change.flag_until = self.now + HALF_HOUR
        elif step == steps.MEASURE:
            change.before = Health("zone", (self.messages, 1, self.messages, 1), 7)
        elif step in (steps.STOP, steps.STOP_AGAIN):
            self.is_running = False
        elif step == steps.SNAPSHOT:
            self.snapshot = (self.code, self.messages, self.flag_until)
            change.snapshot = b"snapshot"
        elif step == steps.INSTALL:
            self.code = change.wasm_hash
        elif step == steps.START:
            self.is_running = True
        elif step == steps.HOLD:
            if not self.is_flagged():
                change.outcome = steps.FAILED
                return "not under maintenance"
            self.flag_until = 0
        elif step == steps.LOAD:
            assert self.snapshot is not None
            assert not self.is_running
            self.lost = self.lost or self.messages != self.snapshot[1]
            self.code, self.messages, self.flag_until = self.snapshot
        elif step == steps.CLEAR:
            self.flag_until = None
        elif step == steps.DELETE:
            self.snapshot = None
        return ""


answers = st.lists(
    st.tuples(
        st.sampled_from(["made", "made", "made", "made", "refused", "lost after", "lost before"]),
        st.one_of(st.integers(0, 20), st.integers(0, 2_400)),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(answers, st.booleans(), st.booleans(), st.booleans())
def test_no_child_stays_stopped_and_nothing_acknowledged_is_taken_back(sequence, is_healthy, is_silent, is_shared):
    maps = maps_of("factory")
    store = Changes(maps.settings_map, maps.changes_map)
    world = World(is_shared)
    change = Change(NEW, 0 if is_silent else 1001, 1, world.now)
    change.flags |= steps.SILENT if is_silent else 0
    assert store.begin(CHILD, change) == ""
    assert "is being changed (step examine)" in store.begin(CHILD, change)
    plenty = [*sequence, *[("made", 1, False)] * 40]
    for answer, pause, is_cleared in plenty:
        taken = store.take_over(CHILD)
        if taken is None:
            break
        change, _ = taken
        step = change.step
        fault = "refused"
        if step == steps.HOLD:
            change.outcome = steps.FAILED if is_shared else steps.OPEN
        if answer == "made" or answer == "lost after":
            fault = world.make(change)
            if step == steps.HOLD and not fault:
                change.outcome = steps.OPEN
            if step == steps.CHECK and not is_healthy:
                fault = "the check failed"
        if answer in ("lost after", "lost before"):
            # The record is as it was; the flows settle such a step by reading or making it again.
            change = store.get(CHILD) or change
            change.flag_until = change.flag_until if step != steps.FLAG else 0
            world.pass_time(pause)
            if is_cleared:
                world.clear_by_owner()
            continue
        world.pass_time(pause)
        if is_cleared:
            world.clear_by_owner()
        if fault:
            change.failed(fault, world.now)
        else:
            change.succeeded(world.now)
        store.put(CHILD, change)
    ended = store.get(CHILD)
    assert ended is not None
    assert (ended.step, store.under_way()) == (steps.ENDED, [])
    assert world.is_running
    assert not world.lost
    assert ended.outcome != steps.OPEN
    if ended.outcome == steps.UPGRADED:
        assert world.code == NEW
        assert is_healthy or is_silent
    if ended.outcome in (steps.RESTORED, steps.BUSY):
        assert world.code == OLD
    if ended.outcome == steps.FAILED and world.code == NEW:
        assert ended.has(steps.KEEPS_SNAPSHOT)
        assert world.snapshot is not None


@given(
    st.binary(max_size=64), st.text(max_size=600), st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(0, 14)
)
def test_a_change_is_read_as_it_was_stored(snapshot, fault, number, flags, step):
    change = Change(NEW, number, number, number)
    change.snapshot, change.fault, change.flags, change.step = snapshot, fault, flags, step
    change.before = Health("zone", (number, number % 2**32, 5, number), number)
    store = Changes(maps_of("factory").settings_map, maps_of("factory").changes_map)
    store.put(b"c" * 10, change)
    again = store.get(b"c" * 10)
    assert again is not None
    assert fault.startswith(again.fault)
    again.fault = change.fault
    before = vars(change.before)
    assert vars(again.before) == before
    again.before = change.before
    assert vars(again) == vars(change)
    assert decode_change(change.encode()).flags == flags


def test_a_driver_that_was_thought_lost_finds_another_turn():
    maps = maps_of("factory")
    store = Changes(maps.settings_map, maps.changes_map)
    store.begin(CHILD, Change(NEW, 1, 1, 0))
    first = store.take_over(CHILD)
    second = store.take_over(CHILD)
    assert first is not None
    assert second is not None
    assert (first[1], second[1]) == (False, True)
    assert first[0].turn != second[0].turn
    assert store.take_over(b"another") is None


def stepping(step: int) -> tuple[Changes, Change]:
    """A change under way at a step, as whoever took it first has it."""
    maps = maps_of("factory")
    store = Changes(maps.settings_map, maps.changes_map)
    change = Change(NEW, 1, 1, 0)
    change.step = step
    store.begin(CHILD, change)
    taken = store.take_over(CHILD)
    assert taken is not None
    return store, taken[0]


def take_again(store: Changes) -> Change:
    taken = store.take_over(CHILD)
    assert taken is not None
    assert taken[1]
    return taken[0]


def test_an_installation_whose_answer_was_lost_is_read_until_the_snapshot_is_kept_for_somebody():
    store, change = stepping(steps.INSTALL)
    change.snapshot = b"\xab"
    store.put(CHILD, change)
    for attempt in range(1, MOST_TRIES + 1):
        change = take_again(store)
        assert (change.step, change.outcome) == (steps.INSTALL, steps.OPEN)
        change.failed("reading the status failed", attempt)
        store.put(CHILD, change)
    assert (change.step, change.outcome) == (steps.START, steps.FAILED)
    assert change.fault == "reading the status failed; the snapshot ab is kept"
    change.succeeded(9)
    change.succeeded(9)
    assert change.step == steps.ENDED
    assert change.has(steps.KEEPS_SNAPSHOT)


def test_an_installation_that_was_refused_leaves_the_old_code_and_no_snapshot():
    _, change = stepping(steps.INSTALL)
    change.snapshot = b"\xab"
    change.failed("the new code traps", 9)
    passed = []
    while change.step != steps.ENDED:
        passed.append(change.step)
        change.succeeded(9)
    assert passed == [steps.START, steps.CLEAR, steps.DELETE]


def test_a_snapshot_that_was_not_seen_is_looked_for_before_a_change_ends():
    for flag, last in ((steps.UNSEEN, steps.DELETE), (0, steps.CLEAR)):
        _, change = stepping(steps.SNAPSHOT)
        change.flags |= flag
        change.failed("listing its snapshots failed", 9)
        passed = []
        while change.step != steps.ENDED:
            passed.append(change.step)
            change.succeeded(9)
        assert passed[-1] == last


def test_so_many_changes_are_under_way_at_most():
    maps = maps_of("factory")
    store = Changes(maps.settings_map, maps.changes_map)
    for number in range(MOST_OPEN):
        assert store.begin(bytes([number]) * 29, Change(NEW, 1, 1, 0)) == ""
    assert store.begin(CHILD, Change(NEW, 1, 1, 0)).startswith("30 canisters are being changed")
    change = store.get(bytes([3]) * 29)
    assert change is not None
    change.end(steps.FAILED, "x", 1)
    store.put(bytes([3]) * 29, change)
    assert store.begin(CHILD, Change(NEW, 1, 1, 0)) == ""
    assert len(store.under_way()) == MOST_OPEN


def test_health_is_compared_with_what_was_measured():
    before = Health("zone", (5, 2, 6, 3), 99)
    assert health_fault(before, Health("zone", (5, 2, 6, 3), 99), 1001, 1001, True) == ""
    assert health_fault(before, before, 1001, 1000, True) == "it says version 1000, the release is 1001"
    assert health_fault(before, Health("other", (5, 2, 6, 3), 99), 1, 1, False) == "layout: zone before, other after"
    assert health_fault(before, Health("zone", (5, 2, 6, 3), 1), 1, 1, True) == "it was installed anew"
    assert health_fault(before, Health("zone", (4, 2, 6, 3), 99), 1, 1, True) == "messages: 5 before, 4 after"
    assert health_fault(before, Health("zone", (9, 2, 10, 4), 99), 1, 1, False) == ""
    assert health_fault(before, Health("zone", (0, 6, 5, 3), 99), 1, 1, False) == "last id: 6 before, 5 after"


ends = st.sampled_from([steps.UPGRADED, steps.CURRENT, steps.RESTORED, steps.FAILED, steps.BUSY, steps.SKIPPED])


def test_of_many_long_faults_the_first_and_the_last_stay_readable():
    _, change = stepping(steps.CHECK)
    change.snapshot = b"\xab" * 18
    change.failed("the check failed: " + "first " * 100, 9)
    change.failed("holding the maintenance flag failed: " + "second " * 100, 9)
    change.succeeded(HALF_HOUR)
    change.flags |= steps.HELD
    change.step, change.outcome = steps.LOAD, steps.FAILED
    change.failed("the factory lost control of it: " + "third " * 100, 9)
    again = decode_change(change.encode()).fault
    assert again.startswith("the check failed: first first")
    assert again.endswith(f"; the snapshot {'ab' * 18} is kept")
    assert "the factory lost control of it: third" in again
    assert len(again) <= steps.MAX_FAULT_BYTES


def test_what_a_call_brought_is_not_waited_with_before_it_is_installed():
    _, change = stepping(steps.FUEL)
    assert change.may_wait()
    change.flags |= steps.BROUGHT
    waiting = []
    for step in steps.STEP_NAMES:
        change.step = step
        if change.may_wait():
            waiting.append(step)
    assert min(step for step in waiting if step != steps.ENDED) == steps.INSTALL
    assert {steps.CHECK, steps.HOLD} <= set(waiting)


def test_what_is_said_of_a_kept_snapshot_is_not_pushed_out_by_what_fails_afterwards():
    _, change = stepping(steps.CHECK)
    change.snapshot = b"\xab" * 18
    change.failed("the check failed: " + "é" * 150, 1)
    change.step, change.tries = steps.LOAD, MOST_TRIES - 1
    change.failed("going back to the snapshot failed: " + "é" * 200, 1)
    change.succeeded(1)
    for _ in range(MOST_TRIES):
        change.failed("clearing the maintenance flag failed: " + "é" * 200, 1)
    assert change.step == steps.ENDED
    assert decode_change(change.encode()).fault == change.fault
    assert change.fault.endswith("is kept")


def test_a_snapshot_that_an_earlier_change_left_does_not_hide_one_that_was_not_seen():
    old, new = b"old", b"new"
    for listed, kept, deleted in (
        ([(old, 3), (new, 7)], b"new", True),
        ([(old, 3)], b"old", False),
        ([], b"", False),
    ):
        change = Change(NEW, 1001, 1, 5)
        change.step, change.snapshot = steps.SNAPSHOT, old
        change.flags |= steps.KEEPS_SNAPSHOT | steps.UNSEEN
        change.failed("listing its snapshots failed", 8)
        while change.step != steps.DELETE:
            change.succeeded(8)
        change.saw(listed)
        assert (change.snapshot, change.leaves_snapshot()) == (kept, deleted)


def test_an_admins_change_since_a_rollout_began_is_not_undone_by_it():
    rollout = Rollout(2, 1001, NEW, 5)
    for begun_at, outcome, is_taken in (
        (4, steps.UPGRADED, True),
        (6, steps.UPGRADED, False),
        (6, steps.CURRENT, False),
        (6, steps.FAILED, True),
    ):
        by_admin = Change(OLD, 1000, 0, begun_at)
        by_admin.outcome = outcome
        assert rollout.takes(by_admin, True) == is_taken
    assert rollout.takes(Change(OLD, 1000, 1, 6), True), "another rollout's"


def test_a_rollout_that_goes_on_has_no_end():
    rollout = Rollout(1, 1001, NEW, 5)
    rollout.finish(DONE, 9)
    rollout.resume()
    assert (rollout.state, rollout.ended_at) == (RUNNING, 0)


def test_consents_to_wiping_are_those_of_owners():
    maps = maps_of("factory")
    rollouts = Rollouts(maps.settings_map, maps.consents_map)
    child = Child("0x" + "ab" * 20, b"creator", 1)
    child.custody = SHARED
    for number in range(30):
        child.owners = [b"stays", bytes([number]) * 29]
        rollouts.agree_to_wipe(child, CHILD, NEW, bytes([number]) * 29, 5)
    assert "1 of 2 owners" in rollouts.wiping_fault(child, CHILD, NEW, 5)
    rollouts.agree_to_wipe(child, CHILD, NEW, b"stays", 5)
    assert rollouts.wiping_fault(child, CHILD, NEW, 5) == ""


@given(st.lists(ends, max_size=40), st.integers(0, 5), st.integers(1, 10), st.integers(1, 4))
def test_a_rollout_takes_canaries_alone_and_pauses_when_enough_failed(sequence, canary, batch, pause_on_failures):
    rollout = Rollout(1, 1001, NEW, 5)
    rollout.canary, rollout.batch, rollout.pause_on_failures = canary, batch, pause_on_failures
    assert plan_fault(canary, batch, pause_on_failures) == ""
    attempts = failures = 0
    for outcome in sequence:
        slots = rollout.slots(0)
        assert slots == (min(batch, canary - attempts) if attempts < canary else batch)
        assert rollout.slots(slots) == 0
        was_canary = attempts < canary
        rollout.ended(steps.OPEN, outcome)
        attempts += outcome in (steps.UPGRADED, steps.RESTORED, steps.FAILED)
        is_failure = outcome in (steps.RESTORED, steps.FAILED)
        failures += is_failure
        assert (rollout.state == PAUSED) == (is_failure and (was_canary or failures >= pause_on_failures))
        again = decode_rollout(rollout.encode())
        assert vars(again) == vars(rollout)
        if rollout.state == PAUSED:
            assert rollout.slots(0) == 0
            rollout.resume()
            failures = 0
    assert rollout.attempts() == attempts


def test_an_owner_who_clears_the_flag_ends_the_way_back():
    for is_cleared, step in ((False, steps.STOP_AGAIN), (True, steps.START)):
        _, change = stepping(steps.HOLD)
        change.snapshot, change.flag_until = b"\xab", HALF_HOUR
        change.outcome = steps.FAILED if is_cleared else steps.OPEN
        change.failed("holding the maintenance flag failed", 9)
        assert (change.step, change.has(steps.KEEPS_SNAPSHOT)) == (step, is_cleared)


def test_children_whose_creation_was_not_complete_get_two_more_walks():
    rollout = Rollout(1, 1001, NEW, 5)
    rollout.ended(steps.OPEN, steps.WAITING)
    for _ in range(2):
        rollout.cursor = CHILD
        rollout.walked(9)
        assert (rollout.state, rollout.cursor) == (RUNNING, b"")
    rollout.walked(9)
    assert (rollout.state, rollout.attempts()) == (DONE, 0)


def test_children_that_were_busy_get_two_more_walks():
    rollout = Rollout(1, 1001, NEW, 5)
    change = Change(NEW, 1001, 1, 5)
    assert rollout.takes(None, False)
    for outcome, is_accepted, takes in (
        (steps.UPGRADED, True, False),
        (steps.BUSY, False, True),
        (steps.WAITING, False, False),
        (steps.WAITING, True, True),
    ):
        change.outcome = outcome
        assert rollout.takes(change, is_accepted) == takes
    rollout.ended(steps.OPEN, steps.BUSY)
    for _ in range(2):
        rollout.walked(9)
        assert rollout.state == RUNNING
        rollout.ended(steps.BUSY, steps.BUSY)
    rollout.walked(9)
    assert (rollout.state, rollout.counts[steps.BUSY]) == (DONE, 1)


def test_custody_and_consent():
    maps = maps_of("factory")
    rollouts = Rollouts(maps.settings_map, maps.consents_map)
    child = Child("0x" + "ab" * 20, b"creator", 0)
    child.custody = MANAGED
    assert rollouts.custody_fault(child, CHILD, NEW) == ""
    child.custody = SOVEREIGN
    assert "owners alone" in rollouts.custody_fault(child, CHILD, NEW)
    child.custody = SHARED
    assert "accept_release" in rollouts.custody_fault(child, CHILD, NEW)
    rollouts.accept(CHILD, NEW, b"owner")
    assert "accept_release" in rollouts.custody_fault(child, CHILD, NEW), "he is an owner no more"
    child.owners = [b"owner"]
    assert rollouts.custody_fault(child, CHILD, NEW) == ""
    assert "accept_release" in rollouts.custody_fault(child, CHILD, OLD)
    until = rollouts.allow(CHILD, OLD, b"controller", 1_000)
    assert rollouts.is_allowed(CHILD, OLD, until - 1)
    assert not rollouts.is_allowed(CHILD, OLD, until)
    assert not rollouts.is_allowed(CHILD, NEW, 1_000)


def test_the_release_that_is_rolled_out_is_in_use_until_that_is_over():
    maps = maps_of("factory")
    rollouts = Rollouts(maps.settings_map, maps.consents_map)
    assert (rollouts.last(), rollouts.in_use()) == (None, b"")
    rollout = Rollout(1, 1001, NEW, 5)
    for state, in_use in ((RUNNING, NEW), (PAUSED, NEW), (DONE, b""), (ABORTED, b"")):
        rollout.state = state
        rollouts.put(rollout)
        assert rollouts.in_use() == in_use


def test_a_plan_is_within_bounds():
    assert plan_fault(1, 0, 1) == "batch is from 1 to 10, got 0"
    assert plan_fault(1_001, 1, 1) == "canary is at most 1000, got 1001"
    assert plan_fault(1, 1, 0) == "pause_on_failures is from 1 to 4294967295, got 0"
