"""Management calls and subnets: which subnet executes them, and what has to be on the same one."""

import hashlib

import pytest
from pocket_ic import SubnetConfig

from localnet import candid
from localnet import management_types as types
from tests.localnet.two_subnets import MANAGING, Pair, TwoSubnets, caller_and_callee, managing
from tests.localnet.wat import COUNTER, canister, number
from tests.support.network import CallRejected, Network, Principal


@pytest.fixture
def pair(two: TwoSubnets) -> Pair:
    return caller_and_callee(two)


def created(reply: bytes) -> Principal:
    return Principal(candid.decode(reply, [types.CANISTER_ID])[0]["canister_id"])


def test_users_create_canisters_on_the_subnet_they_name(pair: Pair) -> None:
    for subnet in (pair.first, pair.second):
        assert pair.home(pair.net.pic.create_canister(subnet=subnet)) == subnet.bytes


def test_a_canister_installs_code_on_the_other_subnet(pair: Pair) -> None:
    net = pair.net
    manager = pair.deploy(pair.first, canister(MANAGING))
    target = net.pic.create_canister(subnet=pair.second)
    net.add_cycles(target, 10**14)
    net.update_settings(target, controllers=[manager])
    value = {"canister_id": target.bytes, "mode": ("install", None), "wasm_module": canister(COUNTER), "arg": b""}
    net.update(manager, "run", managing(b"", "install_code", types.INSTALL, value))
    assert number(net.update(target, "increment")) == 1
    reply = net.update(manager, "run", managing(b"", "take_canister_snapshot", types.TAKE_SNAPSHOT, value))
    snapshot = {"canister_id": target.bytes, "snapshot_id": candid.decode(reply, [types.SNAPSHOT])[0]["id"]}
    net.update(target, "increment")
    net.update(manager, "run", managing(b"", "load_canister_snapshot", types.LOAD_SNAPSHOT, snapshot))
    assert number(net.query(target, "read")) == 1


def test_a_chunk_store_must_be_on_the_subnet_of_the_target(pair: Pair) -> None:
    net, module = pair.net, canister(COUNTER)
    digest = hashlib.sha256(module).digest()
    net.manage("upload_chunk", types.UPLOAD_CHUNK, {"canister_id": pair.caller.bytes, "chunk": module})
    target = net.pic.create_canister(subnet=pair.second)
    value = {
        "mode": ("install", None),
        "target_canister": target.bytes,
        "store_canister": pair.caller.bytes,
        "chunk_hashes_list": [{"hash": digest}],
        "wasm_module_hash": digest,
        "arg": b"",
    }
    with pytest.raises(CallRejected, match="is not on the subnet of") as caught:
        net.manage("install_chunked_code", types.INSTALL_CHUNKED, value)
    assert caught.value.error_code == "CanisterNotHostedBySubnet"


def test_a_snapshot_is_not_loaded_from_another_subnet(pair: Pair) -> None:
    taken = pair.net.take_snapshot(pair.caller)
    with pytest.raises(CallRejected, match="Could not find the snapshot") as caught:
        pair.net.load_snapshot(pair.callee, taken["id"])
    assert caught.value.error_code == "CanisterSnapshotNotFound"


def test_a_call_to_a_subnet_is_executed_there(pair: Pair) -> None:
    net = pair.net
    manager = pair.deploy(pair.first, canister(MANAGING))
    reply = net.update(manager, "run", managing(pair.first.bytes, "create_canister", types.CREATE, {}))
    assert pair.home(created(reply)) == pair.first.bytes
    about = {"canister_id": pair.callee.bytes}
    net.update_settings(pair.callee, controllers=[manager, Principal.anonymous()])
    net.update(manager, "run", managing(pair.second.bytes, "stop_canister", types.CANISTER_ID, about))
    assert net.canister_status(pair.callee)["status"] == ("stopped", None)
    with pytest.raises(CallRejected, match="not found"):
        net.update(manager, "run", managing(pair.first.bytes, "start_canister", types.CANISTER_ID, about))


@pytest.mark.parametrize("method", ["create_canister", "raw_rand"])
def test_only_the_nns_creates_canisters_on_another_subnet(method: str) -> None:
    with Network(SubnetConfig(application=2, nns=True)) as net:
        subnets = {value["subnet_kind"]: Principal.from_str(name) for name, value in topology(net).items()}
        nns, application = subnets["NNS"], subnets["Application"]
        for home_, allowed in ((nns, True), (application, False)):
            manager = net.pic.create_canister(subnet=home_)
            net.add_cycles(manager, 10**14)
            net.install(manager, canister(MANAGING))
            other = next(Principal.from_str(name) for name in topology(net) if name != home_.to_str())
            call = managing(other.bytes, method, types.CREATE, {})
            if allowed:
                reply = net.update(manager, "run", call)
                if method == "create_canister":
                    assert TwoSubnets(net, nns, application).home(created(reply)) == other.bytes
            else:
                with pytest.raises(CallRejected, match="Sender should be on the same subnet or on the NNS subnet"):
                    net.update(manager, "run", call)


def topology(net: Network) -> dict[str, dict[str, str]]:
    """Subnet id to its description."""
    return net.get("read/topology")["subnet_configs"]
