"""`zones custody` and what admins decide for single zones, on a running network."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from canister_build import candid_of
from canister_build.candid import parse, type_text
from localnet import candid
from localnet.principal import from_text, to_text
from tests.support.tool import Tool, deployed
from tests.support.wallets import wallet_wasm
from zones import management, network
from zones.agent import IcAgent
from zones.calls import Method
from zones.paying import through_wallet
from zones.state import State

NODE = "contract.zone.test/"
"""The local network's membership contract as the factory's list of trusted nodes has it."""
B = 10**9
_ENCODED = Method("encoded", [candid.TEXT], [candid.BLOB], query=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running network and a factory."""
    with deployed(tmp_path_factory.mktemp("custody"), "deploy --cycles 100T") as path:
        yield path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(folder, capsys)


def test_a_zone_passes_to_owners_who_share_it_and_end_it(tool: Tool, tmp_path: Path) -> None:
    zone = tool.json("create")["canister"]
    owner, bob, mallory = (tool.principal(name) for name in ("owner", "bob", "mallory"))
    code, error = tool.error("custody", "accept", zone)
    assert (code, "this zone is offered to nobody" in error) == (1, True)
    to_both = ("offer", zone, "--custody", "shared", "--owner", owner, "--owner", bob)

    first = tool.json("custody", "show", zone)
    factory = first["factory"]
    assert (first["custody"], first["owners"], first["creator"], first["offer"]) == ("managed", [], owner, None)
    assert first["owed"] > 0

    for name, command, said in (
        ("owner", to_both, "cycles are owed for this zone"),
        ("mallory", to_both, "mallory is no owner of the zone (name one with --identity; `zones custody show`"),
        ("mallory", ("accept", *to_both[1:]), "custody of this zone was not offered to you"),
        ("mallory", ("cancel", zone), "mallory is no owner of the zone"),
        ("mallory", ("retire", zone, "--again", zone), "mallory is no owner of the zone"),
        ("mallory", ("accept-release", zone, "--release", "1"), "mallory is no owner of the zone"),
    ):
        code, error = tool.error("custody", *command, "--identity", name)
        assert (code, said in error) == (3, True), error

    (waived,) = tool.json("fleet", "waive", zone)["waived"]
    assert waived == {"canister": zone, "waived": first["owed"]}
    offered = tool.json("custody", *to_both, code=5)
    assert offered["offer"] == {"custody": "shared", "owners": [owner, bob], "waits_for": [bob]}
    assert f"waits for    {bob}" in tool.text("custody", "show", zone, code=5)
    assert tool.json("custody", "cancel", zone)["offer"] is None
    tool.json("custody", *to_both, code=5)
    code, error = tool.error("custody", "accept", zone, "--identity", "bob")
    assert (code, f"what is accepted? shared to {owner}, {bob} is offered" in error) == (1, True)
    (line,) = [line for line in tool.text("custody", "show", zone, code=5).splitlines() if line.startswith("to accept")]
    command = line.split()[line.split().index("zones") + 1 :]
    assert " ".join(command) in error
    other = ("--custody", "sovereign", "--owner", bob)
    code, error = tool.error("custody", "accept", zone, *other, "--identity", "bob")
    assert (code, f"what is offered is shared to {owner}, {bob}, not sovereign to {bob}" in error) == (3, True)
    shared = tool.json(*command, "--identity", "bob")
    assert (shared["custody"], shared["offer"], shared["owed"]) == ("shared", None, 0)
    assert (set(shared["owners"]), set(shared["controllers"])) == ({owner, bob}, {owner, bob, factory})
    assert tool.json("custody", "show", zone, "--refresh")["custody"] == "shared"

    version = tool.json("status")["factory"]["release"]["version"]
    accepted = tool.json("custody", "accept-release", zone, "--release", str(version), "--identity", "bob")
    assert accepted["accepted"] == [{"canister": zone, "release": version}]
    code, error = tool.error("custody", "accept-release", zone, "--release", "7")
    assert (code, "there is no release 7" in error) == (3, True)

    for again, said in (([], "is missing"), (["--again", factory], f"is {factory}")):
        code, error = tool.error("custody", "retire", zone, *again)
        assert (code, f"canister once more {said} (to do that give --again {zone})" in error) == (1, True)
    retire = ("retire", zone, "--again", zone)
    agreed = tool.json("custody", *retire, "--identity", "bob", code=5)
    assert (agreed["stage"], agreed["agreed_to_retire"]) == ("live", [bob])
    assert f"asked for by {bob}; {owner} have yet to" in tool.text("custody", "show", zone, code=5)
    assert tool.json("custody", "cancel", zone, "--identity", "bob")["agreed_to_retire"] == []
    tool.json("custody", *retire, "--identity", "bob", code=5)
    ended = tool.json("custody", *retire)
    assert ended["stage"] == "retired"
    assert ended["recovered"] > 500 * B

    other = tool.json("create")["canister"]
    assert other in [row["canister"] for row in tool.json("fleet", "list")["zones"]]
    assert zone not in [row["canister"] for row in tool.json("fleet", "list")["zones"]]
    (gone,) = tool.json("fleet", "list", "--retired")["zones"]
    assert (gone["canister"], gone["zone_id"], gone["stage"]) == (zone, first["zone_id"], "retired")
    assert gone["created_at"] < gone["retired_at"]
    assert tool.text("fleet", "list", "--retired").splitlines()[1].startswith(zone)
    tool.json("fleet", "report", "--file", str(tmp_path / "fleet.html"))
    page = (tmp_path / "fleet.html").read_text()
    assert (f"<td>{other}</td>" in page, f"<td>{zone}</td>" in page) == (True, False)
    code, error = tool.error("fleet", "status", zone)
    assert (code, f"{zone} was the canister of zone {first['zone_id']} and is retired" in error) == (1, True)
    assert tool.json("custody", "show", zone)["stage"] == "retired"
    assert mallory not in ended["owners"]


def dfx_call(tool: Tool, zone: str) -> list[str]:
    """The words of the command that is printed for repaying through dfx."""
    (line,) = [line for line in tool.text("custody", "show", zone).splitlines() if line.startswith("owed ")]
    return shlex.split(line.split(": ", 1)[1].replace("<your wallet>", "WALLET"))


@pytest.fixture(scope="module")
def wallet(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A cycles wallet with what it needs for itself."""
    agent = agent_of(folder)
    made = management.create_canister(agent, 500 * B)
    management.install(agent, made, wallet_wasm(tmp_path_factory.mktemp("wallet")), b"DIDL\0\0")
    return made


def agent_of(folder: Path) -> IcAgent:
    state = State(folder)
    return IcAgent(network.resolve(state, "local"), state.identity("owner"))


def test_the_printed_call_is_one_that_dfx_and_the_factory_take(tool: Tool, folder: Path, wallet: bytes) -> None:
    zone = tool.json("create")["canister"]
    shown = tool.json("custody", "show", zone)
    words = dfx_call(tool, zone)
    assert words[:3] == ["dfx", "canister", "call"]
    # As dfx has it: [OPTIONS] <CANISTER_NAME> <METHOD_NAME> [ARGUMENT]; without --network it asks a local one.
    call = argparse.ArgumentParser()
    for name in ("--network", "--with-cycles", "--wallet"):
        call.add_argument(name, required=True)
    for name in ("canister", "method", "argument"):
        call.add_argument(name)
    made = call.parse_args(words[3:])
    assert (made.network, made.wallet) == (network.resolve(tool.state, "local"), "WALLET")

    # What dfx makes of it: Candid of the text, and a call through the wallet.
    agent = agent_of(folder)
    sent = _ENCODED(agent, wallet, made.argument)
    method = parse(candid_of("factory")).methods()[made.method]
    assert [type_text(argument.type) for argument in method.args] == ["principal"]
    assert candid.decode(sent, [candid.PRINCIPAL]) == [from_text(zone)]
    management.top_up(agent, wallet, 2 * shown["owed"])
    reply = through_wallet(agent, wallet, from_text(made.canister), made.method, sent, int(made.with_cycles))
    assert candid.decode(reply, [candid.variant(ok=candid.NAT, err=candid.TEXT)]) == [("ok", 0)]
    assert tool.json("custody", "show", zone)["owed"] == 0


def test_what_is_owed_is_repaid_without_dfx(tool: Tool, folder: Path, wallet: bytes) -> None:
    zone, owner = tool.json("create")["canister"], tool.principal("owner")
    owed = tool.json("custody", "show", zone)["owed"]
    code, said = tool.error("custody", "repay", zone, "--network", "ic", "--factory", zone)
    assert (code, "which wallet repays?" in said, "--wallet" in said) == (1, True, True)
    (part,) = tool.json("custody", "repay", zone, "--cycles", "500B", code=5)["repaid"]
    assert part == {"canister": zone, "repaid": 500 * B, "owed": owed - 500 * B}

    agent = agent_of(folder)
    management.top_up(agent, wallet, 2 * owed)
    of_wallet = ("custody", "repay", zone, "--wallet", to_text(wallet))
    (part,) = tool.json(*of_wallet, "--cycles", "100B", code=5)["repaid"]
    assert part == {"canister": zone, "repaid": 100 * B, "owed": owed - 600 * B}
    before = management.canister_status(agent, wallet)["cycles"]
    assert tool.json(*of_wallet)["repaid"] == [{"canister": zone, "repaid": owed - 600 * B, "owed": 0}]
    spent = before - management.canister_status(agent, wallet)["cycles"]
    assert owed - 600 * B <= spent < owed - 599 * B
    assert tool.json("custody", "repay", zone)["repaid"] == [{"canister": zone, "repaid": 0, "owed": 0}]

    handed = tool.json("custody", "offer", zone, "--custody", "sovereign", "--owner", owner)
    assert (handed["custody"], handed["controllers"], handed["owed"]) == ("sovereign", [owner], 0)
    code, said = tool.error(*of_wallet[:2], to_text(wallet), *of_wallet[3:])
    assert (code, "is no zone of the factory" in said) == (1, True)


def test_what_stands_against_repaying_is_said(tool: Tool, folder: Path, tmp_path: Path) -> None:
    zone = tool.json("create")["canister"]
    agent = agent_of(folder)
    poor = management.create_canister(agent, 600 * B)
    code, said = tool.error("custody", "repay", zone, "--wallet", to_text(poor))
    assert (code, "wallet_call128" in said) == (3, True)  # there is no wallet on it
    management.install(agent, poor, wallet_wasm(tmp_path), b"DIDL\0\0")
    code, said = tool.error("custody", "repay", zone, "--wallet", to_text(poor))
    assert (code, "wallet_call128: " in said) == (3, True)


def test_a_zone_is_created_with_owners_and_a_proof(tool: Tool) -> None:
    bob = tool.principal("bob")
    code, error = tool.error("create", "--prove")
    assert (code, f"the node {NODE} is not trusted with a proof" in error) == (3, True), error
    nodes = tool.json("fleet", "policy", "--trust", NODE)["policy"]["trusted_nodes"]
    assert nodes[-1] == NODE
    zone = tool.json("create", "--prove", "--owner", bob)
    shown = tool.json("custody", "show", zone["canister"])
    assert (shown["proven"], shown["owners"], shown["custody"]) == (True, [bob], "managed")
    late = tool.json("create")
    assert tool.json("custody", "show", late["canister"])["proven"] is False
    again = tool.json("create", "--zone-id", late["zone_id"], "--prove", "--identity", "bob")
    assert again["canister"] != late["canister"]  # a creator's zone is his own
    assert tool.json("create", "--zone-id", again["zone_id"], "--identity", "bob")["canister"] == again["canister"]
    assert tool.json("custody", "show", again["canister"])["proven"] is True
    code, error = tool.error("create", "--zone-id", late["zone_id"], "--prove")
    assert (code, f"zone {late['zone_id']} had its sponsored canister" in error) == (3, True)
    assert tool.json("fleet", "policy", "--distrust", NODE)["policy"]["trusted_nodes"] == nodes[:-1]
    code, error = tool.error("fleet", "policy", "--distrust", NODE)
    assert (code, f"'{NODE}' is not asked for proofs (these are: {nodes[0]}" in error) == (1, True)

    (creation,) = tool.json("fleet", "creation", zone["zone_id"])["creations"]
    assert (creation["canister"], creation["stage"], creation["proven"]) == (zone["canister"], "live", True)
    number = str(creation["id"])
    assert tool.json("fleet", "creation", number)["creations"] == [creation]
    code, error = tool.error("fleet", "creation", number, "--settle", "none")
    assert (code, f"creation {number} has an outcome" in error) == (3, True)
    code, error = tool.error("fleet", "creation", "999")
    assert (code, "the factory has no creation 999" in error) == (1, True)
    code, error = tool.error("fleet", "creation", zone["zone_id"], "--identity", "bob")
    assert (code, f"bob has asked for no zone {zone['zone_id']}" in error) == (1, True)


def test_a_zone_is_proven_after_its_creation(tool: Tool) -> None:
    zone = tool.json("create", "--identity", "carol")
    tool.json("fleet", "policy", "--trust", NODE)
    proven = tool.json("create", "--zone-id", zone["zone_id"], "--prove", "--identity", "carol")
    assert proven["canister"] == zone["canister"]
    assert tool.json("custody", "show", zone["zone_id"])["proven"] is True
    tool.json("fleet", "policy", "--distrust", NODE)


def test_admins_and_controllers_decide_for_single_zones(tool: Tool) -> None:
    zone, bob = tool.json("create")["canister"], tool.principal("bob")
    tool.principal("mallory")
    digest = "ab" * 32
    (given,) = tool.json("fleet", "allowance", zone, "100B")["allowances"]
    assert given == {"canister": zone, "allowance": 100 * B}
    assert tool.json("fleet", "status", zone)["allowance"] == 100 * B
    assert tool.json("fleet", "allowance", zone, "none")["allowances"][0]["allowance"] == 0
    code, error = tool.error("fleet", "allowance", zone, "900T")
    assert (code, "an allowance is 0 or " in error) == (3, True)
    for state, is_on in (("off", False), ("on", True)):
        assert tool.json("fleet", "fuel", zone, state)["fuel"] == [{"canister": zone, "fuelled": is_on}]
        assert tool.json("fleet", "status", zone)["fuelled"] is is_on
    (allowed,) = tool.json("fleet", "allow-code", zone, digest)["allowed"]
    assert (allowed["sha256"], allowed["until"].endswith("Z")) == (digest, True)

    (before,) = tool.json("fleet", "refund-account")["refunds"]
    (after,) = tool.json("fleet", "refund-account", "--set", bob, "--ledger", zone)["refunds"]
    assert after == {"account": bob, "ledger": zone}
    assert tool.json("fleet", "refund-account", "--set", bob)["refunds"] == [{**before, "account": bob}]
    code, error = tool.error("fleet", "refund-account", "--set", "2vxsx-fae")
    assert (code, "neither the anonymous principal nor" in error) == (3, True)

    for command, role in (
        (["allowance", zone, "none"], "admin"),
        (["fuel", zone, "off"], "admin"),
        (["waive", zone], "admin"),
        (["creation", "1", "--settle", "none"], "admin"),
        (["allow-code", zone, digest], "controller"),
        (["refund-account", "--set", bob], "controller"),
    ):
        code, error = tool.error("fleet", *command, "--identity", "mallory")
        assert (code, f"mallory is no {role} of the factory" in error) == (3, True), error
