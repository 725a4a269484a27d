# pyright: reportInvalidTypeForm=false, reportArgumentType=false
"""Types of every kind, some of them used before their declaration by quoting."""

from kybra import (
    Alias,
    Func,
    Oneway,
    Opt,
    Principal,
    Query,
    Record,
    Tuple,
    Update,
    Variant,
    Vec,
    blob,
    empty,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    nat,
    nat8,
    nat16,
    nat32,
    nat64,
    null,
    reserved,
    text,
    void,
)

Seconds = Alias[nat64]
Pair = Tuple[blob, "Person"]
Callback = Func(Query[[Vec[Pair], text], Opt[nat]])
Notify = Func(Oneway[[nat8], void])
Change = Func(Update[[], Seconds])


class Numbers(Record):
    a: nat8
    b: nat16
    c: nat32
    d: nat64
    e: int
    f: int8
    g: int16
    h: int32
    i: int64
    j: float32
    k: float64


class Nothing(Record): ...


class Person(Record):
    name: str
    from_: Principal
    opt: bool
    query: null
    friends: Vec["Person"]
    born: Opt[Seconds]
    anything: reserved


class Outcome(Variant, total=False):
    ok: null
    import_: Pair
    never: empty
    err: text
