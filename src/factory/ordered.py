"""Sorted lists of principals on the heap: stable maps have no ranges, so what is paged is sorted once and kept sorted.

Pure functions over lists without duplicates. Reading a map's keys costs as much as there are of them; a store does it
when its list is asked for the first time after an upgrade, and keeps the list up to date from then on.
"""


def position_after(keys: list[bytes], key: bytes) -> int:
    """Where the keys begin that are greater than one."""
    start, end = 0, len(keys)
    while start < end:
        middle = (start + end) // 2
        if keys[middle] <= key:
            start = middle + 1
        else:
            end = middle
    return start


def page(keys: list[bytes], after: bytes | None, most: int) -> list[bytes]:
    """Keys that come after one, at most so many."""
    start = 0 if after is None else position_after(keys, after)
    return keys[start : start + most]


def add(keys: list[bytes], key: bytes) -> None:
    """Adds a key that is not there."""
    keys.insert(position_after(keys, key), key)


def drop(keys: list[bytes], key: bytes) -> None:
    """Takes a key away if it is there."""
    at = position_after(keys, key) - 1
    if at >= 0 and keys[at] == key:
        keys.pop(at)
