"""Compiles canister modules with wasmtime and keeps the results in memory and on disk.

It decides whether a module can be installed (imports, exports, sizes); it never instantiates one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import wasmtime
from wasmtime import _bindings

from localnet import wasm
from localnet.wasm import InvalidWasm

WASM_STACK_BYTES = 5 * 1024 * 1024
"""Native stack a canister's code may use, as on the replica; threads that run canisters need more."""
MEMORY_CACHE_ENTRIES = 64
DISK_CACHE_ENTRIES = 200
WASMTIME_VERSION = version("wasmtime")

_SYSTEM_EXPORTS = {
    "canister_init", "canister_inspect_message", "canister_heartbeat", "canister_global_timer",
    "canister_pre_upgrade", "canister_post_upgrade", "canister_on_low_wasm_memory",
}  # fmt: skip
_METHOD_KINDS = {
    "canister_update": "update",
    "canister_query": "query",
    "canister_composite_query": "composite_query",
}

T = TypeVar("T")


def expect(item: object, kind: type[T]) -> T:
    """Narrow an item of a module's exports to its kind; anything else is a fault of localnet."""
    if not isinstance(item, kind):
        raise TypeError(f"{item!r} is no {kind.__name__}")
    return item


@dataclass(frozen=True)
class CompiledModule:
    """A module that passed every check, compiled."""

    module: wasmtime.Module
    hash: bytes
    """SHA-256 of the module as installed (gzipped if it was)."""
    source: bytes
    """The module as installed."""
    methods: dict[str, str]
    """Method name to ``update``, ``query`` or ``composite_query``."""
    exports: frozenset[str]
    globals: tuple[str, ...]
    imports: tuple[str, ...]
    """Names of the ``ic0`` functions in the order of the module's imports."""
    metadata: dict[str, tuple[bool, bytes]] = field(default_factory=dict)
    has_memory: bool = True
    has_table: bool = True

    @property
    def size(self) -> int:
        """Bytes of the module as installed."""
        return len(self.source)

    @cached_property
    def metadata_size(self) -> int:
        """Bytes of the metadata sections, names included."""
        return sum(len(name) + len(content) for name, (_, content) in self.metadata.items())


def make_engine() -> wasmtime.Engine:
    """An engine with fuel and deterministic floats, the only kind canisters run on."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.wasm_multi_memory = True
    config.wasm_memory64 = True
    config.wasm_threads = False
    config.wasm_relaxed_simd_deterministic = True
    # Unused here, but wasmtime refuses a stack larger than this one, and the package has no setter for it.
    _bindings.wasmtime_config_async_stack_size_set(config.ptr(), 2 * WASM_STACK_BYTES)
    config.max_wasm_stack = WASM_STACK_BYTES
    config.native_unwind_info = False
    return wasmtime.Engine(config)


def cache_folder() -> Path:
    """Where compiled modules are kept: ``$XDG_CACHE_HOME/zone-canister-build/modules``."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "zone-canister-build" / "modules"


class ModuleCache:
    """Compiled modules by the SHA-256 of what was installed. Safe to use from several threads."""

    def __init__(self, signatures: dict[str, wasmtime.FuncType], folder: Path | None = None) -> None:
        self.engine = make_engine()
        self._signatures = signatures
        self._folder = folder if folder is not None else cache_folder()
        self._compiled: OrderedDict[bytes, CompiledModule] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, module: bytes) -> CompiledModule:
        """Compile a module (or find it compiled). Raises `InvalidWasm` when no canister can run it."""
        digest = hashlib.sha256(module).digest()
        with self._lock:
            known = self._compiled.get(digest)
            if known is not None:
                self._compiled.move_to_end(digest)
                return known
            compiled = self._load(module, digest)
            self._compiled[digest] = compiled
            while len(self._compiled) > MEMORY_CACHE_ENTRIES:
                self._compiled.popitem(last=False)
            return compiled

    def _load(self, module: bytes, digest: bytes) -> CompiledModule:
        prepared = wasm.prepare(wasm.decompress(module))
        path = self._folder / f"{digest.hex()}-{WASMTIME_VERSION}-{wasm.PASS_VERSION}.cwasm"
        native = self._from_disk(path) or self._compile(path, prepared.wasm)
        imports = self._check_imports(native)
        methods, exports = _check_exports(native)
        return CompiledModule(
            module=native,
            hash=digest,
            source=module,
            methods=methods,
            exports=exports,
            globals=tuple(prepared.globals),
            imports=imports,
            metadata=prepared.metadata,
            has_memory=prepared.has_memory,
            has_table=prepared.has_table,
        )

    def _compile(self, path: Path, module: bytes) -> wasmtime.Module:
        """Compile and keep a module, once for all processes that want it at the same time."""
        with self._turn(path):
            native = self._from_disk(path)
            if native is not None:
                return native
            try:
                native = wasmtime.Module(self.engine, module)
            except wasmtime.WasmtimeError as error:
                raise InvalidWasm(_first_lines(str(error))) from error
            self._to_disk(path, native)
            return native

    @contextlib.contextmanager
    def _turn(self, path: Path) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / f"{path.name[:2]}.lock").open("w", encoding="utf-8")
        except OSError:
            yield
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _from_disk(self, path: Path) -> wasmtime.Module | None:
        if not path.exists():
            return None
        try:
            native = wasmtime.Module.deserialize_file(self.engine, str(path))
            os.utime(path)
        except (wasmtime.WasmtimeError, OSError):
            # Made by another build of wasmtime or for another processor, or cut off: compile again.
            return None
        return native

    def _to_disk(self, path: Path, native: wasmtime.Module) -> None:
        # A cache that can't be written costs time only; the module itself is compiled.
        with contextlib.suppress(OSError):
            partial = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.partial")
            partial.write_bytes(native.serialize())
            partial.replace(path)
            entries = sorted(self._folder.glob("*.cwasm"), key=lambda entry: entry.stat().st_mtime)
            for entry in entries[:-DISK_CACHE_ENTRIES]:
                entry.unlink()

    def _check_imports(self, native: wasmtime.Module) -> tuple[str, ...]:
        names = []
        for item in native.imports:
            name = item.name or ""
            kind = item.type
            if item.module != "ic0" or name not in self._signatures:
                raise InvalidWasm(
                    f"Wasm module has an invalid import section. Function import {item.module}.{name} is not "
                    "one this network offers"
                )
            want = self._signatures[name]
            if not isinstance(kind, wasmtime.FuncType) or _shape(kind) != _shape(want):
                raise InvalidWasm(
                    f"Wasm module has an invalid import section. ic0.{name} is imported as {_shape(kind)}, "
                    f"but is {_shape(want)}"
                )
            names.append(name)
        return tuple(names)


def _shape(kind: object) -> str:
    if not isinstance(kind, wasmtime.FuncType):
        return type(kind).__name__
    return f"({', '.join(map(str, kind.params))}) -> ({', '.join(map(str, kind.results))})"


def _check_exports(native: wasmtime.Module) -> tuple[dict[str, str], frozenset[str]]:
    methods: dict[str, str] = {}
    exports = set()
    for item in native.exports:
        exports.add(item.name)
        if not item.name.startswith("canister_") or not isinstance(item.type, wasmtime.FuncType):
            continue
        if item.type.params or item.type.results:
            raise InvalidWasm(f"Wasm module has an invalid function signature: {item.name} is {_shape(item.type)}")
        prefix, space, method = item.name.partition(" ")
        if space and prefix in _METHOD_KINDS:
            if method in methods:
                raise InvalidWasm(f"Wasm module has an invalid export section: duplicate method {method!r}")
            methods[method] = _METHOD_KINDS[prefix]
        elif item.name not in _SYSTEM_EXPORTS:
            raise InvalidWasm(f"Wasm module has an invalid export section: exporting reserved function {item.name!r}")
    return methods, frozenset(exports)


def _first_lines(text: str, count: int = 4) -> str:
    return "; ".join(line.strip() for line in text.splitlines()[:count] if line.strip())
