# pyright: reportInvalidTypeForm=false, reportArgumentType=false
"""Another canister, as this one calls it."""

from kybra import Opt, Service, Vec, blob, nat, service_query, service_update, void

from everything.shapes import Callback, Outcome, Person


class Remote(Service):
    @service_query
    def look(self, person: Person) -> Opt[Outcome]: ...

    @service_update
    def push(self, key: blob, values: Vec[nat], back: Callback) -> void: ...

    @service_update
    def ping(self) -> nat: ...
