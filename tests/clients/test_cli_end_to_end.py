"""The command line and the main job on a running network, in separate processes where users have them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from localnet.principal import to_text
from tests.support.tool import Tool, deployed
from zones import management, network
from zones.agent import IcAgent
from zones.errors import ZonesError
from zones.sample_texts import sentences
from zones.state import State

T = 10**12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running network, a factory and a zone."""
    with deployed(tmp_path_factory.mktemp("zones"), "deploy", "create") as path:
        yield path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(folder, capsys)


def test_the_network_shows_where_it_runs(tool: Tool) -> None:
    shown = tool.json("network", "status")
    assert shown["running"]
    assert httpx.get(shown["url"] + "/api/v2/status", trust_env=False).status_code == 200


def test_deploying_again_changes_nothing(tool: Tool) -> None:
    again = tool.json("deploy")
    assert (again["installed"], again["published"]) == (False, False)
    status = tool.json("status")
    assert status["factory"]["canister"] == again["factory"]
    assert status["factory"]["release"]["wasm_sha256"] == again["zone_wasm_sha256"]


def test_deploying_again_brings_shares_that_nobody_chose_up_to_date_and_keeps_others(tool: Tool) -> None:
    def shares(*options: str) -> list[int]:
        policy = tool.json("fleet", "policy", *options)["policy"]
        return [policy[f"{who}_{what}"] for who in ("daily", "unproven") for what in ("creations", "cycles")]

    new = shares()
    assert new == [1_000, 10_000 * T, 500, 5_000 * T]
    # As local factories had them before proven owners had a share of their own.
    assert shares("--unproven-creations", "1000", "--unproven-cycles", "10000T") != new
    assert tool.json("deploy")["kept_creation_shares"] is None
    assert shares() == new
    chosen = shares("--daily-creations", "600")
    assert list(tool.json("deploy")["kept_creation_shares"].values()) == [600, 10_000 * T, 500, 5_000 * T]
    (line,) = [line for line in tool.text("deploy").splitlines() if line.startswith("policy ")]
    assert shares() == chosen
    said = "600 zones a day, 500 of them without a proof, as they were set; a new local factory's: zones fleet policy "
    assert said in line
    assert shares(*line.split("zones fleet policy ")[1].split()) == new
    assert "policy " not in tool.text("deploy")


def test_a_zone_is_created_joined_written_to_and_read(tool: Tool) -> None:
    zone = tool.json("create")
    for name, role in (("alice", 200), ("bob", 400)):
        joined = tool.json("join", "--identity", name, "--zone", zone["zone_id"], "--role", str(role))
        assert (joined["canister"], joined["role"]) == (zone["canister"], role)
    texts = [*sentences(30), "Grüße, 世界"]
    sent = tool.process("send", "--identity", "alice", "--json", "--batch", "7", text="\n\n".join(texts) + "\n")
    assert sent.returncode == 0, sent.stderr
    figures = json.loads(sent.stdout)
    assert (figures["messages"], figures["first_id"], figures["last_id"], figures["batches"]) == (31, 1, 31, 5)
    read = tool.json("read", "--identity", "bob", "--zone", zone["canister"])["messages"]
    assert [message["text"] for message in read] == texts
    part = tool.json("read", "--identity", "bob", "--from", "5", "--to", "6", "--sender", read[0]["sender"])
    assert [message["id"] for message in part["messages"]] == [5, 6]
    shown = tool.process("read", "--identity", "bob", "--from", "31")
    assert shown.stdout.rstrip().endswith("Grüße, 世界")
    status = tool.json("status")["zone"]
    assert (status["messages"], status["last_id"]) == (31, 31)
    assert {member["name"]: member["role"] for member in status["members"]} == {"alice": 200, "bob": 400}


def test_a_read_is_verified_by_the_networks_root_key(tool: Tool, tmp_path: Path) -> None:
    tool.json("create")
    tool.json("join", "--identity", "alice")
    texts = list(sentences(20))
    tool.process("send", "--identity", "alice", "--batch", "6", text="\n".join(texts) + "\n")
    key = tool.json("network", "status")["root_key"]
    read = tool.json("read", "--identity", "alice", "--verify", "--root-key", "local")
    assert [message["text"] for message in read["messages"]] == texts
    proof = read["verified"]
    assert (proof["first_id"], proof["max_id"], proof["checked"]) == (1, 20, 20)
    metas = tool.json("read", "--identity", "alice", "--meta", "--verify", "--root-key", key, "--from", "19")
    alice = tool.state.identity("alice")
    assert [(meta["id"], meta["caller"]) for meta in metas["messages"]] == [
        (19, to_text(alice.sender())),
        (20, to_text(alice.sender())),
    ]
    assert metas["verified"]["head"] == proof["head"]
    file = tmp_path / "root.key"
    file.write_bytes(bytes.fromhex(key))
    address = "0x" + alice.address.hex()
    shown = tool.process(
        "read", "--identity", "alice", "--verify", "--root-key", str(file), "--sender", address, "--to", "3"
    )
    assert shown.returncode == 0
    assert shown.stdout.count("\n") == 3
    assert shown.stderr.startswith("verified: 3 messages; the zone has ids 1 to 20, head " + proof["head"][:16])
    plain = tool.json("read", "--identity", "alice", "--meta", "--sender", address)["messages"]
    assert [meta["sha256"] for meta in plain[18:]] == [meta["sha256"] for meta in metas["messages"]]
    code, error = tool.error("read", "--identity", "alice", "--verify")
    assert (code, "is not signed by the key" in error, "--root-key (`local`" in error) == (4, True, True)


def test_limits_quotas_and_pruning_are_set_by_admins_and_shown_to_all(tool: Tool) -> None:
    tool.json("create")
    for name, role in (("alice", 200), ("bob", 400)):
        tool.json("join", "--identity", name, "--role", str(role))
    tool.process("send", "--identity", "alice", text="one\ntwo\nthree\n")
    shown = tool.json("limits", "--identity", "nobody")
    assert (shown["max_bytes"], shown["max_messages"], shown["max_age_seconds"]) == (256 << 20, None, None)
    assert shown["message_bytes"] > 0
    changed = tool.json(
        "limits", "--identity", "bob", "--max-bytes", "64MiB", "--max-messages", "9", "--max-age", "30d"
    )
    assert (changed["max_bytes"], changed["max_messages"], changed["max_age_seconds"]) == (64 << 20, 9, 30 * 86_400)
    assert tool.json("limits", "--identity", "bob", "--max-messages", "none")["max_messages"] is None
    assert "max age       30 days" in tool.text("limits")
    quota = tool.json("quota", "--identity", "bob", "--max-messages", "100")
    assert (quota["max_messages"], quota["max_bytes"], quota["used"]["messages"]) == (100, 64 << 20, 0)
    assert tool.json("quota", "--identity", "alice")["used"]["messages"] == 3
    assert "nobody is no member of the zone" in tool.text("quota", "--identity", "nobody")
    assert tool.json("prune", "--identity", "bob", "--up-to", "2")["removed"] == 2
    pruned = tool.json("limits")["eviction"]
    assert (pruned["messages_evicted"], pruned["first_id"]) == (2, 3)
    for command in (["limits", "--max-bytes", "2MiB"], ["quota", "--max-messages", "1"], ["prune", "--up-to", "3"]):
        code, error = tool.error(*command, "--identity", "alice")
        assert (code, "alice is neither an admin of the zone nor a controller" in error) == (3, True)
    code, error = tool.error("limits", "--identity", "bob", "--max-bytes", "1KiB")
    assert (code, "it must be from 1048576 to" in error) == (3, True)


def test_a_stranger_is_refused_by_the_zone(tool: Tool) -> None:
    tool.state.identity("mallory", create=True)
    for command in ("read", "send"):
        done = tool.process(command, "--identity", "mallory", text="let me in\n")
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == ("zones: error: mallory is no member of the zone (zones join --identity mallory)\n")


def test_a_machine_that_knows_only_canister_and_key_reads_too(tool: Tool, tmp_path: Path) -> None:
    zone = tool.json("create")
    tool.json("join", "--identity", "carol")
    tool.process("send", "--identity", "carol", text="from afar\n")
    other = Tool(tmp_path, tool.capsys)
    for path in (tool.state.identity_path("carol"), tool.state.key_path(zone["zone_id"])):
        copy = tmp_path / path.relative_to(tool.state.root)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
    url = tool.state.network()["url"]
    read = other.json("read", "--identity", "carol", "--network", url, "--zone", zone["canister"])
    assert [message["text"] for message in read["messages"]] == ["from afar"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["join", "--identity", "erin", "--role", str(2**256)], 1, "is no role"),
        (["create", "--rpc-path", "no-slash"], 3, "Invalid rpc_path"),
        (["join", "--identity", "mallory", "--public-key", "04" + "00" * 64], 3, "update_role"),
        (["status", "--zone", "aaaaa-aa"], 1, "no zone on"),
        (["status", "--factory", "aaaaa-aa"], 2, "refuses the request"),
        (["status", "--factory", "rwlgt-iiaaa-aaaaa-aaaaa-cai"], 3, "get_version"),
        (
            ["deploy", "--notes", "x" * 801, "--factory", "rwlgt-iiaaa-aaaaa-aaaaa-cai"],
            3,
            "rwlgt-iiaaa-aaaaa-aaaaa-cai",
        ),
    ],
)
def test_what_a_canister_refuses_is_one_line(tool: Tool, arguments: list[str], code: int, said: str) -> None:
    tool.state.identity("mallory", create=not tool.state.identity_path("mallory").exists())
    found, error = tool.error(*arguments)
    assert found == code
    assert said in error


def test_a_zone_with_a_call_token_asks_with_it(tool: Tool) -> None:
    tool.json("create", "--call-token", "5a" * 32)
    assert tool.json("join", "--identity", "dave")["role"] == 200


def test_a_network_is_started_and_stopped_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = Tool(tmp_path, capsys)
    started = tool.json("network", "start", "--port", "0")
    assert started["running"]
    code, error = tool.error("network", "start", "--port", "0")
    assert (code, "runs already" in error) == (1, True)
    assert tool.json("network", "stop") == {"stopped": True, "url": started["url"]}
    assert tool.json("network", "status") == {"running": False}


def test_a_network_comes_back_with_what_was_deployed_unless_it_starts_fresh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = Tool(tmp_path, capsys)
    owner = tool.state.identity("owner", create=True)

    def start() -> tuple[str, IcAgent]:
        url = tool.json("network", "start", "--port", "0")["url"]
        return url, IcAgent(url, owner)

    try:
        url, agent = start()
        canister = management.create_canister(agent, 5_000_000_000_000)
        tool.state.set_factory(url, to_text(canister))
        tool.json("network", "stop")
        url, agent = start()
        assert tool.state.factory(url) == to_text(canister)
        assert management.canister_status(agent, canister)["status"] == ("running", None)
        local = network.find(tool.state)
        assert local is not None
        os.kill(local.localnet.pid, signal.SIGKILL)
        os.waitpid(local.localnet.pid, 0)
        url, agent = start()
        assert tool.state.factory(url) == to_text(canister)
        management.top_up(agent, canister, 1)
        tool.json("network", "stop")
        assert "next: zones status" in tool.text("network", "start", "--port", "0")
        tool.json("network", "stop")
        other = network.start(tool.state, 0, kept=False)
        assert tool.state.factory(other.url) is None
        tool.json("network", "stop")
        url, agent = start()
        assert tool.state.factory(url) == to_text(canister)
        head = tool.state.head_path(to_text(canister), bytes.fromhex(tool.json("network", "status")["root_key"]))
        head.parent.mkdir()
        head.touch()
        tool.json("network", "stop")
        assert "next: zones deploy" in tool.text("network", "start", "--port", "0", "--fresh")
        url = network.resolve(tool.state, "local")
        agent = IcAgent(url, owner)
        assert tool.state.factory(url) is None
        with pytest.raises(ZonesError):
            management.canister_status(agent, canister)
        assert not head.exists()
    finally:
        network.stop(tool.state)


def test_the_network_starts_in_the_foreground_and_cleans_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zones", "network", "start", "--foreground", "--port", "0", "--json"]
    with subprocess.Popen([*command, "--state", str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["running"]
        local = network.find(State(tmp_path))
        assert local is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert not State(tmp_path).network()
    assert not local.localnet.alive()
    assert not local.membership.alive()


def test_the_main_job_delivers_every_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zones.demo", "--once", "--json", "--port", "0", "--messages", "1000"]
    done = subprocess.run([*command, "--state", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["intact"]
    assert (report["sent"], report["arrived"], len(report["members"])) == (1000, 1000, 2)
    assert report["send_cycles"] > 0
    assert not State(tmp_path).network()


@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGTERM, "deploying"), (signal.SIGINT, "asking"), (signal.SIGTERM, "encrypts")]
)
def test_the_main_job_leaves_no_process_behind_when_it_is_ended(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    command = [sys.executable, "-m", "zones.demo", "--port", "0", "--state", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next((line for line in process.stderr if moment in line), None)
        assert said is not None
        local = network.find(State(tmp_path))
        assert local is not None
        assert local.alive()
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
        assert "Traceback" not in process.stderr.read()
    assert not local.localnet.alive()
    assert not local.membership.alive()
    assert not State(tmp_path).network()
