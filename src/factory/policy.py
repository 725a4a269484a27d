"""The battery's policy: what a child gets and when, what the battery keeps, how often the children are looked at.

Pure. Every figure has a default and a range and is set by the factory's admins. The quota of all children together is
no part of it: the contract has methods of its own for that. Amounts in cycles.

    settings "policy"  u128 for each field in the order of FIELDS; a field that is not stored has its default
"""

from kybra import StableBTreeMap, blob, text

POLICY_KEY = "policy"
NUMBER_BYTES = 16
MOST_CYCLES = 10**18
DAY = 86_400
CHILD_WINDOW = DAY
SHARED_WINDOW = 30 * DAY


class Field:
    """One figure of the policy, with its default and the lowest and highest value that an admin may set."""

    def __init__(self, name: str, default: int, lowest: int, highest: int):
        self.name = name
        self.default = default
        self.lowest = lowest
        self.highest = highest


FIELDS = [
    Field("min_top_up", 50_000_000_000, 1_000_000_000, MOST_CYCLES),
    Field("child_limit", 1_500_000_000_000, 0, MOST_CYCLES),
    Field("shared_limit", 1_500_000_000_000, 0, MOST_CYCLES),
    Field("refill_below", 700_000_000_000, 0, MOST_CYCLES),
    Field("refill_to", 1_500_000_000_000, 0, MOST_CYCLES),
    Field("runway_days", 30, 1, 365),
    Field("reserve", 5_000_000_000_000, 0, MOST_CYCLES),
    Field("reserve_days", 7, 1, 365),
    Field("alert_days", 7, 0, 365),
    Field("sweep_seconds", 21_600, 600, 7 * DAY),
    Field("unusual_times", 3, 1, 1_000),
    Field("unusual_cycles", 20_000_000_000, 0, MOST_CYCLES),
    # Enough for 15 GiB: 11 G a day for each, over the freezing threshold and as long again.
    Field("refill_most", 10_000_000_000_000, 0, MOST_CYCLES),
]
NAMES = [field.name for field in FIELDS]


def figures_fault(fields: list[Field], figures: dict[str, int]) -> str:
    """The first figure that is out of its range, or ""."""
    for field in fields:
        if not field.lowest <= figures[field.name] <= field.highest:
            return f"{field.name} must be {field.lowest} to {field.highest}, got {figures[field.name]}"
    return ""


def pack_figures(fields: list[Field], figures: dict[str, int]) -> bytes:
    """Figures as they are stored: u128 each, in the order of their fields."""
    return b"".join([figures[field.name].to_bytes(NUMBER_BYTES, "little") for field in fields])


def unpack_figures(fields: list[Field], stored: bytes) -> dict[str, int]:
    """The figures that `pack_figures` wrote; one that is not stored has its default."""
    figures = {}
    for index, field in enumerate(fields):
        raw = stored[index * NUMBER_BYTES : (index + 1) * NUMBER_BYTES]
        figures[field.name] = int.from_bytes(raw, "little") if raw else field.default
    return figures


class Policy:
    """The policy over the settings map."""

    def __init__(self, settings: StableBTreeMap[text, blob]):
        self._settings = settings
        self._read: dict[str, int] = {}

    def all(self) -> dict[str, int]:
        """Every figure by its name."""
        if not self._read:
            self._read = unpack_figures(FIELDS, self._settings.get(POLICY_KEY) or b"")
        return self._read

    def get(self, name: str) -> int:
        """One figure."""
        return self.all()[name]

    def change(self, changes: dict[str, int]) -> str:
        """Sets some figures and returns "", or says what is wrong and changes nothing."""
        figures = {**self.all(), **changes}
        fault = figures_fault(FIELDS, figures)
        if fault:
            return fault
        if figures["refill_to"] < max(figures["refill_below"], figures["min_top_up"]):
            return (
                f"refill_to {figures['refill_to']} must be at least refill_below {figures['refill_below']} "
                f"and min_top_up {figures['min_top_up']}"
            )
        if figures["refill_most"] < figures["refill_to"]:
            return f"refill_most {figures['refill_most']} must be at least refill_to {figures['refill_to']}"
        self._settings.insert(POLICY_KEY, pack_figures(FIELDS, figures))
        self._read = figures
        return ""
