"""`zones fleet` on a running network: what an operator of a factory sees and does."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localnet.candid import uleb
from localnet.principal import to_text
from tests.support.tool import Tool, deployed
from zones import network

T = 10**12
ZONES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running network, a factory and zones."""
    with deployed(tmp_path_factory.mktemp("fleet"), "deploy --cycles 100T", *["create"] * ZONES) as path:
        yield path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(folder, capsys)


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV table."""
    return list(csv.DictReader(io.StringIO(text)))


def zones_of(tool: Tool) -> list[str]:
    return [row["canister"] for row in tool.json("fleet", "list")["zones"]]


def test_a_sweep_reads_what_the_list_shows(tool: Tool) -> None:
    first = tool.json("fleet", "status")
    swept = tool.json("fleet", "sweep")["sweep"]
    assert (swept["looked_at"], swept["unreadable"]) == (ZONES, 0)
    assert first["sweep"] is None or first["sweep"]["number"] < swept["number"]
    again = tool.text("fleet", "sweep")
    assert again.startswith(f"sweep number {swept['number'] + 1}, ended ")
    assert f"{ZONES} zones looked at, 0 refilled, 0 not readable" in again
    rows = tool.json("fleet", "list")["zones"]
    assert {row["state"] for row in rows} == {"running"}
    assert all(row["burn"] > 0 and row["runway_days"] > 0 and row["read_at"] >= swept["begun_at"] for row in rows)


def test_the_list_shows_each_zone_with_its_code_and_cycles(tool: Tool) -> None:
    tool.json("fleet", "sweep")
    shown = tool.json("fleet", "list", "--ask")
    made = {zone.canister: zone.zone_id for zone in tool.state.zones(network.resolve(tool.state, "local"))}
    assert {row["canister"]: row["zone_id"] for row in shown["zones"]} == made
    release = tool.json("status")["factory"]["release"]
    for row in shown["zones"]:
        assert (row["release"], row["module_hash"]) == (release["version"], release["wasm_sha256"])
        assert (row["version"], row["fault"]) == (release["version"], None)
        owner = to_text(tool.state.identity("owner").sender())
        assert (row["custody"], row["funding"], row["stage"], row["creator"]) == ("managed", "sponsored", "live", owner)
        assert T // 2 < row["cycles"] < 4 * T
    lines = tool.text("fleet", "list").splitlines()
    assert lines[0].split() == [
        "canister",
        "zone",
        "custody",
        "state",
        "code",
        "cycles",
        "burn",
        "a",
        "day",
        "runway",
        "read",
    ]
    assert [line.split()[0] for line in lines[1:]] == [row["canister"] for row in shown["zones"]]
    assert "fault" in tool.text("fleet", "list", "--ask").splitlines()[0]


def test_csv_has_the_rows_of_the_json(tool: Tool) -> None:
    tool.json("fleet", "sweep")
    rows = table(tool.text("fleet", "list", "--csv"))
    for row, shown in zip(rows, tool.json("fleet", "list")["zones"], strict=True):
        assert row == {key: str(shown[key]) for key in row}
        assert set(row) == {
            "canister",
            "zone_id",
            "custody",
            "state",
            "code",
            "cycles",
            "burn",
            "runway_days",
            "read_at",
        }


def test_the_status_adds_the_factory_up(tool: Tool) -> None:
    tool.json("fleet", "sweep")
    shown = tool.json("fleet", "status")
    assert (shown["children"], shown["sweep"]["looked_at"]) == (ZONES, ZONES)
    assert shown["reserve"] >= 5 * T
    assert shown["fleet_burn"] > 0
    lines = tool.text("fleet", "status").splitlines()
    assert [line.split()[0] for line in lines] == [
        "factory",
        "battery",
        "burn",
        "runway",
        "quota",
        "deposits",
        "sweep",
        "release",
        "alerts",
    ]
    assert table(tool.text("fleet", "status", "--csv"))[0]["children"] == str(ZONES)


def test_the_status_of_a_zone_is_found_by_canister_and_by_zone_id(tool: Tool) -> None:
    canister = zones_of(tool)[0]
    shown = tool.json("fleet", "status", canister)
    assert (shown["canister"], shown["fault"], shown["controllers"]) == (canister, None, [shown["factory"]])
    assert tool.json("fleet", "status", shown["zone_id"])["canister"] == canister
    assert f"canister     {canister}" in tool.text("fleet", "status", canister)
    code, said = tool.error("fleet", "status", shown["factory"])
    assert (code, "is no zone of the factory" in said, "`zones fleet list` lists them" in said) == (1, True, True)


def test_the_history_is_what_the_sweeps_read(tool: Tool) -> None:
    canister = zones_of(tool)[0]
    tool.json("fleet", "sweep")
    last = tool.json("fleet", "history")["history"][-1]
    assert last["children"] == ZONES
    assert last["battery"] > last["fleet"] > ZONES * T // 2
    shown = tool.json("fleet", "history", canister)
    assert shown["canister"] == canister
    assert T // 2 < shown["history"][-1]["balance"] < 4 * T
    assert tool.text("fleet", "history").splitlines()[0].split() == [
        "time",
        "battery",
        "zones",
        "burn",
        "a",
        "day",
        "passed",
        "on",
        "count",
    ]
    assert table(tool.text("fleet", "history", "--csv"))[-1]["time"] == last["time"]


def test_the_report_is_a_page_with_what_the_sweeps_read(tool: Tool, tmp_path: Path) -> None:
    tool.json("fleet", "sweep")
    file = tmp_path / "fleet.html"
    written = tool.json("fleet", "report", "--file", str(file))
    assert (written["file"], written["zones"]) == (str(file), ZONES)
    assert written["readings"] == len(tool.json("fleet", "history")["history"])
    text = file.read_text()
    for zone in zones_of(tool):
        assert f"<td>{zone}</td>" in text
    assert text.count('<svg id="') == 3
    code, said = tool.error("fleet", "report", "--file", str(tmp_path))
    assert (code, f"{tmp_path} can't be written: Is a directory (name another file with --file)" in said) == (1, True)


def in_ascii(tool: Tool, *arguments: str) -> bytes:
    """What a command of `zones fleet` prints where the locale knows ASCII alone."""
    plain = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "zones", "fleet", *arguments, "--state", str(tool.state.root)]
    done = subprocess.run(command, env=plain, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_the_report_is_written_where_the_locale_knows_ascii_alone(tool: Tool, tmp_path: Path) -> None:
    file = tmp_path / "fleet.html"
    in_ascii(tool, "report", "--file", str(file))
    assert not file.read_text(encoding="utf-8").isascii()


def policy(tool: Tool, *options: str) -> dict[str, Any]:
    return tool.json("fleet", "policy", *options)["policy"]


def test_a_refill_follows_the_policy_and_is_on_the_books(tool: Tool) -> None:
    canister = zones_of(tool)[0]
    before = policy(tool)
    try:
        changed = policy(tool, "--refill-to", "3T", "--refill-below", "500B", "--alert-days", "9", "--quota", "20T")
        assert (changed["refill_to"], changed["refill_below"], changed["alert_days"]) == (3 * T, T // 2, 9)
        assert (changed["quota"], changed["quota_seconds"]) == (20 * T, 86_400)
        assert changed["runway_days"] == before["runway_days"]
        (refilled,) = tool.json("fleet", "refill", canister)["refills"]
        assert (refilled["canister"], refilled["fault"]) == (canister, None)
        assert T // 2 < refilled["received"] <= 3 * T // 2
        books = tool.json("fleet", "deposits", "--zone", canister)
        assert [(row["attached"], row["outcome"]) for row in books["deposits"]] == [(refilled["received"], "settled")]
        assert books["sums"]["settled"]["attached"] >= refilled["received"]
        assert "settled: " in tool.text("fleet", "deposits")
        for decision in ([], ["--lost", "the balance did not change"]):
            code, said = tool.error("fleet", "settle-deposit", "0", *decision)
            assert (code, "deposit 0 is none whose answer was lost: see get_deposits" in said) == (3, True)
        assert table(tool.text("fleet", "deposits", "--csv"))[-1]["canister"] == canister
    finally:
        policy(tool, "--refill-to", str(before["refill_to"]), "--refill-below", str(before["refill_below"]))
    assert tool.json("fleet", "refill", canister)["refills"][0]["received"] == 0


def test_what_the_quota_refuses_is_a_fault_of_the_row_and_an_alert(tool: Tool) -> None:
    _, second, third = zones_of(tool)
    assert tool.json("fleet", "alerts")["alerts"] == []
    assert tool.text("fleet", "alerts") == "no alert is open\n"
    before = policy(tool)
    try:
        policy(tool, "--refill-to", "4T")
        (most,) = tool.json("fleet", "refill", second)["refills"]
        assert most["received"] == before["child_limit"]
        rows = tool.json("fleet", "refill", second, third, code=5)["refills"]
        assert [(row["canister"], row["received"]) for row in rows] == [(second, 0), (third, before["child_limit"])]
        assert "canister quota reached" in rows[0]["fault"]
        for named in ([second], [second, third]):
            code, said = tool.error("fleet", "refill", *named)
            assert (code, "canister quota reached" in said) == (3, True)
        alerts = tool.json("fleet", "alerts", code=5)["alerts"]
        assert [(row["kind"], row["canister"]) for row in alerts] == [
            ("quota_reached", zone) for zone in (second, third)
        ]
        assert "quota_reached" in tool.text("fleet", "alerts", code=5)
        assert tool.json("fleet", "status")["open_alerts"] == 2
    finally:
        policy(tool, "--refill-to", str(before["refill_to"]))


def test_who_is_no_admin_is_told_what_to_do(tool: Tool) -> None:
    tool.state.identity("mallory", create=True)
    canister = zones_of(tool)[0]
    for command in (
        ["refill", canister],
        ["refill", "--all"],
        ["policy", "--reserve", "1T"],
        ["policy", "--quota", "none"],
        ["releases", "--retire", "1"],
        ["rollout", "start"],
        ["rollout", "abort"],
    ):
        code, said = tool.error("fleet", *command, "--identity", "mallory")
        assert code == 3
        assert "mallory is no admin of the factory (`zones fleet admins` lists them, a controller adds one)" in said
    code, said = tool.error("fleet", "admins", "--add", "2vxsx-fae", "--identity", "mallory")
    assert (code, "mallory is no controller of the factory" in said) == (3, True)
    code, said = tool.error("fleet", "refill")
    assert (code, "which zones are to be refilled?" in said) == (1, True)


def test_a_mistake_in_the_policy_says_what_is_allowed(tool: Tool) -> None:
    code, said = tool.error("fleet", "policy", "--runway-days", "0")
    assert (code, "runway_days must be 1 to 365, got 0" in said) == (3, True)


def test_the_policy_for_creations_is_set_with_its_allowlist(tool: Tool) -> None:
    before = policy(tool)
    assert (before["creation"], before["funded"], before["allowlist"]) == ("open", "yes", [])
    assert before["creations_used"] >= ZONES
    bob = to_text(tool.state.identity("bob", create=True).sender())
    changed = policy(tool, "--creation", "allowlist", "--allow", bob, "--daily-creations", "600", "--funded", "no")
    assert (changed["creation"], changed["funded"], changed["allowlist"]) == ("allowlist", "no", [bob])
    assert (changed["daily_creations"], changed["daily_cycles"]) == (600, before["daily_cycles"])
    assert changed["refill_to"] == before["refill_to"]
    assert {"figure": "allowlist", "value": bob} in [
        {key: row[key] for key in ("figure", "value")} for row in table(tool.text("fleet", "policy", "--csv"))
    ]
    code, said = tool.error("create", "--identity", "mallory")
    assert (code, "allowlist" in said) == (3, True)
    daily = str(before["daily_creations"])
    restored = policy(tool, "--creation", "open", "--funded", "yes", "--forbid", bob, "--daily-creations", daily)
    assert (restored["creation"], restored["allowlist"]) == ("open", [])
    assert "whose zones the battery pays for" in tool.text("fleet", "policy")


def test_a_zone_is_named_by_its_id_where_that_is_no_secret_of_this_folder(tool: Tool, tmp_path: Path) -> None:
    url = network.resolve(tool.state, "local")
    zone, factory = tool.state.zones(url)[0], tool.json("fleet", "status")["factory"]
    elsewhere = Tool(tmp_path, tool.capsys)
    there = ("--network", url, "--factory", factory)
    assert elsewhere.json("fleet", "status", zone.zone_id, *there)["canister"] == zone.canister
    code, said = elsewhere.error("fleet", "status", "0x" + "0" * 40, *there)
    assert (code, f"the factory has no zone 0x{'0' * 40}" in said) == (1, True)


def test_admins_come_and_go_and_their_acts_are_listed(tool: Tool) -> None:
    bob = to_text(tool.state.identity("bob", create=True).sender())
    added = tool.json("fleet", "admins", "--add", bob)["admins"]
    assert {"admin": bob, "name": "bob"} in added
    assert policy(tool, "--alert-days", "7", "--identity", "bob")["alert_days"] == 7
    acts = tool.json("fleet", "audit", "--last", "2")["acts"]
    assert [(act["action"], act["subject"]) for act in acts] == [("add_admin", bob), ("set_battery_policy", None)]
    assert acts[1]["caller"] == bob
    left = tool.json("fleet", "admins", "--remove", bob)["admins"]
    assert bob not in [row["admin"] for row in left]
    assert "remove_admin" in tool.text("fleet", "audit", "--last", "1")


def test_a_rollout_reaches_every_zone_and_is_watched_to_its_end(tool: Tool) -> None:
    assert tool.text("fleet", "rollout") == "no rollout was started yet\n"
    code, said = tool.error("fleet", "rollout", "start", "--release", "999")
    assert (code, "there is no release 999 whose code is kept" in said) == (3, True)
    done = tool.json("fleet", "rollout", "start", "--wait", "--batch", "2")
    release = tool.json("status")["factory"]["release"]["version"]
    rollout = done["rollout"]
    assert (rollout["state"], rollout["release"], rollout["canary"], rollout["batch"]) == ("done", release, 1, 2)
    assert rollout["counts"]["current"] == ZONES
    assert {row["canister"]: row["outcome"] for row in done["changes"]} == dict.fromkeys(zones_of(tool), "current")
    assert len(tool.text("fleet", "rollout").splitlines()) == 3
    assert len(tool.text("fleet", "rollout", "wait", "--all").splitlines()) == 4 + ZONES
    assert [row["outcome"] for row in table(tool.text("fleet", "rollout", "--csv"))] == ["current"] * ZONES
    for what in ("pause", "abort"):
        code, said = tool.error("fleet", "rollout", what)
        assert (code, "no rollout is " in said) == (3, True)


def test_single_zones_are_upgraded_started_and_looked_at_by_admins(tool: Tool) -> None:
    canister = zones_of(tool)[0]
    version = tool.json("fleet", "status", canister)["version"]
    (upgraded,) = tool.json("fleet", "upgrade", canister)["upgrades"]
    assert upgraded == {"canister": canister, "before": version, "after": version, "fault": None}
    assert tool.json("fleet", "start", canister)["zones"] == [{"canister": canister, "started": True}]
    seen = tool.json("fleet", "status", canister, "--full")["platform"]
    assert (seen["status"], seen["controllers"]) == ("running", [tool.json("fleet", "status")["factory"]])
    assert seen["memory_size"] > 0
    assert "idle cycles burned per day" in tool.text("fleet", "status", canister, "--full")
    code, said = tool.error("fleet", "refund")
    assert (code, "cycles ledger" in said) == (3, True)
    code, said = tool.error("fleet", "upgrade", canister, "--release", "7")
    assert (code, "the factory has no release 7" in said) == (1, True)
    for command in (["upgrade", canister], ["start", canister], ["status", canister, "--full"], ["refund"]):
        tool.state.identity("mallory", create=True)
        code, said = tool.error("fleet", *command, "--identity", "mallory")
        assert (code, "mallory is no admin of the factory" in said) == (3, True)


def test_the_scripts_do_what_operators_know_them_for(tool: Tool) -> None:
    canister = zones_of(tool)[0]

    def script(name: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, f"scripts/{name}.py", *arguments, "--json", "--state", str(tool.state.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    assert script("canister_status", canister)["platform"]["status"] == "running"
    assert [row["canister"] for row in script("list_canisters")["zones"]] == zones_of(tool)
    assert script("canister_info", "--all")["zones"][0]["fault"] is None
    (row,) = script("canister_info", canister)["zones"]
    assert (row["canister"], row["code"]) == (canister, "release 1000")
    assert script("upgrade_canister", canister)["upgrades"][0]["canister"] == canister
    both = script("list_canisters", "--upgrade")
    assert (both["rollout"]["state"], [row["canister"] for row in both["zones"]]) == ("done", zones_of(tool))
    before = policy(tool)
    changed = script("update_quota", "default")["policy"]
    assert (changed["quota"], changed["quota_seconds"]) == (T, 3_600)
    changed = script("update_quota", str(before["quota"]))["policy"]
    assert (changed["quota"], changed["quota_seconds"]) == (before["quota"], 86_400)
    assert script("refill", canister)["refills"][0]["fault"] is None


def test_a_release_is_published_and_the_one_before_it_retired(tool: Tool, tmp_path: Path) -> None:
    (first,) = tool.json("fleet", "releases")["releases"]
    assert first["retired_at"] is None
    wasm = tmp_path / "zone.wasm.gz"
    section = b"\x01x" + random.Random(1).randbytes(1_500_000)
    wasm.write_bytes(gzip.compress(b"\0asm\1\0\0\0\0" + uleb(len(section)) + section))
    code, said = tool.error("fleet", "releases", "--publish", str(wasm), "--version", "1")
    assert code == 3
    assert "version" in said
    notes = "second\n\x1b[2Jfür alle"
    published = ["--publish", str(wasm), "--version", str(first["version"] + 1), "--notes", notes]
    second = tool.json("fleet", "releases", *published)["releases"][0]
    assert (second["notes"], second["size"]) == (notes, wasm.stat().st_size)
    rows = tool.text("fleet", "releases").splitlines()
    assert len(rows) == 3
    assert rows[1].endswith("  second \ufffd[2Jfür alle")
    assert "\x1b" not in tool.text("fleet", "releases", "--csv")
    assert rb"[2Jf\xfcr alle" in in_ascii(tool, "releases")
    retired = tool.json("fleet", "releases", "--retire", str(first["version"]))["releases"][1]
    assert (retired["wasm_sha256"], retired["retired_at"] is None) == (first["wasm_sha256"], False)
    assert zones_of(tool)
    code, said = tool.error("fleet", "releases", "--publish", "nothing.gz", "--version", "9")
    assert (code, "nothing.gz can't be read: No such file or directory (name a canister's Wasm" in said) == (1, True)
