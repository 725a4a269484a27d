"""`zones upgrade` against canisters: the hash is checked first, and a release that does not do is undone."""

from __future__ import annotations

import pytest

from tests.support.actor import Actor
from tests.support.factories import deploy_factory, publish
from tests.support.network import CallRejected
from tests.support.network_agent import NetworkAgent
from tests.support.variants import build_zone_variant
from tests.support.zones import TEAM, deploy_zone, join, key_id, member
from zones import upgrading
from zones.errors import NetworkError, RejectedError, UserError
from zones.factory import Factory
from zones.state import State
from zones.upgrade_journal import Journal

VERSION = ("\nVERSION = 1000\n", "\nVERSION = 1001\n")
LOSES = ('        "members": state.members_map.len(),\n', '        "members": state.members_map.len() + 1,\n')
TRAPS = (
    "    refuse_foreign_layout(state.settings_map, KIND)\n",
    '    ic.trap("not this time")\n    refuse_foreign_layout(state.settings_map, KIND)\n',
)


class Reader(NetworkAgent):
    """TEAM, for whom the network may break a release's chunks, and go away before or after the flag is set."""

    broken_chunk: bytes | None = None
    away_at_flag: str | None = None

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        reply = super().query(canister, method, argument)
        if method == "get_release_chunk" and self.broken_chunk is not None:
            return reply[:-8] + self.broken_chunk
        return reply

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        when = self.away_at_flag if method == "set_maintenance" else None
        reply = b"" if when == "before" else super().update(canister, method, argument, effective=effective)
        if when is not None:
            raise NetworkError("the network is away")
        return reply


@pytest.fixture
def zone(network, zone_build):
    zone = deploy_zone(network, zone_build.wasm, zone_build.did)
    join(zone, 1)
    assert zone.call("add_message", key_id(1), b"before", sender=member(1)) == ("ok", 1)
    return zone


@pytest.fixture
def agent(network):
    return Reader(network)


@pytest.fixture
def journal(tmp_path):
    return Journal(State(tmp_path), tmp_path / "upgrade.json")


@pytest.fixture
def factory(network, agent, factory_build, zone_build):
    actor = deploy_factory(network, factory_build)
    publish(actor, zone_build.wasm)
    return Factory(agent, actor.id.bytes), actor


def variant(folder, *changes: tuple[str, str]) -> bytes:
    return build_zone_variant(folder, VERSION, *changes)


def works(zone: Actor, version: int) -> bool:
    """Whether a zone runs a version, has its message, takes another one, and left no snapshot."""
    texts = [message["ciphertext"] for message in zone.call("get_messages_by_range", 0, 9, sender=member(1))]
    added = zone.call("add_message", key_id(1), b"after", sender=member(1))
    left = zone.network.snapshots(zone.id, sender=TEAM)
    return (zone.call("get_version"), texts, added, left) == (version, [b"before"], ("ok", 2), [])


def test_an_owner_upgrades_to_the_current_release(zone, agent, factory, journal, tmp_path):
    client, actor = factory
    digest = publish(actor, variant(tmp_path), 1001)
    release = upgrading.find_release(client, None, digest)
    said: list[str] = []
    done = upgrading.upgrade(agent, zone.id.bytes, client, release, said.append, journal)
    assert (done.before, done.after, done.digest, done.changed) == (1000, 1001, digest, True)
    assert said[-1] == "checking the zone"
    assert works(zone, 1001)
    assert not upgrading.upgrade(agent, zone.id.bytes, client, release, said.append, journal).changed


@pytest.mark.parametrize(
    ("change", "text"),
    [(LOSES, "members was 1 and is 2: the zone was put back"), (TRAPS, "the zone runs the code it ran before")],
    ids=["a check that fails", "an installation that fails"],
)
def test_a_release_that_does_not_do_is_undone(zone, agent, factory, journal, tmp_path, change, text):
    client, actor = factory
    publish(actor, variant(tmp_path, change), 1001)
    release = upgrading.find_release(client, 1001, None)
    with pytest.raises(RejectedError, match=text):
        upgrading.upgrade(agent, zone.id.bytes, client, release, print, journal)
    assert works(zone, 1000)


def test_a_zone_whose_flag_was_cleared_is_not_put_back(zone, agent, factory, journal, tmp_path):
    client, actor = factory
    publish(actor, variant(tmp_path, LOSES), 1001)
    release = upgrading.find_release(client, 1001, None)

    def interfere(said: str) -> None:
        if said == "checking the zone":
            zone.call("set_maintenance", {"on": False, "restoring": False}, sender=TEAM)
            assert zone.call("add_message", key_id(1), b"meanwhile", sender=member(1)) == ("ok", 2)

    release_that_lies = {**release, "version": 1002}
    with pytest.raises(RejectedError, match=r"too late to go back, the new code stays, .* may not be taken back"):
        upgrading.upgrade(agent, zone.id.bytes, client, release_that_lies, interfere, journal)
    assert zone.call("get_version") == 1001
    texts = [message["ciphertext"] for message in zone.call("get_messages_by_range", 0, 9, sender=member(1))]
    assert texts == [b"before", b"meanwhile"]
    assert len(zone.network.snapshots(zone.id, sender=TEAM)) == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("elsewhere", [True, False], ids=["upgraded elsewhere", "left as it is"])
def test_an_upgrade_that_got_no_further_than_the_flag_changed_nothing(
    zone, agent, factory, journal, tmp_path, when, elsewhere
):
    client, actor = factory
    publish(actor, variant(tmp_path), 1001)
    release = upgrading.find_release(client, 1001, None)
    agent.away_at_flag = when
    with pytest.raises(NetworkError):
        upgrading.upgrade(agent, zone.id.bytes, client, release, print, journal)
    agent.away_at_flag = None
    wanted = release if elsewhere else upgrading.find_release(client, 1000, None)
    if elsewhere:
        others = Journal(State(tmp_path), tmp_path / "elsewhere.json")
        assert upgrading.upgrade(agent, zone.id.bytes, client, release, print, others).changed

    said: list[str] = []
    for _ in range(2):
        done = upgrading.upgrade(agent, zone.id.bytes, client, wanted, said.append, journal)
        assert (done.after, done.changed) == (wanted["version"], False)
    assert said.count("that upgrade had not changed anything yet") == 1
    assert works(zone, wanted["version"])


def test_an_upgrade_that_anothers_flag_stopped_leaves_that_flag(zone, agent, factory, journal, tmp_path):
    client, actor = factory
    wasm = variant(tmp_path)
    publish(actor, wasm, 1001)
    release = upgrading.find_release(client, 1001, None)
    zone.network.update_settings(zone.id, sender=TEAM, controllers=[TEAM, member(9)])
    zone.call("refresh_controllers", sender=member(9))
    flag = {"on": True, "restoring": False}
    assert zone.call("set_maintenance", flag, sender=member(9))[0] == "ok"
    with pytest.raises(RejectedError, match="another controller has set the maintenance flag"):
        upgrading.upgrade(agent, zone.id.bytes, client, release, print, journal)
    zone.network.upgrade(zone.id, wasm, sender=member(9))

    assert not upgrading.upgrade(agent, zone.id.bytes, client, release, print, journal).changed
    assert journal.load() is None
    with pytest.raises(CallRejected, match="zone is being upgraded, retry"):
        zone.call("add_message", key_id(1), b"early", sender=member(1))
    zone.call("set_maintenance", {**flag, "on": False}, sender=member(9))
    assert works(zone, 1001)


def test_other_bytes_than_those_of_the_release_are_never_installed(zone, agent, factory, journal, tmp_path):
    client, actor = factory
    digest = publish(actor, variant(tmp_path), 1001)
    with pytest.raises(UserError, match=f"has SHA-256 {digest.hex()}, not 0000"):
        upgrading.find_release(client, 1001, bytes(32))
    with pytest.raises(UserError, match="the factory has no release 1002"):
        upgrading.find_release(client, 1002, None)
    agent.broken_chunk = b"tampered"
    release = upgrading.find_release(client, 1001, digest)
    with pytest.raises(UserError, match="nothing was changed"):
        upgrading.upgrade(agent, zone.id.bytes, client, release, print, journal)
    agent.broken_chunk = None
    assert works(zone, 1000)
