"""Client of the factory's battery: deposits, alerts, policy, quota, refills.

Not for zones, code or admins (`zones.factory`). Amounts in cycles, times in ns since 1970, canisters as principals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localnet import candid as c
from zones.agent import Agent
from zones.calls import Method, ok_or_raise, pages
from zones.errors import RejectedError

PAGE = 200
"""Most entries of one reply."""
CYCLES_FIGURES = (
    "min_top_up",
    "child_limit",
    "shared_limit",
    "refill_below",
    "refill_to",
    "refill_most",
    "reserve",
    "unusual_cycles",
)
OTHER_FIGURES = ("runway_days", "reserve_days", "alert_days", "sweep_seconds", "unusual_times")
FIGURES = (*CYCLES_FIGURES, *OTHER_FIGURES)
"""What a policy consists of: amounts of cycles, then days and seconds."""
ENOUGH = "Canister has enough cycles"
"""What the factory says of a child that needs no refill."""

_SUM = c.record(count=c.NAT64, attached=c.NAT, refunded=c.NAT)
_DEPOSIT = c.record(
    number=c.NAT64,
    canister=c.opt(c.PRINCIPAL),
    attached=c.NAT,
    refunded=c.NAT,
    outcome=c.variant(pending=c.NULL, settled=c.NULL, failed=c.NULL, unknown=c.NULL, returned=c.NULL),
    reason=c.TEXT,
    begun_at=c.NAT64,
    ended_at=c.opt(c.NAT64),
)
_DEPOSITS = Method(
    "get_deposits",
    [c.opt(c.NAT64), c.NAT32],
    [
        c.record(
            entries=c.vec(_DEPOSIT),
            oldest_number=c.NAT64,
            next_number=c.NAT64,
            sums=c.record(pending=_SUM, settled=_SUM, failed=_SUM, unknown=_SUM, returned=_SUM),
        )
    ],
    query=True,
)
_SETTLE = Method(
    "settle_deposit",
    [c.record(number=c.NAT64, arrived=c.opt(c.BOOL), reason=c.TEXT)],
    [c.variant(ok=c.NULL, err=c.TEXT)],
)
_ALERT = c.record(
    number=c.NAT64,
    kind=c.variant(
        low_runway=c.NULL,
        foreign_code=c.NULL,
        unreachable=c.NULL,
        quota_reached=c.NULL,
        battery_low=c.NULL,
        unusual_burn=c.NULL,
    ),
    canister=c.opt(c.PRINCIPAL),
    raised_at=c.NAT64,
    cleared_at=c.opt(c.NAT64),
    details=c.TEXT,
)
_ALERTS = Method(
    "get_alerts",
    [c.BOOL, c.opt(c.NAT64), c.NAT32],
    [c.record(entries=c.vec(_ALERT), open_count=c.NAT64, next_number=c.NAT64)],
    query=True,
)
_ACK = c.variant(ok=c.NULL, err=c.TEXT)
_POLICY = Method("get_battery_policy", [], [c.record(**dict.fromkeys(FIGURES, c.NAT))], query=True)
_SET_POLICY = Method("set_battery_policy", [c.record(**dict.fromkeys(FIGURES, c.opt(c.NAT)))], [_ACK])
_QUOTA = Method(
    "get_aggregate_quota_settings",
    [],
    [c.record(maxAmount=c.NAT, durationInSeconds=c.NAT, cyclesUsed=c.NAT)],
    query=True,
)
_SET_QUOTA = Method("update_aggregate_quota_settings", [c.NAT, c.NAT], [])
_TRANSFER_ERROR = c.variant(
    insufficient_cycles_available=c.NULL,
    too_few_cycles_requested=c.NULL,
    aggregate_quota_reached=c.NULL,
    canister_quota_reached=c.NULL,
    other=c.TEXT,
)
_REFILL = Method("cycles_manager_transferCyclesToCanister", [c.PRINCIPAL], [c.variant(ok=c.NAT, err=_TRANSFER_ERROR)])
_LEDGER_FAULTS = {
    "GenericError": c.record(message=c.TEXT, error_code=c.NAT),
    "TemporarilyUnavailable": c.NULL,
    "BadBurn": c.record(min_burn_amount=c.NAT),
    "Duplicate": c.record(duplicate_of=c.NAT),
    "BadFee": c.record(expected_fee=c.NAT),
    "CreatedInFuture": c.record(ledger_time=c.NAT64),
    "TooOld": c.NULL,
    "InsufficientFunds": c.record(balance=c.NAT),
}
_REFUND = Method("refund", [], [c.opt(c.variant(Ok=c.NAT, Err=c.variant(**_LEDGER_FAULTS)))])
_REFUND_ACCOUNT = Method("get_refund_account", [], [c.PRINCIPAL], query=True)
_REFUND_LEDGER = Method("get_refund_ledger", [], [c.PRINCIPAL], query=True)
_SET_REFUND_ACCOUNT = Method("set_refund_account", [c.PRINCIPAL, c.opt(c.PRINCIPAL)], [_ACK])


@dataclass(frozen=True)
class Quota:
    """What all children together may have: `used` of `limit` cycles in a window of `seconds`."""

    limit: int
    seconds: int
    used: int


@dataclass(frozen=True)
class Battery:
    """The battery of a factory seen through an agent; `canister` is the factory's principal."""

    agent: Agent
    canister: bytes

    def deposits(self) -> Iterator[dict[str, Any]]:
        """Yield all deposits on the books, newest first; `outcome` is a word."""
        for entry in pages(lambda before: _DEPOSITS(self.agent, self.canister, before, PAGE)["entries"], "number"):
            yield {**entry, "outcome": entry["outcome"][0]}

    def settle(self, number: int, arrived: bool | None, reason: str) -> None:
        """Say what became of a deposit whose answer was lost; None to have the factory's readings tell. For admins."""
        answer = {"number": number, "arrived": arrived, "reason": reason}
        ok_or_raise("settle_deposit", _SETTLE(self.agent, self.canister, answer))

    def deposit_sums(self) -> dict[str, dict[str, int]]:
        """Return count, attached and refunded of all deposits ever, by outcome."""
        return _DEPOSITS(self.agent, self.canister, None, 0)["sums"]

    def alerts(self, *, open_only: bool) -> Iterator[dict[str, Any]]:
        """Yield alerts, newest first; `kind` is a word, `cleared_at` None while it is open."""
        for entry in pages(
            lambda before: _ALERTS(self.agent, self.canister, open_only, before, PAGE)["entries"], "number"
        ):
            yield {**entry, "kind": entry["kind"][0]}

    def open_alerts(self) -> int:
        """Return how many alerts are open."""
        return _ALERTS(self.agent, self.canister, True, None, 0)["open_count"]

    def policy(self) -> dict[str, int]:
        """Return every figure of the policy by its name."""
        return _POLICY(self.agent, self.canister)

    def set_policy(self, changes: dict[str, int]) -> None:
        """Set the figures that are given and leave the others. For admins."""
        ok_or_raise("set_battery_policy", _SET_POLICY(self.agent, self.canister, {**dict.fromkeys(FIGURES), **changes}))

    def quota(self) -> Quota:
        """Return the quota of all children together."""
        found = _QUOTA(self.agent, self.canister)
        return Quota(found["maxAmount"], found["durationInSeconds"], found["cyclesUsed"])

    def set_quota(self, limit: int, seconds: int) -> None:
        """Replace the quota of all children together; a window with nothing used begins. For admins."""
        _SET_QUOTA(self.agent, self.canister, limit, seconds)

    def refill(self, child: bytes) -> int:
        """Fill a child up to the policy's balance; returns the cycles it got, 0 where it has enough.

        For owners of the child and admins. Raises RejectedError with what stands against it.
        """
        label, value = _REFILL(self.agent, self.canister, child)
        if label == "err" and value == ("other", ENOUGH):
            return 0
        return ok_or_raise("refill", (label, value if label == "ok" else _why(value)))

    def refund_account(self) -> bytes:
        """Return whom `refund` sends what lies on the factory's account at the cycles ledger."""
        return _REFUND_ACCOUNT(self.agent, self.canister)

    def refund_ledger(self) -> bytes:
        """Return the cycles ledger that `refund` calls."""
        return _REFUND_LEDGER(self.agent, self.canister)

    def set_refund_account(self, account: bytes, ledger: bytes | None) -> None:
        """Name who gets what is refunded, and the ledger (None: mainnet's). For controllers of the factory."""
        result = _SET_REFUND_ACCOUNT(self.agent, self.canister, account, ledger)
        ok_or_raise("set_refund_account", result)

    def refund(self) -> int | None:
        """Send the cycles on the factory's account at the cycles ledger to the refund account.

        Returns the ledger's block, None where there is nothing to send. For admins. Raises RejectedError with what
        the ledger said.
        """
        result = _REFUND(self.agent, self.canister)
        if result is None:
            return None
        label, value = result
        if label == "Err":
            case, details = value
            raise RejectedError(f"refund: the ledger refuses it: {case}" + (f" {details}" if details else ""))
        return value


def _why(error: tuple[str, Any]) -> str:
    """Return an error of the contract in words."""
    case, text = error
    return text or case.replace("_", " ")
