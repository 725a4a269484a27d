"""Signed calls to canisters of any Internet Computer network over HTTP: localnet, dfx's network, mainnet.

One adapter over ic-py 1.0.1, whose envelopes, request ids and certificate look-ups it uses. What it adds: a nonce (two
equal calls in one second are two calls), one kept-open connection, resending while the network is away (the same signed
request, which the network carries out once), a deadline for every call, rejects as exceptions, the effective canister
id of management calls. Like ic-py it does not verify certificates: trust the endpoint you name, or use an agent that
does. Principals are raw bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cbor2
import httpx
from ic.agent import sign_request
from ic.certificate import lookup
from ic.utils import to_request_id

from localnet.principal import ANONYMOUS, to_text
from zones.errors import NetworkError, RejectedError

INGRESS_EXPIRY_SECONDS = 240
"""How long a signed request stays valid; networks refuse more than five minutes ahead."""
MAX_INGRESS_BYTES = 2_000_000
"""Longest argument a call may carry; subnets take messages of up to 2 MiB with their envelope."""
DEFAULT_DEADLINE_SECONDS = 120.0
_SELF_DESCRIBED = b"\xd9\xd9\xf7"
"""CBOR tag 55799, which replicas put before what they send (RFC 8949, section 3.4.6)."""


class Signer(Protocol):
    """What an agent signs with: `zones.identity.Identity` or `Anonymous`."""

    def sender(self) -> bytes:
        """Return the calling principal."""
        ...

    def sign(self, message: bytes, /) -> tuple[bytes | None, bytes | None]:
        """Return (DER public key, signature) of `message`."""
        ...


class Agent(Protocol):
    """Calls to canisters with raw Candid arguments and replies; what every client in this package is built on."""

    def sender(self) -> bytes:
        """Return the principal the calls come from."""
        ...

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        """Ask one replica; raises RejectedError and NetworkError."""
        ...

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        """Call through consensus and wait for the reply; raises RejectedError and NetworkError.

        `effective` is the canister a call to the management canister is about.
        """
        ...


@dataclass(frozen=True)
class Pace:
    """How often to look for a reply: first delay and longest delay in seconds, growing by half in between."""

    first: float = 0.02
    longest: float = 0.5


class IcAgent:
    """An `Agent` over HTTP."""

    def __init__(
        self,
        url: str,
        signer: Signer,
        *,
        deadline: float = DEFAULT_DEADLINE_SECONDS,
        pace: Pace | None = None,
        client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
        away: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Speak to the network at `url`; give up on a call after `deadline` seconds.

        `away` is told what is wrong each time that a request is to be sent again.
        """
        self.url = url.rstrip("/")
        self.deadline = deadline
        self._signer = signer
        self._pace = pace or Pace()
        self._sleep = sleep
        self._away = away
        # A proxy of the environment is not for networks on this machine.
        local = httpx.URL(self.url).host in ("127.0.0.1", "localhost", "::1")
        self._client = client or httpx.Client(timeout=httpx.Timeout(30.0, connect=5.0), trust_env=not local)

    def sender(self) -> bytes:
        """See `Agent.sender`."""
        return self._signer.sender()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        """See `Agent.query`."""
        content = self._content("query", canister, method, argument)
        _, envelope = self._sign(content)
        give_up = time.monotonic() + self.deadline
        reply = _map(self._post(canister, "query", envelope, give_up), "query")
        if reply.get("status") == "replied":
            return reply["reply"]["arg"]
        raise _rejected(method, reply)

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        """See `Agent.update`."""
        if len(argument) > MAX_INGRESS_BYTES:
            raise NetworkError(
                f"{method}: an argument of {len(argument)} bytes is too large for one call",
                f"at most {MAX_INGRESS_BYTES} bytes fit: send it in parts",
            )
        about = effective or canister
        request_id, envelope = self._sign(self._content("call", canister, method, argument))
        give_up = time.monotonic() + self.deadline
        answer = self._post(about, "call", envelope, give_up)
        if answer:  # a replica that refuses at once says so in the answer itself
            refusal = _map(answer, "call")
            if refusal.get("reject_code") is not None:
                raise _rejected(method, refusal)
        return self._await_reply(about, method, request_id, give_up)

    def status(self) -> dict[str, Any]:
        """Return the network's status map (`/api/v2/status`), for example its root key."""
        return _map(self._send("GET", "/api/v2/status", None), "status")

    def get(self, path: str) -> httpx.Response:
        """Return the answer to GET `path` of the network, whatever its HTTP status."""
        return self._request("GET", path, None)

    def canister_controllers(self, canister: bytes) -> list[bytes]:
        """Return the controllers of a canister, which the network tells anyone."""
        path = [b"canister", canister, b"controllers"]
        controllers = lookup(path, self._read_state(canister, path, time.monotonic() + self.deadline))
        return list(cbor2.loads(controllers)) if controllers else []

    def read_certificate(self, canister: bytes, paths: list[list[bytes]]) -> bytes:
        """Return the network's certificate over paths of the state tree about a canister, as it came: unchecked."""
        return self._read_certificate(canister, paths, time.monotonic() + self.deadline)

    def _sign(self, content: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return (request id, envelope); an anonymous envelope has no signature fields, where ic-py writes nulls."""
        if self._signer.sender() == ANONYMOUS:
            return to_request_id(content), cbor2.dumps({"content": content})
        return sign_request(content, self._signer)

    def _content(self, kind: str, canister: bytes, method: str, argument: bytes) -> dict[str, Any]:
        return {
            "request_type": kind,
            "sender": self._signer.sender(),
            "canister_id": canister,
            "method_name": method,
            "arg": argument,
            "nonce": os.urandom(16),
            "ingress_expiry": self._expiry(),
        }

    def _expiry(self) -> int:
        return (int(time.time()) + INGRESS_EXPIRY_SECONDS) * 10**9

    def _await_reply(self, about: bytes, method: str, request_id: bytes, give_up: float) -> bytes:
        delay = self._pace.first
        path: list[bytes] = [b"request_status", request_id]
        while True:
            certificate = self._read_state(about, path, give_up)
            status = lookup([*path, b"status"], certificate)
            if status == b"replied":
                return lookup([*path, b"reply"], certificate) or b""
            if status == b"rejected":
                refusal = {
                    "reject_code": int.from_bytes(lookup([*path, b"reject_code"], certificate) or b"", "big"),
                    "reject_message": (lookup([*path, b"reject_message"], certificate) or b"").decode(),
                    "error_code": (lookup([*path, b"error_code"], certificate) or b"").decode() or None,
                }
                raise _rejected(method, refusal)
            if status == b"done":
                raise NetworkError(f"{method}: the network has forgotten the reply", "ask for the result again")
            if time.monotonic() + delay > give_up:
                raise NetworkError(
                    f"{method}: no reply within {self.deadline:.0f} s (status {(status or b'unknown').decode()})",
                    "the call may still be carried out: look before you repeat it",
                )
            self._sleep(delay)
            delay = min(delay * 1.5, self._pace.longest)

    def _read_state(self, about: bytes, path: list[bytes], give_up: float) -> dict[str, Any]:
        return _map(self._read_certificate(about, [path], give_up), "certificate")

    def _read_certificate(self, about: bytes, paths: list[list[bytes]], give_up: float) -> bytes:
        content = {
            "request_type": "read_state",
            "sender": self._signer.sender(),
            "paths": paths,
            "ingress_expiry": self._expiry(),
        }
        _, envelope = self._sign(content)
        return _map(self._post(about, "read_state", envelope, give_up), "read_state")["certificate"]

    def _post(self, about: bytes, endpoint: str, envelope: bytes, give_up: float) -> bytes:
        """Send one signed request, again while the network is away: it takes effect once however often it arrives."""
        delay = self._pace.longest
        while True:
            try:
                return self._send("POST", f"/api/v2/canister/{to_text(about)}/{endpoint}", envelope)
            except _Away as away:
                if time.monotonic() + delay > give_up:
                    raise NetworkError(away.message, away.hint) from away
                self._away(away.message)
            self._sleep(delay)

    def _send(self, verb: str, path: str, body: bytes | None) -> bytes:
        response = self._request(verb, path, body)
        if response.status_code in (200, 202):
            return response.content
        text = response.text.strip()[:300] or response.reason_phrase
        if response.status_code == 429 or response.status_code >= 500:
            raise _Away(f"{self.url} answers {response.status_code}: {text}", "try again in a moment")
        hint = "is this the URL of an Internet Computer?" if response.status_code in (404, 405) else ""
        hint = "check this machine's clock" if "expiry" in text else hint
        raise NetworkError(f"{self.url} refuses the request ({response.status_code}): {text}", hint)

    def _request(self, verb: str, path: str, body: bytes | None) -> httpx.Response:
        headers = {"Content-Type": "application/cbor"} if body is not None else None
        try:
            return self._client.request(verb, self.url + path, content=body, headers=headers)
        except httpx.ConnectError as error:
            raise NetworkError(
                f"no network answers at {self.url}", "start one with `zones network start` or name another"
            ) from error
        except httpx.TransportError as error:
            raise _Away(f"the connection to {self.url} failed: {error or type(error).__name__}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise NetworkError(
                f"{self.url!r} can't be used: {error}", "give a URL such as http://127.0.0.1:4943"
            ) from error


class _Away(NetworkError):
    """The network did not answer this time; sending the same request again is safe."""


def _map(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = cbor2.loads(data.removeprefix(_SELF_DESCRIBED))
    except (cbor2.CBORError, ValueError, EOFError) as error:
        raise NetworkError(
            f"the {what} answer is no CBOR: {data[:80]!r}", "is this the URL of an Internet Computer?"
        ) from error
    if not isinstance(value, dict):
        raise NetworkError(f"the {what} answer is no map: {str(value)[:80]}")
    return value


def _rejected(method: str, refusal: dict[str, Any]) -> RejectedError:
    code = int(refusal.get("reject_code") or 0)
    text = str(refusal.get("reject_message") or "no reason given")
    return RejectedError(f"{method}: {text}", code=code, error_code=refusal.get("error_code"))
