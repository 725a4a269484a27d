"""PocketIC's REST interface where the Python client doesn't go: shapes, status codes, options, refusals."""

import base64
from collections.abc import Iterator
from typing import Any

import cbor2
import httpx
import pytest
from ic.certificate import lookup
from ic.principal import Principal

from tests.localnet.test_ic_interface import post, query_content
from tests.localnet.test_outcalls import FETCHER, TRANSFORMED, rejection, request, response
from tests.localnet.wat import COUNTER, canister
from tests.support.network import Network

APPLICATION = {"application": [{"state_config": "New", "instruction_config": "Production"}]}


@pytest.fixture
def client(net: Network) -> Iterator[httpx.Client]:
    """A client of the server the network is on."""
    with httpx.Client(base_url=net.pic.server.url, timeout=60) as found:
        yield found


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_server_says_that_it_is_alive(client: httpx.Client) -> None:
    reply = client.get("/status")
    assert (reply.status_code, reply.text) == (200, "ok")


def test_instances_are_created_and_refused_in_pocket_ic_s_shape(client: httpx.Client) -> None:
    reply = client.post("/instances/", json={"subnet_config_set": APPLICATION}, follow_redirects=True)
    created = reply.json()["Created"]
    assert (reply.status_code, set(created)) == (201, {"instance_id", "topology", "http_gateway_info"})
    (subnet,) = created["topology"]["subnet_configs"].values()
    assert set(subnet) == {"subnet_kind", "subnet_seed", "instruction_config", "node_ids", "canister_ranges"}
    assert (subnet["subnet_kind"], len(subnet["subnet_seed"])) == ("Application", 32)
    assert client.get(f"/instances/{created['instance_id']}/read/topology").json() == created["topology"]
    assert client.delete(f"/instances/{created['instance_id']}").status_code == 200
    refused = client.post("/instances", json={"subnet_config_set": {"application": []}})
    assert (refused.status_code, set(refused.json()["Error"])) == (400, {"message"})


def test_an_instance_starts_with_a_gateway_in_real_time(client: httpx.Client) -> None:
    options = {
        "subnet_config_set": APPLICATION,
        "http_gateway_config": {"ip_addr": None, "port": None, "domains": ["localhost"], "https_config": None},
        "initial_time": {"AutoProgress": {"artificial_delay_ms": None}},
        "icp_config": {"beta_features": "Disabled", "canister_backtrace": None},
        "icp_features": {"registry": None},
    }
    created = client.post("/instances", json=options).json()["Created"]
    instance, info = f"/instances/{created['instance_id']}", created["http_gateway_info"]
    assert client.get(f"{instance}/auto_progress").json() is True
    status = httpx.get(f"http://127.0.0.1:{info['port']}/api/v2/status")
    assert status.content == client.get(f"{instance}/api/v2/status").content
    listed = [gateway for gateway in client.get("/http_gateway").json() if gateway["port"] == info["port"]]
    assert [gateway["forward_to"] for gateway in listed] == [{"PocketIcInstance": created["instance_id"]}]
    stopped = client.post(f"/http_gateway/{info['instance_id']}/stop")
    assert (stopped.status_code, stopped.json()) == (200, None)
    client.delete(instance)
    for path in ("/http_gateway/99/stop", f"{instance}/auto_progress", f"{instance}/update/tick"):
        assert client.post(path, json={}).status_code == 404


@pytest.mark.localnet_only("refuses what PocketIC has")
def test_what_a_gateway_cannot_do_is_refused(client: httpx.Client, net: Network) -> None:
    this = {"forward_to": {"PocketIcInstance": net.pic.instance_id}}
    cases: list[tuple[dict[str, Any], int]] = [
        ({"forward_to": {"Replica": "http://127.0.0.1:1"}}, 400),
        ({"forward_to": {"PocketIcInstance": 10**6}}, 404),
        ({**this, "https_config": {"cert_path": "a", "key_path": "b"}}, 400),
        ({**this, "domains": ["example.org"]}, 400),
        ({**this, "port": 70_000}, 400),
        ({}, 400),
    ]
    for body, status in cases:
        reply = client.post("/http_gateway", json=body)
        assert (reply.status_code, bool(reply.json()["Error"]["message"])) == (status, True)


@pytest.mark.localnet_only("refuses what PocketIC has")
def test_endpoints_that_do_not_exist_are_refused_by_name(client: httpx.Client, net: Network) -> None:
    instance = f"/instances/{net.pic.instance_id}"
    for method, path, status in [
        ("GET", "/", 404),
        ("GET", f"{instance}/_/dashboard", 404),
        ("POST", f"{instance}/update/execute_ingress_message", 404),
        ("POST", f"{instance}/read/canister_snapshot_download", 404),
        ("GET", "/read_graph/a/b", 404),
        ("GET", f"{instance}/update/tick", 405),
        ("PUT", "/blobstore", 405),
    ]:
        reply = client.request(method, path)
        assert (reply.status_code, path in reply.json()["message"]) == (status, True)


def test_web_pages_of_any_origin_may_ask(client: httpx.Client, net: Network) -> None:
    origin = {"origin": "https://app.example.org"}
    path = f"/instances/{net.pic.instance_id}/api/v2/status"
    assert client.get(path, headers=origin).headers["access-control-allow-origin"] == "*"
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    assert client.options(path, headers=asked).status_code == 200


def test_blobs_come_back_as_they_were_stored(client: httpx.Client) -> None:
    blob = client.post("/blobstore/", content=b"content", follow_redirects=True).text
    assert client.get(f"/blobstore/{blob}").content == b"content"
    assert client.get(f"/blobstore/{'0' * 64}").status_code == 404
    assert client.post("/blobstore", content=b"x", headers={"content-encoding": "br"}).status_code == 400


def test_certified_time_is_in_the_next_certificate(net: Network) -> None:
    target = str(net.deploy(canister(COUNTER)))

    def certified() -> int:
        content = {"request_type": "read_state", "sender": b"\x04", "paths": [[b"time"]], "ingress_expiry": 0}
        certificate = cbor2.loads(post(net.url, target, "read_state", {"content": content})["certificate"])
        found = lookup([b"time"], certificate)
        assert found is not None
        return sum((byte & 127) << 7 * place for place, byte in enumerate(found))

    before = certified()
    later = net.time() + 3_600_000_000_000
    net.post("update/set_certified_time", {"nanos_since_epoch": later})
    assert before < later == certified() == net.time()
    with pytest.raises(ConnectionError, match="SettingTimeIntoPast"):
        net.post("update/set_certified_time", {"nanos_since_epoch": before})


@pytest.mark.localnet_only("refuses what PocketIC has")
def test_options_that_would_do_nothing_are_refused(net: Network) -> None:
    node = {"subnet": {"subnet_id": ""}, "blockmaker": {"node_id": ""}, "failed_blockmakers": []}
    with pytest.raises(ConnectionError, match="blockmakers"):
        net.post("update/tick", {"blockmakers": {"blockmakers_per_subnet": [node]}})
    with pytest.raises(ConnectionError, match="artificial_delay_ms"):
        net.post("auto_progress", {"artificial_delay_ms": 100})
    assert net.get("auto_progress") is False


def test_a_status_is_for_the_caller_alone(net: Network) -> None:
    message = net.submit(net.deploy(canister(COUNTER)), "increment")
    net.tick()
    mine, other = ({"principal_id": b64(principal)} for principal in (b"\x04", b"\x05"))
    assert "Ok" in net.post("read/ingress_status", {"raw_message_id": message, "raw_caller": mine})
    body = {"raw_message_id": message, "raw_caller": other}
    reply = httpx.post(f"{net.url}/read/ingress_status", json=body)
    assert (reply.status_code, "not signed by the caller" in reply.json()["message"]) == (403, True)
    unknown = {**message, "message_id": b64(bytes(32))}
    assert net.post("read/ingress_status", {"raw_message_id": unknown, "raw_caller": None}) is None
    with pytest.raises(ConnectionError, match="no such message"):
        net.post("update/await_ingress_message", unknown)


def test_rejections_have_names_for_their_codes(net: Network) -> None:
    target = net.deploy(canister(COUNTER))
    call = {
        "sender": "BA==",
        "canister_id": b64(target.bytes),
        "effective_principal": {"CanisterId": b64(target.bytes)},
        "method": "missing",
        "payload": "",
    }
    (error,) = net.post("read/query", call).values()
    assert set(error) == {"reject_code", "reject_message", "error_code", "certified"}
    assert (error["reject_code"], error["error_code"], error["certified"]) == (
        "CanisterError",
        "CanisterMethodNotFound",
        False,
    )
    message = net.post("update/submit_ingress_message", call)["Ok"]
    assert message["effective_principal"] == call["effective_principal"]
    (error,) = net.post("update/await_ingress_message", message).values()
    assert (error["error_code"], error["certified"]) == ("CanisterMethodNotFound", True)


def test_subnets_have_public_keys_that_name_them(net: Network) -> None:
    for subnet in net.pic.topology():
        key = bytes(net.post("read/pub_key", {"subnet_id": b64(subnet.bytes)}))
        assert Principal.self_authenticating(key).bytes == subnet.bytes
    with pytest.raises(ConnectionError, match="no subnet"):
        net.post("read/pub_key", {"subnet_id": "BA=="})


def outcall(net: Network) -> tuple[dict[str, Any], Any]:
    """A call that waits for an outcall, and the outcall."""
    fetcher = net.deploy(canister(FETCHER, {100: b"http_request", 200: TRANSFORMED}, memory="40"))
    call = net.submit(fetcher, "fetch", request())
    return call, net.next_outcall()


def mock(net: Network, pending: Any, bodies: list[bytes]) -> None:
    first, *others = [{"CanisterHttpReply": {"status": 200, "headers": [], "body": b64(body)}} for body in bodies]
    net.post(
        "update/mock_canister_http",
        {
            "subnet_id": {"subnet_id": pending.subnet_id},
            "request_id": pending.request_id,
            "response": first,
            "additional_responses": others,
        },
    )


@pytest.mark.parametrize(("different", "agreed"), [(0, True), (4, True), (5, False)])
def test_nodes_agree_when_a_third_at_most_got_another_response(net: Network, different: int, agreed: bool) -> None:
    call, pending = outcall(net)
    mock(net, pending, [b"other"] * different + [b"answer"] * (13 - different))
    reply = net.wait(call)
    if agreed:
        assert response(reply)["body"] == b"answer"
    else:
        code, text = rejection(reply)
        assert (code, text.startswith("No consensus could be reached")) == (2, True)


def test_mocked_responses_are_for_a_waiting_outcall_and_for_one_or_all_nodes(net: Network) -> None:
    call, pending = outcall(net)
    with pytest.raises(ConnectionError, match=r"InvalidMockCanisterHttpResponses.*13 nodes"):
        mock(net, pending, [b"answer"] * 2)
    with Network() as other, pytest.raises(ConnectionError, match="InvalidCanisterHttpRequestId"):
        mock(other, pending, [b"answer"])
    mock(net, pending, [b"answer"])
    with pytest.raises(ConnectionError, match="InvalidCanisterHttpRequestId"):
        mock(net, pending, [b"again"])
    assert response(net.wait(call))["body"] == b"answer"


def test_queries_work_on_the_instance_s_own_address(net: Network) -> None:
    target = str(net.deploy(canister(COUNTER)))
    answer = post(net.url, target, "query", {"content": query_content(target, "read")})
    assert answer["status"] == "replied"
