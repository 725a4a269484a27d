"""Hash trees and their witnesses (IC interface specification, "Certification").

A `Tree` is a sorted map of labels to subtrees or leaves. It says nothing about what the labels mean. `root_hash` and
`look_up` read trees in CBOR form, which may come from anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

Path = Sequence[bytes]


def _domain(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


_EMPTY = hashlib.sha256(_domain("ic-hashtree-empty")).digest()
_FORK = _domain("ic-hashtree-fork")
_LABELED = _domain("ic-hashtree-labeled")
_LEAF = _domain("ic-hashtree-leaf")


class Node(Protocol):
    """What a label may lead to."""

    @property
    def hash(self) -> bytes:
        """The root hash."""
        ...

    def witness(self, paths: Iterable[Path], /) -> list[Any]:
        """The CBOR form with everything pruned but what the paths ask for."""
        ...


class Leaf:
    """A value at the end of a path."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.hash = hashlib.sha256(_LEAF + value).digest()

    def witness(self, paths: Iterable[Path], /) -> list[Any]:  # noqa: ARG002
        """The CBOR form of the leaf."""
        return [3, self.value]


class _Edge:
    """A label and what it leads to."""

    __slots__ = ("child", "hash", "label")

    def __init__(self, label: bytes, child: Node) -> None:
        self.label = label
        self.child = child
        self.hash = hashlib.sha256(_LABELED + label + child.hash).digest()


class _Fork:
    """Two subtrees whose labels differ at bit ``bit`` and at no bit before it; ``left`` has 0 there."""

    __slots__ = ("_hash", "bit", "left", "right")

    def __init__(self, bit: int, left: _Edge | _Fork, right: _Edge | _Fork) -> None:
        self.bit = bit
        self.left = left
        self.right = right
        self._hash: bytes | None = None

    @property
    def hash(self) -> bytes:
        """Computed when first asked for: most forks are replaced before anybody asks."""
        if self._hash is None:
            self._hash = hashlib.sha256(_FORK + self.left.hash + self.right.hash).digest()
        return self._hash


def _bit(label: bytes, position: int) -> int:
    """A bit of a label, nine to a byte: the first one says that there is such a byte, so shorter labels come first."""
    byte, bit = divmod(position, 9)
    if byte >= len(label):
        return 0
    return 1 if bit == 0 else label[byte] >> (8 - bit) & 1


def _difference(one: bytes, other: bytes) -> int:
    """The first bit at which two different labels differ."""
    for position, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return 9 * position + 9 - (left ^ right).bit_length()
    return 9 * min(len(one), len(other))


class Tree:
    """A map from label to subtree of which a changed copy costs time in proportion to its depth, not its size.

    A crit-bit tree: its shape depends on the labels alone, not on the order they came in. Never changes itself.
    """

    def __init__(self, root: _Edge | _Fork | None = None) -> None:
        self._root = root

    @property
    def hash(self) -> bytes:
        """The root hash."""
        return _EMPTY if self._root is None else self._root.hash

    def get(self, label: bytes) -> Node | None:
        """The child at a label."""
        edge = self._nearest(label)
        return edge.child if edge is not None and edge.label == label else None

    def _nearest(self, label: bytes) -> _Edge | None:
        """An edge that shares the longest prefix with a label."""
        node = self._root
        while isinstance(node, _Fork):
            node = node.right if _bit(label, node.bit) else node.left
        return node

    def with_(self, label: bytes, child: Node) -> Tree:
        """The tree with a label leading to a child."""
        edge = _Edge(label, child)
        nearest = self._nearest(label)
        if nearest is None:
            return Tree(edge)
        if nearest.label == label:
            return Tree(self._rebuilt(label, edge, None))
        return Tree(self._rebuilt(label, edge, _difference(label, nearest.label)))

    def without(self, label: bytes) -> Tree:
        """The tree without a label."""
        return self if self.get(label) is None else Tree(self._rebuilt(label, None, None))

    def _rebuilt(self, label: bytes, edge: _Edge | None, at: int | None) -> _Edge | _Fork | None:
        """A new root where ``edge`` replaces that of the label, or comes in with a fork at the bit ``at``."""
        path = []
        node = self._root
        while isinstance(node, _Fork) and (at is None or node.bit < at):
            right = _bit(label, node.bit)
            path.append((node, right))
            node = node.right if right else node.left
        made: _Edge | _Fork | None = edge
        if at is not None:
            assert edge is not None
            assert node is not None
            made = _Fork(at, node, edge) if _bit(label, at) else _Fork(at, edge, node)
        for fork, right in reversed(path):
            other = fork.left if right else fork.right
            if made is None:
                made = other
            elif right:
                made = _Fork(fork.bit, other, made)
            else:
                made = _Fork(fork.bit, made, other)
        return made

    def _neighbours(self, label: bytes) -> list[bytes]:
        """The labels next to one that isn't there."""
        nearest = self._nearest(label)
        if nearest is None:
            return []
        at = _difference(label, nearest.label)
        before = after = None
        node = self._root
        while isinstance(node, _Fork) and node.bit < at:
            if _bit(label, node.bit):
                before, node = node.left, node.right
            else:
                after, node = node.right, node.left
        if _bit(label, at):
            before = node
        else:
            after = node
        found = []
        if before is not None:
            found.append(_outermost(before, right=True))
        if after is not None:
            found.append(_outermost(after, right=False))
        return found

    def witness(self, paths: Iterable[Path], /) -> list[Any]:
        """The tree in CBOR form with everything pruned but what the paths ask for.

        A path that ends at a subtree reveals all of it; one that leads nowhere is shown to be absent by its
        neighbours.
        """
        wanted: dict[bytes, list[Path]] = {}
        near: set[bytes] = set()
        for path in paths:
            if not path:
                return _everything(self._root)
            if self.get(path[0]) is not None:
                wanted.setdefault(path[0], []).append(path[1:])
            else:
                near.update(self._neighbours(path[0]))
        return _shown(self._root, list(wanted.keys() | near), wanted)


def _outermost(node: _Edge | _Fork, *, right: bool) -> bytes:
    while isinstance(node, _Fork):
        node = node.right if right else node.left
    return node.label


def _shown(node: _Edge | _Fork | None, labels: list[bytes], wanted: Mapping[bytes, list[Path]]) -> list[Any]:
    """The subtree with the ``labels`` in it shown, and what they lead to where it is wanted."""
    if node is None:
        return [0]
    if not labels:
        return [4, node.hash]
    if isinstance(node, _Edge):
        inner = node.child.witness(wanted[node.label]) if node.label in wanted else [4, node.child.hash]
        return [2, node.label, inner]
    left = [label for label in labels if not _bit(label, node.bit)]
    right = [label for label in labels if _bit(label, node.bit)]
    return [1, _shown(node.left, left, wanted), _shown(node.right, right, wanted)]


def _everything(node: _Edge | _Fork | None) -> list[Any]:
    if node is None:
        return [0]
    if isinstance(node, _Edge):
        return [2, node.label, node.child.witness([()])]
    return [1, _everything(node.left), _everything(node.right)]


def tree(content: Mapping[bytes, Any]) -> Tree:
    """Build a tree from nested mappings; bytes become leaves, trees and leaves stay."""
    made = Tree()
    for label, item in content.items():
        if isinstance(item, Mapping):
            made = made.with_(label, tree(item))
        else:
            made = made.with_(label, Leaf(item) if isinstance(item, bytes) else item)
    return made


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
