"""A JSON-RPC server on this machine that plays a zone's membership contract.

For development and demonstrations: it answers `eth_call` with the contract's functions and the roles of a
file that may change while it runs. Not a node: no blocks, no transactions, no other contract.

The roles file is JSON: `{"zones": {"0x<zone id>": {"token": "<64 hex>" or null, "roles": {"0x<address>": 400}}},
"identities": {"0x<identity contract>": ["0x<device address>"]}}`. A zone with a token answers only
RoleWithCallToken with that token; an address without an entry has role 0.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from zones import checks
from zones.errors import UserError

ROLE = bytes.fromhex("d4322d7d")
"""Role(address)"""
ROLE_WITH_TOKEN = bytes.fromhex("ba8f89b4")
"""RoleWithCallToken(bytes32,address)"""
IS_MEMBER = bytes.fromhex("264560d6")
"""IsMember(address), of an identity contract"""
VERSION = bytes.fromhex("bb62860d")
"""Version()"""
OWNER = bytes.fromhex("8da5cb5b")
"""owner()"""
CONTRACT_VERSION = 1
"""What the played contracts answer to Version()."""

CHAIN_ID = 15
"""Chain id of Diode's network, answered to eth_chainId."""
MAX_BODY_BYTES = 65_536
MAX_ROLE = 2**256 - 1

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, REVERTED = -32700, -32600, -32601, -32602, 3


class RpcError(Exception):
    """A JSON-RPC error: `code` and text as a node sends them."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Roles:
    """What the contracts know. Keys are lower-case 0x addresses."""

    zones: dict[str, dict[str, Any]] = field(default_factory=dict)
    identities: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Roles:
        """Read the roles file; raises UserError with what is wrong in it."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            zones = {
                checks.zone_id(zone): {
                    "token": entry.get("token"),
                    "roles": {_address(who): _role(role) for who, role in entry.get("roles", {}).items()},
                }
                for zone, entry in raw.get("zones", {}).items()
            }
            identities = {
                _address(contract): [_address(device) for device in devices]
                for contract, devices in raw.get("identities", {}).items()
            }
        except (OSError, ValueError, AttributeError, TypeError, UserError) as error:
            raise UserError(f"the roles file {path} can't be read: {error}", "mend it") from error
        return cls(zones, identities)

    def save(self, path: Path) -> None:
        """Write the roles file in one step, so that a running server never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(
            json.dumps({"zones": self.zones, "identities": self.identities}, indent=2) + "\n", encoding="utf-8"
        )
        draft.replace(path)

    def role(self, zone_id: str, address: bytes) -> int:
        """Return the role of `address` in the zone, 0 when it has none."""
        return self.zones.get(zone_id, {}).get("roles", {}).get("0x" + address.hex(), 0)

    def owner(self, zone_id: str) -> str:
        """Return the address whose role in the zone is the highest, the first of those; the zero address for none."""
        roles = self.zones[zone_id]["roles"]
        return max(roles, key=lambda address: roles[address], default="0x" + "0" * 40)

    def set_role(self, zone_id: str, address: bytes, role: int) -> None:
        """Give `address` a role in the zone; 0 removes it."""
        roles = self.zones.setdefault(checks.zone_id(zone_id), {"token": None, "roles": {}})["roles"]
        roles["0x" + address.hex()] = _role(role)

    def set_token(self, zone_id: str, token: bytes | None) -> None:
        """Make the zone answer only to calls with this 32-byte token, or to calls without one."""
        zone = self.zones.setdefault(checks.zone_id(zone_id), {"token": None, "roles": {}})
        zone["token"] = token.hex() if token else None

    def call(self, to: str, data: bytes) -> bytes:
        """Return what the contract `to` answers to call data; raises RpcError where it reverts."""
        selector, words = data[:4], [data[at : at + 32] for at in range(4, len(data), 32)]
        if to in self.identities:
            if selector == IS_MEMBER and len(words) == 1:
                return _word(int(_address_in(words[0]) in self.identities[to]))
            raise RpcError(REVERTED, "execution reverted")
        zone = self.zones.get(to)
        if zone is None:
            return b""  # a node's answer for an account without code
        if selector == VERSION and not words:
            return _word(CONTRACT_VERSION)
        if selector == OWNER and not words:
            return bytes.fromhex(self.owner(to).removeprefix("0x")).rjust(32, b"\0")
        if selector == ROLE and len(words) == 1 and not zone["token"]:
            return _word(zone["roles"].get(_address_in(words[0]), 0))
        if selector == ROLE_WITH_TOKEN and len(words) == 2 and words[0].hex() == zone["token"]:
            return _word(zone["roles"].get(_address_in(words[1]), 0))
        raise RpcError(REVERTED, "execution reverted")


def _address(text: str) -> str:
    return "0x" + checks.address(text).hex()


def _role(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_ROLE:
        raise UserError(f"{value!r} is no role", "a whole number from 0 to 2**256 - 1 is expected")
    return value


def _address_in(word: bytes) -> str:
    if len(word) != 32 or any(word[:12]):
        raise RpcError(REVERTED, "execution reverted")
    return "0x" + word[12:].hex()


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def answer(body: bytes, roles: Roles) -> bytes:
    """Return the JSON-RPC response to one request body, in the compact form nodes write."""
    request_id: Any = None
    try:
        try:
            request = json.loads(body)
        except ValueError as error:
            raise RpcError(PARSE_ERROR, f"parse error: {error}") from error
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise RpcError(INVALID_REQUEST, "invalid request: one object with a method is expected")
        request_id = request.get("id")
        response: dict[str, Any] = {"result": _result(request["method"], request.get("params", []), roles)}
    except RpcError as error:
        response = {"error": {"code": error.code, "message": str(error)}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, **response}, separators=(",", ":")).encode()


def _result(method: str, params: Any, roles: Roles) -> str:
    if method == "eth_chainId":
        return hex(CHAIN_ID)
    if method != "eth_call":
        raise RpcError(NO_METHOD, f"the method {method} does not exist/is not available")
    try:
        call = params[0]
        to, data = "0x" + checks.address(call["to"]).hex(), bytes.fromhex(call["data"].removeprefix("0x"))
    except (LookupError, TypeError, AttributeError, ValueError, UserError) as error:
        raise RpcError(INVALID_PARAMS, f"invalid argument 0: {error}") from error
    return "0x" + roles.call(to, data).hex()


class MembershipServer(ThreadingHTTPServer):
    """The HTTP server; reads the roles file again for every request, so that changes count at once."""

    daemon_threads = True

    def __init__(self, roles_file: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.roles_file = roles_file
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    """Seconds a client may take for its request before its connection is closed."""

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._reply(413, b"a body of at most 65536 bytes is expected")
            return
        assert isinstance(self.server, MembershipServer)
        try:
            self._reply(200, answer(self.rfile.read(int(length)), Roles.load(self.server.roles_file)))
        except UserError as error:
            self._reply(500, str(error).encode())

    def do_GET(self) -> None:
        self._reply(405, b"send JSON-RPC requests with POST")

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        print(f"{self.log_date_time_string()} {format % args}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m zones.membership",
        description="Plays a zone's membership contract over JSON-RPC on 127.0.0.1.",
        epilog="example: python -m zones.membership --roles roles.json --port 8545",
    )
    parser.add_argument("--roles", type=Path, required=True, help="the roles file, JSON; may change while running")
    parser.add_argument("--port", type=int, default=0, help="TCP port, 0 for a free one (default)")
    parser.add_argument("--port-file", type=Path, help="write the port number and a newline to this file")
    parser.add_argument(
        "--role",
        nargs=3,
        action="append",
        default=[],
        metavar=("ZONE_ID", "ADDRESS", "ROLE"),
        help="give ADDRESS a role before starting; may be repeated",
    )
    options = parser.parse_args(arguments)
    try:
        roles = Roles.load(options.roles)
        for zone_id, address, role in options.role:
            roles.set_role(zone_id, checks.address(address), int(role))
        if options.role:
            roles.save(options.roles)
        server = MembershipServer(options.roles, port=options.port)
    except (UserError, ValueError, OSError) as error:
        print(f"membership: error: {error}", file=sys.stderr)
        return 1
    # shutdown() waits for serve_forever() to return, so it can't run in the thread the signal interrupts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    if options.port_file:
        options.port_file.write_text(f"{server.port}\n", encoding="utf-8")
    print(f"membership contract on http://127.0.0.1:{server.port}/", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
