"""Code for one zone canister, as an admin of its factory has it installed: what is sent, and with which argument.

Not for the calls themselves (`zones.rollouts`), nor for rollouts and owners, who install releases only.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localnet import candid as c
from zones.agent import MAX_INGRESS_BYTES
from zones.calls import encoded
from zones.errors import UserError
from zones.factory import Factory

WASM_HEADER = b"\0asm\1\0\0\0"
_GZIP_HEADER = b"\x1f\x8b"
MAX_WASM_BYTES = 32 * 1_048_576
"""Largest Wasm that a factory keeps as a release."""
_CALL_MARGIN = 4_096
"""Bytes of a call beside Wasm and argument."""

_ZONE_INIT = c.record(
    zone_id=c.TEXT, rpc_host=c.TEXT, rpc_path=c.TEXT, cycles_requester_id=c.PRINCIPAL, call_token=c.opt(c.BLOB)
)


@dataclass(frozen=True)
class Code:
    """A zone's code: its SHA-256, what a call carries of it (the Wasm, or the hash alone), its version as a release."""

    wasm_hash: bytes
    module: bytes
    release: int | None

    @property
    def name(self) -> str:
        """What it is for people."""
        digest = self.wasm_hash.hex()
        return f"the code {digest}" if self.release is None else f"release {self.release} ({digest})"


def read_wasm(path: str) -> bytes:
    """Return the Wasm, gzipped or not, in a file; raises UserError for a file that holds none."""
    hint = "name a canister's Wasm, gzipped or not"
    try:
        size = Path(path).stat().st_size
        if size > MAX_WASM_BYTES:
            raise UserError(f"{path} has {size} bytes, a zone's Wasm at most {MAX_WASM_BYTES}", hint)
        wasm = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", hint) from error
    try:
        plain = gzip.decompress(wasm) if wasm.startswith(_GZIP_HEADER) else wasm
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}", "build or fetch it again") from error
    if not plain.startswith(WASM_HEADER):
        raise UserError(f"{path} is no Wasm: it begins with {plain[:8].hex() or 'nothing'}", hint)
    return wasm


def of_release(release: dict[str, Any]) -> Code:
    """Return the code of a release that its factory keeps."""
    return Code(release["wasm_hash"], release["wasm_hash"], release["version"])


def of_wasm(factory: Factory, wasm: bytes) -> Code:
    """Return a Wasm as a call carries it: by its hash where the factory keeps it as a release.

    Raises UserError for one that is too large for a call.
    """
    digest = hashlib.sha256(wasm).digest()
    release = next((found for found in factory.releases() if found["wasm_hash"] == digest), None)
    if release is not None and release["chunks"]:
        return of_release(release)
    most = MAX_INGRESS_BYTES - _CALL_MARGIN
    if len(wasm) > most:
        raise UserError(
            f"the Wasm {digest.hex()} has {len(wasm)} bytes, a call takes {most}",
            "publish it first (`zones fleet releases --publish`): the factory has it then",
        )
    return Code(digest, wasm, None if release is None else release["version"])


def zone_argument(factory: bytes, zone_id: str, rpc_host: str, rpc_path: str, call_token: bytes | None) -> bytes:
    """Return what a zone canister is installed with: its contract, and the factory that it asks for cycles.

    Raises UserError for a text that is none.
    """
    record = {
        "zone_id": zone_id,
        "rpc_host": rpc_host,
        "rpc_path": rpc_path,
        "cycles_requester_id": factory,
        "call_token": call_token,
    }
    return encoded("a zone", [_ZONE_INIT], [record])
