"""About one in eight messages by key: where a search within a key begins, however many messages it has.

From a sample `message_links` leads to the message that is sought, in eight steps on average. Pure, in the heap, made
from the pages by the background (`message_log`). Not for keys with few messages: they may have no samples.

    hint map  kind << 24 | 1 << 23 -> u8 version, 1 | u32 first page not looked at
              `message_hints`      -> 251 groups by key; of each key 41 key_id | u32 samples | u32 id of each
"""

import struct

from kybra import StableBTreeMap, blob, nat32

from zone_canister.message_directory import first_not_below
from zone_canister.message_hints import KIND_SHIFT, HintGroups
from zone_canister.message_pages import KEY_ID_BYTES, U32

GROUPS = 251
SWEPT_PAGES = 64
VERSION = 1
HEADER_AT = 1 << 23
HEADER = struct.Struct("<BI")
KEY = struct.Struct(f"<{KEY_ID_BYTES}sI")


class Samples:
    """Ids of some messages of each key, of the pages before `next_page`."""

    def __init__(self, kind: int, hints: StableBTreeMap[nat32, blob]):
        self._header_at = (kind << KIND_SHIFT) + HEADER_AT
        self._hints = hints
        self._hint = HintGroups(kind, GROUPS, hints)
        self.start(False)

    def start(self, hinted: bool) -> None:
        """Forgets everything; with `hinted`, groups of keys are read from the hint when they are needed first."""
        stored = self._hints.get(self._header_at) if hinted else None
        version, next_page = (0, 0) if stored is None else HEADER.unpack(stored)
        self._hinted = version == VERSION
        self._groups: list = [None] * GROUPS
        self._swept = 0
        self.next_page = next_page if self._hinted else 0

    def take(self, key_ids: list[bytes], message_id: int, step: int) -> None:
        """Makes messages samples of their keys: an id, and each that comes `step` after. Ids come in their order."""
        groups = self._groups
        for key_id in key_ids:
            group = int.from_bytes(key_id, "big") % GROUPS
            keys = groups[group]
            if keys is None:
                keys = self._load(group)
            ids = keys.get(key_id)
            if ids is None:
                keys[key_id] = [message_id]
            else:
                try:
                    ids.append(message_id)
                except AttributeError:
                    keys[key_id] = [*ids, message_id]
            message_id += step

    def first_from(self, key_id: bytes, low: int) -> int:
        """The oldest sample of a key from an id on, 0 for none."""
        group = int.from_bytes(key_id, "big") % GROUPS
        keys = self._groups[group]
        if keys is None:
            keys = self._load(group)
        ids = keys.get(key_id) or []
        at = first_not_below(ids, low)
        return ids[at] if at < len(ids) else 0

    def moved_to(self, page: int, first_id: int) -> None:
        """All pages before this one have been looked at. Now and then forgets samples below `first_id` of some keys."""
        for _ in range(page // SWEPT_PAGES - self.next_page // SWEPT_PAGES):
            self._swept = (self._swept + 1) % GROUPS
            self._sweep(self._swept, first_id)
        self.next_page = page

    def save(self) -> None:
        """Leaves all samples as a hint for the next start."""
        self._hint.save([self._packed(group) for group in range(GROUPS)])
        self._hints.insert(self._header_at, HEADER.pack(VERSION, self.next_page))

    def _sweep(self, group: int, first_id: int) -> None:
        keys = self._groups[group]
        if keys is None:
            keys = self._load(group)
        for key_id, ids in list(keys.items()):
            if ids[-1] < first_id:
                del keys[key_id]
            elif ids[0] < first_id:
                keys[key_id] = ids[first_not_below(ids, first_id) :]

    def _packed(self, group: int) -> bytes:
        """A group's bytes in the hint."""
        keys = self._groups[group]
        if keys is None:
            return self._hint.read(group) if self._hinted else b""
        return b"".join([KEY.pack(key, len(ids)) + struct.pack(f"<{len(ids)}I", *ids) for key, ids in keys.items()])

    def _load(self, group: int) -> dict:
        """The keys of a group as the hint has them, until they grow as views: a query that needs one makes no lists."""
        data = self._hint.read(group) if self._hinted else b""
        view = memoryview(data)
        keys = self._groups[group] = {}
        start, size = KEY.size, len(data)
        while start < size:
            key_id, count = KEY.unpack_from(data, start - KEY.size)
            end = start + U32.size * count
            keys[key_id] = view[start:end].cast("I")
            start = end + KEY.size
        return keys
