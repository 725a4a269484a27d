"""Typed calls: Candid arguments in, Candid results out, over any `zones.agent.Agent`.

Not for what the methods mean: the clients of the zone, the factory and the management canister say that.

The codec is localnet's. ic-py has one too, but it handles every byte of a blob as a value and copies the rest of the
buffer at each step: for one batch of 1 000 messages of 300 bytes it takes 0.18 s to encode and 3.0 s to decode on
two cores, growing with the square of the size (a full reply of 1.8 MB takes over a minute), against 0.01 s and 0.03 s.

Values: `record` is a dict, `variant` a pair (label, value), `opt` the value or None, `blob` and `principal` bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from localnet import candid
from localnet.candid import Type
from zones.agent import Agent
from zones.errors import RejectedError, ReplyError, UserError


@dataclass(frozen=True)
class Method:
    """A canister method: name, argument types, result types, and whether it is a query."""

    name: str
    arguments: Sequence[Type] = ()
    results: Sequence[Type] = ()
    query: bool = False

    def __call__(self, agent: Agent, canister: bytes, *values: Any, effective: bytes | None = None) -> Any:
        """Call it; returns its result, None when it has none.

        Raises UserError for a value that its type does not hold, RejectedError and NetworkError.
        """
        argument = encoded(self.name, self.arguments, values)
        if self.query:
            reply = agent.query(canister, self.name, argument)
        else:
            reply = agent.update(canister, self.name, argument, effective=effective)
        return self.read(reply)

    def read(self, reply: bytes) -> Any:
        """Return the result in a reply, None when the method has none; raises ReplyError."""
        try:
            results = candid.decode(reply, self.results)
        except candid.CandidError as error:
            raise ReplyError(
                f"{self.name}: the reply is not of the expected type: {error}",
                "does the canister have another version, or is it another canister?",
            ) from error
        return results[0] if results else None


def encoded(what: str, types: Sequence[Type], values: Sequence[Any]) -> bytes:
    """Return what a call carries; `what` names it. Raises UserError for a value that its type does not hold."""
    try:
        return candid.encode(types, values)
    except candid.CandidError as error:
        raise UserError(f"{what} takes no such value: {error}") from error


def ok_or_raise(method: str, result: tuple[str, Any]) -> Any:
    """Return the value of an `ok` result; raises RejectedError with the text of an `err`."""
    label, value = result
    if label == "ok":
        return value
    text = value if isinstance(value, str) else value[0] if value[1] is None else f"{value[0]}: {value[1]}"
    raise RejectedError(f"{method}: {text}")


def pages(read: Callable[[Any], list[dict[str, Any]]], key: str, start: Any = None) -> Iterator[dict[str, Any]]:
    """Yield the entries of all pages: each page goes on after the value that the last entry has under `key`."""
    cursor = start
    while page := read(cursor):
        yield from page
        cursor = page[-1][key]
