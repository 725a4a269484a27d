"""HTTPS outcalls: requests that wait for a response, and what happens to the response.

Where a response comes from is not decided here: PocketIC's mock endpoint or `outcall_client` hand it in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from localnet import candid
from localnet.canister import Canister, Origin
from localnet.errors import ErrorCode, Reject, RejectCode
from localnet.image import TRANSIENT
from localnet.management_types import HTTP_RESPONSE, TRANSFORM_ARGS
from localnet.message import Rejection, Reply, Response
from localnet.prices import MAX_HTTP_REQUEST_BYTES, MAX_HTTP_RESPONSE_BYTES

if TYPE_CHECKING:
    from localnet.network import Network

TIMEOUT = 60 * 1_000_000_000
"""Nanoseconds an outcall may take (replica configuration, CANISTER_HTTP_TIMEOUT_INTERVAL)."""
MAX_URL_BYTES = 8192
MAX_HEADERS = 64
MAX_HEADER_BYTES = 8 * 1024
MAX_HEADERS_BYTES = 48 * 1024
_NODES = {"Fiduciary": 34, "SNS": 34, "II": 34, "NNS": 40}


def subnet_size(kind: str) -> int:
    """Nodes of a subnet of that kind, as on PocketIC: each of them makes the request and must get the same answer."""
    return _NODES.get(kind, 13)


@dataclass
class HttpReply:
    """A server's response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that count against ``max_response_bytes``."""
        return len(self.body) + _size(self.headers)


def plain_answer(answer: HttpReply | Rejection) -> list[Any]:
    """An answer in plain values, for the log of a state folder; `answer_of` makes it whole again."""
    if isinstance(answer, HttpReply):
        return [answer.status, [list(header) for header in answer.headers], answer.body]
    return [int(answer.code), answer.message, answer.error_code]


def answer_of(plain: list[Any]) -> HttpReply | Rejection:
    """The answer `plain_answer` was given."""
    first, second, third = plain
    if isinstance(second, str):
        return Rejection(RejectCode(first), second, third)
    return HttpReply(first, [(name, value) for name, value in second], third)


@dataclass
class Outcall:
    """One request a canister waits for."""

    id: int
    subnet: bytes
    canister: bytes
    origin: Origin
    refund: int
    created: int
    url: str
    method: str
    """GET, HEAD or POST."""
    headers: list[tuple[str, str]]
    body: bytes
    max_response_bytes: int | None
    transform: tuple[str, bytes] | None
    """Method and context of the transform function."""
    answers: list[HttpReply | Rejection] = field(default_factory=list)
    fetching: bool = field(default=False, metadata=TRANSIENT)

    @property
    def limit(self) -> int:
        """Bytes the response may have."""
        return MAX_HTTP_RESPONSE_BYTES if self.max_response_bytes is None else self.max_response_bytes


class Outcalls:
    """The outcalls of a network, by id."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._next = 0
        self.pending: dict[int, Outcall] = {}

    def request(self, canister: Canister, origin: Origin, cycles: int, args: dict[str, Any]) -> None:
        """Take in a canister's ``http_request``. Raises `Reject` when it is invalid or underpaid."""
        headers = [(header["name"], header["value"]) for header in args["headers"]]
        transform = args["transform"]
        self._validate(canister, args, headers)
        size = _size(headers) + len(args["url"].encode()) + len(args["body"] or b"")
        if transform is not None:
            size += len(transform["context"]) + len(transform["function"][1].encode())
        limit = args["max_response_bytes"]
        largest = MAX_HTTP_RESPONSE_BYTES if limit is None else limit
        fee = self._network.prices_of(canister).http_request(size, largest)
        if cycles < fee:
            raise Reject(
                ErrorCode.CANISTER_REJECTED_MESSAGE,
                f"http_request request sent with {cycles} cycles, but {fee} cycles are required.",
            )
        self._network.burned += fee
        outcall = Outcall(
            id=self._next,
            subnet=canister.subnet,
            canister=canister.id,
            origin=origin,
            refund=cycles - fee,
            created=self._network.clock.now,
            url=args["url"],
            method=args["method"][0].upper(),
            headers=headers,
            body=args["body"] or b"",
            max_response_bytes=limit,
            transform=(transform["function"][1], transform["context"]) if transform is not None else None,
        )
        self.pending[outcall.id] = outcall
        self._next += 1

    @staticmethod
    def _validate(canister: Canister, args: dict[str, Any], headers: list[tuple[str, str]]) -> None:
        url = args["url"]
        if len(url.encode()) > MAX_URL_BYTES:
            raise _rejected(f"url of {len(url.encode())} bytes exceeds the limit of {MAX_URL_BYTES}")
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _rejected(f"Failed to parse URL: {url!r}: {error}") from error
        if parts.scheme != "https":
            raise _rejected(f"Url need to specify https scheme, {url!r} does not")
        if not parts.hostname:
            raise _rejected(f"Url need to specify a host, {url!r} does not")
        limit = args["max_response_bytes"]
        if limit is not None and limit > MAX_HTTP_RESPONSE_BYTES:
            raise _rejected(
                f"max_response_bytes expected to be in the range [0..{MAX_HTTP_RESPONSE_BYTES}], got {limit}"
            )
        fault = _faulty_headers(headers)
        if fault is not None:
            raise _rejected(fault)
        if _size(headers) + len(args["body"] or b"") > MAX_HTTP_REQUEST_BYTES:
            raise _rejected(f"request headers and body exceed {MAX_HTTP_REQUEST_BYTES} bytes")
        transform = args["transform"]
        if transform is not None and transform["function"][0] != canister.id:
            raise _rejected("transform needs to be exported by the calling canister")
        if args["is_replicated"] is False:
            raise _rejected("outcalls by one node (is_replicated = opt false) are not supported by this network")
        if args["method"][0] != "post" and args["body"]:
            raise _rejected(f"a {args['method'][0].upper()} request has no body")

    def waits(self, number: int) -> bool:
        """True for an outcall that has no response yet."""
        outcall = self.pending.get(number)
        return outcall is not None and not outcall.answers

    def answer(self, number: int, answers: list[HttpReply | Rejection]) -> None:
        """Hand in the response (or each node's) to an outcall that waits for it."""
        self.pending[number].answers = answers
        self._network.work.set()

    def deliver(self) -> None:
        """Send what came in, or timed out, back to the canisters."""
        now = self._network.clock.now
        for outcall in list(self.pending.values()):
            if outcall.answers:
                response = self._agree(outcall)
            elif now - outcall.created >= TIMEOUT:
                response = Rejection(
                    RejectCode.SYS_TRANSIENT, "Canister http request timed out", int(RejectCode.SYS_TRANSIENT) * 100
                )
            else:
                continue
            del self.pending[outcall.id]
            self._network.scheduler.respond(outcall.origin, response, outcall.refund)

    def _agree(self, outcall: Outcall) -> Response:
        """What all nodes but the third that may be faulty have in common."""
        responses = [self._process(outcall, answer) for answer in outcall.answers]
        needed = len(responses) - (len(responses) - 1) // 3
        # Only so many can still be the first of enough equal ones.
        for response in responses[: len(responses) - needed + 1]:
            if responses.count(response) >= needed:
                return response
        return Rejection(
            RejectCode.SYS_TRANSIENT,
            f"No consensus could be reached. Replicas had different responses. Details: request_id: {outcall.id}",
            int(RejectCode.SYS_TRANSIENT) * 100,
        )

    def _process(self, outcall: Outcall, answer: HttpReply | Rejection) -> Response:
        if isinstance(answer, Rejection):
            return answer
        if answer.size > outcall.limit:
            return _fatal(f"Http body exceeds size limit of {outcall.limit} bytes.")
        fault = _faulty_headers(answer.headers)
        if fault is not None:
            return _fatal(f"the response's {fault}")
        value = {
            "status": answer.status,
            "headers": [{"name": name, "value": text} for name, text in answer.headers],
            "body": answer.body,
        }
        if outcall.transform is None:
            return Reply(candid.encode([HTTP_RESPONSE], [value]))
        canister = self._network.canisters.get(outcall.canister)
        if canister is None:
            return _fatal("the canister of the transform function is gone")
        method, context = outcall.transform
        arg = candid.encode([TRANSFORM_ARGS], [{"response": value, "context": context}])
        try:
            reply = self._network.queries.transform(canister, method, arg)
            candid.decode(reply, [HTTP_RESPONSE])
        except Reject as reject:
            return Rejection.of(reject)
        except candid.CandidError as error:
            return _fatal(f"the transform function {method} did not return an HTTP response: {error}")
        if len(reply) > MAX_HTTP_RESPONSE_BYTES:
            return _fatal(f"Transformed http response exceeds limit: {MAX_HTTP_RESPONSE_BYTES}")
        return Reply(reply)


def _size(headers: list[tuple[str, str]]) -> int:
    """Bytes of the names and values."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in headers)


def _faulty_headers(headers: list[tuple[str, str]]) -> str | None:
    """Which limit of the specification the headers of a request or response exceed, if any."""
    if len(headers) > MAX_HEADERS:
        return f"number of HTTP headers exceeds {MAX_HEADERS}: {len(headers)}"
    longest = max((len(text.encode()) for header in headers for text in header), default=0)
    if longest > MAX_HEADER_BYTES:
        return f"HTTP header name or value of {longest} bytes exceeds {MAX_HEADER_BYTES}"
    if _size(headers) > MAX_HEADERS_BYTES:
        return f"HTTP headers of {_size(headers)} bytes exceed {MAX_HEADERS_BYTES}"
    return None


def _rejected(text: str) -> Reject:
    return Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, text)


def _fatal(text: str) -> Rejection:
    return Rejection(RejectCode.SYS_FATAL, text, int(RejectCode.SYS_FATAL) * 100)
