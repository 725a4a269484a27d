"""Hash trees and their witnesses (IC interface specification, "Certification").

A `Tree` is a sorted map of labels to subtrees or leaves. It says nothing about what the labels mean. `root_hash` and
`look_up` read trees in CBOR form, which may come from anybody.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Path = Sequence[bytes]


def _domain(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


_EMPTY = hashlib.sha256(_domain("ic-hashtree-empty")).digest()
_FORK = _domain("ic-hashtree-fork")
_LABELED = _domain("ic-hashtree-labeled")
_LEAF = _domain("ic-hashtree-leaf")


class Leaf:
    """A value at the end of a path."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.hash = hashlib.sha256(_LEAF + value).digest()

    def witness(self, _paths: Iterable[Path]) -> list[Any]:
        """The CBOR form of the leaf."""
        return [3, self.value]


class Tree:
    """A map from label to subtree; ``hash`` is its root hash."""

    def __init__(self, entries: Mapping[bytes, Tree | Leaf]) -> None:
        self.labels = sorted(entries)
        self._children = [entries[label] for label in self.labels]
        self._hashes: dict[tuple[int, int], bytes] = {}
        self.hash = self._range_hash(0, len(self.labels))

    def get(self, label: bytes) -> Tree | Leaf | None:
        """The child at a label."""
        at = bisect_left(self.labels, label)
        return self._children[at] if at < len(self.labels) and self.labels[at] == label else None

    def _range_hash(self, low: int, high: int) -> bytes:
        known = self._hashes.get((low, high))
        if known is not None:
            return known
        if low == high:
            value = _EMPTY
        elif high - low == 1:
            value = hashlib.sha256(_LABELED + self.labels[low] + self._children[low].hash).digest()
        else:
            middle = (low + high) // 2
            value = hashlib.sha256(_FORK + self._range_hash(low, middle) + self._range_hash(middle, high)).digest()
        self._hashes[low, high] = value
        return value

    def witness(self, paths: Iterable[Path]) -> list[Any]:
        """The tree in CBOR form with everything pruned but what the paths ask for.

        A path that ends at a subtree reveals all of it; one that leads nowhere is shown to be absent by its
        neighbours. The result has the same root hash.
        """
        wanted: dict[int, list[Path]] = {}
        neighbours: set[int] = set()
        for path in paths:
            if not path:
                return self._range_witness(0, len(self.labels), {i: [()] for i in range(len(self.labels))}, set())
            at = bisect_left(self.labels, path[0])
            if at < len(self.labels) and self.labels[at] == path[0]:
                wanted.setdefault(at, []).append(path[1:])
            else:
                neighbours |= {i for i in (at - 1, at) if 0 <= i < len(self.labels)}
        return self._range_witness(0, len(self.labels), wanted, neighbours)

    def _range_witness(self, low: int, high: int, wanted: dict[int, list[Path]], near: set[int]) -> list[Any]:
        if low == high:
            return [0]
        if not any(low <= i < high for i in wanted) and not any(low <= i < high for i in near):
            return [4, self._range_hash(low, high)]
        if high - low == 1:
            child = self._children[low]
            inner = child.witness(wanted[low]) if low in wanted else [4, child.hash]
            return [2, self.labels[low], inner]
        middle = (low + high) // 2
        return [
            1,
            self._range_witness(low, middle, wanted, near),
            self._range_witness(middle, high, wanted, near),
        ]


def tree(content: Mapping[bytes, Any]) -> Tree:
    """Build a tree from nested mappings; bytes become leaves, trees and leaves stay."""
    children: dict[bytes, Tree | Leaf] = {}
    for label, item in content.items():
        if isinstance(item, (Tree, Leaf)):
            children[label] = item
        elif isinstance(item, Mapping):
            children[label] = tree(item)
        else:
            children[label] = Leaf(item)
    return Tree(children)


def uleb128(value: int) -> bytes:
    """The encoding of numbers in leaves."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class MalformedTree(ValueError):
    """A value that should be a hash tree in CBOR form is none."""


def root_hash(form: Any) -> bytes:
    """The root hash of a tree in CBOR form. Raises `MalformedTree`."""
    kind, parts = _node(form)
    if kind == 0:
        return _EMPTY
    if kind == 1:
        return hashlib.sha256(_FORK + root_hash(parts[0]) + root_hash(parts[1])).digest()
    if kind == 2:
        return hashlib.sha256(_LABELED + parts[0] + root_hash(parts[1])).digest()
    return hashlib.sha256(_LEAF + parts[0]).digest() if kind == 3 else parts[0]


def look_up(form: Any, path: Path) -> bytes | None:
    """The leaf at the end of a path, or None when it is absent, pruned or no leaf. Raises `MalformedTree`."""
    kind, parts = _node(form)
    if not path:
        return parts[0] if kind == 3 else None
    if kind == 1:
        found = look_up(parts[0], path)
        return found if found is not None else look_up(parts[1], path)
    return look_up(parts[1], path[1:]) if kind == 2 and parts[0] == path[0] else None


def _node(form: Any) -> tuple[int, list[Any]]:
    """Kind and parts of a node; labels, leaves and hashes are bytes."""
    sizes = {0: 1, 1: 3, 2: 3, 3: 2, 4: 2}
    if not isinstance(form, list) or not form or type(form[0]) is not int or sizes.get(form[0]) != len(form):
        raise MalformedTree("a node is [0], [1, tree, tree], [2, label, tree], [3, leaf] or [4, hash]")
    kind, parts = form[0], form[1:]
    if (kind >= 2 and not isinstance(parts[0], bytes)) or (kind == 4 and len(parts[0]) != 32):
        raise MalformedTree("labels, leaves and hashes are byte strings, hashes of 32 bytes")
    return kind, parts
