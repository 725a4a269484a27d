"""``state_dir`` of PocketIC instances: their state is there again after they were deleted."""

import json
from pathlib import Path
from typing import Any

import pytest
from pocket_ic import SubnetConfig

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


def refusal(net: Network, **config: Any) -> str:
    """Why an instance cannot be created."""
    body = {"subnet_config_set": {}, **config}
    answer = net.pic.server.request_client.post(net.pic.server.url + "/instances", json=body)
    assert answer.status_code == 400
    return answer.json()["Error"]["message"]


@pytest.mark.localnet_only("PocketIC's texts are others")
def test_what_does_not_suit_the_saved_state_is_refused(tmp_path: Path, net: Network) -> None:
    here = str(tmp_path)
    with Network(SubnetConfig(application=1, state_dir=here)) as first:
        target = first.deploy(canister(COUNTER))
        assert "another network of this process uses" in refusal(net, state_dir=here)
    nns = {"nns": {"state_config": "New"}}
    text = "holds subnets of the kinds Application, not NNS"
    assert text in refusal(net, state_dir=here, subnet_config_set=nns)
    early = {"Timestamp": {"nanos_since_epoch": 1}}
    assert "before the time of the saved state" in refusal(net, state_dir=here, initial_time=early)
    assert "at least one subnet" in refusal(net, state_dir=str(tmp_path / "new"))
    with Network(SubnetConfig(state_dir=here)) as again:
        assert number(again.query(target, "read")) == 0


@pytest.mark.localnet_only("a PocketIC server reads what a PocketIC server wrote")
def test_the_state_of_a_genuine_server_is_refused(tmp_path: Path, net: Network) -> None:
    (tmp_path / "topology.json").write_text(json.dumps({}))
    assert "no state folder of localnet" in refusal(net, state_dir=str(tmp_path))
    replica = {"nns": {"state_config": {"FromPath": str(tmp_path)}}}
    assert "only New is supported" in refusal(net, subnet_config_set=replica)
