"""Hypothesis strategies for Candid types and interfaces; shared by the tests of the text and of subtyping."""

from hypothesis import strategies as st

from canister_build.candid.types import (
    PRIMITIVES,
    Arg,
    Field,
    Func,
    Interface,
    Method,
    Opt,
    Prim,
    Record,
    Ref,
    Service,
    Type,
    Variant,
    Vec,
    label_hash,
)

NAMES = st.sampled_from(["a", "b", "ok", "err", "opt", "from", "key_id", "two words", "naïve", "nat8"])
DECLARED = ("A", "B", "Tree")


def _distinct(pairs: list[tuple[str, Type]]) -> tuple[Field, ...]:
    fields: dict[int, Field] = {}
    for label, type_ in pairs:
        fields.setdefault(label_hash(label), Field(label, type_))
    return tuple(fields.values())


def args(types: st.SearchStrategy[Type]) -> st.SearchStrategy[tuple[Arg, ...]]:
    """Up to three arguments, some of them named."""
    names = st.one_of(st.none(), NAMES)
    return st.lists(st.builds(Arg, types, names), max_size=3).map(tuple)


def funcs(types: st.SearchStrategy[Type]) -> st.SearchStrategy[Func]:
    """Functions of every mode."""
    return st.builds(Func, args(types), args(types), st.sampled_from([None, "query", "composite_query", "oneway"]))


def _deeper(types: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    pairs = st.lists(st.tuples(NAMES, types), max_size=3)
    tuples = st.lists(types, min_size=1, max_size=3)
    return st.one_of(
        st.builds(Opt, types),
        st.builds(Vec, types),
        pairs.map(lambda p: Record(_distinct(p))),
        pairs.map(lambda p: Variant(_distinct(p))),
        tuples.map(lambda parts: Record(tuple(Field(i, t) for i, t in enumerate(parts)))),
        funcs(types),
        st.dictionaries(NAMES, funcs(types), max_size=2).map(
            lambda methods: Service(tuple(Method(name, func) for name, func in methods.items()))
        ),
    )


def types(*, declared: bool = False) -> st.SearchStrategy[Type]:
    """Any type; with `declared`, also the names in `DECLARED`."""
    leaves: st.SearchStrategy[Type] = st.sampled_from(sorted(PRIMITIVES)).map(Prim)
    if declared:
        leaves = st.one_of(leaves, st.sampled_from(DECLARED).map(Ref))
    return st.recursive(leaves, _deeper, max_leaves=8)


def interfaces() -> st.SearchStrategy[Interface]:
    """Interfaces that declare `DECLARED`, recursive ones among them."""
    inner = types(declared=True)
    # A declaration that is only a name could go in a circle.
    bodies = inner.map(lambda t: Opt(t) if isinstance(t, Ref) else t)
    declared = st.fixed_dictionaries(dict.fromkeys(DECLARED, bodies))
    methods = st.dictionaries(NAMES, funcs(inner), max_size=3).map(
        lambda found: Service(tuple(Method(name, func) for name, func in found.items()))
    )
    return st.builds(Interface, declared, methods, st.one_of(st.none(), args(inner)))
