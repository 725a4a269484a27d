"""Who administers the factory: a list that its controllers keep.

Pure. It begins with the contract's admin and is never empty. Not for the controllers themselves: those are read from
the platform and cached (`canister_kit.controllers`). Principals in bytes.

    settings "admins"  per admin u8 length, principal
"""

from kybra import Principal, StableBTreeMap, blob, text

from canister_kit.guards import ANONYMOUS
from canister_kit.short_bytes import all_unpacked, packed

FIRST_ADMIN = Principal.from_str("mnkyz-mnbtr-dsmec-2mbve-2yktb-kaktp-jpw52-vjbxb-dzdjm-4rglf-uqe")
MAX_ADMINS = 32
ADMINS_KEY = "admins"
NOT_AN_ADMIN = "Unauthorized access. Caller is not an admin."


class Admins:
    """The list over the settings map."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings

    def all(self) -> list[bytes]:
        """The admins in the order in which they were added."""
        stored = self._settings.get(ADMINS_KEY)
        if stored is None:
            return [FIRST_ADMIN.bytes]
        return all_unpacked(stored)

    def refusal(self, caller: bytes) -> str:
        """Why this caller is no admin, or ""."""
        return "" if caller in self.all() else NOT_AN_ADMIN

    def add(self, admin: bytes) -> str:
        """Adds an admin, or says why not."""
        admins = self.all()
        if admin in (ANONYMOUS, b""):
            return "an admin is neither the anonymous principal nor the management canister"
        if admin in admins:
            return ""
        if len(admins) >= MAX_ADMINS:
            return f"there are {len(admins)} admins, at most {MAX_ADMINS}: remove one first"
        self._store([*admins, admin])
        return ""

    def remove(self, admin: bytes) -> str:
        """Removes an admin, or says why not."""
        admins = self.all()
        if admin not in admins:
            return "that principal is no admin"
        if len(admins) == 1:
            return "the last admin stays: add another one first"
        self._store([known for known in admins if known != admin])
        return ""

    def _store(self, admins: list[bytes]) -> None:
        self._settings.insert(ADMINS_KEY, packed(*admins))
