"""Every method of the unmodified `pocket_ic` 3.1.2 client."""

import gzip
import hashlib

import ic
import pytest
from ic.candid import Types
from pocket_ic import PocketIC, SubnetConfig, SubnetKind

from tests.localnet.wat import COUNTER, canister, number
from tests.support.network import Network, Principal


@pytest.fixture
def pic(net: Network) -> PocketIC:
    """The client alone."""
    return net.pic


def counter(pic: PocketIC) -> Principal:
    target = pic.create_canister()
    pic.install_code(target, canister(COUNTER), [])
    return target


def test_instances_are_listed_until_deleted(pic: PocketIC) -> None:
    other = PocketIC()
    assert pic.server.list_instances()[other.instance_id] == "Available"
    pic.server.delete_instance(other.instance_id)
    assert pic.server.list_instances()[other.instance_id] == "Deleted"
    with pytest.raises(ConnectionError, match="no instance"):
        other.get_time()


def test_topology_lists_the_configured_subnets() -> None:
    with Network(SubnetConfig(application=2, nns=True, system=1, verified_application=1)) as net:
        kinds = sorted(kind.value for kind in net.pic.topology().values())
        assert kinds == ["Application", "Application", "NNS", "System", "VerifiedApplication"]
        key = net.pic.get_root_key()
        assert key is not None
        (nns,) = [subnet for subnet, kind in net.pic.topology().items() if kind == SubnetKind.NNS]
        assert Principal.self_authenticating(key).bytes == nns.bytes


def test_there_is_no_root_key_without_an_nns(pic: PocketIC) -> None:
    assert pic.get_root_key() is None


def test_time_is_set_and_advanced(pic: PocketIC) -> None:
    pic.set_time(2_000_000_000_000_000_000)
    assert pic.get_time() == {"nanos_since_epoch": 2_000_000_000_000_000_000}
    pic.advance_time(5)
    assert pic.get_time() == {"nanos_since_epoch": 2_000_000_000_000_000_005}
    pic.tick()
    assert pic.get_time()["nanos_since_epoch"] > 2_000_000_000_000_000_005
    with pytest.raises(ConnectionError, match="SettingTimeIntoPast"):
        pic.set_time(1)


def test_canisters_are_found_on_their_subnet(pic: PocketIC) -> None:
    target = pic.create_canister()
    assert pic.check_canister_exists(target)
    subnet = pic.get_subnet(target)
    assert subnet is not None
    assert subnet.bytes in [known.bytes for known in pic.topology()]
    assert pic.get_subnet(Principal(b"\0\0\0\0\0\0\0\7\1\1")) is None


def test_cycles_are_read_and_added(pic: PocketIC) -> None:
    target = pic.create_canister()
    before = pic.get_cycles_balance(target)
    assert pic.add_cycles(target, 10**20) == before + 10**20
    with pytest.raises(ConnectionError, match="not found"):
        pic.get_cycles_balance(Principal(b"\0\0\0\0\0\0\0\7\1\1"))


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_stable_memory_is_set_and_read(pic: PocketIC, compression: str | None) -> None:
    target = counter(pic)
    data = bytes(range(256)) * 1000
    pic.set_stable_memory(target, gzip.compress(data) if compression else data, compression)
    content = pic.get_stable_memory(target)
    assert content[: len(data)] == data
    assert len(content) % 65536 == 0
    assert not any(content[len(data) :])


def test_update_and_query_calls(pic: PocketIC) -> None:
    target = counter(pic)
    assert number(bytes(pic.update_call(target, "increment", b""))) == 1
    assert number(bytes(pic.query_call(target, "read", b""))) == 1
    with pytest.raises(ValueError, match=r"reject code CanisterError.*no update method.*CanisterMethodNotFound"):
        pic.update_call(target, "missing", b"")


def test_update_call_with_an_effective_principal(pic: PocketIC) -> None:
    target = counter(pic)
    reply = pic.update_call_with_effective_principal(target, None, "increment", b"")
    assert number(bytes(reply)) == 1


def test_the_sender_is_who_was_set(pic: PocketIC) -> None:
    body = """
    (func (export "canister_query who")
      (call $msg_caller_copy (i32.const 100) (i32.const 0) (call $msg_caller_size))
      (call $answer (i32.const 100) (call $msg_caller_size)))
    """
    target = pic.create_canister()
    pic.install_code(target, canister(body), [])
    alice = Principal.self_authenticating(b"alice")
    pic.set_sender(alice)
    assert bytes(pic.query_call(target, "who", b"")) == alice.bytes
    pic.set_anonymous_sender()
    assert bytes(pic.query_call(target, "who", b"")) == b"\x04"


def test_canisters_are_created_with_settings_on_a_subnet_and_with_an_id() -> None:
    with Network(SubnetConfig(application=2, nns=True)) as net:
        pic = net.pic
        alice = Principal.self_authenticating(b"alice")
        settings = {
            "controllers": [[alice.bytes]],
            "compute_allocation": [1],
            "memory_allocation": [],
            "freezing_threshold": [77],
        }
        target = pic.create_canister(settings)  # pyright: ignore[reportArgumentType]
        assert net.canister_status(target, sender=alice)["settings"]["freezing_threshold"] == 77
        for subnet in pic.topology():
            created = pic.create_canister(subnet=subnet)
            home = pic.get_subnet(created)
            assert home is not None
            assert home.bytes == subnet.bytes
        wanted = Principal(bytes(7) + b"\x05\1\1")
        assert pic.create_canister(canister_id=wanted).bytes == wanted.bytes
        with pytest.raises(ValueError, match="already"):
            pic.create_canister(canister_id=wanted)
        with pytest.raises(ValueError, match="specified_id"):
            pic.create_canister(canister_id=Principal(target.bytes[:7] + b"\xff\1\1"))


def test_a_canister_is_made_from_candid_and_wasm(pic: PocketIC) -> None:
    reply = ic.encode([{"type": Types.Text, "value": "hallo"}])
    body = f'(func (export "canister_query greet") (call $answer (i32.const 100) (i32.const {len(reply)})))'
    made = pic.create_and_install_canister_with_candid(
        "service : { greet : () -> (text) query; }", canister(body, {100: reply})
    )
    assert made.greet() == ["hallo"]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_port_file_belongs_to_one_server(pic: PocketIC) -> None:
    other = PocketIC()
    assert other.server.url == pic.server.url
    assert other.instance_id != pic.instance_id


def test_blobs_are_kept_by_their_hash(pic: PocketIC) -> None:
    assert pic.server.set_blob_store_entry(b"abc", None) == hashlib.sha256(b"abc").hexdigest()
    assert pic.server.set_blob_store_entry(gzip.compress(b"abc"), "gzip") == hashlib.sha256(b"abc").hexdigest()
