"""The Candid types of the zone canister's interface, as the wire contract declares them.

Declarations only. Units: `timestamp` in seconds since 1970, ids from 1, `key_id` 41 bytes, `hash` 32 bytes.
"""

from kybra import Opt, Principal, Record, Tuple, Variant, Vec, blob, nat, nat32, text


class ZoneInit(Record):
    zone_id: text
    rpc_host: text
    rpc_path: text
    cycles_requester_id: Principal
    call_token: Opt[blob]


class HttpHeader(Record):
    name: text
    value: text


class HttpResponse(Record):
    status: nat
    headers: Vec[HttpHeader]
    body: blob


class TransformArgs(Record):
    response: HttpResponse
    context: blob


class Nat32Result(Variant, total=False):
    ok: nat32
    err: text


class Nat32ListResult(Variant, total=False):
    ok: Vec[nat32]
    err: text


class Message(Record):
    id: nat32
    timestamp: nat32
    key_id: blob
    next_msg_id: nat32
    prev_msg_id: nat32
    hash: blob
    ciphertext: blob


KeyedCiphertext = Tuple[blob, blob]
