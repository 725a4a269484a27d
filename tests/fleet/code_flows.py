"""Flows that change a zone's code, stop and start it, and flows that go on where an earlier call went wrong.

The releases after the first are its code packed anew: other hashes, nothing to compile. Release 1000 is what the code
says it is; 1001 is not, so its check fails and the zone is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from localnet.canister import Status
from tests.fleet.faults import Fault
from tests.fleet.flows import FLOWS, Fleet, Flow
from tests.fleet.inprocess import packed_anew
from tests.fleet.trials import probe_at, run_flow
from tests.support.actor import Actor, init_argument
from tests.support.factories import publish
from tests.support.zones import TEAM, member, public_key, zone_init

GOOD, BAD = 1000, 1001
NO_ARGUMENT = b"DIDL\x00\x00"
OUTCOMES_OF_A_BUSY_ZONE = ("busy", "upgraded", "current")


def _zone(fleet: Fleet) -> Actor:
    return Actor(fleet.network, fleet.zone, fleet.zone_build.did)


def _release(fleet: Fleet, version: int) -> bytes:
    return packed_anew(fleet.zone_build.wasm, version % 9 + 1)


def _published(version: int) -> Callable[[Fleet], None]:
    def prepare(fleet: Fleet) -> None:
        fleet.code = _release(fleet, version)
        fleet.digest = publish(fleet.factory, fleet.code, version)

    return prepare


def _published_and_written_to(version: int) -> Callable[[Fleet], None]:
    def prepare(fleet: Fleet) -> None:
        _published(version)(fleet)
        fleet.let_write()

    return prepare


def _roll_out(version: int) -> Callable[[Fleet], Any]:
    def ask(fleet: Fleet) -> Any:
        """Begins anew: a rollout does not come back to what it failed with."""
        fleet.factory.submit("abort_rollout", sender=TEAM)
        plan = {"release": version, "canary": 0, "batch": 1, "pause_on_failures": 5}
        return fleet.factory.submit("start_rollout", plan, sender=TEAM)

    return ask


def is_at_rest(fleet: Fleet) -> bool:
    """The zone runs, takes members in, and no snapshot of it is kept but those that the audit log says are."""
    account = fleet.canister(fleet.zone)
    is_open = (
        account.status is Status.RUNNING
        and _zone(fleet).call("get_health", sender=fleet.factory.id)["maintenance_until"] is None
    )
    told = [entry["details"] for entry in fleet.factory.call("get_audit_log", None, 200)["entries"]]
    return is_open and all(any(f"{kept.hex()} is kept" in text for text in told) for kept in account.snapshots)


def _outcome(fleet: Fleet) -> str:
    change = fleet.factory.call("get_code_change", fleet.zone.bytes)
    return "" if change is None else change["outcome"][0]


def _runs_new_code(fleet: Fleet) -> bool:
    module = fleet.canister(fleet.zone).module
    return module is not None and module.hash == fleet.digest and is_at_rest(fleet)


def _was_taken_back(fleet: Fleet) -> bool:
    return _outcome(fleet) == "restored" and not _runs_new_code(fleet) and is_at_rest(fleet)


UPGRADE = Flow(
    "a rollout upgrades a zone", _published_and_written_to(GOOD), _roll_out(GOOD), _runs_new_code, seconds=90
)
TAKEN_BACK = Flow(
    "a rollout is taken back", _published_and_written_to(BAD), _roll_out(BAD), _was_taken_back, seconds=90
)


# A zone that does not stop ----------------------------------------------------------------------------


def _waiting(fleet: Fleet) -> None:
    """The zone waits for an answer from outside, so it can't stop."""
    _published_and_written_to(GOOD)(fleet)
    _zone(fleet).submit("update_role", public_key(2), sender=member(2))
    fleet.network.tick(2)
    assert fleet.network.ic.outcalls.pending


def _was_let_go(fleet: Fleet) -> bool:
    return _outcome(fleet) in OUTCOMES_OF_A_BUSY_ZONE and is_at_rest(fleet)


LET_GO = Flow("a zone that does not stop is let go", _waiting, _roll_out(GOOD), _was_let_go, outcalls=b"", seconds=240)


# What admins do to one zone -----------------------------------------------------------------------------


def _upgrade_with_code(fleet: Fleet) -> Any:
    return fleet.factory.submit("upgrade_code", fleet.zone.bytes, fleet.code, NO_ARGUMENT, sender=TEAM)


def _install_anew(fleet: Fleet) -> Any:
    argument = init_argument(fleet.zone_build.did, zone_init(cycles_requester_id=fleet.factory.id.bytes))
    return fleet.factory.submit("install_code", fleet.zone.bytes, fleet.digest, argument, sender=TEAM)


def _with_member(fleet: Fleet) -> None:
    _published(GOOD)(fleet)
    fleet.join()


def _was_left_alone(fleet: Fleet) -> bool:
    return not _runs_new_code(fleet) and is_at_rest(fleet)


def _stopped(fleet: Fleet) -> None:
    fleet.network.stop(fleet.zone, sender=fleet.factory.id)


def _published_and_stopped(fleet: Fleet) -> None:
    _published(GOOD)(fleet)
    _stopped(fleet)


def _start(fleet: Fleet) -> Any:
    return fleet.factory.submit("start_canister", fleet.zone.bytes, sender=TEAM)


def _read_status(fleet: Fleet) -> Any:
    return fleet.factory.submit("canister_status", fleet.zone.bytes, sender=TEAM)


def _status_can_be_read(fleet: Fleet) -> bool:
    return fleet.factory.call("canister_status", fleet.zone.bytes, sender=TEAM)["status"] == ("running", None)


INSTALLED_ANEW = Flow("an admin installs an empty zone anew", _published(GOOD), _install_anew, _runs_new_code)
FLOWS = [
    *FLOWS,
    UPGRADE,
    TAKEN_BACK,
    LET_GO,
    Flow("an admin upgrades a zone", _published_and_written_to(GOOD), _upgrade_with_code, _runs_new_code, seconds=90),
    INSTALLED_ANEW,
    Flow("an admin can't empty a zone that holds something", _with_member, _install_anew, _was_left_alone),
    Flow("a rollout starts a stopped zone", _published_and_stopped, _roll_out(GOOD), _runs_new_code, seconds=90),
    Flow("an admin starts a zone", _stopped, _start, is_at_rest),
    Flow("an admin reads a zone's status", lambda _fleet: None, _read_status, _status_can_be_read),
]


# What goes on where a call went wrong -------------------------------------------------------------------

STOP = "change_flow.stop_step: stop_canister 1"
SNAPSHOT = "change_flow.snapshot_step: take_canister_snapshot 1"
INSTALL = "installation.fill_and_install: install_chunked_code 1"
DELETE = "change_flow.delete_step: delete_canister_snapshot 1"
LIST = "change_flow.snapshot_step: list_canister_snapshots 1"
CREATE = "creation.get_canister: create_canister 1"
CREATE_FOR_POOL = "pool.fill_pool: create_canister 1"


def after(flow: Flow, fault: Fault, site: str) -> Flow:
    """A flow in which a call went wrong before it is asked for once more."""

    def prepare(fleet: Fleet) -> None:
        flow.prepare(fleet)
        probe = probe_at(fleet, fault, site)
        run_flow(fleet, replace(flow, seconds=0), probe)
        assert probe.struck, f"{site} was not called"
        probe.stop()

    return replace(flow, name=f"{flow.name}, after {site}: {fault.name.lower()}", prepare=prepare)


def on_the_road(flow: Flow, fault: Fault, site: str) -> Flow:
    """What a flow calls from where a call of it went wrong, in the same message or soon after."""
    return replace(flow, name=f"{flow.name}, from {site} on: {fault.name.lower()}", road=(fault, site))


def _settle(fleet: Fleet) -> Any:
    lost, orphans = fleet.lost_creations(), fleet.orphans()
    if not lost:
        return None
    return fleet.factory.submit("settle_creation", {"id": lost[0], "canister": orphans[0]}, sender=TEAM)


def _settled(name: str, creation: str, site: str) -> Flow:
    """The settlement of a creation whose answer was lost, by an admin who looked its canister up."""
    lost = after(next(flow for flow in FLOWS if flow.name == creation), Fault.FORCED, site)
    return Flow(name, lost.prepare, _settle, lambda fleet: not fleet.lost_creations())


FLOWS += [
    _settled("a lost creation is settled", "a zone is created", CREATE),
    _settled("a lost canister of the pool is settled", "the pool is filled", CREATE_FOR_POOL),
    after(UPGRADE, Fault.FORCED, STOP),
    after(UPGRADE, Fault.FORCED, SNAPSHOT),
    after(UPGRADE, Fault.FORCED, INSTALL),
    on_the_road(after(UPGRADE, Fault.FORCED, SNAPSHOT), Fault.REJECTED, LIST),
    on_the_road(UPGRADE, Fault.REJECTED, DELETE),
    on_the_road(INSTALLED_ANEW, Fault.REJECTED, INSTALL),
]
