"""Makes any call of a canister go wrong in the course of a long run: the n-th from now, whatever it is.

A probe (`faults`) without a target: one fault after the other may strike, where a probe spoils one known call of one
flow. Needs no marks in the canister's code. Made for forks.
"""

from __future__ import annotations

from localnet.canister import Canister, Status
from localnet.message import OutgoingCall
from tests.fleet.faults import PAYING, Fault, Made, Probe
from tests.fleet.inprocess import InProcess


class Chaos(Probe):
    """A probe whose faults are armed one by one."""

    def __init__(self, network: InProcess, caller: bytes):
        super().__init__(network, caller)
        self.reserve = 0
        """What the caller may not spend below."""
        self.overspent = 0
        """How far it came below at most, when it attached cycles to a call."""
        self.stopped: set[bytes] = set()
        """Children that were stopped by a fault."""
        self._skip = 0
        self._message = -1

    def arm(self, fault: Fault, skip: int) -> None:
        """Has the call after so many others go wrong; for faults of whole messages, the message after so many."""
        self.fault = fault
        self.struck = False
        self._skip = skip
        self._message = self._messages + skip
        self._number = self._trapping = -1

    def _on_send(self, canister: Canister, number: int, call: OutgoingCall) -> None:
        super()._on_send(canister, number, call)
        if canister.id == self.caller and call.method in PAYING:
            # What is set aside for answers comes back but for what reading them costs.
            set_aside = sum(callback.call.prepaid for callback in canister.callbacks.values())
            self.overspent = max(self.overspent, self.reserve - canister.cycles - set_aside)

    def _site_of(self, canister: Canister, call: OutgoingCall) -> str:
        del canister  # only marks in its log tell more
        return call.method

    def _is_target(self, made: Made) -> bool:
        if self.fault in (Fault.CHILD_STOPPED, Fault.CHILD_DELETED) and not self._is_idle(made.child):
            return False
        self._skip -= 1
        return self._skip < 0

    def _is_idle(self, child: bytes) -> bool:
        """Whether a child is there, to be stopped or deleted, and no message of it is open that would go along."""
        found = self.network.canisters.get(child)
        if found is None or (self.fault is Fault.CHILD_STOPPED and found.status is not Status.RUNNING):
            return False
        return not (found.queue or found.contexts or found.callbacks)

    def _is_the_sending_message(self) -> bool:
        return self._messages - 1 == self._message

    def _touch(self, child: Canister) -> None:
        super()._touch(child)
        if self.fault is Fault.CHILD_STOPPED:
            self.stopped.add(child.id)

    def _strike(self, call: OutgoingCall, callback: int, made: Made) -> None:
        # A callback that is to trap has not come yet: the calls sent meanwhile are not spoiled, too.
        if self._number < 0 or self.fault is not Fault.TRAPPED:
            super()._strike(call, callback, made)
