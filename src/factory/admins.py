"""Who administers the factory: its controllers, as it read them last.

Pure. Not for reading them: that is a call to the management canister, in `main`.
"""

from canister_kit.controllers import ControllerCache


class Admins(ControllerCache):
    """The cached controllers as admins. Principals are bytes."""

    def refusal(self, caller: bytes) -> str:
        """Why this caller is no admin, or ""."""
        controllers = self.all()
        if not controllers:
            return "The factory does not know its controllers yet: call refresh_controllers once"
        return "" if caller in controllers else "Unauthorized access. Caller is not an admin."
