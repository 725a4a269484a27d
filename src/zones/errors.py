"""The errors the library raises and the exit codes the command line gives them.

Not for programming mistakes: those stay ordinary Python exceptions and show their traceback.
"""

from __future__ import annotations

CANISTER_REJECT = 4
"""Reject code of an explicit refusal by the canister's own code (IC interface specification)."""


class ZonesError(Exception):
    """A failure the user can act on: what happened, and what to do next.

    `exit_code` is the process exit code of the command line for this kind of error.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UserError(ZonesError):
    """The request itself can't be carried out: a wrong argument, a missing file, a taken port."""

    exit_code = 1


class NetworkError(ZonesError):
    """The network could not be reached, or did not answer in time or in its own protocol."""

    exit_code = 2


class ReplyError(NetworkError):
    """A canister answered something else than its interface says: its code is another one."""


class RejectedError(ZonesError):
    """The network or a canister refused the call.

    `code` is the reject code of the IC interface specification (1 system fatal, 2 system transient,
    3 destination invalid, 4 canister reject, 5 canister error; 0 where a canister replied with an error
    value), `error_code` the optional IC error code such as `IC0503`.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str = "", *, code: int = 0, error_code: str | None = None) -> None:
        super().__init__(message, hint)
        self.code = code
        self.error_code = error_code


class ProofError(ZonesError):
    """What came from the network is not proven: it does not fit its certificate, or that can't be trusted."""

    exit_code = 4


class UnprovenYetError(ProofError):
    """Not proven, as a replica that lags behind or a zone that just evicted would have it: asking again may help."""
