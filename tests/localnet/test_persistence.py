"""Saved state: a network that is loaded again goes on as if it had never stopped, or is refused with the reason."""

import contextlib
import errno
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localnet import checkpoint, journal, state_folder
from localnet.canister import Status
from localnet.checkpoint import state_hash
from localnet.errors import BadRequest
from localnet.image import StateError
from localnet.message import Reply
from localnet.prices import Limits
from localnet.principal import ANONYMOUS
from localnet.scheduler import Scheduler
from localnet.state_folder import StateFolder
from localnet.streams import Streams
from tests.localnet.wat import number, word
from tests.localnet.worlds import REQUEST, SECOND, SETUP, World, make, open_folder

pytestmark = pytest.mark.localnet_only("looks into localnet's files")
HEADER = 20
"""Bytes of a log before its first record."""


@contextmanager
def opened(path: Path) -> Iterator[World]:
    """The network of a folder; closed in an orderly way."""
    network, folder = open_folder(path)
    try:
        yield World(network)
    finally:
        folder.close()


def killed(path: Path, into: Path) -> Path:
    """A copy of a folder in use: what a killed process would leave."""
    return Path(shutil.copytree(path, into))


def busy_world(world: World) -> tuple[bytes, bytes]:
    """Fill a network with everything it can hold; returns two of its canisters."""
    one, two, far = world.deploy(), world.deploy(), world.deploy(1)
    for method in ("count", "certify", "print", "grow", "wake"):
        world.submit(one, method)
    world.network.tick()
    world.upload(two, b"c" * 100_000)
    world.submit(one, "fetch", REQUEST)
    world.submit(two, "call", one + b"anything")
    world.network.tick()
    world.submit(two, "fetch", REQUEST)
    world.take_snapshot(one)
    world.network.tick()
    world.about("stop_canister", two)
    world.query(one, "read")
    world.submit(far, "call", one + b"from another subnet")
    world.network.tick()
    world.submit(one, "count")
    world.network.add_cycles(one, 12345)
    return one, two


@pytest.mark.parametrize("orderly", [True, False])
def test_a_network_with_everything_in_it_goes_on_where_it_was(tmp_path: Path, orderly: bool) -> None:
    network, folder = open_folder(tmp_path / "state")
    world = World(network)
    one, two = busy_world(world)
    before, certified = state_hash(network), network.canisters[one].certified_data
    assert len(certified) == 32
    if orderly:
        folder.close()
        path = tmp_path / "state"
    else:
        path = killed(tmp_path / "state", tmp_path / "killed")
        folder.close()
    with opened(path) as again:
        network = again.network
        assert state_hash(network) == before
        first, second = network.canisters[one], network.canisters[two]
        assert (len(network.outcalls.pending), len(first.callbacks), len(second.contexts)) == (2, 1, 1)
        assert second.status is Status.STOPPING
        assert second.stop_waiters
        assert first.global_timer > network.clock.now
        assert [record.content for record in first.logs] == [b"http_request"]
        assert first.certified_data == certified
        assert list(second.chunks.values()) == [b"c" * 100_000]
        assert len(first.queue) == 1
        assert len(first.history) == 2
        assert first.query_calls == 1
        (snapshot,) = first.snapshots.values()
        assert (len(snapshot.heap), len(snapshot.stable)) == (3 * 65536, 2 * 65536)
        assert len(network.streams.messages) == 1
        counted = number(again.query(one, "read") or b"")
        again.answer_outcall(200)
        again.answer_outcall(0)
        again.tick(5)
        again.tick()
        # The queued call, the call from the other subnet, the answered outcall and the timer each count one.
        assert number(again.query(one, "read") or b"") == counted + 4
        assert second.status is Status.STOPPED
        assert all(entry.response is not None for entry in network.ingress.values())


def test_keys_ids_time_and_answers_stay_over_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as world:
        canister_id = world.deploy()
        rid = world.submit(canister_id, "count")
        expiry = world.network.clock.now + 300 * SECOND
        signed = world.network.submit(ANONYMOUS, canister_id, "read", b"", None, b"signed", expiry)
        world.tick(100)
        root, response = world.network.root.certifier.der_public_key, world.response(rid)
        now = world.network.clock.now
    with opened(tmp_path) as world:
        assert world.network.root.certifier.der_public_key == root
        assert world.response(rid) == response == Reply((1).to_bytes(8, "little"))
        assert rid is not None
        assert world.network.ingress[rid].response == response
        assert signed in world.network.replays
        assert world.network.clock.now == now
        assert world.deploy() not in (canister_id, rid)
        with pytest.raises(ValueError, match="time cannot go back"):
            world.network.set_time(now - 1)


def test_real_time_goes_on_after_the_saved_time_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    with opened(tmp_path) as world:
        world.network.set_time(1 << 62)
        world.network.tick()
    with opened(tmp_path) as world:
        world.network.clock.real = True
        world.network.tick()
        assert world.network.clock.now == (1 << 62) + 2


# Against a twin that is never saved -------------------------------------------------------------------

METHODS = [
    "count", "wake", "certify", "print", "grow", "grow_and_trap", "fetch", "call", "ask", "tell", "have_fetched",
]  # fmt: skip
CHANGES: list[dict[str, Any]] = [
    {"environment_variables": [{"name": "A", "value": "1"}, {"name": "B", "value": ""}]},
    {"wasm_memory_limit": 6 * 65536, "wasm_memory_threshold": 4 * 65536 + 1},
    {"wasm_memory_threshold": 0},
    {"minimum_incoming_canister_call_cycles": 10**12},
    {"reserved_cycles_limit": 10**9},
    {"memory_allocation": 1 << 21, "compute_allocation": 1},
    {"log_memory_limit": 1 << 16, "log_visibility": ("allowed_viewers", [b"\x04"])},
]
WHICH = st.integers(0, 3)


def _call(which: int, method: str, callee: int) -> Callable[[World], Any]:
    def run(world: World) -> Any:
        ids = world.ids
        arg = {"fetch": REQUEST, "have_fetched": ids[callee % len(ids)] + REQUEST}.get(
            method, ids[callee % len(ids)] + b"x"
        )
        return world.submit(ids[which % len(ids)], method, arg)

    return run


def _about(which: int, method: str) -> Callable[[World], Any]:
    def run(world: World) -> Any:
        target = world.ids[which % len(world.ids)]
        if method in ("install", "reinstall", "upgrade"):
            return world.install(target, method)
        if method == "uninstall_code":
            return world.about("uninstall_code", target)
        return world.about(method, target)

    return run


OPERATIONS = st.one_of(
    st.builds(_call, WHICH, st.sampled_from(METHODS), WHICH),
    st.builds(
        _about,
        WHICH,
        st.sampled_from(
            ["install", "reinstall", "upgrade", "uninstall_code", "start_canister", "stop_canister", "delete_canister"]
        ),
    ),
    st.builds(lambda seconds: lambda world: world.tick(seconds), st.sampled_from([0, 1, 4, 20, 400])),
    st.builds(lambda seconds: lambda world: world.tick(seconds), st.just(0)),
    st.just(World.certify),
    st.builds(lambda status: lambda world: world.answer_outcall(status), st.sampled_from([0, 200])),
    st.builds(
        lambda which, method: lambda world: world.query(world.ids[which % len(world.ids)], method),
        WHICH,
        st.sampled_from(["read", "variables", "write_and_read"]),
    ),
    st.builds(
        lambda which, change: lambda world: world.change(world.ids[which % len(world.ids)], **change),
        WHICH,
        st.sampled_from(CHANGES),
    ),
    st.builds(
        lambda which, nonce: lambda world: world.sign(world.ids[which % len(world.ids)], nonce),
        WHICH,
        st.sampled_from([b"1", b"2", b"3"]),
    ),
    st.builds(
        lambda which, size: lambda world: world.upload(world.ids[which % len(world.ids)], bytes([which]) * size),
        WHICH,
        st.sampled_from([10, 5000, 200_000]),
    ),
    st.builds(
        lambda which, more: lambda world: world.network.add_cycles(world.ids[which % len(world.ids)], more),
        WHICH,
        st.integers(0, 1 << 100),
    ),
    st.builds(lambda subnet: lambda world: world.create(subnet), st.integers(0, 1)),
    st.builds(lambda which: lambda world: world.take_snapshot(world.ids[which % len(world.ids)]), WHICH),
    st.builds(lambda which: lambda world: world.load_snapshot(world.ids[which % len(world.ids)]), WHICH),
    st.just("save and load"),
    st.just("kill and load"),
)


@settings(max_examples=60, deadline=None)
@given(
    operations=st.lists(OPERATIONS, max_size=20),
    eager=st.booleans(),
    # With the small one each subnet's rounds are full after one message.
    limits=st.sampled_from([Limits(), Limits(round=1)]),
)
def test_a_network_saved_and_killed_at_any_moment_equals_one_that_never_was(
    operations: list[Any], eager: bool, limits: Limits
) -> None:
    setup = replace(SETUP, limits=limits)
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        if eager:  # a checkpoint after every input, beside the network's work
            patch.setattr(state_folder, "MAX_REPLAY_SECONDS", 0.0)
            patch.setattr(state_folder, "CHECKPOINT_SHARE", 0)
        twin, path = World(make(setup)), Path(root) / "0"
        with contextlib.ExitStack() as stack:

            def load(path: Path) -> World:
                network, folder = open_folder(path, setup)
                stack.callback(folder.close)
                return World(network)

            saved = load(path)
            for world in (twin, saved):
                world.deploy(0)
                world.deploy(1)
            for step, operation in enumerate(operations):
                if operation == "save and load":
                    stack.close()
                    saved = load(path)
                elif operation == "kill and load":
                    if saved.network.queried:  # the statistics of queries since the last round may be lost
                        twin.tick()
                        saved.tick()
                    if not eager:  # else files come and go meanwhile
                        path = killed(path, Path(root) / f"{step + 1}")
                    stack.close()
                    saved = load(path)
                elif twin.ids:
                    assert operation(saved) == operation(twin)
            assert saved.certify() == twin.certify()
            assert state_hash(saved.network) == state_hash(twin.network)


# The log ----------------------------------------------------------------------------------------------


def counted(world: World) -> int:
    """What the only canister counted."""
    return number(world.query(world.ids[0], "read") or b"")


def logged(path: Path) -> Path:
    """A folder as a kill leaves it after three counted calls, the last one being its log's last two records."""
    network, folder = open_folder(path / "used")
    world = World(network)
    canister_id = world.deploy()
    folder.checkpoint()
    for _ in range(3):
        world.submit(canister_id, "count")
        network.tick()
    copy = killed(path / "used", path / "left")
    folder.close()
    return copy


def the_log(folder: Path) -> Path:
    (found,) = folder.glob("log-*")
    return found


def record_ends(log: bytes) -> list[int]:
    """Where each record of a log ends."""
    ends, at = [], HEADER
    while at < len(log):
        at += 12 + struct.unpack_from("<I", log, at)[0]
        ends.append(at)
    return ends


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_record_cut_off_anywhere_is_dropped_and_those_before_it_hold(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = logged(Path(root))
        log = the_log(folder).read_bytes()
        ends = [HEADER, *record_ends(log)]
        at = data.draw(st.integers(0, len(log)))
        the_log(folder).write_bytes(log[:at])
        whole = sum(end <= at for end in ends[1:])
        with opened(folder) as world:
            assert len(world.network.ingress) == 2 + (whole + 1) // 2
            assert counted(world) == whole // 2
        with opened(folder) as world:
            assert counted(world) == whole // 2


def test_zeros_that_a_failure_of_power_left_at_the_end_are_dropped(tmp_path: Path) -> None:
    folder = logged(tmp_path)
    with the_log(folder).open("ab") as log:
        log.write(bytes(5000))
    with opened(folder) as world:
        assert counted(world) == 3


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_record_damaged_before_others_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = logged(Path(root))
        log = bytearray(the_log(folder).read_bytes())
        at = data.draw(st.integers(HEADER, record_ends(bytes(log))[-2] - 1))
        log[at] ^= data.draw(st.integers(1, 255))
        the_log(folder).write_bytes(log)
        with pytest.raises(StateError, match=r"log-\d+ is damaged at byte .*remove the folder to start afresh"):
            open_folder(folder)


def test_a_log_that_gives_another_result_when_replayed_is_refused(tmp_path: Path) -> None:
    folder = logged(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scheduler, "round", lambda self: setattr(self._network, "burned", self._network.burned + 1))
        with pytest.raises(StateError, match=r"log-\d+ was replayed, but _round gave .* another version of localnet"):
            open_folder(folder)
    with opened(folder) as world:
        assert counted(world) == 3


def test_a_missing_log_is_refused(tmp_path: Path) -> None:
    folder = logged(tmp_path)
    the_log(folder).unlink()
    with pytest.raises(StateError, match=r"its log .* is missing"):
        open_folder(folder)


def test_a_round_that_fails_is_replayed_with_its_failure(tmp_path: Path) -> None:
    network, folder = open_folder(tmp_path / "used")

    def broken(self: Streams) -> None:
        self._network.burned += 1
        raise RuntimeError("a fault of localnet")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Streams, "deliver", broken)
        with pytest.raises(RuntimeError):
            network.tick()
        copy = killed(tmp_path / "used", tmp_path / "left")
        before = state_hash(network)
        folder.close()
        again, folder = open_folder(copy)
        assert state_hash(again) == before
        folder.close()


def test_what_cannot_be_written_is_not_acknowledged(tmp_path: Path) -> None:
    network, folder = open_folder(tmp_path / "used")
    world = World(network)
    canister_id = world.deploy()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Log, "append", full)
        with pytest.raises(BadRequest, match=r"cannot be written: .*No space left"):
            world.submit(canister_id, "count")
    for use in (network.tick, network.check, lambda: world.query(canister_id, "read")):
        with pytest.raises(BadRequest, match="cannot be written"):
            use()
    folder.close()
    with opened(tmp_path / "used") as world:
        assert counted(world) == 0


# Files of other formats, damage, strangers ------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoint", "log"])
def test_another_format_version_is_refused(tmp_path: Path, name: str) -> None:
    folder = logged(tmp_path)
    file = the_log(folder) if name == "log" else folder / "checkpoint"
    content = bytearray(file.read_bytes())
    content[8:12] = word(99)
    file.write_bytes(content)
    with pytest.raises(StateError, match=r"has format 99, this localnet reads format 1; remove the folder"):
        open_folder(folder)


def test_a_damaged_checkpoint_and_damaged_pages_are_refused(tmp_path: Path) -> None:
    folder = logged(tmp_path)
    file = max(folder.glob("pages-*"), key=lambda path: path.stat().st_size)
    pages = file.read_bytes()
    file.write_bytes(pages[:-1] + bytes([pages[-1] ^ 1]))
    with pytest.raises(StateError, match=r"a page of memory is missing or damaged \(.*pages-"):
        open_folder(folder)
    file.unlink()
    with pytest.raises(StateError, match=r"pages-\d+ cannot be read: No such file"):
        open_folder(folder)
    content = (folder / "checkpoint").read_bytes()
    (folder / "checkpoint").write_bytes(content[:-3])
    with pytest.raises(StateError, match="checkpoint is damaged: its checksum does not match"):
        open_folder(folder)


def test_state_of_a_class_with_other_fields_is_refused(tmp_path: Path) -> None:
    folder = logged(tmp_path)
    stored = checkpoint.unpack(folder / "checkpoint")
    stored.classes["canister.Settings"].append("favourite_colour")
    (folder / "checkpoint").write_bytes(checkpoint.pack(stored))
    with pytest.raises(
        StateError, match=r"written by localnet .*Settings was saved with the fields .*favourite_colour"
    ):
        open_folder(folder)


def test_an_attribute_nobody_thought_of_is_an_error_and_no_loss(tmp_path: Path) -> None:
    network, folder = open_folder(tmp_path / "used")
    vars(network.outcalls)["surprise"] = 1
    with pytest.raises(StateError, match=r"of Outcalls, checkpoint does not know whether to save \['surprise'\]"):
        folder.checkpoint()
    del vars(network.outcalls)["surprise"]
    canister_id = World(network).deploy()
    network.canisters[canister_id].certified_data = object()  # type: ignore[assignment]
    with pytest.raises(StateError, match=r"a builtins\.object cannot be saved"):
        folder.checkpoint()
    network.canisters[canister_id].certified_data = b""
    folder.close()
    with opened(tmp_path / "used") as world:
        assert world.ids == [canister_id]


def test_a_folder_is_used_by_one_network_at_a_time(tmp_path: Path) -> None:
    network, folder = open_folder(tmp_path)
    with pytest.raises(StateError, match="another network of this process uses"):
        StateFolder(tmp_path)
    code = (
        f"from localnet.state_folder import StateFolder; from pathlib import Path; StateFolder(Path({str(tmp_path)!r}))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is used by process" in other.stderr.splitlines()[-1]
    World(network).deploy()
    folder.close()
    with pytest.raises(BadRequest, match="stopped"):
        network.tick()
    with opened(tmp_path) as world:
        assert len(world.ids) == 1


def test_the_state_of_a_genuine_server_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "topology.json").write_text(json.dumps({}))
    with pytest.raises(StateError, match=r"no state folder of localnet.*topology\.json.*PocketIC server"):
        open_folder(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["lock", "topology.json"]


# What is written --------------------------------------------------------------------------------------


def test_pages_that_did_not_change_are_not_written_again(tmp_path: Path) -> None:
    network, folder = open_folder(tmp_path)
    world = World(network)
    ids = [world.deploy() for _ in range(3)]
    world.upload(ids[0], b"".join(word(i) for i in range(100_000)))
    network.tick()
    folder.checkpoint()
    size = sum(file.stat().st_size for file in tmp_path.glob("pages-*"))
    assert 400_000 < size < 900_000
    world.submit(ids[1], "count")
    network.tick()
    folder.checkpoint()
    assert sum(file.stat().st_size for file in tmp_path.glob("pages-*")) - size <= 3 * 65536
    for _ in range(80):
        world.submit(ids[1], "count")
        network.tick()
        folder.checkpoint()
    files = list(tmp_path.glob("pages-*"))
    assert len(files) <= 40
    assert sum(file.stat().st_size for file in files) < 3 * size
    folder.close()
    with opened(tmp_path) as world:
        assert number(world.query(ids[1], "read") or b"") == 81
