"""The membership cache: which principal has which role in the zone, as the zone's contract said last.

Pure: it works on one map. Not for asking the contract (`oracle`) nor for deciding when to ask (`outcalls`).

    members principal (<= 29 bytes) -> u64 time of the answer (ns) | role, big-endian, 32 bytes
"""

import struct

from kybra import StableBTreeMap, blob

ROLE_BYTES = 32
RECENT_MEMBERS = 256
ENTRY = struct.Struct("<Q32s")


class MemberCache:
    """Roles by principal. A role of 0 means no member and is not kept."""

    def __init__(self, members: StableBTreeMap[blob, blob]):
        self._members = members
        self._recent: dict[bytes, int] = {}

    def role(self, principal: bytes) -> int:
        """The role cached for a principal, 0 when there is none."""
        role = self._recent.get(principal)
        if role is None:
            entry = self._members.get(principal)
            role = 0 if entry is None else int.from_bytes(ENTRY.unpack(entry)[1], "big")
            if role:
                self._keep(principal, role)
        return role

    def store(self, principal: bytes, role: int, now: int) -> None:
        """Keeps what the contract answered at `now` (ns); 0 removes the principal."""
        if role:
            self._members.insert(principal, ENTRY.pack(now, role.to_bytes(ROLE_BYTES, "big")))
            self._keep(principal, role)
        else:
            self._members.remove(principal)
            self._recent.pop(principal, None)

    def _keep(self, principal: bytes, role: int) -> None:
        """Keeps a member's role at hand: every call asks for one. Strangers are not worth the room."""
        if len(self._recent) >= RECENT_MEMBERS:
            self._recent.clear()
        self._recent[principal] = role
