"""Packs a canister's modules into the one Python text that the template runs at its start.

Not for choosing the modules: that is `sources`. Each module keeps its dotted name, its `__file__` and its line numbers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .interface import CanisterInterface
from .sources import Source

_PRELUDE = Path(__file__).with_name("prelude.py")


def bundle(source: Source, interface: CanisterInterface) -> str:
    """The Python text for the template: the prelude, every module in running order, then main.py's names."""
    lines = [_PRELUDE.read_text(encoding="utf-8")]
    for module in source.modules:
        services = interface.service_types(module)
        arguments = (module.name, module.path, module.is_package, module.text, services)
        call = f"_load({', '.join(repr(a) for a in arguments)})\n"
        lines.append(call if module is not source.entry else f"_export({call.strip()})\n")
    return "".join(lines)


def source_hash(source: Source) -> str:
    """SHA-256 (hex) over the names and texts of the canister's modules."""
    digest = hashlib.sha256()
    for module in sorted(source.modules, key=lambda m: m.path):
        for part in (module.path.encode(), module.text.encode()):
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
