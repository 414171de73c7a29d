"""How far a training run is. A resumed run starts from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl_mask.runs.records import BestScore


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
    def from_json(cls, content: Mapping[str, Any]) -> Progress:
        best = content["best"]
        return cls(**{**content, "best": best and BestScore.model_validate(best)})
