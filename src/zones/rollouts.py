"""Client of the factory's methods for its children's code: rollouts, and upgrade, start and status of single children.

Not for releases (`zones.factory`) and not for what owners do themselves (`zones.upgrading`). Times in ns since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from zones.agent import Agent
from zones.calls import Method, ok_or_raise

PAGE = 200
"""Most children in one reply."""
OUTCOMES = ("upgraded", "current", "restored", "failed", "busy", "skipped", "waiting")
"""What a rollout came to for a child, as it counts them; see docs of the factory."""
FAULTS = ("restored", "failed", "busy")
"""Outcomes that somebody should look at."""
RUNNING = "running"
OPEN = "open"
"""Outcome of a change that is under way."""
EMPTY_ARGUMENT = c.encode([], [])

_STATES = ("running", "paused", "aborted", "done")
_CHANGE = c.record(
    canister=c.PRINCIPAL,
    rollout=c.opt(c.NAT64),
    release=c.opt(c.NAT),
    wasm_hash=c.BLOB,
    outcome=c.variant(**dict.fromkeys((OPEN, *OUTCOMES), c.NULL)),
    step=c.TEXT,
    fault=c.TEXT,
    begun_at=c.NAT64,
    step_at=c.NAT64,
    snapshot=c.opt(c.BLOB),
)
_ROLLOUT = c.record(
    number=c.NAT64,
    release=c.NAT,
    wasm_hash=c.BLOB,
    state=c.variant(**dict.fromkeys(_STATES, c.NULL)),
    reason=c.TEXT,
    canary=c.NAT,
    batch=c.NAT,
    pause_on_failures=c.NAT,
    failures=c.NAT32,
    started_at=c.NAT64,
    ended_at=c.opt(c.NAT64),
    children=c.NAT32,
    counts=c.record(**dict.fromkeys(OUTCOMES, c.NAT32)),
    under_way=c.vec(c.PRINCIPAL),
    changes=c.vec(_CHANGE),
    next=c.opt(c.PRINCIPAL),
)
_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_START = Method(
    "start_rollout",
    [c.record(release=c.NAT, canary=c.NAT, batch=c.NAT, pause_on_failures=c.NAT)],
    [c.variant(ok=c.NAT64, err=c.TEXT)],
)
_STEER = {name: Method(f"{name}_rollout", [], [_ACK]) for name in ("pause", "resume", "abort")}
_GET = Method("get_rollout", [c.opt(c.PRINCIPAL), c.NAT32], [c.opt(_ROLLOUT)], query=True)
_UPGRADE = Method("upgrade_code", [c.PRINCIPAL, c.BLOB, c.BLOB], [])
_INSTALL = Method("install_code", [c.PRINCIPAL, c.BLOB, c.BLOB], [])
_REINSTALL = Method("reinstall_code", [c.PRINCIPAL, c.TEXT, c.BLOB, c.BLOB], [])
_CODE_CHANGE = Method("get_code_change", [c.PRINCIPAL], [c.opt(_CHANGE)], query=True)
_START_CANISTER = Method("start_canister", [c.PRINCIPAL], [])
_ALLOW_CODE = Method(
    "allow_code", [c.record(canister=c.PRINCIPAL, wasm_hash=c.BLOB)], [c.variant(ok=c.NAT64, err=c.TEXT)]
)
_STATUS = Method(
    "canister_status",
    [c.PRINCIPAL],
    [
        c.record(
            status=c.variant(stopped=c.NULL, stopping=c.NULL, running=c.NULL),
            memory_size=c.NAT,
            cycles=c.NAT,
            settings=c.record(
                controllers=c.vec(c.PRINCIPAL),
                **dict.fromkeys(
                    (
                        "freezing_threshold",
                        "reserved_cycles_limit",
                        "wasm_memory_limit",
                        "memory_allocation",
                        "compute_allocation",
                    ),
                    c.NAT,
                ),
            ),
            idle_cycles_burned_per_day=c.NAT,
            module_hash=c.opt(c.BLOB),
            reserved_cycles=c.NAT,
        )
    ],
)


@dataclass(frozen=True)
class Rollouts:
    """A factory's hold on its children's code, seen through an agent; `canister` is the factory's principal."""

    agent: Agent
    canister: bytes

    def start(self, release: int, *, canary: int, batch: int, pause_on_failures: int) -> int:
        """Begin to bring a release to all children; returns the rollout's number. For admins."""
        plan = {"release": release, "canary": canary, "batch": batch, "pause_on_failures": pause_on_failures}
        return ok_or_raise("start_rollout", _START(self.agent, self.canister, plan))

    def steer(self, what: str) -> None:
        """Have the rollout `pause`, `resume` or `abort`. For admins."""
        method = _STEER[what]
        ok_or_raise(method.name, method(self.agent, self.canister))

    def last(self) -> dict[str, Any] | None:
        """Return the rollout under way or the last one, None before the first; `state` is a word."""
        found = _GET(self.agent, self.canister, None, 1)
        return None if found is None else {**found, "state": found["state"][0]}

    def changes(self) -> Iterator[dict[str, Any]]:
        """Yield the last rollout's change of each child it has come to, in the order of their principals."""
        after = None
        while (page := _GET(self.agent, self.canister, after, PAGE)) is not None:
            for change in page["changes"]:
                yield _told(change)
            after = page["next"]
            if after is None:
                return

    def wait(self, progress: Callable[[dict[str, Any]], None], pause: Callable[[], None]) -> None:
        """Return once the rollout takes no more children and none is under way; `pause` is called between looks."""
        while True:
            rollout = self.last()
            if rollout is None or (rollout["state"] != RUNNING and not rollout["under_way"]):
                return
            progress(rollout)
            pause()

    def upgrade(self, child: bytes, module: bytes, argument: bytes = EMPTY_ARGUMENT) -> None:
        """Change one child's code as a rollout does; returns when that has ended. For admins.

        `module` is a Wasm, or the 32-byte SHA-256 of a release that the factory keeps.
        """
        _UPGRADE(self.agent, self.canister, child, module, argument)

    def install(self, child: bytes, module: bytes, argument: bytes) -> None:
        """Install code (as `upgrade` takes it) on a child that holds nothing. For admins."""
        _INSTALL(self.agent, self.canister, child, module, argument)

    def reinstall(self, child: bytes, again: str, module: bytes, argument: bytes) -> None:
        """Install code on a child and wipe what it holds; `again` is the child as text. For admins."""
        _REINSTALL(self.agent, self.canister, child, again, module, argument)

    def change(self, child: bytes) -> dict[str, Any] | None:
        """Return the change of a child's code that is under way, or the last one; `outcome` is a word."""
        found = _CODE_CHANGE(self.agent, self.canister, child)
        return None if found is None else _told(found)

    def start_child(self, child: bytes) -> None:
        """Start a child that is stopped. For admins."""
        _START_CANISTER(self.agent, self.canister, child)

    def allow_code(self, child: bytes, wasm_hash: bytes) -> int:
        """Let admins put code that is no release on a child; returns until when (ns). For the factory's controllers."""
        allowance = {"canister": child, "wasm_hash": wasm_hash}
        return ok_or_raise("allow_code", _ALLOW_CODE(self.agent, self.canister, allowance))

    def child_status(self, child: bytes) -> dict[str, Any]:
        """Return what the platform tells controllers of a child; `status` is a word. For admins."""
        found = _STATUS(self.agent, self.canister, child)
        return {**found, "status": found["status"][0]}


def _told(change: dict[str, Any]) -> dict[str, Any]:
    return {**change, "outcome": change["outcome"][0]}
