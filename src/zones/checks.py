"""Checks of what users type: principals, zone ids, addresses, public keys, amounts.

Each returns the parsed value or raises UserError with the offending value and what is allowed.
"""

from __future__ import annotations

import re

from localnet.principal import from_text
from zones.errors import UserError

ADDRESS_BYTES = 20
PUBLIC_KEY_BYTES = 65
CALL_TOKEN_BYTES = 32
SHA256_BYTES = 32
_ZONE_ID = re.compile(r"0x[0-9a-fA-F]{40}\Z")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_MOST_DIGITS = 78
"""Digits of the largest number there is here, a role: 2**256 - 1."""
_DIGITS = re.compile(rf"[0-9]{{1,{_MOST_DIGITS}}}\Z")
_SIZES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def principal(text: str) -> bytes:
    """Return the principal written as `text`, for example `rwlgt-iiaaa-aaaaa-aaaaa-cai`."""
    try:
        return from_text(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no principal", "a principal looks like rwlgt-iiaaa-aaaaa-aaaaa-cai") from error


def party(text: str) -> bytes:
    """Return the principal of a caller or a canister: any but the management canister's, which is neither."""
    found = principal(text)
    if not found:
        raise UserError(f"{text!r} is the management canister", "name who calls, or a canister of somebody's")
    return found


def zone_id(text: str) -> str:
    """Return `text` when it is a zone id: 0x and 40 hexadecimal digits."""
    if not _ZONE_ID.match(text):
        raise UserError(f"{text!r} is no zone id", "a zone id is 0x and 40 hexadecimal digits")
    return text.lower()


def address(text: str) -> bytes:
    """Return the 20 bytes of an Ethereum address, with or without 0x."""
    raw = _hex(text)
    if len(raw) != ADDRESS_BYTES:
        raise UserError(f"{text!r} is no address", "an address is 40 hexadecimal digits, with or without 0x")
    return raw


def public_key(text: str) -> bytes:
    """Return the 65 bytes of an uncompressed secp256k1 public key written in hexadecimal digits."""
    raw = _hex(text)
    if len(raw) != PUBLIC_KEY_BYTES or raw[0] != 4:
        raise UserError(
            f"{text[:20]!r}... is no public key",
            f"an uncompressed secp256k1 key is 04 and 128 hexadecimal digits; this has {len(text)} characters",
        )
    return raw


def call_token(text: str) -> bytes:
    """Return the 32 bytes of a zone's call token written in hexadecimal digits."""
    raw = _hex(text)
    if len(raw) != CALL_TOKEN_BYTES:
        raise UserError(f"{text!r} is no call token", "a call token is 64 hexadecimal digits")
    return raw


def sha256(text: str) -> bytes:
    """Return the 32 bytes of a SHA-256, with or without 0x."""
    raw = _hex(text)
    if len(raw) != SHA256_BYTES:
        raise UserError(f"{text!r} is no SHA-256", "a SHA-256 is 64 hexadecimal digits")
    return raw


def candid(text: str) -> bytes:
    """Return encoded Candid arguments written in hexadecimal digits."""
    raw = _hex(text)
    if not raw.startswith(b"DIDL"):
        raise UserError(f"{text[:40]!r} is no argument", "give encoded Candid in hexadecimal digits: 4449444c...")
    return raw


def _hex(text: str) -> bytes:
    """Return the bytes written as hexadecimal digits with or without 0x, none where it is something else."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return b""


def host(text: str) -> str:
    """Return `text` when it is host or host:port without a scheme."""
    if not _HOST.match(text):
        raise UserError(f"{text!r} is no RPC host", "give host or host:port without https://")
    return text


def node(text: str) -> str:
    """Return `text` when it is a node's host followed by its path, as in `rpc.api.moonbeam.network/`."""
    at = text.find("/")
    if at < 0:
        raise UserError(f"{text!r} is no node", "give host and path without https://, as rpc.api.moonbeam.network/")
    host(text[:at])
    return text


def name(text: str) -> str:
    """Return `text` when it can name an identity (and so a file)."""
    if not _NAME.match(text):
        raise UserError(
            f"{text!r} is no identity name",
            "up to 64 letters, digits, '_', '.' and '-' are allowed, a letter or digit first",
        )
    return text


def cycles(text: str) -> int:
    """Return an amount of cycles written as 1500000000000, 1_500_000_000_000, 1500B or 1.5T."""
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)([kmbtKMBT]?)", text.strip())
    if match:
        whole, _, fraction = match[1].replace("_", "").partition(".")
        unit = _UNITS[match[2].lower()]
        amount = int(whole) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        if 0 < amount < 2**128:
            return amount
    raise UserError(f"{text!r} is no amount of cycles", "write 1500000000000, 1500B or 1.5T; less than 2**128")


def cycles_limit(text: str) -> int:
    """Return an amount of cycles as `cycles` takes it, 0 for `none`."""
    return 0 if text == "none" else cycles(text)


def size(text: str) -> int:
    """Return a number of bytes written as 268435456, 262144KiB, 256MiB or 1GiB."""
    match = re.fullmatch(r"([0-9][0-9_]*)(|KiB|MiB|GiB)", text)
    if match is None or not 0 < (found := int(match[1]) * _SIZES[match[2]]) < 2**64:
        raise UserError(f"{text!r} is no size", "write 268435456, 262144KiB, 256MiB or 1GiB")
    return found


def count_limit(text: str) -> int:
    """Return a limit of messages, 0 for none."""
    hint = f"write a whole number from 1 to {2**32 - 1}, or `none` for no limit"
    return 0 if text == "none" else _positive_nat32(text, "no number of messages", hint)


def age_limit(text: str) -> int:
    """Return a limit of age in seconds, 0 for none: written as 86400, 90m, 24h or 30d."""
    hint = "write seconds as 86400, or 90m, 24h or 30d, or `none` for no limit"
    match = re.fullmatch(r"([0-9]{1,10})([mhd])", text)
    seconds = str(int(match[1]) * _SECONDS[match[2]]) if match else text
    return 0 if text == "none" else _positive_nat32(seconds, "no age", hint)


def message_count(text: str) -> int:
    """Return a number of messages: 1 to 2**32 - 1."""
    return _positive_nat32(text, "no number of messages", f"write a whole number from 1 to {2**32 - 1}")


def message_id(text: str) -> int:
    """Return a message id: 1 to 2**32 - 1."""
    return _positive_nat32(text, "no message id", f"an id is a whole number from 1 to {2**32 - 1}")


def _positive_nat32(text: str, what: str, hint: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 0 < int(text) < 2**32:
        raise UserError(f"{text!r} is {what}", hint)
    return int(text)


def whole(text: str) -> int:
    """Return a whole number of at least 0."""
    return _number(text, 0, "no whole number")


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    return _number(text, 1, "no whole number above 0")


def entries(text: str) -> int:
    """Return how many entries of a log are wanted: 1 to 2**32 - 1."""
    found = positive(text)
    if found >= 2**32:
        raise UserError(f"{text!r} are more entries than a log has", f"write a whole number from 1 to {2**32 - 1}")
    return found


def _number(text: str, least: int, what: str) -> int:
    if not _DIGITS.match(text) or int(text) < least:
        raise UserError(f"{text[:_MOST_DIGITS]!r} is {what}", f"write digits, at most {_MOST_DIGITS}")
    return int(text)
