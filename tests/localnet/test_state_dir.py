"""``state_dir`` of PocketIC instances: their state is there again after they were deleted."""

import json
from pathlib import Path
from typing import Any

import pytest
from pocket_ic import SubnetConfig

from localnet.clock import GENESIS
from localnet.errors import BadRequest
from localnet.instances import Instances, Options
from localnet.prices import Limits
from tests.localnet.wat import COUNTER, canister, number
from tests.support.network import Network


def test_an_instance_goes_on_from_its_state_folder(tmp_path: Path) -> None:
    with Network(SubnetConfig(application=1, system=1, state_dir=str(tmp_path))) as net:
        target = net.deploy(canister(COUNTER))
        net.update(target, "increment")
        net.advance(1000)
        call = net.submit(target, "increment")
        topology, key, time = net.get("read/topology"), net.pic.get_root_key(), net.time()
    with Network(SubnetConfig(state_dir=str(tmp_path))) as net:
        assert net.get("read/topology") == topology
        assert net.pic.get_root_key() == key
        assert net.time() >= time
        assert number(net.wait(call)) == 2
        assert number(net.update(target, "increment")) == 3
        assert net.deploy(canister(COUNTER)) != target
    with Network(SubnetConfig(state_dir=str(tmp_path))) as net:
        assert number(net.query(target, "read")) == 3


def create(net: Network, **config: Any) -> dict[str, Any]:
    """The server's answer to a request for an instance."""
    body = {"subnet_config_set": {}, **config}
    return net.pic.server.request_client.post(net.pic.server.url + "/instances", json=body).json()


def refusal(net: Network, **config: Any) -> str:
    """Why an instance cannot be created."""
    return create(net, **config)["Error"]["message"]


def test_subnets_and_time_are_those_of_the_folder_whatever_is_asked_for(tmp_path: Path, net: Network) -> None:
    here = str(tmp_path)
    with Network(SubnetConfig(application=1, state_dir=here)) as first:
        target = first.deploy(canister(COUNTER))
        topology, time = first.get("read/topology"), first.time()
    with Network(SubnetConfig(nns=True, system=2, state_dir=here)) as again:
        assert again.get("read/topology") == topology
        assert number(again.update(target, "increment")) == 1
    for start, earliest in ((GENESIS, time), (time + 10**15, time + 10**15)):
        config = {"state_dir": here, "initial_time": {"Timestamp": {"nanos_since_epoch": start}}}
        created = create(net, **config, incomplete_state="Enabled")["Created"]
        now = net.pic.server.instance_get("read/get_time", created["instance_id"])["nanos_since_epoch"]
        net.pic.server.delete_instance(created["instance_id"])
        assert created["topology"] == topology
        assert earliest <= now < earliest + 10**9


@pytest.mark.localnet_only("PocketIC's texts are others")
def test_a_folder_in_use_and_a_new_one_without_subnets_are_refused(tmp_path: Path, net: Network) -> None:
    here = str(tmp_path / "used")
    with Network(SubnetConfig(application=1, state_dir=here)) as first:
        assert "another network of this process uses" in refusal(net, state_dir=here)
        assert number(first.update(first.deploy(canister(COUNTER)), "increment")) == 1
    assert "at least one subnet" in refusal(net, state_dir=str(tmp_path / "new"))


@pytest.mark.localnet_only("a PocketIC server reads what a PocketIC server wrote")
def test_the_state_of_a_genuine_server_is_refused(tmp_path: Path, net: Network) -> None:
    (tmp_path / "topology.json").write_text(json.dumps({}))
    assert "no state folder of localnet" in refusal(net, state_dir=str(tmp_path))
    replica = {"nns": {"state_config": {"FromPath": str(tmp_path)}}}
    assert "only New is supported" in refusal(net, subnet_config_set=replica)


def test_a_network_of_another_seed_is_refused_and_other_limits_are_taken_over(tmp_path: Path) -> None:
    first = Instances(Options(seed=1))
    key = first.create(["Application"], state_dir=tmp_path).network.root.certifier.der_public_key
    first.close()
    with pytest.raises(BadRequest, match="holds a network of seed 1, not 2"):
        Instances(Options(seed=2)).create(["Application"], state_dir=tmp_path)
    limits = Limits(update=10**9)
    for options in (Options(1, limits), Options(1, limits)):
        again = Instances(options)
        network = again.create([], state_dir=tmp_path).network
        assert (network.limits, network.root.certifier.der_public_key) == (limits, key)
        again.close()
