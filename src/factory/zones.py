"""Creations of zone canisters, each a record from before its first call to its end, and whose zone each became.

Pure. A zone is filed under its creator and its zone_id: nobody can take another one's place. What a creation became is
told by its stage; the canister's own record (`children`) begins when there is one. Times in ns, amounts in cycles,
principals in bytes.

    settings  "creation_next" u64 id of the next creation, from 1
              "pool"          u64 creation ids of the canisters that wait to become a zone
    creations u64 id -> u8 version (1) | u8 stage | u8 funding | u8 custody | u8 proven | u64 asked at | u64 changed at
                        | u64 tried at | u64 window of the count | u64 window of the cycles | u128 cycles | u128 price
                        | u8 length each: zone_id, creator, canister, SHA-256 of the call token or nothing, rpc_host,
                          fault | u16 length, rpc_path | u8 count, owners (u8 length, principal)
    zones     u8 length, creator | zone_id -> u64 creation id
    proofs    zone_id -> u64 creation that the zone's sponsored canister came from, 0 for none | canonical canister
"""

import hashlib
import struct

from kybra import StableBTreeMap, blob, nat64, text

from canister_kit.short_bytes import packed, packed_list, unpacked, unpacked_list
from factory.children import MANAGED, SPONSORED

RESERVED = 1  # its canister is being created
CREATED = 2  # has a canister
INSTALLED = 3  # its canister runs a release
LIVE = 4  # registered: it has become a zone
FAILED = 5  # ended without a canister
POOLED = 6  # its canister waits to become a zone
TAKEN = 7  # another creation has its canister
STAGE_NAMES = {
    RESERVED: "reserved",
    CREATED: "created",
    INSTALLED: "installed",
    LIVE: "live",
    FAILED: "failed",
    POOLED: "pooled",
    TAKEN: "taken",
}

VERSION = 1
MAX_FAULT_BYTES = 240
HEAD = struct.Struct("<BBBBBQQQQQ16s16s")
NUMBER = struct.Struct("<Q")
NEXT_KEY = "creation_next"
POOL_KEY = "pool"


class Creation:
    """One creation and what was asked for."""

    def __init__(self, creator: bytes, zone_id: str, rpc_host: str, rpc_path: str, token_hash: bytes):
        self.stage = RESERVED
        self.creator = creator
        self.zone_id = zone_id
        self.rpc_host = rpc_host
        self.rpc_path = rpc_path
        self.token_hash = token_hash
        self.owners: list[bytes] = []
        self.custody = MANAGED
        self.funding = SPONSORED
        self.proven = False
        self.cycles = 0
        """Attached to the canister's creation, the platform's fee included."""
        self.price = 0
        """What the call that asked for it pays, as it was when it was admitted; 0 for a sponsored one."""
        self.count_window = 0
        self.cycles_window = 0
        self.asked_at = 0
        self.changed_at = 0
        self.tried_at = 0
        """When its steps were begun or taken up last."""
        self.canister = b""
        self.fault = ""

    def difference(self, other: "Creation") -> str:
        """The argument in which another request for the same zone differs, or ""."""
        if self.rpc_host != other.rpc_host:
            return f"rpc_host {self.rpc_host!r}"
        if self.rpc_path != other.rpc_path:
            return f"rpc_path {self.rpc_path!r}"
        if self.token_hash != other.token_hash:
            return "another call_token"
        if sorted(self.owners) != sorted(other.owners):
            return "other owners"
        return "" if self.custody == other.custody else "another custody"

    def encode(self) -> bytes:
        """The creation as it is stored."""
        head = HEAD.pack(
            VERSION,
            self.stage,
            self.funding,
            self.custody,
            self.proven,
            self.asked_at,
            self.changed_at,
            self.tried_at,
            self.count_window,
            self.cycles_window,
            self.cycles.to_bytes(16, "little"),
            self.price.to_bytes(16, "little"),
        )
        fault = self.fault.encode()[:MAX_FAULT_BYTES]
        host, path = self.rpc_host.encode(), self.rpc_path.encode()
        values = packed(self.zone_id.encode(), self.creator, self.canister, self.token_hash, host, fault)
        return b"".join((head, values, len(path).to_bytes(2, "little"), path, packed_list(self.owners)))


def decode_creation(stored: bytes) -> Creation:
    """The creation that `encode` wrote."""
    head = HEAD.unpack_from(stored)
    (zone_id, creator, canister, token_hash, rpc_host, fault), at = unpacked(stored, HEAD.size, 6)
    path_end = at + 2 + int.from_bytes(stored[at : at + 2], "little")
    creation = Creation(creator, zone_id.decode(), rpc_host.decode(), stored[at + 2 : path_end].decode(), token_hash)
    _, creation.stage, creation.funding, creation.custody, proven, creation.asked_at, creation.changed_at = head[:7]
    creation.tried_at, creation.count_window, creation.cycles_window = head[7:10]
    creation.proven = bool(proven)
    creation.cycles, creation.price = int.from_bytes(head[10], "little"), int.from_bytes(head[11], "little")
    creation.canister, creation.fault = canister, fault.decode("utf-8", "ignore")
    creation.owners, _ = unpacked_list(stored, path_end)
    return creation


class Creations:
    """All creations, the places they took, and which zone_ids were proven, over their stable maps."""

    def __init__(
        self,
        settings: StableBTreeMap[text, blob],
        records: StableBTreeMap[nat64, blob],
        places: StableBTreeMap[blob, blob],
        proofs: StableBTreeMap[blob, blob],
    ):
        self._settings = settings
        self._records = records
        self._places = places
        self._proofs = proofs

    def get(self, number: int) -> Creation | None:
        """A creation by its id."""
        stored = self._records.get(number) if 0 <= number < 2**64 else None
        return None if stored is None else decode_creation(stored)

    def put(self, number: int, creation: Creation, now: int) -> None:
        """Keeps a creation that has changed at `now`."""
        creation.changed_at = now
        self._records.insert(number, creation.encode())

    def begin(self, creation: Creation, now: int) -> int:
        """Writes a new creation down, before its first call, and gives it its place; returns its id."""
        stored = self._settings.get(NEXT_KEY)
        number = 1 if stored is None else NUMBER.unpack(stored)[0]
        self._settings.insert(NEXT_KEY, NUMBER.pack(number + 1))
        creation.asked_at = creation.tried_at = now
        self.put(number, creation, now)
        if creation.zone_id:
            self._places.insert(zone_key(creation.creator, creation.zone_id), NUMBER.pack(number))
        return number

    def has_canister(self, number: int, canister: bytes, now: int) -> Creation:
        """Notes the canister that a creation got; the first thing that happens after the platform named it."""
        creation = self.get(number)
        if creation is None:
            raise KeyError(f"creation {number} is unknown")
        creation.canister = canister
        creation.stage = CREATED
        creation.fault = ""
        self.put(number, creation, now)
        return creation

    def advance(self, number: int, stage: int, now: int) -> Creation:
        """Notes that a creation got further."""
        creation = self.get(number)
        if creation is None:
            raise KeyError(f"creation {number} is unknown")
        creation.stage = stage
        creation.fault = ""
        self.put(number, creation, now)
        return creation

    def failed(self, number: int, fault: str, now: int) -> Creation:
        """Notes what went wrong with a step of a creation; its stage stays."""
        creation = self.get(number)
        if creation is None:
            raise KeyError(f"creation {number} is unknown")
        creation.fault = fault
        self.put(number, creation, now)
        return creation

    def at(self, creator: bytes, zone_id: str) -> int:
        """The creation that has a creator's place for a zone_id, 0 for none."""
        stored = self._places.get(zone_key(creator, zone_id))
        return 0 if stored is None else NUMBER.unpack(stored)[0]

    def free(self, number: int, creation: Creation) -> None:
        """Gives a creation's place free, if it is still its own."""
        if creation.zone_id and self.at(creation.creator, creation.zone_id) == number:
            self._places.remove(zone_key(creation.creator, creation.zone_id))

    def sponsored_for(self, zone_id: str) -> int:
        """The creation of the one canister that was sponsored for a proven zone_id, 0 for none."""
        return self._proof(zone_id)[0]

    def canonical(self, zone_id: str) -> bytes:
        """The canister that a proven owner of the zone created first and that is not retired; empty for none."""
        return self._proof(zone_id)[1]

    def claim_sponsorship(self, zone_id: str, number: int) -> None:
        """Notes which creation a proven zone_id was sponsored for; 0 when it came to nothing."""
        self._proofs.insert(zone_id.lower().encode(), NUMBER.pack(number) + self.canonical(zone_id))

    def set_canonical(self, zone_id: str, canister: bytes) -> None:
        """Makes a canister the proven one of a zone_id; empty for none."""
        self._proofs.insert(zone_id.lower().encode(), NUMBER.pack(self.sponsored_for(zone_id)) + canister)

    def _proof(self, zone_id: str) -> tuple[int, bytes]:
        stored = self._proofs.get(zone_id.lower().encode())
        return (0, b"") if stored is None else (NUMBER.unpack_from(stored)[0], stored[NUMBER.size :])

    def pool(self) -> list[int]:
        """The creations whose canisters wait to become a zone, oldest first."""
        stored = self._settings.get(POOL_KEY) or b""
        return [NUMBER.unpack_from(stored, at)[0] for at in range(0, len(stored), NUMBER.size)]

    def store_pool(self, numbers: list[int]) -> None:
        """Keeps which canisters wait."""
        self._settings.insert(POOL_KEY, b"".join([NUMBER.pack(number) for number in numbers]))


def zone_key(creator: bytes, zone_id: str) -> bytes:
    """The key of a creator's zone; ids differ in case only by checksum, so they are filed in lower case."""
    return packed(creator) + zone_id.lower().encode()


def token_hash(call_token: bytes | None) -> bytes:
    """What is kept of a call token: its SHA-256, nothing for none."""
    return b"" if call_token is None else hashlib.sha256(call_token).digest()
