"""The first thing a canister does after an upgrade: make sure that the stable memory it woke up over is its own.

Reads only. Under the template the raw bytes were checked before any map was touched, and are checked again here.
"""

from kybra import StableBTreeMap, blob, ic, text

from canister_kit import layout


def refuse_foreign_layout(settings: StableBTreeMap[text, blob], kind: str) -> None:
    """Traps with what was found unless stable memory is that of a canister of this kind, builder and format."""
    pages = ic.stable64_size()
    manager = ic.stable64_read(0, len(layout.MANAGER_MAGIC)) if pages > 0 else b""
    first_map = ic.stable64_read(layout.PAGE_BYTES, len(layout.MAP_MAGIC) + 1) if pages > 1 else b""
    fault = layout.raw_fault(pages, manager, first_map)
    if not fault:
        fault = layout.header_fault(settings.get(layout.HEADER_KEY), kind)
    if fault:
        ic.trap(fault)
