"""Typed calls, installing, releases, roles, checks of what users type, and the state folder."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ic.candid
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localnet import candid as c
from tests.support.fake_agent import FakeAgent, FakeFactory
from zones import checks, management
from zones.calls import Method, ok_or_raise
from zones.errors import NetworkError, RejectedError, UserError
from zones.factory import CHUNK_BYTES, Factory
from zones.network import IC_URL, resolve
from zones.sample_texts import sentences
from zones.state import State, ZoneRecord
from zones.zone import Zone

CANISTER = b"\0" * 7 + b"\x05\x01\x01"
URL = "http://127.0.0.1:4943"
ZONE_ID = "0x" + "ab" * 20
CHECKS = [checks.principal, checks.zone_id, checks.address, checks.public_key, checks.call_token, checks.host]
CHECKS += [checks.name, checks.cycles, checks.positive, checks.size, checks.count_limit, checks.age_limit]
CHECKS += [checks.message_count, checks.message_id]


class Echo:
    """A canister that remembers arguments and answers with fixed bytes."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.arguments: list[bytes] = []

    def __getattr__(self, _method: str) -> Any:
        def call(argument: bytes) -> bytes:
            self.arguments.append(argument)
            return self.reply

        return call


@given(st.lists(st.tuples(st.binary(min_size=41, max_size=41), st.binary(max_size=100)), max_size=20))
def test_add_messages_is_encoded_as_another_candid_library_does(pairs: list[tuple[bytes, bytes]]) -> None:
    echo = Echo(c.encode([c.variant(ok=c.vec(c.NAT32), err=c.TEXT)], [("ok", [1, 2])]))
    assert Zone(FakeAgent({CANISTER: echo}), CANISTER).add_messages(pairs) == [1, 2]
    types: Any = ic.candid.Types  # its annotations contradict its use
    blob = types.Vec(types.Nat8)
    kind = types.Vec(types.Tuple(blob, blob))
    assert echo.arguments == [ic.candid.encode([{"type": kind, "value": pairs}])]


def test_an_err_is_an_exception_with_its_text() -> None:
    reply = c.encode([c.variant(ok=c.vec(c.NAT32), err=c.TEXT)], [("err", "key_id must be 41 bytes")])
    with pytest.raises(RejectedError, match="add_messages: key_id must be 41 bytes"):
        Zone(FakeAgent({CANISTER: Echo(reply)}), CANISTER).add_messages([(b"", b"")])
    with pytest.raises(RejectedError, match="top_up: aggregate_quota_reached"):
        ok_or_raise("top_up", ("err", ("aggregate_quota_reached", None)))
    with pytest.raises(RejectedError, match="top_up: other: no"):
        ok_or_raise("top_up", ("err", ("other", "no")))


@pytest.mark.parametrize("reply", [b"", b"DIDL", c.encode([c.TEXT], ["no number"]), c.encode([], [])])
def test_a_reply_of_another_type_is_a_network_error(reply: bytes) -> None:
    method = Method("get_version", [], [c.NAT], query=True)
    with pytest.raises(NetworkError, match=r"get_version: the reply is not of the expected type"):
        method(FakeAgent({CANISTER: Echo(reply)}), CANISTER)


def test_a_small_wasm_is_installed_in_one_message() -> None:
    agent = FakeAgent({management.MANAGEMENT: Echo(b"DIDL\0\0")})
    management.install(agent, CANISTER, bytes(1_000), b"")
    assert agent.calls == [("install_code", CANISTER)]


def test_a_large_wasm_is_installed_from_chunks_of_at_most_a_mebibyte() -> None:
    wasm = bytes(range(256)) * 10_000
    chunk_hash = c.encode([c.record(hash=c.BLOB)], [{"hash": bytes(32)}])
    store = Echo(chunk_hash)
    agent = FakeAgent({management.MANAGEMENT: store})
    seen: list[tuple[int, int]] = []
    management.install(agent, CANISTER, wasm, b"", mode="upgrade", progress=lambda *at: seen.append(at))
    methods = [method for method, _ in agent.calls]
    assert methods == ["upload_chunk"] * 3 + ["install_chunked_code", "clear_chunk_store"]
    chunks = [c.decode(a, [c.record(canister_id=c.PRINCIPAL, chunk=c.BLOB)])[0]["chunk"] for a in store.arguments[:3]]
    assert b"".join(chunks) == wasm
    assert max(map(len, chunks)) == management.CHUNK_BYTES
    (install,) = c.decode(store.arguments[3], [c.record(wasm_module_hash=c.BLOB, target_canister=c.PRINCIPAL)])
    assert install == {"wasm_module_hash": hashlib.sha256(wasm).digest(), "target_canister": CANISTER}
    assert seen[-1] == (len(wasm), len(wasm))


def test_an_interrupted_upload_goes_on_where_it_ended() -> None:
    fake = FakeFactory()
    fake.fail_after = 2
    factory = Factory(FakeAgent({CANISTER: fake}), CANISTER)
    wasm = bytes(range(256)) * (4 * CHUNK_BYTES // 256) + b"end"
    with pytest.raises(NetworkError, match="away"):
        factory.upload_release(wasm, lambda _done, _size: None)
    fake.fail_after = 10**9
    seen: list[int] = []
    digest = factory.upload_release(wasm, lambda done, _size: seen.append(done))
    assert fake.uploads == 5
    assert seen == [CHUNK_BYTES * 2, CHUNK_BYTES * 3, CHUNK_BYTES * 4, len(wasm)]
    factory.publish_release(1_000, digest, "notes")


def test_publishing_what_was_not_uploaded_is_rejected() -> None:
    with pytest.raises(RejectedError, match="another SHA-256"):
        Factory(FakeAgent({CANISTER: FakeFactory()}), CANISTER).publish_release(1, bytes(32), "")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1500000000000", 1_500_000_000_000),
        ("1.5T", 1_500_000_000_000),
        ("1_500B", 1_500_000_000_000),
        ("20t", 20 * 10**12),
    ],
)
def test_amounts_of_cycles(text: str, amount: int) -> None:
    assert checks.cycles(text) == amount


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5.5T", "1X", "T", "0.0000000000001T", str(2**128)])
def test_what_is_no_amount_of_cycles_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no amount of cycles"):
        checks.cycles(text)


@given(st.text(max_size=80), st.sampled_from(CHECKS))
def test_checks_of_typed_text_return_a_value_or_a_user_error(text: str, check: Callable[[str], object]) -> None:
    with contextlib.suppress(UserError):
        check(text)


def test_networks_have_names(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert resolve(state, "local") == URL
    assert resolve(state, "ic") == IC_URL
    assert resolve(state, "http://127.0.0.1:8000/") == "http://127.0.0.1:8000"
    with pytest.raises(UserError, match="local, ic or a URL"):
        resolve(state, "mainnet")


def test_the_latest_zone_is_meant_when_none_is_named(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(UserError, match="zones create"):
        state.zone(URL, None)
    first = ZoneRecord(ZONE_ID, "aaaaa-aa", "host")
    second = ZoneRecord("0x" + "cd" * 20, "bbbbb-bb", "host")
    for zone in (first, second):
        state.add_zone(URL, zone)
    assert State(tmp_path).zone(URL, None) == second
    assert state.zone(URL, ZONE_ID.upper().replace("X", "x")) == first
    assert state.zone(URL, "aaaaa-aa") == first
    with pytest.raises(UserError, match=f"known zones: {ZONE_ID}"):
        state.zone(URL, "0x" + "ef" * 20)
    state.forget(URL)
    assert state.zones(URL) == []


def test_a_broken_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "deployments.json").write_text("[")
    with pytest.raises(UserError, match=r"deployments.json can't be read.*mend or remove it"):
        State(tmp_path).zones(URL)


def test_there_are_enough_sentences_on_every_machine() -> None:
    texts = sentences(2_000)
    assert len(set(texts)) == 2_000
    assert all(text and "\n" not in text for text in texts)
    assert sentences(10) == texts[:10]
    with pytest.raises(UserError, match="not 1000000"):
        sentences(1_000_000)
