"""Source of the canister that the tests of the template run: one method for each thing to be shown.

Not a model for canisters: it does what they should not.
"""

MAIN = """
import hashlib
from kybra import (
    Async, Func, GuardResult, Manual, Opt, Principal, Query, Record, Service, StableBTreeMap, Tuple, Variant, Vec,
    blob, float64, ic, init, int16, int32, nat, nat8, nat16, nat32, nat64, null, post_upgrade, pre_upgrade, query,
    service_query, service_update, text, update, void,
)


class Point(Record):
    x: int32
    y: Opt[int32]
    from_: text


class Shape(Variant, total=False):
    circle: nat
    point: Point
    nothing: null


class Node(Record):
    value: nat8
    next: Opt["Node"]


Pair = Tuple[blob, nat64]
Entry = Tuple[nat64, blob]
Transform = Func(Query[[nat], nat])


class Settings(Record):
    controllers: Opt[Vec[Principal]]
    threshold: Opt[nat]


class Other(Service):
    @service_query
    def get(self, key: text) -> nat: ...

    @service_update
    def configure(self, settings: Settings, note: Opt[text]) -> void: ...

    @service_update
    def both(self, a: nat8, b: blob) -> Point: ...


numbers = StableBTreeMap[nat64, blob](memory_id=0, max_key_size=16, max_value_size=300)
texts = StableBTreeMap[text, Point](memory_id=1, max_key_size=40, max_value_size=300)
blobs = StableBTreeMap[blob, nat32](memory_id=2, max_key_size=40, max_value_size=16)
signed = StableBTreeMap[int16, text](memory_id=3, max_key_size=16, max_value_size=40)
big = StableBTreeMap[nat, bool](memory_id=4, max_key_size=200, max_value_size=16)
large = StableBTreeMap[nat64, blob](memory_id=5, max_key_size=16, max_value_size=5000)
notes = StableBTreeMap[text, Point](memory_id=6, max_key_size=40, max_value_size=2000)
events = []


@init
def init_(greeting: Opt[text]) -> void:
    events.append(f"init {greeting}")


@post_upgrade
def post_upgrade_() -> void:
    events.append("post_upgrade")


@pre_upgrade
def pre_upgrade_() -> void:
    numbers.insert(99, b"saved")


@query
def seen() -> Vec[text]:
    return events


@query
def nothing() -> void:
    pass


@query
def point(p: Point) -> Point:
    return p


@query
def shape(s: Shape) -> Shape:
    return s


@query
def node(n: Node) -> nat8:
    total = 0
    while n is not None:
        total += n["value"]
        n = n["next"]
    return total


@query
def described(a: nat, b: blob, c: Opt[text], d: Principal, e: Pair) -> text:
    return " ".join([type(a).__name__, repr(b), repr(c), type(d).__name__, d.to_str(), repr(e)])


@query
def integer(value: int) -> int:
    return value


@query
def real(value: float64) -> float64:
    return value


@query
def optional(value: Opt[nat32]) -> Opt[nat32]:
    return value


@query
def needs_blob(value: blob) -> nat64:
    return len(value)


@query
def units(value: Vec[null]) -> nat64:
    return len(value)


@query
def pairs(value: Vec[Pair]) -> nat64:
    return len(value)


@query
def bad_nat8() -> nat8:
    return 256


@query
def bad_record() -> Point:
    return {"x": 1, "from_": "here"}


@query
def bad_list() -> Vec[nat]:
    return (1, 2)


@query
def float_wanted() -> float64:
    return 1


@query
def blob_of_list() -> blob:
    return [1, 2, 255]


@query
def raises() -> nat:
    raise ValueError("on purpose")


@query
def traps() -> nat:
    try:
        ic.trap("trapped on purpose")
    except Exception:
        pass
    return 1


@query
def rejects() -> Manual[nat]:
    ic.reject("rejected on purpose")


@query
def replies(value: nat) -> Manual[nat]:
    ic.reply(value + 1)


def open_guard() -> GuardResult:
    return {"Ok": None}


def shut_guard() -> GuardResult:
    return {"Err": "shut \\u2014 go away"}


def broken_guard() -> GuardResult:
    raise RuntimeError("the guard broke")


def odd_guard() -> GuardResult:
    return None


@query(guard=open_guard)
def guarded_open(value: nat) -> nat:
    return value


@update(guard=shut_guard)
def guarded_shut(value: nat) -> nat:
    events.append("ran")
    return value


@query(guard=broken_guard)
def guarded_broken() -> nat:
    return 1


@query(guard=odd_guard)
def guarded_odd() -> nat:
    return 1


@query
def sha256(data: blob) -> blob:
    return hashlib.sha256(data).digest()


@query
def sha224(data: blob) -> blob:
    return hashlib.sha224(data).digest()


@query
def imports(name: text) -> text:
    try:
        exec(f"import {name}")
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return "there"


@update
def put(key: nat64, value: blob) -> Opt[blob]:
    return numbers.insert(key, value)


@query
def get(key: nat64) -> Opt[blob]:
    return numbers.get(key)


@update
def remove(key: nat64) -> Opt[blob]:
    return numbers.remove(key)


@query
def number_keys() -> Vec[nat64]:
    return numbers.keys()


@update
def put_large(key: nat64, value: blob) -> Opt[blob]:
    return large.insert(key, value)


@query
def get_large(key: nat64) -> Opt[blob]:
    return large.get(key)


@update
def remove_large(key: nat64) -> Opt[blob]:
    return large.remove(key)


@query
def large_items() -> Vec[Entry]:
    return large.items()


@update
def run(source: text) -> text:
    exec(source)
    return "done"


@update
def evaluate(source: text) -> text:
    return repr(eval(source))


@update
def put_text(key: text, value: Point) -> void:
    texts.insert(key, value)


@query
def all_texts() -> Vec[Tuple[text, Point]]:
    return texts.items()


@update
def sorted_keys() -> text:
    for key in (b"b", b"aa", b"", b"a", b"ab"):
        blobs.insert(key, len(key))
    for key in (3, -1, 0, -300, 300):
        signed.insert(key, str(key))
    for key in (1 << 80, 5, 0, 255, 256):
        big.insert(key, True)
    return repr([blobs.keys(), signed.keys(), big.keys(), signed.values(), numbers.is_empty(), big.len()])


@update
def put_too_large(size: nat64) -> void:
    try:
        numbers.insert(1, bytes(size))
    except Exception:
        pass


@update
def ask(canister: Principal, key: text) -> Async[nat]:
    answer = yield Other(canister).get(key)
    if answer.Err is not None:
        events.append(answer.Err)
        return 0
    return answer.Ok


@update
def configure(canister: Principal) -> Async[text]:
    settings = {"controllers": None, "threshold": 5}
    answer = yield Other(canister).configure(settings, "x").with_cycles(10**18)
    return f"{answer.Ok} {answer.Err}"


def inner(canister):
    first = yield Other(canister).get("first")
    second = yield Other(canister).get("second")
    return first.Ok + second.Ok


@update
def nested(canister: Principal) -> Async[nat]:
    total = yield inner(canister)
    return total


@update
def raw(canister: Principal) -> Async[Manual[blob]]:
    answer = yield ic.call_raw128(canister, "any", ic.candid_encode('(record { a = 5 : nat8; b = "x" }, opt true)'), 7)
    ic.reply(answer.Ok)


@update
def wrong_argument(canister: Principal) -> Async[text]:
    try:
        yield Other(canister).get(5)
    except TypeError as error:
        return str(error)
    return "sent"


@update
def trap_later(canister: Principal) -> Async[nat]:
    numbers.insert(7, b"before")
    try:
        answer = yield Other(canister).get("x")
        numbers.insert(7, b"after")
        raise ValueError("too late")
    finally:
        events.append("released")


@query
def decoded(data: blob) -> text:
    return ic.candid_decode(data)


@update
def set_timers() -> void:
    ic.set_timer(10, lambda: events.append("once"))
    ic.set_timer_interval(20, lambda: events.append("again"))
    cleared = ic.set_timer(5, lambda: events.append("never"))
    ic.clear_timer(cleared)


@update
def set_broken_timer() -> void:
    ic.set_timer(1, broken_timer)


def broken_timer():
    numbers.insert(5, b"lost")
    raise ValueError("timer broke")


@query
def about() -> text:
    return f"{ic.caller()} {ic.id().to_str()} {ic.time()} {ic.canister_balance128()} {ic.method_name()}"


@update
def principals() -> text:
    p = Principal.from_str("aaaaa-aa")
    q = Principal.self_authenticating(b"key")
    try:
        Principal.from_str("aaaaa-ab")
    except Exception as error:
        return f"{p.bytes} {q.hex} {Principal.anonymous()} {error}"
    return "accepted"


@update
def print_something() -> void:
    print("one", 2)
    ic.print("three")
"""
