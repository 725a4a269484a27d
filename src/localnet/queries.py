"""Queries and composite queries: executions whose every change is dropped.

A composite query's own changes live until it ends: its callees run in between, on other canisters. It ends
with its first response or trap; what it would still do could not be seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localnet.admission import check_running, module_of
from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.message import Context, Mode, OutgoingCall, Rejection, Reply, Response
from localnet.prices import MAX_QUERY_REPLY_BYTES
from localnet.principal import MANAGEMENT, to_text

if TYPE_CHECKING:
    from localnet.network import Network

MAX_DEPTH = 6
"""Depth below the user's query at which a composite query may not call any further (replica configuration)."""
GRAPH_INSTRUCTIONS = 5_000_000_000
"""Instructions a query and everything it calls may take together (replica configuration)."""
CALL_INSTRUCTIONS = 50_000_000
"""Instructions each call of a composite query counts for, besides its own (replica configuration)."""


class Queries:
    """Evaluates queries on the committed state of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._active: set[bytes] = set()
        self._budget = 0

    def run(self, canister: Canister, sender: bytes, method: str, arg: bytes) -> bytes:
        """The reply of a query by a user. Raises `Reject`."""
        return self._reply(self._start(canister, sender, method, arg, ("query", "composite_query"), Mode.QUERY))

    def transform(self, canister: Canister, method: str, arg: bytes) -> bytes:
        """The reply of an outcall's transform function, called by the management canister. Raises `Reject`."""
        return self._reply(self._start(canister, MANAGEMENT, method, arg, ("query",), Mode.TRANSFORM))

    def _start(
        self, canister: Canister, sender: bytes, method: str, arg: bytes, kinds: tuple[str, ...], mode: Mode
    ) -> Response:
        self._active.clear()
        self._budget = GRAPH_INSTRUCTIONS
        return self._evaluate(canister, sender, method, arg, 0, kinds, mode)

    @staticmethod
    def _reply(response: Response) -> bytes:
        if isinstance(response, Reply):
            return response.data
        raise Reject(ErrorCode(response.error_code), response.message, response.code)

    def _evaluate(
        self,
        canister: Canister,
        sender: bytes,
        method: str,
        arg: bytes,
        depth: int,
        kinds: tuple[str, ...] = ("query", "composite_query"),
        mode: Mode = Mode.QUERY,
    ) -> Response:
        """The response of a canister. Raises `Reject` when the whole query must end."""
        try:
            check_running(canister)
            kind = module_of(canister).methods.get(method)
            if kind not in kinds:
                raise Reject(
                    ErrorCode.CANISTER_METHOD_NOT_FOUND,
                    f"Error from Canister {to_text(canister.id)}: Canister has no query method '{method}'.",
                )
            if canister.id in self._active:
                raise Reject(
                    ErrorCode.QUERY_CALL_GRAPH_LOOP_DETECTED,
                    f"Query call graph contains a loop: canister {to_text(canister.id)} is called again",
                )
        except Reject as reject:
            return Rejection.of(reject)
        if kind == "composite_query":
            mode = Mode.COMPOSITE_QUERY
        self._active.add(canister.id)
        try:
            return self._run(canister, mode, f"canister_{kind} {method}", sender, method, arg, depth)
        finally:
            self._active.discard(canister.id)

    def _context(self, canister: Canister, mode: Mode, caller: bytes) -> Context:
        limit = max(0, min(self._network.limits.query, self._budget))
        context = self._network.scheduler.context(canister, mode, limit)
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
        context.certificate = depth == 0 and mode is not Mode.TRANSFORM
        used = 0
        runtime.begin(context)
        try:
            outcome = runtime.run_export(export)
            pending: list[OutgoingCall] = []
            while True:
                used += outcome.instructions
                self._budget -= outcome.instructions
                self._network.log(canister, context.logs)
                if outcome.error is not None:
                    response: Response = Rejection.of(outcome.error)
                    break
                if context.response is not None:
                    response = context.response
                    break
                pending += context.calls
                if not pending:
                    text = f"Error from Canister {to_text(canister.id)}: Canister did not reply to the call"
                    response = Rejection.of(Reject(ErrorCode.CANISTER_DID_NOT_REPLY, text))
                    break
                call = pending.pop(0)
                answer = self._call(canister, call, depth)
                self._check_budget()
                context = self._callback_context(canister, answer, sender, used)
                replied = isinstance(answer, Reply)
                outcome = runtime.run_callback(*call.closure(replied=replied))
        finally:
            runtime.undo()
        self._count(canister, arg, response, used)
        return response

    def _call(self, canister: Canister, call: OutgoingCall, depth: int) -> Response:
        if depth >= MAX_DEPTH:
            text = "Composite query calls exceeded the maximum call depth."
            raise Reject(ErrorCode.QUERY_CALL_GRAPH_TOO_DEEP, text)
        self._check_budget()
        self._budget -= CALL_INSTRUCTIONS
        callee = self._network.canisters.get(call.callee)
        if callee is None or callee.subnet != canister.subnet:
            text = f"Canister {to_text(call.callee)} not found"
            return Rejection.of(Reject(ErrorCode.CANISTER_NOT_FOUND, text))
        return self._evaluate(callee, canister.id, call.method, bytes(call.data), depth + 1)

    def _check_budget(self) -> None:
        if self._budget <= 0:
            text = "Composite query calls exceeded the instruction limit."
            raise Reject(ErrorCode.QUERY_CALL_GRAPH_TOTAL_INSTRUCTION_LIMIT_EXCEEDED, text)

    def _callback_context(self, canister: Canister, answer: Response, sender: bytes, used: int) -> Context:
        mode = Mode.COMPOSITE_REPLY if isinstance(answer, Reply) else Mode.COMPOSITE_REJECT
        context = self._context(canister, mode, sender)
        context.instructions_before = used
        if isinstance(answer, Reply):
            context.arg = answer.data
        else:
            context.reject = answer
        assert canister.runtime is not None
        canister.runtime.context = context
        return context

    def _count(self, canister: Canister, arg: bytes, response: Response, used: int) -> None:
        self._network.queried.add(canister.id)
        canister.query_calls += 1
        canister.query_instructions += used
        canister.query_request_bytes += len(arg)
        canister.query_response_bytes += len(response.data if isinstance(response, Reply) else response.message)
