"""Verified reads on the host: certificates of every kind, honest histories of every shape, lies of every shape."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from icp_certificate import certificate as icp_certificate

from localnet import cbor
from localnet.certificates import Certifier, self_described
from localnet.principal import canister_id
from tests.support.liars import CANISTER, ROOT, SUBNET, HostZone, Liar, altered, certificate
from tests.support.stores import Reads, add, message_store
from zone_canister.message_eviction import Refused
from zone_canister.message_state import MIB
from zones import certificates, verification
from zones.agent import Agent
from zones.errors import ProofError, UserError
from zones.state import State
from zones.verification import SeenHead, Verifier
from zones.zone import Zone

NOW = 1_700_000_000
DATA = b"\x05" * 32
KEYS = [bytes([20]) + bytes([number]) * 20 + bytes(20) for number in range(3)]
SENDERS = [b"\x01" * 29, b"\x02" * 10]


def verifier(agent: Agent, folder: Path, now: Callable[[], float], root: Certifier = ROOT) -> Verifier:
    seen = SeenHead(State(folder), CANISTER, root.der_public_key)
    return Verifier(Zone(agent, CANISTER), root.der_public_key, seen, clock=now, sleep=lambda _: None)


# Certificates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"sharded": True}, {"subnet": None}, {"ranges": (5, 5)}])
def test_a_certificate_of_the_canisters_subnet_proves_its_data(options: dict[str, Any]) -> None:
    proven = certificates.certified_data(certificate(DATA, NOW, **options), CANISTER, ROOT.der_public_key, NOW)
    assert proven == certificates.Certified(DATA, NOW)


@pytest.mark.parametrize("age", [0, 299, -59])
def test_a_certificate_within_the_allowed_times_is_accepted(age: int) -> None:
    certified = certificates.certified_data(certificate(DATA, NOW - age), CANISTER, ROOT.der_public_key, NOW)
    assert certified.time == NOW - age


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time": NOW - 301}, "is 301 s old, at most 300 s are accepted"),
        ({"time": NOW + 61}, "is from 61 s in the future, at most 60 s"),
        ({"root": Certifier(b"another")}, "the delegation is not signed by the key"),
        ({"root": Certifier(b"another"), "subnet": None}, "the certificate is not signed by the key"),
        ({"canister": canister_id(6)}, "has no certified data of the canister"),
        ({"ranges": (0, 4)}, "which does not have the canister"),
        ({"ranges": (6, 9), "sharded": True}, "which does not have the canister"),
    ],
)
def test_a_certificate_that_proves_nothing_is_refused_with_the_reason(options: dict[str, Any], said: str) -> None:
    made = certificate(DATA, options.pop("time", NOW), **options)
    with pytest.raises(ProofError, match=said):
        certificates.certified_data(made, CANISTER, ROOT.der_public_key, NOW)


@given(st.data())
@settings(max_examples=200)
def test_a_certificate_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    made = bytearray(GENUINE)
    at = data.draw(st.integers(0, len(made) - 1))
    made[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofError):
        certificates.certified_data(bytes(made), CANISTER, ROOT.der_public_key, NOW)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(ProofError, match="malformed"):
        certificates.certified_data(data, CANISTER, ROOT.der_public_key, NOW)


GENUINE = certificate(DATA, NOW)


OF_IT = {b"controllers": self_described([b"\x01", b"\x02"]), b"module_hash": bytes(32)}
RUNNING = certificate(DATA, NOW, more=OF_IT)


def test_a_certificate_tells_who_controls_a_canister_and_what_it_runs() -> None:
    found = certificates.certified_running(RUNNING, CANISTER, ROOT.der_public_key, NOW)
    assert found == certificates.Running([b"\x01", b"\x02"], bytes(32), NOW)
    empty = certificate(DATA, NOW, more={b"controllers": self_described([])})
    found = certificates.certified_running(empty, CANISTER, ROOT.der_public_key, NOW)
    assert found == certificates.Running([], None, NOW)
    for controllers, said in (
        (None, "has no controllers of the canister"),
        (self_described([5]), "are no list of principals"),
        (self_described(7), "are no list of principals"),
    ):
        made = certificate(DATA, NOW, more={} if controllers is None else {b"controllers": controllers})
        with pytest.raises(ProofError, match=said):
            certificates.certified_running(made, CANISTER, ROOT.der_public_key, NOW)
    with pytest.raises(ProofError, match="is not signed by the key"):
        certificates.certified_running(RUNNING, CANISTER, SUBNET.der_public_key, NOW)


@given(st.data())
def test_a_certificate_of_what_runs_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    made = bytearray(RUNNING)
    made[data.draw(st.integers(0, len(made) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofError):
        certificates.certified_running(bytes(made), CANISTER, ROOT.der_public_key, NOW)


def test_a_delegation_cannot_be_passed_on() -> None:
    """A subnet that the root delegated to delegates to another key: one level is all there may be."""
    rogue = Certifier(b"rogue")
    outer = certificate(DATA, NOW, root=SUBNET, subnet=rogue)
    form = cbor.decode(outer)
    inner = cbor.decode(form["delegation"]["certificate"])
    inner["delegation"] = cbor.decode(GENUINE)["delegation"]
    form["delegation"]["certificate"] = self_described(inner)
    with pytest.raises(ProofError, match="holds a delegation itself"):
        certificates.certified_data(self_described(form), CANISTER, ROOT.der_public_key, NOW)


def test_a_certificate_is_checked_within_a_fifth_of_a_second() -> None:
    took = []
    for _ in range(5):
        started = time.process_time()
        certificates.certified_data(GENUINE, CANISTER, ROOT.der_public_key, NOW)
        took.append(time.process_time() - started)
    assert min(took) <= 0.2


def test_mainnets_root_key_is_the_one_that_other_agents_have() -> None:
    assert certificates.MAINNET_ROOT_KEY == icp_certificate.IC_ROOT_KEY


def test_a_root_key_is_read_from_digits_and_files(tmp_path: Path) -> None:
    key = ROOT.der_public_key
    binary, digits = tmp_path / "key.der", tmp_path / "key.txt"
    binary.write_bytes(key)
    digits.write_text(key.hex() + "\n")
    assert {certificates.root_key(text) for text in (key.hex(), "0x" + key.hex(), str(binary), str(digits))} == {key}
    for text in ("00ff", str(tmp_path / "nothing"), key.hex()[:-2]):
        with pytest.raises(UserError, match="root key is a BLS key of 133 bytes"):
            certificates.root_key(text)


# Honest histories ----------------------------------------------------------------------------------------

batches = st.lists(
    st.tuples(st.sampled_from(KEYS), st.binary(max_size=8) | st.sampled_from([bytes(3_000), bytes([1]) * 9_000])),
    min_size=1,
    max_size=40,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), batches, st.sampled_from(SENDERS)),
        st.tuples(st.just("prune"), st.floats(0, 1)),
        st.tuples(st.just("age"), st.integers(0, 40)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
        st.tuples(st.just("limit"), st.integers(1, 60)),
        st.tuples(st.just("read")),
    ),
    max_size=14,
)


class History:
    """A store on the host that lives through steps as the canister would, with its background work done."""

    def __init__(self) -> None:
        self.zone = HostZone(message_store(), NOW)
        self.store = self.zone.store
        self.store.limits.change(MIB, None, None)

    def step(self, name: str, *values: Any) -> None:
        store, now = self.store, int(self.zone.now)
        if name == "add":
            store.expire(now)
            with contextlib.suppress(Refused):
                add(store, values[0], values[1], now)
        elif name == "prune":
            store.move_first(store.state.first_id + int(values[0] * store.state.count))
            store.state.save()
        elif name == "age":
            store.limits.change(None, None, values[0])
        elif name == "limit":
            store.limits.change(None, values[0], None)
        elif name == "wait":
            self.zone.now += values[0]
        if name != "add":
            while store.reclaim(int(self.zone.now), 1_000):
                pass


@given(steps, st.integers(1, 60), st.integers(1, 60), st.sampled_from([None, *KEYS]))
@settings(max_examples=60)
def test_an_honest_zones_messages_are_all_proven_whatever_it_went_through(
    tmp_path_factory: pytest.TempPathFactory, history: list[Any], first: int, last: int, key_id: bytes | None
) -> None:
    lived = History()
    check = verifier(lived.zone, tmp_path_factory.mktemp("seen"), lambda: lived.zone.now)
    for name, *values in [*history, ("read",)]:
        lived.step(name, *values)
        if name != "read":
            continue
        for low, high in ((1, None), (first, last)):
            proven = check.prove(low, high, key_id)
            found = list(check.messages(proven, key_id))
            reads = Reads(lived.store, int(lived.zone.now))
            expected = reads.since(low - 1, key_id)["messages"]
            assert [vars(message) for message in found] == [
                {name: record[name] for name in ("id", "timestamp", "key_id", "ciphertext")}
                for record in expected
                if high is None or record["id"] <= high
            ]
            senders = {record["id"]: record["sender"] for record in reads.metas(1, 2**32 - 1)}
            assert all(meta.sender == senders[meta.id] for meta in proven.messages)


def three_calls() -> History:
    """Ten messages in three groups of two members, the first two pruned."""
    lived = History()
    lived.step("add", [(KEYS[n % 2], bytes([n])) for n in range(4)], SENDERS[0])
    lived.step("wait", 1)
    lived.step("add", [(KEYS[n % 2], bytes([n])) for n in range(4, 9)], SENDERS[1])
    lived.step("wait", 1)
    lived.step("add", [(KEYS[2], b"9")], SENDERS[0])
    lived.step("prune", 0.2)
    return lived


def test_a_verified_read_needs_queries_only_and_few_of_them(tmp_path: Path) -> None:
    lived = three_calls()
    check = verifier(lived.zone, tmp_path, lambda: lived.zone.now)
    proven = check.prove()
    assert len(list(check.messages(proven))) == 8
    assert proven.checked == 8
    assert lived.zone.queries.count("get_certified_head") == 1
    assert len(lived.zone.queries) <= 6


def test_a_second_read_takes_in_no_more_than_what_came_since(tmp_path: Path) -> None:
    lived = three_calls()
    check = verifier(lived.zone, tmp_path, lambda: lived.zone.now)
    check.prove()
    lived.step("add", [(KEYS[0], b"new")], SENDERS[0])
    assert check.prove(first=11).checked == 1
    assert check.prove(first=12).checked == 0


# Lies ----------------------------------------------------------------------------------------------------


def test_messages_cannot_be_passed_off_as_gone(tmp_path: Path) -> None:
    lived = three_calls()
    marks = [
        bytes([41]) + record["key_id"] + bytes([32]) + record["hash"] for record in Reads(lived.store, NOW).metas(1, 20)
    ]

    def hide(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**e, "gone": marks[2]} if e["first_id"] == 5 else e for e in entries]

    liar = Liar(lived.zone, get_digest_page=hide)
    with pytest.raises(ProofError, match="messages 5 to 5 are withheld"):
        verifier(liar, tmp_path, lambda: lived.zone.now).prove()


@pytest.mark.parametrize("size", [0, 31, 33, 77])
def test_a_chain_value_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    lived = three_calls()
    liar = Liar(lived.zone, get_digest_page=lambda entries: [{**entry, "chain": bytes(size)} for entry in entries])
    with pytest.raises(ProofError, match=f"before message 10 has {size} bytes, not 32"):
        verifier(liar, tmp_path, lambda: lived.zone.now).prove(first=10)


@pytest.mark.parametrize("fields", [{"sender": b"\x04"}, {"timestamp": NOW}, {"key_id": KEYS[0]}, {"hash": bytes(32)}])
def test_what_is_said_of_a_call_with_one_message_is_held_against_the_head(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    lived = three_calls()
    liar = Liar(lived.zone, get_messages_meta_by_range=altered(10, **fields))
    with pytest.raises(ProofError, match="does not end in the certified head"):
        verifier(liar, tmp_path, lambda: lived.zone.now).prove()


def test_a_chain_that_starts_elsewhere_is_named_before_it_is_walked(tmp_path: Path) -> None:
    lived = three_calls()
    liar = Liar(lived.zone, get_digest_page=lambda entries: [{**entry, "chain": b"x" * 32} for entry in entries])
    with pytest.raises(ProofError, match="before message 3 is not the certified head's anchor"):
        verifier(liar, tmp_path, lambda: lived.zone.now).prove()
    assert "get_messages_meta_by_range" not in lived.zone.queries


FIELDS = {
    "get_certified_head": ("first_id", "anchor", "max_id", "head"),
    "get_digest_page": ("first_id", "chain", "gone"),
    "get_messages_meta_by_range": ("id", "timestamp", "key_id", "hash", "sender"),
    "get_messages_since": ("id", "timestamp", "key_id", "ciphertext"),
}


@given(st.sampled_from(sorted(FIELDS)), st.data(), st.integers(1, 10), st.sampled_from([None, KEYS[0]]))
@settings(max_examples=300)
def test_no_change_of_a_reply_makes_a_client_believe_something_else(
    tmp_path_factory: pytest.TempPathFactory, method: str, data: st.DataObject, first: int, key_id: bytes | None
) -> None:
    """Any one reply is changed in any one way: the read fails, or has exactly what the honest one has."""
    lived = three_calls()
    honest = list(read(verifier(lived.zone, tmp_path_factory.mktemp("honest"), lambda: lived.zone.now), first, key_id))

    def change(reply: Any) -> Any:
        reply = copy.deepcopy(reply)
        records = reply["messages"] if method == "get_messages_since" else reply
        if isinstance(records, list):
            assume(records)
            at = data.draw(st.integers(0, len(records) - 1))
            how = data.draw(st.sampled_from([*["field"] * 5, "drop", "double", "swap", "cut", "empty"]))
            if how != "field":
                apply(how, records, at)
                return reply
            record = records[at]
        else:
            record = records
        name = data.draw(st.sampled_from(FIELDS[method]))
        value = record[name]
        record[name] = data.draw(st.integers(0, 20) if isinstance(value, int) else other_bytes(value))
        return reply

    liar = Liar(lived.zone, **{method: change})
    try:
        found = list(read(verifier(liar, tmp_path_factory.mktemp("lied"), lambda: lived.zone.now), first, key_id))
    except ProofError:
        return
    assert found == honest


def read(check: Verifier, first: int, key_id: bytes | None) -> Any:
    proven = check.prove(first, None, key_id)
    yield from proven.messages
    yield from check.messages(proven, key_id)


def other_bytes(value: bytes) -> st.SearchStrategy[bytes]:
    flipped = st.integers(0, max(0, len(value) - 1)).map(
        lambda at: value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :] if value else b"\x01"
    )
    return flipped | st.binary(max_size=80)


def apply(how: str, records: list[Any], at: int) -> None:
    if how == "drop":
        del records[at]
    elif how == "double":
        records.insert(at, copy.deepcopy(records[at]))
    elif how == "swap":
        records[at], records[-1] = records[-1], records[at]
    else:
        del records[at if how == "cut" else 0 :]


# The last head seen --------------------------------------------------------------------------------------


def test_a_head_below_the_last_one_seen_is_refused_until_it_is_forgotten(tmp_path: Path) -> None:
    old, new = three_calls(), three_calls()
    new.step("add", [(KEYS[0], b"new")], SENDERS[0])
    verifier(new.zone, tmp_path, lambda: NOW).prove()
    check = verifier(old.zone, tmp_path, lambda: NOW)
    with pytest.raises(ProofError, match=r"ids 3 to 10\) is behind the last one seen \(ids 3 to 11") as refused:
        check.prove()
    assert str(check.seen.path) in refused.value.hint
    check.seen.path.unlink()
    assert len(check.prove().messages) == 8


def test_a_head_that_brings_pruned_messages_back_is_refused(tmp_path: Path) -> None:
    old, new = three_calls(), three_calls()
    new.step("prune", 0.5)
    verifier(new.zone, tmp_path, lambda: NOW).prove()
    with pytest.raises(ProofError, match="is behind the last one seen"):
        verifier(old.zone, tmp_path, lambda: NOW).prove()


@pytest.mark.parametrize("more", [0, 1, 5])
def test_another_history_is_refused_even_if_it_is_longer(tmp_path: Path, more: int) -> None:
    known, other = three_calls(), History()
    other.step("add", [(KEYS[0], bytes([n, n])) for n in range(10)], SENDERS[0])
    other.step("prune", 0.2)
    for n in range(more):
        other.step("add", [(KEYS[0], bytes([n, n, n]))], SENDERS[0])
    verifier(known.zone, tmp_path, lambda: NOW).prove()
    for first in (1, 10, 16):
        with pytest.raises(ProofError, match="messages up to 10 are not those that were seen before"):
            verifier(other.zone, tmp_path, lambda: NOW).prove(first)


def test_a_history_whose_groups_do_not_meet_the_last_head_is_another(tmp_path: Path) -> None:
    known, other = three_calls(), History()
    for pairs in (4, 5, 3):
        other.step("add", [(KEYS[0], bytes([pairs, n])) for n in range(pairs)], SENDERS[0])
    other.step("prune", 0.2)
    verifier(known.zone, tmp_path, lambda: NOW).prove()
    with pytest.raises(ProofError, match="messages up to 10 are not those"):
        verifier(other.zone, tmp_path, lambda: NOW).prove()


def test_a_replica_that_is_late_is_asked_again(tmp_path: Path) -> None:
    lived, late = three_calls(), three_calls()
    lived.step("add", [(KEYS[0], b"new")], SENDERS[0])
    check = verifier(lived.zone, tmp_path, lambda: NOW)
    check.prove()
    fresh, lived.zone.store = lived.zone.store, late.store
    waited: list[float] = []

    def catch_up(seconds: float) -> None:
        waited.append(seconds)
        lived.zone.store = fresh

    again = Verifier(check.zone, check.root_key, check.seen, clock=lambda: NOW, sleep=catch_up)
    assert again.prove().head.max_id == 11
    assert waited == [verification.ATTEMPT_SECONDS]


def test_a_replica_that_still_has_pruned_messages_shows_none_of_them(tmp_path: Path) -> None:
    """The head comes from a replica that has pruned them, all else from one that has not yet."""
    late, ahead = three_calls(), three_calls()
    ahead.step("prune", 0.2)
    head = verifier(ahead.zone, tmp_path, lambda: NOW).zone.certified_head()
    liar = Liar(late.zone, get_certified_head=lambda _: vars(head))
    assert head.first_id == 4
    assert [meta.id for meta in verifier(liar, tmp_path, lambda: NOW).prove().messages] == list(range(4, 11))


def test_an_empty_head_whose_chain_does_not_end_where_it_starts_is_refused(tmp_path: Path) -> None:
    lived = three_calls()
    lived.step("prune", 1.0)
    lived.store.state.anchor = b"x" * 32
    lived.store._begin_head()
    with pytest.raises(ProofError, match="its chain has an end that is not its start"):
        verifier(lived.zone, tmp_path, lambda: lived.zone.now).prove()


def test_networks_with_other_root_keys_have_heads_of_their_own(tmp_path: Path) -> None:
    one, other = (SeenHead(State(tmp_path), CANISTER, key) for key in (b"one", b"other"))
    one.keep(verification.Seen(1, 5, bytes(32), NOW))
    assert other.load() is None
    one.keep(verification.Seen(1, 4, b"\x01" * 32, NOW))
    assert one.load() == verification.Seen(1, 5, bytes(32), NOW)


@pytest.mark.parametrize(
    "content", ["{", '{"first_id": 1}', '{"first_id": "x", "max_id": 1, "head": "", "certified_at": 1}']
)
def test_a_file_that_holds_no_head_is_named(tmp_path: Path, content: str) -> None:
    seen = SeenHead(State(tmp_path), CANISTER, b"key")
    seen.path.parent.mkdir(parents=True)
    seen.path.write_text(content)
    with pytest.raises(UserError, match=r"\.json .*mend or remove it"):
        seen.load()
