"""`docs/authorization.md` against the canisters: every method, called as everyone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ic.principal import Principal

from canister_build.candid import types as did_types
from localnet import candid as wire
from tests.support.actor import Actor, plain, wire_type
from tests.support.factories import deploy_factory, publish
from tests.support.network import ANONYMOUS, CallRejected
from tests.support.zones import BATTERY, RPC_HOST, TEAM, ZONE_ID, deploy_zone, join, member

DOCUMENT = Path(__file__).parents[2] / "docs" / "authorization.md"
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]*)\|$")
STRANGER = Principal(b"\x09" * 28 + b"\x02")
CANISTER = Principal(b"\xff" * 8 + b"\x01\x01")
# Their second call with the same arguments would find the child gone.
LAST = ("retire_child",)


def rows(heading: str) -> dict[str, tuple[str, list[str]]]:
    """The rows of a table: method -> who may call it, and the texts that others get."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [match.groups() for match in map(ROW.match, section.splitlines()) if match]
    return {method: (who.strip(), re.findall(r"`([^`]+)`", texts)) for method, who, texts in found}


def answer(canister: Actor, method: str, caller: Principal, about: Principal) -> str:
    """What a call with plain arguments is refused with, or "" when it is let through, whatever then comes of it."""
    kinds = [wire_type(did_types.inline(arg.type, canister.interface.types)) for arg in canister.methods[method].args]
    payload = wire.encode(kinds, [plain(kind, about.bytes) for kind in kinds])
    is_query = canister.methods[method].mode in ("query", "composite_query")
    send = canister.network.query if is_query else canister.network.update
    try:
        reply = canister.decode(method, send(canister.id, method, payload, caller))
    except CallRejected as rejected:
        return rejected.message
    fault = reply[1] if isinstance(reply, tuple) and reply[0] == "err" else ""
    return fault[1] if isinstance(fault, tuple) and fault[0] == "other" else fault if isinstance(fault, str) else ""


def walk(
    canister: Actor,
    table: dict[str, tuple[str, list[str]]],
    allowed: dict[str, set[str]],
    callers: dict[str, Principal],
    about: Principal,
) -> list[str]:
    """Where the canister answers otherwise than the table says; first all who are refused, then all the others."""
    refusals = {text for _, texts in table.values() for text in texts}
    differences = []
    for are_let_through in (False, True):
        for method, (who, texts) in sorted(table.items(), key=lambda row: row[0] in LAST):
            for name, caller in callers.items():
                if (name in allowed[who]) != are_let_through:
                    continue
                text = answer(canister, method, caller, about)
                if are_let_through and text in refusals:
                    differences.append(f"{method}: {name} is refused with {text!r}")
                if not are_let_through and text not in texts:
                    differences.append(f"{method}: {name} is let through ({text!r})")
    return differences


def test_each_method_of_the_zone_is_open_to_whom_the_table_says(network, zone_build):
    zone = deploy_zone(network, zone_build.wasm, zone_build.did)
    callers = {
        "anonymous": ANONYMOUS,
        "stranger": STRANGER,
        "member": join(zone, 1),
        "admin": join(zone, 2, 400),
        "controller": TEAM,
        "factory": BATTERY,
    }
    zone.call("refresh_controllers", sender=TEAM)
    signing = set(callers) - {"anonymous"}
    allowed = {
        "anyone": set(callers),
        "anyone; figures of messages for members": set(callers),
        "who signs": signing,
        "who signs, for the own key; members for any": signing,
        "members": {"member", "admin"},
        "admins, controllers": {"admin", "controller"},
        "controllers, and the factory unless they are known without it": {"controller"},
    }
    table = rows("Zone canister")
    assert set(table) == set(zone.methods)
    assert walk(zone, table, allowed, callers, STRANGER) == []


def test_a_stranger_may_not_have_the_role_of_another_key_looked_up(network, zone_build):
    zone = deploy_zone(network, zone_build.wasm, zone_build.did)
    with pytest.raises(CallRejected, match="Only the key's own principal or a member"):
        zone.call("update_role", bytes([4]) * 65, sender=STRANGER)


def test_each_method_of_the_factory_is_open_to_whom_the_table_says(network, factory_build, zone_build):
    factory = deploy_factory(network, factory_build)
    publish(factory, zone_build.wasm)
    owner, admin = member(1), member(2)
    child = Principal(factory.call("create_zone_availability_canister", ZONE_ID, RPC_HOST, "/", sender=owner))
    assert factory.call("add_admin", admin.bytes, sender=TEAM) == ("ok", None)
    assert factory.call("remove_admin", TEAM.bytes, sender=TEAM) == ("ok", None)
    callers = {
        "anonymous": ANONYMOUS,
        "stranger": STRANGER,
        "child": child,
        "canister": CANISTER,
        "owner": owner,
        "admin": admin,
        "controller": TEAM,
    }
    allowed = {
        "anyone": set(callers),
        "who signs": set(callers) - {"anonymous"},
        "children": {"child"},
        "owners": {"owner"},
        "owners, admins": {"owner", "admin"},
        "children, their owners, admins": {"child", "owner", "admin"},
        "admins": {"admin"},
        "controllers": {"controller"},
    }
    table = rows("Factory")
    assert set(table) == set(factory.methods)
    assert walk(factory, table, allowed, callers, child) == []


def test_a_factory_that_does_not_know_its_controllers_lets_nobody_in_for_one(network, factory_build):
    factory = Actor(network, network.deploy(factory_build.wasm, controllers=[TEAM], sender=TEAM), factory_build.did)
    for method, (who, texts) in rows("Factory").items():
        if who == "controllers":
            text = answer(factory, method, TEAM, STRANGER)
            assert "does not know its controllers" in text
            assert text in texts
