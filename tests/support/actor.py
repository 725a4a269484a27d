"""A canister under test, called by method name with plain values; types come from its .did file.

Records are dicts, tuples lists, variants (label, value) pairs, blobs and principals bytes.
"""

from __future__ import annotations

from typing import Any

from ic.principal import Principal

from canister_build import candid as did
from canister_build.candid import types as did_types
from localnet import candid as wire
from tests.support.network import ANONYMOUS, Network


class Actor:
    """One canister on a network; `sender` defaults to the anonymous principal."""

    def __init__(self, network: Network, canister_id: Principal, interface: str):
        self.network = network
        self.id = canister_id
        self.interface = did.parse(interface)
        self.methods = self.interface.methods()

    def encode(self, method: str, *values: Any) -> bytes:
        """The arguments of a method in Candid."""
        return wire.encode(argument_types(self.interface, method), list(values))

    def decode(self, method: str, reply: bytes) -> Any:
        """The result of a method from Candid; None for no result."""
        results = wire.decode(reply, result_types(self.interface, method))
        return results[0] if results else None

    def call(self, method: str, *values: Any, sender: Principal = ANONYMOUS) -> Any:
        """Calls a method as its mode says and returns its result."""
        payload = self.encode(method, *values)
        mode = self.methods[method].mode
        send = self.network.query if mode in ("query", "composite_query") else self.network.update
        return self.decode(method, send(self.id, method, payload, sender))

    def submit(self, method: str, *values: Any, sender: Principal = ANONYMOUS) -> Any:
        """Submits an update without waiting for it."""
        return self.network.submit(self.id, method, self.encode(method, *values), sender)

    def wait(self, method: str, message_id: Any) -> Any:
        """The result of a submitted update."""
        return self.decode(method, self.network.wait(message_id))


def argument_types(interface: did_types.Interface, method: str) -> list[wire.Type]:
    """The types of a method's arguments as the codec takes them."""
    return _types(interface, interface.methods()[method].args)


def result_types(interface: did_types.Interface, method: str) -> list[wire.Type]:
    """The types of a method's results as the codec takes them."""
    return _types(interface, interface.methods()[method].results)


def init_argument(interface: str, *values: Any) -> bytes:
    """The installation arguments of a canister in Candid."""
    parsed = did.parse(interface)
    return wire.encode(_types(parsed, parsed.init or ()), list(values))


def _types(interface: did_types.Interface, args: tuple[did_types.Arg, ...]) -> list[wire.Type]:
    return [wire_type(did_types.inline(arg.type, interface.types)) for arg in args]


def wire_type(declared: did_types.Type) -> wire.Type:
    """A type of a .did file as the codec takes it."""
    if isinstance(declared, did_types.Prim):
        return wire.Type(declared.name)
    if isinstance(declared, did_types.Opt):
        return wire.opt(wire_type(declared.inner))
    if isinstance(declared, did_types.Vec):
        return wire.vec(wire_type(declared.inner))
    if isinstance(declared, did_types.Record | did_types.Variant):
        fields = sorted((field.id, str(field.label), wire_type(field.type)) for field in declared.fields)
        return wire.Type("record" if isinstance(declared, did_types.Record) else "variant", fields=tuple(fields))
    raise TypeError(f"no value of {declared} is sent in tests")


def plain(kind: wire.Type, principal: bytes) -> Any:
    """A small value of a type, with `principal` wherever one is asked for."""
    if kind.kind == "principal":
        return principal
    if kind.kind == "record":
        return {label: plain(of, principal) for _, label, of in kind.fields}
    if kind.kind == "variant":
        _, label, of = kind.fields[0]
        return label, plain(of, principal)
    if kind.kind == "vec":
        return b"" if kind.of is not None and kind.of.kind == "nat8" else []
    return {"opt": None, "null": None, "text": "", "bool": False}.get(kind.kind, 0)
