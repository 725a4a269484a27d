"""How the zone's membership contract is asked for a role, and how its answer is read.

Pure: builds the JSON-RPC request byte by byte as the contract's nodes know it, and reads the reply strictly. Not for
deciding who may ask (`outcalls`) nor for the outcall itself (`http_outcall`).
"""

from canister_kit.zone_args import HEX_DIGITS

ROLE_SELECTOR = "d4322d7d"  # Role(address)
ROLE_WITH_TOKEN_SELECTOR = "ba8f89b4"  # RoleWithCallToken(bytes32,address)
USER_AGENT = "diode_oracle_canister"
CONTEXT = b"eth_call"
MAX_RESPONSE_BYTES = 1024
SHOWN_BYTES = 200
MAX_RESULT_BYTES = 32
WHITE_SPACE = b" \t\r\n"
LITERAL_END = b",]} \t\r\n"


class OracleError(Exception):
    """The contract's node did not answer with a role; the text says what came back."""


def role_call(zone_id: str, call_token: bytes | None, address: bytes) -> bytes:
    """The body of the JSON-RPC request for the role of an address in the contract at zone_id."""
    argument = "0" * 24 + address.hex()
    call = ROLE_SELECTOR if call_token is None else ROLE_WITH_TOKEN_SELECTOR + call_token.hex()
    data = call + argument
    return (
        '{"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": '
        f'[{{"to": "{zone_id}", "data": "0x{data}"}}, "latest"]}}'
    ).encode()


def role_of(status: int, body: bytes) -> int:
    """The role in a node's answer: HTTP 200, a JSON-RPC result of 1 to 32 bytes in hex.

    Raises OracleError with what came back for everything else.
    """
    if status != 200:
        raise OracleError(f"role lookup failed: HTTP status {status}, body {shown(body)}")
    try:
        members = Json(body).members()
    except ValueError as fault:
        raise OracleError(f"role lookup failed: unreadable body ({fault}): {shown(body)}") from None
    if members.get("error", "null") != "null":
        raise OracleError(f"role lookup failed: JSON-RPC error {members['error'][:SHOWN_BYTES]}")
    result = members.get("result", "")
    digits = result[3:-1] if result.startswith('"0x') and result.endswith('"') else ""
    whole_bytes = 0 < len(digits) <= 2 * MAX_RESULT_BYTES and len(digits) % 2 == 0
    if not whole_bytes or not HEX_DIGITS.issuperset(digits):
        raise OracleError(
            f"role lookup failed: expected a result of 1 to {MAX_RESULT_BYTES} bytes in hex, got {shown(body)}"
        )
    return int(digits, 16)


def shown(body: bytes) -> str:
    """The start of a body for an error text."""
    text = repr(body[:SHOWN_BYTES].decode("utf-8", "replace"))
    return text if len(body) <= SHOWN_BYTES else f"{text}... ({len(body)} bytes)"


class Json:
    """Splits one JSON object into its members without building their values: all a role needs is one string.

    Kybra's interpreter spends 59 M instructions on importing json, the template has but a stand-in of it.
    """

    def __init__(self, body: bytes):
        self._body = body
        self._at = 0

    def members(self) -> dict[str, str]:
        """Member names to the source text of their values. ValueError says what was not expected, and where."""
        self._expect(b"{")
        found: dict[str, str] = {}
        if self._peek() != b"}":
            while True:
                self._skip_space()
                name = self._string()[1:-1]
                self._expect(b":")
                if name in found:
                    raise ValueError(f"member {name!r} twice")
                found[name] = self._value(0)
                if self._peek() != b",":
                    break
                self._expect(b",")
        self._expect(b"}")
        self._skip_space()
        if self._at != len(self._body):
            raise ValueError(f"byte {self._at}: more after the object")
        return found

    def _value(self, depth: int) -> str:
        if depth > 16:
            raise ValueError(f"byte {self._at}: nested too deep")
        opening = self._peek()
        start = self._at
        if opening == b'"':
            return self._string()
        if opening in (b"{", b"["):
            self._container(opening, depth)
        else:
            while self._at < len(self._body) and self._body[self._at] not in LITERAL_END:
                self._at += 1
            if self._at == start:
                raise ValueError(f"byte {start}: a value expected")
        return self._body[start : self._at].decode("utf-8")

    def _container(self, opening: bytes, depth: int) -> None:
        closing = b"}" if opening == b"{" else b"]"
        self._expect(opening)
        if self._peek() != closing:
            while True:
                if opening == b"{":
                    self._skip_space()
                    self._string()
                    self._expect(b":")
                self._value(depth + 1)
                if self._peek() != b",":
                    break
                self._expect(b",")
        self._expect(closing)

    def _string(self) -> str:
        start = self._at
        self._expect(b'"')
        while True:
            quote = self._body.find(b'"', self._at)
            if quote < 0:
                raise ValueError(f"byte {start}: a string without an end")
            backslash = self._body.find(b"\\", self._at, quote)
            if backslash < 0:
                self._at = quote + 1
                return self._body[start : self._at].decode("utf-8")
            self._at = backslash + 2

    def _peek(self) -> bytes:
        self._skip_space()
        return self._body[self._at : self._at + 1]

    def _expect(self, token: bytes) -> None:
        if self._peek() != token:
            raise ValueError(f"byte {self._at}: {token.decode()!r} expected")
        self._at += 1

    def _skip_space(self) -> None:
        while self._at < len(self._body) and self._body[self._at] in WHITE_SPACE:
            self._at += 1
