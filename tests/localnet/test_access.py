"""Who may call which management method: every method, by every kind of caller, with the specified error."""

from typing import Any

import pytest

from localnet import candid
from localnet import management_types as types
from localnet.canister import Canister
from localnet.errors import ErrorCode, Reject
from localnet.management_calls import METHODS
from localnet.principal import ANONYMOUS, MANAGEMENT
from tests.localnet.direct import Direct, Refused
from tests.localnet.passing import PASSING, payload
from tests.localnet.wat import COUNTER, canister
from tests.support.network import Principal

CONTROLLER = Principal.self_authenticating(b"controller").bytes
STRANGER = Principal.self_authenticating(b"stranger").bytes
CALLERS = ("controller", "stranger", "anonymous", "controlling canister", "the canister itself", "other canister")
CONTROLLERS = {"controller", "controlling canister"}
WITH_SELF = CONTROLLERS | {"the canister itself"}
CANISTERS = {"controlling canister", "the canister itself", "other canister"}
EVERYONE: set[str] = {*CALLERS}

ALLOWED: dict[str, set[str]] = {
    "create_canister": CANISTERS,
    "update_settings": CONTROLLERS,
    "upload_chunk": WITH_SELF,
    "clear_chunk_store": WITH_SELF,
    "stored_chunks": WITH_SELF,
    "install_code": CONTROLLERS,
    "install_chunked_code": CONTROLLERS,
    "uninstall_code": CONTROLLERS,
    "start_canister": CONTROLLERS,
    "stop_canister": CONTROLLERS,
    "canister_status": WITH_SELF,
    "canister_info": CANISTERS,
    "canister_metadata": CANISTERS,
    "delete_canister": CONTROLLERS,
    "deposit_cycles": CANISTERS,
    "raw_rand": CANISTERS,
    "http_request": CANISTERS,
    "take_canister_snapshot": CONTROLLERS,
    "load_canister_snapshot": CONTROLLERS,
    "read_canister_snapshot_metadata": CONTROLLERS,
    "read_canister_snapshot_data": CONTROLLERS,
    "upload_canister_snapshot_metadata": CONTROLLERS,
    "upload_canister_snapshot_data": CONTROLLERS,
    "list_canister_snapshots": CONTROLLERS,
    "delete_canister_snapshot": CONTROLLERS,
    "fetch_canister_logs": {"controlling canister"},
    "provisional_create_canister_with_cycles": EVERYONE,
    "provisional_top_up_canister": EVERYONE,
}
"""IC interface specification, "The IC management canister": one entry per method, all visibilities at their default."""
FOR_CANISTERS_ALONE = {name for name, callers in ALLOWED.items() if callers == CANISTERS} | {"fetch_canister_logs"}


def argument(method: str, target: bytes, caller: bytes) -> bytes:
    """A valid argument about the target; what a method needs besides access is none of this test's business."""
    about: dict[str, Any] = {"canister_id": target, "snapshot_id": bytes(8) + target}
    special: dict[str, dict[str, Any]] = {
        "create_canister": {},
        "provisional_create_canister_with_cycles": {},
        "provisional_top_up_canister": {"amount": 1},
        "update_settings": {"settings": {}},
        "upload_chunk": {"chunk": b"x"},
        "install_code": {"mode": ("reinstall", None), "wasm_module": canister(COUNTER), "arg": b""},
        "install_chunked_code": {
            "mode": ("reinstall", None),
            "target_canister": target,
            "chunk_hashes_list": [],
            "wasm_module_hash": bytes(32),
            "arg": b"",
        },
        "canister_metadata": {"name": "candid:service"},
        "read_canister_snapshot_data": {"kind": ("wasm_module", {"offset": 0, "size": 1})},
        "upload_canister_snapshot_metadata": {
            "wasm_module_size": 8,
            "globals": [],
            "wasm_memory_size": 0,
            "stable_memory_size": 0,
            "certified_data": b"",
        },
        "upload_canister_snapshot_data": {"kind": ("wasm_chunk", None), "chunk": b"x"},
        "http_request": {"url": "http://no.https", "method": ("get", None), "headers": []},
        "fetch_canister_logs": {"filter": None},
    }
    kind = METHODS[method].argument
    return b"DIDL\0\0" if kind is None else candid.encode([kind], [about | special.get(method, {})])


@pytest.fixture(scope="module")
def net() -> Direct:
    """One network for all: targets are made anew for each call."""
    return Direct()


@pytest.fixture(scope="module")
def others(net: Direct) -> dict[str, Canister]:
    """The canisters that call about other canisters."""
    code = canister(PASSING, memory="40")
    return {name: net.deploy(code) for name in ("controlling canister", "other canister")}


def call(net: Direct, others: dict[str, Canister], caller: str, method: str) -> Reject | Refused | None:
    """What came of a call, with a target that is controlled by the user and the canister that are its controllers."""
    controllers = [CONTROLLER, others["controlling canister"].id]
    target = net.deploy(canister(PASSING, memory="40"), sender=CONTROLLER, controllers=controllers)
    users = {"controller": CONTROLLER, "stranger": STRANGER, "anonymous": ANONYMOUS}
    try:
        if caller in users:
            net.update(MANAGEMENT, method, argument(method, target.id, users[caller]), users[caller])
        else:
            by = others.get(caller, target)
            net.update(by.id, "manage", payload(method, argument(method, target.id, by.id), 3 * 10**12))
    except (Reject, Refused) as refused:
        return refused
    return None


def code_of(refused: Reject | Refused) -> ErrorCode:
    return refused.code if isinstance(refused, Refused) else refused.error_code


def is_about_access(refused: Reject | Refused) -> bool:
    texts = ("Only canisters can", "Only controllers of", "can control it", "not accessible", "not allowed to access")
    return any(text in str(refused) for text in texts)


def test_the_table_knows_every_method() -> None:
    assert set(ALLOWED) == set(METHODS)


@pytest.mark.parametrize("method", ALLOWED)
@pytest.mark.parametrize("caller", CALLERS)
def test_a_method_is_for_whom_the_specification_says(
    net: Direct, others: dict[str, Canister], caller: str, method: str
) -> None:
    refused = call(net, others, caller, method)
    if caller in ALLOWED[method]:
        assert refused is None or not is_about_access(refused), refused
        return
    assert refused is not None
    assert is_about_access(refused), refused
    user = caller not in CANISTERS
    rejected = method == "fetch_canister_logs" or (user and method in FOR_CANISTERS_ALONE)
    # A canister sees the reject of its call as its own.
    expected = ErrorCode.CANISTER_REJECTED_MESSAGE if rejected or not user else ErrorCode.CANISTER_INVALID_CONTROLLER
    assert code_of(refused) is expected
    # Users are refused before anybody pays for the call.
    assert isinstance(refused, Reject) is user


def test_a_canister_that_controls_itself_cannot_delete_itself(net: Direct) -> None:
    target = net.deploy(canister(PASSING, memory="40"))
    net.change(target, controllers=[target.id, ANONYMOUS])
    net.about("stop_canister", target)
    net.about("start_canister", target)
    with pytest.raises(Refused, match="cannot delete itself"):
        net.update(target.id, "manage", payload("delete_canister", argument("delete_canister", target.id, b"")))


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.target is not None])
def test_a_method_about_an_unknown_canister_says_so(net: Direct, method: str) -> None:
    nobody = Principal.from_str("rrkah-fqaaa-aaaaa-aaaaq-cai").bytes
    if method in FOR_CANISTERS_ALONE:
        return
    with pytest.raises(Reject, match="not found") as caught:
        net.update(MANAGEMENT, method, argument(method, nobody, CONTROLLER), CONTROLLER)
    assert caught.value.error_code is ErrorCode.CANISTER_NOT_FOUND


@pytest.mark.parametrize("method", ALLOWED)
def test_an_argument_that_is_no_candid_of_the_method_is_refused(net: Direct, method: str) -> None:
    if METHODS[method].argument is None or METHODS[method].argument == types.CREATE:
        return
    with pytest.raises(Reject) as caught:
        net.update(MANAGEMENT, method, b"DIDL\0\1\x7d\1", CONTROLLER)
    assert caught.value.error_code is ErrorCode.INVALID_MANAGEMENT_PAYLOAD
