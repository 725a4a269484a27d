"""What users get wrong: one line on stderr that says what to do, the right exit code, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zones import cli
from zones.certificates import MAINNET_ROOT_KEY
from zones.state import State, ZoneRecord

NOWHERE = "http://127.0.0.1:9"
"""A port nobody listens on (discard)."""
ZONE_ID = "0x" + "ab" * 20


FLEET = [
    f"fleet {action}"
    for action in (
        "list",
        "status",
        "refill",
        "deposits",
        "alerts",
        "policy",
        "admins",
        "audit",
        "releases",
        "history",
        "sweep",
        "report",
        "rollout",
        "upgrade",
        "install",
        "reinstall",
        "change",
        "info",
        "start",
        "refund",
        "refund-account",
        "allowance",
        "fuel",
        "waive",
        "allow-code",
        "creation",
        "settle-deposit",
    )
]
CUSTODY = [
    f"custody {action}"
    for action in ("show", "offer", "accept", "cancel", "retire", "accept-release", "accept-reinstall", "repay")
]
ZONE = "rwlgt-iiaaa-aaaaa-aaaaa-cai"
AT = ["--factory", "aaaaa-aa"]
LARGE = "9" * 20
"""More than any counter holds."""


def run(capsys: pytest.CaptureFixture[str], state: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of one command."""
    try:
        code = cli.main([*arguments, "--state", str(state)] if arguments and arguments[-1] != "--help" else arguments)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 1, "COMMAND"),
        (["dance"], 1, "invalid choice: 'dance'"),
        (["network"], 1, "ACTION"),
        (["network", "start", "--port", "many"], 1, "invalid int value: 'many'"),
        (["network", "start", "--port", "70000"], 1, "127.0.0.1:70000 can't be used"),
        (["deploy", "--cycles", "lots"], 1, "'lots' is no amount of cycles (write 1500000000000, 1500B or 1.5T;"),
        (["deploy", "--factory", "here"], 1, "'here' is no principal"),
        (["deploy", "--builder", "make"], 1, "invalid choice: 'make'"),
        (["deploy"], 2, "no network answers at http://127.0.0.1:9"),
        (["create"], 1, "no factory was deployed to http://127.0.0.1:9 yet (run `zones deploy`"),
        (["create", "--factory", "here"], 1, "'here' is no principal"),
        (["create", "--factory", "aaaaa-aa"], 1, "name it with --zone-id and --rpc-host"),
        (["create", "--zone-id", "0x12"], 1, "'0x12' is no zone id (a zone id is 0x and 40 hexadecimal digits)"),
        (["create", "--rpc-host", "https://host"], 1, "give host or host:port without https://"),
        (["create", "--call-token", "12"], 1, "a call token is 64 hexadecimal digits"),
        (["join"], 1, "no zone was created on http://127.0.0.1:9 yet (run `zones create`"),
        (["join", "--public-key", "04aa"], 1, "04 and 128 hexadecimal digits; this has 4 characters"),
        (["join", "--role", "0"], 1, "'0' is no whole number above 0"),
        (["join", "--identity", "../x"], 1, "'../x' is no identity name"),
        (["send"], 1, "there is no identity 'owner'"),
        (["send", "--batch", "0"], 1, "'0' is no whole number above 0"),
        (["read", "--from", "first"], 1, "'first' is no whole number above 0"),
        (["read", "--from", "9", "--to", "3"], 1, "--from 9 is after --to 3"),
        (["read", "--sender", "alice"], 1, "'alice' is no address"),
        (["read", "--verify", "--root-key", "00ff"], 1, "'00ff' is no root key: it has 2 bytes"),
        (["read", "--root-key", "/nowhere"], 1, "neither hexadecimal digits nor a file that can be read"),
        (["read", "--root-key", MAINNET_ROOT_KEY.hex()], 1, "--root-key is for --verify"),
        (["limits", "--max-bytes", "1MB"], 1, "'1MB' is no size (write 268435456, 262144KiB, 256MiB or 1GiB)"),
        (["limits", "--max-messages", "0"], 1, "'0' is no number of messages (write a whole number from 1 to"),
        (["limits", "--max-age", "1y"], 1, "'1y' is no age (write seconds as 86400, or 90m, 24h or 30d"),
        (["limits", "--max-age", "99999d"], 1, "is no age"),
        (["limits"], 1, "no zone was created"),
        (["quota", "--max-messages", "none"], 1, "'none' is no number of messages"),
        (["quota", "--max-bytes", "1"], 1, "there is no identity 'owner'"),
        (["prune"], 1, "--up-to"),
        (["prune", "--up-to", "0"], 1, "'0' is no message id (an id is a whole number from 1 to 4294967295)"),
        (["status"], 1, "no factory was deployed"),
        (["fleet"], 1, "ACTION"),
        (["fleet", "list"], 1, "no factory was deployed"),
        (["fleet", "list", "--ask", "--retired"], 1, "not allowed with argument --ask"),
        (["fleet", "list", "--json", "--csv"], 1, "--json and --csv exclude each other"),
        (["fleet", "list", "--factory", "aaaaa-aa"], 2, "no network answers"),
        (["fleet", "refill", "--factory", "aaaaa-aa"], 1, "there is no identity 'owner'"),
        (["fleet", "policy", "--refill-to", "much"], 1, "'much' is no amount of cycles (write"),
        (["fleet", "policy", "--runway-days", "-1"], 1, "'-1' is no whole number"),
        (["fleet", "deposits", "--last", "0"], 1, "'0' is no whole number above 0"),
        (["fleet", "deposits", "--last", LARGE, *AT], 1, f"'{LARGE}' are more entries than a log has (write a whole"),
        (["fleet", "alerts", "--last", LARGE, *AT], 1, f"'{LARGE}' are more entries than a log has"),
        (["fleet", "audit", "--last", LARGE, *AT], 1, f"'{LARGE}' are more entries than a log has"),
        (["fleet", "creation", LARGE, *AT], 1, f"{LARGE} does not fit nat64: 0 to 18446744073709551615"),
        (["fleet", "creation", "1" * 5_000, *AT], 1, "is no whole number (write digits, at most 78)"),
        (["fleet", "admins", "--add", "aaaaa-aa", *AT], 1, "'aaaaa-aa' is the management canister (name who calls"),
        (["fleet", "admins", "--remove", "aaaaa-aa", *AT], 1, "'aaaaa-aa' is the management canister"),
        (["fleet", "policy", "--allow", "aaaaa-aa", *AT], 1, "'aaaaa-aa' is the management canister"),
        (["fleet", "creation", "1", "--settle", "aaaaa-aa", *AT], 1, "'aaaaa-aa' is the management canister"),
        (["fleet", "status", "aaaaa-aa", *AT], 1, "'aaaaa-aa' is the management canister"),
        (["fleet", "status", ZONE_ID, "--factory", "aaaaa-aa"], 2, "no network answers"),
        (["fleet", "status", "0x12", "--factory", "aaaaa-aa"], 1, "'0x12' is no zone id (a zone id is 0x and 40"),
        (["fleet", "policy", "--creation", "some"], 1, "invalid choice: 'some'"),
        (["fleet", "rollout", "stop"], 1, "invalid choice: 'stop'"),
        (["fleet", "rollout", "start", "--batch", "0"], 1, "'0' is no whole number above 0"),
        (["fleet", "admins", "--add", "me"], 1, "'me' is no principal"),
        (["fleet", "admins", "--add", ZONE, "--remove", ZONE], 1, "not allowed with argument --add"),
        (["fleet", "releases", "--publish", "zone.wasm.gz"], 1, "--publish and --version belong together"),
        (["fleet", "policy", "--trust", "https://host/"], 1, "give host or host:port without https://"),
        (["fleet", "policy", "--distrust", "host"], 1, "'host' is no node (give host and path without https://"),
        (["fleet", "allowance", ZONE, "much"], 1, "'much' is no amount of cycles"),
        (["fleet", "allow-code", ZONE, "3f0a"], 1, "'3f0a' is no SHA-256 (a SHA-256 is 64 hexadecimal digits)"),
        (["fleet", "creation", "first", *AT], 1, "'first' is no whole number"),
        (["fleet", "creation", ZONE_ID, "--settle", "none", *AT], 1, "--settle is for a creation's number"),
        (["fleet", "creation", "1", "--settle", "it", *AT], 1, "'it' is no principal"),
        (["fleet", "refund-account", "--ledger", ZONE], 1, "--ledger is for a refund account"),
        (["create", "--owner", "me"], 1, "'me' is no principal"),
        (["fleet", "upgrade", ZONE, "--wasm", "a", "--release", "1"], 1, "not allowed with argument --wasm"),
        (["fleet", "install", ZONE, "--argument", "4449"], 1, "'4449' is no argument (give encoded Candid"),
        (["fleet", "reinstall", ZONE, *AT], 1, "there is no identity 'owner'"),
        (["fleet", "info", "--node", "host", *AT], 1, "'host' is no node"),
        (["fleet", "info", "--all", "--root-key", "00ff", *AT], 1, "'00ff' is no root key: it has 2 bytes"),
        (["fleet", "info", ZONE, "--root-key", "local", *AT], 1, "no network was started from this state folder"),
        (["fleet", "change", "here", *AT], 1, "'here' is no principal"),
        (["custody"], 1, "ACTION"),
        (["custody", "show"], 1, "ZONE"),
        (["custody", "show", "here", *AT], 1, "'here' is no principal"),
        (["custody", "offer", ZONE, "--owner", ZONE], 1, "--custody"),
        (["custody", "offer", ZONE, "--custody", "mine", "--owner", ZONE], 1, "invalid choice: 'mine'"),
        (["custody", "offer", ZONE, "--custody", "shared"], 1, "--owner"),
        (["custody", "accept", ZONE], 1, "no factory was deployed"),
        (["custody", "repay", ZONE, "--wallet", "mine", *AT], 1, "'mine' is no principal"),
        (["custody", "repay", ZONE, "--cycles", "0", *AT], 1, "'0' is no amount of cycles"),
        (["custody", "retire", ZONE, *AT], 1, "there is no identity 'owner'"),
        (["custody", "accept-release", ZONE, "--release", "0"], 1, "'0' is no whole number above 0"),
        (["status", "--zone", "rwlgt-iiaaa-aaaaa-aaaaa-cai"], 2, "no network answers"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    named = ["--network", NOWHERE] if arguments and arguments[0] not in ("dance", "network") else []
    found, error = run(capsys, tmp_path, *arguments, *named)
    assert (found, error.count("\n")) == (code, 1)
    assert error.startswith("zones: error: ")
    assert said in error


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["settle-deposit", LARGE, "--lost", "it is gone"], f"{LARGE} does not fit nat64: 0 to 18446744073709551615"),
        (["settle-deposit", "1", "--lost", "gone\udcff"], "'gone\\udcff' is no Unicode text"),
        (["policy", "--pool-size", LARGE], f"pool_size: {LARGE} does not fit nat32: 0 to 4294967295"),
    ],
)
def test_a_value_that_no_call_can_carry_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str], said: str
) -> None:
    State(tmp_path).identity("owner", create=True)
    code, error = run(capsys, tmp_path, "fleet", *command, *AT, "--network", NOWHERE)
    assert (code, error.count("\n")) == (1, 1)
    assert said in error


@pytest.mark.parametrize(
    "named", ["mainnet", "", "http://", "http://[", "http://host:port", "ftp://127.0.0.1", "127.0.0.1:4943"]
)
@pytest.mark.parametrize("command", ["status", "send"])
def test_an_unknown_network_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, named: str
) -> None:
    State(tmp_path).identity("owner", create=True)
    code, error = run(capsys, tmp_path, command, "--network", named)
    assert (code, error.count("\n")) == (1, 1)
    assert f"{named!r} is no network" in error
    assert "name local, ic or a URL such as http://127.0.0.1:4943" in error


def test_a_state_folder_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, error = run(capsys, tmp_path / "file", "network", "start")
    assert (code, error.count("\n")) == (1, 1)
    assert "Not a directory" in error


@pytest.mark.parametrize(
    ("command", "content"),
    [
        ("read", "[1]"),
        ("read", '{"%s": 7}'),
        ("read", '{"%s": {"zones": [{"id": 1}]}}'),
        ("read", '{"%s": {"zones": 1}}'),
        ("read", '{"%s": {"zones": [5]}}'),
        ("read", '{"%s": {"zones": [{"zone_id": "0x", "canister": 5, "rpc_host": "host"}]}}'),
        ("status", '{"%s": {"factory": 5}}'),
        ("fleet list", '{"%s": {"factory": ["rwlgt-iiaaa-aaaaa-aaaaa-cai"]}}'),
    ],
)
def test_broken_records_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, content: str
) -> None:
    state = State(tmp_path)
    state.identity("owner", create=True)
    (tmp_path / "deployments.json").write_text(content.replace("%s", NOWHERE))
    code, error = run(capsys, tmp_path, *command.split(), "--network", NOWHERE)
    assert (code, error.count("\n")) == (1, 1)
    assert "deployments.json" in error
    assert "mend or remove it" in error


def test_mainnet_needs_a_factory_that_has_cycles(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, error = run(capsys, tmp_path, "deploy", "--network", "ic")
    assert (code, error.count("\n")) == (1, 1)
    assert "mainnet gives no cycles away" in error


def with_zone(folder: Path, *, key: bool) -> State:
    state = State(folder)
    state.identity("owner", create=True)
    state.add_zone(NOWHERE, ZoneRecord(ZONE_ID, "rwlgt-iiaaa-aaaaa-aaaaa-cai", "host"))
    if key:
        state.key_path(ZONE_ID).parent.mkdir()
        state.key_path(ZONE_ID).write_bytes(state.identity_path("owner").read_bytes())
    return state


@pytest.mark.parametrize(
    ("arguments", "key", "code", "said"),
    [
        (["read"], False, 1, "ask a member of the zone for a copy of it"),
        (["send", "--file", "missing.txt"], True, 1, "missing.txt can't be read: No such file or directory"),
        (["send", "--file", "picture.png"], True, 1, "picture.png is no UTF-8 text"),
        (["send", "--file", "notes.txt"], True, 2, "no network answers"),
        (["send", "--zone", "0x12"], True, 1, f"known zones: {ZONE_ID}"),
        (["join", "--role", "200"], True, 1, "roles come from the zone's contract"),
        (["read"], True, 2, "no network answers"),
    ],
)
def test_a_mistake_with_a_zone_is_one_line_too(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    key: bool,
    code: int,
    said: str,
) -> None:
    with_zone(tmp_path, key=key)
    monkeypatch.chdir(tmp_path)
    Path("picture.png").write_bytes(b"\x89PNG\xff")
    Path("notes.txt").write_text("hello\n")
    found, error = run(capsys, tmp_path, *arguments, "--network", NOWHERE)
    assert (found, error.count("\n")) == (code, 1)
    assert said in error


@pytest.mark.parametrize(
    "command",
    [
        "network start",
        "network stop",
        "network status",
        "deploy",
        "create",
        "join",
        "send",
        "read",
        "status",
        *FLEET,
        *CUSTODY,
    ],
)
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert exited.value.code == 0
    assert f"example:\n  zones {command}" in text
    assert "--json" in text
    assert "--state" in text


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "zones", "network", "status", "--state", str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_stopped_network_is_told_apart_from_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["network", "stop", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no local network was running\n"
    process = {"pid": 1, "started": "1"}
    network = {"url": NOWHERE, "rpc_host": "host", "membership_url": "", "localnet": process, "membership": process}
    for record in ({"url": NOWHERE}, {**network, "url": 5}, {**network, "localnet": {**process, "pid": "x"}}):
        (tmp_path / "network.json").write_text(json.dumps(record))
        for command in (["network", "status"], ["fleet", "list"]):
            code, error = run(capsys, tmp_path, *command)
            assert (code, error.count("\n")) == (1, 1)
            assert "is no record of a network" in error
