"""Candid interfaces: parse and write .did text, and compare two interfaces.

Not for messages: encoding and decoding values is the canister's and the agent's work.
"""

from .parse import parse, parse_type
from .render import render, type_text
from .subtype import INIT, Problem, compatible, subtype_reason
from .types import CandidError, Interface


def plain(text: str) -> str:
    """The same interface in the smaller grammar that ic-py, and so the pocket_ic client, can read.

    Argument names are left out and composite queries become queries. Raises `CandidError` if `text` is no Candid.
    """
    return render(parse(text), plain=True)


__all__ = [
    "INIT",
    "CandidError",
    "Interface",
    "Problem",
    "compatible",
    "parse",
    "parse_type",
    "plain",
    "render",
    "subtype_reason",
    "type_text",
]
