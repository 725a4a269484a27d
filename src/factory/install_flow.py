"""Code that an admin puts on one child: which code that may be, and installing it over nothing or over what is there.

Flows. An upgrade is a change like those of a rollout (`change_flow`); what is here wipes the child, or finds that it
would and refuses. Each returns what went wrong, or "".
"""

import hashlib

from kybra import Async, ic, text

from factory.change_flow import Code, drive, result_fault, zone
from factory.changes import BROUGHT, CURRENT, ENDED, OUTCOME_NAMES, STEP_NAMES, UPGRADED, Change
from factory.children import CREATED, LIVE
from factory.context import changes, children, open_calls, releases, rollouts
from factory.examination import examine_controlled
from factory.installation import INSTALL, REINSTALL, install_release, install_whole
from factory.marks import change_fault, change_key, custody_fault
from factory.principals import to_text
from factory.releases import HASH_BYTES
from factory.rollout_flow import go_on_soon

WIPES = "reinstall_code wipes it"


class Chosen:
    """The code of an admin's call: its hash, its version if it is a release, its bytes if they came along."""

    def __init__(self, wasm_hash: bytes, version: int, wasm: bytes):
        self.wasm_hash = wasm_hash
        self.version = version
        self.wasm = wasm


def choose(wasm_module: bytes) -> Chosen:
    """What a call names: a Wasm, or the 32-byte SHA-256 of a release."""
    is_hash = len(wasm_module) == HASH_BYTES
    wasm_hash = wasm_module if is_hash else hashlib.sha256(wasm_module).digest()
    entry = releases.entry(wasm_hash)
    return Chosen(wasm_hash, entry.version if entry is not None else 0, b"" if is_hash else wasm_module)


def code_fault(canister: bytes, chosen: Chosen) -> str:
    """Why an admin may not put this code on a child, or ""."""
    if children.get(canister) is None:
        return f"{to_text(canister)} is no child of this factory"
    if not chosen.version and not rollouts.is_allowed(canister, chosen.wasm_hash, ic.time()):
        return (
            f"the code {chosen.wasm_hash.hex()} is no release: a controller of the factory can allow it for this "
            "canister with allow_code, for an hour"
        )
    if not chosen.wasm and not releases.is_kept(chosen.wasm_hash):
        return f"the code {chosen.wasm_hash.hex()} is not kept here: send it along"
    return ""


def mark(canister: bytes) -> str:
    """Marks a child as one whose code is being changed, or returns what else is being done to it."""
    fault = change_fault(canister) or custody_fault(canister)
    if not fault:
        open_calls.start(change_key(canister), ic.time())
    return fault


def upgrade(canister: bytes, chosen: Chosen, arg: bytes) -> Async[text]:
    """Changes a child's code as a rollout does, down to going back when its check fails."""
    fault = mark(canister)
    if fault:
        return fault
    try:
        fault = yield examine_controlled(canister)
    finally:
        open_calls.finish(change_key(canister))
    child = children.get(canister)
    if fault or child is None:
        return fault
    # Asked before the change begins, too: what is refused leaves no trace in the place of the last change.
    fault = rollouts.custody_fault(child, canister, chosen.wasm_hash)
    if fault:
        return fault
    code, begun = Code(chosen.wasm, arg), Change(chosen.wasm_hash, chosen.version, 0, ic.time())
    if code.is_of_call:
        begun.flags |= BROUGHT
    fault = changes.begin(canister, begun)
    if fault:
        return fault
    go_on_soon()
    yield drive(canister, code)
    change = changes.get(canister)
    if change is None or change.step != ENDED:
        step = "begin" if change is None else STEP_NAMES[change.step]
        return f"the change goes on by itself (step {step}): get_code_change tells what comes of it"
    if change.outcome in (UPGRADED, CURRENT):
        return ""
    return f"{OUTCOME_NAMES[change.outcome]}: {change.fault}"


def install(canister: bytes, chosen: Chosen, arg: bytes, may_wipe: bool) -> Async[text]:
    """Installs code on a child that has none, or over a child that holds nothing or may be wiped."""
    fault = mark(canister)
    if fault:
        return fault
    try:
        fault = yield examine_and_install(canister, chosen, arg, may_wipe)
    finally:
        open_calls.finish(change_key(canister))
    return fault


def examine_and_install(canister: bytes, chosen: Chosen, arg: bytes, may_wipe: bool) -> Async[text]:
    """What `install` does between its marks."""
    fault = yield examine_controlled(canister)
    if fault:
        return fault
    child = children.get(canister)
    if child is None or child.stage == CREATED:
        return "its creation is not complete: its creator has to ask for it again"
    if child.stage != LIVE:
        return "its zone has ended or is being ended"
    fault = rollouts.custody_fault(child, canister, chosen.wasm_hash)
    if fault:
        return fault
    mode = REINSTALL if child.module_hash else INSTALL
    is_flagged = mode == REINSTALL and not may_wipe
    if mode == REINSTALL and may_wipe:
        fault = rollouts.wiping_fault(child, canister, chosen.wasm_hash, ic.time())
        if fault:
            return fault
        rollouts.wiped(canister)
    if is_flagged:
        fault = yield content_fault(canister, child.module_hash)
        if fault:
            return fault
    if chosen.wasm:
        fault = yield install_whole(canister, chosen.wasm, mode, arg)
    else:
        fault = yield install_release(canister, chosen.wasm_hash, mode, arg)
    if fault and is_flagged:
        yield zone(canister).set_maintenance({"on": False, "restoring": False})
    return fault


def content_fault(canister: bytes, module_hash: bytes) -> Async[text]:
    """Why a child may hold something, or "" with its maintenance flag set, so that it goes on holding nothing."""
    if not releases.is_published(module_hash):
        return f"it runs code that was not published, so what it holds is unknown: {WIPES}"
    answer = yield zone(canister).set_maintenance({"on": True, "restoring": False})
    fault = result_fault("setting the maintenance flag", answer)
    if fault:
        return f"{fault}: {WIPES}"
    answer = yield zone(canister).get_health()
    fault = "" if answer.Err is None else f"asking for its health failed: {answer.Err}"
    if not fault and (answer.Ok["last_id"] or answer.Ok["members"]):
        fault = f"it holds {answer.Ok['messages']} messages and {answer.Ok['members']} members"
    if fault:
        yield zone(canister).set_maintenance({"on": False, "restoring": False})
        return f"{fault}: {WIPES}"
    return ""
