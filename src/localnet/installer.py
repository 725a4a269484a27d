"""Installs, reinstalls and upgrades code: all of it or nothing.

The new code runs in an instance of its own; the old one is dropped only when every step went well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localnet import accounts
from localnet.admission import module_of, wasm_memory_error
from localnet.canister import Canister, Change, Origin
from localnet.errors import ErrorCode, Reject
from localnet.message import Context, Mode, Rejection
from localnet.modules import CompiledModule
from localnet.prices import MIN_LOG_BYTES
from localnet.principal import to_text
from localnet.runtime import Runtime
from localnet.stable import Content
from localnet.wasm import InvalidWasm

if TYPE_CHECKING:
    from localnet.network import Network

ORTHOGONAL_PERSISTENCE = "enhanced-orthogonal-persistence"


@dataclass(frozen=True)
class InstallRequest:
    """What to install and how: mode ``install``, ``reinstall`` or ``upgrade``, and the upgrade options."""

    mode: str
    options: dict[str, Any]
    module: bytes
    arg: bytes
    caller: bytes
    assembly: int = 0
    """Instructions for putting the module together from chunks."""


class Installer:
    """Puts code into canisters."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def install(self, canister: Canister, request: InstallRequest) -> None:
        """Install as requested. Raises `Reject`, and then the canister is as before, less the cycles used."""
        network = self._network
        name = to_text(canister.id)
        if request.mode == "install" and canister.module is not None:
            raise Reject(
                ErrorCode.CANISTER_NON_EMPTY,
                f"Canister {name} cannot be installed because the canister is not empty. Try installing with "
                "mode='reinstall' instead.",
            )
        if request.mode == "upgrade":
            module_of(canister)
        try:
            compiled = network.modules.get(request.module)
        except InvalidWasm as error:
            raise Reject(
                ErrorCode.CANISTER_INVALID_WASM,
                f"Error from Canister {name}: Canister's Wasm module is not valid: {error}",
            ) from error
        prices = network.prices_of(canister)
        prepaid = prices.execution(network.limits.install)
        accounts.withdraw(canister, prepaid, prices)
        steps = _Steps(network, canister, request, compiled, prepaid)
        try:
            if request.mode == "upgrade":
                steps.upgrade()
            else:
                steps.install()
        finally:
            canister.cycles += prepaid
            accounts.burn(network, canister, prices.execution(steps.used))
            network.scheduler.spend(canister.subnet, steps.used)

    def uninstall(self, canister: Canister, origin: Origin, version: int | None) -> None:
        """Remove a canister's code and state; open calls to it are rejected."""
        self._empty(canister)
        details: tuple[str, object] = ("code_uninstall", None)
        canister.add_change(Change(self._network.clock.now, canister.version, origin, version, details))

    def run_dry(self, canister: Canister) -> None:
        """Uninstall a canister that cannot pay any more.

        Its snapshots, history and allocations go too; id, controllers and version stay.
        """
        accounts.drain(self._network, canister)
        self._empty(canister)
        canister.snapshots.clear()
        canister.history.clear()
        settings = canister.settings
        settings.compute_allocation = settings.memory_allocation = 0
        settings.log_memory_limit = MIN_LOG_BYTES

    def _empty(self, canister: Canister) -> None:
        canister.module = canister.runtime = None
        canister.certified_data = b""
        canister.global_timer = 0
        canister.chunks.clear()
        canister.logs.clear()
        canister.version += 1
        reject = Reject(ErrorCode.CANISTER_REJECTED_MESSAGE, "Canister has been uninstalled.")
        for context in canister.contexts.values():
            if not context.responded:
                self._network.scheduler.respond(context.origin, Rejection.of(reject), context.cycles)
        canister.contexts.clear()
        self._network.scheduler.finish_stopping(canister)


class _Steps:
    """One installation: counts the instructions of its executions together."""

    def __init__(
        self, network: Network, canister: Canister, request: InstallRequest, compiled: CompiledModule, prepaid: int
    ) -> None:
        self._network = network
        self._canister = canister
        self._request = request
        self._compiled = compiled
        self._prepaid = prepaid
        self._memory_before = accounts.allocated(canister)
        self.used = request.assembly

    def _context(self, mode: Mode) -> Context:
        limit = max(0, self._network.limits.install - self.used)
        context = self._network.scheduler.context(self._canister, mode, limit)
        # The new code sees the version it is about to be installed as.
        context.canister.version += mode in (Mode.START, Mode.INIT)
        context.caller = self._request.caller
        context.arg = self._request.arg
        return context

    def _start(self, stable_content: Content) -> Runtime:
        """Instantiate the new code, which runs its start function."""
        network = self._network
        services = network.services(network.prices_of(self._canister))
        context = self._context(Mode.START)
        try:
            runtime = Runtime(self._compiled, services, network.shims, network.pool, context, stable_content)
        finally:
            self._canister.add_logs(context.logs, network.clock.now)
            network.log(self._canister, context.logs)
        self.used += runtime.start_instructions
        return runtime

    def _run(self, runtime: Runtime, export: str, mode: Mode) -> Context:
        """Run a system method if the code has it; raises `Reject` when it fails (nothing is undone yet)."""
        context = self._context(mode)
        runtime.begin(context)
        if export in runtime.compiled.exports:
            outcome = runtime.run_export(export)
            self.used += outcome.instructions
            self._canister.add_logs(context.logs, self._network.clock.now)
            self._network.log(self._canister, context.logs)
            if outcome.error is not None:
                runtime.undo()
                raise outcome.error
        if mode is Mode.INIT:
            error = wasm_memory_error(self._canister, runtime.heap_bytes)
            if error is not None:
                runtime.undo()
                raise error
        return context

    def install(self) -> None:
        """Fresh state: heap, stable memory and log are empty."""
        canister = self._canister
        runtime = self._start(b"")
        timer, logs = canister.global_timer, canister.logs
        canister.global_timer, canister.logs = 0, []
        try:
            context = self._run(runtime, "canister_init", Mode.INIT)
            self._take_memory(runtime, context)
        except Reject:
            canister.global_timer, canister.logs = timer, logs + canister.logs
            canister.trim_logs()
            raise
        canister.certified_data = b""
        self._commit(runtime, context)

    def upgrade(self) -> None:
        """Stable memory stays; the old code may save to it first, the new code may read it back."""
        canister = self._canister
        old = canister.runtime
        assert old is not None
        options = self._request.options
        keep_heap = self._keeps_heap(old)
        timer, certified, cycles = canister.global_timer, canister.certified_data, canister.cycles
        burned = self._network.burned
        old_open = False
        try:
            if not options.get("skip_pre_upgrade"):
                before = self._run(old, "canister_pre_upgrade", Mode.PRE_UPGRADE)
                old_open = True
                self._network.scheduler.apply(canister, before)
            canister.global_timer = 0
            runtime = self._start(old.stable.view())
            if keep_heap:
                runtime.adopt_heap(old)
            context = self._run(runtime, "canister_post_upgrade", Mode.INIT)
            self._take_memory(runtime, context)
        except Reject:
            canister.global_timer, canister.certified_data, canister.cycles = timer, certified, cycles
            self._network.burned = burned
            if old_open:
                old.undo()
            raise
        if old_open:
            old.keep()
        self._commit(runtime, context)

    def _keeps_heap(self, old: Runtime) -> bool:
        """Whether the heap is kept. Raises `Reject` when the option does not fit the old or the new code."""
        persistence = self._request.options.get("wasm_memory_persistence")
        text = ""
        if persistence is None and ORTHOGONAL_PERSISTENCE in old.compiled.metadata:
            text = (
                "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence` "
                "upgrade option."
            )
        keep = persistence is not None and persistence[0] == "keep"
        if keep and ORTHOGONAL_PERSISTENCE not in self._compiled.metadata:
            text = (
                "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option requires that the new "
                "canister module supports enhanced orthogonal persistence."
            )
        if text:
            raise Reject(ErrorCode.CANISTER_CONTRACT_VIOLATION, text)
        return keep

    def _take_memory(self, runtime: Runtime, context: Context) -> None:
        """Reserve cycles for the memory the new code takes. Raises `Reject` when the canister may not have it."""
        network, canister = self._network, self._canister
        prices = network.prices_of(canister)
        installed = canister.module, canister.runtime
        canister.module, canister.runtime = self._compiled, runtime
        try:
            after = accounts.allocated(canister)
            need = accounts.freezing_cycles_of(canister, prices, after)
            reservation = accounts.growth_reservation(network, canister, self._memory_before, after)
        finally:
            canister.module, canister.runtime = installed
        grown = max(0, after - self._memory_before)
        left = context.balance + self._prepaid - prices.execution(self.used)
        if left < need:
            raise accounts.cannot_grow(grown, need - left)
        accounts.check_reservation(canister, grown, reservation, context.balance)
        context.balance -= reservation
        context.reserved = reservation

    def _commit(self, runtime: Runtime, context: Context) -> None:
        runtime.keep()
        self._network.scheduler.apply(self._canister, context)
        self._canister.runtime = runtime
        self._canister.module = self._compiled
