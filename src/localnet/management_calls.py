"""What the methods of the management canister share: the table of them, who may call each, and a call's facts.

Methods register themselves here (`method`); `management` checks access by the table and runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from localnet import candid
from localnet.candid import Type
from localnet.canister import Canister, Change, IngressOrigin, Origin

if TYPE_CHECKING:
    from localnet.management import Management
    from localnet.network import Subnet

EMPTY_REPLY = candid.encode([], [])


class Access(Enum):
    """Who may call a method (IC interface specification, "The IC management canister")."""

    CONTROLLER = "controllers of the canister"
    CONTROLLER_OR_SELF = "controllers of the canister and the canister itself"
    STATUS_VIEWER = "whom the canister's status_visibility names, and the canister itself"
    SNAPSHOT_VIEWER = "whom the canister's snapshot_visibility names"
    LOG_VIEWER = "whom the canister's log_visibility names; users by query only"
    CANISTERS = "canisters, about any canister; users by query, where there is one"
    LOCAL_CANISTERS = "canisters of the same subnet or of the NNS subnet"
    ANYONE = "anyone; the specification has it for development networks only"


@dataclass
class Call:
    """A management call being executed."""

    origin: Origin
    subnet: Subnet
    cycles: int
    canister: Canister | None = None
    """The canister the call is about, where its method has one."""

    @property
    def caller(self) -> bytes:
        """Who called."""
        return self.origin.caller

    @property
    def by_user(self) -> bool:
        """True for a call from outside."""
        return isinstance(self.origin, IngressOrigin)

    @property
    def target(self) -> Canister:
        """The canister the call is about; only for methods that have one."""
        assert self.canister is not None
        return self.canister


class Deferred(Exception):
    """Raised by a method that will answer later; the cycles went with it."""


Handler = Callable[["Management", Call, Any], bytes]


@dataclass(frozen=True)
class Method:
    """A row of the table: argument type (None for no argument), implementation, who may call."""

    argument: Type | None
    handler: Handler
    access: Access
    target: str | None
    """Field of the argument that names the canister the call is about."""


METHODS: dict[str, Method] = {}


def method(argument: Type | None, access: Access, target: str | None = "canister_id") -> Callable[[Handler], Handler]:
    """Register a handler as the management method of its name."""

    def register(handler: Handler) -> Handler:
        METHODS[handler.__name__] = Method(argument, handler, access, target)
        return handler

    return register


def record(
    management: Management, call: Call, canister: Canister, version: int | None, details: tuple[str, object]
) -> None:
    """Raise the canister's version and enter a change into its history; ``version`` is the sender's."""
    canister.version += 1
    canister.add_change(Change(management.network.clock.now, canister.version, call.origin, version, details))
