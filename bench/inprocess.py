"""An agent of a network in this process, and what the benchmarks' zones are made with. Not for tests.

For a zone that is filled and metered see `bench.message_zone`.
"""

from __future__ import annotations

from localnet import candid as c
from localnet.message import Reply
from localnet.network import Network
from localnet.outcalls import HttpReply
from localnet.principal import MANAGEMENT
from zones import zone_code
from zones.agent import Agent

ZONE_ID = "0x90851525ee3b126e27ad74e381f9dc9c38f92319"
HOST = "contract.zone.test"
"""Where zones look up roles."""
CIPHERTEXT_BYTES = 232
T = 10**12
ROLE = b'{"jsonrpc":"2.0","id":1,"result":"0x' + (400).to_bytes(32, "big").hex().encode() + b'"}'
"""The contract's answer to a role lookup: an admin's role."""

_CREATED = c.record(canister_id=c.PRINCIPAL)


class DirectAgent:
    """An agent that calls a network in this process, as `caller`, and meters the last call."""

    def __init__(self, network: Network, caller: bytes):
        self.network = network
        self.caller = caller
        self.instructions = 0

    def sender(self) -> bytes:
        """Return the principal the calls come from."""
        return self.caller

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        """Ask a canister."""
        target = self.network.canister(canister)
        before = target.query_instructions
        reply = self.network.query(self.caller, canister, method, argument)
        self.instructions = target.query_instructions - before
        return reply

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        """Call and run rounds until the reply is there; role lookups are answered with an admin's role."""
        rid = self.network.submit(self.caller, canister, method, argument, effective)
        self.instructions = 0
        while self.network.ingress[rid].response is None:
            for number in list(self.network.outcalls.pending):
                self.network.answer_outcall(number, [HttpReply(200, [], ROLE)])
            self.network.tick()
            self.instructions += self.network.scheduler.instructions
        return self.reply(rid)

    def reply(self, rid: bytes) -> bytes:
        """The reply to an answered call."""
        response = self.network.ingress[rid].response
        if not isinstance(response, Reply):
            raise SystemExit(f"a call was rejected: {response}")
        return response.data


def create(agent: Agent, cycles: int) -> bytes:
    """An empty canister with cycles, created through an agent; returns its id."""
    kind = c.record(amount=c.opt(c.NAT))
    argument = c.encode([kind], [{"amount": cycles}])
    reply = agent.update(MANAGEMENT, "provisional_create_canister_with_cycles", argument)
    return c.decode(reply, [_CREATED])[0]["canister_id"]


def zone_argument() -> bytes:
    """The init argument of a zone."""
    return zone_code.zone_argument(MANAGEMENT, ZONE_ID, HOST, "/", None)


def accesses(network: Network, canister: bytes) -> tuple[int, int, int, int]:
    """Stable reads, bytes read, writes and bytes written of a canister so far; zeros before it is installed."""
    runtime = network.canister(canister).runtime
    return (0, 0, 0, 0) if runtime is None else runtime.stable.accesses()
