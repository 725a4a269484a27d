"""The children: whose each zone canister is, who pays for it, who controls it, and what was read of it last.

Pure. One record a child, written when its canister was created; that of a child that has ended goes where nobody walks
by. Battery quotas, deposits and rollouts have maps of their own. Times in ns, amounts in cycles, principals in bytes.

    custody   canister -> u8 version (1) | u8 custody | u8 funding | u8 stage | u8 proven | u64 created at
                 | u64 info read at, 0 for never | u8 factory controls it | u128 owed | 42 zone_id | u8 length, creator
                 | u8 length, module hash as read last | u8 count, controllers as read last
                 | u8 count, owners | u8 count, offered to | u8 count, accepted by | u8 count, agreed to its end
                   (each u8 length, principal) | u8 custody offered, 0 for none | u8 emptied by the factory
    ended     the same, of children that have ended
"""

import struct

from kybra import StableBTreeMap, blob

from canister_kit.short_bytes import packed, packed_list, unpacked, unpacked_list
from factory.ordered import SortedKeys

MANAGED = 1
SHARED = 2
SOVEREIGN = 3
CUSTODY_NAMES = {MANAGED: "managed", SHARED: "shared", SOVEREIGN: "sovereign"}

SPONSORED = 1
FUNDED = 2

CREATED = 1  # has a canister, but its code does not run yet
LIVE = 2
RETIRED = 3
RETIRING = 4  # its data is being given up
STAGE_NAMES = {CREATED: "created", LIVE: "live", RETIRED: "retired", RETIRING: "retiring"}

ENDING = (RETIRING, RETIRED)

MAX_OWNERS = 10
MAX_SHARED_OWNERS = 9
MAX_CONTROLLERS = 10  # the platform's limit
ZONE_ID_CHARS = 42
VERSION = 1
HEAD = struct.Struct("<BBBBBQQB16s42s")


class Child:
    """One zone canister."""

    def __init__(self, zone_id: str, creator: bytes, created_at: int):
        self.zone_id = zone_id
        self.creator = creator
        self.created_at = created_at
        self.custody = MANAGED
        self.funding = SPONSORED
        self.stage = CREATED
        self.proven = False
        """Whether the zone's own contract named the creator an owner when the canister was made."""
        self.owed = 0
        """Cycles that have to be repaid before owners control the canister."""
        self.info_read_at = 0
        self.controlled = True
        """Whether the factory is one of the controllers, as read last."""
        self.module_hash = b""
        self.controllers: list[bytes] = []
        self.owners: list[bytes] = []
        self.offered: list[bytes] = []
        self.accepted: list[bytes] = []
        self.agreed: list[bytes] = []
        """Owners who want the zone retired."""
        self.offered_custody = 0
        self.emptied = False
        """Whether the factory itself put the code there that gives the canister's cycles back."""

    def is_owner(self, principal: bytes) -> bool:
        """Whether a principal speaks for the zone: an owner, or the creator while there is none."""
        return principal in self.owners if self.owners else principal == self.creator

    def forget_strangers(self) -> None:
        """Forgets who accepted or agreed and has no say any more.

        Owners can be changed on the platform, again and again: what each of them said would outgrow the record.
        """
        self.accepted = [one for one in self.accepted if self.is_owner(one) or one in self.offered]
        self.agreed = [one for one in self.agreed if one in self.owners]

    def clear_offer(self) -> None:
        """Forgets an offer of custody, and who accepted it."""
        self.offered, self.accepted, self.offered_custody = [], [], 0

    def encode(self) -> bytes:
        """The child as it is stored."""
        head = HEAD.pack(
            VERSION,
            self.custody,
            self.funding,
            self.stage,
            self.proven,
            self.created_at,
            self.info_read_at,
            self.controlled,
            self.owed.to_bytes(16, "little"),
            self.zone_id.encode(),
        )
        parts = [head, packed(self.creator, self.module_hash)]
        for principals in (self.controllers, self.owners, self.offered, self.accepted, self.agreed):
            parts.append(packed_list(principals))
        return b"".join([*parts, bytes([self.offered_custody, self.emptied])])


def decode_child(stored: bytes) -> Child:
    """The child that `encode` wrote."""
    _, custody, funding, stage, proven, created_at, read_at, controlled, owed, zone_id = HEAD.unpack_from(stored)
    (creator, module_hash), at = unpacked(stored, HEAD.size, 2)
    child = Child(zone_id.decode(), creator, created_at)
    child.custody, child.funding, child.stage = custody, funding, stage
    child.proven, child.controlled = bool(proven), bool(controlled)
    child.info_read_at, child.owed = read_at, int.from_bytes(owed, "little")
    child.module_hash = module_hash
    for principals in (child.controllers, child.owners, child.offered, child.accepted, child.agreed):
        found, at = unpacked_list(stored, at)
        principals += found
    child.offered_custody, child.emptied = stored[at], bool(stored[at + 1])
    return child


class Children:
    """All children over their stable maps."""

    def __init__(self, records: StableBTreeMap[blob, blob], ended: StableBTreeMap[blob, blob]):
        self._records = records
        self._ended = ended
        self._order = SortedKeys()

    def get(self, canister: bytes) -> Child | None:
        """The child with this principal, one that has ended included."""
        stored = self._records.get(canister) or self._ended.get(canister)
        return None if stored is None else decode_child(stored)

    def put(self, canister: bytes, child: Child) -> None:
        """Keeps a child, new or changed; one that is retired now is counted and listed no more."""
        child.forget_strangers()
        if child.stage == RETIRED:
            self._ended.insert(canister, child.encode())
            self._records.remove(canister)
            self._order.drop(canister)
            return
        before = self._records.insert(canister, child.encode())
        if before is None:
            self._order.add(canister)

    def charge(self, canister: bytes, amount: int) -> int:
        """Adds a deposit to what has to be repaid before owners control the child; returns what was added.

        A managed child's deposits are owed whoever paid for its creation: else it could be managed while it is filled,
        and its owners' while it is emptied.
        """
        child = self.get(canister)
        if child is None or (child.funding != SPONSORED and child.custody != MANAGED):
            return 0
        child.owed += amount
        self.put(canister, child)
        return amount

    def discharge(self, canister: bytes, amount: int) -> None:
        """Takes what did not arrive of a deposit off what is owed; nothing below zero, as it may be repaid by now."""
        child = self.get(canister)
        if child is not None and child.owed and amount:
            child.owed -= min(child.owed, amount)
            self.put(canister, child)

    def count(self) -> int:
        """How many children there are, without those that have ended."""
        return self._records.len()

    def page(self, after: bytes | None, most: int) -> list[bytes]:
        """Children in ascending order of their principals that come after one, at most so many; no ended ones."""
        return self._order.page(self._records, after, most)

    def info_read(
        self, canister: bytes, controllers: list[bytes], module_hash: bytes, factory: bytes, now: int
    ) -> Child:
        """Corrects a child's record by what the platform says of it, and returns it.

        Custody is what the controllers say; those beside the factory own the zone, whoever made them controllers.
        """
        child = self.get(canister)
        if child is None:
            raise KeyError(f"{canister.hex()} is no child")
        child.controllers = controllers[:MAX_CONTROLLERS]
        child.module_hash = module_hash
        child.controlled = factory in controllers
        child.info_read_at = now
        others = [controller for controller in child.controllers if controller != factory]
        child.custody = MANAGED if not others and child.controlled else SHARED if child.controlled else SOVEREIGN
        if child.custody != MANAGED:
            child.owners = others
        self.put(canister, child)
        return child
