"""The length of a batch, read from its Candid before anything of it is decoded.

Pure. Not for what the items are: the declared types decide that when the batch is decoded.
"""

from zone_canister.messages import MAX_BATCH

VEC = -19
RECORD = -20
VARIANT = -21
FUNC = -22
SERVICE = -23
OPT = -18
MAX_TYPES = 64


class Malformed(Exception):
    """Bytes that are not the start of a Candid message."""


def batch_fault(data: bytes) -> str:
    """What is wrong with the length of the vector a message begins with, or "" (also where it cannot be told)."""
    try:
        length = vector_length(data)
    except (Malformed, IndexError):
        # Decoding will say what is wrong with it.
        return ""
    if length > MAX_BATCH:
        return f"too many messages: {length}, at most {MAX_BATCH} in one call"
    return ""


def vector_length(data: bytes) -> int:
    """How many elements the first value has, a vector; 0 for anything else."""
    if data[:4] != b"DIDL":
        raise Malformed
    reader = Numbers(data, 4)
    types = reader.unsigned()
    if types > MAX_TYPES:
        raise Malformed
    kinds = [reader.type() for _ in range(types)]
    values = reader.unsigned()
    first = reader.signed() if values else -1
    for _ in range(values - 1):
        reader.signed()
    return reader.unsigned() if 0 <= first < types and kinds[first] == VEC else 0


class Numbers:
    """LEB128 numbers of a message, one after the other."""

    def __init__(self, data: bytes, at: int):
        self._data = data
        self._at = at

    def unsigned(self) -> int:
        """The next number without a sign."""
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise Malformed

    def signed(self) -> int:
        """The next number with a sign: a type."""
        start = self._at
        value = self.unsigned()
        bits = 7 * (self._at - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def type(self) -> int:
        """The kind of the next entry of the type table."""
        kind = self.signed()
        if kind in (VEC, OPT):
            self.signed()
        elif kind in (RECORD, VARIANT):
            for _ in range(self._fields()):
                self.unsigned()
                self.signed()
        else:
            raise Malformed
        return kind

    def _fields(self) -> int:
        fields = self.unsigned()
        if fields > MAX_TYPES:
            raise Malformed
        return fields
