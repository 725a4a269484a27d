"""One network: its subnets, canisters, clock and ingress history, and the calls the front ends make into it.

Everything here runs under `Network.lock`; the front ends take it in worker threads. It executes nothing
itself: messages are `scheduler`'s, queries are `queries`', management methods are `management`'s.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from localnet import accounts, principal, state_tree
from localnet.admission import check_running, module_of
from localnet.canister import CallMessage, Canister, IngressOrigin
from localnet.certificates import Certifier, NodeKey
from localnet.clock import GENESIS, Clock
from localnet.envelope import request_id
from localnet.errors import BadRequest, ErrorCode, Reject
from localnet.ingress import Ingress, IngressHistory
from localnet.journal import Recorder, recorded
from localnet.management import Management
from localnet.message import Mode, Rejection, Reply, Response
from localnet.modules import ModuleCache
from localnet.outcalls import HttpReply, Outcalls, answer_of, plain_answer
from localnet.prices import FREE, MAX_INGRESS_BYTES, MAX_REPLY_BYTES, WASM_PAGE, Capacity, Limits, Prices
from localnet.principal import MANAGEMENT, to_text
from localnet.queries import Queries
from localnet.replays import Replays
from localnet.runtime import Services, Shims, SnapshotPool
from localnet.scheduler import Scheduler
from localnet.streams import Streams
from localnet.waiting import Waiting

logger = logging.getLogger("localnet")

RANGE_SIZE = 1 << 20
"""Canister ids per subnet."""
INGRESS_OVERHEAD_BYTES = 100

QUERY_STATISTICS = ("query_calls", "query_instructions", "query_request_bytes", "query_response_bytes")

NAMED_KINDS = {"nns": "NNS", "sns": "SNS", "ii": "II", "fiduciary": "Fiduciary", "bitcoin": "Bitcoin"}
LISTED_KINDS = {
    "system": "System",
    "application": "Application",
    "verified_application": "VerifiedApplication",
}
FREE_KINDS = {"NNS", "SNS", "II", "Bitcoin", "System"}
SPECIFIED_ID_KINDS = {"NNS", "SNS", "II", "Fiduciary", "Bitcoin"}
_FIRST_IDS = {"NNS": 0, "Bitcoin": 0x1A00000, "SNS": 0x2000000, "II": 0x700000, "Fiduciary": 0x2300000}
_LAST_RANGE = 0xFFFFFFFFFFE00000


@dataclass
class Subnet:
    """A subnet: its kind, key, and range of canister ids."""

    id: bytes
    kind: str
    seed: bytes
    first: int
    certifier: Certifier
    node: NodeKey
    next_index: int = 0
    full_at: bytes = b""
    """The canister whose message was the last of a round that had no room for more."""

    @property
    def last(self) -> int:
        """Number of the last canister id of the range."""
        return self.first + RANGE_SIZE - 1


class Network:
    """An Internet Computer of a few subnets.

    ``kinds`` are the kinds of its subnets (see `LISTED_KINDS`, `NAMED_KINDS`); ``seed`` fixes keys, ids and
    randomness: the same seed and the same calls give the same network.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        modules: ModuleCache,
        *,
        seed: int = 0,
        limits: Limits | None = None,
        capacity: Capacity | None = None,
        shims: Shims | None = None,
        verbose: bool = False,
    ) -> None:
        self.lock = threading.RLock()
        self.work = threading.Event()
        """Set when something arrived that the next round would act on."""
        self.clock = Clock(GENESIS)
        self.limits = limits or Limits()
        self.capacity = capacity or Capacity()
        """Of each of its subnets."""
        self.modules = modules
        self.shims = shims or Shims(modules.engine)
        self.pool = SnapshotPool()
        self.prices = Prices()
        self.seed = seed
        self.verbose = verbose
        self.round_number = 0
        self.minted = 0
        """Cycles made out of nothing so far."""
        self.burned = 0
        """Cycles charged so far: what is minted and not burned is in balances, or on its way in a call."""
        self.canisters: dict[bytes, Canister] = {}
        self.ingress = IngressHistory()
        self.subnets: dict[bytes, Subnet] = {}
        self.certified: dict[bytes, state_tree.CertifiedState] = {}
        self.queried: set[bytes] = set()
        """Canisters whose query statistics changed since the last round."""
        self.recorder: Recorder | None = None
        """Notes everything that reaches the network from outside, where its state is kept in a folder."""
        self._nonce = 0
        self._random_count = 0
        self._add_subnets(list(kinds))
        self.certified_parts = state_tree.CertifiedParts(self)
        self.waiting = Waiting(self)
        self.scheduler = Scheduler(self)
        self.streams = Streams(self)
        self.management = Management(self)
        self.outcalls = Outcalls(self)
        self.queries = Queries(self)
        self.replays = Replays()

    def _add_subnets(self, kinds: list[str]) -> None:
        unnamed = 0
        for position, kind in enumerate(kinds):
            seed = hashlib.sha256(b"subnet %d %d %s" % (self.seed, position, kind.encode())).digest()
            certifier = Certifier(seed)
            first = _FIRST_IDS.get(kind, _LAST_RANGE - unnamed * RANGE_SIZE)
            unnamed += kind not in _FIRST_IDS
            subnet = Subnet(certifier.subnet_id, kind, seed, first, certifier, NodeKey(seed))
            self.subnets[subnet.id] = subnet
        root = next((s for s in self.subnets.values() if s.kind == "NNS"), next(iter(self.subnets.values())))
        self.root = root

    @property
    def nns(self) -> Subnet | None:
        """The subnet whose canisters may create canisters everywhere, if there is one."""
        return self.root if self.root.kind == "NNS" else None

    # Facts -------------------------------------------------------------------------------------------

    def prices_of(self, canister: Canister) -> Prices:
        """The price table of a canister's subnet."""
        return self.prices_on(self.subnets[canister.subnet])

    def prices_on(self, subnet: Subnet) -> Prices:
        """The price table of a subnet."""
        return FREE if subnet.kind in FREE_KINDS else self.prices

    def services(self, canister_prices: Prices) -> Services:
        """What a runtime needs from this network."""
        return Services(
            modules=self.modules,
            prices=canister_prices,
            data_certificate=self._data_certificate,
            root_key=lambda: self.root.certifier.der_public_key,
            call_cost=lambda call: accounts.call_cost(call, canister_prices, self.limits),
        )

    def _data_certificate(self, canister_id: bytes) -> bytes:
        return state_tree.data_certificate(self, canister_id)

    def subnet_of(self, canister_id: bytes) -> Subnet | None:
        """The subnet whose range holds the canister id, whether or not the canister exists."""
        index = principal.canister_index(canister_id)
        if index is None:
            return None
        return next((s for s in self.subnets.values() if s.first <= index <= s.last), None)

    def home_of(self, specified: bytes) -> Subnet:
        """The subnet to create a canister with a specified id on. Raises `Reject` when that is not possible."""
        home = self.subnet_of(specified)
        if home is None or home.kind not in SPECIFIED_ID_KINDS:
            raise Reject(
                ErrorCode.CANISTER_NOT_HOSTED_BY_SUBNET,
                f"The `specified_id` {to_text(specified)} is invalid: only subnets of the kinds "
                f"{', '.join(sorted(SPECIFIED_ID_KINDS))} create canisters with an id in their range",
            )
        if specified in self.canisters:
            text = f"Canister {to_text(specified)} is already installed."
            raise Reject(ErrorCode.CANISTER_ID_ALREADY_EXISTS, text)
        return home

    def allocate_id(self, subnet: Subnet) -> bytes:
        """A free canister id on a subnet. Raises `Reject`."""
        while subnet.next_index < RANGE_SIZE:
            canister_id = principal.canister_id(subnet.first + subnet.next_index)
            subnet.next_index += 1
            if canister_id not in self.canisters:
                return canister_id
        raise Reject(ErrorCode.SUBNET_OVERSUBSCRIBED, f"subnet {to_text(subnet.id)} has no canister ids left")

    def default_subnet(self) -> Subnet:
        """Where canisters go when nobody said where: the first application subnet, else the first of all."""
        subnets = list(self.subnets.values())
        for kind in ("Application", "VerifiedApplication", "System"):
            for subnet in subnets:
                if subnet.kind == kind:
                    return subnet
        return subnets[0]

    def canister(self, canister_id: bytes) -> Canister:
        """The canister with that id. Raises `Reject` (not found)."""
        canister = self.canisters.get(canister_id)
        if canister is None:
            raise Reject(ErrorCode.CANISTER_NOT_FOUND, f"Canister {to_text(canister_id)} not found")
        return canister

    def random(self, size: int = 32) -> bytes:
        """The next bytes of the network's deterministic randomness."""
        self._random_count += 1
        return hashlib.shake_256(b"random %d %d" % (self.seed, self._random_count)).digest(size)

    def log(self, canister: Canister, lines: list[bytes]) -> None:
        """Show a canister's log lines to the operator when asked to."""
        if self.verbose:
            for line in lines:
                logger.info("[%s] %s", to_text(canister.id), line.decode(errors="replace"))

    @property
    def failure(self) -> str | None:
        """Why the network has stopped: it may hold what its state folder could not take in."""
        return None if self.recorder is None else self.recorder.failure

    def check(self) -> None:
        """Raise `BadRequest` (503) when the network has stopped: what it holds must not be told then."""
        if self.failure is not None:
            raise BadRequest(self.failure, 503)

    # Rounds ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Execute one round."""
        self._round(self.clock.next_round(), self._query_statistics())
        self.waiting.tell()

    def _query_statistics(self) -> list[list[Any]]:
        """What queries changed since the last round: they are not recorded one by one."""
        touched = [self.canisters[found] for found in sorted(self.queried) if found in self.canisters]
        self.queried.clear()
        return [[c.id, *(getattr(c, name) for name in QUERY_STATISTICS)] for c in touched]

    @recorded()
    def _round(self, now: int, query_statistics: list[list[Any]]) -> list[int]:
        """Execute one round at that time. Returns figures in which another execution would differ."""
        for canister_id, *figures in query_statistics:
            for name, figure in zip(QUERY_STATISTICS, figures, strict=True):
                setattr(self.canisters[canister_id], name, figure)
        self.work.clear()
        self.round_number += 1
        self.clock.now = now
        self.scheduler.round()
        self.ingress.forget(now)
        self.certified.clear()
        return [self.scheduler.instructions, self.burned, sum(c.cycles for c in self.canisters.values())]

    @recorded(ValueError)
    def set_time(self, nanoseconds: int) -> None:
        """Set virtual time. Raises ``ValueError`` when that would be before the current time."""
        self.clock.set(nanoseconds)

    @recorded()
    def set_limits(self, limits: list[int], capacity: list[int]) -> None:
        """Change the limits of messages and the capacity of subnets, given in the order of their fields."""
        self.limits, self.capacity = Limits(*limits), Capacity(*capacity)

    # Ingress and queries -------------------------------------------------------------------------------

    def submit(
        self,
        sender: bytes,
        callee: bytes,
        method: str,
        arg: bytes,
        effective: bytes | None = None,
        rid: bytes | None = None,
        expiry: int = 0,
    ) -> bytes:
        """Take a call into the ingress history and its canister's queue. Returns the request id.

        ``effective`` says where a call to the management canister goes (canister or subnet id). ``rid`` and
        ``expiry`` are a signed call's, by which it is known when it comes again. Raises
        `Reject` when the call cannot be accepted, `BadRequest` when it is no possible call at all.
        """
        if len(arg) + len(method.encode()) > MAX_INGRESS_BYTES:
            raise BadRequest(f"request of {len(arg)} bytes is too large, at most {MAX_INGRESS_BYTES} are allowed", 413)
        fresh = rid is None
        if rid is None:
            rid = request_id(
                {
                    "request_type": "call",
                    "canister_id": callee,
                    "method_name": method,
                    "arg": arg,
                    "sender": sender,
                    "nonce": (self._nonce + 1).to_bytes(8, "big"),
                    "ingress_expiry": self.clock.now,
                }
            )
        if rid in self.ingress:
            return rid
        self.ingress.check_room(len(arg) + len(method.encode()))
        if callee == MANAGEMENT or callee in self.subnets:
            payer, subnet = self.management.admit_ingress(sender, method, arg, effective)
        else:
            payer = self.canister(callee)
            subnet = self.subnets[payer.subnet]
            check_running(payer)
            self._inspect(payer, sender, method, arg)
        self._accept(
            rid,
            None if fresh else expiry,
            sender,
            callee,
            method,
            arg,
            effective,
            subnet.id,
            None if payer is None else payer.id,
        )
        return rid

    @staticmethod
    def ingress_size(method: str, arg: bytes) -> int:
        """Bytes an ingress message is charged for."""
        return len(arg) + len(method.encode()) + INGRESS_OVERHEAD_BYTES

    @recorded(Reject)
    def _accept(
        self,
        rid: bytes,
        expiry: int | None,
        sender: bytes,
        callee: bytes,
        method: str,
        arg: bytes,
        effective: bytes | None,
        subnet: bytes,
        payer_id: bytes | None,
    ) -> None:
        """Take in a call that was found acceptable, if its payer can pay. Raises `Reject` (out of cycles).

        ``expiry`` is None where the request id was made here.
        """
        if payer_id is not None:
            payer = self.canisters[payer_id]
            prices = self.prices_of(payer)
            fee = prices.ingress(self.ingress_size(method, arg))
            accounts.withdraw(payer, fee, prices)
            self.burned += fee
        if expiry is None:
            self._nonce += 1
        else:
            self.replays.add(rid, expiry, self.clock.now)
        home = effective if callee == MANAGEMENT and effective else callee
        size = len(arg) + len(method.encode())
        self.ingress.add(Ingress(rid, sender, callee, home, subnet, self.clock.now, size))
        message = CallMessage(IngressOrigin(rid, sender), method, arg)
        if callee == MANAGEMENT or callee in self.subnets:
            message.subnet = subnet
            self.management.queue.append(message)
        else:
            self.canisters[callee].queue.append(message)
        self.work.set()

    def _inspect(self, canister: Canister, sender: bytes, method: str, arg: bytes) -> None:
        module = module_of(canister)
        if "canister_inspect_message" not in module.exports or canister.runtime is None:
            return
        context = self.scheduler.context(canister, Mode.INSPECT, self.limits.inspect)
        context.caller, context.method, context.arg = sender, method, arg
        canister.runtime.begin(context)
        outcome = canister.runtime.run_export("canister_inspect_message")
        canister.runtime.undo()
        self.log(canister, context.logs)
        if outcome.error is not None:
            raise outcome.error
        if not context.message_accepted:
            raise Reject(
                ErrorCode.CANISTER_REJECTED_MESSAGE,
                f"Error from Canister {to_text(canister.id)}: Canister rejected the message",
            )

    def finish_ingress(self, rid: bytes, response: Response) -> None:
        """Record the response of a call from outside."""
        if isinstance(response, Reply) and len(response.data) > MAX_REPLY_BYTES:
            raise AssertionError("the system API bounds replies")
        self.ingress.answer(rid, response, self.clock.now)

    # Other inputs --------------------------------------------------------------------------------------

    @recorded()
    def add_cycles(self, canister_id: bytes, amount: int) -> int:
        """Give an existing canister cycles out of nothing; returns its balance."""
        canister = self.canisters[canister_id]
        accounts.mint(self, canister, amount)
        return canister.cycles

    @recorded()
    def set_stable_memory(self, canister_id: bytes, content: bytes) -> None:
        """Replace the stable memory of a canister that has code by whole pages."""
        runtime = self.canisters[canister_id].runtime
        assert runtime is not None
        runtime.set_stable(content + bytes(-len(content) % WASM_PAGE))

    def answer_outcall(self, number: int, answers: list[HttpReply | Rejection]) -> bool:
        """Hand in the response to an outcall (or each node's). False when no such outcall is pending."""
        if not self.outcalls.waits(number):
            return False
        self._answer_outcall(number, [plain_answer(answer) for answer in answers])
        return True

    @recorded()
    def _answer_outcall(self, number: int, answers: list[list[Any]]) -> None:
        self.outcalls.answer(number, [answer_of(plain) for plain in answers])

    def query(self, sender: bytes, callee: bytes, method: str, arg: bytes) -> bytes:
        """Evaluate a query and return its reply. Raises `Reject`."""
        self.check()
        if callee == MANAGEMENT:
            return self.management.query(sender, method, arg)
        return self.queries.run(self.canister(callee), sender, method, arg)
