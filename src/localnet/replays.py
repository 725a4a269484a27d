"""Remembers signed calls until they expire, so that none is carried out twice.

The ingress history may forget an answered call earlier: its bounds are numbers and bytes, not the calls' expiry.
"""

from __future__ import annotations

import heapq


class Replays:
    """The calls one network accepted, by request id. Its network's lock must be held."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()
        self._by_expiry: list[tuple[int, bytes]] = []

    def add(self, request_id: bytes, expiry: int, now: int) -> None:
        """Remember a call, and forget those that can't come again."""
        while self._by_expiry and self._by_expiry[0][0] < now:
            self._ids.discard(heapq.heappop(self._by_expiry)[1])
        if request_id not in self._ids:
            self._ids.add(request_id)
            heapq.heappush(self._by_expiry, (expiry, request_id))

    def __contains__(self, request_id: bytes) -> bool:
        """True when the call was accepted and has not expired since."""
        return request_id in self._ids

    def __len__(self) -> int:
        """Calls that are remembered."""
        return len(self._ids)
