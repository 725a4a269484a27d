"""The main job from beginning to end: a network, a factory, a zone, one member's messages read by another.

Not a test of single parts: it runs what an operator runs, with sending and reading in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localnet.principal import from_text, to_text
from zones import deployment, network
from zones.agent import IcAgent
from zones.commands.network import on_end_signal, wait_for_signal
from zones.context import CALL_SECONDS, Progress
from zones.errors import NetworkError, ZonesError
from zones.factory import Factory
from zones.network import LocalNetwork
from zones.report import Member, Report
from zones.sample_texts import sentences
from zones.state import State
from zones.zone import Zone

MESSAGES = 2_000
OWNER, SENDER, READER = "owner", "alice", "bob"
TERMINATED = 143
"""Exit code after SIGTERM, as shells give it."""


class Clock:
    """Says what is being done and remembers how long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """Time one step; `what` is printed before it (to stderr: stdout is for the report)."""
        print(f"{sum(self.seconds.values()):6.1f} s  {what}", file=sys.stderr, flush=True)
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


def main_job(
    state: State, local: LocalNetwork, wasms: tuple[deployment.Built, deployment.Built], count: int, clock: Clock
) -> Report:
    """Do everything on a running network and return the report."""
    owner, sender, reader = (state.identity(name, create=True) for name in (OWNER, SENDER, READER))
    agent = IcAgent(local.url, owner, deadline=CALL_SECONDS)
    with clock.step("deploy", "deploying the factory and publishing the zone's Wasm"), Progress() as progress:
        done = deployment.deploy(agent, state, *wasms, notes="demonstration", progress=progress.bytes)
    factory = Factory(agent, from_text(done.factory))
    factory_start = deployment.DEFAULT_CYCLES
    with clock.step("create", f"asking factory {done.factory} for a zone"):
        record = deployment.create_zone(agent, state, owner, factory=factory.canister)
    zone = Zone(agent, from_text(record.canister))
    zone_start = zone.cycles()
    members = []
    for name, identity in ((SENDER, sender), (READER, reader)):
        with clock.step(f"join {name}", f"registering {name} by public key: {record.canister} asks the contract"):
            own = IcAgent(local.url, identity, deadline=CALL_SECONDS)
            joined = deployment.join(own, state, record, identity.public_key, None)
            members.append(Member(name, "0x" + joined.address.hex(), to_text(joined.principal), joined.role))
    texts = sentences(count)
    before = zone.cycles()
    with clock.step("send", f"{SENDER} encrypts and sends {len(texts)} sentences of Python's reference, then stops"):
        sent = _zones(state, "send", "--identity", SENDER, "--zone", record.canister, lines=texts)
    after = zone.cycles()
    with clock.step("read", f"{READER} reads and decrypts everything"):
        read = _zones(state, "read", "--identity", READER, "--zone", record.canister)["messages"]
    return Report(
        network=local.url,
        factory=done.factory,
        zone_id=record.zone_id,
        zone=record.canister,
        members=members,
        sent=len(texts),
        arrived=len(read),
        plain_bytes=sent["plain_bytes"],
        encrypted_bytes=sent["encrypted_bytes"],
        batches=sent["batches"],
        factory_wasm_bytes=len(done.factory_wasm.wasm),
        zone_wasm_bytes=len(done.zone_wasm.wasm),
        send_cycles=before - after,
        factory_cycles=factory.cycles(),
        factory_start_cycles=factory_start,
        zone_cycles=zone.cycles(),
        zone_start_cycles=zone_start,
        seconds={name: round(seconds, 2) for name, seconds in clock.seconds.items()},
        fault=first_difference(texts, read, members[0].address),
    )


def first_difference(texts: Sequence[str], read: Sequence[dict[str, Any]], sender: str) -> str | None:
    """Return how the messages read differ from the texts sent, None when they are the same."""
    for text, message in zip(texts, read, strict=False):
        if message["text"] != text:
            return f"message {message['id']} is {message.get('error') or message['text']!r}, sent was {text!r}"
        if message["sender"] != sender:
            return f"message {message['id']} is from {message['sender']}, not {sender}"
    if len(texts) != len(read):
        return f"{len(read)} messages were read, {len(texts)} sent"
    return None


def _zones(state: State, *arguments: str, lines: Sequence[str] = ()) -> dict[str, Any]:
    """Run a command of `zones` in a process of its own; returns its JSON. It has ended when this returns."""
    command = [sys.executable, "-m", "zones", *arguments, "--state", str(state.root), "--json"]
    text = "".join(f"{line}\n" for line in lines).encode()
    run = subprocess.run(command, input=text, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        raise NetworkError(f"`zones {arguments[0]}` ended with exit code {run.returncode}", "its message is above")
    return json.loads(run.stdout)


def next_steps(state: State, report: Report) -> list[str]:
    """Return commands to try while the network stays up."""
    tool = Path(sys.executable).with_name("zones")
    zones = os.path.relpath(tool) if tool.exists() else f"{sys.executable} -m zones"
    if state.root != State.locate(None).root:
        zones = f"ZONES_STATE={state.root} {zones}"
    return [
        "",
        "The network stays up until Ctrl-C. Try in another terminal:",
        f"  {zones} status",
        f"  echo 'hello, zone' | {zones} send --identity {SENDER}",
        f"  {zones} read --identity {READER} --from {report.sent}",
        f"  {zones} join --identity carol --role 400",
        f"  {zones} create && {zones} status",
    ]


def _stop(state: State) -> None:
    # A second Ctrl-C must not leave half of the processes behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    network.stop(state)


def _terminated(*_: object) -> None:
    raise SystemExit(TERMINATED)


def run(options: argparse.Namespace) -> int:
    """Run the main job; returns 0 when every message arrived intact, 1 when not."""
    state = State.locate(options.state)
    clock = Clock()
    with clock.step("build", "building the canisters (the first time this takes minutes)"):
        wasms = (deployment.build("factory", options.builder), deployment.build("zone_canister", options.builder))
    with clock.step("start", f"starting the network on 127.0.0.1:{options.port} and the membership contract"):
        local = network.start(state, options.port, stay=False, kept=False)
    try:
        report = main_job(state, local, wasms, options.messages, clock)
        print(json.dumps(report.data()) if options.json else "\n".join(report.lines()), flush=True)
        if not options.once:
            print("\n".join(next_steps(state, report)), file=sys.stderr, flush=True)
            wait_for_signal(on_end_signal())
        return 0 if report.intact else 1
    finally:
        _stop(state)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the options, run, clean up."""
    parser = argparse.ArgumentParser(
        prog="python -m zones.demo",
        description="Runs the main job on a network of its own on this machine, and prints a report.",
        epilog="example: python -m zones.demo --once",
    )
    parser.add_argument("--once", action="store_true", help="end after the report (exit code 0: all intact)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"how many to send (default: {MESSAGES})")
    parser.add_argument("--port", type=int, default=network.DEFAULT_PORT, help="TCP port, 0 for a free one")
    parser.add_argument("--state", metavar="DIR", help="state folder (default: $ZONES_STATE, else .zones here)")
    parser.add_argument("--builder", choices=("template", "kybra"), default="template")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    # A shell starts its background jobs with SIGINT ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(options)
    except ZonesError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
