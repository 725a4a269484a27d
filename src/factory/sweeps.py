"""How far the present sweep over the children has got: in stable memory, so that an upgrade interrupts none.

Pure. What is done to each child is in `sweep`. Amounts in cycles, times in ns.

    settings "sweep"  u64 number, 0 before the first | u64 begun at | u64 ended at, 0 while it runs | u32 looked at
                      | u32 refilled | u32 unreadable | u128 balances read | u128 burn a day | u128 deposited
                      | the child that was taken last
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.in_flight import LOST_AFTER, SECOND
from factory.children import Children

STATE_KEY = "sweep"
HEAD = struct.Struct("<QQQIII16s16s16s")


class Sweep:
    """One sweep."""

    def __init__(self, number: int, begun_at: int):
        self.number = number
        self.begun_at = begun_at
        self.ended_at = 0
        self.looked_at = 0
        self.refilled = 0
        self.unreadable = 0
        self.balances = 0
        self.burn = 0
        self.deposited = 0
        self.cursor = b""

    def encode(self) -> bytes:
        """The sweep as it is stored."""
        amounts = [number.to_bytes(16, "little") for number in (self.balances, self.burn, self.deposited)]
        counts = (self.looked_at, self.refilled, self.unreadable)
        return HEAD.pack(self.number, self.begun_at, self.ended_at, *counts, *amounts) + self.cursor


def decode_sweep(stored: bytes) -> Sweep:
    """The sweep that `encode` wrote."""
    number, begun_at, ended_at, looked_at, refilled, unreadable, *amounts = HEAD.unpack_from(stored)
    sweep = Sweep(number, begun_at)
    sweep.ended_at, sweep.looked_at, sweep.refilled, sweep.unreadable = ended_at, looked_at, refilled, unreadable
    sweep.balances, sweep.burn, sweep.deposited = [int.from_bytes(amount, "little") for amount in amounts]
    sweep.cursor = stored[HEAD.size :]
    return sweep


class Sweeps:
    """The present sweep over the settings map; which children are being looked at is known on the heap alone."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings
        self._first: list[bytes] = []
        self._taken_first: set[bytes] = set()
        self._open: dict[bytes, int] = {}
        self._touched_at = 0

    def present(self) -> Sweep:
        """The sweep that runs, or the last one."""
        stored = self._settings.get(STATE_KEY)
        return Sweep(0, 0) if stored is None else decode_sweep(stored)

    def is_running(self) -> bool:
        """Whether a sweep has begun and not ended."""
        sweep = self.present()
        return sweep.number > 0 and not sweep.ended_at

    def is_due(self, interval: int, now: int) -> bool:
        """Whether the next sweep should begin, `interval` (s) after the last one began."""
        sweep = self.present()
        return not sweep.number or (sweep.ended_at > 0 and now - sweep.begun_at >= interval * SECOND)

    def is_stuck(self, now: int) -> bool:
        """Whether a sweep runs that nobody works on: after an upgrade, or when its timers were lost."""
        return self.is_running() and now - self._touched_at >= LOST_AFTER

    def begin(self, first: list[bytes], now: int) -> None:
        """Begins a sweep; the children `first` are looked at before the others, and not once more in their turn.

        Only where an upgrade comes between, which the heap does not outlive, are they looked at and counted again.
        """
        self._first = first
        self._taken_first = set(first)
        self._open = {}
        self._touched_at = now
        self._store(Sweep(self.present().number + 1, now))

    def take(self, children: Children, now: int) -> bytes | None:
        """The next child to look at, None when all were taken."""
        self._touched_at = now
        if self._first:
            canister = self._first.pop(0)
        else:
            sweep = self.present()
            rest = children.page(sweep.cursor or None, len(self._taken_first) + 1)
            page = [canister for canister in rest if canister not in self._taken_first]
            if sweep.ended_at or not page:
                return None
            canister = page[0]
            sweep.cursor = canister
            self._store(sweep)
        self._open[canister] = now
        return canister

    def leave(self, canister: bytes, now: int) -> None:
        """A child that was taken has been looked at."""
        self._touched_at = now
        self._open.pop(canister, None)

    def count(self, balance: int, burn: int, unreadable: bool) -> None:
        """Counts what was read of a child."""
        sweep = self.present()
        sweep.looked_at += 1
        sweep.unreadable += unreadable
        sweep.balances += balance
        sweep.burn += burn
        self._store(sweep)

    def count_deposit(self, amount: int) -> None:
        """Counts a deposit that was made."""
        sweep = self.present()
        sweep.refilled += 1
        sweep.deposited += amount
        self._store(sweep)

    def end(self, now: int) -> Sweep | None:
        """Ends the sweep and returns it once all children were looked at; None before, and when it has ended."""
        sweep = self.present()
        if not sweep.number or sweep.ended_at:
            return None
        # A trap in a callback undoes that a child was left.
        if any(now - taken < LOST_AFTER for taken in self._open.values()):
            return None
        sweep.ended_at = now
        self._store(sweep)
        return sweep

    def _store(self, sweep: Sweep) -> None:
        self._settings.insert(STATE_KEY, sweep.encode())
