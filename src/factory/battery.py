"""The battery: which canisters are children, and how many cycles each may have.

Pure. The rules and their order are the wire contract's; a grant is reserved in both quotas before the deposit is made
and given back when the deposit fails. Amounts in cycles, times in ns, principals in bytes.

    settings "aggregate"  quota of all children together (see `quota`)
    children principal -> u64 registered at | quota of this child
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.cycles import TransferCyclesError
from factory.quota import QUOTA_BYTES, Quota, decode_quota

MIN_CYCLES = 50_000_000_000
AGGREGATE_LIMIT = 10_000_000_000_000
CHILD_LIMIT = 1_000_000_000_000
WINDOW = 86_400
# What the battery keeps for itself: its own freezing threshold and the months until somebody notices it runs low.
RESERVE = 5_000_000_000_000
REGISTERED = struct.Struct("<Q")
AGGREGATE_KEY = "aggregate"


class Refusal(Exception):
    """No cycles; `case` says why, as the contract declares it."""

    def __init__(self, case: TransferCyclesError):
        super().__init__(str(case))
        self.case = case


class Grant:
    """Cycles reserved for a child, with the windows they were taken from."""

    def __init__(self, child: bytes, amount: int, aggregate_window: int, child_window: int):
        self.child = child
        self.amount = amount
        self.aggregate_window = aggregate_window
        self.child_window = child_window


class Battery:
    """Children and quotas over their stable maps."""

    def __init__(self, settings: StableBTreeMap[text, blob], children: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._children = children

    def register(self, child: bytes, now: int) -> None:
        """Makes a canister a child, with a quota of its own."""
        self._children.insert(child, REGISTERED.pack(now) + Quota(CHILD_LIMIT, WINDOW).encode())

    def is_child(self, principal: bytes) -> bool:
        """Whether this canister may ask for cycles."""
        return self._children.contains_key(principal)

    def children(self) -> list[bytes]:
        """All children in ascending order of their principals."""
        return sorted(self._children.keys())

    def count(self) -> int:
        """How many children there are."""
        return self._children.len()

    def reserve(self, child: bytes, requested: int, balance: int, now: int) -> Grant:
        """Reserves cycles for a registered child by the contract's quota rules; Refusal when there are none."""
        if requested < MIN_CYCLES:
            raise Refusal({"too_few_cycles_requested": None})
        aggregate = self._aggregate()
        aggregate_left = aggregate.left(now)
        if aggregate_left == 0:
            raise Refusal({"aggregate_quota_reached": None})
        quota = self._quota(child)
        child_left = quota.left(now)
        if child_left == 0:
            raise Refusal({"canister_quota_reached": None})
        amount = min(requested, aggregate_left, child_left)
        if balance - RESERVE < amount:
            raise Refusal({"insufficient_cycles_available": None})
        grant = Grant(child, amount, aggregate.take(amount), quota.take(amount))
        self._store(child, aggregate, quota)
        return grant

    def give_back(self, grant: Grant) -> None:
        """Releases a reservation whose deposit failed."""
        aggregate = self._aggregate()
        quota = self._quota(grant.child)
        aggregate.give_back(grant.amount, grant.aggregate_window)
        quota.give_back(grant.amount, grant.child_window)
        self._store(grant.child, aggregate, quota)

    def _aggregate(self) -> Quota:
        stored = self._settings.get(AGGREGATE_KEY)
        return Quota(AGGREGATE_LIMIT, WINDOW) if stored is None else decode_quota(stored)

    def _quota(self, child: bytes) -> Quota:
        stored = self._children.get(child)
        if stored is None:
            raise KeyError(f"{child.hex()} is no child")
        return decode_quota(stored[REGISTERED.size : REGISTERED.size + QUOTA_BYTES])

    def _store(self, child: bytes, aggregate: Quota, quota: Quota) -> None:
        registered = (self._children.get(child) or bytes(REGISTERED.size))[: REGISTERED.size]
        self._settings.insert(AGGREGATE_KEY, aggregate.encode())
        self._children.insert(child, registered + quota.encode())
