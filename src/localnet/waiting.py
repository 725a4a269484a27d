"""Who waits for the answers of calls from outside: told at the end of the round that gives them, without polling.

Waiting is no part of a network's state; what the answers are, `ingress` knows, and how they are proved `state_tree`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from localnet import state_tree

if TYPE_CHECKING:
    from localnet.network import Network

Answer = Callable[["state_tree.CertifiedState"], None]
"""Takes the certified state that holds a call's answer. Called by the thread that executes rounds; must not fail."""


class Waiting:
    """Those who wait on one network. Its lock must be held."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._calls: dict[bytes, list[Answer]] = {}

    def add(self, request_id: bytes, answer: Answer) -> None:
        """Have ``answer`` told when a call of the ingress history has its answer: at once if it has it already.

        Raises `BadRequest` (503) when the network has stopped.
        """
        self._network.check()
        if self._network.ingress[request_id].response is not None:
            answer(self._state(request_id))
        else:
            self._calls.setdefault(request_id, []).append(answer)

    def remove(self, request_id: bytes, answer: Answer) -> None:
        """Wait no longer, if it was not told yet."""
        answers = self._calls.get(request_id, [])
        if answer in answers:
            answers.remove(answer)
            if not answers:
                del self._calls[request_id]

    def tell(self) -> None:
        """Tell those whose calls have been answered. What they are told must be recorded by now."""
        history = self._network.ingress
        for request_id in list(self._calls):
            entry = history.get(request_id)
            if entry is not None and entry.response is None:
                continue
            answers = self._calls.pop(request_id)
            # An answer may be forgotten in the round that gave it: then there is nothing to tell.
            for answer in answers if entry is not None else []:
                answer(self._state(request_id))

    def _state(self, request_id: bytes) -> state_tree.CertifiedState:
        network = self._network
        return state_tree.current(network, network.subnets[network.ingress[request_id].subnet])
