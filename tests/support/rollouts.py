"""Rollouts under test: a release that fails in some zones, a member who writes all the while, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ic.principal import Principal

from tests.support.actor import Actor
from tests.support.network import CallRejected
from tests.support.zones import RPC_HOST, TEAM, join, key_id, member

VERSION = ("\nVERSION = 1000\n", "\nVERSION = 1001\n")
TRAPS = (
    "    refuse_foreign_layout(state.settings_map, KIND)\n",
    "    refuse_foreign_layout(state.settings_map, KIND)\n"
    '    if config.zone_id().endswith("a"):\n        ic.trap("no new layout for this one")\n',
)
LOSES = (
    '        "messages": messages.state.count,\n',
    '        "messages": messages.state.count - config.zone_id().endswith("b"),\n',
)
"""Version 1001: its upgrade traps in zones that end in `a`, its check fails in those that end in `b`."""

BURST = 10


def make_zones(factory: Actor, did: str, endings: Sequence[str]) -> dict[str, Actor]:
    """A zone for each ending of an id, with member 1 in it."""
    zones = {}
    for letter in endings:
        zone_id = "0x" + "9" * (40 - len(letter)) + letter
        created = factory.call("create_zone_availability_canister", zone_id, RPC_HOST, "/", sender=member(1))
        zones[letter] = Actor(factory.network, Principal(created), did)
        join(zones[letter], 1)
    return zones


class Writer:
    """A member who adds messages to zones all the time, and remembers what was acknowledged."""

    def __init__(self, zones: dict[str, Actor], burst: int = BURST) -> None:
        self.zones = zones
        self.burst = burst
        self.acknowledged: dict[str, dict[int, bytes]] = {name: {} for name in zones}
        self.refusals: set[str] = set()
        self.sent = 0
        self._open: list[tuple[str, bytes, Any]] = []

    def send(self) -> None:
        """Sends a burst of messages to every zone: they are executed in between what else the round does."""
        for name, zone in self.zones.items():
            for _ in range(self.burst):
                self.sent += 1
                text = b"message %d" % self.sent
                try:
                    call = zone.submit("add_message", key_id(self.sent % 3), text, sender=member(1))
                except CallRejected as rejected:
                    self.refusals.add(rejected.message)
                else:
                    self._open.append((name, text, call))

    def collect(self) -> None:
        """Takes in the answers to what was sent."""
        for name, text, call in self._open:
            try:
                label, number = self.zones[name].wait("add_message", call)
            except CallRejected as rejected:
                self.refusals.add(rejected.message)
                continue
            assert label == "ok"
            assert number not in self.acknowledged[name]
            self.acknowledged[name][number] = text
        self._open = []

    def lost(self) -> list[tuple[str, int]]:
        """Acknowledged messages that do not read back under their ids."""
        missing = []
        for name, zone in self.zones.items():
            found = {
                message["id"]: message["ciphertext"]
                for message in zone.call("get_messages_by_range", 0, 2**32 - 1, sender=member(1))
            }
            missing += [(name, number) for number, text in self.acknowledged[name].items() if found.get(number) != text]
        return missing


def rollout(factory: Actor) -> dict[str, Any]:
    """The rollout as the factory tells it, with all changes."""
    return factory.call("get_rollout", None, 200)


def run(factory: Actor, until: tuple[str, ...] = ("done", "paused"), writer: Writer | None = None) -> dict[str, Any]:
    """Lets time pass until the rollout is in a state, with nothing under way; returns it."""
    for _ in range(400):
        if writer is not None:
            writer.send()
        factory.network.advance(3)
        if writer is not None:
            writer.collect()
        told = rollout(factory)
        if told["state"][0] in until and not told["under_way"]:
            return told
    raise TimeoutError(rollout(factory))


def outcomes(told: dict[str, Any], zones: dict[str, Actor]) -> dict[str, str]:
    """What came of each zone's change, by its letter."""
    names = {zone.id.bytes: name for name, zone in zones.items()}
    return {names[change["canister"]]: change["outcome"][0] for change in told["changes"]}


def states(factory: Actor, zones: dict[str, Actor]) -> set[str]:
    """The run states of zones."""
    return {factory.call("canister_status", zone.id.bytes, sender=TEAM)["status"][0] for zone in zones.values()}
