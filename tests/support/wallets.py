"""A canister with the interface of dfx's cycles wallets, as far as calls through them go.

Its `encoded` makes arguments from Candid text, as dfx does before it has a wallet make a call.
"""

from __future__ import annotations

from pathlib import Path

import canister_build
from tests.support.canister_sources import write_package

_SOURCE = """
from kybra import Async, Principal, Record, Variant, blob, ic, nat, query, text, update

VERSION = 1


class Call(Record):
    canister: Principal
    method_name: text
    args: blob
    cycles: nat


class Reply(Record):
    return_: blob


class CallAnswer(Variant, total=False):
    Ok: Reply
    Err: text


@update
def wallet_call128(call: Call) -> Async[CallAnswer]:
    answer = yield ic.call_raw128(call["canister"], call["method_name"], call["args"], call["cycles"])
    if answer.Err is not None:
        return {"Err": answer.Err}
    return {"Ok": {"return_": answer.Ok}}


@query
def encoded(argument: text) -> blob:
    return ic.candid_encode(argument)
"""


def wallet_wasm(folder: Path) -> bytes:
    """Build the wallet below `folder`; returns its gzipped Wasm."""
    package = write_package(folder, {"main.py": _SOURCE}, package="wallet")
    return canister_build.build(str(package), builder="template", out=folder / "out").wasm_gz.read_bytes()
