"""The management canister ``aaaaa-aa``: its queue, who may call which method, and its queries.

What the methods do is in the other ``management_`` modules; the table of them is in `management_calls`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from localnet import accounts, candid, management_code, management_methods, management_settings, management_snapshots
from localnet.candid import CandidError
from localnet.canister import CallMessage, Canister, IngressOrigin, Visibility
from localnet.errors import BadRequest, ErrorCode, Reject
from localnet.installer import Installer
from localnet.management_calls import METHODS, Access, Call, Deferred, Method
from localnet.message import Rejection, Reply
from localnet.principal import to_text

if TYPE_CHECKING:
    from localnet.network import Network, Subnet

# Importing them registers their methods.
_ = (management_code, management_methods, management_settings, management_snapshots)

QUERIES = {"canister_status", "canister_info", "fetch_canister_logs"}
"""Methods that can be called as queries, by users and not by composite queries."""
DELAYED_FEE_BYTES = 366
"""``update_settings`` with an argument of at most this size is paid for after it was executed, so that it can
unfreeze a canister (replica, ``MAX_DELAYED_INGRESS_COST_PAYLOAD_SIZE``)."""


class Management:
    """The management canister of a network (one queue for all of its subnets)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.installer = Installer(network)
        self.queue: deque[CallMessage] = deque()

    # Calls -------------------------------------------------------------------------------------------

    def admit_ingress(
        self, sender: bytes, name: str, arg: bytes, effective: bytes | None
    ) -> tuple[Canister | None, Subnet]:
        """Who pays for a user's call, and the subnet it goes to. Raises `Reject` when it cannot be accepted."""
        method, value = self._decode(name, arg)
        if method.access in (Access.CANISTERS, Access.LOCAL_CANISTERS):
            raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, f"Only canisters can call ic00 method {name}")
        if method.access is Access.LOG_VIEWER:
            text = f"{name} API is not accessible via ingress in replicated mode"
            raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)
        network = self.network
        if method.target is None:
            return None, self._subnet_for(effective)
        canister = network.canister(value[method.target])
        subnet = network.subnets[canister.subnet]
        if method.access is Access.ANYONE:
            return None, subnet
        if not _allowed(method.access, canister, sender):
            raise Reject(
                ErrorCode.CANISTER_INVALID_CONTROLLER,
                f"Only controllers of canister {to_text(canister.id)} can call ic00 method {name}",
            )
        return (None if _pays_later(name, arg) else canister), subnet

    def _subnet_for(self, effective: bytes | None) -> Subnet:
        network = self.network
        if not effective:
            return network.default_subnet()
        subnet = network.subnets.get(effective) or network.subnet_of(effective)
        if subnet is None:
            raise BadRequest(f"{to_text(effective)} is neither a subnet nor an id of one's canisters")
        return subnet

    def _decode(self, name: str, arg: bytes) -> tuple[Method, Any]:
        method = METHODS.get(name)
        if method is None:
            raise Reject(ErrorCode.CANISTER_METHOD_NOT_FOUND, f"Management canister has no method '{name}'")
        if method.argument is None:
            return method, None
        try:
            return method, candid.decode(arg, [method.argument])[0]
        except CandidError as error:
            raise Reject(ErrorCode.INVALID_MANAGEMENT_PAYLOAD, f"Error decoding candid: {error}") from error

    def step(self) -> bool:
        """Execute the next call. False when there is none."""
        if not self.queue:
            return False
        message = self.queue.popleft()
        if self.network.scheduler.drop_expired(message):
            return True
        respond = self.network.scheduler.respond
        cycles = message.cycles
        try:
            method, value = self._decode(message.method, message.arg)
            call = self._admit(message, method, value)
            try:
                reply = method.handler(self, call, value)
                if call.by_user and _pays_later(message.method, message.arg):
                    self._collect_fee(call.target, message)
            except Deferred:
                return True
            finally:
                cycles = call.cycles
        except Reject as reject:
            respond(message.origin, Rejection.of(reject), cycles)
            return True
        respond(message.origin, Reply(reply), cycles)
        return True

    def _admit(self, message: CallMessage, method: Method, value: Any) -> Call:
        """Find the canister a call is about and check access. Raises `Reject`."""
        network = self.network
        caller = message.origin.caller
        canister = None if method.target is None else network.canister(value[method.target])
        subnet = network.subnets[message.subnet]
        if not isinstance(message.origin, IngressOrigin):
            home = network.subnets[network.canisters[caller].subnet]
            if method.access is Access.LOCAL_CANISTERS and home not in (subnet, network.nns):
                raise Reject(
                    ErrorCode.CANISTER_CONTRACT_VIOLATION,
                    f"Incorrect sender subnet id: {to_text(home.id)}. Sender should be on the same subnet or on the "
                    "NNS subnet.",
                )
        if canister is not None and canister.subnet != subnet.id:
            raise Reject(ErrorCode.CANISTER_NOT_FOUND, f"Canister {to_text(canister.id)} not found")
        if canister is not None:
            self.check_access(method.access, canister, caller)
        return Call(message.origin, subnet, message.cycles, canister)

    def _collect_fee(self, canister: Canister, message: CallMessage) -> None:
        """Charge for the reception of a call that was executed; who froze himself by it gets it for nothing."""
        prices = self.network.prices_of(canister)
        fee = prices.ingress(self.network.ingress_size(message.method, message.arg))
        with contextlib.suppress(Reject):
            accounts.withdraw(canister, fee, prices)
            self.network.burned += fee

    # Queries -----------------------------------------------------------------------------------------

    def query(self, sender: bytes, name: str, arg: bytes) -> bytes:
        """Evaluate a query call to the management canister. Raises `Reject`."""
        if name not in QUERIES:
            raise Reject(
                ErrorCode.CANISTER_METHOD_NOT_FOUND, f"Query method {name} not found on the management canister"
            )
        method, value = self._decode(name, arg)
        canister = self.network.canister(value[method.target])
        self.check_access(method.access, canister, sender)
        call = Call(IngressOrigin(b"", sender), self.network.subnets[canister.subnet], 0, canister)
        return method.handler(self, call, value)

    # Access ------------------------------------------------------------------------------------------

    @staticmethod
    def check_access(access: Access, canister: Canister, caller: bytes) -> None:
        """Raise `Reject` unless the caller may call a method with this access about the canister."""
        if _allowed(access, canister, caller):
            return
        if access is Access.LOG_VIEWER:
            text = f"Caller {to_text(caller)} is not allowed to access canister logs"
            raise Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)
        controllers = " ".join(sorted(to_text(c) for c in canister.settings.controllers))
        raise Reject(
            ErrorCode.CANISTER_INVALID_CONTROLLER,
            f"Only the controllers of the canister {to_text(canister.id)} can control it.\n"
            f"Canister's controllers: {controllers}\nSender's ID: {to_text(caller)}",
        )


def _allowed(access: Access, canister: Canister, caller: bytes) -> bool:
    settings = canister.settings
    if access in (Access.ANYONE, Access.CANISTERS, Access.LOCAL_CANISTERS):
        return True
    if caller in settings.controllers:
        return True
    if access is Access.CONTROLLER_OR_SELF:
        return caller == canister.id
    if access is Access.STATUS_VIEWER:
        return caller == canister.id or _visible(settings.status_visibility, caller)
    if access is Access.LOG_VIEWER:
        return _visible(settings.log_visibility, caller)
    if access is Access.SNAPSHOT_VIEWER:
        return _visible(settings.snapshot_visibility, caller)
    return False


def _visible(visibility: Visibility, caller: bytes) -> bool:
    kind, viewers = visibility
    return kind == "public" or caller in (viewers or [])


def _pays_later(name: str, arg: bytes) -> bool:
    return name == "update_settings" and len(arg) <= DELAYED_FEE_BYTES
