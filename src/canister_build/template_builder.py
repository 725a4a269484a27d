"""Builder `template`: puts a canister's Python and its method table into the prebuilt CPython Wasm.

Not for making that Wasm: that is the package `template`.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from basilisk.wasm_manipulator import manipulate_wasm

from . import wasm
from .bundle import bundle
from .findings import BuildError
from .interface import CanisterInterface
from .sources import Source

_OPTIONAL_HOOKS = ("heartbeat", "inspect_message", "pre_upgrade")
_INJECTION_EXPORTS = frozenset(
    {
        *("execute_query_method", "execute_update_method"),
        *("python_source_passive_data_size", "init_python_source_passive_data"),
        *("method_meta_passive_data_size", "init_method_meta_passive_data"),
    }
)


def build_template(source: Source, interface: CanisterInterface, template: Path) -> bytes:
    """The canister's raw Wasm, made from the template at `template`.

    Hooks the source does not have are not exported: the network would call an empty heartbeat every round.
    """
    _require_template(template)
    metadata = interface.metadata()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        out = Path(folder, "canister.wasm")
        manipulate_wasm(
            str(template),
            str(out),
            bundle(source, interface),
            metadata["methods"],  # type: ignore[arg-type]
            metadata["type_defs"],  # type: ignore[arg-type]
            metadata["lifecycle"],  # type: ignore[arg-type]
        )
        built = out.read_bytes()
    unused = {f"canister_{hook}" for hook in _OPTIONAL_HOOKS if hook not in interface.hooks}
    return wasm.edit(
        built,
        keep_export=lambda name: name not in unused and name not in _INJECTION_EXPORTS,
        keep_custom=lambda name: name.startswith("icp:"),
    )


def _require_template(path: Path) -> None:
    needed = _INJECTION_EXPORTS | {"canister_init", "canister_post_upgrade"}
    try:
        missing = needed - set(wasm.exports(path.read_bytes()))
    except (OSError, wasm.WasmError) as error:
        raise BuildError(f"{path} cannot be used as the template: {error}") from None
    if missing:
        raise BuildError(f"{path} is no template: it does not export {', '.join(sorted(missing))}.")
