"""SIGKILL at random moments while clients call: nothing acknowledged is lost, and nothing happens twice."""

import base64
import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
import httpx
import pytest
from ic.identity import Identity
from ic.principal import Principal

from localnet import candid, ingress
from localnet import management_types as types
from tests.localnet.test_ic_interface import signed
from tests.localnet.wat import canister, number

pytestmark = pytest.mark.localnet_only("kills localnet")
LEDGER = """
(global $count (mut i32) (i32.const 0))
(func (export "canister_init") (drop (call $stable64_grow (i64.const 16))))
(func (export "canister_update add")
  (local $size i32)
  (local.set $size (call $argument (i32.const 100)))
  (call $stable64_write (i64.extend_i32_u (i32.mul (global.get $count) (i32.const 8))) (i64.const 100) (i64.const 8))
  (global.set $count (i32.add (global.get $count) (i32.const 1)))
  (call $answer32 (global.get $count)))
(func (export "canister_query count") (call $answer32 (global.get $count)))
"""
"""Appends its 8-byte arguments to stable memory, and answers with how many it has."""
PROGRAM = """
from localnet import ingress, state_folder
state_folder.MAX_REPLAY_SECONDS = 0.03
ingress.MAX_ANSWERED = {answers}
from localnet.__main__ import main
main()
"""
"""localnet with checkpoints all the time, so that kills meet them, and with a number of answers that it holds."""
CLIENTS = 3
KILLS = 5


class Victim:
    """A localnet with a state folder: a standalone one, or one that waits for instances to be created."""

    def __init__(self, folder: Path, answers: int = ingress.MAX_ANSWERED, *, standalone: bool = True) -> None:
        self._folder = folder
        self.state = folder / "state"
        listen = ["--listen", "127.0.0.1:0", "--auto-progress", "--state-dir", str(self.state)]
        self._options = listen if standalone else []
        self._program = PROGRAM.format(answers=answers)
        self._log = (folder / "log").open("ab")
        self.process: subprocess.Popen[bytes]
        self.url = ""

    def start(self) -> None:
        port_file = self._folder / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-c", self._program, *self._options, "--port-file", str(port_file)]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        give_up = time.monotonic() + 60
        while not (port_file.exists() and "\n" in port_file.read_text()):
            assert self.process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < give_up
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{port_file.read_text().strip()}/instances/0"

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        assert self.process.wait(30) == (-signal.SIGKILL if number is signal.SIGKILL else 0)


@dataclass
class Account:
    """What one client was told."""

    acknowledged: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By number, the message's id."""
    answered: dict[int, Any] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def submit(client: httpx.Client, callee: bytes, method: str, payload: bytes) -> dict[str, Any]:
    body = {
        "sender": _b64(b"\x04"),
        "effective_principal": "None",
        "canister_id": _b64(callee),
        "method": method,
        "payload": _b64(payload),
    }
    return client.post("update/submit_ingress_message", json=body).raise_for_status().json()["Ok"]


def status(client: httpx.Client, message: dict[str, Any]) -> Any:
    body = {"raw_message_id": message, "raw_caller": None}
    return client.post("read/ingress_status", json=body).raise_for_status().json()


def wait(client: httpx.Client, message: dict[str, Any]) -> Any:
    give_up = time.monotonic() + 60
    while (answer := status(client, message)) is None:
        assert time.monotonic() < give_up
        time.sleep(0.002)
    return answer


def deploy(client: httpx.Client) -> bytes:
    arg = candid.encode([types.PROVISIONAL_CREATE], [{}])
    answer = wait(client, submit(client, b"", "provisional_create_canister_with_cycles", arg))
    (value,) = candid.decode(base64.b64decode(answer["Ok"]), [types.CANISTER_ID])
    install = {**value, "mode": ("install", None), "wasm_module": canister(LEDGER), "arg": b""}
    assert "Ok" in wait(client, submit(client, b"", "install_code", candid.encode([types.INSTALL], [install])))
    return value["canister_id"]


def keep_calling(url: str, target: bytes, account: Account, numbers: Any) -> None:
    """Add numbers until the server is gone, waiting for every second answer."""
    with contextlib.suppress(httpx.HTTPError), httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        while True:
            mine = next(numbers)
            account.sent.add(mine)
            account.acknowledged[mine] = submit(client, target, "add", mine.to_bytes(8, "little"))
            if mine % 2:
                account.answered[mine] = wait(client, account.acknowledged[mine])


def test_what_was_acknowledged_before_a_kill_is_there_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    victim = Victim(tmp_path)
    victim.start()
    with httpx.Client(base_url=victim.url, timeout=30, trust_env=False) as client:
        target = deploy(client)
        topology = client.get("read/topology").json()
    accounts = [Account() for _ in range(CLIENTS)]
    numbers = [iter(range((index + 1) << 32, (index + 2) << 32)) for index in range(CLIENTS)]
    try:
        for _ in range(KILLS):
            threads = [
                threading.Thread(target=keep_calling, args=(victim.url, target, account, mine))
                for account, mine in zip(accounts, numbers, strict=True)
            ]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.05, 1.0))
            victim.end(signal.SIGKILL)
            for thread in threads:
                thread.join(60)
            victim.start()
            with httpx.Client(base_url=victim.url, timeout=30, trust_env=False) as client:
                check(client, target, accounts)
                assert client.get("read/topology").json() == topology
        victim.end(signal.SIGTERM)
        victim.start()
        with httpx.Client(base_url=victim.url, timeout=30, trust_env=False) as client:
            check(client, target, accounts)
        assert sum(len(account.acknowledged) for account in accounts) > 20
    finally:
        victim.process.kill()
        victim.process.wait(30)


def check(client: httpx.Client, target: bytes, accounts: list[Account]) -> None:
    """Compare the canister and the ingress history with what the clients were told."""
    for account in accounts:
        for mine, message in account.acknowledged.items():
            answer = wait(client, message)
            assert "Ok" in answer
            assert account.answered.setdefault(mine, answer) == answer
    there = ledger(client, target)
    assert len(set(there)) == len(there), "a call was executed twice"
    for account in accounts:
        assert account.acknowledged.keys() <= set(there), "an acknowledged call is lost"
        for mine, answer in account.answered.items():
            assert there[number(base64.b64decode(answer["Ok"])) - 1] == mine
    assert set(there) <= set().union(*(account.sent for account in accounts)), "a call came from nowhere"


def ledger(client: httpx.Client, target: bytes) -> list[int]:
    """The numbers the canister took in."""
    body = {"canister_id": _b64(target)}
    content = base64.b64decode(client.post("read/get_stable_memory", json=body).json()["blob"])
    query = {"sender": "BA==", "effective_principal": "None", "method": "count", "payload": "", **body}
    count = number(base64.b64decode(client.post("read/query", json=query).json()["Ok"]))
    return [number(content[8 * at : 8 * at + 8]) for at in range(count)]


def signed_call(target: bytes, user: Identity, mine: int) -> bytes:
    """The body of a signed call that adds a number."""
    content = {
        "request_type": "call",
        "sender": user.sender().bytes,
        "canister_id": target,
        "method_name": "add",
        "arg": mine.to_bytes(8, "little"),
        "ingress_expiry": time.time_ns() + 240 * 10**9,
    }
    return cbor2.dumps(signed(content, user))


def send(client: httpx.Client, target: bytes, body: bytes) -> None:
    """Send a signed call, which must be accepted."""
    path, headers = f"api/v2/canister/{Principal(target)}/call", {"content-type": "application/cbor"}
    assert client.post(path, content=body, headers=headers).status_code == 202


def keep_signing(url: str, target: bytes, user: Identity, numbers: Iterator[int], sent: dict[int, bytes]) -> None:
    """Send signed calls until the server is gone."""
    with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        while True:
            mine = next(numbers)
            sent[mine] = signed_call(target, user, mine)
            send(client, target, sent[mine])


def test_signed_calls_sent_again_after_a_kill_are_carried_out_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    victim = Victim(tmp_path, answers=3)
    user, numbers = Identity(), iter(range(1 << 32))
    sent: dict[int, bytes] = {}
    unsigned: list[int] = []
    victim.start()
    try:
        with httpx.Client(base_url=victim.url, timeout=30, trust_env=False) as client:
            target = deploy(client)
        for _ in range(3):
            thread = threading.Thread(target=keep_signing, args=(victim.url, target, user, numbers, sent))
            thread.start()
            time.sleep(chance.uniform(0.3, 0.9))
            victim.end(signal.SIGKILL)
            thread.join(60)
            victim.start()
            with httpx.Client(base_url=victim.url, timeout=30, trust_env=False) as client:
                # As clients do that don't know whether their calls arrived.
                for body in [*sent.values(), *reversed(sent.values())]:
                    send(client, target, body)
                # Its turn comes after all of those.
                unsigned.append(next(numbers))
                wait(client, submit(client, target, "add", unsigned[-1].to_bytes(8, "little")))
                assert sorted(ledger(client, target)) == sorted([*sent, *unsigned])
        assert len(sent) > 20
    finally:
        victim.process.kill()
        victim.process.wait(30)


def test_a_kill_leaves_the_whole_state_of_an_instance_a_client_created(tmp_path: Path) -> None:
    victim = Victim(tmp_path, standalone=False)
    config = {
        "subnet_config_set": {"application": [{}]},
        "state_dir": str(victim.state),
        "initial_time": {"AutoProgress": {"artificial_delay_ms": None}},
    }
    target, messages = b"", []
    for ending in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        victim.start()
        with httpx.Client(base_url=victim.url, timeout=30, trust_env=False) as client:
            created = client.post(victim.url.removesuffix("/0"), json=config)
            assert (created.status_code, created.json()["Created"]["instance_id"]) == (201, 0)
            target = target or deploy(client)
            for message in messages:
                assert "Ok" in wait(client, message)
            assert ledger(client, target) == list(range(len(messages)))
            for _ in range(3):
                messages.append(submit(client, target, "add", len(messages).to_bytes(8, "little")))
        victim.end(ending)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_gives_its_folder_free(tmp_path: Path, ending: signal.Signals) -> None:
    victim = Victim(tmp_path)
    victim.start()
    second = subprocess.run(
        [sys.executable, "-m", "localnet", "--listen", "127.0.0.1:0", "--state-dir", str(victim.state)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert f"is used by process {victim.process.pid}: stop that first" in second.stderr
    victim.end(ending)
    victim.start()
    victim.end(signal.SIGTERM)
