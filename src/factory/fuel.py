"""What was read last of each child's cycles, and the allowances of those that the factory does not control.

Pure. Not for what happened before: see `history`. Amounts in cycles, times in ns, principals in bytes.

    fuel  canister -> u8 state | u64 read at, 0 for never | u64 allowance given at | u128 balance | u128 reserved
                      | u128 idle burn a day | u128 freezing need | u128 memory (bytes) | u128 allowance a day
    settings "thirsty"  per child that is looked at first in the next sweep: u8 length, canister
"""

import struct

from kybra import StableBTreeMap, blob, text

from canister_kit.short_bytes import all_unpacked, packed
from factory.policy import DAY

UNKNOWN = 0  # never read
RUNNING = 1
STOPPING = 2
STOPPED = 3
DELETED = 4
UNREACHABLE = 5
UNCONTROLLED = 6  # its owners' alone: the factory cannot read its status

HEAD = struct.Struct("<BQQ")
NUMBER_BYTES = 16
THIRSTY_KEY = "thirsty"
MAX_THIRSTY = 32


class Fuel:
    """One child's cycles."""

    def __init__(self):
        self.state = UNKNOWN
        self.read_at = 0
        self.allowance_at = 0
        self.balance = 0
        self.reserved = 0
        self.idle_burn = 0
        self.freezing = 0
        """The balance below which the child is frozen, as far as the battery sees to it: see `freezing_need`."""
        self.memory = 0
        self.allowance = 0

    def numbers(self) -> list[int]:
        """The amounts in the order in which they are stored."""
        return [self.balance, self.reserved, self.idle_burn, self.freezing, self.memory, self.allowance]

    def encode(self) -> bytes:
        """The record as it is stored."""
        head = HEAD.pack(self.state, self.read_at, self.allowance_at)
        return head + b"".join([number.to_bytes(NUMBER_BYTES, "little") for number in self.numbers()])

    def runway(self, burn: int) -> int | None:
        """Seconds until the child is frozen at a burn a day; None when it burns nothing or was never read."""
        if not burn or not self.read_at:
            return None
        return max(0, self.balance - self.freezing) * DAY // burn


def decode_fuel(stored: bytes) -> Fuel:
    """The record that `encode` wrote."""
    fuel = Fuel()
    fuel.state, fuel.read_at, fuel.allowance_at = HEAD.unpack_from(stored)
    starts = range(HEAD.size, len(stored), NUMBER_BYTES)
    numbers = [int.from_bytes(stored[at : at + NUMBER_BYTES], "little") for at in starts]
    fuel.balance, fuel.reserved, fuel.idle_burn, fuel.freezing, fuel.memory, fuel.allowance = numbers
    return fuel


def freezing_need(idle_burn: int, threshold: int, reserved: int) -> int:
    """The balance below which a canister is frozen: idle burn a day over the threshold (s), less the reserved.

    For what the battery pays the threshold is at most the policy's: what owners set beyond that is theirs to pay.
    """
    return max(0, idle_burn * threshold // DAY - reserved)


class FuelStore:
    """The readings over their stable maps."""

    def __init__(self, settings: StableBTreeMap[text, blob], fuel: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._fuel = fuel

    def get(self, canister: bytes) -> Fuel:
        """What was read last of a child; UNKNOWN when nothing was."""
        stored = self._fuel.get(canister)
        return Fuel() if stored is None else decode_fuel(stored)

    def put(self, canister: bytes, fuel: Fuel) -> None:
        """Keeps a reading."""
        self._fuel.insert(canister, fuel.encode())

    def forget(self, canister: bytes) -> None:
        """Drops what was read of a child that has ended."""
        self._fuel.remove(canister)

    def allowance_paid(self, canister: bytes, at: int) -> None:
        """Keeps when the allowance of a child was paid last, or is about to be."""
        fuel = self.get(canister)
        fuel.allowance_at = at
        self.put(canister, fuel)

    def set_state(self, canister: bytes, state: int) -> Fuel:
        """Keeps that a child could not be read, and why; its last figures stay with their time."""
        fuel = self.get(canister)
        fuel.state = state
        self.put(canister, fuel)
        return fuel

    def thirsty(self) -> list[bytes]:
        """The children that are looked at first in the next sweep."""
        return all_unpacked(self._settings.get(THIRSTY_KEY) or b"")

    def add_thirsty(self, canister: bytes) -> None:
        """Has a child looked at first in the next sweep; at most 32 are."""
        known = self.thirsty()
        if canister not in known and len(known) < MAX_THIRSTY:
            self._store_thirsty([*known, canister])

    def take_thirsty(self) -> list[bytes]:
        """The children to look at first, those closest to being frozen before the others; the list is empty then."""
        known = self.thirsty()
        if known:
            self._store_thirsty([])
        return sorted(known, key=self._spare)

    def _spare(self, canister: bytes) -> int:
        fuel = self.get(canister)
        return fuel.balance - fuel.freezing

    def _store_thirsty(self, canisters: list[bytes]) -> None:
        self._settings.insert(THIRSTY_KEY, packed(*canisters))
