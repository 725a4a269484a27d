"""Queries and composite queries: executions whose every change is dropped.

A composite query's own changes live until it ends: its callees run in between, on other canisters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.message import Context, Mode, OutgoingCall, Rejection, Reply, Response
from localnet.prices import MAX_QUERY_REPLY_BYTES
from localnet.principal import to_text
from localnet.runtime import Outcome

if TYPE_CHECKING:
    from localnet.network import Network

MAX_DEPTH = 6
"""Nested composite queries (replica configuration)."""
MAX_CALLS = 100
"""Calls one composite query may make in all: a bound of this network on runaway call trees."""


class Queries:
    """Evaluates queries on the committed state of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._active: set[bytes] = set()
        self._calls = 0

    def run(self, canister: Canister, sender: bytes, method: str, arg: bytes) -> bytes:
        """The reply of a query by a user. Raises `Reject`."""
        self._active.clear()
        self._calls = 0
        response = self._evaluate(canister, sender, method, arg, 0)
        if isinstance(response, Reply):
            return response.data
        raise Reject(ErrorCode(response.error_code), response.message, response.code)

    def transform(self, canister: Canister, method: str, arg: bytes) -> bytes:
        """The reply of an outcall's transform function, called by the management canister. Raises `Reject`."""
        return self.run(canister, b"", method, arg)

    def _evaluate(self, canister: Canister, sender: bytes, method: str, arg: bytes, depth: int) -> Response:
        network = self._network
        try:
            network.scheduler.check_running(canister)
            module = network.scheduler.module_of(canister)
            kind = module.methods.get(method)
            if kind not in ("query", "composite_query"):
                raise Reject(
                    ErrorCode.CANISTER_METHOD_NOT_FOUND,
                    f"Error from Canister {to_text(canister.id)}: Canister has no query method '{method}'.",
                )
            if canister.id in self._active:
                raise Reject(
                    ErrorCode.QUERY_CALL_GRAPH_LOOP_DETECTED,
                    f"Query call graph contains a loop: canister {to_text(canister.id)} is called again",
                )
            if depth > MAX_DEPTH:
                raise Reject(ErrorCode.QUERY_CALL_GRAPH_TOO_DEEP, f"Composite query call depth exceeds {MAX_DEPTH}")
        except Reject as reject:
            return Rejection.of(reject)
        composite = kind == "composite_query"
        mode = Mode.COMPOSITE_QUERY if composite else Mode.QUERY
        self._active.add(canister.id)
        try:
            return self._run(canister, mode, f"canister_{kind} {method}", sender, method, arg, depth)
        finally:
            self._active.discard(canister.id)

    def _context(self, canister: Canister, mode: Mode, caller: bytes) -> Context:
        context = self._network.scheduler.context(canister, mode, self._network.limits.query)
        context.caller = caller
        context.reply_limit = MAX_QUERY_REPLY_BYTES
        return context

    def _run(
        self, canister: Canister, mode: Mode, export: str, sender: bytes, method: str, arg: bytes, depth: int
    ) -> Response:
        runtime = canister.runtime
        assert runtime is not None
        context = self._context(canister, mode, sender)
        context.arg, context.method = arg, method
        used = 0
        response: Response | None = None
        runtime.begin(context, counts=False)
        try:
            outcome = runtime.run_export(export)
            pending: list[OutgoingCall] = []
            while True:
                used += outcome.instructions
                self._network.log(canister, context.logs)
                if outcome.error is not None:
                    response = Rejection.of(outcome.error)
                    break
                response = response or context.response
                pending += context.calls
                if not pending:
                    break
                call = pending.pop(0)
                answer = self._call(canister, call, depth)
                context, outcome = self._callback(canister, call, answer, sender, response is not None)
        finally:
            runtime.undo()
        if response is None:
            text = f"Error from Canister {to_text(canister.id)}: Canister did not reply to the call"
            response = Rejection.of(Reject(ErrorCode.CANISTER_DID_NOT_REPLY, text))
        self._count(canister, arg, response, used)
        return response

    def _call(self, canister: Canister, call: OutgoingCall, depth: int) -> Response:
        self._calls += 1
        callee = self._network.canisters.get(call.callee)
        if self._calls > MAX_CALLS:
            text = f"Composite query makes more than {MAX_CALLS} calls"
            return Rejection.of(Reject(ErrorCode.QUERY_CALL_GRAPH_TOO_DEEP, text))
        if callee is None or callee.subnet != canister.subnet:
            text = f"Canister {to_text(call.callee)} not found"
            return Rejection.of(Reject(ErrorCode.CANISTER_NOT_FOUND, text))
        return self._evaluate(callee, canister.id, call.method, bytes(call.data), depth + 1)

    def _callback(
        self, canister: Canister, call: OutgoingCall, answer: Response, sender: bytes, responded: bool
    ) -> tuple[Context, Outcome]:
        runtime = canister.runtime
        assert runtime is not None
        replied = isinstance(answer, Reply)
        context = self._context(canister, Mode.COMPOSITE_REPLY if replied else Mode.COMPOSITE_REJECT, sender)
        context.responded = responded
        if isinstance(answer, Reply):
            context.arg = answer.data
        else:
            context.reject = answer
        runtime.context = context
        function = (call.reply_fun, call.reply_env) if replied else (call.reject_fun, call.reject_env)
        return context, runtime.run_callback(*function)

    def _count(self, canister: Canister, arg: bytes, response: Response, used: int) -> None:
        canister.query_calls += 1
        canister.query_instructions += used
        canister.query_request_bytes += len(arg)
        canister.query_response_bytes += len(response.data if isinstance(response, Reply) else response.message)
