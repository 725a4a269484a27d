"""`zones fleet info` on a running network: what is certified of zone canisters, what they and their contracts say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from localnet.principal import from_text, to_text
from tests.support.tool import Tool, deployed
from zones import info, management, network
from zones.agent import IcAgent
from zones.certificates import MAINNET_ROOT_KEY
from zones.deployment import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running network, a factory and two zones."""
    with deployed(tmp_path_factory.mktemp("info"), "deploy --cycles 100T", "create", "create") as path:
        yield path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(folder, capsys)


def test_a_zone_is_shown_as_platform_canister_and_contract_have_it(tool: Tool) -> None:
    shown = tool.json("fleet", "info", "--all")
    release = tool.json("status")["factory"]["release"]
    owner = tool.state.identity("owner")
    assert len(shown["zones"]) == 2
    for row in shown["zones"]:
        assert (row["version"], row["code"]) == (release["version"], f"release {release['version']}")
        assert (row["module_hash"], row["controllers"]) == (release["wasm_sha256"], [shown["factory"]])
        assert row["certified_at"].endswith("Z")
        assert (row["node"], row["contract_version"]) == (network.RPC_HOST, 1)
        assert (row["owner"], row["owner_name"]) == ("0x" + owner.address.hex(), "owner")
        assert (row["fault"], row["node_fault"]) == (None, None)
    canister, zone_id = shown["zones"][0]["canister"], shown["zones"][0]["zone_id"]
    assert tool.json("fleet", "info", canister, "--no-chain")["zones"][0]["owner"] is None
    (row,) = csv.DictReader(io.StringIO(tool.text("fleet", "info", canister, "--csv")))
    assert row["controllers"] == shown["factory"]
    assert tool.json("fleet", "info", zone_id)["zones"][0]["canister"] == canister
    assert tool.text("fleet", "info", canister).splitlines()[1].split()[:2] == [canister, zone_id]


def test_code_that_is_no_release_is_found_out(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = IcAgent(network.resolve(tool.state, "local"), tool.state.identity("owner"))
    canister = management.create_canister(agent, 10**13)
    name = to_text(canister)
    (row,) = tool.json("fleet", "info", name, code=5)["zones"]
    assert (row["code"], row["module_hash"], row["zone_id"]) == ("none", None, None)
    assert row["controllers"] == [to_text(agent.sender())]
    management.install(agent, canister, build("factory", "template").wasm, b"DIDL\0\0")
    (row,) = tool.json("fleet", "info", name, code=5)["zones"]
    digest = build("factory", "template").digest.hex()
    assert (row["code"], row["module_hash"]) == ("foreign", digest)
    monkeypatch.setattr(info, "BUILD_MANIFEST", tmp_path / "zone_canister.json")
    info.BUILD_MANIFEST.write_text(f'{{"wasm_gz_sha256": "{digest}"}}')
    assert tool.json("fleet", "info", name, code=5)["zones"][0]["code"] == "local build"
    info.BUILD_MANIFEST.write_text("{}")
    code, said = tool.error("fleet", "info", name)
    assert (code, "is no manifest of a build: KeyError('wasm_gz_sha256') (build again, or remove it)" in said) == (
        1,
        True,
    )


def test_what_another_key_signed_is_not_believed(tool: Tool) -> None:
    canister = tool.json("fleet", "list")["zones"][0]["canister"]
    code, said = tool.error("fleet", "info", canister, "--root-key", MAINNET_ROOT_KEY.hex())
    assert (code, "is not signed by the key" in said) == (4, True)


def test_a_network_whose_key_is_not_known_certifies_nothing(tool: Tool, tmp_path: Path) -> None:
    url, factory = network.resolve(tool.state, "local"), tool.json("fleet", "status")["factory"]
    zone = tool.state.zones(url)[0]
    elsewhere = Tool(tmp_path, tool.capsys)
    there = ("fleet", "info", zone.canister, "--network", url, "--factory", factory, "--no-chain")
    (row,) = elsewhere.json(*there)["zones"]
    assert (row["certified_at"], row["code"], row["controllers"]) == (None, "unknown", [factory])
    found = network.find(tool.state)
    assert found is not None
    (row,) = elsewhere.json(*there, "--root-key", found.root_key)["zones"]
    assert (row["code"], row["controllers"]) == ("release 1000", [factory])
    code, said = elsewhere.error(*there[:2], *there[3:])
    assert (code, "which zones? (name their canisters, or give --all" in said) == (1, True)
    (row,) = elsewhere.json(*there[:-1], "--node", "127.0.0.1:9/", code=5)["zones"]
    assert row["node_fault"].startswith("127.0.0.1:9/: ")
    assert from_text(row["canister"])
