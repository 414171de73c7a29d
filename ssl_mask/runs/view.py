"""What the API returns of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_mask.config import RunConfig
from ssl_mask.runs.records import BestScore, RunStatus
from ssl_mask.runs.run import RunDir


@dataclass(frozen=True)
class Run:
    """A run, finished or not. Everything is read from its folder when it is asked for."""

    dir: RunDir

    @property
    def path(self) -> Path:
        return self.dir.path

    @property
    def name(self) -> str:
        return self.dir.name

    @property
    def config(self) -> RunConfig:
        """With which it was trained."""
        return self.dir.config()

    @property
    def status(self) -> RunStatus:
        """How far it is, its scores, its data, and how far they can be trusted."""
        return self.dir.status()

    @property
    def scores(self) -> BestScore:
        """Validation scores of the best weights: `macro_f1`, `accuracy`, `step`, `weights` (live or ema), …

        Raises:
            DataError: nothing has been evaluated yet.
        """
        return self.dir.scores()

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was logged every few steps and of every evaluation."""
        return self.dir.records()
