"""Saved state holds every field of every class: of one network that uses them all, and of classes that got another."""

import dataclasses
import shutil
from collections import deque
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from localnet import candid, canister, checkpoint
from localnet import management_types as types
from localnet.canister import CallMessage, Canister, Settings, TaskOrigin
from localnet.checkpoint import state_hash
from localnet.image import StateError
from localnet.ingress import Ingress
from localnet.modules import CompiledModule
from localnet.network import Network, Subnet
from localnet.outcalls import HttpReply, Outcall
from localnet.prices import Limits
from localnet.principal import ANONYMOUS
from localnet.runtime import Runtime
from tests.localnet.worlds import REQUEST, World, open_folder

pytestmark = pytest.mark.localnet_only("looks into localnet's state")

MADE_ANEW = {
    "_network", "network", "lock", "work", "modules", "shims", "pool", "certified", "recorder", "scheduler",
    "certifier", "node", "installer", "queries", "root", "certified_parts", "waiting", "changed",
}  # fmt: skip
"""Attributes a loaded network has its own of."""


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value below an object with the way to it, found without the code that saves them."""
    if isinstance(value, Runtime):
        yield f"{path}.heap", value.heap_content()
        yield f"{path}.stable", value.stable.read()
        yield f"{path}.globals", value.globals()
    elif isinstance(value, CompiledModule):
        yield path, value.hash
    elif value is None or isinstance(value, (bool, int, float, str, bytes, bytearray, Enum)):
        yield path, value
    elif isinstance(value, (list, tuple, deque)):
        yield f"{path}#", len(value)
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    elif isinstance(value, (set, frozenset)):
        yield path, value
    elif isinstance(value, dict):
        yield f"{path}#", list(value)
        for key, item in value.items():
            yield from leaves(item, f"{path}[{key!r}]")
    elif type(value).__module__.startswith("localnet."):
        for name, item in vars(value).items():
            if name not in MADE_ANEW:
                yield from leaves(item, f"{path}.{name}")
    else:
        raise AssertionError(f"{path} is a {type(value)}")


def a_network_that_uses_everything(network: Network) -> None:
    """Fill a network until every field of every class has a value that is not the one it starts with."""
    world = World(network)
    one, two, three, far = world.deploy(), world.deploy(), world.deploy(), world.deploy(1)
    for method in ("count", "certify", "print", "grow", "wake", "no such method"):
        world.submit(one, method)
    world.sign(one, b"signed")
    world.manage("raw_rand", candid.record(), {})
    world.upload(one, b"c" * 100_000)
    world.change(one, **SETTINGS, controllers=[ANONYMOUS, far])
    network.query(ANONYMOUS, one, "variables", b"an argument")
    world.tick(20)
    world.take_snapshot(one)
    world.manage("upload_canister_snapshot_metadata", types.UPLOAD_SNAPSHOT_METADATA, {"canister_id": two, **UPLOADED})
    world.submit(two, "fetch", REQUEST)
    world.submit(three, "have_fetched", two + REQUEST)
    world.submit(three, "tell", far + b"to the other subnet")
    world.submit(three, "ask", far + b"for a while")
    world.tick()
    world.change(three, wasm_memory_limit=5 * 65536, wasm_memory_threshold=4 * 65536)
    world.about("stop_canister", two)
    network.tick()
    network.set_limits(list(dataclasses.astuple(Limits(round=1))), list(dataclasses.astuple(network.capacity)))
    world.submit(three, "ask", far + b"for a while")
    for callee in (three, one, three):
        world.submit(three, "ask", callee + b"for a while")
    for _ in range(3):
        network.tick()
    world.submit(far, "ask", one + b"for a while")
    world.submit(far, "ask", one + b"for a while")
    network.tick()
    world.about("canister_status", one)
    world.create(1)
    network.answer_outcall(next(iter(network.outcalls.pending)), [HttpReply(200, [("a", "b")], b"body")])


SETTINGS: dict[str, Any] = {
    "compute_allocation": 1,
    "memory_allocation": 1 << 21,
    "freezing_threshold": 1000,
    "reserved_cycles_limit": 10**13,
    "minimum_incoming_canister_call_cycles": 1,
    "log_visibility": ("allowed_viewers", [ANONYMOUS]),
    "log_memory_limit": 8192,
    "snapshot_visibility": ("public", None),
    "status_visibility": ("public", None),
    "wasm_memory_limit": 5 * 65536,
    "wasm_memory_threshold": 4 * 65536,
    "environment_variables": [{"name": "COLOUR", "value": "green"}],
}
UPLOADED: dict[str, Any] = {
    "wasm_module_size": 10,
    "wasm_memory_size": 65536,
    "stable_memory_size": 65536,
    "globals": [("i32", 1), ("f64", 0.5)],
    "certified_data": b"certified",
    "global_timer": ("active", 5),
    "on_low_wasm_memory_hook_status": ("ready", None),
    "replace_snapshot": None,
}


@pytest.mark.parametrize("saved", ["in a checkpoint", "in the log"])
def test_every_field_comes_back(tmp_path: Path, saved: str) -> None:
    network, folder = open_folder(tmp_path / "used")
    a_network_that_uses_everything(network)
    # Tasks have the management canister as caller, always.
    assert unused(network) == {"TaskOrigin.caller"}
    assert any(isinstance(found, TaskOrigin) for found in _objects(network))
    assert len(network.replays) == 1
    assert 0 < network.burned < network.minted
    if saved == "in a checkpoint":
        folder.checkpoint()
    shutil.copytree(tmp_path / "used", tmp_path / "left")
    again, other_folder = open_folder(tmp_path / "left")
    expected, found = dict(leaves(network, "")), dict(leaves(again, ""))
    assert found.keys() == expected.keys()
    assert {path: value for path, value in found.items() if expected[path] != value} == {}
    for seconds in (0, 0, 1, 6, 60, 0, 0, 400):
        for world in (World(network), World(again)):
            world.tick(seconds)
        assert World(again).certify() == World(network).certify()
        assert state_hash(again) == state_hash(network)
    folder.close()
    other_folder.close()


def unused(network: Network) -> set[str]:
    """Fields of saved classes that have in no object another value than the one they start with."""
    wanted = {
        (kind, field.name)
        for kind in _below({Canister, CallMessage, Ingress, Outcall, Subnet})
        for field in dataclasses.fields(kind)
        if field.name not in MADE_ANEW and not field.metadata.get("transient")
    }
    for found in _objects(network):
        for field in dataclasses.fields(found):
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            if default is dataclasses.MISSING or getattr(found, field.name) != default:
                wanted.discard((type(found), field.name))
    return {f"{kind.__name__}.{name}" for kind, name in wanted}


def _below(kinds: set[type]) -> set[type]:
    """These dataclasses, and those their fields may hold."""
    known: set[type] = set()
    waiting: list[Any] = list(kinds)
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if (
            dataclasses.is_dataclass(kind)
            and isinstance(kind, type)
            and kind is not CompiledModule
            and kind not in known
        ):
            known.add(kind)
            hints = get_type_hints(kind)
            waiting += [hints[field.name] for field in dataclasses.fields(kind) if field.name not in MADE_ANEW]
    return known


def _objects(value: Any) -> Iterator[Any]:
    """The dataclass objects below an object."""
    if isinstance(value, (list, tuple, deque)):
        for item in value:
            yield from _objects(item)
    elif isinstance(value, dict):
        yield from _objects([*value.values()])
    elif type(value).__module__.startswith("localnet.") and not isinstance(value, (Enum, Runtime, CompiledModule)):
        if dataclasses.is_dataclass(value):
            yield value
        yield from _objects([item for name, item in vars(value).items() if name not in MADE_ANEW])


def extended(kind: type[Any], name: str) -> type[Any]:
    """A dataclass as it would be with another field."""
    field = (name, object, dataclasses.field(default=0))
    namespace = {"__module__": kind.__module__}
    return dataclasses.make_dataclass(kind.__name__, [field], bases=(kind,), namespace=namespace)


def test_a_field_somebody_adds_is_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, folder = open_folder(tmp_path)
    target = network.canisters[World(network).deploy()]
    folder.checkpoint()
    monkeypatch.setattr(canister, "Settings", extended(Settings, "later"))
    target.settings = canister.Settings(**vars(target.settings), later=("a", {"value": b"x"}))  # type: ignore[call-arg]
    folder.checkpoint()
    folder.close()
    network, folder = open_folder(tmp_path)
    settings: Any = network.canisters[target.id].settings
    assert settings.later == ("a", {"value": b"x"})
    settings.later = object()
    with pytest.raises(StateError, match=r"a builtins\.object cannot be saved"):
        folder.checkpoint()
    settings.later = 0
    folder.close()


def test_a_folder_from_before_a_field_was_added_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, folder = open_folder(tmp_path)
    World(network).deploy()
    folder.close()
    monkeypatch.setattr(canister, "Settings", extended(Settings, "later"))
    with pytest.raises(StateError, match=r"Settings was saved with the fields .*, but this localnet has .*'later'"):
        open_folder(tmp_path)


def test_a_field_added_to_subnets_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = open_folder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "Subnet", extended(Subnet, "later"))
        with pytest.raises(StateError, match=r"of Subnet, checkpoint does not know whether to save \['later'\]"):
            folder.checkpoint()
    folder.close()


PARTS = ["", "clock", "ingress", "management", "outcalls", "queries", "replays", "scheduler", "streams"]


@pytest.mark.parametrize("part", PARTS)
def test_an_attribute_added_to_a_part_of_the_network_is_no_loss(tmp_path: Path, part: str) -> None:
    network, folder = open_folder(tmp_path)
    attributes = vars(getattr(network, part) if part else network)
    attributes["later"] = 1
    with pytest.raises(StateError, match=r"checkpoint does not know whether to save \['later'\]"):
        folder.checkpoint()
    del attributes["later"]
    folder.close()


def test_a_state_from_before_a_part_was_added_is_refused(tmp_path: Path) -> None:
    _, folder = open_folder(tmp_path)
    folder.close()
    stored = checkpoint.unpack(tmp_path / "checkpoint")
    at = stored.state.index("replays")
    del stored.state[at : at + 2]
    (tmp_path / "checkpoint").write_bytes(checkpoint.pack(stored))
    with pytest.raises(StateError, match=r"it holds \[\] of replays, not \['_by_expiry', '_ids'\]"):
        open_folder(tmp_path)
