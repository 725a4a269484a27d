"""The code of single zones, as admins of a factory put it on them with `zones fleet`, on a running network."""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localnet.candid import uleb
from tests.localnet.wat import canister
from tests.support.rollouts import VERSION
from tests.support.tool import Tool, deployed
from tests.support.variants import build_zone_variant
from zones import cli, context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running network and a factory."""
    with deployed(tmp_path_factory.mktemp("code"), "deploy --cycles 100T") as path:
        yield path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zone's Wasm that is no release: version 1001."""
    path = tmp_path_factory.mktemp("other") / "other.wasm.gz"
    path.write_bytes(build_zone_variant(path.parent, VERSION))
    return path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(folder, capsys)


def test_a_zone_is_installed_anew_while_it_holds_nothing_and_wiped_only_by_name(tool: Tool) -> None:
    zone = tool.json("create")["canister"]
    (release,) = tool.json("fleet", "releases")["releases"]
    (installed,) = tool.json("fleet", "install", zone)["installed"]
    assert installed == {
        "canister": zone,
        "done": "installed",
        "version": release["version"],
        "release": release["version"],
        "sha256": release["wasm_sha256"],
    }
    tool.json("join", "--identity", "alice", "--zone", zone)
    assert tool.process("send", "--identity", "alice", "--zone", zone, text="kept\n").returncode == 0

    code, said = tool.error("fleet", "install", zone)
    assert code == 3
    assert "it holds 1 messages and 1 members: reinstall_code wipes it" in said
    assert f"(all of it would be lost with: zones fleet reinstall {zone} --again {zone})" in said
    factory = tool.json("fleet", "status")["factory"]
    for again, named in (([], "missing"), (["--again", factory], factory)):
        code, said = tool.error("fleet", "reinstall", zone, *again)
        assert (code, f"its canister once more is {named} (to do that give --again {zone})" in said) == (1, True)
    assert tool.json("status", "--zone", zone)["zone"]["messages"] == 1

    version = str(release["version"])
    (wiped,) = tool.json("fleet", "reinstall", zone, "--again", zone, "--release", version)["installed"]
    assert (wiped["done"], wiped["version"]) == ("wiped and installed", release["version"])
    assert tool.json("status", "--zone", zone)["zone"]["messages"] == 0
    assert tool.json("join", "--identity", "alice", "--zone", zone)["role"] == 200  # its contract is the one it had
    assert tool.text("fleet", "change", zone) == f"the code of {zone} was not changed since it was created\n"


def test_other_code_needs_a_controllers_word_and_its_change_is_told(
    tool: Tool, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = tool.json("create")["canister"]
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    for command in ("upgrade", "install"):
        code, said = tool.error("fleet", command, zone, "--wasm", str(other))
        assert code == 3
        assert f"the code {digest} is no release" in said
        assert f"(that is: zones fleet allow-code {zone} {digest}; or publish it)" in said
    tool.json("fleet", "allow-code", zone, digest)
    monkeypatch.setattr(context, "LOOK_SECONDS", 0.01)
    assert tool.capsys is not None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tool.capsys.readouterr()
    command = ["fleet", "upgrade", zone, "--wasm", str(other), "--state", str(tool.state.root)]
    assert cli.main(command) == 0
    shown = tool.capsys.readouterr()
    assert shown.out.splitlines()[1].split() == [zone, "1000", "1001", "-"]
    assert re.search(rf"0 of 1 zones upgraded, {zone}: (step \w+, )?\d+ s", shown.err)
    monkeypatch.undo()

    (change,) = tool.json("fleet", "change", zone)["changes"]
    assert (change["canister"], change["outcome"], change["sha256"]) == (zone, "upgraded", digest)
    assert (change["release"], change["rollout"], change["fault"]) == (None, None, None)
    assert tool.json("fleet", "status", zone)["version"] == 1001
    (back,) = tool.json("fleet", "upgrade", zone)["upgrades"]
    assert (back["before"], back["after"], back["fault"]) == (1001, 1000, None)


def test_owners_are_named_where_their_custody_stands_against_it(tool: Tool) -> None:
    zone, owner = tool.json("create")["canister"], tool.principal("owner")
    (release,) = tool.json("fleet", "releases")["releases"]
    version = release["version"]
    tool.json("fleet", "waive", zone)
    assert tool.json("custody", "offer", zone, "--custody", "shared", "--owner", owner)["custody"] == "shared"
    for command in (["upgrade", zone], ["install", zone], ["reinstall", zone, "--again", zone]):
        code, said = tool.error("fleet", *command)
        assert (code, "no owner accepted this code" in said) == (3, True)
        assert f"(an owner does: zones custody accept-release {zone} --release {version})" in said
    tool.json("custody", "accept-release", zone, "--release", str(version))
    assert tool.json("fleet", "upgrade", zone)["upgrades"][0]["fault"] is None

    code, said = tool.error("fleet", "reinstall", zone, "--again", zone)
    assert (code, "1 of 1 owners have yet to agree that all the canister holds is lost" in said) == (3, True)
    wipe = f"zones custody accept-reinstall {zone} --release {version} --again {zone}"
    assert f"(each does: {wipe})" in said
    tool.json(*wipe.split()[1:])
    tool.json("fleet", "reinstall", zone, "--again", zone)

    assert tool.json("custody", "offer", zone, "--custody", "sovereign", "--owner", owner)["custody"] == "sovereign"
    for command in (["upgrade", zone], ["install", zone], ["reinstall", zone, "--again", zone]):
        code, said = tool.error("fleet", *command)
        assert (code, f"the factory does not control {zone}" in said) == (3, True)
        assert f"(they install releases themselves: zones upgrade --zone {zone})" in said


def test_a_wrong_wasm_is_refused_before_anything_is_sent(tool: Tool, other: Path, tmp_path: Path) -> None:
    zone = tool.json("create")["canister"]
    text, cut, large = tmp_path / "text.txt", tmp_path / "cut.wasm.gz", tmp_path / "large.wasm"
    text.write_text("(module)")
    cut.write_bytes(other.read_bytes()[:-100])
    filling = b"\x01x" + random.Random(1).randbytes(2_500_000)
    large.write_bytes(b"\0asm\1\0\0\0" + b"\0" + uleb(len(filling)) + filling)
    for path, what in (
        (tmp_path / "none.wasm", "can't be read: No such file or directory (name a canister's Wasm"),
        (tmp_path, "can't be read: Is a directory"),
        (text, "is no Wasm: it begins with 286d6f64756c6529 (name a canister's Wasm, gzipped or not)"),
        (cut, "is damaged: "),
        (large, f"has {large.stat().st_size} bytes, a call takes 1995904 (publish it first"),
    ):
        for command in (["upgrade", zone], ["install", zone], ["reinstall", zone, "--again", zone]):
            code, said = tool.error("fleet", *command, "--wasm", str(path))
            assert (code, what in said) == (1, True), said
    code, said = tool.error("fleet", "releases", "--publish", str(text), "--version", "1001")
    assert (code, f"{text} is no Wasm" in said) == (1, True)
    code, said = tool.error("fleet", "install", tool.json("fleet", "status")["factory"])
    assert (code, "is no zone of the factory" in said) == (1, True)


def reinstall(tool: Tool, zone: str, folder: Path, body: str, data: dict[int, bytes]) -> None:
    """Puts code that is no zone's on a zone."""
    path = folder / "foreign.wasm"
    path.write_bytes(canister(body, data))
    tool.json("fleet", "allow-code", zone, hashlib.sha256(path.read_bytes()).hexdigest())
    foreign = ["--wasm", str(path), "--argument", "4449444c0000"]
    assert tool.json("fleet", "reinstall", zone, "--again", zone, *foreign)["installed"][0]["version"] is None


def test_a_zone_with_foreign_code_is_a_row_with_a_fault_and_is_repaired(tool: Tool, tmp_path: Path) -> None:
    zone, other = (tool.json("create")["canister"] for _ in range(2))
    reinstall(tool, zone, tmp_path, '(func (export "canister_query get_zone_id") (call $msg_reply))', {})
    tool.json("fleet", "sweep")
    nonsense = "get_zone_id: the reply is not of the expected type: "
    for command in ("list", "--ask"), ("info", "--all", "--no-chain"):
        rows = {row["canister"]: row for row in tool.json("fleet", *command, code=5)["zones"]}
        assert rows[zone]["fault"].startswith(nonsense)
        assert (rows[zone]["version"], rows[zone]["code"]) == (None, "foreign")
        assert (rows[other]["fault"], rows[other]["version"]) == (None, 1000)
    assert tool.json("fleet", "status", zone, code=5)["fault"].startswith(nonsense)
    code, said = tool.error("fleet", "upgrade", zone, "--release", "1000")
    assert (code, "get_zone_id" in said) == (3, False), said  # the factory was asked, and says what is in the way
    (installed,) = tool.json("fleet", "reinstall", zone, "--again", zone, "--release", "1000")["installed"]
    assert installed["version"] == 1000


def test_what_a_zone_says_commands_no_terminal(tool: Tool, tmp_path: Path) -> None:
    zone, text = tool.json("create")["canister"], b"gone\x1b[2J\nrow"
    body = f'(func (export "canister_query get_zone_id") (call $msg_reject (i32.const 100) (i32.const {len(text)})))'
    reinstall(tool, zone, tmp_path, body, {100: text})
    rows = tool.json("fleet", "list", "--ask", code=5)["zones"]
    assert [row["fault"] for row in rows if row["canister"] == zone] == [f"get_zone_id: {text.decode()}"]
    shown = "get_zone_id: gone\ufffd[2J row"
    lines = tool.text("fleet", "list", "--ask", code=5).splitlines()
    assert len(lines) == 1 + len(rows)
    assert [line for line in lines if line.startswith(zone) and line.endswith(shown)]
    assert f"fault        {shown}\n" in tool.text("fleet", "status", zone, code=5)
    tool.json("fleet", "reinstall", zone, "--again", zone)


def test_who_is_no_admin_changes_no_code(tool: Tool) -> None:
    zone = tool.json("create")["canister"]
    tool.principal("mallory")
    for command in (["upgrade", zone], ["install", zone], ["reinstall", zone, "--again", zone]):
        code, said = tool.error("fleet", *command, "--identity", "mallory")
        assert (code, "mallory is no admin of the factory" in said) == (3, True)
    code, said = tool.error("fleet", "change", tool.json("fleet", "status")["factory"])
    assert (code, "is no zone of the factory" in said) == (1, True)
