"""The management canister ``aaaaa-aa``: its queue, who may call which method, and its queries.

What the methods do is in `management_methods`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from localnet import candid
from localnet import management_types as types
from localnet.candid import CandidError
from localnet.canister import CallMessage, Canister, IngressOrigin
from localnet.errors import BadRequest, ErrorCode, Reject
from localnet.installer import Installer
from localnet.management_methods import CANISTERS_ONLY, FREE_INGRESS, METHODS, OWN, TARGETS, Call, Deferred
from localnet.message import Rejection, Reply
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.network import Network, Subnet


class Management:
    """The management canister of a network (one queue for all of its subnets)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.installer = Installer(network)
        self.queue: deque[CallMessage] = deque()

    # Calls -------------------------------------------------------------------------------------------

    def admit_ingress(
        self, sender: bytes, method: str, arg: bytes, effective: bytes | None
    ) -> tuple[Canister | None, Subnet]:
        """Who pays for a user's call, and the subnet it goes to. Raises `Reject` when it cannot be accepted."""
        value = self._decode(method, arg)
        if method in CANISTERS_ONLY:
            raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, f"Only canisters can call ic00 method {method}")
        network = self.network
        if method == "provisional_create_canister_with_cycles":
            return None, self._subnet_for(effective)
        target = value[TARGETS.get(method, "canister_id")]
        canister = network.canister(target)
        if method not in FREE_INGRESS and sender not in canister.settings.controllers:
            raise Reject(
                ErrorCode.CANISTER_INVALID_CONTROLLER,
                f"Only controllers of canister {to_text(target)} can call ic00 method {method}",
            )
        return (None if method in FREE_INGRESS else canister), network.subnets[canister.subnet]

    def _subnet_for(self, effective: bytes | None) -> Subnet:
        network = self.network
        if not effective:
            return network.default_subnet()
        subnet = network.subnets.get(effective) or network.subnet_of(effective)
        if subnet is None:
            raise BadRequest(f"{to_text(effective)} is neither a subnet nor an id of one's canisters")
        return subnet

    def _decode(self, method: str, arg: bytes) -> Any:
        if method not in METHODS:
            raise Reject(ErrorCode.CANISTER_METHOD_NOT_FOUND, f"Management canister has no method '{method}'")
        argument, _ = METHODS[method]
        if argument is None:
            return None
        try:
            return candid.decode(arg, [argument])[0]
        except CandidError as error:
            raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, f"Error decoding candid: {error}") from error

    def step(self) -> bool:
        """Execute the next call. False when there is none."""
        if not self.queue:
            return False
        message = self.queue.popleft()
        network = self.network
        call = Call(message.origin, self._subnet_of(message), message.cycles)
        try:
            value = self._decode(message.method, message.arg)
            if call.by_user and message.method in CANISTERS_ONLY:
                raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, f"Only canisters can call {message.method}")
            reply = METHODS[message.method][1](self, call, value)
        except Deferred:
            return True
        except Reject as reject:
            network.scheduler.respond(message.origin, Rejection.of(reject), call.cycles)
            return True
        network.scheduler.respond(message.origin, Reply(reply), call.cycles)
        return True

    def _subnet_of(self, message: CallMessage) -> Subnet:
        network = self.network
        if isinstance(message.origin, IngressOrigin):
            entry = network.ingress[message.origin.request_id]
            return network.subnets[entry.subnet]
        return network.subnets[network.canisters[message.origin.caller].subnet]

    def query(self, sender: bytes, method: str, arg: bytes) -> bytes:
        """Evaluate a query call to the management canister. Raises `Reject`."""
        if method != "fetch_canister_logs":
            raise Reject(
                ErrorCode.CANISTER_METHOD_NOT_FOUND, f"Query method {method} not found on the management canister"
            )
        value = self._decode(method, arg)
        canister = self.network.canister(value["canister_id"])
        kind, viewers = canister.settings.log_visibility
        allowed = kind == "public" or sender in canister.settings.controllers or sender in (viewers or [])
        if not allowed:
            raise Reject(
                ErrorCode.CANISTER_REJECTED_MESSAGE, f"Caller {to_text(sender)} is not allowed to access canister logs"
            )
        records = [
            {"idx": record.index, "timestamp_nanos": record.time, "content": record.content} for record in canister.logs
        ]
        return candid.encode([types.LOGS], [{"canister_log_records": records}])

    def target(self, call: Call, canister_id: bytes, method: str) -> Canister:
        """The canister a call is about, if the caller controls it (or is it, where that is enough)."""
        canister = self.network.canister(canister_id)
        if call.caller in canister.settings.controllers or (method in OWN and call.caller == canister_id):
            return canister
        controllers = " ".join(sorted(to_text(c) for c in canister.settings.controllers))
        raise Reject(
            ErrorCode.CANISTER_INVALID_CONTROLLER,
            f"Only the controllers of the canister {to_text(canister_id)} can control it.\n"
            f"Canister's controllers: {controllers}\nSender's ID: {to_text(call.caller)}",
        )
