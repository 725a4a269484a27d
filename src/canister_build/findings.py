"""What the build says about wrong source: place, rule, what is wrong and what to write instead.

Not for faults of the tools themselves (a compiler that is missing, a template that does not build).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """One thing wrong in canister source; `rule` counts as in `RULES`."""

    path: str
    """Path below the folder that holds the packages, with `/`."""
    line: int
    rule: int
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: rule {self.rule}: {self.message}\n    {self.remedy}"


class BuildError(Exception):
    """The build cannot go on; the message is for the person who started it."""


class SourceError(BuildError):
    """The canister's source breaks rules; `findings` says which and where."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = sorted(set(findings))
        super().__init__("\n".join(str(f) for f in self.findings))


RULES = {
    1: "only syntax a 2022 Python parser knows",
    2: "top-level assignments have one plain name on the left",
    3: "decorators, types and maps are written by bare name at the top level of a module",
    4: "methods, guards and services are visible in main.py under their own names",
    5: "types, methods and guards share one namespace over all modules",
    6: "types do not have names Rust needs",
    7: "every file of a bundled package compiles",
    8: "only Candid types Kybra knows",
    9: "type aliases are written Alias[...]",
    10: "records and variants are nothing but `name: type` lines",
    11: "function types are written Func(Query[[...], ...])",
    12: "services are nothing but decorated method signatures",
    13: "methods have at most 5 annotated positional parameters and an annotated result",
    14: "one hook of each kind, returning void",
    15: "guards take nothing and return GuardResult",
    16: "calls are `yield` in a method returning Async[...]",
    18: "maps are top-level StableBTreeMap[K, V](...) with integer literals",
    19: "memory ids are unique, 0 to 254",
    20: "map keys and values are no inline tuples and not reserved",
    27: "maps have only the methods Kybra gives them",
    28: "ic has only the functions Kybra gives it",
    29: "management canister calls go through a Service of the canister's own",
    32: "a canister is its own modules, kybra and a few standard modules",
}
"""The rules by number; the gaps are rules that no source shows and only running code can break."""
