"""Certificates of the Internet Computer: what one proves of a canister, its certified data or code, and when.

Not for what the data means (`zones.verification`). Follows the IC interface specification, sections "Certificate",
"Delegation" and "Canister ranges"; BLS signatures are checked by the C library blst, about 1 ms each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyblst

from localnet import cbor
from localnet.hash_tree import look_up, root_hash
from localnet.principal import to_text
from zones.errors import ProofError, UserError

KEY_DER_PREFIX = bytes.fromhex("308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100")
"""ASN.1 header of a subnet's BLS public key (37 bytes); the key, a compressed point of G2, follows in 96 bytes."""
MAINNET_ROOT_KEY = KEY_DER_PREFIX + bytes.fromhex(
    "814c0e6ec71fab583b08bd81373c255c3c371b2e84863c98a4f1e08b74235d14fb5d9c0cd546d9685f913a0c0b2cc534"
    "1583bf4b4392e467db96d65b9bb4cb717112f8472e0d5a4d14505ffd7484b01291091c5f87b98883463f98091a0baaae"
)
"""Public key that mainnet's root subnet certifies with, from the IC interface specification ("Root of trust")."""
KEY_BYTES = len(MAINNET_ROOT_KEY)
MAX_AGE_SECONDS = 300
MAX_AHEAD_SECONDS = 60
"""How far a certificate's time may be ahead of this machine's clock: what the IC permits between its nodes' clocks."""

_SIGNATURE_DOMAIN = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_STATE_ROOT = b"\x0dic-state-root"
_G2 = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)
"""The generator of G2, compressed."""
# A compiled module without type hints.
_blst: Any = pyblst


@dataclass(frozen=True)
class Certified:
    """A canister's certified data, and the time (s since 1970) of the state that it was certified in."""

    data: bytes
    time: float


def root_key(text: str) -> bytes:
    """Return the DER-encoded root key (133 bytes) that `text` gives in hexadecimal digits, or the file it names."""
    raw = _hex(text.encode())
    if raw is None:
        try:
            content = Path(text).read_bytes()
        except OSError as error:
            raise UserError(
                f"{text[:40]!r} is neither hexadecimal digits nor a file that can be read: {error.strerror}", _KEY_HINT
            ) from error
        raw = _hex(content) or content
    if len(raw) != KEY_BYTES or not raw.startswith(KEY_DER_PREFIX):
        raise UserError(f"{text[:40]!r} is no root key: it has {len(raw)} bytes", _KEY_HINT)
    return raw


_KEY_HINT = (
    f"a root key is a BLS key of {KEY_BYTES} bytes in DER: 308182301d..., as /api/v2/status has it; "
    "`local` is the local network's"
)


def _hex(text: bytes) -> bytes | None:
    try:
        return bytes.fromhex(text.decode().strip().removeprefix("0x"))
    except ValueError:
        return None


@dataclass(frozen=True)
class Running:
    """Who controls a canister and what it runs (None for no code shown), and when (s since 1970) that was certified."""

    controllers: list[bytes]
    module_hash: bytes | None
    time: float


def certified_data(certificate: bytes, canister: bytes, key: bytes, now: float) -> Certified:
    """Return what `certificate` proves about `canister` at the time `now` (s) to who trusts the root `key`.

    Raises ProofError when it proves nothing: malformed, signed by another key, of a subnet that does not have the
    canister, without the canister's certified data, older than 5 minutes, more than a minute ahead.
    """
    with _reading():
        tree, time = _proven(certificate, canister, key, now)
        data = look_up(tree, [b"canister", canister, b"certified_data"])
    if data is None:
        raise ProofError(f"the certificate has no certified data of the canister {to_text(canister)}", _ENDPOINT)
    return Certified(data, time)


def running_paths(canister: bytes) -> list[list[bytes]]:
    """Return the paths of the state tree that `certified_running` looks at."""
    return [[b"canister", canister, name] for name in (b"controllers", b"module_hash")]


def certified_running(certificate: bytes, canister: bytes, key: bytes, now: float) -> Running:
    """Return who controls a canister and what it runs as `certificate` proves it; raises as `certified_data` does."""
    controllers_path, module_path = running_paths(canister)
    with _reading():
        tree, time = _proven(certificate, canister, key, now)
        controllers = look_up(tree, controllers_path)
        found = None if controllers is None else _principals(cbor.decode(controllers))
        module = look_up(tree, module_path)
    if found is None:
        raise ProofError(f"the certificate has no controllers of the canister {to_text(canister)}", _ENDPOINT)
    return Running(found, module, time)


def _principals(value: Any) -> list[bytes]:
    if not isinstance(value, list) or not all(isinstance(principal, bytes) for principal in value):
        raise TypeError("its controllers are no list of principals")
    return value


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ProofError(f"the certificate is malformed: {error}", _ENDPOINT) from error


def _proven(certificate: bytes, canister: bytes, key: bytes, now: float) -> tuple[Any, float]:
    """Return the tree of a certificate by a subnet that has the canister, and its time."""
    content = _decoded(certificate)
    delegation = content.get("delegation")
    if delegation is not None:
        key = _delegated(delegation, canister, key)
    _check_signature(content, key, "certificate")
    return content["tree"], _time(look_up(content["tree"], [b"time"]), now)


_ENDPOINT = "the endpoint, or someone between it and you, is broken or lies: read through another one"


def _decoded(certificate: Any) -> dict[str, Any]:
    content = cbor.decode(certificate)
    if not isinstance(content, dict):
        raise TypeError("it is no map")
    return content


def _time(leaf: bytes | None, now: float) -> float:
    """Return the certificate's time, a LEB128 number of ns, in s."""
    if leaf is None:
        raise TypeError("it has no time")
    time = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(leaf)) / 1e9
    if time < now - MAX_AGE_SECONDS:
        raise ProofError(
            f"the certificate is {now - time:.0f} s old, at most {MAX_AGE_SECONDS} s are accepted",
            "is this machine's clock right? Otherwise the endpoint repeats old answers: read through another one",
        )
    if time > now + MAX_AHEAD_SECONDS:
        raise ProofError(
            f"the certificate is from {time - now:.0f} s in the future, at most {MAX_AHEAD_SECONDS} s are accepted",
            "set this machine's clock",
        )
    return time


def _delegated(delegation: dict[str, Any], canister: bytes, key: bytes) -> bytes:
    """Return the key of the subnet that the root subnet has delegated to, if that subnet has the canister."""
    content = _decoded(delegation["certificate"])
    if content.get("delegation") is not None:
        raise ProofError("the certificate's delegation holds a delegation itself: one level is allowed", _ENDPOINT)
    _check_signature(content, key, "delegation")
    subnet, tree = delegation["subnet_id"], content["tree"]
    shards = _leaves(tree, [b"canister_ranges", subnet])
    flat = look_up(tree, [b"subnet", subnet, b"canister_ranges"])
    ranges = [pair for shard in [*shards, *([] if flat is None else [flat])] for pair in cbor.decode(shard)]
    if not any(first <= canister <= last for first, last in ranges):
        raise ProofError(
            f"the certificate is of the subnet {to_text(subnet)}, which does not have the canister {to_text(canister)}",
            _ENDPOINT,
        )
    found = look_up(tree, [b"subnet", subnet, b"public_key"])
    if found is None:
        raise TypeError("its delegation has no public key")
    return found


def _leaves(form: Any, path: list[bytes]) -> list[bytes]:
    """Return all leaves directly below a path of a tree that was checked."""
    kind, *parts = form
    if kind == 1:
        return _leaves(parts[0], path) + _leaves(parts[1], path)
    if kind == 2 and not path:
        return [parts[1][1]] if parts[1][0] == 3 else []
    return _leaves(parts[1], path[1:]) if kind == 2 and parts[0] == path[0] else []


def _check_signature(content: dict[str, Any], key: bytes, what: str) -> None:
    """Raise ProofError unless the key signed the root hash of the tree."""
    message = _STATE_ROOT + root_hash(content["tree"])
    if not key.startswith(KEY_DER_PREFIX) or not _signed(message, content["signature"], key[len(KEY_DER_PREFIX) :]):
        raise ProofError(
            f"the {what} is not signed by the key ...{key[-8:].hex()}",
            "mainnet's key is the default: name another network's with --root-key (`local` for the local network's), "
            "if it is another network",
        )


def _signed(message: bytes, signature: bytes, key: bytes) -> bool:
    try:
        point, signed = _blst.BlstP2Element.uncompress(key), _blst.BlstP1Element.uncompress(signature)
        hashed = _blst.BlstP1Element.hash_to_group(message, _SIGNATURE_DOMAIN)
        left = _blst.miller_loop(signed, _blst.BlstP2Element.uncompress(_G2))
        return _blst.final_verify(left, _blst.miller_loop(hashed, point))
    except ValueError:
        return False
