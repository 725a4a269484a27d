"""`zones custody` and what admins decide for single zones, on a running network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localnet.principal import to_text
from tests.support.tool import Tool, deployed

NODE = "contract.zone.test/"
"""The local network's membership contract as the factory's list of trusted nodes has it."""
B = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running network and a factory."""
    with deployed(tmp_path_factory.mktemp("custody"), "deploy --cycles 100T") as path:
        yield path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(folder, capsys)


def principal(tool: Tool, name: str) -> str:
    return to_text(tool.state.identity(name, create=True).sender())


def test_a_zone_passes_to_owners_who_share_it_and_end_it(tool: Tool) -> None:
    zone = tool.json("create")["canister"]
    owner, bob, mallory = (principal(tool, name) for name in ("owner", "bob", "mallory"))
    to_both = ("offer", zone, "--custody", "shared", "--owner", owner, "--owner", bob)

    first = tool.json("custody", "show", zone)
    factory = first["factory"]
    assert (first["custody"], first["owners"], first["creator"], first["offer"]) == ("managed", [], owner, None)
    assert first["owed"] > 0
    call = f"call {factory} repay '(principal \"{zone}\")' --with-cycles {first['owed']} --wallet <your wallet>"
    assert call in tool.text("custody", "show", zone)

    for name, command, said in (
        ("owner", to_both, "cycles are owed for this zone"),
        ("mallory", to_both, "mallory is no owner of the zone (name one with --identity; `zones custody show`"),
        ("mallory", ("accept", zone), "custody of this zone was not offered to you"),
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
    shared = tool.json("custody", "accept", zone, "--identity", "bob")
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
    assert mallory not in ended["owners"]


def test_a_zone_is_created_with_owners_and_a_proof(tool: Tool) -> None:
    bob = principal(tool, "bob")
    code, error = tool.error("create", "--prove")
    assert (code, f"the node {NODE} is not trusted with a proof" in error) == (3, True), error
    nodes = tool.json("fleet", "policy", "--trust", NODE)["policy"]["trusted_nodes"]
    assert nodes[-1] == NODE
    zone = tool.json("create", "--prove", "--owner", bob)
    shown = tool.json("custody", "show", zone["canister"])
    assert (shown["proven"], shown["owners"], shown["custody"]) == (True, [bob], "managed")
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


def test_admins_and_controllers_decide_for_single_zones(tool: Tool) -> None:
    zone, bob = tool.json("create")["canister"], principal(tool, "bob")
    principal(tool, "mallory")
    digest = "ab" * 32
    (given,) = tool.json("fleet", "allowance", zone, "100B")["allowances"]
    assert given == {"canister": zone, "allowance": 100 * B}
    assert tool.json("fleet", "status", zone)["allowance"] == 100 * B
    assert tool.json("fleet", "allowance", zone, "none")["allowances"][0]["allowance"] == 0
    code, error = tool.error("fleet", "allowance", zone, "900T")
    assert (code, "an allowance is 0 or " in error) == (3, True)
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
        (["waive", zone], "admin"),
        (["creation", "1", "--settle", "none"], "admin"),
        (["allow-code", zone, digest], "controller"),
        (["refund-account", "--set", bob], "controller"),
    ):
        code, error = tool.error("fleet", *command, "--identity", "mallory")
        assert (code, f"mallory is no {role} of the factory" in error) == (3, True), error
