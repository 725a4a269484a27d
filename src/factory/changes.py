"""A change of one child's code, step by step: what is written before each step is made, and what follows from its end.

Pure. One record a child, of its last change; those under way are listed. A change never leaves a child stopped: from
the moment it is told to stop, every way on leads through a start. The snapshot is loaded only after a failed check and
only while the child has been unable to take anything in since the snapshot was made; once its maintenance flag was
cleared, by whomever, or may have ended by itself, there is no way back. Times in ns, principals in bytes.

    settings "changes"  per change under way u8 length, canister
    changes  canister -> u8 version (1) | u8 step | u8 outcome | u8 tries of this step | u8 flags
                | u8 outcome of an earlier try in the same rollout | u32 turn
                | u64 rollout, 0 for an admin's change | u64 begun at | u64 step begun at | u64 flag ends at
                | u64 messages | u32 first id | u32 last id | u64 members | u64 installation id (before the change)
                | 32 code before | 32 code to install | u64 its version, 0 for none | u8 length, snapshot
                | u8 length, layout (before the change) | u16 length, fault
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.short_bytes import all_unpacked, packed, unpacked

# Steps, in the order in which a change that goes well takes them.
ENDED = 0
EXAMINE = 1
FUEL = 2
FLAG = 3
MEASURE = 4
STOP = 5
SNAPSHOT = 6
INSTALL = 7
START = 8
CHECK = 9
HOLD = 10
STOP_AGAIN = 11
LOAD = 12
CLEAR = 13
DELETE = 14
STEP_NAMES = {
    ENDED: "ended",
    EXAMINE: "examine",
    FUEL: "fuel",
    FLAG: "flag",
    MEASURE: "measure",
    STOP: "stop",
    SNAPSHOT: "snapshot",
    INSTALL: "install",
    START: "start",
    CHECK: "check",
    HOLD: "hold",
    STOP_AGAIN: "stop_again",
    LOAD: "load",
    CLEAR: "clear",
    DELETE: "delete",
}

# Outcomes.
OPEN = 0
UPGRADED = 1
CURRENT = 2
RESTORED = 3
FAILED = 4
BUSY = 5
SKIPPED = 6
WAITING = 7
OUTCOME_NAMES = {
    OPEN: "open",
    UPGRADED: "upgraded",
    CURRENT: "current",
    RESTORED: "restored",
    FAILED: "failed",
    BUSY: "busy",
    SKIPPED: "skipped",
    WAITING: "waiting",
}

SILENT = 1  # the child's methods are not called: it runs, or will run, code that was not published
HELD = 2  # the maintenance flag does not end by itself
KEEPS_SNAPSHOT = 4
BEGUN = 8
UNSEEN = 16  # a snapshot may have been taken that nobody could ask for
UNSURE = 32  # the code may have been installed: the answer was lost and not read since
BROUGHT = 64  # a call brought what to install: whoever drives the change without that call does not have it

MOST_OPEN = 30
MOST_TRIES = 5
SECOND = 1_000_000_000
FLAG_MARGIN = 60 * SECOND  # between the clocks of two subnets
MAX_FAULT_BYTES = 400
FIRST_FAULT_BYTES = 200
LAST_FAULT_BYTES = 195
GIVEN_UP_BYTES = 130
MAX_LAYOUT_BYTES = 64
VERSION = 1
HEAD = struct.Struct("<BBBBBBIQQQQQIIQQ32s32sQ")
CHANGES_KEY = "changes"


class Health:
    """What a child says of itself under the maintenance flag."""

    def __init__(self, layout: str, counts: tuple[int, int, int, int], installation_id: int):
        """`counts`: messages, first id, last id, members."""
        self.layout = layout
        self.messages, self.first_id, self.last_id, self.members = counts
        self.installation_id = installation_id


class Change:
    """A change of a child's code; `outcome` is settled before the last steps are made."""

    def __init__(self, wasm_hash: bytes, version: int, rollout: int, now: int):
        self.wasm_hash = wasm_hash
        self.version = version
        self.rollout = rollout
        self.begun_at = now
        self.step = EXAMINE
        self.step_at = now
        self.outcome = OPEN
        self.tries = 0
        self.flags = 0
        self.former_outcome = OPEN
        self.turn = 0
        self.flag_until = 0
        self.before = Health("", (0, 0, 0, 0), 0)
        self.former_hash = bytes(32)
        self.snapshot = b""
        self.fault = ""

    def has(self, flag: int) -> bool:
        """Whether one of the flags is set."""
        return self.flags & flag != 0

    # What follows from a step's end --------------------------------------------------------------------

    def succeeded(self, now: int) -> None:
        """The step was made: goes on to the next one."""
        step = self.step
        if self.may_be_closed():
            self._to(CLEAR, now)
        elif step == STOP_AGAIN and not self.may_go_back(now):
            self._give_up("it was too late to go back: the maintenance flag may have ended")
        elif step == CHECK:
            self.outcome = UPGRADED
            self._to(CLEAR, now)
        elif step == LOAD:
            self.outcome = RESTORED
            self._to(START, now)
        elif step == INSTALL:
            self._to(START, now)
        elif step == START:
            self._started(now)
        elif step == CLEAR:
            self._to(DELETE if self.leaves_snapshot() else ENDED, now)
        elif step == DELETE:
            self._to(ENDED, now)
        elif step in (FUEL, FLAG, MEASURE):
            self._to(STOP if self.has(SILENT) else step + 1, now)
        elif step == HOLD:
            self.flags |= HELD
            self._to(STOP_AGAIN, now)
        else:
            self._to(step + 1, now)

    def failed(self, fault: str, now: int) -> None:
        """The step was not made, or its outcome stays unknown: what to do instead.

        A step on the way back that has settled the outcome found that there is no way back.
        """
        step = self.step
        if step in (HOLD, LOAD) and self.outcome:
            self._give_up(fault)
        elif step in (EXAMINE, FUEL):
            self.end(FAILED, fault, now)
        elif step in (FLAG, MEASURE):
            self._abandon(FAILED, fault, CLEAR, now)
        elif step == INSTALL and self.has(UNSURE):
            if self.tries + 1 < MOST_TRIES:
                self.tries += 1
            else:
                self._give_up(fault)
        elif step in (STOP, SNAPSHOT, INSTALL):
            is_busy = step == STOP or self.outcome == BUSY
            self._abandon(BUSY if is_busy else FAILED, fault, START, now)
        elif step == CHECK:
            self._note(fault)
            self._to(HOLD, now)
        elif step == HOLD:
            self._to(STOP_AGAIN, now)
        elif step == START or (self.tries + 1 < MOST_TRIES and self.outcome != CURRENT):
            self.tries = min(self.tries + 1, 255)
            if step == STOP_AGAIN:
                self.step_at = now
        elif step in (STOP_AGAIN, LOAD):
            self._give_up(fault)
        else:
            # What is said of a snapshot that is kept is worth more.
            self._note("" if self.has(KEEPS_SNAPSHOT) else fault)
            self._skip_clear_or_delete(now)

    def end(self, outcome: int, fault: str, now: int) -> None:
        """Nothing was done to the child, or nothing more can be."""
        self._note(fault)
        self.outcome = outcome
        self._to(ENDED, now)

    def may_go_back(self, now: int) -> bool:
        """Whether a child that is stopped now has taken nothing in since the snapshot."""
        return self.has(HELD) or now < self.flag_until - FLAG_MARGIN

    def may_wait(self) -> bool:
        """Whether a step that the network was at fault for may be tried again later."""
        return self.tries + 1 < MOST_TRIES and not (self.has(BROUGHT) and self.step < INSTALL)

    def may_be_closed(self) -> bool:
        """Whether an admin put the code on a child that runs it: a flag that an earlier change left is cleared."""
        return self.step == EXAMINE and self.outcome == CURRENT and not self.rollout

    def took(self, snapshot: bytes) -> None:
        """The snapshot to go back to was taken, in the place of one that an earlier change left."""
        self.snapshot = snapshot
        self.flags &= ~KEEPS_SNAPSHOT

    def leaves_snapshot(self) -> bool:
        """Whether there is, or may be, a snapshot that nobody needs any more."""
        return self.has(UNSEEN) or (self.snapshot != b"" and not self.has(KEEPS_SNAPSHOT))

    def saw(self, listed: list[tuple[bytes, int]]) -> None:
        """Which snapshots there are, with their times: one taken in this change is its own, whoever asked for it."""
        self.flags &= ~UNSEEN
        taken = [snapshot for snapshot, taken_at in listed if taken_at >= self.begun_at]
        if taken:
            self.took(taken[-1])
        elif self.snapshot not in [snapshot for snapshot, _ in listed]:
            self.took(b"")

    def _started(self, now: int) -> None:
        if self.outcome == OPEN and not self.has(SILENT):
            self._to(CHECK, now)
            return
        if self.outcome == OPEN:
            self.outcome = UPGRADED
        if self.has(SILENT) and not self.flag_until:
            self._to(DELETE if self.leaves_snapshot() else ENDED, now)
        else:
            self._to(CLEAR, now)

    def _abandon(self, outcome: int, fault: str, step: int, now: int) -> None:
        self.outcome = outcome
        self._note(fault)
        self._to(step, now)

    def _give_up(self, fault: str) -> None:
        """What it runs stays, unhealthy or unchecked as it is; the snapshot stays for whoever looks into it."""
        self.outcome = FAILED
        self.flags |= KEEPS_SNAPSHOT
        self._note(f"{cut(fault, GIVEN_UP_BYTES)}; the snapshot {self.snapshot.hex()} is kept")
        self._to(START, self.step_at)

    def _skip_clear_or_delete(self, now: int) -> None:
        is_clear = self.step == CLEAR
        self._to(DELETE if is_clear and self.leaves_snapshot() else ENDED, now)

    def _note(self, fault: str) -> None:
        """Adds to what went wrong. How it began and what came last are kept: what is between gives way to them."""
        if not fault or not self.fault:
            self.fault = self.fault or cut(fault, MAX_FAULT_BYTES)
            return
        said = f"{self.fault}; {fault}"
        is_long = len(said.encode()) > MAX_FAULT_BYTES
        self.fault = f"{cut(said, FIRST_FAULT_BYTES)} ... {cut(fault, LAST_FAULT_BYTES)}" if is_long else said

    def _to(self, step: int, now: int) -> None:
        self.step = step
        self.step_at = now
        self.tries = 0

    # As it is stored -----------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The change as it is stored."""
        before = self.before
        head = HEAD.pack(
            VERSION,
            self.step,
            self.outcome,
            self.tries,
            self.flags,
            self.former_outcome,
            self.turn,
            self.rollout,
            self.begun_at,
            self.step_at,
            self.flag_until,
            before.messages,
            before.first_id,
            before.last_id,
            before.members,
            before.installation_id,
            self.former_hash,
            self.wasm_hash,
            self.version,
        )
        fault = self.fault.encode()
        layout = before.layout.encode()[:MAX_LAYOUT_BYTES]
        return b"".join([head, packed(self.snapshot, layout), len(fault).to_bytes(2, "little"), fault])


def cut(said: str, most: int) -> str:
    """The beginning of a text, at most so many bytes of it."""
    return said.encode()[:most].decode("utf-8", "ignore")


def decode_change(stored: bytes) -> Change:
    """The change that `encode` wrote."""
    fields = HEAD.unpack_from(stored)
    change = Change(fields[17], fields[18], fields[7], fields[8])
    change.step, change.outcome, change.tries, change.flags, change.former_outcome, change.turn = fields[1:7]
    change.step_at, change.flag_until = fields[9:11]
    change.former_hash = fields[16]
    (change.snapshot, layout), at = unpacked(stored, HEAD.size, 2)
    change.before = Health(layout.decode("utf-8", "ignore"), fields[11:15], fields[15])
    change.fault = stored[at + 2 :].decode("utf-8", "ignore")
    return change


class Changes:
    """The last change of each child over its stable map, and which are under way."""

    def __init__(self, settings: StableBTreeMap[text, blob], changes: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._changes = changes

    def get(self, canister: bytes) -> Change | None:
        """The last change of a child, under way or ended."""
        stored = self._changes.get(canister)
        return None if stored is None else decode_change(stored)

    def put(self, canister: bytes, change: Change) -> None:
        """Keeps how far a change got; one that has ended is under way no more."""
        self._changes.insert(canister, change.encode())
        under_way = self.under_way()
        if (change.step == ENDED) == (canister in under_way):
            under_way = [other for other in under_way if other != canister]
            if change.step != ENDED:
                under_way.append(canister)
            self._settings.insert(CHANGES_KEY, packed(*under_way))

    def under_way(self) -> list[bytes]:
        """The children whose code is being changed, at most 30."""
        return all_unpacked(self._settings.get(CHANGES_KEY) or b"")

    def fault(self, canister: bytes) -> str:
        """Why nothing else may be done to a child now, or ""."""
        change = self.get(canister)
        if change is not None and change.step != ENDED:
            return f"the code of this canister is being changed (step {STEP_NAMES[change.step]}): try again in a minute"
        return ""

    def begin(self, canister: bytes, change: Change) -> str:
        """Puts a change under way, or says why not."""
        fault = self.fault(canister)
        if fault:
            return fault
        if len(self.under_way()) >= MOST_OPEN:
            return f"{MOST_OPEN} canisters are being changed: try again in a minute"
        former = self.get(canister)
        if former is not None and former.has(KEEPS_SNAPSHOT):
            change.snapshot = former.snapshot
            change.flags |= KEEPS_SNAPSHOT
        self.put(canister, change)
        return ""

    def take_over(self, canister: bytes) -> tuple[Change, bool] | None:
        """A change under way for whoever goes on with it, and whether its step may have been made before.

        Whoever had it before finds another turn in the record, and leaves it alone.
        """
        change = self.get(canister)
        if change is None or change.step == ENDED:
            return None
        again = change.has(BEGUN)
        if again and change.step == INSTALL:
            change.flags |= UNSURE
        change.flags |= BEGUN
        change.turn = (change.turn + 1) % 2**32
        self.put(canister, change)
        return change, again


def health_fault(before: Health, after: Health, expected: int, found: int, is_flagged: bool) -> str:
    """What is wrong with a child after its code was changed, or ""; `expected` and `found` are versions.

    Under the maintenance flag nothing may have changed. Without it (it ended meanwhile) nothing may be lost.
    """
    if found != expected:
        return f"it says version {found}, the release is {expected}"
    if after.layout != before.layout:
        return f"layout: {before.layout} before, {after.layout} after"
    if after.installation_id != before.installation_id:
        return "it was installed anew"
    if is_flagged:
        pairs = (
            ("messages", before.messages, after.messages),
            ("first id", before.first_id, after.first_id),
            ("last id", before.last_id, after.last_id),
            ("members", before.members, after.members),
        )
        for name, was, now in pairs:
            if was != now:
                return f"{name}: {was} before, {now} after"
    elif after.last_id < before.last_id:
        return f"last id: {before.last_id} before, {after.last_id} after"
    return ""
