"""Lists of principals under a name, in the order in which they were added: what an index reads page by page.

Pure. Stable maps have no ranges, so a list keeps its length and its members under counted keys. A member is never
removed: what has ended is told by its own record.

    lists   name | ff ff ff ff           -> u32 length
            name | u32 position (big-e.) -> a principal
"""

from kybra import StableBTreeMap, blob

LENGTH_MARK = b"\xff\xff\xff\xff"
MAX_NAME_BYTES = 80


class PrincipalLists:
    """Lists over their stable map. Names are at most 80 bytes; the caller keeps names of different lists apart."""

    def __init__(self, lists: StableBTreeMap[blob, blob]):
        self._lists = lists

    def length(self, name: bytes) -> int:
        """How many principals were added to a list."""
        return int.from_bytes(self._lists.get(name + LENGTH_MARK) or b"", "big")

    def add(self, name: bytes, principal: bytes) -> None:
        """Adds a principal at the end of a list."""
        length = self.length(name)
        self._lists.insert(name + length.to_bytes(4, "big"), principal)
        self._lists.insert(name + LENGTH_MARK, (length + 1).to_bytes(4, "big"))

    def page(self, name: bytes, start: int, most: int) -> list[bytes]:
        """Members of a list from a position (0 is the first) on, at most so many."""
        stop = min(self.length(name), start + most)
        return [self._lists.get(name + position.to_bytes(4, "big")) or b"" for position in range(start, stop)]
