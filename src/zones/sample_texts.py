"""Real texts that every machine with Python has: the sentences of its own language reference.

For demonstrations and benchmarks; nothing is shipped or downloaded.
"""

from __future__ import annotations

import re

from zones.errors import UserError

SHORTEST = 20
"""Fewer characters than this are headings and scraps of code, not sentences."""
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'`(])")


def sentences(count: int) -> list[str]:
    """Return the first `count` distinct sentences of `pydoc_data.topics`, in a fixed order, each on one line."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise UserError("this Python lacks pydoc_data", "install the documentation part of your Python") from error
    found: dict[str, None] = {}
    for topic in sorted(topics):
        for paragraph in _PARAGRAPH.split(topics[topic]):
            for sentence in _SENTENCE.split(" ".join(paragraph.split())):
                if len(sentence) >= SHORTEST:
                    found.setdefault(sentence)
    if len(found) < count:
        raise UserError(f"this Python's reference has {len(found)} sentences, not {count}", "ask for fewer")
    return list(found)[:count]
