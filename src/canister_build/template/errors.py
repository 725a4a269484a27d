"""What goes wrong while the template is found or built, as texts for the user.

Not for programming errors: those stay tracebacks.
"""

from __future__ import annotations

from pathlib import Path


class TemplateError(Exception):
    """The template cannot be had; the text says why and what to do."""


class StageError(TemplateError):
    """A stage failed. The text names it, the last lines of its log and the log's place."""

    def __init__(self, stage: str, reason: str, log: Path) -> None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:] if log.exists() else []
        shown = "\n".join(f"  | {line}" for line in lines)
        super().__init__(f"building the template failed in stage {stage}: {reason}\n{shown}\nThe whole log: {log}")
