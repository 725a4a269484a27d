"""HTTPS outcalls of the management canister, and the one that asks a zone's contract for a role.

Declarations (IC interface specification, "IC method http_request") and the request itself; how its body is built and
its answer read is in `oracle`.
"""

from kybra import Func, Opt, Query, Record, Service, Variant, Vec, blob, ic, nat, nat64, null, service_update, text

from canister_kit import oracle

# What one outcall may cost; the platform refunds what it does not take.
OUTCALL_CYCLES = 20_949_972_000


class HttpHeader(Record):
    name: text
    value: text


class HttpResponse(Record):
    status: nat
    headers: Vec[HttpHeader]
    body: blob


class TransformArgs(Record):
    response: HttpResponse
    context: blob


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


def role_request(rpc_host: str, rpc_path: str, body: bytes) -> HttpRequest:
    """The outcall that carries a JSON-RPC request to a contract's node.

    The canister exports `oracle_transform_function` for it.
    """
    return {
        "url": f"https://{rpc_host}{rpc_path}",
        "max_response_bytes": oracle.MAX_RESPONSE_BYTES,
        "method": {"post": None},
        "headers": [
            {"name": "Host", "value": rpc_host},
            {"name": "User-Agent", "value": oracle.USER_AGENT},
            {"name": "Content-Type", "value": "application/json"},
        ],
        "body": body,
        "transform": {"function": (ic.id(), "oracle_transform_function"), "context": oracle.CONTEXT},
    }


def without_headers(args: TransformArgs) -> HttpResponse:
    """The response of an outcall without its headers, which differ between replicas."""
    response = args["response"]
    return {"status": response["status"], "headers": [], "body": response["body"]}
