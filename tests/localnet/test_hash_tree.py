"""Hash trees that change from round to round prove the same as trees built at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from localnet import state_tree
from localnet.hash_tree import Leaf, Tree, root_hash
from localnet.network import Network
from tests.localnet.worlds import SETUP, World, make

LABELS = st.binary(max_size=3) | st.sampled_from([b"", b"\0", b"\0\0", b"\1", b"\xff", b"\xff\xff"])
CONTENT = st.dictionaries(LABELS, st.binary(max_size=3), max_size=12)


def built(content: Mapping[bytes, bytes]) -> Tree:
    made = Tree()
    for label, value in content.items():
        made = made.with_(label, Leaf(value))
    return made


def edges(form: Any) -> list[tuple[bytes, Any]]:
    """Labels and what they lead to, in the tree's order, of those that are not pruned."""
    if form[0] == 1:
        return edges(form[1]) + edges(form[2])
    return [(form[1], form[2])] if form[0] == 2 else []


def is_absent(form: Any, label: bytes) -> bool:
    """True when the specification's lookup finds that a label is not there: its neighbours are."""
    bounds: list[bytes | None] = [None]
    gaps: list[bool] = [False]

    def walk(node: Any) -> None:
        if node[0] == 1:
            walk(node[1])
            walk(node[2])
        elif node[0] == 2:
            bounds.append(node[1])
            gaps.append(False)
        elif node[0] == 4:
            gaps[-1] = True

    walk(form)
    bounds.append(None)
    for pruned, low, high in zip(gaps, bounds, bounds[1:], strict=False):
        if (low is None or low < label) and (high is None or label < high):
            return not pruned
    return False


@given(CONTENT, st.lists(st.tuples(LABELS, st.none() | st.binary(max_size=3)), max_size=20))
def test_the_root_hash_depends_on_the_content_alone(content: dict[bytes, bytes], changes: list[Any]) -> None:
    tree, model = built(content), dict(content)
    for label, value in changes:
        before, hash_before = tree, tree.hash
        if value is None:
            tree = tree.without(label)
            model.pop(label, None)
        else:
            tree = tree.with_(label, Leaf(value))
            model[label] = value
        assert before.hash == hash_before
    assert tree.hash == built(dict(sorted(model.items()))).hash
    assert edges(tree.witness([()])) == [(label, [3, value]) for label, value in sorted(model.items())]


@given(CONTENT, st.lists(LABELS, max_size=4))
def test_a_witness_shows_what_was_asked_under_the_same_root(content: dict[bytes, bytes], asked: list[bytes]) -> None:
    tree = built(content)
    witness = tree.witness([(label,) for label in asked])
    assert root_hash(witness) == tree.hash
    for label in asked:
        assert is_absent(witness, label) == (label not in content)
    shown = {label for label, child in edges(witness) if child[0] == 3}
    assert shown == set(asked) & set(content)


def test_a_network_s_tree_of_many_rounds_is_that_of_a_network_that_certifies_the_last_one_alone() -> None:
    hashes = []
    for each_round in (True, False):
        world = World(make(SETUP))
        network = world.network

        def certify(network: Network = network) -> list[bytes]:
            return [state_tree.current(network, subnet).tree.hash for subnet in network.subnets.values()]

        first, second = world.deploy(0), world.deploy(1)
        for step in range(12):
            world.submit(first, "count")
            world.submit(second, "certify" if step % 2 else "count")
            world.submit(second, "grow_and_trap")
            if each_round:
                certify()
            # Answers are forgotten on the way, and so is a canister.
            world.tick(60)
            if step == 6:
                world.about("stop_canister", first)
            if step == 8:
                world.about("delete_canister", first)
        assert first not in network.canisters
        hashes.append(certify())
    assert hashes[0] == hashes[1]
