"""The agent interface of the `zones` library over a network under test. Not for networks without a pocket_ic client."""

from __future__ import annotations

import base64
from threading import Lock
from typing import Any

from ic.principal import Principal

from tests.support.network import CallRejected, Network
from tests.support.zones import TEAM
from zones.errors import RejectedError


class NetworkAgent:
    """Calls canisters of a network as TEAM, one call at a time."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._free = Lock()

    def sender(self) -> bytes:
        return TEAM.bytes

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        return self._made(self.network.query, Principal(canister), method, argument, TEAM)

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        where = None if effective is None else {"CanisterId": base64.b64encode(effective).decode()}
        return self._made(self.network.update, Principal(canister), method, argument, TEAM, where)

    def _made(self, call: Any, *values: Any) -> bytes:
        try:
            with self._free:
                return call(*values)
        except CallRejected as rejected:
            raise RejectedError(rejected.message) from rejected
