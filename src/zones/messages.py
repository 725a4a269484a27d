"""Texts to encrypted batches and back: what `zones send` and `zones read` do.

Not for reaching the canister (`zones.zone`) or for the cipher itself (`zones.encryption`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from zones.encryption import DecryptionError, ZoneKey, address_in, key_id_of
from zones.errors import NetworkError, UserError
from zones.verification import Proven, Verifier
from zones.zone import Message, Meta, Zone

MAX_BATCH_MESSAGES = 500
MAX_BATCH_BYTES = 1_800_000
"""Most encoded bytes of a batch: an ingress message holds 2 MiB with its envelope."""
PAIR_OVERHEAD_BYTES = 41 + 1 + 4
"""Bytes a pair takes besides its ciphertext: key_id, its length, the ciphertext's length in up to 4 bytes."""
PAGE_MESSAGES = 2_000
"""Ids asked for in one query; the zone sends fewer when its reply is full."""
SEND_ATTEMPTS = 4
MAX_ID = 2**32 - 1

Pair = tuple[bytes, bytes]
"""(key_id, ciphertext)"""


@dataclass
class Sent:
    """What was sent: message ids, calls made, plain and encrypted bytes."""

    ids: list[int] = field(default_factory=list)
    batches: int = 0
    plain_bytes: int = 0
    sealed_bytes: int = 0


@dataclass(frozen=True)
class Received:
    """A message read back: `sender` is the address in its key_id; `text` is None with `error` when it can't be read."""

    id: int
    timestamp: int
    sender: bytes | None
    text: str | None
    error: str | None = None


def batches(
    pairs: Iterable[Pair], *, max_messages: int = MAX_BATCH_MESSAGES, max_bytes: int = MAX_BATCH_BYTES
) -> Iterator[list[Pair]]:
    """Group pairs, in order, into batches of at most `max_messages` and `max_bytes` each.

    Raises UserError for a message that is too large for a batch of its own.
    """
    batch: list[Pair] = []
    size = 0
    for key_id, ciphertext in pairs:
        cost = len(ciphertext) + PAIR_OVERHEAD_BYTES
        if cost > max_bytes:
            raise UserError(
                f"a message of {len(ciphertext)} encrypted bytes is too large",
                f"at most {max_bytes - PAIR_OVERHEAD_BYTES} bytes fit: split it",
            )
        if batch and (len(batch) == max_messages or size + cost > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append((key_id, ciphertext))
        size += cost
    if batch:
        yield batch


def send(
    zone: Zone,
    key: ZoneKey,
    address: bytes,
    texts: Iterable[str],
    *,
    max_messages: int = MAX_BATCH_MESSAGES,
    progress: Callable[[int], None] = lambda _count: None,
) -> Sent:
    """Encrypt `texts` for the zone and send them in batches under the sender's 20-byte address.

    `progress` is called with the number of messages acknowledged. A batch whose reply was lost is sent again as it was:
    the zone knows its messages by their hashes and stores none twice.
    """
    sent = Sent()
    key_id = key_id_of(address)

    def sealed() -> Iterator[Pair]:
        for text in texts:
            plain = text.encode()
            ciphertext = key.encrypt(plain, key_id)
            sent.plain_bytes += len(plain)
            sent.sealed_bytes += len(ciphertext)
            yield key_id, ciphertext

    for batch in batches(sealed(), max_messages=max_messages):
        sent.ids += _add(zone, batch)
        sent.batches += 1
        progress(len(sent.ids))
    return sent


def _add(zone: Zone, batch: list[Pair]) -> list[int]:
    for attempt in range(1, SEND_ATTEMPTS + 1):
        try:
            ids = zone.add_messages(batch)
        except NetworkError:
            if attempt == SEND_ATTEMPTS:
                raise
        else:
            if len(ids) != len(batch):
                raise NetworkError(f"add_messages: {len(ids)} ids came back for {len(batch)} messages")
            return ids
    raise AssertionError("unreachable")


def read(
    zone: Zone, key: ZoneKey, *, first: int = 1, last: int | None = None, page: int = PAGE_MESSAGES
) -> Iterator[Received]:
    """Yield the messages with ids from `first` to `last` (default: all), oldest first, decrypted."""
    lowest, highest = zone.id_range()
    at, end = max(first, lowest, 1), highest if last is None else min(last, highest)
    while at <= end:
        stop = min(at + page - 1, end)
        found = zone.messages(at, stop)
        for message in found:
            yield _open(message, key)
        # A full reply ends before `stop`; an empty one means that nothing is left of this page.
        at = found[-1].id + 1 if found else stop + 1


def read_key(zone: Zone, key: ZoneKey, address: bytes, *, first: int = 1, last: int | None = None) -> list[Received]:
    """Return the messages of one sender's address with ids from `first` to `last`, oldest first, decrypted."""
    key_id = key_id_of(address)
    lowest = zone.first_id_of_key(key_id)
    if lowest is None:
        return []
    start, end = max(first, lowest), MAX_ID if last is None else min(last, MAX_ID)
    newest_first: list[Message] = []
    while start <= end:
        found = zone.messages_of_key(key_id, start, end)
        if not found:
            break
        newest_first += found
        end = found[-1].id - 1
    return [_open(message, key) for message in reversed(newest_first)]


def read_proven(verifier: Verifier, key: ZoneKey, proven: Proven, address: bytes | None = None) -> Iterator[Received]:
    """Yield the messages that `Verifier.prove` found for the key of `address` (None: all), checked and decrypted."""
    for message in verifier.messages(proven, None if address is None else key_id_of(address)):
        yield _open(message, key)


def metas(zone: Zone, *, first: int = 1, last: int | None = None, address: bytes | None = None) -> Iterator[Meta]:
    """Yield the messages with ids from `first` to `last` (default: all) of one address or all, without ciphertexts."""
    key_id = None if address is None else key_id_of(address)
    at, end = first, MAX_ID if last is None else min(last, MAX_ID)
    while at <= end:
        found = zone.metas(at, end)
        if not found:
            break
        yield from (meta for meta in found if key_id in (None, meta.key_id))
        at = found[-1].id + 1


def _open(message: Message, key: ZoneKey) -> Received:
    sender = address_in(message.key_id)
    try:
        text = key.decrypt(message.ciphertext, message.key_id).decode()
    except DecryptionError as error:
        return Received(message.id, message.timestamp, sender, None, error.message)
    except UnicodeDecodeError:
        return Received(message.id, message.timestamp, sender, None, "the message is no UTF-8 text")
    return Received(message.id, message.timestamp, sender, text)
