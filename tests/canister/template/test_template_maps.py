"""The template's stable maps against a dict: whatever is done to them, they hold the same, upgrades included.

Not for what the canisters store in them.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.canister.template.conftest import Compiled
from tests.canister.template.host import Host
from tests.canister.template.values import BLOB, Types, args, one

KEYS = st.integers(0, 40) | st.integers(0, 2**64 - 1)
VALUES = st.binary(max_size=288)


class MapMachine(RuleBasedStateMachine):
    """One map of the probe and its model; upgrades keep stable memory and nothing else."""

    compiled: Compiled

    @initialize()
    def install(self) -> None:
        self.host = Host(*self.compiled)
        self.host.install()
        self.model: dict[int, bytes] = {}

    @rule(key=KEYS, value=VALUES)
    def insert(self, key: int, value: bytes) -> None:
        before = one(self.host.update("put", args((Types.Nat64, key), (BLOB, list(value)))))
        assert before == option(self.model.get(key))
        self.model[key] = value

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        before = one(self.host.update("remove", args((Types.Nat64, key))))
        assert before == option(self.model.pop(key, None))

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        assert one(self.host.query("get", args((Types.Nat64, key)))) == option(self.model.get(key))

    @rule()
    def upgrade(self) -> None:
        upgraded = Host(*self.compiled, stable=bytes(self.host.stable))
        upgraded.upgrade()
        self.host.close()
        self.host = upgraded

    def teardown(self) -> None:
        self.host.close()

    @invariant()
    def keys_are_those_of_the_model_in_order(self) -> None:
        assert one(self.host.query("number_keys")) == sorted(self.model)


def option(value: bytes | None) -> list[list[int]]:
    """As ic-py reads `opt blob`."""
    return [] if value is None else [list(value)]


def test_a_map_is_a_dict_that_survives_upgrades(compiled: Compiled) -> None:
    machine = type("Machine", (MapMachine,), {"compiled": compiled})
    machine.TestCase.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
    machine.TestCase("runTest").runTest()
