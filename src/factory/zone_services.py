"""A zone canister, as far as the factory calls it: its maintenance flag, how it is under it, who controls it.

Declarations only. Called only where the module hash, read just before, is that of a published release.
"""

from kybra import Opt, Principal, Record, Service, Variant, Vec, nat, nat32, nat64, service_query, service_update, text


class ZoneMaintenanceArgs(Record):
    on: bool
    restoring: bool


class ZoneMaintenanceResult(Variant, total=False):
    ok: nat64
    err: text


class ZoneHealthReply(Record):
    version: nat
    layout: text
    installation_id: int
    maintenance_until: Opt[nat64]
    messages: nat
    first_id: nat32
    last_id: nat32
    members: nat


class ZoneService(Service):
    @service_update
    def refresh_controllers(self) -> Vec[Principal]: ...

    @service_update
    def set_maintenance(self, args: ZoneMaintenanceArgs) -> ZoneMaintenanceResult: ...

    @service_query
    def get_health(self) -> ZoneHealthReply: ...
