"""Candid subtyping: may a new interface stand where an old one is expected?

Follows the rules of the Candid specification, recursive types included. Not for values: it never looks at a message.
"""

from __future__ import annotations

from dataclasses import dataclass

from .parse import parse
from .render import type_text
from .types import (
    Arg,
    Field,
    Func,
    Interface,
    Opt,
    Prim,
    Record,
    Ref,
    Service,
    Type,
    Variant,
    Vec,
)

INIT = "(init)"


@dataclass(frozen=True)
class Problem:
    """Why callers of one method written for the old interface would break on the new one."""

    method: str
    """The method's name, or `INIT` for the installation argument."""
    message: str

    def __str__(self) -> str:
        return f"{self.method}: {self.message}"


def compatible(
    ours_did: str,
    contract_did: str,
    *,
    allow_lossy_opt: bool = False,
    oneway_as_void: bool = False,
    ignore: frozenset[str] = frozenset(),
) -> list[Problem]:
    """What keeps the interface `ours_did` from serving clients of `contract_did`, method by method; [] if nothing.

    `oneway_as_void`: our `(..) -> ()` may stand where the contract has `(..) -> () oneway`.
    `allow_lossy_opt`: also accept what Candid permits by turning a value into null (`text` where `opt nat` is read).
    `ignore`: contract methods that are not looked at. Raises `CandidError` if a text is no Candid.
    """
    ours, contract = parse(ours_did), parse(contract_did)
    problems: list[Problem] = []
    our_methods = ours.methods()
    for name, theirs in contract.methods().items():
        if name in ignore:
            continue
        mine = our_methods.get(name)
        if mine is None:
            problems.append(Problem(name, "is missing"))
            continue
        if oneway_as_void and theirs.mode == "oneway" and mine.mode is None and not mine.results:
            theirs = Func(theirs.args, theirs.results)
        reason = _Check(ours, contract, allow_lossy_opt).subtype(mine, theirs)
        if reason is not None:
            problems.append(Problem(name, reason))
    reason = _Check(contract, ours, allow_lossy_opt).args(contract.init or (), ours.init or ())
    if reason is not None:
        problems.append(Problem(INIT, reason))
    return problems


def subtype_reason(sub: Type, sup: Type, env: Interface | None = None, *, allow_lossy_opt: bool = True) -> str | None:
    """None if `sub` is a subtype of `sup` (names of both are looked up in `env`), else why it is not."""
    env = env or Interface({}, Service(()))
    return _Check(env, env, allow_lossy_opt).subtype(sub, sup)


class _Check:
    """`left` is where names of the would-be subtype live, `right` those of the supertype.

    A pair of types that is being compared is taken as compatible when it is met again inside itself: that is what
    makes recursive types comparable. No rule tries a pair, fails and goes on, so a pair wrongly assumed
    always ends in an answer that is negative as a whole; hence one check for each question.
    """

    def __init__(self, left: Interface, right: Interface, lossy: bool, partner: _Check | None = None) -> None:
        self.left = left
        self.right = right
        self.lossy = lossy
        self.assumed: set[tuple[Type, Type]] = set()
        # The same question with the roles exchanged, as a function's arguments need it.
        self.flipped = partner or _Check(right, left, lossy, self)

    def subtype(self, sub: Type, sup: Type) -> str | None:
        """None if `sub` is a subtype of `sup`, else why it is not."""
        if isinstance(sub, Ref) or isinstance(sup, Ref):
            if (sub, sup) in self.assumed:
                return None
            self.assumed.add((sub, sup))
            return self.subtype(self.left.resolve(sub), self.right.resolve(sup))
        if sup == Prim("reserved") or sub == Prim("empty"):
            return None
        if isinstance(sup, Opt):
            return self.opt(sub, sup)
        if isinstance(sub, Prim) and isinstance(sup, Prim):
            fits = sub == sup or (sub.name, sup.name) == ("nat", "int")
            return None if fits else f"{sub.name} is no {sup.name}"
        if isinstance(sub, Vec) and isinstance(sup, Vec):
            return _inside("vec", self.subtype(sub.inner, sup.inner))
        if isinstance(sub, Record) and isinstance(sup, Record):
            return self.record(sub, sup)
        if isinstance(sub, Variant) and isinstance(sup, Variant):
            return self.variant(sub, sup)
        if isinstance(sub, Func) and isinstance(sup, Func):
            return self.func(sub, sup)
        if isinstance(sub, Service) and isinstance(sup, Service):
            return self.service(sub, sup)
        return f"{type_text(sub)} is no {type_text(sup)}"

    def opt(self, sub: Type, sup: Opt) -> str | None:
        if self.lossy or sub == Prim("null"):
            return None
        if sub == Prim("reserved"):
            return f"reserved always reads as null where {type_text(sup)} is expected"
        return _inside("opt", self.subtype(sub.inner if isinstance(sub, Opt) else sub, sup.inner))

    def record(self, sub: Record, sup: Record) -> str | None:
        have = {f.id: f for f in sub.fields}
        for wanted in sup.fields:
            mine = have.get(wanted.id)
            if mine is None:
                if not self.may_be_absent(wanted.type):
                    return f"field {wanted.label} : {type_text(wanted.type)} is missing"
            elif (reason := self.subtype(mine.type, wanted.type)) is not None:
                return _inside(f"field {wanted.label}", reason)
        return None

    def may_be_absent(self, type_: Type) -> bool:
        resolved = self.right.resolve(type_)
        return isinstance(resolved, Opt) or resolved in (Prim("null"), Prim("reserved"))

    def variant(self, sub: Variant, sup: Variant) -> str | None:
        known = {f.id: f for f in sup.fields}
        for case in sub.fields:
            wanted = known.get(case.id)
            if wanted is None:
                return f"case {case.label} is unknown to the reader"
            if (reason := self.subtype(case.type, wanted.type)) is not None:
                return _inside(f"case {case.label}", reason)
        return None

    def args(self, sub: tuple[Arg, ...], sup: tuple[Arg, ...]) -> str | None:
        """Argument lists compare like tuples: the reader may take fewer, and absent ones must be optional."""
        return self.record(_tuple(sub), _tuple(sup))

    def func(self, sub: Func, sup: Func) -> str | None:
        if sub.mode != sup.mode:
            return f"is {sub.mode or 'an update'} where {sup.mode or 'an update'} is expected"
        reason = self.flipped.args(sup.args, sub.args)
        if reason is not None:
            return _inside("argument", reason)
        return _inside("result", self.args(sub.results, sup.results))

    def service(self, sub: Service, sup: Service) -> str | None:
        have = {m.name: m.type for m in sub.methods}
        for wanted in sup.methods:
            if wanted.name not in have:
                return f"method {wanted.name} is missing"
            if (reason := self.subtype(have[wanted.name], wanted.type)) is not None:
                return _inside(f"method {wanted.name}", reason)
        return None


def _tuple(args: tuple[Arg, ...]) -> Record:
    return Record(tuple(Field(i, a.type) for i, a in enumerate(args)))


def _inside(where: str, reason: str | None) -> str | None:
    return None if reason is None else f"{where}: {reason}"
