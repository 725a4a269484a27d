"""State survives upgrades to the same and to changed code; a foreign stable memory is refused and left as it was."""

import gzip
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.support.actor import Actor, init_argument
from tests.support.factories import deploy_factory, publish
from tests.support.network import CallRejected
from tests.support.variants import build_zone_variant
from tests.support.zones import RPC_HOST, TEAM, ZONE_ID, deploy_zone, join, key_id, member, zone_init

T = 10**12


@pytest.fixture(scope="session")
def changed_zone(tmp_path_factory) -> bytes:
    """The zone canister with another version number."""
    return build_zone_variant(tmp_path_factory.mktemp("changed"), ("\nVERSION = 1000\n", "\nVERSION = 4711\n"))


def zone_state(zone: Actor) -> dict[str, Any]:
    """Everything that a zone tells about its stores."""
    reader = member(1)
    keys = [key_id(number) for number in range(5)]
    return {
        "messages": zone.call("get_messages_by_range", 0, 2**32 - 1, sender=reader),
        "by_key": [zone.call("get_messages_by_range_for_key", key, 0, 2**32 - 1, sender=reader) for key in keys],
        "ends": [zone.call("get_max_message_id_by_key", key, sender=reader) for key in keys],
        "numbers": [zone.call(f"get_{name}") for name in ("message_count", "message_usage", "max_message_id")],
        "roles": [zone.call("get_role", member(number).bytes) for number in range(5)],
        "facts": [zone.call(f"get_{name}") for name in ("zone_id", "installation_id")],
    }


@pytest.fixture
def full_zone(network, zone_build) -> Actor:
    zone = deploy_zone(network, zone_build.wasm, zone_build.did, call_token=b"\x22" * 32)
    for number in range(1, 4):
        join(zone, number, 100 * number)
    items = [{"0": key_id(number % 4), "1": b"%d" % number * (number % 50)} for number in range(300)]
    assert zone.call("add_messages", items, sender=member(1))[0] == "ok"
    return zone


@pytest.mark.parametrize("options", [{}, {"skip_pre_upgrade": True}])
def test_a_zone_keeps_everything_through_upgrades(full_zone, zone_build, changed_zone, options):
    network, zone = full_zone.network, full_zone
    before = zone_state(zone)
    network.upgrade(zone.id, zone_build.wasm, sender=TEAM, **options)
    assert zone_state(zone) == before
    other_arguments = init_argument(zone_build.did, zone_init(zone_id="0x" + "11" * 20, rpc_host="other"))
    network.upgrade(zone.id, changed_zone, other_arguments, sender=TEAM, **options)
    assert zone.call("get_version") == 4711
    assert zone_state(zone) == before
    network.upgrade(zone.id, zone_build.wasm, sender=TEAM, **options)
    count = before["numbers"][0]
    assert zone.call("add_message", key_id(1), b"after", sender=member(2)) == ("ok", count + 1)
    last = zone.call("get_message_by_id", count + 1, sender=member(1))
    assert last["prev_msg_id"] == before["ends"][1]
    assert zone.call("get_message_by_id", last["prev_msg_id"], sender=member(1))["next_msg_id"] == count + 1


def test_a_zone_of_the_first_layout_moves_its_messages_with_their_ids(network, zone_build):
    # Made by version 1000 as of its first store: member 1 added 240 messages in batches of 40, then a large one, one
    # whose ciphertext was known under another key, and an empty one.
    image = gzip.decompress((Path(__file__).parent / "zone_layout_1.image.gz").read_bytes())
    zone = deploy_zone(network, zone_build.wasm, zone_build.did)
    network.pic.set_stable_memory(zone.id, image)
    network.upgrade(zone.id, zone_build.wasm, sender=TEAM, skip_pre_upgrade=True)
    with pytest.raises(CallRejected, match="being moved to a new layout"):
        zone.call("get_messages_by_range", 0, 2**32 - 1, sender=member(1))
    label, fault = zone.call("add_message", key_id(1), b"too early", sender=member(1))
    assert (label, "being moved" in fault) == ("err", True)
    network.advance(5)
    expected = [(key_id(n % 5), b"message %d " % n + bytes([n % 40]) * (n % 40 * 7)) for n in range(240)]
    expected += [(key_id(1), b"large " + bytes(9000)), (key_id(2), b"message 3 " + bytes([3]) * 21), (key_id(9), b"")]
    found = zone.call("get_messages_by_range", 0, 2**32 - 1, sender=member(1))
    assert [(message["key_id"], message["ciphertext"]) for message in found] == expected
    assert [message["id"] for message in found] == list(range(1, 244))
    assert {message["timestamp"] for message in found} == {1_620_328_630}
    assert zone.call("get_message_sender", 5, sender=member(1)) == member(1).bytes
    assert zone.call("add_message", key_id(1), b"later", sender=member(1)) == ("ok", 244)
    assert zone.call("add_message", *expected[7], sender=member(1)) == ("ok", 8)


def test_a_large_zone_without_its_index_says_so_and_makes_it_in_steps(full_zone, zone_build):
    network, zone = full_zone.network, full_zone
    for batch in range(21):
        items = [{"0": key_id(number % 4), "1": b"%d %d" % (batch, number)} for number in range(1_000)]
        assert zone.call("add_messages", items, sender=member(1))[0] == "ok"
    before = zone_state(zone)
    network.upgrade(zone.id, zone_build.wasm, sender=TEAM, skip_pre_upgrade=True)
    for method, values in (("get_message_by_id", (1,)), ("get_messages_by_range", (0, 10))):
        with pytest.raises(CallRejected, match="index is being made again after an upgrade: try again"):
            zone.call(method, *values, sender=member(1))
    network.advance(5)
    assert zone_state(zone) == before
    network.upgrade(zone.id, zone_build.wasm, sender=TEAM, skip_pre_upgrade=True)
    # An update may index more at once: a duplicate is found at once.
    assert zone.call("add_message", key_id(1), b"20 1", sender=member(2))[0] == "ok"
    assert zone_state(zone) == before


def test_a_reinstalled_zone_is_empty(full_zone, zone_build):
    network = full_zone.network
    network.reinstall(full_zone.id, zone_build.wasm, init_argument(zone_build.did, zone_init()), sender=TEAM)
    assert full_zone.call("get_message_count") == 0
    assert full_zone.call("get_role", member(1).bytes) == 0


def test_a_factory_keeps_everything_through_an_upgrade(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build)
    publish(factory, zone_build.wasm)
    created = factory.call("create_zone_availability_canister", ZONE_ID, RPC_HOST, "/", sender=member(1))

    def state() -> list[Any]:
        return [
            factory.call("get_cycles_manager_children"),
            factory.call("get_my_zone", ZONE_ID, sender=member(1)),
            factory.call("get_release"),
            factory.call("get_creation_policy"),
            factory.call("get_admins"),
            factory.call("get_audit_log", None, 100),
        ]

    before = state()
    network.upgrade(factory.id, factory_build.wasm, sender=TEAM)
    assert state() == before
    assert factory.call("create_zone_availability_canister", ZONE_ID, RPC_HOST, "/", sender=member(1)) == created
    assert factory.call("create_zone_availability_canister", ZONE_ID, RPC_HOST, "/", sender=member(2)) != created


def kybra_image() -> bytes:
    """The start of a stable memory as Kybra's map library lays it out: one memory of one page, with a bounded map."""
    header = b"MGR\x01" + struct.pack("<HH", 1, 128) + bytes(32) + struct.pack("<255Q", 1, *[0] * 254)
    return (header + b"\x00").ljust(65_536, b"\xff") + b"BTR\x01".ljust(65_536, b"\x00")


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (b"\x01\x00\x00\x00regions of another language", "pages that begin with 01000000"),
        (b"MGR\x02".ljust(100, b"\x00"), "expected nothing or MGR version 1"),
        (kybra_image(), "memory 0 begins with 42545201; expected 42545202"),
    ],
    ids=["another language", "another manager", "the other builder"],
)
def test_a_foreign_stable_memory_is_refused_and_left_as_it_was(full_zone, zone_build, image, text):
    network, zone = full_zone.network, full_zone
    network.pic.set_stable_memory(zone.id, image)
    memory = network.stable_memory(zone.id)
    with pytest.raises(CallRejected) as caught:
        # The canister that runs is ours: its own pre_upgrade would trip over what has been put under it.
        network.upgrade(zone.id, zone_build.wasm, sender=TEAM, skip_pre_upgrade=True)
    assert text in caught.value.message
    assert network.stable_memory(zone.id) == memory


def test_another_kind_of_canister_is_refused_and_left_as_it_was(full_zone, factory_build):
    network, zone = full_zone.network, full_zone
    before = zone_state(zone)
    memory = network.stable_memory(zone.id)
    with pytest.raises(CallRejected) as caught:
        network.upgrade(zone.id, factory_build.wasm, sender=TEAM)
    assert "stable memory holds the layout 'zone 1 template': expected 'factory 1 template'" in caught.value.message
    assert network.stable_memory(zone.id) == memory
    assert zone_state(zone) == before
