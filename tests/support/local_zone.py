"""A zone canister on a network in this process: for what no client can set or see, instruction limits and instructions.

Not for what a client does: that is tested through the pocket_ic client (`zones`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ic.principal import Principal

from localnet import management_types as types
from localnet.message import Reply
from tests.localnet.direct import Direct
from tests.support.actor import init_argument
from tests.support.builds import Built
from tests.support.local_canister import LocalCanister
from tests.support.zones import TEAM, member, public_key, zone_init

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


class LocalZone(LocalCanister):
    """An installed zone; `admin` and the members 1 to 3 have joined."""

    def __init__(self, build: Built, cycles: int | None = None):
        self.local = Direct()
        canister = self.local.create(cycles, sender=TEAM.bytes, controllers=[TEAM.bytes])
        super().__init__(self.local.network, canister, build.did, member(0))
        argument = init_argument(build.did, zone_init())
        value = {"mode": ("install", None), "canister_id": self.canister.id, "wasm_module": build.wasm, "arg": argument}
        self.local.manage("install_code", types.INSTALL, value, TEAM.bytes)
        self.join(0, 400)
        for number in range(1, 4):
            self.join(number, 200)

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

    def state(self, *, ciphertexts: bool = False) -> dict[str, Any]:
        """What the stores hold, as replies to the admin, and the certified data; all ciphertexts if asked for."""
        reads = dict([*READS.items(), ALL_MESSAGES] if ciphertexts else READS.items())
        found: dict[str, Any] = {method: self.raw(method, *values) for method, values in reads.items()}
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
