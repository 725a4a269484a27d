"""Guards that both canisters use: they refuse a call before its arguments are decoded.

A guard takes nothing and answers with a GuardResult; its error text reaches the caller as the reject text, verbatim.
"""

from kybra import GuardResult, ic

ANONYMOUS = b"\x04"
# The receiver pays 2 000 cycles a byte for a call from outside, before any guard runs. A stranger's longest honest
# argument, the creation of a zone, stays well below this.
STRANGER_BYTES = 1_024


def refuse(reason: str) -> GuardResult:
    """A guard's answer: refused with this text, or let through when it is empty."""
    return {"Err": reason} if reason else {"Ok": None}


def refuse_anonymous() -> GuardResult:
    """Lets everyone through who signs."""
    return refuse("Anonymous callers are refused: sign the call" if ic.caller().bytes == ANONYMOUS else "")
