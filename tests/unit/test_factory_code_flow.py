"""Steps of a change of code on the host, where the order of answers is chosen: stops that are cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kybra import ic

from factory import change_flow, context, rollout_flow
from factory import changes as steps
from factory.change_flow import NOT_STOPPED, Code, Work, stop_step
from factory.changes import Change, Changes
from factory.rollout_flow import STOP_SECONDS, cancel_stop, run_changes, takes_too_long
from factory.rollouts import Rollouts
from tests.support.maps import maps_of

CHILD = b"\x07" * 9 + b"\x01"
SECOND = 10**9
NOW = 10**18


class Management:
    """Calls as they are made: the names of the methods."""

    def __getattr__(self, method: str) -> Callable[[Any], str]:
        return lambda _: method


@pytest.fixture(autouse=True)
def factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A factory whose calls are answered by the test."""
    maps = maps_of("factory")
    monkeypatch.setattr(rollout_flow, "changes", Changes(maps.settings_map, maps.changes_map))
    monkeypatch.setattr(rollout_flow, "rollouts", Rollouts(maps.settings_map, maps.consents_map))
    for module in (change_flow, rollout_flow):
        monkeypatch.setattr(module, "management", Management())
    monkeypatch.setattr(ic, "time", lambda: NOW)
    monkeypatch.setattr(ic, "set_timer", lambda *_: 0)
    monkeypatch.setattr(context.open_calls, "_started", {})
    yield
    change_flow.cancelled.clear()


def change_at(step: int) -> Change:
    """A change of CHILD at a step that began long ago."""
    change = Change(b"\x05" * 32, 1001, 1, NOW)
    change.step, change.step_at = step, NOW - STOP_SECONDS * SECOND
    rollout_flow.changes.put(CHILD, change)
    return change


def answered(value: Any = None) -> Any:
    return SimpleNamespace(Ok=value, Err=None)


@pytest.mark.parametrize(("state", "fault"), [("stopped", ""), ("running", NOT_STOPPED)])
def test_a_stop_that_is_answered_although_it_was_cancelled_is_looked_at(state: str, fault: str):
    flow = stop_step(Work(CHILD, change_at(steps.STOP), False, Code()))
    assert next(flow) == "stop_canister"
    assert next(cancel_stop_of(CHILD)) == "start_canister"
    looking = flow.send(answered())
    assert next(looking) == "canister_status"
    with pytest.raises(StopIteration) as read:
        looking.send(answered({"status": {state: None}}))
    assert read.value.value == fault
    with pytest.raises(StopIteration) as told:
        flow.send(read.value.value)
    assert told.value.value == fault


def test_a_stop_that_is_taken_up_is_looked_at_twice_when_it_was_cancelled():
    flow = stop_step(Work(CHILD, change_at(steps.STOP), True, Code()))
    looking = next(flow)
    assert next(looking) == "canister_status"
    assert next(cancel_stop_of(CHILD)) == "start_canister"
    with pytest.raises(StopIteration) as read:
        looking.send(answered({"status": {"stopped": None}}))
    looking = flow.send(read.value.value)
    assert next(looking) == "canister_status"
    with pytest.raises(StopIteration) as read:
        looking.send(answered({"status": {"running": None}}))
    with pytest.raises(StopIteration) as told:
        flow.send(read.value.value)
    assert told.value.value == NOT_STOPPED


def test_a_stop_that_nobody_cancelled_takes_one_call():
    flow = stop_step(Work(CHILD, change_at(steps.STOP), False, Code()))
    assert next(flow) == "stop_canister"
    with pytest.raises(StopIteration) as told:
        flow.send(answered())
    assert told.value.value == ""


def test_a_child_whose_stop_was_answered_meanwhile_is_not_started_under_its_installation():
    change_at(steps.STOP)
    context.open_calls.start(b"change" + CHILD, NOW)
    run_changes()
    assert rollout_flow.timer.cancelling == [CHILD]
    change_at(steps.INSTALL)
    assert list(cancel_stop()) == []
    assert rollout_flow.timer.cancelling == []


def test_each_try_to_stop_a_child_again_has_its_own_time():
    change = change_at(steps.STOP_AGAIN)
    assert takes_too_long(CHILD, NOW)
    change.failed("its stop was cancelled", NOW)
    rollout_flow.changes.put(CHILD, change)
    assert (change.step, change.tries) == (steps.STOP_AGAIN, 1)
    assert not takes_too_long(CHILD, NOW + (STOP_SECONDS - 1) * SECOND)
    assert takes_too_long(CHILD, NOW + STOP_SECONDS * SECOND)


def cancel_stop_of(canister: bytes) -> Any:
    """The flow that cancels a child's stop."""
    rollout_flow.timer.cancelling.append(canister)
    return cancel_stop()
