"""Every deposit the battery makes: written before it is made, settled when the answer is there, kept as sums for good.

Pure. A deposit is PENDING until its call is answered. One whose answer was lost, by a trap or an upgrade, is UNKNOWN:
it counts as paid and is never made again. What a zone that ends gives back is RETURNED: nothing attached, all refunded.
The last 10 000 are kept one by one. Amounts in cycles, times in ns.

    settings "deposits"  u64 number of the next | u64 oldest kept | per outcome but PENDING: u64 count, u128 attached,
                         u128 refunded; numbers begin at 0
    settings "pending"   u64 number of each pending deposit
    deposits  u64 number -> u8 outcome | u64 begun at | u64 ended at, 0 before | u128 attached | u128 refunded
                            | u8 owed by the zone | u8 length, canister | u8 length, reason
    paid      canister   -> u128 attached less refunded, the pending and unknown ones included
              "r" | canister -> u128 given back at its end
              "h" | canister -> u128 held when it was about to give that back
"""

import struct

from kybra import StableBTreeMap, blob, nat64, text

from canister_kit.short_bytes import packed, unpacked

PENDING = 0
SETTLED = 1
FAILED = 2
UNKNOWN = 3
RETURNED = 4
OUTCOMES = (PENDING, SETTLED, FAILED, UNKNOWN, RETURNED)

MAX_KEPT = 10_000
MAX_PENDING = 64
MAX_PAGE = 200
MAX_REASON_BYTES = 32
RETIRED_REASON = "retired"
GIVEN_BACK = b"r"
HELD = b"h"
STATE_KEY = "deposits"
PENDING_KEY = "pending"
ENDS = struct.Struct("<QQ")
SUM = struct.Struct("<Q16s16s")
NUMBER = struct.Struct("<Q")
HEAD = struct.Struct("<BQQ16s16s?")


class Deposit:
    """One deposit. The cycles of a creation are one too, to a canister that has no id yet."""

    def __init__(self, canister: bytes, attached: int, reason: str, begun_at: int):
        self.number = 0
        self.outcome = PENDING
        self.canister = canister
        self.attached = attached
        self.refunded = 0
        self.reason = reason
        self.begun_at = begun_at
        self.ended_at = 0
        self.is_owed = False
        """Whether the zone has to repay it before its owners control it."""

    def encode(self) -> bytes:
        """The deposit as it is stored."""
        reason = self.reason.encode()[:MAX_REASON_BYTES]
        return b"".join(
            [
                HEAD.pack(
                    self.outcome,
                    self.begun_at,
                    self.ended_at,
                    self.attached.to_bytes(16, "little"),
                    self.refunded.to_bytes(16, "little"),
                    self.is_owed,
                ),
                packed(self.canister, reason),
            ]
        )


def decode_deposit(number: int, stored: bytes) -> Deposit:
    """The deposit that `encode` wrote."""
    outcome, begun_at, ended_at, attached, refunded, is_owed = HEAD.unpack_from(stored)
    (canister, reason), _ = unpacked(stored, HEAD.size, 2)
    deposit = Deposit(canister, int.from_bytes(attached, "little"), reason.decode(), begun_at)
    deposit.number, deposit.outcome, deposit.ended_at = number, outcome, ended_at
    deposit.refunded = int.from_bytes(refunded, "little")
    deposit.is_owed = is_owed
    return deposit


class Sum:
    """All deposits ever with one outcome."""

    def __init__(self, count: int, attached: int, refunded: int):
        self.count = count
        self.attached = attached
        self.refunded = refunded

    def add(self, deposit: Deposit, sign: int) -> None:
        """Counts a deposit in (1) or out (-1)."""
        self.count += sign
        self.attached += sign * deposit.attached
        self.refunded += sign * deposit.refunded


class DepositLog:
    """The log over its stable maps."""

    def __init__(
        self,
        settings: StableBTreeMap[text, blob],
        deposits: StableBTreeMap[nat64, blob],
        paid: StableBTreeMap[blob, blob],
    ):
        self._settings = settings
        self._deposits = deposits
        self._paid = paid

    def begin(self, canister: bytes, amount: int, reason: str, now: int, is_owed: bool = False) -> int:
        """Writes a deposit that is about to be made, and returns its number.

        When 64 are pending already the oldest of them is given up first: its answer is long overdue.
        """
        pending = self.pending()
        if len(pending) >= MAX_PENDING:
            self.give_up(pending[0], now)
        number, oldest, sums = self._state()
        deposit = Deposit(canister, amount, reason, now)
        deposit.is_owed = is_owed
        self._deposits.insert(number, deposit.encode())
        self._store_pending([*self.pending(), number])
        self._count_paid(canister, amount)
        self._store_state(number + 1, oldest, sums)
        self._compact(now)
        return number

    def settle(self, number: int, arrived: bool, refunded: int, now: int) -> None:
        """Writes down what came of a deposit; late answers to those given up count too, second ones do not."""
        deposit = self.get(number)
        if deposit is None or deposit.outcome not in (PENDING, UNKNOWN):
            return
        next_number, oldest, sums = self._state()
        if deposit.outcome == UNKNOWN:
            sums[UNKNOWN].add(deposit, -1)
        deposit.outcome = SETTLED if arrived or refunded < deposit.attached else FAILED
        deposit.refunded = min(refunded, deposit.attached)
        deposit.ended_at = now
        sums[deposit.outcome].add(deposit, 1)
        self._end(deposit, next_number, oldest, sums)
        self._count_paid(deposit.canister, -deposit.refunded)

    def give_up(self, number: int, now: int) -> None:
        """The answer to a pending deposit was lost: it counts as paid."""
        deposit = self.get(number)
        if deposit is None or deposit.outcome != PENDING:
            return
        next_number, oldest, sums = self._state()
        deposit.outcome = UNKNOWN
        deposit.ended_at = now
        sums[UNKNOWN].add(deposit, 1)
        self._end(deposit, next_number, oldest, sums)

    def hold(self, canister: bytes, amount: int) -> None:
        """Writes down what a canister holds that is about to give it back."""
        self._paid.insert(HELD + canister, amount.to_bytes(16, "little"))

    def held(self, canister: bytes) -> int:
        """What a canister held when it was about to give it back."""
        return int.from_bytes(self._paid.get(HELD + canister) or b"", "little")

    def give_back(self, canister: bytes, total: int, most: int, now: int) -> None:
        """Writes down all that a canister gave back so far at its end, of what it says that by which it is believed.

        What is in the books already is not written again.
        """
        known, total = self.given_back(canister), min(total, most)
        if total <= known:
            return
        number, oldest, sums = self._state()
        entry = Deposit(canister, 0, RETIRED_REASON, now)
        entry.number, entry.outcome, entry.refunded, entry.ended_at = number, RETURNED, total - known, now
        sums[RETURNED].add(entry, 1)
        self._deposits.insert(number, entry.encode())
        self._paid.insert(GIVEN_BACK + canister, total.to_bytes(16, "little"))
        self._store_state(number + 1, oldest, sums)
        self._compact(now)

    def given_back(self, canister: bytes) -> int:
        """What a canister gave back at its end."""
        return int.from_bytes(self._paid.get(GIVEN_BACK + canister) or b"", "little")

    def get(self, number: int) -> Deposit | None:
        """A deposit that is still kept."""
        stored = self._deposits.get(number)
        return None if stored is None else decode_deposit(number, stored)

    def page(self, before: int | None, most: int) -> list[Deposit]:
        """Deposits with numbers below `before`, newest first, at most so many and at most 200."""
        next_number, oldest, _ = self._state()
        newest = next_number if before is None else min(before, next_number)
        last = max(newest - min(most, MAX_PAGE), oldest)
        found = [self.get(number) for number in range(newest - 1, last - 1, -1)]
        return [deposit for deposit in found if deposit is not None]

    def pending(self) -> list[int]:
        """Numbers of the pending deposits, oldest first."""
        stored = self._settings.get(PENDING_KEY) or b""
        return [number for (number,) in NUMBER.iter_unpack(stored)]

    def is_pending(self, canister: bytes) -> bool:
        """Whether a deposit to a canister is pending."""
        waiting = [self.get(number) for number in self.pending()]
        return any(deposit is not None and deposit.canister == canister for deposit in waiting)

    def sums(self) -> list[Sum]:
        """All deposits ever by outcome, in the order of OUTCOMES; the first is of those that are pending now."""
        _, _, sums = self._state()
        for number in self.pending():
            deposit = self.get(number)
            if deposit is not None:
                sums[PENDING].add(deposit, 1)
        return sums

    def ends(self) -> tuple[int, int]:
        """The number of the oldest deposit that is kept, and that of the next one."""
        next_number, oldest, _ = self._state()
        return oldest, next_number

    def paid(self, canister: bytes) -> int:
        """All that a canister was given, what is pending or unknown included."""
        return int.from_bytes(self._paid.get(canister) or b"", "little")

    def forget(self, canister: bytes) -> None:
        """Drops what a child that has ended was given; its deposits and the sums stay."""
        self._paid.remove(canister)
        self._paid.remove(HELD + canister)

    def passed_on(self) -> int:
        """All that left the battery less what came back, what is pending or unknown included.

        Nothing where zones gave back more than they got, of what others had given them.
        """
        return max(0, sum(one.attached - one.refunded for one in self.sums()))

    def _end(self, deposit: Deposit, next_number: int, oldest: int, sums: list[Sum]) -> None:
        self._deposits.insert(deposit.number, deposit.encode())
        self._store_state(next_number, oldest, sums)
        self._store_pending([number for number in self.pending() if number != deposit.number])

    def _compact(self, now: int) -> None:
        next_number, oldest, _ = self._state()
        if next_number - oldest <= MAX_KEPT:
            return
        self.give_up(oldest, now)
        next_number, oldest, sums = self._state()
        self._deposits.remove(oldest)
        self._store_state(next_number, oldest + 1, sums)

    def _count_paid(self, canister: bytes, amount: int) -> None:
        # An answer may come after its canister has ended and was forgotten.
        if canister and (amount > 0 or self._paid.contains_key(canister)):
            self._paid.insert(canister, (self.paid(canister) + amount).to_bytes(16, "little"))

    def _store_pending(self, numbers: list[int]) -> None:
        self._settings.insert(PENDING_KEY, b"".join([NUMBER.pack(number) for number in numbers]))

    def _state(self) -> tuple[int, int, list[Sum]]:
        """The number of the next deposit, that of the oldest kept, and the sums by outcome (PENDING's is empty)."""
        stored = self._settings.get(STATE_KEY)
        if stored is None:
            return 0, 0, [Sum(0, 0, 0) for _ in OUTCOMES]
        next_number, oldest = ENDS.unpack_from(stored)
        sums = [Sum(0, 0, 0)]
        for count, attached, refunded in SUM.iter_unpack(stored[ENDS.size :]):
            sums.append(Sum(count, int.from_bytes(attached, "little"), int.from_bytes(refunded, "little")))
        return next_number, oldest, sums

    def _store_state(self, next_number: int, oldest: int, sums: list[Sum]) -> None:
        parts = [ENDS.pack(next_number, oldest)]
        for one in sums[1:]:
            parts.append(SUM.pack(one.count, one.attached.to_bytes(16, "little"), one.refunded.to_bytes(16, "little")))
        self._settings.insert(STATE_KEY, b"".join(parts))
