"""The factory's stores on the host: a quota, children, zones, releases, admins."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import audit as audit_module
from factory import creation_policy
from factory.admins import FIRST_ADMIN, MAX_ADMINS, Admins
from factory.audit import AuditLog
from factory.children import FUNDED, LIVE, MANAGED, RETIRED, SHARED, SOVEREIGN, Child, Children
from factory.lists import PrincipalLists
from factory.quota import Quota, decode_quota
from factory.releases import CHUNK_BYTES, MAX_CHUNKS, MAX_KEPT, UPLOAD_LIFETIME, Entry, ReleaseStore
from tests.support.maps import maps_of

SECOND = 1_000_000_000
ZONE_ID = "0x" + "ab" * 20


def test_giving_back_after_the_window_turned_changes_nothing():
    quota = Quota(100, 10)
    assert quota.left(0) == 100
    window = quota.take(60)
    assert quota.left(10 * SECOND) == 100
    quota.take(5)
    quota.give_back(60, window)
    assert quota.used == 5


quotas = st.builds(
    Quota, st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1)
)


@given(quotas)
def test_a_quota_survives_being_stored(quota):
    assert vars(decode_quota(quota.encode())) == vars(quota)


def children_of(maps: Any) -> Children:
    return Children(maps.custody_map, maps.ended_map)


def release_store() -> ReleaseStore:
    maps = maps_of("factory")
    return ReleaseStore(maps.settings_map, maps.releases_map, maps.release_pieces_map)


def upload(store: ReleaseStore, wasm: bytes, chunk_bytes: int = CHUNK_BYTES, now: int = 1) -> bytes:
    digest = hashlib.sha256(wasm).digest()
    for index, start in enumerate(range(0, len(wasm), chunk_bytes)):
        assert store.add_chunk(digest, index, wasm[start : start + chunk_bytes], now) == ""
    return digest


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3 * CHUNK_BYTES), st.integers(100_000, CHUNK_BYTES))
def test_an_upload_reads_back_chunk_by_chunk(size, chunk_bytes):
    store = release_store()
    wasm = bytes(range(251)) * (size // 251) + b"end"
    digest = upload(store, wasm, chunk_bytes)
    assert store.publish(digest, 1000, "first", 5) == ""
    current = store.current()
    assert current is not None
    found, entry = current
    assert (found, entry.bytes, entry.version, entry.notes, entry.published_at) == (digest, len(wasm), 1000, "first", 5)
    assert b"".join(store.chunk(digest, index) for index in range(entry.chunks)) == wasm
    hashes = [hashlib.sha256(wasm[at : at + chunk_bytes]).digest() for at in range(0, len(wasm), chunk_bytes)]
    assert entry.chunk_hashes == hashes


def test_an_interrupted_upload_goes_on_where_it_stopped():
    store = release_store()
    wasm = b"a" * 100 + b"b" * 100
    digest = hashlib.sha256(wasm).digest()
    assert store.add_chunk(digest, 1, b"b" * 100, 1) == "chunk 1 is out of order: the next is 0"
    assert store.add_chunk(digest, 0, b"a" * 100, 1) == ""
    assert store.add_chunk(digest, 0, b"a" * 100, 1) == ""
    assert "is stored with other bytes" in store.add_chunk(digest, 0, b"x", 1)
    assert store.add_chunk(digest, 1, b"b" * 100, 1) == ""
    assert store.publish(digest, 1, "", 1) == ""
    assert "is published and complete" in store.add_chunk(digest, 2, b"c", 1)


def test_bytes_with_another_hash_are_not_published_and_are_dropped():
    store = release_store()
    digest = hashlib.sha256(b"announced").digest()
    assert store.add_chunk(digest, 0, b"delivered", 1) == ""
    assert "upload them again" in store.publish(digest, 1, "", 1)
    assert store.entry(digest) is None
    assert store._pieces.len() == 0
    assert "nothing was uploaded" in store.publish(digest, 1, "", 1)


def test_versions_only_grow_and_publishing_again_changes_nothing():
    store = release_store()
    first, second = upload(store, b"first"), upload(store, b"second")
    assert store.publish(first, 7, "", 1) == ""
    assert store.publish(first, 7, "", 2) == ""
    assert "above the newest release's 7" in store.publish(second, 7, "", 3)
    assert store.publish(second, 8, "x" * 801, 3).startswith("notes must be at most 800 bytes")
    assert store.publish(second, 8, "", 3) == ""


def test_uploads_are_bounded_and_the_current_release_stays():
    store = release_store()
    current = upload(store, b"current", now=0)
    assert store.publish(current, 1, "", 0) == ""
    others = [upload(store, bytes([number]), now=number) for number in range(1, MAX_KEPT + 1)]
    kept = [digest for digest in [current, *others] if store.entry(digest)]
    assert kept == [current, *others[1:]]
    assert store._pieces.len() == MAX_KEPT
    digest = hashlib.sha256(b"long").digest()
    for index in range(MAX_CHUNKS):
        assert store.add_chunk(digest, index, b"x", 9) == ""
    assert store.add_chunk(digest, MAX_CHUNKS, b"x", 9) == "a release has at most 32 chunks"


def test_an_upload_that_nobody_goes_on_with_for_a_day_begins_anew():
    store = release_store()
    digest = hashlib.sha256(b"ab").digest()
    assert store.add_chunk(digest, 0, b"a", 0) == ""
    assert store.publish(digest, 1, "", UPLOAD_LIFETIME).startswith("nothing was uploaded")
    assert store.add_chunk(digest, 1, b"b", UPLOAD_LIFETIME) == "chunk 1 is out of order: the next is 0"
    assert store._pieces.len() == 0
    assert store.add_chunk(digest, 0, b"a", UPLOAD_LIFETIME) == ""
    assert store.add_chunk(digest, 1, b"b", 2 * UPLOAD_LIFETIME - 1) == ""
    assert store.publish(digest, 1, "", 3 * UPLOAD_LIFETIME - 2) == ""


def test_a_retired_releases_code_goes_and_its_record_stays():
    store = release_store()
    first, second = upload(store, b"first"), upload(store, b"second")
    assert store.publish(first, 1, "", 1) == store.publish(second, 2, "", 2) == ""
    assert store.retire(2, 3) == "release 2 is what new zones get: publish another one first"
    assert store.retire(1, 3, in_use=first) == "release 1 is being rolled out: abort the rollout first"
    assert store.retire(3, 3) == "there is no release 3"
    assert store.retire(1, 3) == store.retire(1, 4) == ""
    assert (store.is_published(first), store.chunk(first, 0)) == (True, b"")
    assert [(entry.version, entry.retired_at) for _, entry in store.page(99, 9)] == [(2, 0), (1, 3)]
    assert [entry.version for _, entry in store.page(2, 9)] == [1]
    assert "its code is not taken again" in store.add_chunk(first, 0, b"first", 5)
    assert store.publish(first, 9, "", 5).endswith("is published as version 1")


def test_a_release_whose_code_gave_way_to_newer_ones_is_taken_again():
    store = release_store()
    digests = []
    for version in range(1, MAX_KEPT + 2):
        digests.append(upload(store, bytes([version]) * 100 + b"end", 100, now=version))
        assert store.publish(digests[-1], version, "", version) == ""
    gone = store.entry(digests[0])
    assert gone is not None
    assert (gone.version, gone.bytes, gone.retired_at, gone.kept()) == (1, 103, 0, 0)
    other = store.add_chunk(digests[0], 0, b"other", 10)
    assert other.startswith(f"chunk 0 of release 1 has SHA-256 {hashlib.sha256(bytes([1]) * 100).hexdigest()}, got ")
    assert store.add_chunk(digests[0], 0, bytes([1]) * 100, 10) == ""
    half = store.entry(digests[0])
    assert half is not None
    assert (half.chunks, half.kept()) == (1, 0)
    assert store.add_chunk(digests[0], 1, b"end", 2 * UPLOAD_LIFETIME) == ""
    whole = store.entry(digests[0])
    assert whole is not None
    assert (whole.kept(), whole.bytes, whole.version) == (2, 103, 1)
    assert "is published and complete" in store.add_chunk(digests[0], 2, b"more", 10)
    assert store.publish(digests[0], 1, "", 11) == ""
    current = store.current()
    assert current is not None
    assert current[0] == digests[-1], "what new zones get stays"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["upload", "publish", "retire"]), st.integers(0, 12)), max_size=60))
def test_what_was_published_is_known_for_ever_and_room_is_bounded(sequence):
    store = release_store()
    in_use = upload(store, b"rolled out")
    assert store.publish(in_use, 1, "", 0) == ""
    published = {in_use: 1}
    for now, (act, number) in enumerate(sequence):
        digest = hashlib.sha256(bytes([number])).digest()
        if act == "upload":
            store.add_chunk(digest, 0, bytes([number]), now, in_use)
        elif act == "publish" and store.publish(digest, now + 2, "", now) == "":
            published[digest] = now + 2
        elif act == "retire":
            store.retire(number, now, in_use)
        kept = [key for key, stored in store._releases.items() if Entry(stored).chunks]
        assert len(kept) == store._pieces.len() <= MAX_KEPT
        assert all(store.is_published(known) for known in published)
        assert not any(store.is_published(key) for key in kept if key not in published)
        current = store.current()
        assert current is not None
        assert current[1].version == max(published.values())
        assert store.chunk(current[0], 0)
        assert store.chunk(in_use, 0)
    assert [entry.version for _, entry in store.page(10**6, 100)] == sorted(published.values(), reverse=True)


@pytest.mark.parametrize("size", [0, CHUNK_BYTES + 1])
def test_a_chunk_of_another_size_is_refused(size):
    assert f"got {size}" in release_store().add_chunk(bytes(32), 0, bytes(size), 1)


def test_admins_begin_with_the_contracts_and_are_never_empty():
    admins = Admins(maps_of("factory").settings_map)
    assert admins.all() == [FIRST_ADMIN.bytes]
    assert admins.add(b"\x04") == admins.add(b"") != ""
    for number in range(1, MAX_ADMINS):
        assert admins.add(bytes([number]) * 29) == ""
    assert admins.add(bytes([1]) * 29) == ""
    assert "at most 32" in admins.add(b"one more")
    assert admins.refusal(bytes([5]) * 29) == ""
    assert admins.remove(bytes([5]) * 29) == ""
    assert admins.refusal(bytes([5]) * 29) == "Unauthorized access. Caller is not an admin."
    assert admins.remove(b"other") == "that principal is no admin"
    for admin in admins.all()[1:]:
        assert admins.remove(admin) == ""
    assert "the last admin stays" in admins.remove(FIRST_ADMIN.bytes)


principals = st.binary(max_size=29)


@given(
    st.lists(principals, max_size=10),
    st.lists(principals, max_size=10),
    principals,
    st.sampled_from([b"", bytes(32)]),
    st.integers(0, 2**128 - 1),
)
def test_a_child_is_read_as_it_was_stored(controllers, owners, creator, module_hash, owed):
    children = children_of(maps_of("factory"))
    child = Child("0x" + "ab" * 20, creator, 7)
    child.custody, child.funding, child.stage, child.proven = SHARED, FUNDED, LIVE, True
    child.owners = child.offered = child.accepted = owners
    child.owed, child.emptied = owed, True
    children.put(b"canister", child)
    child = children.info_read(b"canister", controllers, module_hash, b"factory", 9)
    again = children.get(b"canister")
    assert again is not None
    assert vars(again) == vars(child)
    assert again.controlled == (b"factory" in controllers)
    assert again.is_owner(creator) == (creator in again.owners if again.owners else True)


@pytest.mark.parametrize(
    ("controllers", "custody", "owners"),
    [
        ([b"factory"], MANAGED, [b"before"]),
        ([b"a", b"factory", b"b"], SHARED, [b"a", b"b"]),
        ([b"a"], SOVEREIGN, [b"a"]),
        ([], SOVEREIGN, []),
    ],
)
def test_custody_is_what_the_controllers_say(controllers, custody, owners):
    children = children_of(maps_of("factory"))
    child = Child(ZONE_ID, b"creator", 7)
    child.owners = [b"before"]
    children.put(b"canister", child)
    child = children.info_read(b"canister", controllers, b"", b"factory", 9)
    assert (child.custody, child.owners) == (custody, owners)


def test_a_child_with_every_list_full_fits_its_map():
    children = children_of(maps_of("factory"))
    child = Child(ZONE_ID, bytes(29), 7)
    full = [bytes([number]) * 29 for number in range(20)]
    child.owners = child.agreed = full[:10]
    child.offered = full[10:]
    child.accepted = full
    child.module_hash = bytes(32)
    children.put(bytes(29), child)
    child = children.info_read(bytes(29), full[:10], bytes(32), b"factory", 9)
    assert (len(child.accepted), len(child.agreed)) == (20, 10)


def test_what_owners_said_is_forgotten_with_them_however_many_there_were():
    children = children_of(maps_of("factory"))
    children.put(b"canister", Child(ZONE_ID, b"creator", 7))
    first, second, asked = b"first" * 5, b"", b"asked" * 5
    for number in range(200):
        second = number.to_bytes(25, "big")
        child = children.info_read(b"canister", [b"factory", first, second], bytes(32), b"factory", 9)
        child.offered = [asked]
        child.accepted += [second] if number else [first, second]
        child.agreed += [second] if number else [first, second]
        children.put(b"canister", child)
    child = children.get(b"canister")
    assert child is not None
    assert child.accepted == child.agreed == [first, second]
    child.accepted.append(asked)
    children.put(b"canister", child)
    child = children.info_read(b"canister", [b"factory", second], bytes(32), b"factory", 9)
    assert (child.accepted, child.agreed) == ([second, asked], [second])


@given(st.sets(st.binary(min_size=1, max_size=10), max_size=30), st.integers(1, 7), st.booleans())
def test_children_that_have_not_ended_are_paged_in_ascending_order(canisters, most, listed_early):
    children = children_of(maps_of("factory"))
    for canister in canisters:
        children.put(canister, Child("0x" + "ab" * 20, b"c", 0))
        if listed_early:
            assert canister in children.page(None, 30)
    ended = sorted(canisters)[::3]
    for canister in ended:
        child = children.get(canister)
        assert child is not None
        child.stage = RETIRED
        children.put(canister, child)
    found, after = [], None
    while page := children.page(after, most):
        found += page
        after = page[-1]
    assert found == sorted(canisters - set(ended))
    assert children.count() == len(found)
    kept = [children.get(canister) for canister in ended]
    assert all(child is not None and child.stage == RETIRED for child in kept)


def test_a_change_of_the_allowlist_is_made_in_whole_or_not_at_all(monkeypatch):
    monkeypatch.setattr(creation_policy, "MAX_ALLOWED", 3)
    maps = maps_of("factory")
    rules = creation_policy.CreationRules(maps.settings_map, maps.allowed_map)
    assert rules.change_allowed([b"a", b"b"], [], 1) == ""
    fault = rules.change_allowed([b"c", b"d", b"e"], [b"a"], 1)
    assert fault == "the allowlist holds at most 3 principals, these would be 4"
    assert rules.allowed(None, 9) == [b"a", b"b"]
    assert rules.change_allowed([b"c", b"a", b"a"], [b"a", b"x"], 1) == ""
    assert rules.allowed(None, 9) == [b"a", b"b", b"c"]
    assert rules.change_allowed([b"d"], [b"a"], 1) == ""
    assert rules.allowed(None, 9) == [b"b", b"c", b"d"]


@given(st.lists(st.tuples(st.sampled_from([b"a", b"ab", b"b"]), st.binary(min_size=1, max_size=29)), max_size=30))
def test_lists_keep_their_order(additions):
    lists = PrincipalLists(maps_of("factory").lists_map)
    for name, principal in additions:
        lists.add(name, principal)
    for name in (b"a", b"ab", b"b"):
        members = [principal for to, principal in additions if to == name]
        assert lists.length(name) == len(members)
        assert lists.page(name, 0, 100) == members
        assert lists.page(name, 3, 2) == members[3:5]


@given(st.text(max_size=600), st.integers(1, 5))
def test_the_audit_log_keeps_what_fits_and_pages_newest_first(details, most):
    maps = maps_of("factory")
    audit = AuditLog(maps.settings_map, maps.audit_map, "audit")
    for number in range(7):
        audit.record(number, b"caller", f"act {number}", b"", details)
    found, before = [], 2**64 - 1
    while page := audit.page(before, most):
        found += page
        before = page[-1].number
    assert [act.action for act in found] == [f"act {number}" for number in range(6, -1, -1)]
    assert all(details.startswith(act.details) for act in found)
    assert len(details.encode()) > 480 or found[0].details == details


def test_the_audit_log_forgets_the_oldest_of_ten_thousand(monkeypatch):
    monkeypatch.setattr(audit_module, "MAX_ENTRIES", 3)
    maps = maps_of("factory")
    audit = AuditLog(maps.settings_map, maps.audit_map, "audit")
    for number in range(5):
        audit.record(number, b"caller", f"act {number}")
    assert [act.number for act in audit.page(99, 99)] == [4, 3, 2]
