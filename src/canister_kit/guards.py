"""Guards that both canisters use: they refuse a call before its arguments are decoded.

A guard takes nothing and answers with a GuardResult; its error text reaches the caller as the reject text, verbatim.
"""

from kybra import GuardResult, ic

ANONYMOUS = b"\x04"
# The receiver pays 2 000 cycles a byte for a call from outside, before any guard runs. No honest argument of a zone's
# methods is longer, but for messages.
STRANGER_BYTES = 1_024
TRANSFORM_BYTES = 50 * 1_024  # an outcall's response: 48 KiB of headers, a body of 1 KiB, framing
ADMITTED: GuardResult = {"Ok": None}


def refuse(reason: str) -> GuardResult:
    """A guard's answer: refused with this text, or let through when it is empty."""
    return {"Err": reason} if reason else ADMITTED


def length_fault(most: int) -> str:
    """What is wrong with the length of the arguments, which may have at most so many bytes, or ""."""
    size = ic.arg_data_raw_size()
    return "" if size <= most else f"the arguments have {size} bytes: at most {most} are allowed"


def refuse_anonymous() -> GuardResult:
    """Lets everyone through who signs."""
    return refuse("Anonymous callers are refused: sign the call" if ic.caller().bytes == ANONYMOUS else "")
