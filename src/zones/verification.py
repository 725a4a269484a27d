"""Reading a zone so that nothing can be withheld, altered, reordered or added without being noticed.

Needs queries only. The zone certifies one hash over where its messages begin and end and over a chain of digests of all
of them; docs/verification.md has the bytes and what they prove. Not for the certificate itself (`zones.certificates`)
and not for reading what a message says (`zones.messages`).
"""

from __future__ import annotations

import fcntl
import hashlib
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from localnet.principal import to_text
from zones import certificates
from zones.encryption import KEY_ID_BYTES
from zones.errors import ProofError, UnprovenYetError, UserError
from zones.state import State
from zones.zone import DigestEntry, Head, Message, Meta, Zone

HEAD_DOMAIN = b"\x1bdiode zone messages head v1"
HEAD_ENDS = struct.Struct("<I32sI32s")
IDS = struct.Struct("<II")
CHAIN_BYTES = HASH_BYTES = 32
PRINCIPAL_BYTES = 29
MARK_BYTES = 1 + KEY_ID_BYTES + 1 + HASH_BYTES
"""What the chain takes in of a message: its key and its hash, each with its length before it."""
_KEY_MARK, _HASH_MARK = bytes([KEY_ID_BYTES]), bytes([HASH_BYTES])
MAX_ID = 2**32 - 1
ATTEMPTS = 3
"""How often something is asked for that may only be late: replicas are seconds apart."""
ATTEMPT_SECONDS = 2.0

_LIES = "the endpoint, or someone between it and you, altered it or lies: read through another endpoint"
_RETRY = "the zone may have evicted them just now: read again; if it stays so, the endpoint withholds them"
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Seen:
    """A head that was proven: its ids, the chain's last value, and the time (s) of its certificate."""

    first_id: int
    max_id: int
    head: bytes
    certified_at: int


@dataclass(frozen=True)
class Proven:
    """What a zone's certificate proves: the head, its time (s since 1970) and the messages that were asked for.

    `messages` are all that there are with the ids and the key asked for, oldest first. `checked` counts all messages
    that had to be taken into the chain for that.
    """

    head: Head
    time: float
    messages: list[Meta]
    checked: int


class SeenHead:
    """The last head seen of one zone, in a file of the state folder: later ones may not fall behind it."""

    def __init__(self, state: State, canister: bytes, root_key: bytes) -> None:
        self._state = state
        self._canister = to_text(canister)
        self.path = state.head_path(self._canister, root_key)

    def load(self) -> Seen | None:
        """Return the head, None when there is none yet; raises UserError for a file that holds none."""
        record = self._state.read(self.path)
        if not record:
            return None
        try:
            numbers = (record[name] for name in ("first_id", "max_id", "certified_at"))
            first_id, max_id, certified_at = map(int, numbers)
            return Seen(first_id, max_id, bytes.fromhex(record["head"]), certified_at)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.path} holds no head: {error!r}", "mend or remove it") from error

    def keep(self, head: Seen) -> None:
        """Keep a proven head, unless another process has kept a later one meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self.path.with_suffix(".lock")):
            known = self.load()
            if known is None or (known.max_id, known.first_id) <= (head.max_id, head.first_id):
                record = {"canister": self._canister, **asdict(head), "head": head.head.hex()}
                self._state.write(self.path, record)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Verifier:
    """Reads one zone and believes nothing but the root key."""

    def __init__(
        self,
        zone: Zone,
        root_key: bytes,
        seen: SeenHead,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.zone = zone
        self.root_key = root_key
        self.seen = seen
        self._clock = clock
        self._sleep = sleep

    def prove(self, first: int = 1, last: int | None = None, key_id: bytes | None = None) -> Proven:
        """Return all messages there are with ids from `first` to `last`, of one key or all, without ciphertexts.

        Takes the head first and reads up to it; keeps the head as the last one seen. Raises ProofError.
        """
        return self._again(partial(self._prove, first, MAX_ID if last is None else last, key_id))

    def messages(self, proven: Proven, key_id: bytes | None = None) -> Iterator[Message]:
        """Yield the messages of `prove` with their ciphertexts, each checked; `key_id` is the one given there."""
        wanted = proven.messages
        at = 0
        while at < len(wanted):
            left = len(wanted) - at
            for message in self._again(partial(self._page, wanted[at].id, key_id, left))[:left]:
                _check_message(message, wanted[at])
                yield message
                at += 1

    def _page(self, first: int, key_id: bytes | None, limit: int) -> list[Message]:
        found = self.zone.messages_since(first - 1, key_id, limit)
        if not found or found[0].id != first:
            instead = f"the reply begins with {found[0].id}" if found else "the reply is empty"
            raise UnprovenYetError(f"message {first} is withheld: the certified head has it, {instead}", _RETRY)
        return found

    def _again(self, work: Callable[[], _Found]) -> _Found:
        """Do something again that may only have come too early."""
        for _ in range(ATTEMPTS - 1):
            try:
                return work()
            except UnprovenYetError:
                self._sleep(ATTEMPT_SECONDS)
        return work()

    def _prove(self, first: int, last: int, key_id: bytes | None) -> Proven:
        head = self.zone.certified_head()
        certified_at = self._check_head(head)
        seen = self.seen.load()
        if seen is not None:
            self._check_progress(head, seen)
        start = max(first, head.first_id)
        if seen is not None and seen.max_id + 1 >= head.first_id:
            start = min(start, seen.max_id + 1)  # to see that the chain goes on from where it ended
        found: list[Meta] = []
        checked = 0
        if start <= head.max_id:
            for meta in self._chain(head, start, seen):
                checked += 1
                if first <= meta.id <= last and meta.id >= head.first_id and key_id in (None, meta.key_id):
                    found.append(meta)
        elif head.first_id > head.max_id and head.anchor != head.head:
            raise ProofError("the head has no messages, but its chain has an end that is not its start", _LIES)
        self.seen.keep(Seen(head.first_id, head.max_id, head.head, int(certified_at)))
        return Proven(head, certified_at, found, checked)

    def _check_head(self, head: Head) -> float:
        """Raise ProofError unless the certificate proves the head; returns the certificate's time."""
        if head.certificate is None:
            raise ProofError("the head came without a certificate", "ask in a query: only queries carry one")
        if len(head.anchor) != CHAIN_BYTES or len(head.head) != CHAIN_BYTES:
            raise ProofError("the head's chain values are not of 32 bytes", _LIES)
        certified = certificates.certified_data(head.certificate, self.zone.canister, self.root_key, self._clock())
        if certified.data != head_digest(head):
            raise ProofError(
                f"the head (ids {head.first_id} to {head.max_id}) is not the one that the certificate certifies", _LIES
            )
        return certified.time

    def _check_progress(self, head: Head, seen: Seen) -> None:
        """Raise UnprovenYetError for a head before the last one seen, ProofError for another history."""
        if head.max_id < seen.max_id or head.first_id < seen.first_id:
            raise UnprovenYetError(
                f"the head (ids {head.first_id} to {head.max_id}) is behind the last one seen "
                f"(ids {seen.first_id} to {seen.max_id})",
                "a replica that is late catches up within a minute: read again; if it stays so, old answers are "
                f"repeated, or the zone lost messages (reinstalled, a snapshot loaded): remove {self.seen.path} to "
                "accept that",
            )
        if head.max_id == seen.max_id and head.head != seen.head:
            raise self._other_history(seen)

    def _other_history(self, seen: Seen) -> ProofError:
        return ProofError(
            f"the messages up to {seen.max_id} are not those that were seen before: their chain has another value",
            f"the zone's history was replaced (reinstalled, a snapshot loaded): remove {self.seen.path} to accept that",
        )

    def _chain(self, head: Head, start: int, seen: Seen | None) -> Iterator[Meta]:
        """Yield all messages from the group of `start` on; what was yielded is proven when this ends."""
        metas = _Metas(self.zone, head.max_id)
        chain = b""
        goes_on = seen is None or not start <= seen.max_id + 1 <= head.max_id
        for group in self._groups(head, start):
            if not chain:
                chain = group.chain
                self._check_start(head, start, chain)
            if seen is not None and group.first_id == seen.max_id + 1:
                if chain != seen.head:
                    raise self._other_history(seen)
                goes_on = True
            found = list(metas.take(group.readable, group.last_id))
            chain = _after_group(chain, group, found)
            yield from found
        if chain != head.head:
            raise ProofError(
                f"the chain over messages {start} to {head.max_id} does not end in the certified head: ids, keys, "
                "hashes, senders or times were altered, or messages are withheld, reordered or added",
                _LIES,
            )
        if seen is not None and not goes_on:
            raise self._other_history(seen)

    def _check_start(self, head: Head, start: int, chain: bytes) -> None:
        if len(chain) != CHAIN_BYTES:
            raise ProofError(f"the chain value before message {start} has {len(chain)} bytes, not 32", _LIES)
        if start == head.first_id and chain != head.anchor:
            raise ProofError(
                f"the chain before message {start} is not the certified head's anchor: "
                "messages are withheld at the start, or others put there",
                _LIES,
            )

    def _groups(self, head: Head, start: int) -> Iterator[_Group]:
        """Yield the groups up to the head, from the one that holds `start` on."""
        at, pending = start, None
        while at <= head.max_id:
            fresh = False
            for entry in self.zone.digest_page(at):
                if entry.first_id > head.max_id:
                    break
                if pending is not None and entry.first_id <= pending.first_id:
                    continue
                if pending is not None:
                    yield _group(pending, entry.first_id - 1)
                # Messages that should be there may not pass as gone: only what comes before `start` may be.
                readable = entry.first_id + len(entry.gone) // MARK_BYTES
                needed = start if pending is None else entry.first_id
                if readable > needed:
                    raise UnprovenYetError(f"messages {needed} to {readable - 1} are withheld", _RETRY)
                pending, fresh = entry, True
            if pending is None:
                raise UnprovenYetError(f"the digests of messages {start} to {head.max_id} are withheld", _RETRY)
            at = pending.first_id + 1 if fresh else head.max_id + 1
        if pending is not None:
            yield _group(pending, head.max_id)


@dataclass(frozen=True)
class _Group:
    """A group of the chain: the chain value before it, its ids, and the first id of it that is stored."""

    chain: bytes
    first_id: int
    last_id: int
    gone: bytes
    readable: int


def _group(entry: DigestEntry, last_id: int) -> _Group:
    readable = entry.first_id + len(entry.gone) // MARK_BYTES
    return _Group(entry.chain, entry.first_id, last_id, entry.gone, readable)


def _after_group(chain: bytes, group: _Group, metas: list[Meta]) -> bytes:
    """Return the chain's value after a group whose stored messages these are."""
    ids = f"messages {group.first_id} to {group.last_id}"
    if not metas:
        raise ProofError(f"{ids} are said to be gone, but the certified head has them", _LIES)
    timestamp, sender = metas[0].timestamp, metas[0].sender
    for meta in metas:
        if len(meta.key_id) != KEY_ID_BYTES or len(meta.hash) != HASH_BYTES or len(meta.sender) > PRINCIPAL_BYTES:
            raise ProofError(f"message {meta.id} has a key, a hash or a sender of a wrong length", _LIES)
        if (meta.timestamp, meta.sender) != (timestamp, sender):
            raise ProofError(f"{ids} came in one call, but differ in sender or time", _LIES)
    return chained(chain, group.first_id, timestamp, sender, [group.gone, *map(_mark, metas)])


class _Metas:
    """Messages without ciphertexts, in the order of their ids, a page at a time."""

    def __init__(self, zone: Zone, max_id: int) -> None:
        self._zone = zone
        self._max_id = max_id
        self._page: list[Meta] = []
        self._at = 0

    def take(self, first: int, last: int) -> Iterator[Meta]:
        """Yield those with ids from `first` to `last`, which follow those taken before."""
        for message_id in range(first, last + 1):
            if self._at == len(self._page):
                self._page, self._at = self._zone.metas(message_id, self._max_id), 0
            if self._at == len(self._page) or self._page[self._at].id != message_id:
                raise UnprovenYetError(f"message {message_id} is withheld: the certified head has it", _RETRY)
            yield self._page[self._at]
            self._at += 1


def head_digest(head: Head) -> bytes:
    """Return the 32 bytes that the zone certifies for a head."""
    ends = HEAD_ENDS.pack(head.first_id, head.anchor, head.max_id, head.head)
    return hashlib.sha256(HEAD_DOMAIN + ends).digest()


def chained(chain: bytes, first_id: int, timestamp: int, sender: bytes, marks: list[bytes]) -> bytes:
    """Return the chain's value after a group of messages, which one call added: see docs/verification.md."""
    ends = (chain, IDS.pack(first_id, timestamp), bytes([len(sender)]), sender)
    return hashlib.sha256(b"".join((*ends, *marks))).digest()


def _mark(meta: Meta) -> bytes:
    return _KEY_MARK + meta.key_id + _HASH_MARK + meta.hash


def _check_message(message: Message, meta: Meta) -> None:
    """Raise ProofError unless a message is the one that was proven."""
    if message.id != meta.id:
        raise ProofError(f"message {meta.id} is withheld: the reply has {message.id} in its place", _LIES)
    digest = hashlib.sha256(message.ciphertext).digest()
    if digest != meta.hash:
        raise ProofError(
            f"message {meta.id}: its ciphertext has the SHA-256 {digest.hex()}, the chain has {meta.hash.hex()}", _LIES
        )
    if (message.key_id, message.timestamp) != (meta.key_id, meta.timestamp):
        raise ProofError(f"message {meta.id}: its key or time is not the one in the chain", _LIES)
