"""A platform for the factory's flows on the host: canisters that burn, a management canister, calls that fail in turn.

Stands behind `kybra.ic` and the stable maps. Every call a flow makes waits until the test answers it: with what the
platform would say, with a reject, or with a trap in the callback, which undoes everything that the callback did.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import kybra
from kybra import Principal

from factory.returner import RETURNER_HASH

SECOND = 1_000_000_000
DAY = 86_400
FACTORY = bytes(8) + b"\x01\x01"


BORN = {
    "compute_allocation": 0,
    "memory_allocation": 0,
    "freezing_threshold": 30 * DAY,
    "reserved_cycles_limit": 1_000_000_000_000,
    "wasm_memory_limit": 2**30,
    "wasm_memory_threshold": 0,
    "minimum_incoming_canister_call_cycles": 0,
    "log_visibility": {"controllers": None},
    "snapshot_visibility": {"controllers": None},
    "status_visibility": {"controllers": None},
}
"""The settings that zones are born with, beside their controllers."""


class Canister:
    """A simulated canister."""

    def __init__(self, balance: int, burn: int, module_hash: bytes, controllers: list[bytes]):
        self.balance = balance
        self.burn = burn
        self.module_hash = module_hash
        self.controllers = controllers
        self.status = "running"
        self.exists = True
        self.settings: dict[str, Any] = dict(BORN)
        self.reserved = 0
        self.given_back = 0
        """What it says that it gave back, once it runs the code for that."""
        self.returns_to = b""
        """Where that code sends its cycles: what it was installed with."""


class Call:
    """A call that waits for its answer, with the generators that wait for it, innermost last."""

    def __init__(self, stack: list[Generator[Any, Any, Any]], method: str, args: dict[str, Any], attached: int):
        self.stack = stack
        self.method = method
        self.args = args
        self.attached = attached
        self.landed = False
        """Whether its cycles arrived."""
        self.outcome: list[Any] = []
        """The flow's result, once it has ended."""


class Platform:
    """What `kybra` calls, and what the test drives."""

    def __init__(self, heap: list[Any], balance: int):
        self.maps: dict[int, dict[Any, Any]] = {}
        self.now = 1_700_000_000 * SECOND
        self.balance = self.minted = balance
        self.burned = 0
        self.canisters: dict[bytes, Canister] = {}
        self.open: list[Call] = []
        self.timers: list[list[Any]] = []
        self.sent: list[Call] = []
        self.before_deposit: Callable[[Call], None] = lambda _: None
        self.caller_id = FACTORY
        self._refunded = 0
        self._heap = heap
        self._fresh = [copy.deepcopy(thing.__dict__) for thing in heap]

    # What canister code asks for -----------------------------------------------------------------------

    def time(self) -> int:
        return self.now

    def id(self) -> Principal:
        return Principal.from_hex(FACTORY.hex())

    def caller(self) -> Principal:
        return Principal.from_hex(self.caller_id.hex())

    def candid_encode(self, text: str) -> bytes:
        return text.encode()

    def canister_balance128(self) -> int:
        return self.balance

    def msg_cycles_refunded128(self) -> int:
        return self._refunded

    def set_timer(self, delay: int, callback: Callable[[], Any]) -> int:
        self.timers.append([self.now + delay * SECOND, 0, callback])
        return 0

    def set_timer_interval(self, interval: int, callback: Callable[[], Any]) -> int:
        self.timers.append([self.now + interval * SECOND, interval, callback])
        return 0

    def stable_b_tree_map_contains_key(self, memory: int, key: Any) -> bool:
        return key in self.maps.get(memory, {})

    def stable_b_tree_map_get(self, memory: int, key: Any) -> Any:
        return self.maps.get(memory, {}).get(key)

    def stable_b_tree_map_insert(self, memory: int, key: Any, value: Any) -> Any:
        former = self.stable_b_tree_map_get(memory, key)
        self.maps.setdefault(memory, {})[key] = value
        return former

    def stable_b_tree_map_remove(self, memory: int, key: Any) -> Any:
        return self.maps.get(memory, {}).pop(key, None)

    def stable_b_tree_map_keys(self, memory: int) -> list[Any]:
        return sorted(self.maps.get(memory, {}))

    def stable_b_tree_map_items(self, memory: int) -> list[tuple[Any, Any]]:
        return sorted(self.maps.get(memory, {}).items())

    def stable_b_tree_map_values(self, memory: int) -> list[Any]:
        return [self.maps[memory][key] for key in self.stable_b_tree_map_keys(memory)]

    def stable_b_tree_map_len(self, memory: int) -> int:
        return len(self.maps.get(memory, {}))

    # What the test does --------------------------------------------------------------------------------

    def start(self, flow: Generator[Any, Any, Any]) -> list[Any]:
        """Runs a flow until it waits for its first call; the list that is returned will hold its result."""
        outcome: list[Any] = []
        self._resume([flow], None, outcome)
        return outcome

    def answer(self, call: Call, fate: str = "ok") -> None:
        """Ends a call: `ok` as the platform would, `trap` too but its callback traps; other fates are reject texts."""
        self.open.remove(call)
        result = self._execute(call) if fate in ("ok", "trap") else _err(fate)
        refunded = call.attached if result.Err is not None else 0
        self.balance += refunded
        if fate == "trap":
            saved = copy.deepcopy(self.maps), [copy.deepcopy(thing.__dict__) for thing in self._heap]
            timers, waiting, balance = list(self.timers), list(self.open), self.balance
            self._run(call, result, refunded)
            self.maps, heap = saved
            self._set_heap(heap)
            self.timers, self.open, self.balance = timers, waiting, balance
        else:
            self._run(call, result, refunded)

    def pass_time(self, seconds: int) -> None:
        """Moves time on: canisters burn, timers that are due fire once."""
        self.now += seconds * SECOND
        for canister in self.canisters.values():
            burnt = min(canister.balance, canister.burn * seconds // DAY)
            canister.balance -= burnt
            self.burned += burnt
        self.fire()

    def fire(self) -> None:
        """Fires the timers that are due."""
        due = [timer for timer in self.timers if timer[0] <= self.now]
        for timer in due:
            if timer[1]:
                timer[0] = self.now + timer[1] * SECOND
            else:
                self.timers.remove(timer)
            flow = timer[2]()
            if flow is not None:
                self.start(flow)

    def settle(self) -> None:
        """Answers every call as the platform would, and fires timers, until nothing is left to do at this time."""
        while self.open or any(timer[0] <= self.now for timer in self.timers):
            while self.open:
                self.answer(self.open[0])
            self.fire()

    def upgrade(self, arm: Callable[[], None]) -> None:
        """An upgrade without stopping first: heap, timers and callbacks are gone, calls take effect."""
        for call in self.open:
            result = self._execute(call)
            self.balance += call.attached if result.Err is not None else 0
        self.open = []
        self.timers = []
        self._set_heap([copy.deepcopy(fresh) for fresh in self._fresh])
        arm()

    def in_flight(self) -> int:
        """Cycles attached to calls that wait."""
        return sum(call.attached for call in self.open)

    def _set_heap(self, states: list[dict[str, Any]]) -> None:
        for thing, state in zip(self._heap, states, strict=True):
            thing.__dict__.clear()
            thing.__dict__.update(state)

    def _run(self, call: Call, result: Any, refunded: int) -> None:
        self._refunded = refunded
        self._resume(call.stack, result, call.outcome)

    def _resume(self, stack: list[Generator[Any, Any, Any]], value: Any, outcome: list[Any]) -> None:
        while stack:
            try:
                asked = stack[-1].send(value)
            except StopIteration as end:
                stack.pop()
                value = end.value
                continue
            if isinstance(asked, Generator):
                stack.append(asked)
                value = None
                continue
            self._send(asked, stack, outcome)
            return
        outcome.append(value)

    def _send(self, asked: kybra.AsyncInfo, stack: list[Generator[Any, Any, Any]], outcome: list[Any]) -> None:
        attached = asked.args[3] if asked.name == "call_with_payment128" else 0
        args = asked.args[2] if len(asked.args) > 2 else {"canister_id": asked.args[0]}
        call = Call(stack, asked.args[1].rpartition(".")[2], args, attached)
        call.outcome = outcome
        assert self.balance >= attached, "attaching more than the balance traps"
        self.balance -= attached
        if attached:
            self.before_deposit(call)
        self.open.append(call)
        self.sent.append(call)

    def _execute(self, call: Call) -> Any:
        target = call.args["canister_id"].bytes
        if target == FACTORY:
            return _ok(self._status_of(Canister(self.balance, 1_000_000_000, b"f" * 32, [b"team"])))
        canister = self.canisters[target]
        if not canister.exists:
            return _err(f"Rejection code 3, Canister {target.hex()} not found")
        if call.method == "canister_info":
            controllers = [Principal.from_hex(controller.hex()) for controller in canister.controllers]
            return _ok({"module_hash": canister.module_hash or None, "controllers": controllers})
        if call.method == "canister_status":
            if FACTORY not in canister.controllers:
                return _err("Rejection code 5, Only controllers of the canister can call canister_status")
            return _ok(self._status_of(canister))
        if call.method == "deposit_cycles":
            canister.balance += call.attached
            call.landed = True
            return _ok(None)
        if call.method == "give_back":
            return self._give_back(canister)
        if FACTORY not in canister.controllers:
            return _err(f"Rejection code 5, Only controllers of the canister can call {call.method}")
        return self._control(canister, call)

    def _give_back(self, canister: Canister) -> Any:
        """What the program answers that gives cycles back, if the factory put it there: else its owners' wrote it."""
        if canister.module_hash != RETURNER_HASH or canister.status != "running":
            return _err("Rejection code 5, it does not answer")
        if canister.settings["minimum_incoming_canister_call_cycles"]:
            return _err("Rejection code 4, it takes calls with more cycles only")
        if canister.returns_to == FACTORY:
            canister.given_back += canister.balance
            self.balance += canister.balance
            canister.balance = 0
        return _ok(canister.given_back.to_bytes(16, "little"))

    def _control(self, canister: Canister, call: Call) -> Any:
        """What only controllers may do."""
        if call.method == "stop_canister":
            canister.status = "stopped"
        elif call.method == "start_canister":
            canister.status = "running"
        elif call.method == "update_settings":
            change = call.args["settings"]
            limit = change["reserved_cycles_limit"]
            if limit is not None and limit < canister.reserved:
                return _err("Rejection code 5, the limit is below what is reserved")
            if change["controllers"] is not None:
                canister.controllers = [one.bytes for one in change["controllers"]]
            canister.settings = {
                name: value if change[name] is None else change[name] for name, value in canister.settings.items()
            }
        elif call.method == "install_code":
            if canister.settings["wasm_memory_limit"] < 2**16:
                return _err("Rejection code 5, the Wasm memory limit is exceeded")
            canister.module_hash = hashlib.sha256(call.args["wasm_module"]).digest()
            canister.returns_to, canister.given_back = FACTORY, 0
        else:
            assert call.method == "delete_canister"
            assert canister.status == "stopped"
            canister.exists = False
            self.burned += canister.balance
            canister.balance = 0
        return _ok(None)

    def _status_of(self, canister: Canister) -> dict[str, Any]:
        return {
            "status": {canister.status: None},
            "settings": {
                "controllers": [Principal.from_hex(controller.hex()) for controller in canister.controllers],
                **canister.settings,
            },
            "module_hash": canister.module_hash or None,
            "memory_size": 1_000_000,
            "cycles": canister.balance,
            "reserved_cycles": canister.reserved,
            "idle_cycles_burned_per_day": canister.burn // 2,
        }


def _ok(value: Any) -> Any:
    return SimpleNamespace(Ok=value, Err=None)


def _err(text: str) -> Any:
    return SimpleNamespace(Ok=None, Err=text)
