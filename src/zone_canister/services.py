"""The canisters that a zone calls beside outcalls: the management canister for its status, its battery for cycles.

Declarations only; what is asked and when is decided elsewhere.
"""

from kybra import Service, nat, service_update

from canister_kit.cycles import TransferCyclesResult
from canister_kit.status import CanisterIdRecord, StatusReply


class BatteryService(Service):
    @service_update
    def cycles_manager_transferCycles(self, cycles_requested: nat) -> TransferCyclesResult: ...


class StatusService(Service):
    @service_update
    def canister_status(self, args: CanisterIdRecord) -> StatusReply: ...
