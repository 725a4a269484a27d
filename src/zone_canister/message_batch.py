"""The length of a batch, read from its Candid before anything of it is decoded.

Pure. Not for what the items are: the declared types decide that when the batch is decoded.
"""

from zone_canister.messages import MAX_BATCH

VEC = -19
RECORD = -20
VARIANT = -21
OPT = -18
MAX_TYPES = 64


class Malformed(Exception):
    """Bytes that are not the start of a batch, or of one that nobody sends; the text says why."""


def batch_fault(data: bytes) -> str:
    """What is wrong with the vector a message begins with, or "": its length must be told before it is decoded."""
    try:
        length = vector_length(data)
    except (Malformed, IndexError) as fault:
        return f"not a batch of messages: {fault}"
    if length > MAX_BATCH:
        return f"too many messages: {length}, at most {MAX_BATCH} in one call"
    return ""


def vector_length(data: bytes) -> int:
    """How many elements the first value has, a vector. Raises `Malformed` or IndexError for anything else."""
    if data[:4] != b"DIDL":
        raise Malformed("it does not begin with DIDL")
    reader = Numbers(data, 4)
    types = reader.count("types")
    kinds = [reader.type() for _ in range(types)]
    values = reader.count("values")
    first = reader.signed() if values else -1
    for _ in range(values - 1):
        reader.signed()
    if not 0 <= first < types or kinds[first] != VEC:
        raise Malformed("its first value is no vector")
    return reader.unsigned()


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
                raise Malformed("a number does not fit 64 bits")

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
            for _ in range(self.count("fields")):
                self.unsigned()
                self.signed()
        else:
            raise Malformed(f"a type of kind {kind}")
        return kind

    def count(self, what: str) -> int:
        """A number of types, values or fields: few, so that reading them costs little."""
        found = self.unsigned()
        if found > MAX_TYPES:
            raise Malformed(f"{found} {what}, at most {MAX_TYPES} are read")
        return found
