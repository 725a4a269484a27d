"""A canister on a network in this process, called with raw bytes: for what no client can send, set or see.

An update comes as another canister's call does, which nobody inspects; what it cost is told. Not for what a client
does: that is tested through the pocket_ic client (`actor`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ic.principal import Principal

from canister_build import candid as did
from localnet import candid as wire
from localnet.canister import CallMessage, Canister, IngressOrigin
from localnet.errors import Reject
from localnet.ingress import Ingress
from localnet.message import Reply
from localnet.network import Network
from localnet.outcalls import HttpReply
from tests.support.actor import argument_types, result_types
from tests.support.zones import role_answer

MAX_ROUNDS = 20


@dataclass(frozen=True)
class Answer:
    """What a call led to: a reply, or the text of a reject, and the instructions that the canister took for it."""

    reply: bytes | None
    reject: str
    instructions: int


class LocalCanister:
    """An installed canister; `admin` is who reads."""

    def __init__(self, network: Network, canister: Canister, interface: str, admin: Principal):
        self.network = network
        self.canister = canister
        self.interface = did.parse(interface)
        self.methods = self.interface.methods()
        self.admin = admin
        self._numbers = 0

    def answer_outcalls(self, role: int) -> None:
        """Answers all role lookups that wait."""
        for number in list(self.network.outcalls.pending):
            self.network.answer_outcall(number, [HttpReply(200, [], role_answer(role))])

    def encode(self, method: str, *values: Any) -> bytes:
        """The arguments of a method in Candid."""
        return wire.encode(argument_types(self.interface, method), list(values))

    def raw(self, method: str, *values: Any) -> bytes:
        """What a query answers the admin, as it came."""
        return self.network.query(self.admin.bytes, self.canister.id, method, self.encode(method, *values))

    def read(self, method: str, *values: Any) -> Any:
        """What a query answers the admin."""
        (result,) = wire.decode(self.raw(method, *values), result_types(self.interface, method))
        return result

    def is_query(self, method: str) -> bool:
        """Whether the interface calls it a query."""
        return self.methods[method].mode in ("query", "composite_query")

    def call(self, method: str, payload: bytes, sender: Principal) -> Answer:
        """Calls a method with raw bytes; an update as another canister's call reaches it, which nobody inspects."""
        if self.is_query(method):
            return self._query(method, payload, sender)
        self._numbers += 1
        rid = b"call %d" % self._numbers
        target = self.canister
        size = len(payload) + len(method)
        self.network.ingress.add(
            Ingress(rid, sender.bytes, target.id, target.id, target.subnet, self.network.clock.now, size)
        )
        target.queue.append(CallMessage(IngressOrigin(rid, sender.bytes), method, payload))
        before = self._executed()
        for _ in range(MAX_ROUNDS):
            self.network.tick()
            response = self.network.ingress[rid].response
            if isinstance(response, Reply):
                return Answer(response.data, "", self._executed() - before)
            if response is not None:
                return Answer(None, response.message, self._executed() - before)
            self.answer_outcalls(200)
        raise TimeoutError(f"{method} was not answered in {MAX_ROUNDS} rounds")

    def _executed(self) -> int:
        assert self.canister.runtime is not None
        return sum(self.canister.runtime.executed)

    def _query(self, method: str, payload: bytes, sender: Principal) -> Answer:
        before = self.canister.query_instructions
        try:
            reply, reject = self.network.query(sender.bytes, self.canister.id, method, payload), ""
        except Reject as rejected:
            reply, reject = None, rejected.message
        return Answer(reply, reject, self.canister.query_instructions - before)
