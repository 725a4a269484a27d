# pyright: reportInvalidTypeForm=false, reportArgumentType=false
"""The surface of the sample canister."""

from kybra import (
    Alias,
    Async,
    Manual,
    NotifyResult,
    Opt,
    Principal,
    RejectionCode,
    TimerId,
    Tuple,
    Vec,
    blob,
    heartbeat,
    ic,
    init,
    inspect_message,
    match,
    nat,
    nat64,
    post_upgrade,
    pre_upgrade,
    query,
    text,
    update,
    void,
)

import everything.store as store
from everything.remote import Remote
from everything.shapes import Callback, Change, Nothing, Notify, Numbers, Outcome, Person
from everything.store import VERSION, counts, digest, members_only

Height = Alias[nat]
state = {"started": 0}


@init
def start(owner: Principal, name: Opt[text]) -> void:
    state["started"] = len(name or "")


@post_upgrade
def restart() -> void:
    ic.set_timer(0, tick)


@pre_upgrade
def stop() -> void:
    pass


@heartbeat
def beat() -> Async[void]:
    yield Remote(ic.id()).ping()


@inspect_message
def inspect() -> void:
    ic.accept_message()


def tick() -> void:
    state["started"] += 1


@query
def get_version() -> nat:
    return VERSION


@query
def numbers(given: Numbers) -> Numbers:
    return given


@query(guard=members_only)
def lookup(
    who: Principal, keys: Vec[blob], pair: Tuple[nat64, text], from_: Opt[Person], empty: Nothing
) -> Opt[Person]:
    return from_


@query
def ask(service: Remote, callback: Callback, notify: Notify, change: Change) -> Async[Outcome]:
    result = yield service.look({"name": "a"})
    return match(result, {"Ok": lambda value: value, "Err": lambda text: {"err": text}})


@update
def remember(name: text, data: blob) -> Height:
    store.people.insert(name, digest(data))
    counts.insert(counts.len(), len(data))
    return counts.len()


@update(guard=members_only)
def manual(data: blob) -> Async[Manual[Tuple[nat64, text]]]:
    result = yield ic.call_raw128(ic.id(), "get_version", data, 0)
    if result.Err is not None:
        ic.reject(result.Err)
        return
    ic.reply((1, "done"))


@update
def timers() -> Vec[TimerId]:
    return [ic.set_timer_interval(1, tick)]


@update
def poke(service: Remote) -> NotifyResult:
    return service.ping().notify()


@query
def last_code() -> RejectionCode:
    return {"NoError": None}
