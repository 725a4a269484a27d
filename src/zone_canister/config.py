"""What a zone was installed with, and the record of its last top-up request.

Pure: it works on the settings map. The arguments are checked by `canister_kit.zone_args` before they are written and
never change afterwards.

    settings "zone_id", "rpc_host", "rpc_path"  UTF-8      "call_token" 32 bytes, absent without a token
             "battery"  principal                          "installation_id", "topup_asked" u64 ns
"""

import struct

from kybra import StableBTreeMap, blob, text

SECOND = 1_000_000_000
TOPUP_INTERVAL = 600 * SECOND
LOW_BALANCE = 700_000_000_000
TOPUP_CYCLES = 500_000_000_000
TIME = struct.Struct("<Q")


class Config:
    """The zone's settings; reads are cheap enough to be done when needed."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings

    def write(
        self, zone_id: str, rpc_host: str, rpc_path: str, battery: bytes, call_token: bytes | None, now: int
    ) -> None:
        """Keeps the installation arguments; `now` (ns) becomes the installation id."""
        self._settings.insert("zone_id", zone_id.encode())
        self._settings.insert("rpc_host", rpc_host.encode())
        self._settings.insert("rpc_path", rpc_path.encode())
        self._settings.insert("battery", battery)
        if call_token is not None:
            self._settings.insert("call_token", call_token)
        self._settings.insert("installation_id", TIME.pack(now))

    def zone_id(self) -> str:
        """The address of the zone's membership contract, `0x` and 40 hex digits."""
        return self._required("zone_id").decode()

    def rpc_host(self) -> str:
        """Host of the contract's JSON-RPC node, `name` or `name:port`."""
        return self._required("rpc_host").decode()

    def rpc_path(self) -> str:
        """Path of the contract's JSON-RPC node."""
        return self._required("rpc_path").decode()

    def battery(self) -> bytes:
        """The principal that is asked for cycles."""
        return self._required("battery")

    def call_token(self) -> bytes | None:
        """The token sent with role calls, or None."""
        return self._settings.get("call_token")

    def installation_id(self) -> int:
        """When the canister was first installed, in ns."""
        return TIME.unpack(self._required("installation_id"))[0]

    def admit_topup(self, now: int) -> str:
        """Takes a top-up request at `now` (ns) into account and returns "", or says how long to wait."""
        stored = self._settings.get("topup_asked")
        if stored is not None:
            since = now - TIME.unpack(stored)[0]
            if since < TOPUP_INTERVAL:
                wait = -(-(TOPUP_INTERVAL - since) // SECOND)
                return f"cycles were asked for {since // SECOND} seconds ago: try again in {wait} seconds"
        self._settings.insert("topup_asked", TIME.pack(now))
        return ""

    def _required(self, name: str) -> bytes:
        value = self._settings.get(name)
        if value is None:
            raise KeyError(f"setting {name!r} is missing: the canister was never installed")
        return value
