"""Real HTTP for outcalls, only to hosts the operator mapped to an address of this machine.

``HOST=http://127.0.0.1:PORT`` sends what a canister asks of ``https://HOST/path`` to that address; every
other host is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

import httpx

from localnet.errors import RejectCode
from localnet.message import Rejection
from localnet.network import Network
from localnet.outcalls import HttpReply, Outcall

TIMEOUT_SECONDS = 30.0
_HOP_HEADERS = {"host", "content-length", "transfer-encoding", "connection"}


class OutcallClient:
    """Sends pending outcalls to the mapped hosts."""

    def __init__(self, mappings: Iterable[str] = ()) -> None:
        self._hosts = dict(parse_mapping(text) for text in mappings)

    def send(self, network: Network) -> None:
        """Start fetching every pending outcall that isn't on its way yet. The network's lock is held."""
        for outcall in network.outcalls.pending.values():
            if outcall.fetching or outcall.answers:
                continue
            outcall.fetching = True
            thread = threading.Thread(target=self._fetch, args=(network, outcall), daemon=True)
            thread.start()

    def _fetch(self, network: Network, outcall: Outcall) -> None:
        answer = self._answer(outcall)
        with network.lock:
            network.answer_outcall(outcall.id, [answer])

    def _answer(self, outcall: Outcall) -> HttpReply | Rejection:
        parts = urlsplit(outcall.url)
        target = self._hosts.get(parts.netloc.lower())
        if target is None:
            known = ", ".join(sorted(self._hosts)) or "none"
            return _transient(
                f"this network sends outcalls only to mapped hosts, and {parts.netloc} is not one (mapped: {known}); "
                f"start it with --outcall {parts.netloc}=http://127.0.0.1:PORT"
            )
        base = urlsplit(target)
        url = urlunsplit((base.scheme, base.netloc, parts.path or "/", parts.query, ""))
        headers = [(name, value) for name, value in outcall.headers if name.lower() not in _HOP_HEADERS]
        headers.append(("host", parts.netloc))
        try:
            # Made by hand: a client's own request has headers the canister didn't ask for.
            request = httpx.Request(outcall.method, url, headers=headers, content=outcall.body or None)
            with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
                return _exchange(client, request, outcall.limit)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            return _transient(f"Error making request to {parts.netloc} (mapped to {target}): {error}")


def _exchange(client: httpx.Client, request: httpx.Request, limit: int) -> HttpReply | Rejection:
    """Send a request and read the response as it comes, up to ``limit`` bytes and `TIMEOUT_SECONDS`."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    response = client.send(request, stream=True)
    try:
        body = bytearray()
        for piece in response.iter_raw():
            body += piece
            if len(body) > limit:
                return Rejection(RejectCode.SYS_FATAL, f"Http body exceeds size limit of {limit} bytes.", 100)
            if time.monotonic() > deadline:
                return _transient(f"no complete response within {TIMEOUT_SECONDS:.0f} seconds")
        return HttpReply(response.status_code, list(response.headers.multi_items()), bytes(body))
    finally:
        response.close()


def parse_mapping(text: str) -> tuple[str, str]:
    """Split ``HOST=http://127.0.0.1:PORT``. Raises ``ValueError`` saying what is wrong with it."""
    host, found, target = text.partition("=")
    parts = urlsplit(target)
    if not found or not host or parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{text!r} is no mapping of the form HOST=http://127.0.0.1:PORT")
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError(f"{target!r} is not on this machine: only 127.0.0.1, localhost and [::1] are allowed")
    if parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{target!r} must be an address without a path")
    return host.lower(), target


def _transient(text: str) -> Rejection:
    return Rejection(RejectCode.SYS_TRANSIENT, text, int(RejectCode.SYS_TRANSIENT) * 100)
