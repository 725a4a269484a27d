"""What the factory may spend, nothing below its reserve, and what comes back of it."""

from kybra import ic

from factory.context import battery


def spending_fault(amount: int) -> str:
    """Why so many cycles cannot be spent now, or ""."""
    balance = ic.canister_balance128()
    reserve = battery.reserve_cycles()
    if balance >= amount + reserve:
        return ""
    return f"the factory holds {balance} cycles: this takes {amount} and the reserve of {reserve} is never touched"


def came_back(attached: int, rejection: str | None) -> int:
    """What came back of the cycles that a call to the management canister took along.

    A rejected call took none. Nor did one that could not be sent, of which the platform tells no refund: the answer is
    there at once, in the message that would have sent it.
    """
    return ic.msg_cycles_refunded128() if rejection is None else attached
