"""Replies with messages, put together from the bytes in which messages are stored.

Building them as Python records would cost ten times as much. Not for other replies: those are encoded as declared.
The type tables are written by hand in Candid's binary form: the store's tests decode every reply by the checked-in
interface.
"""

from zone_canister.message_pages import leb128

NAT = b"\x7d"
NAT8 = b"\x7b"
NAT32 = b"\x79"
BOOL = b"\x7e"
PRINCIPAL = b"\x68"
OPT = b"\x6e"
VEC = b"\x6d"
RECORD = b"\x6c"


def field_hash(name: str) -> int:
    """The number that stands for a record's field on the wire."""
    value = 0
    for byte in name.encode():
        value = (value * 223 + byte) & 0xFFFFFFFF
    return value


def record_type(fields: dict[str, bytes]) -> bytes:
    """A record type; `fields` gives each field's type, a primitive's code or an index into the table."""
    ordered = sorted((field_hash(name), code) for name, code in fields.items())
    return RECORD + leb128(len(ordered)) + b"".join(leb128(number) + code for number, code in ordered)


def header(types: list[bytes], result: int) -> bytes:
    """The start of a message with one value, of the type with this index."""
    return b"DIDL" + leb128(len(types)) + b"".join(types) + b"\x01" + leb128(result)


BLOB_TYPE = VEC + NAT8
MESSAGE_TYPE = record_type(
    {
        "id": NAT32,
        "timestamp": NAT32,
        "key_id": b"\x00",
        "next_msg_id": NAT32,
        "prev_msg_id": NAT32,
        "hash": b"\x00",
        "ciphertext": b"\x00",
    }
)
META_TYPE = record_type({"id": NAT32, "timestamp": NAT32, "key_id": b"\x00", "hash": b"\x00", "sender": PRINCIPAL})
SINCE_TYPE = record_type(
    {"messages": b"\x02", "next_after_id": NAT32, "complete": BOOL, "min_id": NAT32, "max_id": NAT32}
)
MESSAGE = header([BLOB_TYPE, MESSAGE_TYPE], 1)
OPT_MESSAGE = header([BLOB_TYPE, MESSAGE_TYPE, OPT + b"\x01"], 2)
MESSAGES = header([BLOB_TYPE, MESSAGE_TYPE, VEC + b"\x01"], 2)
METAS = header([BLOB_TYPE, META_TYPE, VEC + b"\x01"], 2)
SINCE = header([BLOB_TYPE, MESSAGE_TYPE, VEC + b"\x01", SINCE_TYPE], 3)


def message(record: bytes) -> bytes:
    """The reply with one message."""
    return MESSAGE + record


def optional_message(record: bytes) -> bytes:
    """The reply with a message, or null for no bytes."""
    return OPT_MESSAGE + (b"\x01" + record if record else b"\x00")


def messages(count: int, records: list[bytes]) -> bytes:
    """The reply with `count` messages whose records these pieces are."""
    return b"".join((MESSAGES, leb128(count), *records))


def metas(count: int, records: list[bytes]) -> bytes:
    """The reply with messages' ids, keys, hashes, senders and times; see `meta`."""
    return b"".join((METAS, leb128(count), *records))


def meta(record: bytes, sender: bytes) -> bytes:
    """What a reply says of a stored record without its ciphertext."""
    values = {
        "id": record[:4],
        "timestamp": record[-4:],
        "key_id": record[-83:-41],
        "hash": record[-41:-8],
        "sender": b"\x01" + bytes([len(sender)]) + sender,
    }
    return b"".join([values[name] for name in META_ORDER])


META_ORDER = sorted(("id", "timestamp", "key_id", "hash", "sender"), key=field_hash)
SINCE_ORDER = sorted(("messages", "next_after_id", "complete", "min_id", "max_id"), key=field_hash)


def since(count: int, records: list[bytes], next_after_id: int, complete: bool, min_id: int, max_id: int) -> bytes:
    """The reply of `get_messages_since`."""
    values = {
        "messages": b"".join((leb128(count), *records)),
        "next_after_id": next_after_id.to_bytes(4, "little"),
        "complete": b"\x01" if complete else b"\x00",
        "min_id": min_id.to_bytes(4, "little"),
        "max_id": max_id.to_bytes(4, "little"),
    }
    return SINCE + b"".join([values[name] for name in SINCE_ORDER])
