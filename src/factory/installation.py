"""How code gets onto a canister: from the factory's own memory through the platform's chunk store, by its SHA-256.

Flows. The chunk store is a cache: chunks that it lacks are uploaded from the stable memory before an installation, and
it is cleared only while nothing else uses it. Not for when to install, nor for stopping and starting. The caller marks
its open calls. Each flow returns what went wrong, or "".
"""

from kybra import Async, ic, text

from canister_kit.in_flight import SECOND, InFlight
from canister_kit.status import CanisterIdRecord
from factory.context import children, releases
from factory.examination import examine
from factory.principals import to_principal, to_text
from factory.releases import Entry
from factory.services import InstallMode, management

INSTALL = "install"
REINSTALL = "reinstall"
UPGRADE = "upgrade"
LEAST_CYCLES = 400_000_000_000
"""What a canister needs beyond its freezing need for an installation: the platform holds back what the longest one
would cost (300 G instructions, on a subnet of 13 nodes 0.3 T), and the rest is for snapshots, stops and checks."""
CHUNKS_IN_USE = "the chunk store is full and other installations use it: try again in a minute"
LONG = 5 * SECOND
MOST_LOOKS = 20  # of an installation that waits for the others to end, a round or two each
STORED_CHUNKS = 100  # what the platform's chunk store holds, of 1 MiB each

users = InFlight()
"""Installations that rely on what the chunk store holds."""


def install_release(canister: bytes, wasm_hash: bytes, mode: str, arg: bytes) -> Async[text]:
    """Installs a release on a canister; `mode` is INSTALL, REINSTALL or UPGRADE, `arg` is Candid."""
    key = mode.encode() + canister
    users.start(key, ic.time())
    fault = yield fill_and_install(canister, wasm_hash, mode, arg, key)
    users.finish(key)
    return fault


def fill_and_install(canister: bytes, wasm_hash: bytes, mode: str, arg: bytes, key: bytes) -> Async[text]:
    """What `install_release` does between its marks."""
    entry = releases.entry(wasm_hash)
    if entry is None or not entry.version or not entry.is_kept():
        return f"the code {wasm_hash.hex()} is not kept as a release"
    before, begun_at = seen(canister), ic.time()
    fault = yield fill_chunk_store(wasm_hash, entry, key)
    if not fault and ic.time() - begun_at > LONG:
        # What the caller read of the canister is old by now.
        fault = yield examine(canister)
        if not fault and seen(canister) != before:
            fault = f"somebody else changed {to_text(canister)} meanwhile"
    if fault:
        return fault
    answer = yield management.install_chunked_code(
        {
            "mode": install_mode(mode),
            "target_canister": to_principal(canister),
            "store_canister": ic.id(),
            "chunk_hashes_list": [{"hash": digest} for digest in entry.chunk_hashes],
            "wasm_module_hash": wasm_hash,
            "arg": arg,
        }
    )
    return "" if answer.Err is None else f"installing the code failed: {answer.Err}"


def seen(canister: bytes) -> tuple[bytes, list[bytes]]:
    """What code a child runs and who controls it, as read last."""
    child = children.get(canister)
    return (b"", []) if child is None else (child.module_hash, sorted(child.controllers))


def install_whole(canister: bytes, wasm: bytes, mode: str, arg: bytes) -> Async[text]:
    """Installs code that came with a call, without the chunk store."""
    answer = yield management.install_code(
        {"mode": install_mode(mode), "canister_id": to_principal(canister), "wasm_module": wasm, "arg": arg}
    )
    return "" if answer.Err is None else f"installing the code failed: {answer.Err}"


def fill_chunk_store(wasm_hash: bytes, entry: Entry, key: bytes) -> Async[text]:
    """Uploads the chunks of a release that the platform's chunk store lacks; `key` marks this as its user.

    A full store is cleared when no other installation is between filling it and being answered. Who waits for that is
    no user meanwhile, so that of two who wait one goes first.
    """
    this: CanisterIdRecord = {"canister_id": ic.id()}
    is_waiting = False
    for _ in range(MOST_LOOKS):
        answer = yield management.stored_chunks(this)
        if is_waiting:
            users.start(key, ic.time())
        if answer.Err is not None:
            return f"reading the chunk store failed: {answer.Err}"
        stored = {chunk["hash"] for chunk in answer.Ok}
        missing = [index for index, digest in enumerate(entry.chunk_hashes) if digest not in stored]
        if len(stored) + len(missing) <= STORED_CHUNKS:
            fault = yield upload(wasm_hash, missing)
            return fault
        if users.waited_for(ic.time()) == 1:
            answer = yield management.clear_chunk_store(this)
            if answer.Err is not None:
                return f"clearing the chunk store failed: {answer.Err}"
            fault = yield upload(wasm_hash, list(range(entry.chunks)))
            return fault
        users.finish(key)
        is_waiting = True
    return CHUNKS_IN_USE


def upload(wasm_hash: bytes, missing: list[int]) -> Async[text]:
    """Uploads chunks of a release to the platform's chunk store."""
    for index in missing:
        answer = yield management.upload_chunk({"canister_id": ic.id(), "chunk": releases.chunk(wasm_hash, index)})
        if answer.Err is not None:
            return f"filling the chunk store failed: {answer.Err}"
    return ""


def install_mode(mode: str) -> InstallMode:
    """The platform's variant for a mode."""
    if mode == INSTALL:
        return {"install": None}
    return {"reinstall": None} if mode == REINSTALL else {"upgrade": None}
