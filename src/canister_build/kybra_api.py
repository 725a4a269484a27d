"""What `from kybra import ...` offers, as tables: names, `ic` functions, map methods, types.

Not an implementation: under Kybra the names are Kybra's, on the template the template's.
"""

from __future__ import annotations

from .candid.types import BLOB, NULL, Field, Prim, Record, Ref, Type, Variant

DECORATORS = frozenset({"query", "update", "init", "post_upgrade", "pre_upgrade", "heartbeat", "inspect_message"})
HOOKS = DECORATORS - {"query", "update"}
SERVICE_DECORATORS = frozenset({"service_query", "service_update"})
TYPE_BASES = frozenset({"Record", "Variant", "Service"})

TYPE_NAMES: dict[str, Type] = {
    **{name: Prim(name) for name in ("bool", "empty", "float32", "float64", "null", "reserved", "text")},
    **{f"{sign}{bits}": Prim(f"{sign}{bits}") for sign in ("int", "nat") for bits in ("", "8", "16", "32", "64")},
    "blob": BLOB,
    "Principal": Prim("principal"),
    "str": Prim("text"),
}
"""Annotations that stand for a Candid type by themselves; `void` is none: it is the absence of a result."""


def _cases(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, NULL) for name in names)


DECLARED_TYPES: dict[str, Type] = {
    "Duration": Prim("nat64"),
    "GuardResult": Variant((Field("Ok", NULL), Field("Err", Prim("text")))),
    "KeyTooLarge": Record((Field("given", Prim("nat32")), Field("max", Prim("nat32")))),
    "NotifyResult": Variant((Field("Ok", NULL), Field("Err", Ref("RejectionCode")))),
    "RejectionCode": Variant(
        _cases(
            "NoError",
            "SysFatal",
            "SysTransient",
            "DestinationInvalid",
            "CanisterReject",
            "CanisterError",
            "Unknown",
        )
    ),
    "Stable64GrowResult": Variant((Field("Ok", Prim("nat64")), Field("Err", Ref("StableMemoryError")))),
    "StableGrowResult": Variant((Field("Ok", Prim("nat32")), Field("Err", Ref("StableMemoryError")))),
    "StableMemoryError": Variant(_cases("OutOfMemory", "OutOfBounds")),
    "TimerId": Prim("nat64"),
    "ValueTooLarge": Record((Field("given", Prim("nat32")), Field("max", Prim("nat32")))),
}
"""Types Kybra declares itself, usable in a canister's signatures and reserved as names."""

NAMES = (
    DECORATORS
    | SERVICE_DECORATORS
    | TYPE_BASES
    | frozenset(TYPE_NAMES) - {"bool", "int", "str"}
    | frozenset(DECLARED_TYPES)
    | {"Alias", "Async", "CallResult", "CandidError", "Error", "Func", "FuncTuple", "GuardType", "Manual"}
    | {"Oneway", "Opt", "Query", "StableBTreeMap", "Tuple", "Update", "Vec", "ic", "match", "void"}
)
"""What a canister may import from `kybra`."""

IC_FUNCTIONS = frozenset(
    {
        *("accept_message", "arg_data_raw", "arg_data_raw_size", "call_raw", "call_raw128", "caller"),
        *("candid_decode", "candid_encode", "canister_balance", "canister_balance128", "clear_timer"),
        *("data_certificate", "id", "method_name", "msg_cycles_accept", "msg_cycles_accept128"),
        *("msg_cycles_available", "msg_cycles_available128", "msg_cycles_refunded", "msg_cycles_refunded128"),
        *("notify_raw", "performance_counter", "print", "reject", "reject_code", "reject_message", "reply"),
        *("reply_raw", "set_certified_data", "set_timer", "set_timer_interval", "stable64_grow", "stable64_read"),
        *("stable64_size", "stable64_write", "stable_bytes", "stable_grow", "stable_read", "stable_size"),
        *("stable_write", "time", "trap"),
    }
)
MAP_METHODS = frozenset({"contains_key", "get", "insert", "is_empty", "items", "keys", "len", "remove", "values"})

STANDARD_MODULES: dict[str, frozenset[str] | None] = {
    "__future__": frozenset({"annotations"}),
    "builtins": None,
    "hashlib": frozenset({"sha224", "sha256"}),
    "struct": frozenset({"Struct", "calcsize", "error", "iter_unpack", "pack", "pack_into", "unpack", "unpack_from"}),
    "sys": frozenset({"implementation"}),
    "typing": frozenset(
        {
            *("TYPE_CHECKING", "Any", "Callable", "ClassVar", "Final", "Generator", "Generic", "Iterable"),
            *("Iterator", "Literal", "Mapping", "NoReturn", "Optional", "Protocol", "Sequence", "TypeVar"),
            *("Union", "cast"),
        }
    ),
}
"""Standard modules both builders have, with the names that may be used of each (None: all)."""

RUST_NAMES = frozenset(
    {
        *("Result", "Option", "String", "Self", "abstract", "as", "async", "await", "become", "box", "break"),
        *("const", "continue", "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for"),
        *("if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub"),
        *("ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof"),
        *("unsafe", "unsized", "use", "virtual", "where", "while", "yield"),
    }
)
