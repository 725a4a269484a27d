"""What the factory may spend: nothing below its reserve."""

from kybra import ic

from factory.context import battery


def spending_fault(amount: int) -> str:
    """Why so many cycles cannot be spent now, or ""."""
    balance = ic.canister_balance128()
    reserve = battery.reserve_cycles()
    if balance >= amount + reserve:
        return ""
    return f"the factory holds {balance} cycles: this takes {amount} and the reserve of {reserve} is never touched"
