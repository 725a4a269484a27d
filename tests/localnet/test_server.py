"""The server process: limits from the command line, lifetime, determinism, gateways, wrong input."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import httpx
import pytest

from localnet import candid
from localnet import management_types as types
from localnet.outcall_client import parse_mapping
from tests.localnet.wat import COUNTER, canister
from tests.support.network import Network, use_localnet

pytestmark = pytest.mark.localnet_only("starts localnet with options of its own")


class Server:
    """A localnet process of its own, spoken to with plain HTTP."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port_file = folder / "port"
        command = [sys.executable, "-m", "localnet", "--port-file", str(self.port_file), *options]
        self.errors = (folder / "errors").open("w+")
        self.process = subprocess.Popen(command, stderr=self.errors)
        deadline = time.monotonic() + 60
        while not (self.port_file.exists() and "\n" in self.port_file.read_text()):
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{self.port_file.read_text().strip()}"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def instance(self) -> str:
        config = {"subnet_config_set": {"application": [{"state_config": "New", "instruction_config": "Production"}]}}
        created = self.client.post("/instances", json=config).json()["Created"]
        return f"/instances/{created['instance_id']}"

    def update(self, instance: str, canister_id: bytes, method: str, payload: bytes) -> dict[str, Any]:
        body = {
            "sender": base64.b64encode(b"\x04").decode(),
            "effective_principal": "None",
            "canister_id": base64.b64encode(canister_id).decode(),
            "method": method,
            "payload": base64.b64encode(payload).decode(),
        }
        message = self.client.post(f"{instance}/update/submit_ingress_message", json=body).json()
        if "Err" in message:
            return message
        return self.client.post(f"{instance}/update/await_ingress_message", json=message["Ok"]).json()

    def deploy(self, instance: str, module: bytes) -> bytes:
        arg = candid.encode([types.PROVISIONAL_CREATE], [{}])
        reply = self.update(instance, b"", "provisional_create_canister_with_cycles", arg)["Ok"]
        (value,) = candid.decode(base64.b64decode(reply), [types.CANISTER_ID])
        install = {**value, "mode": ("install", None), "wasm_module": module, "arg": b""}
        assert "Ok" in self.update(instance, b"", "install_code", candid.encode([types.INSTALL], [install]))
        return value["canister_id"]

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(20)
        self.errors.seek(0)
        text = self.errors.read()
        self.errors.close()
        assert "Traceback" not in text, text


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with low instruction limits."""
    limits = ["--instruction-limit-update", "1000000", "--instruction-limit-query", "500000"]
    found = Server(tmp_path_factory.mktemp("server"), *limits)
    yield found
    found.stop()


LOOPING = """
(func $forever (loop $again (br $again)))
(func (export "canister_update loop") (call $forever))
(func (export "canister_query ask") (call $forever))
"""


def test_a_message_over_its_instruction_limit_is_stopped(server: Server) -> None:
    instance = server.instance()
    target = server.deploy(instance, canister(LOOPING + COUNTER))
    for method, limit in (("loop", 1_000_000), ("ask", 1_000_000)):
        error = server.update(instance, target, method, b"")["Err"]
        assert error["error_code"] == "CanisterInstructionLimitExceeded"
        assert f"the limit of {limit} instructions" in error["reject_message"]
    body = {
        "sender": "BA==",
        "effective_principal": "None",
        "canister_id": base64.b64encode(target).decode(),
        "method": "ask",
        "payload": "",
    }
    error = server.client.post(f"{instance}/read/query", json=body).json()["Err"]
    assert "the limit of 500000 instructions" in error["reject_message"]
    assert "Ok" in server.update(instance, target, "increment", b"")


def test_an_unused_server_ends_and_takes_its_port_file_along(tmp_path: Path) -> None:
    found = Server(tmp_path, "--ttl", "0.5")
    assert found.process.wait(20) == 0
    assert not found.port_file.exists()
    found.stop()


def test_a_second_server_leaves_a_taken_port_file_alone_and_replaces_a_dead_one(tmp_path: Path) -> None:
    found = Server(tmp_path)
    text = found.port_file.read_text()
    command = [sys.executable, "-m", "localnet", "--port-file", str(found.port_file)]
    assert subprocess.run(command, timeout=30, check=False).returncode == 0
    assert found.port_file.read_text() == text
    found.process.kill()
    found.process.wait(20)
    assert found.port_file.exists()
    again = Server(tmp_path)
    # The stale file may be read before it is replaced: wait for the new server's.
    deadline = time.monotonic() + 20
    while again.port_file.read_text() == text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found.stop()
    again.stop()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--listen", "nowhere"], "HOST:PORT"),
        (["--outcall", "example.org"], "HOST=http://127.0.0.1:PORT"),
        (["--outcall", "example.org=http://192.0.2.1:80"], "this machine"),
        (["--auto-progress"], "--listen"),
        (["--ttl", "-1"], "more than 0"),
    ],
)
def test_a_wrong_command_line_is_explained_without_a_traceback(options: list[str], text: str) -> None:
    command = [sys.executable, "-m", "localnet", *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_explained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "localnet", "--listen", f"127.0.0.1:{port}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, f"127.0.0.1:{port}" in result.stderr) == (2, True)


def test_mappings_keep_ports_and_refuse_other_machines() -> None:
    assert parse_mapping("LOCALHOST:8545=http://127.0.0.1:9") == ("localhost:8545", "http://127.0.0.1:9")
    for wrong in ("a=https://127.0.0.1:1", "a=http://example.org", "=http://127.0.0.1:1", "a=http://127.0.0.1:1/x"):
        with pytest.raises(ValueError, match=r"is no|must be"):
            parse_mapping(wrong)


def run_of(server: Server) -> list[Any]:
    """A fixed sequence of calls and everything visible of it."""
    instance = server.instance()
    seen: list[Any] = []
    body = """
    (table 1 funcref) (elem (i32.const 0) $on_reply)
    (func $on_reply (param i32)
      (call $msg_arg_data_copy (i32.const 60) (i32.const 0) (call $msg_arg_data_size))
      (call $answer (i32.const 60) (call $msg_arg_data_size)))
    (func (export "canister_update random")
      (call $call_new (i32.const 0) (i32.const 0) (i32.const 40) (i32.const 8)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (drop (call $call_perform)))
    """
    target = server.deploy(instance, canister(body, {40: b"raw_rand"}))
    seen.append(target)
    seen += [server.update(instance, target, "random", b"") for _ in range(3)]
    seen.append(server.client.get(f"{instance}/read/get_time").json())
    identifier = {"canister_id": base64.b64encode(target).decode()}
    seen.append(server.client.post(f"{instance}/read/get_cycles", json=identifier).json())
    seen.append(server.client.get(f"{instance}/read/topology").json())
    return seen


def test_the_same_seed_and_calls_give_the_same_network(server: Server, tmp_path: Path) -> None:
    first = run_of(server)
    assert len({json.dumps(reply) for reply in first[1:4]}) == 3
    assert run_of(server) == first
    other = Server(tmp_path, "--seed", "1")
    try:
        assert run_of(other)[1] != first[1]
    finally:
        other.stop()


def test_a_gateway_serves_an_instance_at_its_root(server: Server) -> None:
    instance = server.instance()
    number = int(instance.rpartition("/")[2])
    config = {"ip_addr": None, "port": None, "forward_to": {"PocketIcInstance": number}, "domains": None}
    created = server.client.post("/http_gateway", json=config)
    assert created.status_code == 201
    info = created.json()["Created"]
    status = cbor2.loads(httpx.get(f"http://127.0.0.1:{info['port']}/api/v2/status").content)
    below = cbor2.loads(server.client.get(f"{instance}/api/v2/status").content)
    assert status["root_key"] == below["root_key"]
    assert server.client.get("/http_gateway").json()[0]["port"] == info["port"]
    assert server.client.post(f"/http_gateway/{info['instance_id']}/stop").status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{info['port']}/api/v2/status")


def test_auto_progress_executes_rounds_by_itself() -> None:
    with Network() as net:
        target = net.deploy(canister(COUNTER))
        assert net.get("auto_progress") is False
        net.auto_progress()
        assert net.get("auto_progress") is True
        message = net.submit(target, "increment")
        deadline = time.monotonic() + 20
        while net.status(message) is None:
            assert time.monotonic() < deadline
        assert abs(net.time() - time.time_ns()) < 20_000_000_000
        net.stop_progress()
        assert net.get("auto_progress") is False
        before = net.time()
        assert net.time() == before


def test_use_localnet_names_the_program_in_the_environment() -> None:
    assert use_localnet() == (Path(os.environ["POCKET_IC_BIN"]).name == "localnet")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"state_dir": "/proc/self"}, "cannot be used as a state folder"),
        ({"icp_features": {"registry": "DefaultConfig"}}, "registry"),
        ({"subnet_config_set": {"application": []}}, "at least one subnet"),
        ({"subnet_config_set": {"application": [{"state_config": {"FromPath": "/x"}}]}}, "FromPath"),
        ({"subnet_config_set": {"cloud_engine": [{}]}}, "cloud_engine"),
        ({"subnet_config_set": {"application": [{"instruction_config": "Benchmarking"}]}}, "Benchmarking"),
        ({"subnet_config_set": {"application": 101}}, "0 to 100"),
        ({"subnet_config_set": {"nns": 5}}, "SubnetSpec"),
        ({"icp_config": {"beta_features": "Enabled"}}, "beta_features"),
        ({"bitcoind_addr": ["127.0.0.1:18444"]}, "bitcoind_addr"),
        ({"incomplete_state": "Always"}, "incomplete_state"),
        ({"initial_time": {"AutoProgress": {"artificial_delay_ms": 5}}}, "artificial_delay_ms"),
        ({"initial_time": {"Timestamp": {"nanos_since_epoch": -1}}}, "64-bit"),
        ({"initial_time": {"Timestamp": {"nanos_since_epoch": 1_620_328_629_999_999_999}}}, "must not be before"),
        ({"http_gateway_config": {"https_config": {"cert_path": "a", "key_path": "b"}}}, "https_config"),
        ({"http_gateway_config": {"domains": ["example.org"]}}, "example.org"),
        ({"http_gateway_config": {"ip_addr": "no address"}}, "IP address"),
        ({"http_gateway_config": {"ip_addr": "192.0.2.1"}}, "cannot listen"),
    ],
)
def test_what_an_instance_cannot_have_is_refused(server: Server, change: dict[str, Any], text: str) -> None:
    reply = server.client.post("/instances", json={"subnet_config_set": {"application": [{}]}, **change})
    assert (reply.status_code, text in reply.json()["Error"]["message"]) == (400, True)
