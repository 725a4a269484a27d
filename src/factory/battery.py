"""The battery: which canisters are children, how many cycles each may have, and what stays in the battery.

Pure. The rules and their order are the wire contract's; a grant is reserved in both quotas before the deposit is made
and what does not arrive is given back. Limits of children are the policy's: a child that others than the factory
control has a smaller one, because they can take out what they want. What it got in one custody does not count in the
other. Amounts in cycles, times in ns, principals in bytes.

    settings "aggregate"  quota of all children together (see `quota`)
    settings "own"        u128 idle burn a day | u64 freezing threshold (s) | u128 measured burn a day | u64 read at
    children principal -> u64 registered at | u8 an admin stopped its fuel | quota of this child while the factory alone
                          controls it | quota while others do; limits and windows are the policy's
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.cycles import TransferCyclesError
from factory.ordered import SortedKeys
from factory.policy import CHILD_WINDOW, DAY, MOST_CYCLES, SHARED_WINDOW, Policy
from factory.quota import Quota, decode_quota

AGGREGATE_LIMIT = 10_000_000_000_000
WINDOW = DAY
MAX_WINDOW = 366 * DAY
CHILD = struct.Struct("<QB48s48s")
OWN = struct.Struct("<16sQ16sQ")
AGGREGATE_KEY = "aggregate"
OWN_KEY = "own"


class Refusal(Exception):
    """No cycles; `case` says why, as the contract declares it."""

    def __init__(self, case: TransferCyclesError):
        super().__init__(str(case))
        self.case = case


class Grant:
    """Cycles reserved for a child, with the windows they were taken from; 0 for one they are not held against."""

    def __init__(self, child: bytes, shared: bool, amount: int, aggregate_window: int, child_window: int):
        self.child = child
        self.shared = shared
        self.amount = amount
        self.aggregate_window = aggregate_window
        self.child_window = child_window


class Need:
    """What the battery itself burns."""

    def __init__(self, idle_burn: int, freezing_threshold: int, measured_burn: int, read_at: int):
        self.idle_burn = idle_burn
        """Cycles a day for its memory, by its status."""
        self.freezing_threshold = freezing_threshold
        """Seconds."""
        self.measured_burn = measured_burn
        """Cycles a day, without what was passed on to others."""
        self.read_at = read_at

    def burn(self) -> int:
        """Cycles a day."""
        return max(self.idle_burn, self.measured_burn)

    def freezing(self) -> int:
        """The balance below which the battery is frozen."""
        return self.idle_burn * self.freezing_threshold // DAY


class Battery:
    """Children and quotas over their stable maps."""

    def __init__(self, settings: StableBTreeMap[text, blob], children: StableBTreeMap[blob, blob], policy: Policy):
        self._settings = settings
        self._children = children
        self._policy = policy
        self._order = SortedKeys()

    def register(self, child: bytes, now: int) -> None:
        """Makes a canister a child, with a quota of its own; a child keeps the one it has."""
        if not self._children.contains_key(child):
            unused = Quota(0, CHILD_WINDOW).encode(), Quota(0, SHARED_WINDOW).encode()
            self._children.insert(child, CHILD.pack(now, False, *unused))
            self._order.add(child)

    def forget(self, child: bytes) -> None:
        """Takes the quota of a child that has ended."""
        self._children.remove(child)
        self._order.drop(child)

    def is_child(self, principal: bytes) -> bool:
        """Whether this canister may ask for cycles."""
        return self._children.contains_key(principal)

    def children(self, most: int) -> list[bytes]:
        """The first children in ascending order of their principals, at most so many."""
        return self._order.page(self._children, None, most)

    def count(self) -> int:
        """How many children there are."""
        return self._children.len()

    def need(self) -> Need:
        """What the battery burns, as read last."""
        stored = self._settings.get(OWN_KEY)
        if stored is None:
            return Need(0, 0, 0, 0)
        idle, threshold, measured, read_at = OWN.unpack(stored)
        return Need(int.from_bytes(idle, "little"), threshold, int.from_bytes(measured, "little"), read_at)

    def store_need(self, need: Need) -> None:
        """Keeps what the battery burns."""
        idle = min(need.idle_burn, MOST_CYCLES).to_bytes(16, "little")
        measured = min(need.measured_burn, MOST_CYCLES).to_bytes(16, "little")
        self._settings.insert(OWN_KEY, OWN.pack(idle, need.freezing_threshold, measured, need.read_at))

    def reserve_cycles(self) -> int:
        """The balance that nothing may be spent below: the policy's, or what the battery needs to live on."""
        need = self.need()
        return max(self._policy.get("reserve"), need.freezing() + self._policy.get("reserve_days") * need.burn())

    def reserve(
        self, child: bytes, requested: int, balance: int, now: int, shared: bool = False, granted: bool = False
    ) -> Grant:
        """Reserves cycles for a registered child by the contract's quota rules; Refusal when there are none.

        `shared` is a child that others than the factory control. What an admin `granted` is held against the quota of
        all children alone.
        """
        if requested < self._policy.get("min_top_up"):
            raise Refusal({"too_few_cycles_requested": None})
        aggregate = self.aggregate()
        aggregate_left = aggregate.left(now)
        if aggregate_left == 0:
            raise Refusal({"aggregate_quota_reached": None})
        quota = self.quota(child, shared)
        child_left = requested if granted else quota.left(now)
        if child_left == 0:
            raise Refusal({"canister_quota_reached": None})
        amount = min(requested, aggregate_left, child_left)
        if balance - self.reserve_cycles() < amount:
            raise Refusal({"insufficient_cycles_available": None})
        grant = Grant(child, shared, amount, aggregate.take(amount), 0 if granted else quota.take(amount))
        self._store(child, shared, aggregate, quota)
        return grant

    def give_back(self, grant: Grant, amount: int) -> None:
        """Releases what did not arrive of a reservation, in the windows it was taken from; a child may have ended."""
        aggregate = self.aggregate()
        aggregate.give_back(amount, grant.aggregate_window)
        if not self.is_child(grant.child):
            self._settings.insert(AGGREGATE_KEY, aggregate.encode())
            return
        quota = self.quota(grant.child, grant.shared)
        if grant.child_window:
            quota.give_back(amount, grant.child_window)
        self._store(grant.child, grant.shared, aggregate, quota)

    def aggregate(self) -> Quota:
        """The quota of all children together, as it was used last."""
        stored = self._settings.get(AGGREGATE_KEY)
        return Quota(AGGREGATE_LIMIT, WINDOW) if stored is None else decode_quota(stored)

    def set_aggregate(self, limit: int, window: int, now: int) -> str:
        """Replaces the quota of all children and begins a window with nothing used, or says what is wrong."""
        if limit > MOST_CYCLES:
            return f"maxAmount is at most {MOST_CYCLES}, got {limit}"
        if not 0 < window <= MAX_WINDOW:
            return f"durationInSeconds must be 1 to {MAX_WINDOW}, got {window}"
        quota = Quota(limit, window)
        quota.turn(now)
        self._settings.insert(AGGREGATE_KEY, quota.encode())
        return ""

    def quota(self, child: bytes, shared: bool) -> Quota:
        """A child's own quota while others than the factory control it or none do, as it was used last."""
        quota = decode_quota(self._record(child)[2][shared])
        quota.limit = self._policy.get("shared_limit" if shared else "child_limit")
        quota.window = SHARED_WINDOW if shared else CHILD_WINDOW
        return quota

    def is_fuelled(self, child: bytes) -> bool:
        """Whether deposits may be made to a child: no admin has stopped them."""
        _, is_stopped, _ = self._record(child)
        return not is_stopped

    def set_fuelled(self, child: bytes, on: bool) -> None:
        """Stops the deposits to a child, whoever asks for them, or lets them be made again."""
        registered_at, _, quotas = self._record(child)
        self._children.insert(child, CHILD.pack(registered_at, not on, *quotas))

    def _record(self, child: bytes) -> tuple[int, int, list[bytes]]:
        """What is stored of a child: when it was registered, whether its fuel is stopped, its two quotas."""
        stored = self._children.get(child)
        if stored is None:
            raise KeyError(f"{child.hex()} is no child")
        registered_at, is_stopped, *quotas = CHILD.unpack(stored)
        return registered_at, is_stopped, quotas

    def _store(self, child: bytes, shared: bool, aggregate: Quota, quota: Quota) -> None:
        registered_at, is_stopped, quotas = self._record(child)
        quotas[shared] = quota.encode()
        self._settings.insert(AGGREGATE_KEY, aggregate.encode())
        self._children.insert(child, CHILD.pack(registered_at, is_stopped, *quotas))
