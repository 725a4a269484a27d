"""The checks that a zone's installation arguments must pass, before a cycle is spent on them.

Pure. The factory applies them to a request, the zone canister to its own init record. Each check returns what is
wrong with the value and what is allowed, or an empty text.
"""

ZONE_ID_CHARS = 42
TOKEN_BYTES = 32
MAX_HOST_CHARS = 253
MAX_PATH_CHARS = 256
HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
HOST_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:")
PATH_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/%!$&'()*+,;=:@?")


def zone_id_fault(zone_id: str) -> str:
    """A zone id is the address of its membership contract: `0x` and 40 hex digits."""
    if len(zone_id) == ZONE_ID_CHARS and zone_id.startswith("0x") and HEX_DIGITS.issuperset(zone_id[2:]):
        return ""
    return f"Invalid zone_id {zone_id[:64]!r}: expected 0x and 40 hex digits"


def rpc_host_fault(rpc_host: str) -> str:
    """A host is `name` or `name:port`, without a scheme; at most 253 characters."""
    if 0 < len(rpc_host) <= MAX_HOST_CHARS and HOST_CHARS.issuperset(rpc_host):
        name, colon, port = rpc_host.partition(":")
        if name and (not colon or (port.isdigit() and 0 < int(port) < 65_536)):
            return ""
    return f"Invalid rpc_host {rpc_host[:64]!r}: expected host or host:port without a scheme"


def rpc_path_fault(rpc_path: str) -> str:
    """A path starts with `/` and holds URL characters only; at most 256."""
    if rpc_path.startswith("/") and len(rpc_path) <= MAX_PATH_CHARS and PATH_CHARS.issuperset(rpc_path):
        return ""
    return f"Invalid rpc_path {rpc_path[:64]!r}: expected / and at most {MAX_PATH_CHARS} URL characters in all"


def call_token_fault(call_token: bytes | None) -> str:
    """A call token is absent or 32 bytes."""
    if call_token is None or len(call_token) == TOKEN_BYTES:
        return ""
    return f"Invalid call token size: {len(call_token)}"


def zone_args_fault(zone_id: str, rpc_host: str, rpc_path: str, call_token: bytes | None) -> str:
    """The first fault among the arguments of a zone, or ""."""
    return (
        zone_id_fault(zone_id) or rpc_host_fault(rpc_host) or rpc_path_fault(rpc_path) or call_token_fault(call_token)
    )
