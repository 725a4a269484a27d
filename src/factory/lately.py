"""What happened within the last while and is not to happen again so soon.

Pure, and on the heap: an upgrade forgets it, after which each may happen once more. Times in ns.
"""


def is_first(seen: dict[bytes, int], key: bytes, interval: int, now: int) -> bool:
    """Whether a key is not among those seen within an interval; it is from now on. Older ones are dropped."""
    for known in [known for known, at in seen.items() if now - at >= interval]:
        del seen[known]
    if key in seen:
        return False
    seen[key] = now
    return True
