"""Byte strings of at most 255 bytes, one after the other, each with its length before it (u8).

Pure encoding, of principals above all. Not for longer strings, nor for what strings stand for.
"""


def packed(*values: bytes) -> bytes:
    """The strings as they are stored."""
    return b"".join([bytes([len(value)]) + value for value in values])


def packed_list(values: list[bytes]) -> bytes:
    """The strings with their number (u8) before them."""
    return bytes([len(values)]) + packed(*values)


def unpacked(stored: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """So many strings from an offset on, and the offset after them."""
    values = []
    for _ in range(count):
        end = at + 1 + stored[at]
        values.append(stored[at + 1 : end])
        at = end
    return values, at


def unpacked_list(stored: bytes, at: int) -> tuple[list[bytes], int]:
    """The strings that `packed_list` wrote at an offset, and the offset after them."""
    return unpacked(stored, at + 1, stored[at])


def all_unpacked(stored: bytes, at: int = 0) -> list[bytes]:
    """All strings from an offset to the end."""
    values = []
    while at < len(stored):
        (value,), at = unpacked(stored, at, 1)
        values.append(value)
    return values
