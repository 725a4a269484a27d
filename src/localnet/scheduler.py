"""Executes messages: calls, responses, timers and heartbeats, round by round, one message at a time.

Owns call contexts, callbacks and queues. What a message may do is in `system_api`, how it is undone in
`runtime`, what management methods do in `management`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localnet import accounts
from localnet.admission import entry_point, wasm_memory_error
from localnet.canister import (
    Callback,
    CallContext,
    CallMessage,
    CallOrigin,
    Canister,
    IngressOrigin,
    LowMemory,
    Origin,
    ResponseMessage,
    Status,
    TaskOrigin,
)
from localnet.errors import ErrorCode, Reject
from localnet.message import CanisterView, Context, Mode, OutgoingCall, Rejection, Reply, Response
from localnet.prices import MAX_REMOTE_CALL_BYTES
from localnet.principal import MANAGEMENT, to_text
from localnet.runtime import Outcome, Runtime
from localnet.streams import not_found

if TYPE_CHECKING:
    from localnet.network import Network

MAX_MESSAGES_PER_ROUND = 10_000
"""Messages after which a round ends however little they did: canisters can call each other for ever."""
STOP_TIMEOUT = 5 * 60 * 1_000_000_000
"""Nanoseconds after which a request to stop a canister is given up (IC interface specification)."""


class Scheduler:
    """Runs the canisters of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.instructions = 0
        """Instructions executed in the current round."""
        self._spent: dict[bytes, int] = {}
        """Instructions each subnet has executed of what its round has room for."""

    # Rounds ------------------------------------------------------------------------------------------

    def round(self) -> None:
        """Execute one round: time-driven work first, then messages until none is left or the round is full."""
        network = self._network
        self.instructions = 0
        self._new_budget()
        network.streams.deliver()
        network.outcalls.deliver()
        for canister in list(network.canisters.values()):
            self._charge(canister)
            self._time_out_stops(canister)
            if canister.deadlines:
                self._expire(canister)
            self._tasks(canister)
        # Of its own: otherwise heartbeats alone could keep every message waiting.
        self._new_budget()
        budget = MAX_MESSAGES_PER_ROUND
        progress = True
        while progress and budget > 0:
            progress = self._manage()
            for canister in self._in_turn():
                if canister.queue and self._has_room(canister.subnet):
                    self.step(canister)
                    progress = True
                    budget -= 1
                    if budget <= 0 or not self._has_room(canister.subnet):
                        network.subnets[canister.subnet].full_at = canister.id
                    if budget <= 0:
                        break

    def _new_budget(self) -> None:
        self._spent = dict.fromkeys(self._network.subnets, 0)

    def _has_room(self, subnet: bytes) -> bool:
        return self._spent[subnet] < self._network.limits.round

    def spend(self, subnet: bytes, instructions: int) -> None:
        """Count instructions a subnet executed."""
        self.instructions += instructions
        self._spent[subnet] = self._spent.get(subnet, 0) + instructions

    def _manage(self) -> bool:
        """Execute the next management call, if there is one and its subnet's round has room."""
        management = self._network.management
        return bool(management.queue) and self._has_room(management.queue[0].subnet) and management.step()

    def _in_turn(self) -> list[Canister]:
        """All canisters; on a subnet whose round was full first those that come after its last message."""
        network = self._network
        marks = {subnet.id: subnet.full_at for subnet in network.subnets.values() if subnet.full_at}
        if not marks:
            return list(network.canisters.values())
        passed: list[Canister] = []
        ahead: list[Canister] = []
        for canister in network.canisters.values():
            (passed if canister.subnet in marks else ahead).append(canister)
            if marks.get(canister.subnet) == canister.id:
                del marks[canister.subnet]
        return ahead + passed

    @property
    def busy(self) -> bool:
        """True when another round has something to do at once."""
        network = self._network
        now = network.clock.now
        return bool(network.management.queue or network.streams.messages) or any(
            canister.queue or 0 < canister.armed_timer <= now for canister in network.canisters.values()
        )

    def _charge(self, canister: Canister) -> None:
        network = self._network
        if not accounts.charge_for_time(network, canister):
            network.management.installer.run_dry(canister)

    def _time_out_stops(self, canister: Canister) -> None:
        for waiter in list(canister.stop_waiters):
            origin, cycles, since = waiter
            if self._network.clock.now - since >= STOP_TIMEOUT:
                canister.stop_waiters.remove(waiter)
                text = f"Stop canister request timed out for canister {to_text(canister.id)}"
                self.respond(origin, Rejection.of(Reject(ErrorCode.STOP_CANISTER_REQUEST_TIMEOUT, text)), cycles)

    def _expire(self, canister: Canister) -> None:
        """Reject the calls whose best-effort response did not come in time; what still comes is dropped."""
        now = self._network.clock.now
        for callback, deadline in list(canister.deadlines.items()):
            if deadline < now:
                del canister.deadlines[callback]
                reject = Reject(ErrorCode.DEADLINE_EXPIRED, "Call deadline has expired.")
                canister.queue.append(ResponseMessage(callback, Rejection.of(reject), 0))

    def _tasks(self, canister: Canister) -> None:
        if canister.status is not Status.RUNNING or canister.module is None:
            return
        if canister.settings.wasm_memory_threshold:
            self._watch_memory(canister)
        if 0 < canister.armed_timer <= self._network.clock.now:
            if "canister_global_timer" not in canister.module.exports:
                canister.global_timer = 0
            else:
                self._task(canister, "canister_global_timer")
        if "canister_heartbeat" in canister.module.exports:
            self._task(canister, "canister_heartbeat")

    def _watch_memory(self, canister: Canister) -> None:
        """Run the canister's hook when its remaining Wasm memory has fallen below the threshold."""
        if not canister.is_low_on_memory:
            canister.low_memory = LowMemory.NO
        elif canister.low_memory is LowMemory.NO:
            canister.low_memory = LowMemory.READY
        runs = canister.status is Status.RUNNING and canister.module is not None
        if runs and canister.low_memory is LowMemory.READY and self._task(canister, "canister_on_low_wasm_memory"):
            canister.low_memory = LowMemory.EXECUTED

    def _task(self, canister: Canister, export: str) -> bool:
        """Run a system task the canister may have. False when the canister cannot pay for it now."""
        if canister.module is None or export not in canister.module.exports:
            return True
        message = CallMessage(TaskOrigin(MANAGEMENT), export, b"")
        return self._execute(canister, message, Mode.TASK, export)

    def step(self, canister: Canister) -> None:
        """Execute the next message of a canister's queue."""
        if canister.settings.wasm_memory_threshold:
            self._watch_memory(canister)
        message = canister.queue.popleft()
        if isinstance(message, ResponseMessage):
            self._execute_response(canister, message)
            return
        if self.drop_expired(message):
            return
        try:
            mode, export = entry_point(canister, message)
        except Reject as reject:
            self.respond(message.origin, Rejection.of(reject), message.cycles)
            return
        self._execute(canister, message, mode, export)

    # Executions --------------------------------------------------------------------------------------

    def context(self, canister: Canister, mode: Mode, limit: int) -> Context:
        """A context with the facts every execution sees."""
        network = self._network
        memory = accounts.allocated(canister)
        view = CanisterView(
            id=canister.id,
            subnet=canister.subnet,
            controllers=frozenset(canister.settings.controllers),
            status=int(canister.status),
            version=canister.version,
            freezing_cycles=accounts.freezing_cycles_of(canister, network.prices_of(canister), memory),
            memory=memory,
            environment=canister.settings.environment_variables,
        )
        return Context(
            mode=mode,
            canister=view,
            time=network.clock.now,
            limit=limit,
            balance=canister.cycles,
            global_timer=canister.global_timer,
            outstanding=dict(canister.outstanding),
        )

    def _execute(self, canister: Canister, message: CallMessage, mode: Mode, export: str) -> bool:
        """Execute a call or task in a new call context. False when the canister could not pay for it."""
        network = self._network
        runtime = canister.runtime
        assert runtime is not None
        prices = network.prices_of(canister)
        limit = network.limits.update
        prepaid = prices.execution(limit)
        try:
            accounts.withdraw(canister, prepaid, prices)
        except Reject as reject:
            self.respond(message.origin, Rejection.of(reject), message.cycles)
            return False
        if export == "canister_global_timer":
            canister.global_timer = 0
        call_context = CallContext(message.origin, message.cycles)
        number = canister.next_context
        canister.next_context += 1
        canister.contexts[number] = call_context
        context = self.context(canister, mode, limit)
        context.caller = message.origin.caller
        context.arg = message.arg
        context.method = message.method
        context.deadline = _deadline(message.origin) if mode is Mode.UPDATE else 0
        context.cycles_available = message.cycles
        runtime.begin(context)
        outcome = runtime.run_export(export)
        error = self._settle(canister, runtime, outcome, number)
        canister.cycles += prepaid
        accounts.burn(network, canister, prices.execution(outcome.instructions))
        self._conclude(canister, number, error)
        return True

    def _execute_response(self, canister: Canister, message: ResponseMessage) -> None:
        callback = canister.callbacks.pop(message.callback, None)
        canister.cycles += message.refund
        if callback is None:
            return
        network = self._network
        prices = network.prices_of(canister)
        callee = callback.call.callee
        canister.outstanding[callee] = canister.outstanding.get(callee, 1) - 1
        if canister.outstanding[callee] <= 0:
            del canister.outstanding[callee]
        cost = accounts.response_cost(message.response, prices)
        call_context = canister.contexts.get(callback.context)
        runtime = canister.runtime
        if call_context is None or runtime is None:
            self._give_back(canister, callback.call, cost)
            self._after_context(canister)
            return
        call_context.outstanding -= 1
        call = callback.call
        replied = isinstance(message.response, Reply)
        context = self._callback_context(canister, call_context, Mode.REPLY if replied else Mode.REJECT)
        context.cycles_refunded = message.refund
        if isinstance(message.response, Reply):
            context.arg = message.response.data
        else:
            context.reject = message.response
        runtime.begin(context)
        outcome = runtime.run_callback(*call.closure(replied=replied))
        error = self._settle(canister, runtime, outcome, callback.context)
        used = outcome.instructions
        if error is not None and call.cleanup is not None:
            used += self._clean_up(canister, runtime, call, callback.context, context, error)
        self._give_back(canister, call, cost + prices.execution(used))
        self._conclude(canister, callback.context, error)

    def _give_back(self, canister: Canister, call: OutgoingCall, cost: int) -> None:
        """Return what was set aside for a call's response, less what the response cost."""
        rest = max(0, call.prepaid - cost)
        canister.cycles += rest
        self._network.burned += call.prepaid - rest

    def _callback_context(self, canister: Canister, call_context: CallContext, mode: Mode) -> Context:
        context = self.context(canister, mode, self._network.limits.update)
        context.caller = call_context.origin.caller
        context.deadline = _deadline(call_context.origin)
        context.cycles_available = call_context.cycles
        context.responded = call_context.responded or isinstance(call_context.origin, TaskOrigin)
        context.instructions_before = call_context.instructions
        return context

    def _clean_up(
        self, canister: Canister, runtime: Runtime, call: OutgoingCall, number: int, failed: Context, error: Reject
    ) -> int:
        """Run a call's clean-up function after its callback trapped; returns the instructions used."""
        assert call.cleanup is not None
        context = self._callback_context(canister, canister.contexts[number], Mode.CLEANUP)
        context.reject = failed.reject
        runtime.begin(context)
        outcome = runtime.run_callback(*call.cleanup)
        second = self._settle(canister, runtime, outcome, number)
        if second is not None:
            error.message += f"\n\ncall_on_cleanup also failed:\n\n{second.message}"
        return outcome.instructions

    def _settle(self, canister: Canister, runtime: Runtime, outcome: Outcome, number: int) -> Reject | None:
        """Keep or undo what an execution did, and apply its effects. Returns the error if it failed."""
        context = runtime.context
        self.spend(canister.subnet, outcome.instructions)
        call_context = canister.contexts[number]
        call_context.instructions += outcome.instructions
        canister.add_logs(context.logs, self._network.clock.now)
        self._network.log(canister, context.logs)
        error = outcome.error or self._memory_error(canister, context)
        if error is not None:
            runtime.undo()
            return error
        if context.mode is Mode.REPLICATED_QUERY:
            runtime.undo()
        else:
            runtime.keep()
            canister.version += 1
        self.apply(canister, context)
        call_context.cycles = context.cycles_available
        for call in context.calls:
            self._send(canister, number, call)
        if context.response is not None:
            call_context.responded = True
            self.respond(call_context.origin, context.response, call_context.cycles)
            call_context.cycles = 0
        return None

    def _memory_error(self, canister: Canister, context: Context) -> Reject | None:
        """The error of a message that left the canister with more memory than it may have or can pay for."""
        if context.mode is Mode.UPDATE:
            error = wasm_memory_error(canister, canister.heap_bytes)
            if error is not None:
                return error
        if context.mode is Mode.REPLICATED_QUERY:
            return None
        try:
            self._take_memory(canister, context)
        except Reject as reject:
            text = f"Error from Canister {to_text(canister.id)}: {reject.message}"
            return Reject(reject.error_code, text)
        return None

    def _take_memory(self, canister: Canister, context: Context) -> None:
        """Reserve cycles for the memory a message took. Raises `Reject` when the canister may not have it."""
        network = self._network
        before, after = context.canister.memory, accounts.allocated(canister)
        if after <= before:
            return
        need = accounts.freezing_cycles_of(canister, network.prices_of(canister), after)
        if context.mode not in (Mode.REPLY, Mode.REJECT, Mode.CLEANUP) and context.balance < need:
            raise accounts.cannot_grow(after - before, need - context.balance)
        try:
            reservation = accounts.growth_reservation(network, canister, before, after)
        except Reject as reject:
            raise Reject(ErrorCode.CANISTER_OUT_OF_MEMORY, "Canister exceeded its allowed memory") from reject
        accounts.check_reservation(canister, after - before, reservation, context.balance)
        context.balance -= reservation
        context.reserved = reservation

    def apply(self, canister: Canister, context: Context) -> None:
        """Apply balance, certified data and timer of an execution that ended well."""
        if context.pending is not None:
            context.balance += context.pending.cycles
        canister.cycles = context.balance
        canister.reserved += context.reserved
        self._network.burned += context.burned
        if context.certified_data is not None:
            canister.certified_data = context.certified_data
        canister.global_timer = context.global_timer or 0

    def _conclude(self, canister: Canister, number: int, error: Reject | None) -> None:
        """Answer a call context that can no longer answer itself, and drop it when nothing is outstanding."""
        call_context = canister.contexts.get(number)
        if call_context is None:
            return
        if call_context.outstanding == 0:
            if not call_context.responded:
                reject = error or Reject(
                    ErrorCode.CANISTER_DID_NOT_REPLY,
                    f"Error from Canister {to_text(canister.id)}: Canister did not reply to the call",
                )
                self.respond(call_context.origin, Rejection.of(reject), call_context.cycles)
            del canister.contexts[number]
        self._after_context(canister)

    def _after_context(self, canister: Canister) -> None:
        if canister.status is Status.STOPPING and not canister.contexts and not canister.callbacks:
            canister.status = Status.STOPPED
            canister.version += 1
            for origin, cycles, _ in canister.stop_waiters:
                self.respond(origin, Reply(b"DIDL\x00\x00"), cycles)
            canister.stop_waiters.clear()

    def finish_stopping(self, canister: Canister) -> None:
        """Turn a stopping canister into a stopped one if nothing is open."""
        self._after_context(canister)

    # Routing -----------------------------------------------------------------------------------------

    def _send(self, canister: Canister, number: int, call: OutgoingCall) -> None:
        callback = canister.next_callback
        canister.next_callback += 1
        canister.callbacks[callback] = Callback(number, call)
        canister.contexts[number].outstanding += 1
        canister.outstanding[call.callee] = canister.outstanding.get(call.callee, 0) + 1
        if call.deadline:
            canister.deadlines[callback] = call.deadline
        network = self._network
        network.burned += call.fee
        home = network.streams.destination(canister, call)
        manages = call.callee == MANAGEMENT or call.callee in network.subnets
        remote = home is not None and home.id != canister.subnet
        origin = CallOrigin(canister.id, callback, remote, call.deadline)
        message = CallMessage(origin, call.method, bytes(call.data), call.cycles, home.id if home and manages else b"")
        size = len(call.data) + len(call.method.encode())
        callee = network.canisters.get(call.callee)
        if remote and size > MAX_REMOTE_CALL_BYTES:
            reject = Reject(
                ErrorCode.CANISTER_CONTRACT_VIOLATION,
                f"Canister {to_text(canister.id)} violated contract: attempted to send a message of size {size} "
                f"exceeding the limit {MAX_REMOTE_CALL_BYTES}",
            )
            self.respond(replace(origin, remote=False), Rejection.of(reject), call.cycles)
        elif remote:
            network.streams.messages.append((MANAGEMENT if manages else call.callee, message))
        elif manages:
            network.management.queue.append(message)
        elif callee is not None:
            callee.queue.append(message)
        else:
            self.respond(origin, not_found(call.callee), call.cycles)

    def respond(self, origin: Origin, response: Response, refund: int) -> None:
        """Deliver the response of a call to whoever made it, with the cycles nobody accepted."""
        network = self._network
        if isinstance(origin, IngressOrigin):
            network.finish_ingress(origin.request_id, response)
        elif isinstance(origin, CallOrigin):
            message = ResponseMessage(origin.callback, response, refund, best_effort=bool(origin.deadline))
            if origin.remote:
                network.streams.messages.append((origin.caller, message))
            else:
                self.receive(origin.caller, message)

    def receive(self, caller: bytes, message: ResponseMessage) -> None:
        """Queue the response of a call for its caller, unless the caller has given up waiting."""
        canister = self._network.canisters.get(caller)
        if canister is None:
            self._network.burned += message.refund
            return
        if message.best_effort and canister.deadlines.pop(message.callback, None) is None:
            canister.cycles += message.refund
            return
        canister.queue.append(message)

    def drop_expired(self, message: CallMessage) -> bool:
        """Drop a call whose caller has given up waiting for it; its cycles go back. True if that was so."""
        origin = message.origin
        if not isinstance(origin, CallOrigin) or not 0 < origin.deadline < self._network.clock.now:
            return False
        caller = self._network.canisters.get(origin.caller)
        if caller is None:
            self._network.burned += message.cycles
        else:
            caller.cycles += message.cycles
        return True


def _deadline(origin: Origin) -> int:
    return origin.deadline if isinstance(origin, CallOrigin) else 0
