"""A study of folds: every labeled image is predicted by a model that has not seen its group.

runs/study-001/               sslmask train --folds 5 --refit
├── study.json
├── fold-0/ … fold-4/         ordinary runs; once all have finished, their best weights are those of the common step
├── repeat-1-fold-0/ …        with --repeats: the same on other splits
├── refit/                    with --refit: one model on all labels, without validation
├── oof.parquet               out-of-fold predictions: the predictions table, every labeled image once
├── oof.json                  written last: the common step, temperatures, scores
├── study_card.md, plots/
└── predictions/<pool>/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, PositiveInt

from ssl_mask.config import RunConfig, merge
from ssl_mask.runs.base import Count, NotNegative, Positive, Record, Share, read_record
from ssl_mask.runs.comparison import IntervalRecord, ReferenceScore
from ssl_mask.runs.records import LeakageStatus
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import OofStudy

Weights = Literal["live", "ema"]
REFIT = "refit"


class FoldsSettings(Record):
    """What a study of folds is made of, as study.json keeps it."""

    folds: int = Field(ge=2)
    repeats: PositiveInt = 1
    """Splits with other seeds: the images get a prediction from each."""
    refit: bool = False
    """Whether one more model is trained on all labels."""


class CurvePoint(Record):
    """The validation of all folds at one evaluation."""

    step: Count
    weights: Weights
    macro_f1: Share
    """Mean over the members."""
    nll: NotNegative
    """Mean over the members."""


class OwnBest(Record):
    """The step that a member alone would have chosen on its own validation part."""

    step: Count
    weights: Weights
    macro_f1: Share


class FoldsRecord(Record):
    """oof.json."""

    members: tuple[str, ...]
    """Folders of the runs, by repeat and fold."""
    step: Count
    """The common step."""
    weights: Weights
    """The common choice of weights."""
    curves: tuple[CurvePoint, ...]
    own_best: dict[str, OwnBest]
    """Per member."""
    temperatures: dict[str, Positive]
    """Per head, fitted on all out-of-fold predictions; the members predict with them."""
    images: Count
    groups: Count
    grouped: bool
    macro_f1: IntervalRecord
    """Pooled over all out-of-fold predictions, interval by group."""
    accuracy: IntervalRecord
    factors: dict[str, Share]
    """Accuracy per factor."""
    macro_f1_own_best: Share
    """Pooled, each member at its own best step: optimistic."""
    nll: NotNegative
    """Of temperatures that were fitted on the other folds, as `ece`."""
    ece: NotNegative
    ece_raw: NotNegative
    """At temperature 1."""
    cpu_seconds: NotNegative
    reference: ReferenceScore | None = None
    """The out-of-fold predictions of the members' references, pooled, and the study against them."""
    leakage: LeakageStatus
    """The worst of the members."""
    leakage_reason: str
    oof_sha256: str
    """Of oof.parquet."""


def member_name(repeat: int, fold: int) -> str:
    """The folder of a run, such as `fold-0`, or `repeat-1-fold-0` on the second split."""
    return f"fold-{fold}" if repeat == 0 else f"repeat-{repeat}-fold-{fold}"


@dataclass(frozen=True)
class FoldStudy(OofStudy):
    """A study whose runs differ in the fold that is left out of training."""

    @property
    def refit(self) -> RunDir:
        return self.study.run(REFIT)

    def settings(self) -> FoldsSettings:
        """Raises DataError when study.json is missing or damaged."""
        return self.study.settings_as(FoldsSettings)

    def members(self) -> tuple[RunDir, ...]:
        """The runs, by repeat and fold, whether they are there or not."""
        asked = self.settings()
        return tuple(self.study.run(member_name(r, k)) for r in range(asked.repeats) for k in range(asked.folds))

    def member_config(
        self, config: RunConfig, repeat: int, fold: int, changes: Mapping[str, Any] = MappingProxyType({})
    ) -> RunConfig:
        """The configuration of one run: that of the study, with its fold left out and all evaluations kept.

        Args:
            changes: what it has of its own, as a tree.
        """
        own = {"data": {"fold": fold, "split_seed": config.data.split_seed + repeat}, "train": {"keep": "all"}}
        return self.study.member(config, member_name(repeat, fold), **merge(changes, own))

    def record(self) -> FoldsRecord:
        """The content of oof.json. Raises DataError when it is missing or damaged."""
        return read_record(self.record_file, FoldsRecord, hint=f"Resume the study: {self.study.how_to_go_on}")
