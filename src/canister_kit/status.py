"""A canister's own status, as far as it is read: who its controllers are.

Declarations only (IC interface specification, "IC method canister_status"). Candid lets the other fields go.
"""

from kybra import Principal, Record, Vec


class CanisterIdRecord(Record):
    canister_id: Principal


class StatusSettings(Record):
    controllers: Vec[Principal]


class StatusReply(Record):
    settings: StatusSettings
