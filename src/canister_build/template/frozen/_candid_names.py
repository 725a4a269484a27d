"""The names of Candid types and of decorators, as Kybra's sources use them.

Runs inside the canister, frozen into the template. The builder has read annotations and decorators from the source;
here they only have to exist. Not for values: those are `_basilisk_ic`'s.
"""

__all__ = [
    "Alias",
    "Async",
    "Duration",
    "Func",
    "FuncTuple",
    "GuardResult",
    "GuardType",
    "KeyTooLarge",
    "Manual",
    "NotifyResult",
    "Oneway",
    "Opt",
    "Query",
    "Record",
    "RejectionCode",
    "Stable64GrowResult",
    "StableGrowResult",
    "StableMemoryError",
    "TimerId",
    "Tuple",
    "Update",
    "ValueTooLarge",
    "Variant",
    "Vec",
    "blob",
    "empty",
    "float32",
    "float64",
    "heartbeat",
    "init",
    "inspect_message",
    "int8",
    "int16",
    "int32",
    "int64",
    "nat",
    "nat8",
    "nat16",
    "nat32",
    "nat64",
    "null",
    "post_upgrade",
    "pre_upgrade",
    "query",
    "reserved",
    "text",
    "update",
    "void",
]


class _Typed:
    """A name that may be subscripted in annotations."""

    def __class_getitem__(cls, _parameters):
        return cls


class nat8(int):
    """The Candid type nat8; its values are plain ints."""


class nat16(int):
    """The Candid type nat16; its values are plain ints."""


class nat32(int):
    """The Candid type nat32; its values are plain ints."""


class nat64(int):
    """The Candid type nat64; its values are plain ints."""


class nat(int):
    """The Candid type nat; its values are plain ints."""


class int8(int):
    """The Candid type int8; its values are plain ints."""


class int16(int):
    """The Candid type int16; its values are plain ints."""


class int32(int):
    """The Candid type int32; its values are plain ints."""


class int64(int):
    """The Candid type int64; its values are plain ints."""


float32 = float64 = float
text = str
blob = bytes
null = void = None
Vec = list
Tuple = tuple
FuncTuple = tuple
GuardResult = dict
TimerId = Duration = nat64


class Record(dict):
    """Base of declared records, which are plain dicts."""

    def __init_subclass__(cls, **_keywords):
        """Takes `total=False` and the like, as the typing module's does."""


class Variant(dict):
    """Base of declared variants, which are dicts with one key."""

    def __init_subclass__(cls, **_keywords):
        """Takes `total=False` and the like, as the typing module's does."""


class Alias(_Typed):
    """`X = Alias[T]`."""


class Async(_Typed):
    """What a method that waits returns."""


class GuardType(_Typed):
    """A guard function."""


class Manual(_Typed):
    """The result of a method that replies itself."""


class Oneway(_Typed):
    """A method without a result."""


class Opt(_Typed):
    """A value or None."""


class Query(_Typed):
    """A query method, for `Func`."""


class Update(_Typed):
    """An update method, for `Func`."""


class empty(_Typed):
    """The type without values."""


class reserved(_Typed):
    """The type of anything."""


class KeyTooLarge(Record):
    """Kybra's record of that name."""


class ValueTooLarge(Record):
    """Kybra's record of that name."""


class NotifyResult(Variant):
    """`{"Ok": None}` or `{"Err": RejectionCode}`."""


class RejectionCode(Variant):
    """One of Kybra's names for the platform's reject codes."""


class StableGrowResult(Variant):
    """`{"Ok": pages before}` or `{"Err": StableMemoryError}`."""


class Stable64GrowResult(Variant):
    """`{"Ok": pages before}` or `{"Err": StableMemoryError}`."""


class StableMemoryError(Variant):
    """`{"OutOfMemory": None}` or `{"OutOfBounds": None}`."""


def Func(_signature):
    """A func type; its values are (Principal, method name)."""
    return tuple


def _decorator(function=None, **_options):
    if function is not None:
        return function
    return lambda decorated: decorated


query = update = init = post_upgrade = pre_upgrade = heartbeat = inspect_message = _decorator
