"""Rollouts: a release on its way to all children, and who may stand in for owners or releases. What is decided, purely.

One rollout at a time; the last one is kept. Which children come next, when to pause and when it is over follow from its
record and from the children's changes (`changes`). Not for making the steps (`change_flow`) or for timers
(`rollout_flow`). Times in ns, principals in bytes.

    settings "rollout"  u8 version (1) | u8 state | u64 number | u64 version of the release | 32 hash | u32 canaries
                           | u32 at a time | u32 failures to pause at | u32 failures since it went on | u64 started at
                           | u64 ended at | 8 u32 children by outcome | u8 walks over the children begun
                           | u8 whether a child was passed over | u8 length, last child taken
                           | u16 length, why it pauses
    consents  u8 kind (1: an owner accepted a release, 2: a controller allowed code, 3: owners let it wipe the child)
              | canister -> 32 hash | u64 until, 0 for ever | who said so: a principal, of kind 3 u8 length, principal
                each
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.short_bytes import all_unpacked, packed, unpacked
from factory.changes import BUSY, CURRENT, FAILED, OUTCOME_NAMES, RESTORED, UPGRADED, WAITING, Change
from factory.children import MANAGED, SHARED, Child

RUNNING = 1
PAUSED = 2
ABORTED = 3
DONE = 4
STATE_NAMES = {RUNNING: "running", PAUSED: "paused", ABORTED: "aborted", DONE: "done"}

MOST_AT_A_TIME = 10
MOST_CANARIES = 1_000
MOST_FAILURES = 2**32 - 1
MOST_WALKS = 3  # the first, and two for children that were busy, or whose creation was not complete
ATTEMPTS = (UPGRADED, RESTORED, FAILED)
FAILURES = (RESTORED, FAILED)
VERSION = 1
ROLLOUT_KEY = "rollout"
HEAD = struct.Struct("<BBQQ32sIIIIQQ8IB?")

ACCEPTED = b"\x01"
ALLOWED = b"\x02"
WIPING = b"\x03"
WIPING_FOR = 86_400 * 1_000_000_000
ALLOWED_FOR = 3_600 * 1_000_000_000
CONSENT = struct.Struct("<32sQ")


class Rollout:
    """One rollout."""

    def __init__(self, number: int, version: int, wasm_hash: bytes, now: int):
        self.number = number
        self.version = version
        self.wasm_hash = wasm_hash
        self.started_at = now
        self.ended_at = 0
        self.state = RUNNING
        self.canary = 0
        self.batch = 1
        self.pause_on_failures = 1
        self.failures = 0
        self.counts = [0] * len(OUTCOME_NAMES)
        self.walks = 1
        self.is_passed_over = False
        self.cursor = b""
        self.reason = ""

    def attempts(self) -> int:
        """In how many children the code was tried: one that was busy is no canary."""
        return sum(self.counts[outcome] for outcome in ATTEMPTS)

    def slots(self, under_way: int) -> int:
        """How many more children may be taken now, beside those under way: first the canaries alone, then the rest."""
        if self.state != RUNNING:
            return 0
        attempts = self.attempts()
        most = self.batch
        if attempts < self.canary:
            most = min(most, self.canary - attempts)
        return max(0, most - under_way)

    def ended(self, before: int, outcome: int) -> None:
        """A child's change ended; `before` is what an earlier try of it came to, 0 for the first."""
        attempts = self.attempts()
        if before:
            self.counts[before] -= 1
        self.counts[outcome] += 1
        if outcome in FAILURES:
            self.failures += 1
            if self.state == RUNNING and attempts < self.canary:
                self.pause("a canary failed")
            elif self.state == RUNNING and self.failures >= self.pause_on_failures:
                self.pause(f"{self.failures} children failed")

    def pause(self, reason: str) -> None:
        """Takes no more children until it is resumed."""
        self.state = PAUSED
        self.reason = reason

    def resume(self) -> None:
        """Goes on, from the first child: those that were busy or whose owners accepted since get another try."""
        self.state = RUNNING
        self.ended_at = 0
        self.reason = ""
        self.failures = 0
        self.walks = 1
        self.cursor = b""

    def walked(self, now: int) -> None:
        """All children had their turn and none is under way: those busy or waiting get another, or it is over.

        Those passed over had none: a walk for their sake does not count.
        """
        if self.is_passed_over:
            self.is_passed_over = False
            self.cursor = b""
        elif (self.counts[BUSY] or self.counts[WAITING]) and self.walks < MOST_WALKS:
            self.walks += 1
            self.cursor = b""
        else:
            self.finish(DONE, now)

    def pass_over(self, change: Change | None) -> None:
        """A child's code is being changed as its turn comes: if by somebody else, its turn comes again."""
        if change is not None and change.rollout != self.number:
            self.is_passed_over = True

    def finish(self, state: int, now: int) -> None:
        """It is over: DONE or ABORTED."""
        self.state = state
        self.ended_at = now

    def takes(self, change: Change | None, is_ready: bool) -> bool:
        """Whether a child comes next, by its last change and whether what it may have waited for is there.

        What an admin puts on a child since the rollout began is not undone by it.
        """
        if change is None:
            return True
        if change.rollout != self.number:
            is_admins = not change.rollout and change.begun_at >= self.started_at
            return not (is_admins and change.outcome in (UPGRADED, CURRENT))
        return change.outcome == BUSY or (change.outcome == WAITING and is_ready)

    def encode(self) -> bytes:
        """The rollout as it is stored."""
        head = HEAD.pack(
            VERSION,
            self.state,
            self.number,
            self.version,
            self.wasm_hash,
            self.canary,
            self.batch,
            self.pause_on_failures,
            self.failures,
            self.started_at,
            self.ended_at,
            *self.counts,
            self.walks,
            self.is_passed_over,
        )
        reason = self.reason.encode()
        return b"".join([head, packed(self.cursor), len(reason).to_bytes(2, "little"), reason])


def decode_rollout(stored: bytes) -> Rollout:
    """The rollout that `encode` wrote."""
    fields = HEAD.unpack_from(stored)
    rollout = Rollout(fields[2], fields[3], fields[4], fields[9])
    rollout.state = fields[1]
    rollout.canary, rollout.batch, rollout.pause_on_failures, rollout.failures = fields[5:9]
    rollout.ended_at = fields[10]
    rollout.counts = list(fields[11:19])
    rollout.walks, rollout.is_passed_over = fields[19:21]
    (rollout.cursor,), at = unpacked(stored, HEAD.size, 1)
    rollout.reason = stored[at + 2 :].decode()
    return rollout


class Rollouts:
    """The rollout there is, and the consents, over their stable maps."""

    def __init__(self, settings: StableBTreeMap[text, blob], consents: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._consents = consents

    def last(self) -> Rollout | None:
        """The rollout under way, or the last one."""
        stored = self._settings.get(ROLLOUT_KEY)
        return None if stored is None else decode_rollout(stored)

    def put(self, rollout: Rollout) -> None:
        """Keeps a rollout, new or as it goes on."""
        self._settings.insert(ROLLOUT_KEY, rollout.encode())

    def in_use(self) -> bytes:
        """The release that is being rolled out, no bytes when none is."""
        rollout = self.last()
        return rollout.wasm_hash if rollout is not None and rollout.state in (RUNNING, PAUSED) else b""

    def accept(self, canister: bytes, wasm_hash: bytes, owner: bytes) -> None:
        """An owner of a shared child lets the factory install a release on it."""
        self._consents.insert(ACCEPTED + canister, CONSENT.pack(wasm_hash, 0) + owner)

    def is_accepted(self, canister: bytes, wasm_hash: bytes, owners: list[bytes]) -> bool:
        """Whether the last release that was accepted is this one, and one of these accepted it."""
        stored = self._consents.get(ACCEPTED + canister)
        return stored is not None and CONSENT.unpack_from(stored)[0] == wasm_hash and stored[CONSENT.size :] in owners

    def allow(self, canister: bytes, wasm_hash: bytes, controller: bytes, now: int) -> int:
        """A controller allows code that is no release on a child, for an hour; returns until when."""
        until = now + ALLOWED_FOR
        self._consents.insert(ALLOWED + canister, CONSENT.pack(wasm_hash, until) + controller)
        return until

    def is_allowed(self, canister: bytes, wasm_hash: bytes, now: int) -> bool:
        """Whether a controller allowed this code on this child within the hour."""
        stored = self._consents.get(ALLOWED + canister)
        if stored is None:
            return False
        allowed, until = CONSENT.unpack_from(stored)
        return allowed == wasm_hash and now < until

    def agree_to_wipe(self, child: Child, canister: bytes, wasm_hash: bytes, owner: bytes, now: int) -> None:
        """An owner of a shared child lets a release wipe it, within a day of the first owner who does."""
        until, agreed = self._wiping(canister, wasm_hash, now)
        owners = [one for one in child.owners if one == owner or one in agreed]
        self._consents.insert(WIPING + canister, CONSENT.pack(wasm_hash, until) + packed(*owners))

    def wiping_fault(self, child: Child, canister: bytes, wasm_hash: bytes, now: int) -> str:
        """Why this code may not wipe a child that the factory controls, or ""; all owners of a shared one agree."""
        if child.custody == MANAGED:
            return ""
        _, agreed = self._wiping(canister, wasm_hash, now)
        missing = [owner for owner in child.owners if owner not in agreed]
        if not missing:
            return ""
        return (
            f"{len(missing)} of {len(child.owners)} owners have yet to agree that all the canister holds is lost: "
            "each has to call accept_reinstall within a day"
        )

    def wiped(self, canister: bytes) -> None:
        """What owners agreed to is being done: it counts for nothing more."""
        self._consents.remove(WIPING + canister)

    def _wiping(self, canister: bytes, wasm_hash: bytes, now: int) -> tuple[int, list[bytes]]:
        """Until when consents to wiping with this code count, and who gave them."""
        stored = self._consents.get(WIPING + canister)
        agreed, until = CONSENT.unpack_from(stored) if stored is not None else (b"", 0)
        if stored is None or agreed != wasm_hash or now >= until:
            return now + WIPING_FOR, []
        return until, all_unpacked(stored, CONSENT.size)

    def custody_fault(self, child: Child, canister: bytes, wasm_hash: bytes) -> str:
        """Why the factory may not put this code on a child it controls, or ""."""
        if child.custody == MANAGED:
            return ""
        if child.custody != SHARED:
            return "its owners alone keep this canister: they install releases themselves"
        if self.is_accepted(canister, wasm_hash, child.owners):
            return ""
        return "no owner accepted this code: one of them has to call accept_release"


def plan_fault(canary: int, batch: int, pause_on_failures: int) -> str:
    """What is wrong with the numbers of a rollout, or ""."""
    if canary > MOST_CANARIES:
        return f"canary is at most {MOST_CANARIES}, got {canary}"
    if not 1 <= batch <= MOST_AT_A_TIME:
        return f"batch is from 1 to {MOST_AT_A_TIME}, got {batch}"
    if not 1 <= pause_on_failures <= MOST_FAILURES:
        return f"pause_on_failures is from 1 to {MOST_FAILURES}, got {pause_on_failures}"
    return ""
