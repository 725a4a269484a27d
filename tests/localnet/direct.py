"""A network in this process, spoken to without HTTP: for settings no client can make, and for many small steps."""

from __future__ import annotations

import asyncio
from typing import Any

import cbor2
import httpx
from ic.principal import Principal
from starlette.applications import Starlette

from localnet import candid, ic_api
from localnet import management_types as types
from localnet.canister import Canister
from localnet.errors import ErrorCode
from localnet.message import Reply
from localnet.modules import ModuleCache
from localnet.network import Network
from localnet.prices import Capacity, Limits
from localnet.principal import ANONYMOUS, MANAGEMENT
from localnet.runtime import Shims
from localnet.system_api import signatures
from localnet.workers import Workers

_MODULES = ModuleCache(signatures())
_SHIMS = Shims(_MODULES.engine)
MAX_ROUNDS = 50


class Refused(Exception):
    """A call was rejected."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{ErrorCode(code).name}: {message}")
        self.code = ErrorCode(code)


class Direct:
    """A network of one application subnet (or the ``kinds`` given), with a capacity and limits of its own."""

    def __init__(
        self, *kinds: str, capacity: Capacity | None = None, limits: Limits | None = None, seed: int = 0
    ) -> None:
        self.network = Network(
            kinds or ("Application",), _MODULES, shims=_SHIMS, capacity=capacity, limits=limits, seed=seed
        )

    def update(self, callee: bytes, method: str, arg: bytes = b"", sender: bytes = ANONYMOUS) -> bytes:
        """Call and tick until there is an answer. Raises `Refused`, or `localnet.errors.Reject` at once."""
        network = self.network
        entry = network.ingress[network.submit(sender, callee, method, arg)]
        for _ in range(MAX_ROUNDS):
            if entry.response is not None:
                break
            network.tick()
        response = entry.response
        assert response is not None
        if isinstance(response, Reply):
            return response.data
        raise Refused(response.error_code, response.message)

    def post(self, callee: bytes, method: str, nonce: bytes, expiry: int, arg: bytes = b"") -> httpx.Response:
        """Send an anonymous call to the IC's interface, which executes nothing."""
        content = {
            "request_type": "call",
            "sender": ANONYMOUS,
            "canister_id": callee,
            "method_name": method,
            "arg": arg,
            "ingress_expiry": expiry,
            "nonce": nonce,
        }
        transport = httpx.ASGITransport(Starlette(routes=ic_api.routes("", lambda _: self.network, Workers())))

        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://localnet") as client:
                path = f"/api/v2/canister/{Principal(callee)}/call"
                headers = {"content-type": "application/cbor"}
                return await client.post(path, content=cbor2.dumps({"content": content}), headers=headers)

        return asyncio.run(send())

    def manage(self, method: str, kind: candid.Type, value: dict[str, Any], sender: bytes = ANONYMOUS) -> bytes:
        """Call a management method."""
        return self.update(MANAGEMENT, method, candid.encode([kind], [value]), sender)

    def create(self, cycles: int | None = None, sender: bytes = ANONYMOUS, **settings: Any) -> Canister:
        """A canister with cycles (100 T) and settings."""
        value = {"amount": cycles, "settings": settings}
        reply = self.manage("provisional_create_canister_with_cycles", types.PROVISIONAL_CREATE, value, sender)
        return self.network.canisters[candid.decode(reply, [types.CANISTER_ID])[0]["canister_id"]]

    def install(self, target: Canister, module: bytes, mode: str = "install", sender: bytes = ANONYMOUS) -> None:
        """Install code."""
        value = {"mode": (mode, None), "canister_id": target.id, "wasm_module": module, "arg": b""}
        self.manage("install_code", types.INSTALL, value, sender)

    def deploy(self, module: bytes, cycles: int | None = None, sender: bytes = ANONYMOUS, **settings: Any) -> Canister:
        """A canister with code."""
        target = self.create(cycles, sender, **settings)
        self.install(target, module, sender=sender)
        return target

    def change(self, target: Canister, sender: bytes = ANONYMOUS, **settings: Any) -> None:
        """Change settings."""
        self.manage("update_settings", types.UPDATE_SETTINGS, {"canister_id": target.id, "settings": settings}, sender)

    def about(self, method: str, target: Canister, sender: bytes = ANONYMOUS) -> bytes:
        """Call a management method that takes a canister's id."""
        return self.manage(method, types.CANISTER_ID, {"canister_id": target.id}, sender)

    def status(self, target: Canister, sender: bytes = ANONYMOUS) -> dict[str, Any]:
        """The canister's status."""
        return candid.decode(self.about("canister_status", target, sender), [types.STATUS])[0]

    def advance(self, seconds: float) -> None:
        """Move time on and execute a round."""
        self.network.clock.set(self.network.clock.now + int(seconds * 1e9))
        self.network.tick()
