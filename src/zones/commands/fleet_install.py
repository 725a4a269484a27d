"""`zones fleet upgrade|install|reinstall|change`: the code of single zones, put on them by admins of the factory.

Not for rollouts (`fleet_rollout`) and not for owners, who upgrade what they control themselves (`upgrade`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from localnet.principal import to_text
from zones import checks, fleet
from zones.commands import Add, Subparsers, contract_options
from zones.commands.fleet_desk import Desk, again_option, explaining
from zones.context import ATTENTION, Context, Progress, Result, checked, watched
from zones.errors import RejectedError, UserError
from zones.network import contract_of
from zones.rollouts import EMPTY_ARGUMENT, OPEN
from zones.tables import Column, Table, time_shown
from zones.upgrading import find_release
from zones.zone_code import Code, of_release, of_wasm, read_wasm, zone_argument

_CANISTER, _FAULT = Column("canister", "canister"), Column("fault", "fault")
_UPGRADES = (_CANISTER, Column("before", "before", right=True), Column("after", "after", right=True), _FAULT)
_INSTALLED = (_CANISTER, Column("done", "done"), Column("version", "version", right=True), Column("sha256", "SHA-256"))
_CHANGES = (
    _CANISTER,
    Column("outcome", "outcome"),
    Column("step", "step"),
    Column("release", "release", right=True),
    Column("begun_at", "begun", time_shown),
    Column("step_at", "step begun", time_shown),
    _FAULT,
)
_DONE_WITH = ("upgraded", "current", "skipped")
_EXAMPLE_ZONE = "rwlgt-iiaaa-aaaaa-aaaaa-cai"


def register(actions: Subparsers, add: Add) -> list[argparse.ArgumentParser]:
    """Add the commands; returns their parsers."""
    upgrade = add(
        actions,
        "upgrade",
        "bring some zones to other code, each as a rollout does; for admins",
        _upgrade,
        f"zones fleet upgrade {_EXAMPLE_ZONE} --wasm zone_canister.wasm.gz",
    )
    upgrade.add_argument("zones", nargs="+", metavar="ZONE", help="a zone's canister or id")
    install = add(
        actions,
        "install",
        "install a zone anew that holds neither messages nor members; for admins",
        _install,
        f"zones fleet install {_EXAMPLE_ZONE}",
    )
    reinstall = add(
        actions,
        "reinstall",
        "install a zone anew and destroy all that it holds; for admins",
        _reinstall,
        f"zones fleet reinstall {_EXAMPLE_ZONE} --again {_EXAMPLE_ZONE}",
    )
    again_option(reinstall)
    change = add(
        actions,
        "change",
        "show the change of a zone's code that is under way, or the last one",
        _change,
        f"zones fleet change {_EXAMPLE_ZONE}",
    )
    for command in (install, reinstall, change):
        command.add_argument("zone", metavar="ZONE", help="a zone's canister or id")
    for command in (upgrade, install, reinstall):
        _add_code(command)
    for command in (install, reinstall):
        contract_options.add(command, "JSON-RPC host of the zone's contract, no scheme (default: the local network's)")
    return [upgrade, install, reinstall, change]


def _add_code(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--release", type=checked(checks.positive), metavar="VERSION", help="which one (default: the newest)"
    )
    which.add_argument(
        "--wasm", metavar="FILE", help="this Wasm: a release, or what a controller allowed with `allow-code`"
    )
    command.add_argument(
        "--argument",
        type=checked(checks.candid),
        metavar="HEX",
        help="what the code is given, as encoded Candid (default: what the zone canister takes)",
    )


def _upgrade(context: Context) -> Result:
    desk = Desk(context, signed=True)
    code, argument = _code(desk), desk.options.argument or EMPTY_ARGUMENT
    canisters = [desk.canister(zone) for zone in desk.options.zones]
    rows: list[dict[str, Any]] = []
    for canister in canisters:
        where = f"{len(rows)} of {len(canisters)} zones upgraded, {to_text(canister)}"
        with _advised(desk, canister, code):
            rows.append(
                _watched(
                    desk,
                    canister,
                    where,
                    lambda canister=canister: fleet.upgrade(desk.agent, desk.rollouts, canister, code.module, argument),
                )
            )
    faults = {row["fault"] for row in rows}
    if len(faults) == 1 and rows[0]["fault"]:  # nothing was done, for one reason
        with _advised(desk, canisters[0], code):
            raise RejectedError(rows[0]["fault"])
    return desk.listing("upgrades", Table(_UPGRADES, rows), "", exit_code=ATTENTION if faults - {None} else 0)


def _install(context: Context) -> Result:
    desk = Desk(context, signed=True)
    canister = desk.canister(desk.options.zone)
    return _installed(desk, canister, "installed", desk.rollouts.install)


def _reinstall(context: Context) -> Result:
    desk = Desk(context, signed=True)
    canister, again = desk.canister(desk.options.zone), desk.options.again
    desk.check_again(canister, again)

    def call(child: bytes, module: bytes, argument: bytes) -> None:
        desk.rollouts.reinstall(child, again, module, argument)

    return _installed(desk, canister, "wiped and installed", call)


def _installed(desk: Desk, canister: bytes, done: str, call: Callable[[bytes, bytes, bytes], None]) -> Result:
    code = _code(desk)
    argument = desk.options.argument or _zone_argument(desk, canister)
    name = to_text(canister)
    with _advised(desk, canister, code):
        _watched(desk, canister, f"{code.name} on {name}", lambda: call(canister, code.module, argument))
    row = {
        "canister": name,
        "done": done,
        "version": fleet.ask(desk.agent, name)["version"],
        "release": code.release,
        "sha256": code.wasm_hash.hex(),
    }
    return desk.listing("installed", Table(_INSTALLED, [row]), "")


def _code(desk: Desk) -> Code:
    if desk.options.wasm is not None:
        return of_wasm(desk.factory, read_wasm(desk.options.wasm))
    return of_release(find_release(desk.factory, desk.options.release, None))


def _zone_argument(desk: Desk, canister: bytes) -> bytes:
    options, zone_id = desk.options, desk.zone(canister)["zone_id"]
    local = contract_of(desk.context.state, desk.context.url)
    host = options.rpc_host or (local.rpc_host if local else None)
    if host is None:
        raise UserError(
            f"which host answers for the contract of {zone_id}?", "name it with --rpc-host, as it was created with"
        )
    return zone_argument(desk.factory.canister, zone_id, host, options.rpc_path, options.call_token)


def _watched(desk: Desk, canister: bytes, what: str, work: Callable[[], Any]) -> Any:
    """Carry out a change while its step is shown."""
    with Progress() as progress:
        progress.show(what)

        def look(seconds: int) -> None:
            change = desk.rollouts.change(canister)
            step = f"step {change['step']}, " if change is not None and change["outcome"] == OPEN else ""
            progress.show(f"{what}: {step}{seconds} s")

        return watched(work, look)


@contextmanager
def _advised(desk: Desk, canister: bytes, code: Code) -> Iterator[None]:
    """Add to the factory's refusal of code for a zone what can be done next."""
    name, digest = to_text(canister), code.wasm_hash.hex()
    owners = f"they install releases themselves: zones upgrade --zone {name}"
    told = f"zones fleet change {name} tells"
    consent = (
        "releases are accepted, other code is not: publish it"
        if code.release is None
        else f"an owner does: zones custody accept-release {name} --release {code.release}"
    )
    wiping = f"zones custody accept-reinstall {name} --release {code.release} --again {name}"
    advice = {
        "is no release: a controller": f"that is: zones fleet allow-code {name} {digest}; or publish it",
        "does not control": owners,
        "its owners alone keep": owners,
        "call accept_release": consent,
        "call accept_reinstall": f"each does: {wiping}",
        "reinstall_code wipes it": f"all of it would be lost with: zones fleet reinstall {name} --again {name}",
        "is being changed": told,
        "get_code_change tells": told,
        "is no child": "`zones fleet list` lists its zones",
    }
    try:
        with explaining(desk.options.identity):
            yield
    except RejectedError as error:
        hint = next((hint for text, hint in advice.items() if text in error.message), error.hint)
        raise RejectedError(error.message, hint, code=error.code, error_code=error.error_code) from error


def _change(context: Context) -> Result:
    desk = Desk(context)
    canister = desk.canister(desk.options.zone)
    found = desk.rollouts.change(canister)
    if found is None:
        desk.zone(canister)
    rows = [] if found is None else [fleet.change_row(found)]
    is_done = found is None or found["outcome"] in _DONE_WITH
    none = f"the code of {to_text(canister)} was not changed since it was created"
    return desk.listing("changes", Table(_CHANGES, rows), none, exit_code=0 if is_done else ATTENTION)
