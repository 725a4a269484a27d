"""`zones send` and `zones read`: lines of text in, lines of text out, encrypted on the way.

Not for other content: a message is one line of UTF-8 text here.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from localnet.principal import from_text
from zones import checks, messages
from zones.commands import Add, Subparsers
from zones.context import Context, Progress, Result, checked, explaining
from zones.errors import UserError
from zones.messages import MAX_BATCH_MESSAGES, Received
from zones.zone import Zone


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
    identity = context.state.identity(options.identity)
    agent = context.agent(identity)
    record = context.zone(agent)
    key = context.state.zone_key(record.zone_id)
    zone = Zone(agent, from_text(record.canister))
    with explaining(options.identity):
        found: Iterable[Received]
        if options.sender is None:
            found = messages.read(zone, key, first=options.first, last=options.last)
        else:
            found = messages.read_key(zone, key, options.sender, first=options.first, last=options.last)
        if options.json:
            read = [_as_json(message) for message in found]
            return Result({"zone_id": record.zone_id, "canister": record.canister, "messages": read}, [])
        for message in found:
            print(_as_line(message))
    return None


def _as_json(message: Received) -> dict[str, Any]:
    shown = {
        "id": message.id,
        "timestamp": message.timestamp,
        "sender": "0x" + message.sender.hex() if message.sender else None,
        "text": message.text,
    }
    return shown if message.error is None else {**shown, "error": message.error}


def _as_line(message: Received) -> str:
    when = datetime.fromtimestamp(message.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")
    sender = "0x" + message.sender.hex() if message.sender else "unknown sender"
    text = message.text if message.error is None else f"[not readable: {message.error}]"
    return f"{message.id:>6}  {when}  {sender}  {text}"
