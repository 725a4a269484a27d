"""Keccak-256 as Ethereum uses it: the original padding, which neither interpreter's hashlib offers.

Only for short inputs such as a public key: about 10 M Wasm instructions a block of 136 bytes. Source: the Keccak
reference, version 3.0, sections 1.2 and 2 (rotation offsets and round constants from their recurrences).
"""

RATE_BYTES = 136
LANE = (1 << 64) - 1


def _round_constants() -> list[int]:
    constants = []
    register = 1
    for _ in range(24):
        constant = 0
        for bit in range(7):
            if register & 1:
                constant |= 1 << ((1 << bit) - 1)
            register <<= 1
            if register & 0x100:
                register ^= 0x171
        constants.append(constant)
    return constants


def _walk() -> list[tuple[int, int, int]]:
    """(from lane, to lane, rotation) of the rho and pi steps; a lane's number is x + 5 * y."""
    steps = [(0, 0, 0)]
    x, y = 1, 0
    for step in range(24):
        to_x, to_y = y, (2 * x + 3 * y) % 5
        steps.append((x + 5 * y, to_x + 5 * to_y, (step + 1) * (step + 2) // 2 % 64))
        x, y = to_x, to_y
    return steps


ROUND_CONSTANTS = _round_constants()
WALK = _walk()


def _permute(lanes: list[int]) -> list[int]:
    for constant in ROUND_CONSTANTS:
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        mixes = []
        for x in range(5):
            neighbour = columns[(x + 1) % 5]
            mixes.append(columns[(x + 4) % 5] ^ ((neighbour << 1 | neighbour >> 63) & LANE))
        moved = [0] * 25
        for source, target, rotation in WALK:
            lane = lanes[source] ^ mixes[source % 5]
            moved[target] = (lane << rotation | lane >> (64 - rotation)) & LANE
        lanes = []
        for row in range(0, 25, 5):
            for x in range(5):
                lanes.append(moved[row + x] ^ (~moved[row + (x + 1) % 5] & LANE & moved[row + (x + 2) % 5]))
        lanes[0] ^= constant
    return lanes


def keccak_256(data: bytes) -> bytes:
    """The 32-byte Keccak-256 digest of data."""
    padded = bytearray(data)
    padded += bytes(RATE_BYTES - len(data) % RATE_BYTES)
    padded[len(data)] ^= 0x01
    padded[-1] ^= 0x80
    lanes = [0] * 25
    for block in range(0, len(padded), RATE_BYTES):
        for lane in range(RATE_BYTES // 8):
            start = block + 8 * lane
            lanes[lane] ^= int.from_bytes(padded[start : start + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])
