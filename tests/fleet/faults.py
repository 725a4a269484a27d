"""Makes one call of one canister go wrong, and keeps a record of all its calls, sites and deposits.

Reaches into a network of this process between a message and its effects; the canister runs as it is. Calls count from
0 in the order in which they leave; the same steps from the same state make the same calls, so a run without a fault
tells where the faults of the next ones go. Made for forks: nothing is put back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any

from localnet import accounts
from localnet.canister import CallMessage, CallOrigin, Canister, Status
from localnet.errors import ErrorCode, Reject
from localnet.message import Context, Mode, OutgoingCall, Rejection, Response
from localnet.principal import MANAGEMENT, to_text
from tests.fleet.inprocess import InProcess, unaccounted
from tests.fleet.sites import MARK, call_sites

SENDING = (Mode.UPDATE, Mode.REPLY, Mode.REJECT, Mode.TASK)
PAYING = ("deposit_cycles", "create_canister")
"""Methods whose cycles are on the factory's books."""
BARELY = 1_000_000
"""Cycles above the freezing threshold that a canister without cycles has."""
UNPAYABLE = 1 << 100
ANY_MESSAGE = -1


class Fault(Enum):
    """What can go wrong with a call."""

    REJECTED = "the platform rejects it"
    NO_SUCH_CANISTER = "it is rejected because its target is gone"
    TRAPPED = "its callback traps"
    UNSENT = "the caller cannot pay for sending it"
    POOR = "the caller is down to its freezing threshold when it would send it"
    CHILD_STOPPED = "the child it is about was stopped by somebody else"
    CHILD_DELETED = "the child it is about was deleted"
    UPGRADE_TRIED = "the factory is upgraded without being stopped, and refuses"
    UPGRADED = "the factory is stopped, upgraded and started as the tools do it"
    FORCED = "the factory is upgraded under the open call, its refusal skipped"


HELD = (Fault.UPGRADE_TRIED, Fault.UPGRADED, Fault.FORCED)
LOSING = (Fault.TRAPPED, Fault.FORCED)
"""Faults after which nobody learns the answer to the call."""


@dataclass(frozen=True)
class Made:
    """A call that was sent: its site, and the child that its argument names, if one."""

    site: str
    method: str
    child: bytes
    cycles: int
    message: int
    """Number of the execution that sent it, among those of the caller; ANY_MESSAGE stands for the first."""


@dataclass
class Paid:
    """A deposit that was sent, and what of it came back, None while it is open."""

    child: bytes
    attached: int
    refunded: int | None = None


class Probe:
    """Watches a canister's calls; `fault` at the call with a number, or none. Patches the network it is made on."""

    def __init__(self, network: InProcess, caller: bytes, fault: Fault | None = None, made: Made | None = None):
        self.network = network.ic
        self.caller = caller
        self.fault = self.fault_was = fault
        self.target = made
        """The call to spoil, as the run without a fault made it."""
        self.calls: list[Made] = []
        self.deposits: dict[int, Paid] = {}
        self.returns: dict[tuple[bytes, int], Paid] = {}
        """What canisters deposited to the caller, by canister and callback."""
        self.held: CallMessage | None = None
        self._held_for = b""
        self.struck = False
        self.touched = b""
        """The child that was stopped or deleted."""
        self._messages = 0
        self._number = -1
        self._withheld = 0
        self._in_message = False
        self._trapping = -1
        self._patch()

    def _patch(self) -> None:
        scheduler = self.network.scheduler
        self._send, scheduler._send = scheduler._send, self._on_send  # type: ignore[method-assign]
        self._context, scheduler.context = scheduler.context, self._on_context  # type: ignore[method-assign]
        self._apply, scheduler.apply = scheduler.apply, self._on_apply  # type: ignore[method-assign]
        self._respond, scheduler.respond = scheduler.respond, self._on_respond  # type: ignore[method-assign]
        self._execute_response = scheduler._execute_response
        scheduler._execute_response = self._on_response  # type: ignore[method-assign]
        self._call_cost, accounts.call_cost = accounts.call_cost, self._on_call_cost

    def stop(self) -> None:
        """No more faults; the record goes on."""
        self.fault = None

    # Executions --------------------------------------------------------------------------------------

    def _on_context(self, canister: Canister, mode: Mode, limit: int) -> Context:
        context = self._context(canister, mode, limit)
        self._in_message = canister.id == self.caller and mode in SENDING
        if not self._in_message:
            return context
        self._messages += 1
        self._withheld = 0
        if mode in (Mode.REPLY, Mode.REJECT) and self._trapping >= 0 and self.fault is Fault.TRAPPED:
            self._trapping = -1
            context.limit = 1
            self.struck = True
        if self.fault is Fault.POOR and self._is_the_sending_message():
            self._withheld = context.balance - context.canister.freezing_cycles - BARELY
            context.balance -= self._withheld
            self.struck = True
        return context

    def _on_apply(self, canister: Canister, context: Context) -> None:
        self._apply(canister, context)
        if canister.id == self.caller:
            canister.cycles += self._withheld
            self._withheld = 0

    def _is_the_sending_message(self) -> bool:
        return self.target is not None and self._messages - 1 == self.target.message

    def _on_response(self, canister: Canister, message: Any) -> None:
        if canister.id == self.caller and message.callback == self._number:
            self._trapping = message.callback
        self._execute_response(canister, message)

    def _on_call_cost(self, call: OutgoingCall, *others: Any) -> tuple[int, int]:
        is_ours = self._in_message and call.callee != self.caller
        if is_ours and self.fault is Fault.UNSENT and self._is_the_sending_message():
            self.struck = True
            return UNPAYABLE, UNPAYABLE
        return self._call_cost(call, *others)

    # Calls -------------------------------------------------------------------------------------------

    def _on_send(self, canister: Canister, number: int, call: OutgoingCall) -> None:
        self._send(canister, number, call)
        callback = canister.next_callback - 1
        if call.method == "deposit_cycles" and self.caller in bytes(call.data):
            self.returns[canister.id, callback] = Paid(canister.id, call.cycles)
        if canister.id != self.caller or call.callee == self.caller:
            return
        site, child = self._site_of(canister, call), self._child_of(call)
        made = Made(site, call.method, child, call.cycles, self._messages - 1)
        if call.method in PAYING:
            self.deposits[callback] = Paid(made.child, call.cycles)
        self.calls.append(made)
        if self.fault is not None and not self.struck and self._is_target(made):
            self._strike(call, callback, made)

    def _is_target(self, made: Made) -> bool:
        target = self.target
        return target is not None and made.site == target.site and target.message in (ANY_MESSAGE, made.message)

    def _site_of(self, canister: Canister, call: OutgoingCall) -> str:
        """The site of a call: a message's marks and calls come in one order; marks of unsent calls have none."""
        assert canister.runtime is not None
        context = canister.runtime.context
        methods = {site.name: site.method for site in call_sites()}
        logged = [line.decode() for line in context.logs]
        marks = [line.removeprefix(MARK) for line in logged if line.startswith(MARK)]
        for sent in [one for one in context.calls if one.callee != self.caller]:
            while marks and methods[marks[0]] != sent.method:
                marks.pop(0)
            assert marks, f"{call.method} was called from a place that the enumeration of sites does not know"
            site = marks.pop(0)
            if sent is call:
                return site
        raise AssertionError(f"{call.method} is no call of this message")

    def _child_of(self, call: OutgoingCall) -> bytes:
        """The canister other than the caller that a call is about."""
        if call.callee != MANAGEMENT:
            return call.callee
        found = [one for one in self.network.canisters if one != self.caller and one in bytes(call.data)]
        return found[0] if found and call.method != "create_canister" else b""

    def _strike(self, call: OutgoingCall, callback: int, made: Made) -> None:
        fault = self.fault
        if fault is Fault.TRAPPED:
            self._number = callback
        elif fault in (Fault.REJECTED, Fault.NO_SUCH_CANISTER):
            message = self._take_back(call)
            code = ErrorCode.CANISTER_QUEUE_FULL if fault is Fault.REJECTED else ErrorCode.CANISTER_NOT_FOUND
            rejection = Rejection.of(Reject(code, f"injected: {fault.value}"))
            self.network.scheduler.respond(message.origin, rejection, message.cycles)
            self.struck = True
        elif fault in HELD:
            self.held = self._take_back(call)
            self._held_for = call.callee
            self.struck = True
        elif fault in (Fault.CHILD_STOPPED, Fault.CHILD_DELETED) and made.child in self.network.canisters:
            self._touch(self.network.canisters[made.child])

    def _touch(self, child: Canister) -> None:
        self.struck = True
        self.touched = child.id
        if self.fault is Fault.CHILD_STOPPED:
            child.status = Status.STOPPED
        else:
            before = unaccounted(self.network)
            accounts.drain(self.network, child)
            del self.network.canisters[child.id]
            # What its open calls set aside is gone with it: the platform would have had it stopped first.
            self.network.burned += unaccounted(self.network) - before

    def _take_back(self, call: OutgoingCall) -> CallMessage:
        """Takes the call that was sent last out of its callee's queue."""
        message = self._queue_of(call.callee).pop()
        assert isinstance(message, CallMessage), f"a response is last in the queue of {to_text(call.callee)}"
        return message

    def _queue_of(self, callee: bytes) -> deque[Any]:
        return self.network.management.queue if callee == MANAGEMENT else self.network.canisters[callee].queue

    def release(self) -> None:
        """Lets the call that is held go on."""
        message, self.held = self.held, None
        assert message is not None
        self._queue_of(self._held_for).append(message)

    def _on_respond(self, origin: Any, response: Response, refund: int) -> None:
        if isinstance(origin, CallOrigin) and origin.caller == self.caller and origin.callback in self.deposits:
            self.deposits[origin.callback].refunded = refund
        if isinstance(origin, CallOrigin) and (origin.caller, origin.callback) in self.returns:
            self.returns[origin.caller, origin.callback].refunded = refund
        self._respond(origin, response, refund)

    # What the deposits came to --------------------------------------------------------------------------

    def arrived(self, child: bytes | None = None) -> int:
        """What deposits brought to a child, or to all."""
        paid = [one for one in self.deposits.values() if child is None or one.child == child]
        return sum(one.attached - one.refunded for one in paid if one.refunded is not None)

    def returned(self) -> int:
        """What children deposited to the caller."""
        return sum(one.attached - one.refunded for one in self.returns.values() if one.refunded is not None)
