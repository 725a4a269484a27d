"""The ingress history: calls from outside, their answers, and how many of both are held at once.

Where calls are executed and who may read their answers is known elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from localnet.errors import ErrorCode, Reject
from localnet.image import TRANSIENT
from localnet.message import Reply, Response

KEPT = 10 * 60 * 1_000_000_000
"""Nanoseconds an answered call stays in the ingress history."""
MAX_ANSWERED = 10_000
"""Answered calls that are held before the oldest go early: virtual time may stand still."""
MAX_ANSWER_BYTES = 1 << 30
"""Bytes of answers that are held before the oldest go early (a replica has 4 GiB of them)."""
MAX_WAITING_BYTES = 1 << 30
"""Bytes of calls that wait for their answer; no more are accepted then."""
ENTRY_BYTES = 1024
"""What a call takes besides its method's name and argument, and an answer besides its data."""


@dataclass
class Ingress:
    """The ingress history's entry for one call."""

    request_id: bytes
    sender: bytes
    callee: bytes
    effective: bytes
    subnet: bytes
    received: int
    size: int
    """Bytes of the method's name and the argument."""
    response: Response | None = None
    answered: int = 0
    certified: bool = field(default=False, metadata=TRANSIENT)
    """True once the certified state has an entry for it."""


class IngressHistory(Mapping[bytes, Ingress]):
    """The calls of one network by request id, oldest first. Its network's lock must be held."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Ingress] = {}
        self.waiting_bytes = 0
        """Taken by calls without an answer."""
        self.answer_bytes = 0
        self._answered: deque[bytes] = deque()
        """Answered calls in the order of their answers."""
        self.changed: set[bytes] = set()
        """Calls whose entry came, changed or went since the certified state last took them in."""

    def __getitem__(self, request_id: bytes) -> Ingress:
        return self.entries[request_id]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def check_room(self, size: int) -> None:
        """Raise `Reject` when a call of ``size`` bytes cannot wait here besides the others."""
        if self.waiting_bytes + size + ENTRY_BYTES > MAX_WAITING_BYTES:
            raise Reject(
                ErrorCode.INGRESS_HISTORY_FULL,
                f"Maximum ingress history capacity {MAX_WAITING_BYTES} reached: calls of {self.waiting_bytes} bytes "
                "wait for their answers",
            )

    def add(self, entry: Ingress) -> None:
        """Take a call in that has no answer yet."""
        self.entries[entry.request_id] = entry
        self.changed.add(entry.request_id)
        self.waiting_bytes += entry.size + ENTRY_BYTES

    def answer(self, request_id: bytes, response: Response, now: int) -> None:
        """Record the response to a call."""
        entry = self.entries[request_id]
        assert entry.response is None
        entry.response = response
        entry.answered = now
        self.waiting_bytes -= entry.size + ENTRY_BYTES
        self.answer_bytes += _size(response)
        self._answered.append(request_id)
        self.changed.add(request_id)

    def forget(self, now: int) -> None:
        """Drop answered calls that are too old or too many, oldest answers first."""
        while self._answered:
            entry = self.entries[self._answered[0]]
            fits = len(self._answered) <= MAX_ANSWERED and self.answer_bytes <= MAX_ANSWER_BYTES
            if fits and now - entry.answered < KEPT:
                return
            assert entry.response is not None
            self.answer_bytes -= _size(entry.response)
            self._answered.popleft()
            del self.entries[entry.request_id]
            if entry.certified:
                self.changed.add(entry.request_id)
            else:
                self.changed.discard(entry.request_id)


def _size(response: Response) -> int:
    return ENTRY_BYTES + len(response.data if isinstance(response, Reply) else response.message.encode())
