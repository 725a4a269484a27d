"""Whose stable memory is this? The header record both canisters keep, and the check of raw bytes.

Not for what the maps hold: every store owns its own formats. All checks here are pure; they return what is wrong as
text, or an empty text, and the canister traps with it so that a foreign layout is left exactly as it was.

Stable memory as the memory manager lays it out (ic-stable-structures; the same for both builders):

    offset  size   field
    0       3      magic "MGR"
    3       1      version, 1
    4       2      buckets in use
    6       2      pages per bucket
    8       32     reserved
    40      2040   pages of each of the 255 virtual memories, u64 each
    65536   3      first bucket: magic "BTR" of the map that grew first
    65539   1      map version: 1 under Kybra, 2 under the template

Under the template the large values of a map lie in another memory, which begins with "SLT" and never grows first.
"""

import struct
import sys

PAGE_BYTES = 65_536
HEADER_KEY = "layout"
FORMAT = 1

MANAGER_MAGIC = b"MGR\x01"
MAP_MAGIC = b"BTR"
MAP_VERSIONS = {"kybra": 1, "template": 2}

MEMORY_SIZES_OFFSET = 40
MEMORY_SIZES_BYTES = 255 * 8


def builder() -> str:
    """Name of the builder that made this Wasm: Kybra's interpreter is RustPython, the template's is CPython."""
    return "kybra" if sys.implementation.name == "rustpython" else "template"


def encode_header(kind: str) -> bytes:
    """The header record of a canister of this kind: `<kind> <format> <builder>`, ASCII."""
    return f"{kind} {FORMAT} {builder()}".encode()


def raw_fault(pages: int, manager: bytes, first_map: bytes) -> str:
    """What is foreign about raw stable memory, or "".

    `pages` is its size in 64 KiB pages, `manager` its first 4 bytes and `first_map` the 4 bytes at offset 65536
    (both empty where there is no such page).
    """
    if pages == 0:
        return ""
    if manager != MANAGER_MAGIC:
        return (
            f"stable memory begins with 0x{manager.hex()}: "
            f"expected 0x{MANAGER_MAGIC.hex()} (a memory manager) or nothing"
        )
    expected = MAP_MAGIC + bytes([MAP_VERSIONS[builder()]])
    if pages > 1 and first_map != expected:
        return (
            f"the first stable map begins with 0x{first_map.hex()}: "
            f"expected 0x{expected.hex()}, as the builder {builder()} writes it"
        )
    return ""


def header_fault(stored: bytes | None, kind: str) -> str:
    """What is foreign about the stored header record, or ""."""
    expected = encode_header(kind)
    if stored == expected:
        return ""
    found = "nothing" if stored is None else repr(stored.decode("utf-8", "replace"))
    return f"stable memory holds the layout {found}: expected {expected.decode()!r}"


def logical_pages(memory_sizes: bytes) -> int:
    """Pages that the virtual memories use, from the 2040 bytes at offset 40; the rest of the buckets is reserve."""
    return sum(struct.unpack(f"<{len(memory_sizes) // 8}Q", memory_sizes))
