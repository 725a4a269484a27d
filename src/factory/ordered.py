"""A map's keys in order, on the heap: stable maps have no ranges, so what is paged is sorted once and kept sorted.

Reading a map's keys costs as much as there are of them: it is done when a page is asked for the first time after an
upgrade, and what is added and dropped before that need not be told.
"""

from kybra import StableBTreeMap, blob


class SortedKeys:
    """The keys of one map, which hands itself in where they are read; no key is there twice."""

    def __init__(self):
        self._keys: list[bytes] | None = None

    def page(self, entries: StableBTreeMap[blob, blob], after: bytes | None, most: int) -> list[bytes]:
        """Keys in ascending order that come after one, at most so many."""
        if self._keys is None:
            self._keys = sorted(entries.keys())
        start = 0 if after is None else position_after(self._keys, after)
        return self._keys[start : start + most]

    def add(self, key: bytes) -> None:
        """A key that was not there came."""
        if self._keys is not None:
            self._keys.insert(position_after(self._keys, key), key)

    def drop(self, key: bytes) -> None:
        """A key went, if it was there."""
        keys = self._keys or []
        at = position_after(keys, key) - 1
        if at >= 0 and keys[at] == key:
            keys.pop(at)


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
