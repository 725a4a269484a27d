"""The factory is deployed anew while it is at work: what it began ends, and it never stays stopped."""

from __future__ import annotations

import pytest
from ic.principal import Principal

from bench.inprocess import DirectAgent
from factory.sweep import BEAT_SECONDS
from localnet import candid
from localnet.canister import Canister, Status
from localnet.message import Reply
from tests.fleet.flows import OTHER_ZONE_ID, Fleet
from tests.fleet.inprocess import packed_anew
from tests.support.factories import wish
from tests.support.zones import TEAM, member
from zones import management
from zones.deployment import Built, install_factory
from zones.errors import RejectedError

UNDER_WAY = ["a creation", "a sweep"]
ROUNDS = 8


class Deployer(DirectAgent):
    """The factory's controller; he writes down how the factory was when each of his calls was made."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet.network.ic, TEAM.bytes)
        self.factory = fleet.canister(fleet.factory.id)
        self.seen: list[tuple[str, Status, int]] = []

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        self.seen.append((method, self.factory.status, len(self.factory.callbacks)))
        return super().update(canister, method, argument, effective=effective)

    def reply(self, rid: bytes) -> bytes:
        response = self.network.ingress[rid].response
        if isinstance(response, Reply):
            return response.data
        assert response is not None
        raise RejectedError(response.message, code=response.code)


@pytest.fixture
def fleet(factory_build, zone_build, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet on a subnet where the factory's calls to the platform take rounds."""
    made = Fleet.build_it(factory_build, zone_build)
    network = made.network.ic
    queue, step = network.management.queue, network.management.step
    arrived: dict[int, tuple[int, object]] = {}

    def slow_step() -> bool:
        for _ in range(len(queue)):
            message = queue[0]
            since, _ = arrived.setdefault(id(message), (network.round_number, message))
            is_of_factory = getattr(message.origin, "caller", None) == made.factory.id.bytes
            if not is_of_factory or network.round_number - since >= ROUNDS:
                return step()
            queue.rotate(-1)
        return False

    monkeypatch.setattr(network.management, "step", slow_step)
    return made


def code_of(canister: Canister) -> bytes:
    """The hash of the code that a canister runs."""
    assert canister.module is not None
    return canister.module.hash


def silent(_what: str, _done: int, _size: int) -> None:
    """Shows no progress."""


def begin(fleet: Fleet, what: str) -> object:
    """Begins something, and goes on until the factory waits for an answer about a zone."""
    sweeps = fleet.factory.call("get_battery_status")["sweep"]["number"]
    if what == "a creation":
        asked = fleet.factory.submit("create_zone", wish(zone_id=OTHER_ZONE_ID), sender=member(2))
    else:
        asked = fleet.factory.submit("start_sweep", sender=TEAM)
    for _ in range(3 * ROUNDS):
        fleet.network.tick()
        begun = what == "a creation" or fleet.factory.call("get_battery_status")["sweep"]["number"] > sweeps
        if begun and fleet.canister(fleet.factory.id).callbacks:
            return asked
    raise AssertionError(f"{what} waits for nothing")


@pytest.mark.localnet_only("looks at open calls")
@pytest.mark.parametrize("what", UNDER_WAY)
def test_what_is_under_way_ends_before_the_factory_is_upgraded(
    fleet: Fleet, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "WHOLE_BYTES", 0)  # through the chunk store, as Kybra's 14 MB go
    agent, factory = Deployer(fleet), fleet.canister(fleet.factory.id)
    other = packed_anew(fleet.build.wasm, 1)
    asked = begin(fleet, what)
    with pytest.raises(RejectedError, match="calls in flight: stop the factory first"):
        management.install(agent, factory.id, other, candid.encode([], []), mode="upgrade")
    assert factory.callbacks
    agent.seen.clear()
    assert install_factory(agent, factory.id, Built(other, 1), silent)
    assert [method for method, _, _ in agent.seen[:2]] == ["canister_status", "stop_canister"]
    assert agent.seen[1][2] > 0, "nothing was under way"
    changing = [seen for seen in agent.seen if seen[0] in ("upload_chunk", "install_chunked_code", "clear_chunk_store")]
    assert {(status, calls) for _, status, calls in changing} == {(Status.STOPPED, 0)}
    assert agent.seen[-1][0] == "start_canister"
    assert (factory.status, code_of(factory)) == (Status.RUNNING, Built(other, 1).digest)

    if what == "a creation":
        label, made = fleet.factory.wait("create_zone", asked)
        assert (label, fleet.stage(made["canister"])) == ("ok", "live")
    else:
        assert fleet.factory.wait("start_sweep", asked) == ("ok", None)
        for _ in range(2):  # the timer takes up what was cut off
            fleet.network.advance(BEAT_SECONDS)
            fleet.network.settle()
        sweep = fleet.factory.call("get_battery_status")["sweep"]
        assert (sweep["looked_at"], bool(sweep["ended_at"])) == (1, True)
    assert fleet.orphans() == []
    # The code of new zones is in the chunk store no more: it is filled again.
    label, _ = fleet.factory.call("create_zone", wish(zone_id="0x" + "22" * 20), sender=member(3))
    assert label == "ok"


@pytest.mark.localnet_only("looks at open calls")
@pytest.mark.parametrize("what", UNDER_WAY)
def test_an_upgrade_that_fails_leaves_the_factory_running(fleet: Fleet, what: str) -> None:
    agent, factory = Deployer(fleet), fleet.canister(fleet.factory.id)
    before = code_of(factory)
    begin(fleet, what)
    with pytest.raises(RejectedError, match="stable memory holds the layout"):
        install_factory(agent, factory.id, Built(fleet.zone_build.wasm, 1), silent)
    assert (factory.status, code_of(factory)) == (Status.RUNNING, before)
    fleet.network.settle()
    assert fleet.factory.call("create_zone", wish(zone_id="0x" + "22" * 20), sender=member(3))[0] == "ok"


@pytest.mark.localnet_only("looks at the network's canisters")
def test_a_factory_that_a_deployment_left_stopped_is_started(fleet: Fleet) -> None:
    agent, factory = Deployer(fleet), fleet.canister(fleet.factory.id)
    fleet.network.stop(Principal(factory.id), sender=TEAM)
    assert not install_factory(agent, factory.id, Built(fleet.build.wasm, 1), silent)
    assert factory.status is Status.RUNNING
