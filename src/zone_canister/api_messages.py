"""The zone's Candid interface: adding and reading messages."""

from kybra import Manual, Opt, Principal, Vec, blob, ic, nat32, query, update

from canister_kit.in_flight import SECOND
from zone_canister import message_wire
from zone_canister.candid_types import (
    CertifiedHead,
    DigestEntry,
    KeyedCiphertext,
    Message,
    MessageMeta,
    MessagesSince,
    Nat32ListResult,
    Nat32Result,
    SinceArgs,
)
from zone_canister.context import (
    background,
    first_layout,
    messages,
    quotas,
    require_member,
    require_member_and_batch,
    require_writing_member,
    seconds,
)
from zone_canister.message_eviction import Refused
from zone_canister.message_reader import Reader
from zone_canister.messages import MAX_MESSAGE_ID
from zone_canister.upkeep import INDEX_FAULT, INDEXED_A_CALL, certify, start_fault, work_soon

INDEXED_A_QUERY = 20_000  # a query may take 5 G


@update(guard=require_writing_member)
def add_message(key_id: blob, ciphertext: blob) -> Nat32Result:
    """Stores one message under a key and returns its id."""
    state = messages.state
    if state.next_page <= background.rest_page and not state.pending_since and not messages.limits.max_age_seconds:
        # Nothing but the message is to be looked after.
        caller, now = ic.caller().bytes, ic.time() // SECOND
        window = quotas.window(caller, now)
        message_id, taken = messages.add_one(key_id, ciphertext, caller, now, quotas.left(window))
        if message_id:
            quotas.count(caller, window, 1, taken)
            if taken:
                ic.set_certified_data(messages.certified_data())
            return {"ok": message_id}
    ids, fault = stored([(key_id, ciphertext)], True)
    return {"err": fault} if fault else {"ok": ids[0]}


@update(guard=require_member_and_batch)
def add_messages(items: Vec[KeyedCiphertext]) -> Nat32ListResult:
    """Stores all messages or none, and returns their ids in order."""
    ids, fault = stored(items, False)
    return {"err": fault} if fault else {"ok": ids}


def stored(items: list[tuple[bytes, bytes]], single: bool) -> tuple[list[int], str]:
    """Adds messages for the caller: their ids, or why none was stored."""
    caller, now = ic.caller().bytes, seconds()
    fault = messages.fault(items, single)
    if fault:
        return [], fault
    fault = start_fault(INDEXED_A_CALL)
    if fault:
        work_soon()
        return [], fault
    if messages.expire(now):
        certify()
    window = quotas.window(caller, now)
    # Before anything is hashed: a member who has used his quota up cannot make the zone work.
    fault = quotas.fault(window, len(items), 0, now)
    if fault:
        return [], fault
    batch = messages.prepare(items)
    fault = quotas.fault(window, len(items), batch.size, now)
    if fault:
        return [], fault
    if batch.fresh:
        try:
            messages.add(batch, caller, now)
        except Refused as refused:
            work_soon()
            return [], str(refused)
        certify()
    quotas.count(caller, window, len(items), batch.size)
    state = messages.state
    if state.pending_since or messages.limits.max_age_seconds or state.next_page > background.rest_page:
        work_soon()
    return batch.ids, ""


@query(guard=require_member)
def get_message_by_id(message_id: nat32) -> Manual[Message]:
    """One message; rejects when there is none with this id."""
    reader = reader_or_reject()
    if reader is not None:
        record = reader.message(message_id)
        if record:
            ic.reply_raw(message_wire.message(record))
        else:
            ic.reject(f"message not found: {message_id}")


@query(guard=require_member)
def get_message_by_hash(message_hash: blob) -> Manual[Opt[Message]]:
    """The newest message whose ciphertext has this SHA-256."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply_raw(message_wire.optional_message(reader.by_hash(message_hash)))


@query(guard=require_member)
def get_messages_by_range(min_message_id: nat32, max_message_id: nat32) -> Manual[Vec[Message]]:
    """Messages with ids in a range, oldest first, as many as a reply holds."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply_raw(message_wire.messages(*reader.by_range(min_message_id, max_message_id, MAX_MESSAGE_ID)))


@query(guard=require_member)
def get_messages_by_range_for_key(key_id: blob, min_message_id: nat32, max_message_id: nat32) -> Manual[Vec[Message]]:
    """Messages of one key with ids in a range, newest first, as many as a reply holds."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply_raw(message_wire.messages(*reader.by_range_for_key(key_id, min_message_id, max_message_id)))


@query(guard=require_member)
def get_messages_since(args: SinceArgs) -> Manual[MessagesSince]:
    """Messages after an id, oldest first, of one key or all, and what a client needs to go on."""
    reader = reader_or_reject()
    if reader is not None:
        most = MAX_MESSAGE_ID if args["limit"] is None else max(1, args["limit"])
        count, records, next_after_id, complete = reader.since(args["after_id"], args["key_id"], most)
        ic.reply_raw(message_wire.since(count, records, next_after_id, complete, reader.min_id, messages.state.last_id))


@query(guard=require_member)
def get_messages_meta_by_range(min_message_id: nat32, max_message_id: nat32) -> Manual[Vec[MessageMeta]]:
    """Ids, keys, hashes, senders and times of messages with ids in a range, as many as a reply holds."""
    reader = Reader(messages, seconds())
    ic.reply_raw(message_wire.metas(*reader.metas(min_message_id, max_message_id)))


@query(guard=require_member)
def get_message_sender(message_id: nat32) -> Opt[Principal]:
    """Who sent a message, null when there is none with this id."""
    sender = Reader(messages, seconds()).sender(message_id)
    return None if sender is None else Principal.from_hex(sender.hex())


@query(guard=require_member)
def get_certified_head() -> CertifiedHead:
    """Where the messages begin and end and their digest chain, with the certificate over it where there is one."""
    head = messages.state
    return {
        "first_id": head.first_id,
        "anchor": head.anchor,
        "max_id": head.last_id,
        "head": head.head,
        "certificate": ic.data_certificate(),
    }


@query(guard=require_member)
def get_digest_page(from_id: nat32) -> Vec[DigestEntry]:
    """The groups in which the digest chain takes messages in, from the one that holds an id on."""
    entries = Reader(messages, seconds()).digest_page(from_id)
    return [{"first_id": first_id, "chain": chain, "gone": gone} for first_id, chain, gone in entries]


@query
def get_min_message_id() -> nat32:
    """The first id stored, 0 when there is none."""
    return Reader(messages, seconds()).min_id


@query
def get_max_message_id() -> nat32:
    """The last id given out, 0 when there is none."""
    return messages.state.last_id


@query(guard=require_member)
def get_min_message_id_by_key(key_id: blob) -> Manual[Opt[nat32]]:
    """The first id stored under a key."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply(reader.oldest_of_key(key_id, 1) or None)


@query(guard=require_member)
def get_max_message_id_by_key(key_id: blob) -> Manual[Opt[nat32]]:
    """The last id stored under a key."""
    reader = reader_or_reject()
    if reader is not None:
        ic.reply(reader.newest_of_key(key_id, MAX_MESSAGE_ID) or None)


def reader_or_reject() -> Reader | None:
    """A reader of the messages; rejects while their index is being made again."""
    if messages.unindexed or first_layout.is_pending:
        # What a query indexes is forgotten with it, so it begins only what it can end.
        fault = INDEX_FAULT if messages.unindexed > INDEXED_A_QUERY else start_fault(INDEXED_A_QUERY)
        if fault:
            ic.reject(fault)
            return None
    return Reader(messages, seconds())
