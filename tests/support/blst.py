"""The part of the `blst` binding that icp-py-core checks certificates with, built on PyPI's `pyblst`.

The binding icp-py-core names in its extra ``bls`` is in no package registry; both are bindings of the same C library.
"""

from __future__ import annotations

from typing import Any

import pyblst

# A compiled module without type hints.
_pyblst: Any = pyblst
BLST_SUCCESS = 0
BLST_VERIFY_FAIL = 5
_G2 = _pyblst.BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
    )
)


class P2_Affine:
    """A public key. Raises ``ValueError`` for bytes that are no point of the group."""

    def __init__(self, compressed: bytes) -> None:
        self.point = _pyblst.BlstP2Element.uncompress(compressed)


class P1_Affine:
    """A signature. Raises ``ValueError`` for bytes that are no point of the group."""

    def __init__(self, compressed: bytes) -> None:
        self.point = _pyblst.BlstP1Element.uncompress(compressed)

    def core_verify(self, key: P2_Affine, hashes: bool, message: bytes, domain: bytes, prefix: bytes | None) -> int:
        """`BLST_SUCCESS` when this is the key's signature of the message under the domain separation tag."""
        if not hashes:
            raise ValueError("only messages hashed to the curve are checked, encoded ones are not")
        hashed = _pyblst.BlstP1Element.hash_to_group((prefix or b"") + message, domain)
        left, right = _pyblst.miller_loop(self.point, _G2), _pyblst.miller_loop(hashed, key.point)
        return BLST_SUCCESS if _pyblst.final_verify(left, right) else BLST_VERIFY_FAIL


class Pairing:
    """The binding's other way of checking: several signatures in one."""

    def __init__(self, hashes: bool, domain: bytes) -> None:
        self._hashes = hashes
        self._domain = domain
        self._results: list[int] = []

    def aggregate(self, key: P2_Affine, signature: P1_Affine, message: bytes, prefix: bytes | None) -> None:
        """Add one signature."""
        self._results.append(signature.core_verify(key, self._hashes, message, self._domain, prefix))

    def finalverify(self) -> bool:
        """True when all of them hold."""
        return bool(self._results) and not any(self._results)
