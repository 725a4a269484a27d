"""The report of the main job: what was done, what it cost, whether every message arrived.

Not for collecting the figures (`zones.demo` does); only for holding and showing them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from localnet.prices import Prices

PAIR_BYTES = 44
"""Bytes a short message takes in a call besides its ciphertext: a 41-byte key_id and two lengths."""


@dataclass(frozen=True)
class Member:
    """A member of the zone: its name here, address and principal as text, role."""

    name: str
    address: str
    principal: str
    role: int


@dataclass(frozen=True)
class Report:
    """Figures of one run. Cycles and bytes as such, `seconds` per step in the order the steps were taken."""

    network: str
    factory: str
    zone_id: str
    zone: str
    members: list[Member]
    sent: int
    arrived: int
    plain_bytes: int
    encrypted_bytes: int
    batches: int
    factory_wasm_bytes: int
    zone_wasm_bytes: int
    send_cycles: int
    """Cycles the zone burned between the first and the last batch."""
    factory_cycles: int
    factory_start_cycles: int
    zone_cycles: int
    zone_start_cycles: int
    seconds: dict[str, float]
    fault: str | None = None
    """The first difference between what was sent and what was read, None when there is none."""

    @property
    def intact(self) -> bool:
        """Whether every message arrived as it was sent."""
        return self.fault is None and self.sent == self.arrived > 0

    @property
    def instructions(self) -> int:
        """About how many instructions sending took: the cycles burned without the fees for calls and their bytes."""
        prices = Prices()
        fees = self.batches * (prices.ingress_message + prices.update_message)
        fees += (self.encrypted_bytes + self.sent * PAIR_BYTES) * prices.ingress_byte
        return (self.send_cycles - fees) // prices.instruction

    def data(self) -> dict[str, Any]:
        """Return everything for `--json`."""
        return {**asdict(self), "intact": self.intact, "instructions": self.instructions}

    def lines(self) -> list[str]:
        """Return the report for people."""
        return [
            "",
            f"network       {self.network}",
            f"factory       {self.factory} ({self.factory_wasm_bytes} bytes of Wasm)",
            f"zone          {self.zone_id}",
            f"canister      {self.zone} ({self.zone_wasm_bytes} bytes of Wasm)",
            *(
                f"member        {member.name}: role {member.role}, {member.address}, {member.principal}"
                for member in self.members
            ),
            f"messages      {self.sent} sent in {self.batches} calls, {self.arrived} read back, "
            + ("every one intact" if self.intact else f"NOT INTACT: {self.fault}"),
            f"bytes         {self.plain_bytes} of text, {self.encrypted_bytes} encrypted",
            f"instructions  ≈ {self.instructions:_} for sending, {self.instructions // max(self.sent, 1):_} a message "
            "(from the cycles burned, without the fees for calls)",
            f"cycles        zone: {self.send_cycles:_} burned by sending, "
            f"{self.zone_start_cycles - self.zone_cycles:_} since it was created, {self.zone_cycles:_} left",
            f"              factory: {self.factory_start_cycles - self.factory_cycles:_} spent (with the zone's "
            f"first cycles), {self.factory_cycles:_} left",
            "seconds       " + ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.seconds.items()),
        ]
