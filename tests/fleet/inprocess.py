"""A network in this process with the interface of `tests.support.network`, and forks of it.

For tests that look into the network, make its parts fail, or try many things from one state: `forked` runs a function
on a copy of the whole process, so that what is set up once is tried a hundred times. Not for a genuine PocketIC.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ic.principal import Principal

from localnet import network as localnet
from localnet.errors import ErrorCode, Reject, RejectCode, camel_case
from localnet.message import Rejection, Reply
from localnet.modules import ModuleCache
from localnet.outcalls import HttpReply
from localnet.principal import MANAGEMENT
from localnet.runtime import Shims
from localnet.system_api import signatures
from tests.support.network import ANONYMOUS, CallRejected, Network

MODULES = ModuleCache(signatures())
SHIMS = Shims(MODULES.engine)
T = TypeVar("T")


def packed_anew(module: bytes, level: int) -> bytes:
    """The same module under another hash, which is compiled already."""
    other = gzip.compress(gzip.decompress(module), level, mtime=0)
    digest = hashlib.sha256(other).digest()
    MODULES._compiled[digest] = replace(MODULES.get(module), hash=digest, source=other)
    return other


class InProcess(Network):
    """A network of one application subnet; `ic` is the network itself."""

    def __init__(self, seed: int = 0):
        self.is_localnet = True
        self.ic = localnet.Network(("Application",), MODULES, shims=SHIMS, seed=seed)

    def close(self) -> None:
        """Nothing is left open."""

    def query(
        self, canister_id: Principal | None, method: str, payload: bytes = b"", sender: Principal = ANONYMOUS
    ) -> bytes:
        """Query; returns the raw reply."""
        target = MANAGEMENT if canister_id is None else canister_id.bytes
        try:
            return self.ic.query(sender.bytes, target, method, payload)
        except Reject as reject:
            raise rejected(Rejection.of(reject)) from reject

    def submit(
        self,
        canister_id: Principal | None,
        method: str,
        payload: bytes = b"",
        sender: Principal = ANONYMOUS,
        effective: Any = None,
    ) -> Any:
        """Submit an update without executing it; returns the message id for `status` and `wait`."""
        target = MANAGEMENT if canister_id is None else canister_id.bytes
        where = None if effective is None else base64.b64decode(effective["CanisterId"])
        try:
            return self.ic.submit(sender.bytes, target, method, payload, where)
        except Reject as reject:
            raise rejected(Rejection.of(reject)) from reject

    def status(self, message_id: Any) -> bytes | None:
        """The reply to a submitted update, or None while there is none. Raises `CallRejected`."""
        response = self.ic.ingress[message_id].response
        if response is None:
            return None
        if isinstance(response, Reply):
            return response.data
        raise rejected(response)

    def tick(self, rounds: int = 1) -> None:
        """Execute rounds."""
        for _ in range(rounds):
            self.ic.tick()

    def time(self) -> int:
        """Nanoseconds since 1970 on the network."""
        return self.ic.clock.now

    def advance(self, seconds: float) -> None:
        """Move time forward and execute a round."""
        self.ic.clock.set(self.ic.clock.now + int(seconds * 1e9))
        self.tick()

    def settle(self, rounds: int = 50) -> None:
        """Execute rounds until nothing is left to do at once."""
        for _ in range(rounds):
            if not self.ic.scheduler.busy:
                return
            self.tick()
        raise TimeoutError(f"the network is busy after {rounds} rounds")

    def cycles(self, canister_id: Principal) -> int:
        """The cycles balance of a canister."""
        return self.ic.canisters[canister_id.bytes].cycles

    def add_cycles(self, canister_id: Principal, amount: int) -> int:
        """Give cycles to a canister; returns the new balance."""
        return self.ic.add_cycles(canister_id.bytes, amount)

    def exists(self, canister_id: Principal) -> bool:
        """True when the canister exists."""
        return canister_id.bytes in self.ic.canisters

    def answer_outcalls(self, body: bytes) -> None:
        """Answer every outcall that waits."""
        for number in list(self.ic.outcalls.pending):
            self.ic.answer_outcall(number, [HttpReply(200, [], body)])


def rejected(rejection: Rejection) -> CallRejected:
    """A rejection as the client of PocketIC would raise it."""
    return CallRejected(
        {
            "error_code": camel_case(ErrorCode(rejection.error_code)),
            "reject_code": camel_case(RejectCode(rejection.code)),
            "reject_message": rejection.message,
        }
    )


def unaccounted(network: localnet.Network) -> int:
    """Cycles that are neither burned nor anywhere: minted - burned - balances - what open calls carry or set aside."""
    held = 0
    for canister in network.canisters.values():
        held += canister.cycles + canister.reserved
        held += sum(context.cycles for context in canister.contexts.values())
        held += sum(callback.call.prepaid for callback in canister.callbacks.values())
        held += sum(cycles for _, cycles, _ in canister.stop_waiters)
        for message in canister.queue:
            held += getattr(message, "cycles", 0) + getattr(message, "refund", 0)
    held += sum(message.cycles for message in network.management.queue)
    return network.minted - network.burned - held


def _never_compile(path: Path, _module: bytes) -> Any:
    # The compiler's threads are not in a copy of the process: it would wait for them for ever.
    raise AssertionError(f"{path.name} is to be compiled before the process is forked: see MODULES")


def forked(function: Callable[[], T]) -> T:
    """What a function returns in a copy of this process, where nothing it does is seen here; an error of it fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        MODULES._compile = _never_compile  # type: ignore[method-assign]
        try:
            answer = (True, function())
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if not told:
        raise AssertionError("the fork ended without an answer")
    is_well, answer = pickle.loads(told)
    if not is_well:
        raise AssertionError(f"in the fork:\n{answer}")
    return answer
