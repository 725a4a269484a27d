"""Messages between subnets: sent in one round, they arrive in the next, in the order they were sent.

Finds the subnet a call goes to, too. What happens to a message once it arrived is the scheduler's business.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from localnet import candid
from localnet.canister import CallMessage, Canister, ResponseMessage
from localnet.errors import ErrorCode, Reject
from localnet.message import OutgoingCall, Rejection
from localnet.principal import MANAGEMENT, to_text

if TYPE_CHECKING:
    from localnet.network import Network, Subnet

_ABOUT = candid.record(target_canister=candid.opt(candid.PRINCIPAL), canister_id=candid.opt(candid.PRINCIPAL))
"""The fields by which management calls say which canister they are about, in order of precedence."""


class Streams:
    """The messages on their way from one subnet of a network to another."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.messages: deque[tuple[bytes, CallMessage | ResponseMessage]] = deque()
        """Canister id (or the management canister's) and what it is to receive, oldest first."""

    def deliver(self) -> None:
        """Let everything that was sent before this round arrive."""
        for _ in range(len(self.messages)):
            to, message = self.messages.popleft()
            receiver = self._network.canisters.get(to)
            if to == MANAGEMENT and isinstance(message, CallMessage):
                self._network.management.queue.append(message)
            elif isinstance(message, ResponseMessage):
                self._network.scheduler.receive(to, message)
            elif receiver is not None:
                receiver.queue.append(message)
            else:
                self._network.scheduler.respond(message.origin, not_found(to), message.cycles)

    def destination(self, canister: Canister, call: OutgoingCall) -> Subnet | None:
        """The subnet a canister's call goes to; None when no subnet has the callee's id in its range."""
        network = self._network
        if call.callee == MANAGEMENT:
            about = _about(call)
            home = network.subnet_of(about) if about is not None else None
            return home or network.subnets[canister.subnet]
        callee = network.canisters.get(call.callee)
        if callee is not None:
            return network.subnets[callee.subnet]
        return network.subnets.get(call.callee) or network.subnet_of(call.callee)


def _about(call: OutgoingCall) -> bytes | None:
    try:
        (value,) = candid.decode(bytes(call.data), [_ABOUT])
    except candid.CandidError:
        return None
    return value["target_canister"] or value["canister_id"]


def not_found(canister_id: bytes) -> Rejection:
    """The response to a call to a canister that does not exist."""
    return Rejection.of(Reject(ErrorCode.CANISTER_NOT_FOUND, f"Canister {to_text(canister_id)} not found"))
