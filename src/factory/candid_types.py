"""The Candid types of the factory's interface: the wire contract's, and those of the factory's own methods.

Declarations only. Units: sizes in bytes, times in ns since 1970, amounts in cycles, hashes SHA-256.
"""

from kybra import Opt, Principal, Record, Variant, Vec, nat32, nat64, null, text


class ChunkResult(Variant, total=False):
    ok: nat32
    err: text


class AckResult(Variant, total=False):
    ok: null
    err: text


class AuditEntry(Record):
    number: nat64
    time: nat64
    caller: Principal
    subject: Opt[Principal]
    action: text
    details: text


class AuditPage(Record):
    entries: Vec[AuditEntry]
    next_number: nat64
