"""How fast localnet is, with the real zone canister: `make bench-localnet ARGS='--json'`.

Start of a server, `add_message` in this process, through PocketIC's interface and signed through the IC's, and many
zones at once. Times depend on the machine, which the result names; processor times depend least on what else it does.
What operations cost canisters is in `bench.calls`.
"""

from __future__ import annotations

import argparse
import base64
import gc
import http.client
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from ic.agent import sign_request

from bench.inprocess import CIPHERTEXT_BYTES, HOST, ROLE, DirectAgent, T, create, zone_argument
from bench.message_zone import origin, save, zone_artifact
from localnet import candid as c
from localnet import cbor
from localnet.hash_tree import look_up
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.principal import to_text
from localnet.system_api import signatures
from zones import management
from zones.agent import Agent, IcAgent
from zones.identity import Identity
from zones.zone import Zone

KEY_ID = bytes([20]) + bytes(range(20)) + bytes(20)
EXPIRY_SECONDS = 240
WARM_UP = 50
"""Calls before those that are measured."""
STARTS = 5
IDLE_ROUNDS = 100
NO_ARGUMENT = c.encode([], [])

_STORED = c.variant(ok=c.NAT32, err=c.TEXT)


@dataclass(frozen=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str


class Bench:
    """The canister to measure with, and what it is sent."""

    def __init__(self, seed: int) -> None:
        self.code = zone_artifact().wasm_gz.read_bytes()
        self.identity = Identity.from_secret(bytes(31) + b"\x01")
        self._texts = random.Random(seed)
        ModuleCache(signatures()).get(self.code)

    def messages(self, count: int) -> list[bytes]:
        """Arguments of `add_message`, none of which was made before."""
        texts = (self._texts.randbytes(CIPHERTEXT_BYTES) for _ in range(count))
        return [c.encode([c.BLOB, c.BLOB], [KEY_ID, text]) for text in texts]

    def zone(self, agent: Agent, canister: bytes) -> bytes:
        """Make a zone of an empty canister and the agent's identity a member of it; returns the canister."""
        management.install(agent, canister, self.code, zone_argument())
        Zone(agent, canister).update_role(self.identity.public_key)
        return canister


def stored(reply: bytes) -> int:
    """The id in a reply of `add_message`."""
    (result,) = c.decode(reply, [_STORED])
    if result[0] != "ok":
        raise SystemExit(f"add_message answered {result}")
    return result[1]


def all_stored(replies: list[bytes]) -> None:
    """Check that each of the calls stored a message of its own."""
    if len({stored(reply) for reply in replies}) != len(replies):
        raise SystemExit("messages share ids")


# In this process ------------------------------------------------------------------------------------------


def direct(bench: Bench, count: int) -> list[Row]:
    """One message a round, one after the other, and many messages in one round."""
    agent = DirectAgent(Network(["Application"], ModuleCache(signatures()), seed=1), bench.identity.sender())
    network = agent.network
    zone = bench.zone(agent, create(agent, 100 * T))
    replies = [agent.update(zone, "add_message", argument) for argument in bench.messages(WARM_UP)]
    arguments = bench.messages(count)
    started, processor = time.perf_counter(), time.process_time()
    replies += [agent.update(zone, "add_message", argument) for argument in arguments]
    one = count / (time.perf_counter() - started)
    processor = (time.process_time() - processor) / count
    arguments = bench.messages(count)
    started = time.perf_counter()
    batch = [network.submit(agent.caller, zone, "add_message", argument) for argument in arguments]
    while network.canister(zone).queue:
        network.tick()
    many = count / (time.perf_counter() - started)
    all_stored(replies + [agent.reply(rid) for rid in batch])
    return [
        Row("in this process, a round each", one, "updates/s"),
        Row("processor time of each", 1000 * processor, "ms"),
        Row(f"in this process, {count} submitted at once", many, "updates/s"),
    ]


# Over HTTP --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A localnet process."""

    pid: int
    port: int
    start_seconds: float
    """From its start until it answered."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def processor_seconds(self) -> float:
        """Processor time it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(*options: str) -> Iterator[Server]:
    """A localnet process."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "localnet", "--port-file", str(port_file), *options])
        try:
            while not (port_file.exists() and "\n" in port_file.read_text(encoding="utf-8")):
                if process.poll() is not None:
                    raise SystemExit("localnet did not start")
                time.sleep(0.002)
            port = int(port_file.read_text(encoding="utf-8"))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/instances")
            connection.getresponse().read()
            yield Server(process.pid, port, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait(20)


def start(bench: Bench) -> list[Row]:
    """Start of a server, and of one that loads a network with a zone from its folder."""
    empty = []
    for _ in range(STARTS):
        with server("--listen", "127.0.0.1:0", "--auto-progress") as process:
            empty.append((process.start_seconds, process.processor_seconds()))
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        options = ("--listen", "127.0.0.1:0", "--auto-progress", "--state-dir", folder)
        with server(*options) as process:
            agent = IcAgent(process.url, bench.identity)
            zone = management.create_canister(agent, 100 * T)
            management.install(agent, zone, bench.code, zone_argument())
        for _ in range(STARTS):
            started = time.perf_counter()
            with server(*options) as process:
                IcAgent(process.url, bench.identity).query(zone, "get_version", NO_ARGUMENT)
                kept.append((time.perf_counter() - started, process.processor_seconds()))
    return [
        Row(f"start until it answers (median of {STARTS})", median(seconds for seconds, _ in empty), "s"),
        Row("processor time of it", median(processor for _, processor in empty), "s"),
        Row("start with a zone in its folder, until the zone answers", median(seconds for seconds, _ in kept), "s"),
        Row("processor time of that", median(processor for _, processor in kept), "s"),
    ]


class RestAgent:
    """An agent that speaks PocketIC's interface on one kept-open connection."""

    def __init__(self, port: int, caller: bytes) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._caller = caller
        config = {"subnet_config_set": {"application": [{"state_config": "New", "instruction_config": "Production"}]}}
        self._base = f"/instances/{self._send('POST', '/instances', config)['Created']['instance_id']}/"

    def sender(self) -> bytes:
        """Return the principal the calls come from."""
        return self._caller

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        headers = {} if body is None else {"content-type": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{path} answered {response.status}: {content.decode()}")
        return json.loads(content)

    def query(self, canister: bytes, method: str, argument: bytes) -> bytes:
        """Not measured."""
        raise NotImplementedError(f"{method} of {to_text(canister)} with {len(argument)} bytes")

    def update(self, canister: bytes, method: str, argument: bytes, *, effective: bytes | None = None) -> bytes:
        """Submit a call and await it, as the `pocket_ic` client does; the outcall of a role lookup is answered."""

        def text(data: bytes) -> str:
            return base64.b64encode(data).decode()

        body = {
            "sender": text(self._caller),
            "canister_id": text(canister),
            "method": method,
            "payload": text(argument),
            "effective_principal": "None" if effective is None else {"CanisterId": text(effective)},
        }
        accepted = self._send("POST", self._base + "update/submit_ingress_message", body)
        if method == "update_role":
            self._answer_outcall()
        done = self._send("POST", self._base + "update/await_ingress_message", accepted["Ok"])
        if "Ok" not in done:
            raise SystemExit(f"{method} was rejected: {done}")
        return base64.b64decode(done["Ok"])

    def _answer_outcall(self) -> None:
        while not (pending := self._send("GET", self._base + "read/get_canister_http")):
            self._send("POST", self._base + "update/tick", {})
        for outcall in pending:
            answer = {"CanisterHttpReply": {"status": 200, "headers": [], "body": base64.b64encode(ROLE).decode()}}
            mock = {"subnet_id": outcall["subnet_id"], "request_id": outcall["request_id"], "response": answer}
            self._send("POST", self._base + "update/mock_canister_http", {**mock, "additional_responses": []})


def rest(bench: Bench, count: int) -> list[Row]:
    """One client of PocketIC's interface: two requests a call, one call after the other."""
    with server() as process:
        agent = RestAgent(process.port, bench.identity.sender())
        zone = bench.zone(agent, create(agent, 100 * T))
        replies = [agent.update(zone, "add_message", argument) for argument in bench.messages(WARM_UP)]
        arguments = bench.messages(count)
        started = time.perf_counter()
        replies += [agent.update(zone, "add_message", argument) for argument in arguments]
        elapsed = time.perf_counter() - started
    all_stored(replies)
    return [Row("through PocketIC's interface, one client", count / elapsed, "updates/s")]


class _Contract(BaseHTTPRequestHandler):
    """Answers every role lookup with an admin's role."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", str(len(ROLE)))
        self.end_headers()
        self.wfile.write(ROLE)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass(frozen=True)
class Answer:
    """The body of an answer to a signed call, and the seconds it took."""

    body: bytes
    seconds: float


def signed(bench: Bench, count: int, clients: int) -> list[Row]:
    """Signed v3 calls by many clients at once, each waiting for its certificate before it sends the next."""
    contract = ThreadingHTTPServer(("127.0.0.1", 0), _Contract)
    threading.Thread(target=contract.serve_forever, daemon=True).start()
    outcall = f"{HOST}=http://127.0.0.1:{contract.server_port}"
    with server("--listen", "127.0.0.1:0", "--auto-progress", "--outcall", outcall) as process:
        agent = IcAgent(process.url, bench.identity)
        zone = bench.zone(agent, management.create_canister(agent, 100 * T))
        path = f"/api/v3/canister/{to_text(zone)}/call"
        calls = [_signed(bench.identity, zone, argument) for argument in bench.messages(WARM_UP + count)]
        envelopes = [envelope for _, envelope in calls]
        warm, _ = _send_all(process.port, path, envelopes[:WARM_UP], clients)
        processor = process.processor_seconds()
        answers, elapsed = _send_all(process.port, path, envelopes[WARM_UP:], clients)
        processor = (process.processor_seconds() - processor) / count
    contract.shutdown()
    bodies = [answer.body for answer in warm + answers]
    trees = [_certified_tree(body) for body in bodies]
    all_stored([_certified_reply(tree, rid) for tree, (rid, _) in zip(trees, calls, strict=True)])
    rounds = sorted({_time(tree) for tree in trees[WARM_UP:]})
    lengths = [(after - before) / 1e6 for before, after in pairwise(rounds)]
    slowest = quantiles([1000 * answer.seconds for answer in answers], n=20)[-1]
    return [
        Row(f"signed, v3 with certificate, {clients} clients", count / elapsed, "updates/s"),
        Row("the server's processor time of each", 1000 * processor, "ms"),
        Row("a round's calls", count / len(rounds), "calls"),
        Row("a round's length (median)", median(lengths), "ms"),
        Row("a call's time (median)", median(1000 * answer.seconds for answer in answers), "ms"),
        Row("a call's time (95 of 100 are faster)", slowest, "ms"),
    ]


def _signed(identity: Identity, zone: bytes, argument: bytes) -> tuple[bytes, bytes]:
    """Request id and envelope of an `add_message`."""
    content = {
        "request_type": "call",
        "canister_id": zone,
        "method_name": "add_message",
        "arg": argument,
        "sender": identity.sender(),
        "ingress_expiry": time.time_ns() + EXPIRY_SECONDS * 10**9,
    }
    request_id, envelope = sign_request(content, identity)
    return bytes(request_id), bytes(envelope)


def _certified_tree(answer: bytes) -> Any:
    content = cbor.decode(answer)
    if content["status"] != "replied":
        raise SystemExit(f"a signed call was not answered: {content}")
    return cbor.decode(content["certificate"])["tree"]


def _certified_reply(tree: Any, request_id: bytes) -> bytes:
    reply = look_up(tree, [b"request_status", request_id, b"reply"])
    if reply is None:
        raise SystemExit("a certificate does not show the reply")
    return reply


def _time(tree: Any) -> int:
    """The round's time in a certificate, in nanoseconds."""
    encoded = look_up(tree, [b"time"])
    assert encoded is not None
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(encoded))


def _send_all(port: int, path: str, requests: list[bytes], clients: int) -> tuple[list[Answer], float]:
    """The answers in the order of the requests, and the seconds it took for all of them."""
    answers: list[Answer | None] = [None] * len(requests)

    def client(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(first, len(requests), clients):
            started = time.perf_counter()
            connection.request("POST", path, requests[number], {"content-type": "application/cbor"})
            body = connection.getresponse().read()
            answers[number] = Answer(body, time.perf_counter() - started)

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    given = [answer for answer in answers if answer is not None]
    if len(given) < len(requests):
        raise SystemExit(f"{len(requests) - len(given)} signed calls had no answer")
    return given, elapsed


# Many zones ---------------------------------------------------------------------------------------------------


def resident_bytes() -> int:
    """Memory of this process that is in use; pages it shares count in part."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    )
    return int(fields["Pss"].split()[0]) * 1024


def fleet(bench: Bench, zones: int) -> list[Row]:
    """Many zones on one network: memory and time of each, an idle round, and one in which every zone's timer runs."""
    agent = DirectAgent(Network(["Application"], ModuleCache(signatures()), seed=1), bench.identity.sender())
    network = agent.network
    bench.zone(agent, create(agent, 100 * T))
    gc.collect()
    before = resident_bytes()
    started = time.perf_counter()
    made = [create(agent, 100 * T) for _ in range(zones)]
    for zone in made:
        management.install(agent, zone, bench.code, zone_argument())
    created = (time.perf_counter() - started) / zones
    network.tick()
    gc.collect()
    memory = (resident_bytes() - before) / zones
    started = time.perf_counter()
    for _ in range(IDLE_ROUNDS):
        network.tick()
    idle = (time.perf_counter() - started) / IDLE_ROUNDS
    started = time.perf_counter()
    for zone in made:
        management.install(agent, zone, bench.code, NO_ARGUMENT, mode="upgrade")
    upgraded = (time.perf_counter() - started) / zones
    due = [network.canister(zone).global_timer for zone in made]
    if not all(due):
        raise SystemExit("not every zone has a timer after its upgrade")
    network.set_time(max(due))
    started = time.perf_counter()
    network.tick()
    timers = time.perf_counter() - started
    if any(network.canister(zone).queue for zone in made):
        raise SystemExit("the timers took more than one round")
    return [
        Row(f"{zones} zones: create and install one", 1000 * created, "ms"),
        Row(f"{zones} zones: memory of an idle one", memory / 2**20, "MiB"),
        Row(f"{zones} zones: a round with nothing to do", 1000 * idle, "ms"),
        Row(f"{zones} zones: upgrade one", 1000 * upgraded, "ms"),
        Row(f"{zones} zones: a round in which all timers run", 1000 * timers, "ms"),
    ]


def machine() -> dict[str, Any]:
    """The machine; its load is that before anything was measured."""
    return {
        "cpus": os.cpu_count(),
        "processor": platform.machine(),
        "linux": platform.release(),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Print the figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--save", action="store_true", help="keep the result in bench/results/localnet.json")
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls and zones")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random ciphertexts (default: 1)")
    parser.add_argument("--clients", type=int, default=32, help="clients that sign (default: %(default)s)")
    parts: dict[str, Callable[[Bench], list[Row]]] = {
        "start": start,
        "direct": lambda bench: direct(bench, count),
        "rest": lambda bench: rest(bench, count),
        "signed": lambda bench: signed(bench, count, options.clients),
        "fleet": lambda bench: fleet(bench, zones),
    }
    parser.add_argument("parts", nargs="*", help=f"what to measure: {', '.join(parts)} (default: all)")
    options = parser.parse_args()
    if not set(options.parts) <= set(parts):
        parser.error(f"there are only {', '.join(parts)}")
    count, zones = (200, 20) if options.quick else (2_000, 200)
    result = {**origin(options.seed), "machine": machine()}
    bench = Bench(options.seed)
    rows = [row for name, part in parts.items() if name in (options.parts or parts) for row in part(bench)]
    result["rows"] = [asdict(row) for row in rows]
    if options.save:
        save("localnet", result)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    print(f"seed {options.seed}, commit {result['commit']}, template {result['zone']['template_hash']}\n")
    for row in rows:
        print(f"{row.name:60}{row.value:12,.2f} {row.unit}")


if __name__ == "__main__":
    main()
