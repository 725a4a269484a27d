"""The membership contract's stand-in: selectors, answers as nodes write them, errors, changing roles."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from Crypto.Hash import keccak

from zones.errors import UserError
from zones.membership import IS_MEMBER, ROLE, ROLE_WITH_TOKEN, MembershipServer, Roles, answer, main

ZONE = "0xcd0afb71cb7ea9d16c719869682a399428eec34a"
IDENTITY = "0x08ff68fe9da498223d4fc953bc4c336ec5726fec"
ALICE = bytes.fromhex("fd86d5ea6d811556da1470de4fcfe0a52fe8832e")
TOKEN = bytes(range(32))


def call_data(selector: bytes, *words: bytes) -> str:
    return "0x" + selector.hex() + "".join(word.rjust(32, b"\0").hex() for word in words)


def request(to: str, data: str, request_id: int = 1) -> bytes:
    params = f'[{{"to": "{to}", "data": "{data}"}}, "latest"]'
    return f'{{"jsonrpc": "2.0", "id": {request_id}, "method": "eth_call", "params": {params}}}'.encode()


def roles_with(role: int, token: bytes | None = None) -> Roles:
    roles = Roles()
    roles.set_role(ZONE, ALICE, role)
    roles.set_token(ZONE, token)
    roles.identities[IDENTITY] = ["0x" + ALICE.hex()]
    return roles


def result(body: bytes, roles: Roles) -> int:
    return int(json.loads(answer(body, roles))["result"], 16)


def error_code(body: bytes, roles: Roles) -> int:
    return json.loads(answer(body, roles))["error"]["code"]


@pytest.mark.parametrize(
    ("selector", "signature"),
    [
        (ROLE, "Role(address)"),
        (ROLE_WITH_TOKEN, "RoleWithCallToken(bytes32,address)"),
        (IS_MEMBER, "IsMember(address)"),
    ],
)
def test_selectors_are_those_of_the_contract(selector: bytes, signature: str) -> None:
    assert keccak.new(digest_bits=256, data=signature.encode()).digest()[:4] == selector


def test_a_role_comes_as_the_bytes_a_node_sends() -> None:
    expected = b'{"jsonrpc":"2.0","id":1,"result":"0x' + b"0" * 61 + b'190"}'
    assert answer(request(ZONE, call_data(ROLE, ALICE)), roles_with(400)) == expected


def test_an_unknown_address_has_role_0() -> None:
    assert result(request(ZONE, call_data(ROLE, bytes(20))), roles_with(400)) == 0


def test_upper_case_addresses_are_the_same() -> None:
    assert result(request("0x" + ZONE[2:].upper(), call_data(ROLE, ALICE)), roles_with(400)) == 400


def test_a_zone_with_a_token_answers_only_to_it() -> None:
    roles = roles_with(200, TOKEN)
    assert result(request(ZONE, call_data(ROLE_WITH_TOKEN, TOKEN, ALICE)), roles) == 200
    assert error_code(request(ZONE, call_data(ROLE_WITH_TOKEN, bytes(32), ALICE)), roles) == 3
    assert error_code(request(ZONE, call_data(ROLE, ALICE)), roles) == 3
    assert error_code(request(ZONE, call_data(ROLE_WITH_TOKEN, TOKEN, ALICE)), roles_with(200)) == 3


def test_an_identity_contract_knows_its_devices() -> None:
    assert result(request(IDENTITY, call_data(IS_MEMBER, ALICE)), roles_with(200)) == 1
    assert result(request(IDENTITY, call_data(IS_MEMBER, bytes(20))), roles_with(200)) == 0
    assert error_code(request(IDENTITY, call_data(ROLE, ALICE)), roles_with(200)) == 3


def test_an_address_without_a_contract_answers_nothing() -> None:
    body = answer(request("0x" + "11" * 20, call_data(ROLE, ALICE)), roles_with(200))
    assert json.loads(body)["result"] == "0x"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b'{"id":1}', -32600),
        (b'{"id":1,"method":"eth_sendTransaction"}', -32601),
        (b'{"id":1,"method":"eth_call","params":[]}', -32602),
        (b'{"id":1,"method":"eth_call","params":[{"to":"0x1","data":"0x"}]}', -32602),
        (b'{"id":1,"method":"eth_call","params":[{"to":7,"data":"0x"}]}', -32602),
        (request(ZONE, "0xzz"), -32602),
        (request(ZONE, "0x12345678"), 3),
        (request(ZONE, "0x" + ROLE.hex()), 3),
        (request(ZONE, "0x" + ROLE.hex() + "ff" * 32), 3),
    ],
)
def test_wrong_requests_get_a_json_rpc_error(body: bytes, code: int) -> None:
    assert error_code(body, roles_with(200)) == code


def test_the_id_of_a_request_comes_back() -> None:
    assert json.loads(answer(b'{"id":"x","method":"eth_chainId"}', Roles()))["id"] == "x"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MembershipServer]:
    roles_with(200).save(tmp_path / "roles.json")
    running = MembershipServer(tmp_path / "roles.json")
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def ask(server: MembershipServer) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}/"
    return httpx.post(url, content=request(ZONE, call_data(ROLE, ALICE)), trust_env=False)


def test_roles_change_while_the_server_runs(server: MembershipServer) -> None:
    assert int(ask(server).json()["result"], 16) == 200
    roles = Roles.load(server.roles_file)
    roles.set_role(ZONE, ALICE, 700)
    roles.save(server.roles_file)
    assert int(ask(server).json()["result"], 16) == 700


def test_a_broken_roles_file_is_an_http_error_that_names_it(server: MembershipServer) -> None:
    server.roles_file.write_text("{")
    response = ask(server)
    assert response.status_code == 500
    assert "roles.json" in response.text


def test_only_posts_of_bounded_size_are_taken(server: MembershipServer) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    assert httpx.get(url, trust_env=False).status_code == 405
    assert httpx.post(url, content=b"x" * 70_000, trust_env=False).status_code == 413


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"zones": {"0x12": {}}}',
        json.dumps({"zones": {ZONE: {"roles": {"0x" + ALICE.hex(): "admin"}}}}),
        json.dumps({"zones": {ZONE: {"roles": {"0x" + ALICE.hex(): -1}}}}),
    ],
)
def test_a_wrong_roles_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "roles.json"
    path.write_text(text)
    with pytest.raises(UserError):
        Roles.load(path)


def test_starting_with_a_wrong_role_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--roles", str(tmp_path / "roles.json"), "--role", ZONE, "nobody", "200"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'nobody' is no address" in error
