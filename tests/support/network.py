"""A network under test: the `pocket_ic` client plus what it lacks, on `localnet` or on a genuine PocketIC.

Calls raise `CallRejected` with code and text instead of a bare ``ValueError``. Payloads are raw bytes:
encode them with ``ic.encode`` or pass what a canister expects.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ic
import pocket_ic
from ic.principal import Principal
from pocket_ic import SubnetConfig

from localnet import candid
from localnet import management_types as types

CHUNK_BYTES = 1024 * 1024
MAX_ROUNDS = 100
ANONYMOUS = Principal.anonymous()


class CallRejected(Exception):
    """A call was rejected: ``reject_code`` and ``error_code`` are the names PocketIC gives them."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['error_code']} ({error['reject_code']}): {error['reject_message']}")
        self.reject_code: str = error["reject_code"]
        self.error_code: str = error["error_code"]
        self.message: str = error["reject_message"]


@dataclass(frozen=True)
class Outcall:
    """An HTTPS outcall that waits for a response."""

    subnet_id: str
    request_id: int
    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    max_response_bytes: int | None


def use_localnet() -> bool:
    """Point the `pocket_ic` client to localnet unless ``POCKET_IC_BIN`` names a server. True for localnet.

    The program named must be a plain file, so a virtual environment's ``localnet`` script is used.
    """
    binary = os.environ.get("POCKET_IC_BIN")
    if binary is None:
        binary = str(Path(sys.executable).parent / "localnet")
        os.environ["POCKET_IC_BIN"] = binary
    # The client takes a port file that is left over from an older process with this process's number.
    _remove_stale_port_file()
    return Path(binary).name == "localnet"


_cleaned: set[int] = set()


def _remove_stale_port_file() -> None:
    if os.getpid() not in _cleaned:
        _cleaned.add(os.getpid())
        with contextlib.suppress(FileNotFoundError):
            Path(tempfile.gettempdir(), f"pocket_ic_{os.getpid()}.port").unlink()


def principal(value: Principal | str | bytes) -> Principal:
    """A principal from itself, its text or its bytes."""
    if isinstance(value, Principal):
        return value
    return Principal.from_str(value) if isinstance(value, str) else Principal(value)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Network:
    """One PocketIC instance. Use it as a context manager, or call `close`.

    ``sender`` arguments are principals; without one calls are anonymous.
    """

    def __init__(self, subnets: SubnetConfig | None = None) -> None:
        self.is_localnet = use_localnet()
        self.pic = pocket_ic.PocketIC(subnets)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the instance."""
        # The client's own __del__ deletes it again, which does no harm while the server runs.
        self.pic.server.delete_instance(self.pic.instance_id)

    @property
    def url(self) -> str:
        """Base address of the instance; its ``/api/v2`` is below."""
        return f"{self.pic.server.url}/instances/{self.pic.instance_id}"

    # Calls -------------------------------------------------------------------------------------------

    def post(self, endpoint: str, body: Any = None) -> Any:
        """POST to an endpoint of the instance; returns the JSON."""
        return self.pic.server.instance_post(endpoint, self.pic.instance_id, body)

    def get(self, endpoint: str) -> Any:
        """GET an endpoint of the instance; returns the JSON."""
        return self.pic.server.instance_get(endpoint, self.pic.instance_id)

    def _call(
        self, canister_id: Principal | None, method: str, payload: bytes, sender: Principal, effective: Any
    ) -> dict[str, Any]:
        target = canister_id if canister_id is not None else Principal.management_canister()
        return {
            "sender": _b64(sender.bytes),
            "effective_principal": effective if effective is not None else "None",
            "canister_id": _b64(target.bytes),
            "method": method,
            "payload": _b64(payload),
        }

    def query(
        self, canister_id: Principal | None, method: str, payload: bytes = b"", sender: Principal = ANONYMOUS
    ) -> bytes:
        """Query; returns the raw reply."""
        return _unwrap(self.post("read/query", self._call(canister_id, method, payload, sender, None)))

    def submit(
        self,
        canister_id: Principal | None,
        method: str,
        payload: bytes = b"",
        sender: Principal = ANONYMOUS,
        effective: Any = None,
    ) -> dict[str, Any]:
        """Submit an update without executing it; returns the message id for `status` and `wait`."""
        body = self._call(canister_id, method, payload, sender, effective)
        answer = self.post("update/submit_ingress_message", body)
        if "Err" in answer:
            raise CallRejected(answer["Err"])
        return answer["Ok"]

    def status(self, message_id: dict[str, Any]) -> bytes | None:
        """The reply to a submitted update, or None while there is none. Raises `CallRejected`."""
        answer = self.post("read/ingress_status", {"raw_message_id": message_id, "raw_caller": None})
        return None if answer is None else _unwrap(answer)

    def wait(self, message_id: dict[str, Any], rounds: int = MAX_ROUNDS) -> bytes:
        """Tick until a submitted update is answered; returns the raw reply."""
        for _ in range(rounds):
            answer = self.status(message_id)
            if answer is not None:
                return answer
            self.tick()
        raise TimeoutError(f"no answer within {rounds} rounds")

    def update(
        self,
        canister_id: Principal | None,
        method: str,
        payload: bytes = b"",
        sender: Principal = ANONYMOUS,
        effective: Any = None,
    ) -> bytes:
        """Update; returns the raw reply."""
        return self.wait(self.submit(canister_id, method, payload, sender, effective))

    # Time and rounds -----------------------------------------------------------------------------------

    def tick(self, rounds: int = 1) -> None:
        """Execute rounds."""
        for _ in range(rounds):
            self.pic.tick()

    def time(self) -> int:
        """Nanoseconds since 1970 on the network."""
        return self.pic.get_time()["nanos_since_epoch"]

    def advance(self, seconds: float) -> None:
        """Move time forward and execute a round."""
        self.pic.advance_time(int(seconds * 1e9))
        self.tick()

    def auto_progress(self) -> None:
        """Switch to real time and rounds without being asked."""
        self.pic.set_time(max(self.time(), time.time_ns()))
        self.post("auto_progress", {"artificial_delay_ms": None})

    def stop_progress(self) -> None:
        """Switch `auto_progress` off."""
        self.post("stop_progress", "")

    # Outcalls ----------------------------------------------------------------------------------------

    def outcalls(self) -> list[Outcall]:
        """The outcalls that wait for a response."""
        return [
            Outcall(
                subnet_id=item["subnet_id"]["subnet_id"],
                request_id=item["request_id"],
                method=item["http_method"],
                url=item["url"],
                headers=[(header["name"], header["value"]) for header in item["headers"]],
                body=base64.b64decode(item["body"]),
                max_response_bytes=item["max_response_bytes"],
            )
            for item in self.get("read/get_canister_http")
        ]

    def next_outcall(self, rounds: int = 10) -> Outcall:
        """Tick until an outcall is pending, and return the first."""
        for _ in range(rounds):
            pending = self.outcalls()
            if pending:
                return pending[0]
            self.tick()
        raise TimeoutError(f"no outcall within {rounds} rounds")

    def answer(
        self, outcall: Outcall, body: bytes, status: int = 200, headers: list[tuple[str, str]] | None = None
    ) -> None:
        """Answer an outcall; the canister sees it in the next round."""
        pairs = [{"name": name, "value": value} for name, value in headers or []]
        self._mock(outcall, {"CanisterHttpReply": {"status": status, "headers": pairs, "body": _b64(body)}})

    def refuse(self, outcall: Outcall, message: str, code: int = 2) -> None:
        """Let an outcall fail with a reject code (1 to 5) and text."""
        self._mock(outcall, {"CanisterHttpReject": {"reject_code": code, "message": message}})

    def _mock(self, outcall: Outcall, response: Any) -> None:
        body = {
            "subnet_id": {"subnet_id": outcall.subnet_id},
            "request_id": outcall.request_id,
            "response": response,
            "additional_responses": [],
        }
        self.post("update/mock_canister_http", body)

    # Canisters ---------------------------------------------------------------------------------------

    def create(
        self,
        cycles: int | None = None,
        controllers: list[Principal] | None = None,
        sender: Principal = ANONYMOUS,
        **settings: Any,
    ) -> Principal:
        """Create a canister with cycles (default: the network's, 100 T) and settings; returns its id."""
        chosen: dict[str, Any] = {**settings}
        if controllers is not None:
            chosen["controllers"] = [controller.bytes for controller in controllers]
        value = {"amount": cycles, "settings": chosen}
        reply = self.manage("provisional_create_canister_with_cycles", types.PROVISIONAL_CREATE, value, sender)
        return Principal(candid.decode(reply, [types.CANISTER_ID])[0]["canister_id"])

    def manage(
        self,
        method: str,
        kind: candid.Type,
        value: dict[str, Any],
        sender: Principal = ANONYMOUS,
        effective: Principal | None = None,
    ) -> bytes:
        """Call a management method with a value of its argument type; returns the raw reply."""
        where = None if effective is None else {"CanisterId": _b64(effective.bytes)}
        return self.update(None, method, candid.encode([kind], [value]), sender, where)

    def install(
        self,
        canister_id: Principal,
        module: bytes,
        arg: bytes = b"DIDL\x00\x00",
        sender: Principal = ANONYMOUS,
        mode: str = "install",
        **options: Any,
    ) -> None:
        """Install code; modules too large for one message go through the canister's chunk store.

        ``options`` are the upgrade options: ``skip_pre_upgrade``, ``wasm_memory_persistence``.
        """
        chosen = (mode, (options or None) if mode == "upgrade" else None)
        if len(module) + len(arg) > 1_900_000:
            self._install_chunked(canister_id, module, arg, sender, chosen)
            return
        value = {"mode": chosen, "canister_id": canister_id.bytes, "wasm_module": module, "arg": arg}
        self.manage("install_code", types.INSTALL, value, sender, canister_id)

    def _install_chunked(
        self, canister_id: Principal, module: bytes, arg: bytes, sender: Principal, mode: tuple[str, Any]
    ) -> None:
        hashes = []
        for at in range(0, len(module), CHUNK_BYTES):
            chunk = {"canister_id": canister_id.bytes, "chunk": module[at : at + CHUNK_BYTES]}
            reply = self.manage("upload_chunk", types.UPLOAD_CHUNK, chunk, sender, canister_id)
            hashes.append(candid.decode(reply, [types.CHUNK_HASH])[0])
        value = {
            "mode": mode,
            "target_canister": canister_id.bytes,
            "store_canister": None,
            "chunk_hashes_list": hashes,
            "wasm_module_hash": hashlib.sha256(module).digest(),
            "arg": arg,
        }
        self.manage("install_chunked_code", types.INSTALL_CHUNKED, value, sender, canister_id)
        self.manage("clear_chunk_store", types.CANISTER_ID, {"canister_id": canister_id.bytes}, sender, canister_id)

    def upgrade(
        self,
        canister_id: Principal,
        module: bytes,
        arg: bytes = b"DIDL\x00\x00",
        sender: Principal = ANONYMOUS,
        **options: Any,
    ) -> None:
        """Upgrade code, with the upgrade options of `install`."""
        self.install(canister_id, module, arg, sender, "upgrade", **options)

    def reinstall(
        self,
        canister_id: Principal,
        module: bytes,
        arg: bytes = b"DIDL\x00\x00",
        sender: Principal = ANONYMOUS,
    ) -> None:
        """Reinstall code: state is lost."""
        self.install(canister_id, module, arg, sender, "reinstall")

    def deploy(
        self,
        module: bytes,
        arg: bytes = b"DIDL\x00\x00",
        cycles: int | None = None,
        controllers: list[Principal] | None = None,
        sender: Principal = ANONYMOUS,
    ) -> Principal:
        """Create a canister and install code; returns its id."""
        canister_id = self.create(cycles, controllers, sender)
        self.install(canister_id, module, arg, sender)
        return canister_id

    def _about(self, method: str, canister_id: Principal, sender: Principal) -> bytes:
        return self.manage(method, types.CANISTER_ID, {"canister_id": canister_id.bytes}, sender, canister_id)

    def start(self, canister_id: Principal, sender: Principal = ANONYMOUS) -> None:
        """Start a canister."""
        self._about("start_canister", canister_id, sender)

    def stop(self, canister_id: Principal, sender: Principal = ANONYMOUS) -> None:
        """Stop a canister; returns when it stopped."""
        self._about("stop_canister", canister_id, sender)

    def delete(self, canister_id: Principal, sender: Principal = ANONYMOUS) -> None:
        """Delete a stopped canister."""
        self._about("delete_canister", canister_id, sender)

    def uninstall(self, canister_id: Principal, sender: Principal = ANONYMOUS) -> None:
        """Remove a canister's code and state."""
        self._about("uninstall_code", canister_id, sender)

    # Snapshots ---------------------------------------------------------------------------------------

    def take_snapshot(
        self,
        canister_id: Principal,
        sender: Principal = ANONYMOUS,
        replace: bytes | None = None,
        *,
        uninstall_code: bool = False,
    ) -> dict[str, Any]:
        """Take a snapshot, in place of another one if asked to; returns its id, time and size (`types.SNAPSHOT`)."""
        value = {
            "canister_id": canister_id.bytes,
            "replace_snapshot": replace,
            "uninstall_code": uninstall_code or None,
        }
        reply = self.manage("take_canister_snapshot", types.TAKE_SNAPSHOT, value, sender, canister_id)
        return candid.decode(reply, [types.SNAPSHOT])[0]

    def load_snapshot(self, canister_id: Principal, snapshot_id: bytes, sender: Principal = ANONYMOUS) -> None:
        """Put a snapshot's state into a canister."""
        value = {"canister_id": canister_id.bytes, "snapshot_id": snapshot_id}
        self.manage("load_canister_snapshot", types.LOAD_SNAPSHOT, value, sender, canister_id)

    def snapshots(self, canister_id: Principal, sender: Principal = ANONYMOUS) -> list[dict[str, Any]]:
        """The canister's snapshots, oldest first."""
        return candid.decode(self._about("list_canister_snapshots", canister_id, sender), [types.SNAPSHOTS])[0]

    def delete_snapshot(self, canister_id: Principal, snapshot_id: bytes, sender: Principal = ANONYMOUS) -> None:
        """Delete a snapshot."""
        value = {"canister_id": canister_id.bytes, "snapshot_id": snapshot_id}
        self.manage("delete_canister_snapshot", types.SNAPSHOT_ID, value, sender, canister_id)

    # Information -------------------------------------------------------------------------------------

    def canister_status(self, canister_id: Principal, sender: Principal = ANONYMOUS) -> dict[str, Any]:
        """The management canister's ``canister_status`` as a dict; variants are pairs, principals bytes."""
        return candid.decode(self._about("canister_status", canister_id, sender), [types.STATUS])[0]

    def update_settings(self, canister_id: Principal, sender: Principal = ANONYMOUS, **settings: Any) -> None:
        """Change settings; ``controllers`` are principals."""
        if "controllers" in settings:
            settings["controllers"] = [controller.bytes for controller in settings["controllers"]]
        value = {"canister_id": canister_id.bytes, "settings": settings}
        self.manage("update_settings", types.UPDATE_SETTINGS, value, sender, canister_id)

    def logs(self, canister_id: Principal, sender: Principal = ANONYMOUS) -> list[bytes]:
        """What the canister printed, oldest first."""
        payload = candid.encode([types.CANISTER_ID], [{"canister_id": canister_id.bytes}])
        effective = {"CanisterId": _b64(canister_id.bytes)}
        body = self._call(None, "fetch_canister_logs", payload, sender, effective)
        (records,) = candid.decode(_unwrap(self.post("read/query", body)), [types.LOGS])
        return [record["content"] for record in records["canister_log_records"]]

    def cycles(self, canister_id: Principal) -> int:
        """The cycles balance of a canister."""
        return self.pic.get_cycles_balance(canister_id)

    def add_cycles(self, canister_id: Principal, amount: int) -> int:
        """Give cycles to a canister; returns the new balance."""
        return self.pic.add_cycles(canister_id, amount)

    def exists(self, canister_id: Principal) -> bool:
        """True when the canister exists."""
        return self.pic.check_canister_exists(canister_id)

    def stable_memory(self, canister_id: Principal) -> bytes:
        """The canister's stable memory."""
        return self.pic.get_stable_memory(canister_id)


def _unwrap(answer: dict[str, Any]) -> bytes:
    if "Err" in answer:
        raise CallRejected(answer["Err"])
    return base64.b64decode(answer["Ok"])


def encode(*arguments: tuple[Any, Any]) -> bytes:
    """Candid arguments from pairs of an ``ic.Types`` type and a value."""
    return ic.encode([{"type": kind, "value": value} for kind, value in arguments])
