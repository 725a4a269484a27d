"""The index of zones: who asked for which zone, how far its creation got, and how many may be made a day.

Pure. A zone is filed under its creator and its zone_id: the factory cannot tell whose a zone_id is, so nobody can take
another one's place. Times in ns, principals in bytes.

    settings "creations"  quota of creations (see `quota`)
    zones    u8 length, creator | zone_id, 42 characters
             -> u8 stage | u64 asked at | u8 length, canister | u8 length, rpc_host | u16 length, rpc_path
                | u8 length, SHA-256 of the call token, empty without one
"""

import hashlib

from kybra import StableBTreeMap, blob, text

from factory.quota import Quota, decode_quota

DAILY_LIMIT = 20
MAX_DAILY_LIMIT = 10_000
DAY = 86_400
CREATIONS_KEY = "creations"
CREATED = 1
INSTALLED = 2


class Zone:
    """A zone that has a canister; `stage` is CREATED until its code runs."""

    def __init__(self, rpc_host: str, rpc_path: str, call_token: bytes | None):
        self.stage = CREATED
        self.asked_at = 0
        self.canister = b""
        self.rpc_host = rpc_host
        self.rpc_path = rpc_path
        self.token_hash = b"" if call_token is None else hashlib.sha256(call_token).digest()

    def difference(self, other: "Zone") -> str:
        """The argument in which another request for the same zone differs, or ""."""
        if self.rpc_host != other.rpc_host:
            return f"rpc_host {self.rpc_host!r}"
        if self.rpc_path != other.rpc_path:
            return f"rpc_path {self.rpc_path!r}"
        return "" if self.token_hash == other.token_hash else "another call_token"

    def encode(self) -> bytes:
        """The zone as it is stored."""
        host = self.rpc_host.encode()
        path = self.rpc_path.encode()
        return b"".join(
            [
                bytes([self.stage]),
                self.asked_at.to_bytes(8, "little"),
                bytes([len(self.canister)]),
                self.canister,
                bytes([len(host)]),
                host,
                len(path).to_bytes(2, "little"),
                path,
                bytes([len(self.token_hash)]),
                self.token_hash,
            ]
        )


def decode_zone(stored: bytes) -> Zone:
    """The zone that `encode` wrote."""
    canister_end = 10 + stored[9]
    host_end = canister_end + 1 + stored[canister_end]
    path_start = host_end + 2
    path_end = path_start + int.from_bytes(stored[host_end:path_start], "little")
    zone = Zone(stored[canister_end + 1 : host_end].decode(), stored[path_start:path_end].decode(), None)
    zone.stage = stored[0]
    zone.asked_at = int.from_bytes(stored[1:9], "little")
    zone.canister = stored[10:canister_end]
    zone.token_hash = stored[path_end + 1 : path_end + 1 + stored[path_end]]
    return zone


class ZoneIndex:
    """Zones by creator and zone_id over their stable map."""

    def __init__(self, settings: StableBTreeMap[text, blob], zones: StableBTreeMap[blob, blob]):
        self._settings = settings
        self._zones = zones

    def find(self, creator: bytes, zone_id: str) -> Zone | None:
        """The zone that this creator has under this id."""
        stored = self._zones.get(zone_key(creator, zone_id))
        return None if stored is None else decode_zone(stored)

    def store(self, creator: bytes, zone_id: str, zone: Zone) -> None:
        """Files a zone, or how far it got since."""
        self._zones.insert(zone_key(creator, zone_id), zone.encode())

    def budget(self, now: int) -> Quota:
        """The creations of the window of `now`."""
        stored = self._settings.get(CREATIONS_KEY)
        quota = Quota(DAILY_LIMIT, DAY) if stored is None else decode_quota(stored)
        quota.turn(now)
        return quota

    def store_budget(self, budget: Quota) -> None:
        """Keeps what is used of the creations."""
        self._settings.insert(CREATIONS_KEY, budget.encode())


def zone_key(creator: bytes, zone_id: str) -> bytes:
    """The zones key of a creator's zone; ids differ in case only by checksum, so they are filed in lower case."""
    return bytes([len(creator)]) + creator + zone_id.lower().encode()
