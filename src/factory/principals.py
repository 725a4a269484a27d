"""Principals between the forms in which stores keep and Candid carries them. Host functions of Kybra, nothing else."""

from kybra import Principal


def to_principal(raw: bytes) -> Principal:
    """A principal from its bytes."""
    return Principal.from_hex(raw.hex())


def to_text(raw: bytes) -> str:
    """A principal's text from its bytes."""
    return to_principal(raw).to_str()


def to_principals(raws: list[bytes]) -> list[Principal]:
    """Principals from their bytes."""
    return [to_principal(raw) for raw in raws]
