"""Rounds of pseudo-labels by folds: a study whose rounds are studies of folds.

runs/pseudo-001/              sslmask pseudo --folds 5 --rounds 2 --refit
├── study.json
├── rounds/
│   ├── 00/                   a study of folds on labels only; of named teachers at most oof.parquet of their mean
│   ├── 01/                   a study of folds; each run has the pseudo-labels that were selected for it alone
│   │   ├── fold-0/           pseudo_labels.csv, pool.parquet, selection.json, and the run that trained on them
│   │   └── refit/            of the best round, with --refit
│   └── 02/
├── rounds.json               the rounds so far, the best one, and whether all are done
├── study_card.md, plots/
└── predictions/<pool>/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import PositiveInt

from ssl_mask.runs.base import Count, Record, read_record
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.records import LeakageStatus, RoundSummary
from ssl_mask.runs.run import RunDir, round_name
from ssl_mask.runs.study import Study, StudyFiles


class RoundsSettings(FoldsSettings):
    """What a study of rounds is made of, as study.json keeps it."""

    rounds: PositiveInt
    """After round 0."""
    round_zero: str | None = None
    """Path of a study of folds of before that serves as round 0."""


class RoundsRecord(Record):
    """rounds.json."""

    rounds: tuple[RoundSummary, ...]
    """So far; their scores are out of fold."""
    best_round: Count
    """The highest out-of-fold macro-F1."""
    finished: bool
    """Whether no round is missing."""
    stopped: str = ""
    """A sentence: why there are fewer rounds than were asked for."""
    leakage: LeakageStatus
    """Of the best round."""
    leakage_reason: str


@dataclass(frozen=True)
class RoundStudy(StudyFiles):
    """A study whose rounds are studies of folds."""

    @property
    def record_file(self) -> Path:
        return self.path / "rounds.json"

    def settings(self) -> RoundsSettings:
        """Raises DataError when study.json is missing or damaged."""
        return self.study.settings_as(RoundsSettings)

    def round(self, number: int) -> FoldStudy:
        """The study of a round, whether it is there or not; that of round 0 may be one of before."""
        before = self.settings().round_zero if number == 0 else None
        return FoldStudy(Study(self.path / "rounds" / round_name(number) if before is None else Path(before)))

    @property
    def taught_as_mean(self) -> Path:
        """Out-of-fold predictions of the mean of the teachers, where they are in the place of round 0."""
        return self.path / "rounds" / round_name(0) / "oof.parquet"

    def record(self) -> RoundsRecord:
        """The content of rounds.json. Raises DataError when it is missing or damaged."""
        return read_record(self.record_file, RoundsRecord, hint=f"Resume the study: {self.study.how_to_go_on}")

    @property
    def finished(self) -> bool:
        """Whether no round is missing."""
        return self.record_file.is_file() and self.record().finished

    @property
    def best(self) -> FoldStudy:
        """The study of the best round. Raises DataError when rounds.json is missing or damaged."""
        return self.round(self.record().best_round)

    @property
    def refit(self) -> RunDir:
        """The model on all labels, of the best round."""
        return self.best.refit
