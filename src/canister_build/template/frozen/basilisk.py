"""Kybra's API for canister code on the template: what `from kybra import ...` gives.

Runs inside the canister, frozen into the template; host code cannot import it. Not for what the platform does: that is
`_basilisk_ic`, in Rust.
"""

import sys

import _basilisk_ic as _ic  # pyright: ignore[reportMissingImports]
import _candid_names as _names  # pyright: ignore[reportMissingImports]
from _candid_names import *  # noqa: F403  # pyright: ignore[reportMissingImports]

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    *_names.__all__,
    "CallResult",
    "CandidError",
    "Error",
    "Principal",
    "Service",
    "StableBTreeMap",
    "ic",
    "match",
    "service_query",
    "service_update",
]


class Error(Exception):
    """Base of Kybra's exceptions."""


class CandidError(Error):
    """Text or bytes that are not Candid."""


# --- principals


class Principal:
    """A principal by its bytes, at most 29."""

    __slots__ = ("bytes",)

    def __init__(self, bytes=b""):
        self.bytes = bytes

    @staticmethod
    def from_str(text):
        """The principal a text stands for; raises ValueError for any other text."""
        return Principal(_ic.principal_from_text(text))

    @staticmethod
    def from_hex(text):
        """The principal with these bytes in hex."""
        return Principal(bytes.fromhex(text))

    @staticmethod
    def management_canister():
        """The principal of the management canister."""
        return Principal(b"")

    @staticmethod
    def anonymous():
        """The principal of callers who do not sign."""
        return Principal(b"\x04")

    @staticmethod
    def self_authenticating(pubkey):
        """The principal of a public key: DER bytes, or their hex."""
        from hashlib import sha224

        key = bytes.fromhex(pubkey) if isinstance(pubkey, str) else pubkey
        return Principal(sha224(key).digest() + b"\x02")

    def to_str(self):
        """The text form."""
        return _ic.principal_to_text(self.bytes)

    def to_account_id(self, sub_account=0):
        """The ledger account of this principal."""
        return _AccountIdentifier(self, sub_account)

    @property
    def hex(self):
        """The bytes in upper-case hex."""
        return self.bytes.hex().upper()

    @property
    def len(self):
        """The number of bytes."""
        return len(self.bytes)

    @property
    def isPrincipal(self):
        """True."""
        return True

    def __repr__(self):
        return "Principal(" + self.to_str() + ")"

    def __str__(self):
        return self.to_str()


class _AccountIdentifier:
    def __init__(self, principal, sub_account):
        from hashlib import sha224

        digest = sha224(b"\x0aaccount-id" + principal.bytes + sub_account.to_bytes(32, "big")).digest()
        self._hash = _ic.crc32(digest).to_bytes(4, "big") + digest

    @property
    def bytes(self):
        return self._hash

    def to_str(self):
        return "0x" + self._hash.hex()

    def __str__(self):
        return self.to_str()

    def __repr__(self):
        return "Account(" + self.to_str() + ")"


# --- calls to other canisters


class CallResult:
    """What became of a call: `Ok` is its value, or `Err` the reason there is none."""

    __slots__ = ("Err", "Ok")

    def __class_getitem__(cls, _parameters):
        return cls

    def __init__(self, ok, err):
        self.Ok = ok
        self.Err = err


class _ServiceCall:
    """A call to be yielded. `_returns` describes its results' types; None keeps the reply as it came."""

    __slots__ = ("_callee", "_cycles", "_data", "_method", "_returns")

    def __init__(self, callee, method, data, cycles, returns):
        self._callee = callee
        self._method = method
        self._data = data
        self._cycles = cycles
        self._returns = returns

    def with_cycles(self, cycles):
        """The same call with cycles attached."""
        return _ServiceCall(self._callee, self._method, self._data, cycles, self._returns)

    with_cycles128 = with_cycles

    def notify(self):
        """Sends the call without waiting for an answer."""
        return _sent(_ic.notify(self))


def _sent(code):
    return {"Err": _rejection(code)} if code else {"Ok": None}


_REJECTIONS = ("NoError", "SysFatal", "SysTransient", "DestinationInvalid", "CanisterReject", "CanisterError")


def _rejection(code):
    return {_REJECTIONS[code] if code < len(_REJECTIONS) else "Unknown": None}


class Service:
    """Another canister. The builder gives every subclass the Candid types of its methods."""

    canister_id: object = None
    _arg_types: dict = {}  # noqa: RUF012
    _return_types: dict = {}  # noqa: RUF012

    def __init__(self, canister_id):
        self.canister_id = canister_id


def service_query(function):
    """Declares a method of a Service."""
    name = function.__name__

    def call(self, *arguments):
        types = type(self)._arg_types.get(name)
        if types is None:
            raise TypeError(f"{type(self).__name__}.{name} has no declared argument types")
        try:
            data = _ic.encode(types, arguments)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}.{name}: {error}") from None
        return _ServiceCall(self.canister_id, name, data, 0, type(self)._return_types.get(name, ""))

    return call


service_update = service_query


# --- stable maps


_STORED_AS = {
    **{getattr(_names, name): name for name in ("nat", "nat8", "nat16", "nat32", "nat64")},
    **{getattr(_names, name): name for name in ("int8", "int16", "int32", "int64")},
    int: "int",
    bool: "bool",
    str: "text",
    bytes: "blob",
    Principal: "principal",
}


class StableBTreeMap:
    """`name = StableBTreeMap[K, V](memory_id=0, max_key_size=16, max_value_size=100)`: a map that survives upgrades.

    `get(key)` is the value, or None; `insert(key, value)` sets one and returns the one before, or None. Both are called
    so often that they are functions of the runtime, without a step of Python between.
    """

    __slots__ = ("_map", "get", "insert")

    _types = (None, None)

    def __class_getitem__(cls, types):
        return type("StableBTreeMap", (cls,), {"_types": types, "__slots__": ()})

    def __init__(self, memory_id, max_key_size, max_value_size):
        key, value = (_STORED_AS.get(kind, "") if isinstance(kind, type) else "" for kind in self._types)
        self._map = _ic.map_open(memory_id, key, max_key_size, value, max_value_size)
        self.get, self.insert = _ic.map_functions(self._map)

    def contains_key(self, key):
        """Whether there is an entry."""
        return _ic.map_contains(self._map, key)

    def is_empty(self):
        """Whether there are no entries."""
        return _ic.map_len(self._map) == 0

    def items(self):
        """All (key, value) pairs, in the order of the keys."""
        return _ic.map_items(self._map)

    def keys(self):
        """All keys, in order."""
        return _ic.map_keys(self._map)

    def len(self):
        """The number of entries."""
        return _ic.map_len(self._map)

    def remove(self, key):
        """Removes an entry and returns its value, or None."""
        return _ic.map_remove(self._map, key)

    def values(self):
        """All values, in the order of the keys."""
        return _ic.map_values(self._map)


# --- the system API


def _grown(before):
    return {"Err": {"OutOfMemory": None}} if before is None else {"Ok": before}


def _raw_call(canister_id, method, args_raw, payment):
    return _ServiceCall(canister_id, method, bytes(args_raw), payment, None)


def _candid(function):
    def converted(value):
        try:
            return function(value)
        except ValueError as error:
            raise CandidError(str(error)) from None

    return converted


class ic:
    """The system API under Kybra's names."""

    accept_message = _ic.accept_message
    arg_data_raw = _ic.arg_data
    arg_data_raw_size = _ic.arg_data_size
    call_raw = staticmethod(_raw_call)
    call_raw128 = staticmethod(_raw_call)
    caller = _ic.caller
    candid_decode = staticmethod(_candid(_ic.candid_decode))
    candid_encode = staticmethod(_candid(_ic.candid_encode))
    canister_balance = _ic.balance
    canister_balance128 = _ic.balance
    clear_timer = _ic.clear_timer
    data_certificate = _ic.data_certificate
    id = _ic.id
    method_name = _ic.method_name
    msg_cycles_accept = _ic.cycles_accept
    msg_cycles_accept128 = _ic.cycles_accept
    msg_cycles_available = _ic.cycles_available
    msg_cycles_available128 = _ic.cycles_available
    msg_cycles_refunded = _ic.cycles_refunded
    msg_cycles_refunded128 = _ic.cycles_refunded
    performance_counter = _ic.performance_counter
    reject = _ic.reject
    reject_message = _ic.reject_message
    reply = _ic.reply
    reply_raw = _ic.reply_raw
    set_certified_data = _ic.set_certified_data
    set_timer = _ic.set_timer
    set_timer_interval = _ic.set_timer_interval
    stable64_read = _ic.stable_read
    stable64_size = _ic.stable_size
    stable64_write = _ic.stable_write
    stable_read = _ic.stable_read
    stable_size = _ic.stable_size
    stable_write = _ic.stable_write
    time = _ic.time
    trap = _ic.trap

    @staticmethod
    def notify_raw(canister_id, method, args_raw, payment):
        """Sends a call without waiting for an answer."""
        return _sent(_ic.notify(_raw_call(canister_id, method, args_raw, payment)))

    @staticmethod
    def print(*values):
        """Writes to the debug log."""
        _ic.print(" ".join(str(value) for value in values))

    @staticmethod
    def reject_code():
        """The reject code of the answer being handled, as a RejectionCode."""
        return _rejection(_ic.reject_code())

    @staticmethod
    def stable_bytes():
        """All of stable memory."""
        return _ic.stable_read(0, _ic.stable_size() * 65_536)

    @staticmethod
    def stable64_grow(new_pages):
        """Grows stable memory by pages of 64 KiB."""
        return _grown(_ic.stable_grow(new_pages))

    stable_grow = stable64_grow


def match(variant, matcher):
    """Calls the entry of `matcher` for a variant's case, or for a CallResult's `Ok` or `Err`; `_` takes the rest."""
    if isinstance(variant, dict):
        for name, handler in matcher.items():
            if name in variant:
                return handler(variant[name])
            if name == "_":
                return handler(None)
    elif variant.Err is not None:
        return matcher["Err"](variant.Err)
    else:
        return matcher["Ok"](variant.Ok)
    raise Error("no case of the matcher fits")


class _DebugLog:
    """Where `print` goes: the platform's debug log, line by line."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self):
        self._line = ""

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _ic.print(line)
        return len(text)

    def flush(self):
        pass


sys.stdout = sys.stderr = _DebugLog()  # pyright: ignore[reportAttributeAccessIssue]
sys.modules["kybra"] = sys.modules[__name__]
