"""What this network's own certificates prove, when they come back inside canister signatures.

The network knows its subnets' keys, so it checks a signature by making it again: BLS signatures are unique.
"""

from __future__ import annotations

from typing import Any

from localnet.cbor import decode
from localnet.certificates import Certifier
from localnet.hash_tree import look_up, root_hash
from localnet.network import Network


def certified_data(network: Network, certificate: dict[str, Any], canister: bytes) -> bytes | None:
    """A canister's certified data in a certificate, or None when it is not in it.

    Raises ``ValueError`` when the certificate is malformed or not this network's.
    """
    subnet = network.root
    delegation = certificate.get("delegation")
    if delegation is not None:
        subnet = network.subnet_of(canister)
        if not isinstance(delegation, dict) or subnet is None or delegation.get("subnet_id") != subnet.id:
            raise ValueError("the certificate's delegation is not that of the canister's subnet")
        content = delegation.get("certificate")
        parent = decode(content) if isinstance(content, bytes) else None
        if not isinstance(parent, dict) or parent.get("delegation") is not None:
            raise ValueError("the certificate's delegation holds no certificate of the root subnet")
        _check(network.root.certifier, parent)
        if look_up(parent["tree"], [b"subnet", subnet.id, b"public_key"]) != subnet.certifier.der_public_key:
            raise ValueError("the certificate's delegation is for another key")
    _check(subnet.certifier, certificate)
    return look_up(certificate["tree"], [b"canister", canister, b"certified_data"])


def _check(certifier: Certifier, certificate: dict[str, Any]) -> None:
    if certifier.sign(root_hash(certificate.get("tree"))) != certificate.get("signature"):
        raise ValueError("the certificate is not signed by this network")
