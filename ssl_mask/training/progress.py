"""How far a training run is. A resumed run starts from this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ssl_mask.errors import ModelError
from ssl_mask.runs.base import Count, NotNegative, Record, parse_record
from ssl_mask.runs.records import BestScore


class ProgressRecord(Record):
    """What of a progress is in a saved state."""

    step: Count
    best: BestScore | None
    waited: Count
    seconds: NotNegative
    cpu: NotNegative


@dataclass
class Progress:
    """Saved together with the state of a run."""

    step: int = 0
    """Optimizer steps that are done."""
    best: BestScore | None = None
    """The best evaluation so far."""
    waited: int = 0
    """Evaluations since then."""
    seconds: float = 0.0
    cpu: float = 0.0
    """CPU seconds of this process."""

    def to_json(self) -> dict[str, Any]:
        """As plain data, for the saved state."""
        return {**vars(self), "best": self.best and self.best.to_json()}

    @classmethod
    def from_json(cls, content: Any, where: str) -> Progress:
        """Raises ModelError when it is damaged; the message names `where`."""
        hint = "Restore it from a copy, or start a new run."
        return cls(**dict(parse_record(ProgressRecord, content, where, error=ModelError, hint=hint)))
