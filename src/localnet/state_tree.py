"""The certified state of a subnet: its tree of one round, made from what changed, and certificates cut out of it.

Times, call statuses, canisters and subnets under the paths of the IC interface specification ("The system
state tree"). Who may read which path is decided in `ic_api`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from localnet import principal
from localnet.canister import Canister
from localnet.certificates import self_described
from localnet.hash_tree import Path, Tree, tree, uleb128
from localnet.message import Reply

if TYPE_CHECKING:
    from localnet.ingress import Ingress
    from localnet.network import Network, Subnet


class CertifiedParts:
    """The parts of the certified state that grow with the network, kept from round to round.

    What a round changed is put in when a certificate is asked for: calls by the network's note of those that changed,
    canisters by a look at each.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._calls: dict[bytes, Tree] = {}
        self._canisters: dict[bytes, Tree] = {}
        self._known: dict[bytes, tuple[bytes, object]] = {}
        """Subnet of each canister in the trees, and what its entry was made from."""
        self._fixed = {
            b"subnet": tree({subnet.id: _subnet(subnet) for subnet in network.subnets.values()}),
            b"canister_ranges": tree(_range_shards(network.subnets.values())),
        }

    def tree(self, subnet: Subnet) -> Tree:
        """The tree of a subnet as of now."""
        self._update_calls()
        self._update_canisters()
        return tree(
            {
                b"time": uleb128(self._network.clock.now),
                b"canister": self._canisters.get(subnet.id, Tree()),
                b"request_status": self._calls.get(subnet.id, Tree()),
                **self._fixed,
            }
        )

    def _update_calls(self) -> None:
        history = self._network.ingress
        for rid in history.changed:
            entry = history.get(rid)
            if entry is not None:
                entry.certified = True
                self._calls[entry.subnet] = self._calls.get(entry.subnet, Tree()).with_(rid, _status(entry))
            else:
                self._calls = {subnet: calls.without(rid) for subnet, calls in self._calls.items()}
        history.changed.clear()

    def _update_canisters(self) -> None:
        canisters = self._network.canisters
        for canister in canisters.values():
            source = (tuple(canister.settings.controllers), canister.certified_data, canister.module)
            known = self._known.get(canister.id)
            if known is None or known[1] != source:
                self._known[canister.id] = canister.subnet, source
                entries = self._canisters.get(canister.subnet, Tree())
                self._canisters[canister.subnet] = entries.with_(canister.id, tree(_canister(canister)))
        if len(self._known) > len(canisters):
            for gone in self._known.keys() - canisters.keys():
                subnet, _ = self._known.pop(gone)
                self._canisters[subnet] = self._canisters[subnet].without(gone)


class CertifiedState:
    """A subnet's tree as of one round, with its signature once somebody asked for it."""

    def __init__(self, network: Network, subnet: Subnet) -> None:
        self.round = network.round_number
        self._subnet = subnet
        self.tree = network.certified_parts.tree(subnet)
        self._signing = threading.Lock()
        self._signature: bytes | None = None
        self._delegation: dict[str, bytes] | None = None
        self._root = network.root
        self._time = network.clock.now

    def certificate(self, paths: Iterable[Path]) -> bytes:
        """A CBOR certificate that reveals ``time`` and the given paths."""
        # One signature a round, however many wait for it at once.
        with self._signing:
            if self._signature is None:
                self._signature = self._subnet.certifier.sign(self.tree.hash)
            delegation = self._delegate() if self._subnet is not self._root else None
        content: dict[str, Any] = {
            "tree": self.tree.witness([(b"time",), *paths]),
            "signature": self._signature,
        }
        if delegation is not None:
            content["delegation"] = delegation
        return self_described(content)

    def _delegate(self) -> dict[str, bytes]:
        """The root subnet's word for this subnet's key and canisters."""
        if self._delegation is None:
            root = self._root
            content = {
                b"time": uleb128(self._time),
                b"subnet": {self._subnet.id: _subnet(self._subnet)},
                b"canister_ranges": _range_shards([self._subnet]),
            }
            state = tree(content)
            signature = root.certifier.sign(state.hash)
            certificate = self_described({"tree": state.witness([()]), "signature": signature})
            self._delegation = {"subnet_id": self._subnet.id, "certificate": certificate}
        return self._delegation


def current(network: Network, subnet: Subnet) -> CertifiedState:
    """The certified state of the last round."""
    state = network.certified.get(subnet.id)
    if state is None or state.round != network.round_number:
        state = network.certified[subnet.id] = CertifiedState(network, subnet)
    return state


def data_certificate(network: Network, canister_id: bytes) -> bytes:
    """The certificate a query sees as ``data_certificate``."""
    subnet = network.subnets[network.canisters[canister_id].subnet]
    return current(network, subnet).certificate([(b"canister", canister_id, b"certified_data")])


def _canister(canister: Canister) -> dict[bytes, Any]:
    content: dict[bytes, Any] = {
        b"controllers": self_described(sorted(canister.settings.controllers)),
        b"certified_data": canister.certified_data,
    }
    if canister.module is not None:
        content[b"module_hash"] = canister.module.hash
        content[b"metadata"] = {name.encode(): body for name, (_, body) in canister.module.metadata.items()}
    return content


_PROCESSING = tree({b"status": b"processing"})


def _status(entry: Ingress) -> Tree:
    response = entry.response
    if response is None:
        return _PROCESSING
    if isinstance(response, Reply):
        return tree({b"status": b"replied", b"reply": response.data})
    return tree(
        {
            b"status": b"rejected",
            b"reject_code": uleb128(int(response.code)),
            b"reject_message": response.message.encode(),
            b"error_code": f"IC{response.error_code:04}".encode(),
        }
    )


def _ranges(subnet: Subnet) -> list[list[bytes]]:
    return [[principal.canister_id(subnet.first), principal.canister_id(subnet.last)]]


def _range_shards(subnets: Iterable[Subnet]) -> dict[bytes, Any]:
    """The canister ranges once more, where v4 calls look for them: by subnet and first canister id."""
    return {subnet.id: {principal.canister_id(subnet.first): self_described(_ranges(subnet))} for subnet in subnets}


def _subnet(subnet: Subnet) -> dict[bytes, Any]:
    return {
        b"public_key": subnet.certifier.der_public_key,
        b"canister_ranges": self_described(_ranges(subnet)),
        b"node": {subnet.node.node_id: {b"public_key": subnet.node.der_public_key}},
    }
