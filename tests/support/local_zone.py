"""A zone canister on a network in this process: for what no client can set or see, instruction limits and instructions.

Calls are raw bytes. Not for what a client does: that is tested through the pocket_ic client (`zones`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ic.principal import Principal

from canister_build import candid as did
from localnet import candid as wire
from localnet import management_types as types
from localnet.canister import CallMessage, IngressOrigin
from localnet.errors import Reject
from localnet.ingress import Ingress
from localnet.message import Reply
from localnet.outcalls import HttpReply
from tests.localnet.direct import Direct
from tests.support.actor import argument_types, init_argument, result_types
from tests.support.builds import Built
from tests.support.zones import TEAM, member, public_key, role_answer, zone_init

MAX_ROUNDS = 20
READS: dict[str, tuple[Any, ...]] = {
    "get_messages_meta_by_range": (0, 2**32 - 1),
    "get_digest_page": (0,),
    "get_message_limits": (),
    "get_eviction_info": (),
    "get_member_quota": (),
    "get_my_quota_use": (),
}
"""Queries whose replies tell about the stores, beside the status, the head and the messages themselves."""
ALL_MESSAGES = ("get_messages_by_range", (0, 2**32 - 1))


@dataclass(frozen=True)
class Answer:
    """What a call led to: a reply, or the text of a reject, and the instructions of all its messages."""

    reply: bytes | None
    reject: str
    instructions: int


class LocalZone:
    """An installed zone; `admin` and the members 1 to 3 have joined."""

    def __init__(self, build: Built, cycles: int | None = None):
        self.local = Direct()
        self.network = self.local.network
        self.interface = did.parse(build.did)
        self.methods = self.interface.methods()
        self.canister = self.local.create(cycles, sender=TEAM.bytes, controllers=[TEAM.bytes])
        argument = init_argument(build.did, zone_init())
        value = {"mode": ("install", None), "canister_id": self.canister.id, "wasm_module": build.wasm, "arg": argument}
        self.local.manage("install_code", types.INSTALL, value, TEAM.bytes)
        self.admin = self.join(0, 400)
        for number in range(1, 4):
            self.join(number, 200)
        self._numbers = 0

    def join(self, number: int, role: int) -> Principal:
        """Makes a principal a member of the zone."""
        payload = self.encode("update_role", public_key(number))
        entry = self.network.ingress[
            self.network.submit(member(number).bytes, self.canister.id, "update_role", payload)
        ]
        self.network.tick()
        self.answer_outcalls(role)
        while entry.response is None:
            self.network.tick()
        assert isinstance(entry.response, Reply), entry.response
        return member(number)

    def answer_outcalls(self, role: int) -> None:
        """Answers all role lookups that wait."""
        for number in list(self.network.outcalls.pending):
            self.network.answer_outcall(number, [HttpReply(200, [], role_answer(role))])

    def encode(self, method: str, *values: Any) -> bytes:
        """The arguments of a method in Candid."""
        return wire.encode(argument_types(self.interface, method), list(values))

    def read(self, method: str, *values: Any) -> Any:
        """What a query answers the admin."""
        reply = self.network.query(self.admin.bytes, self.canister.id, method, self.encode(method, *values))
        (result,) = wire.decode(reply, result_types(self.interface, method))
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
        used = 0
        for _ in range(MAX_ROUNDS):
            self.network.tick()
            used += self.network.scheduler.instructions
            response = self.network.ingress[rid].response
            if isinstance(response, Reply):
                return Answer(response.data, "", used)
            if response is not None:
                return Answer(None, response.message, used)
            self.answer_outcalls(200)
        raise TimeoutError(f"{method} was not answered in {MAX_ROUNDS} rounds")

    def _query(self, method: str, payload: bytes, sender: Principal) -> Answer:
        before = self.canister.query_instructions
        try:
            reply, reject = self.network.query(sender.bytes, self.canister.id, method, payload), ""
        except Reject as rejected:
            reply, reject = None, rejected.message
        return Answer(reply, reject, self.canister.query_instructions - before)

    def state(self, *, ciphertexts: bool = False) -> dict[str, Any]:
        """What the stores hold, as replies to the admin, and the certified data; all ciphertexts if asked for."""
        reads = dict([*READS.items(), ALL_MESSAGES] if ciphertexts else READS.items())
        found: dict[str, Any] = {
            method: self.network.query(self.admin.bytes, self.canister.id, method, self.encode(method, *values))
            for method, values in reads.items()
        }
        # What a call costs and when the network certified something is not the stores' doing.
        status, head = self.read("get_aggregate_status_v1"), self.read("get_certified_head")
        found["status"] = {**status, "cycles_balance": 0}
        found["head"] = {**head, "certificate": None}
        return {**found, "certified data": self.canister.certified_data}

    @contextmanager
    def update_limit(self, instructions: int) -> Iterator[None]:
        """Lets no message of an update, a callback or a timer take more instructions than that."""
        usual = self.network.limits
        self.network.limits = replace(usual, update=instructions)
        try:
            yield
        finally:
            self.network.limits = usual
