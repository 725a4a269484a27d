"""A network of two application subnets, and canisters put on the one or the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pocket_ic import SubnetConfig

from tests.support.network import Network, Principal


@dataclass
class TwoSubnets:
    """The network and the ids of its subnets."""

    net: Network
    first: Principal
    second: Principal

    def deploy(self, subnet: Principal, module: bytes) -> Principal:
        """A canister with 100 T cycles on a subnet."""
        target = self.net.pic.create_canister(subnet=subnet)
        self.net.add_cycles(target, 100_000_000_000_000)
        self.net.install(target, module)
        return target

    def home(self, canister_id: Principal) -> bytes:
        """The subnet of a canister."""
        subnet = self.net.pic.get_subnet(canister_id)
        assert subnet is not None
        return subnet.bytes


@contextmanager
def two_subnets() -> Iterator[TwoSubnets]:
    """A network that lives as long as the ``with`` block."""
    with Network(SubnetConfig(application=2)) as net:
        first, second = list(net.pic.topology())
        yield TwoSubnets(net, first, second)
