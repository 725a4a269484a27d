"""The canisters that a zone calls: the management canister for outcalls and its status, its battery for cycles.

Declarations only; what is asked and when is decided elsewhere.
"""

from kybra import (
    Func,
    Opt,
    Query,
    Record,
    Service,
    Variant,
    Vec,
    blob,
    nat,
    nat64,
    null,
    service_update,
    text,
)

from canister_kit.cycles import TransferCyclesResult
from canister_kit.status import CanisterIdRecord, StatusReply
from zone_canister.candid_types import HttpHeader, HttpResponse, TransformArgs

TransformFunc = Func(Query[[TransformArgs], HttpResponse])  # pyright: ignore[reportArgumentType]


class HttpTransform(Record):
    function: TransformFunc  # pyright: ignore[reportInvalidTypeForm]
    context: blob


class HttpMethod(Variant, total=False):
    get: null
    head: null
    post: null


class HttpRequest(Record):
    url: text
    max_response_bytes: Opt[nat64]
    method: HttpMethod
    headers: Vec[HttpHeader]
    body: Opt[blob]
    transform: Opt[HttpTransform]


class OutcallService(Service):
    @service_update
    def http_request(self, request: HttpRequest) -> HttpResponse: ...


class BatteryService(Service):
    @service_update
    def cycles_manager_transferCycles(self, cycles_requested: nat) -> TransferCyclesResult: ...


class StatusService(Service):
    @service_update
    def canister_status(self, args: CanisterIdRecord) -> StatusReply: ...
