"""`zones send` and `zones read`: lines of text in, lines of text out, encrypted on the way, proven if asked for.

Not for other content: a message is one line of UTF-8 text here.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from localnet.principal import from_text, to_text
from zones import certificates, checks, messages
from zones.commands import Add, Subparsers, root_keys
from zones.context import Context, Progress, Result, checked, explaining, time_text
from zones.encryption import ZoneKey, address_in, key_id_of
from zones.errors import UserError
from zones.messages import MAX_BATCH_MESSAGES, Received
from zones.tables import printable
from zones.verification import Proven, SeenHead, Verifier
from zones.zone import Meta, Zone


def register(commands: Subparsers, add: Add) -> None:
    """Add both commands."""
    send = add(
        commands,
        "send",
        "encrypt lines of text for the zone and send them in batches",
        _send,
        "zones send --identity alice --file notes.txt",
    )
    send.add_argument(
        "--file", metavar="PATH", help="read lines from this file (default: standard input); empty ones are left out"
    )
    send.add_argument(
        "--batch",
        type=checked(checks.positive),
        default=MAX_BATCH_MESSAGES,
        help=f"most messages of one call (default: {MAX_BATCH_MESSAGES})",
    )
    read = add(
        commands,
        "read",
        "read messages of the zone and decrypt them",
        _read,
        "zones read --identity bob --from 1 --to 100",
    )
    read.add_argument(
        "--from",
        dest="first",
        type=checked(checks.positive),
        default=1,
        metavar="ID",
        help="first message id (default: 1)",
    )
    read.add_argument(
        "--to", dest="last", type=checked(checks.positive), metavar="ID", help="last message id (default: the newest)"
    )
    read.add_argument("--sender", type=checked(checks.address), metavar="ADDRESS", help="only messages of this address")
    read.add_argument(
        "--meta", action="store_true", help="show who called and each SHA-256 instead of texts; needs no key file"
    )
    read.add_argument(
        "--verify",
        action="store_true",
        help="prove by the network's certificate that nothing is withheld, altered, reordered or added",
    )
    root_keys.add_option(read, "for --verify", "mainnet's")
    for command in (send, read):
        command.add_argument("--zone", metavar="ID", help="zone id or canister (default: the latest zone)")


def _send(context: Context) -> Result:
    options = context.options
    identity = context.state.identity(options.identity)
    agent = context.agent(identity)
    record = context.zone(agent)
    key = context.state.zone_key(record.zone_id)
    zone = Zone(agent, from_text(record.canister))
    started = time.monotonic()
    with _open(options.file) as file, Progress() as progress, explaining(options.identity):
        sent = messages.send(
            zone,
            key,
            identity.address,
            _lines(file, options.file or "standard input"),
            max_messages=options.batch,
            progress=lambda count: progress.show(f"sent {count} messages"),
        )
    seconds = time.monotonic() - started
    data: dict[str, Any] = {
        "zone_id": record.zone_id,
        "canister": record.canister,
        "messages": len(sent.ids),
        "first_id": min(sent.ids, default=None),
        "last_id": max(sent.ids, default=None),
        "batches": sent.batches,
        "plain_bytes": sent.plain_bytes,
        "encrypted_bytes": sent.sealed_bytes,
        "seconds": round(seconds, 3),
    }
    if not sent.ids:
        return Result(data, ["nothing to send: no line had any text"])
    ids = f"ids {data['first_id']} to {data['last_id']}"
    return Result(data, [f"sent {len(sent.ids)} messages in {sent.batches} calls and {seconds:.1f} s, {ids}"])


def _open(path: str | None) -> AbstractContextManager[IO[str]]:
    if path is None:
        return nullcontext(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8"))
    try:
        return Path(path).open(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "name a text file with --file") from error


def _lines(file: IO[str], name: str) -> Iterator[str]:
    try:
        for line in file:
            text = line.rstrip("\r\n")
            if text:
                yield text
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is no UTF-8 text: {error}", "only text can be sent") from error


def _read(context: Context) -> Result | None:
    options = context.options
    if options.last is not None and options.last < options.first:
        raise UserError(f"--from {options.first} is after --to {options.last}", "give the smaller id first")
    if options.root_key is not None and not options.verify:
        raise UserError("--root-key is for --verify", "give both")
    identity = context.state.identity(options.identity)
    agent = context.agent(identity)
    record = context.zone(agent)
    key = None if options.meta else context.state.zone_key(record.zone_id)
    zone = Zone(agent, from_text(record.canister))
    with explaining(options.identity):
        proven = verifier = None
        if options.verify:
            verifier = _verifier(context, zone)
            key_id = None if options.sender is None else key_id_of(options.sender)
            proven = verifier.prove(options.first, options.last, key_id)
        shown = _found(options, zone, key, verifier, proven)
        if options.json:
            data = {"zone_id": record.zone_id, "canister": record.canister, "messages": [item.data for item in shown]}
            return Result(data if proven is None else {**data, "verified": _proof(proven)}, [])
        for item in shown:
            print(printable(item.line))
    if proven is not None:
        _say_proven(proven)
    return None


@dataclass(frozen=True)
class _Shown:
    """A message as `--json` and people get to see it."""

    data: dict[str, Any]
    line: str


def _found(
    options: argparse.Namespace, zone: Zone, key: ZoneKey | None, verifier: Verifier | None, proven: Proven | None
) -> Iterator[_Shown]:
    """Yield what was asked for, with its proof or without."""
    first, last, sender = options.first, options.last, options.sender
    if key is None:
        found = messages.metas(zone, first=first, last=last, address=sender) if proven is None else proven.messages
        return (_Shown(_meta_json(meta), _meta_line(meta)) for meta in found)
    read: Iterable[Received]
    if verifier is not None and proven is not None:
        read = messages.read_proven(verifier, key, proven, sender)
    elif sender is None:
        read = messages.read(zone, key, first=first, last=last)
    else:
        read = messages.read_key(zone, key, sender, first=first, last=last)
    return (_Shown(_as_json(message), _as_line(message)) for message in read)


def _verifier(context: Context, zone: Zone) -> Verifier:
    key = root_keys.named(context) or certificates.MAINNET_ROOT_KEY
    return Verifier(zone, key, SeenHead(context.state, zone.canister, key))


def _proof(proven: Proven) -> dict[str, Any]:
    """What a read proved, for --json: the head, its time (s since 1970), how many messages were taken in."""
    head = proven.head
    return {
        "first_id": head.first_id,
        "max_id": head.max_id,
        "head": head.head.hex(),
        "certified_at": int(proven.time),
        "checked": proven.checked,
    }


def _say_proven(proven: Proven) -> None:
    """Say on stderr what was proven: stdout is the messages."""
    head = proven.head
    print(
        f"verified: {len(proven.messages)} messages; the zone has ids {head.first_id} to {head.max_id}, "
        f"head {head.head.hex()[:16]}..., certified at {time_text(proven.time)} UTC",
        file=sys.stderr,
    )


def _meta_json(meta: Meta) -> dict[str, Any]:
    address = address_in(meta.key_id)
    return {
        "id": meta.id,
        "timestamp": meta.timestamp,
        "sender": "0x" + address.hex() if address else None,
        "caller": to_text(meta.sender),
        "key_id": meta.key_id.hex(),
        "sha256": meta.hash.hex(),
    }


def _meta_line(meta: Meta) -> str:
    address = address_in(meta.key_id)
    sender = "0x" + address.hex() if address else "key " + meta.key_id.hex()
    return f"{meta.id:>6}  {time_text(meta.timestamp)}  {sender}  {to_text(meta.sender)}  {meta.hash.hex()}"


def _as_json(message: Received) -> dict[str, Any]:
    shown = {
        "id": message.id,
        "timestamp": message.timestamp,
        "sender": "0x" + message.sender.hex() if message.sender else None,
        "text": message.text,
    }
    return shown if message.error is None else {**shown, "error": message.error}


def _as_line(message: Received) -> str:
    sender = "0x" + message.sender.hex() if message.sender else "unknown sender"
    text = message.text if message.error is None else f"[not readable: {message.error}]"
    return f"{message.id:>6}  {time_text(message.timestamp)}  {sender}  {text}"
