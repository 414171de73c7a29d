"""comparison.json as a typed record: runs with unlabeled images against their supervised baselines."""

from __future__ import annotations

from typing import Literal

from ssl_mask.runs.base import Count, Finite, NotNegative, Record, Share


class IntervalRecord(Record):
    """A score with its 95 % interval."""

    value: Finite
    low: Finite
    high: Finite


class ScoreRecord(Record):
    """The best evaluation of a run, or the best up to some moment."""

    macro_f1: Share
    accuracy: Share
    step: Count
    weights: Literal["live", "ema"] | None = None
    cpu_seconds: NotNegative


class SeedRecord(Record):
    """One seed of a comparison."""

    seed: Count
    ours: ScoreRecord
    labels_only: ScoreRecord | None = None
    """Of the supervised baseline."""
    ours_at_equal_cpu: ScoreRecord | None = None
    """What the run had reached after as much CPU time as its baseline took."""


class DifferenceRecord(Record):
    """Of two sets of runs, macro-F1 and accuracy of one less those of the other."""

    macro_f1: IntervalRecord
    accuracy: IntervalRecord


class ReferenceScore(Record):
    """The reference (a probe, see `ssl_mask.runs.reference`), and what was measured against it."""

    macro_f1: IntervalRecord
    """Of the reference."""
    difference: DifferenceRecord
    """Of the runs, less the reference."""


class ComparisonRecord(Record):
    """comparison.json: runs with unlabeled images and their supervised baselines."""

    rows: tuple[SeedRecord, ...]
    difference: DifferenceRecord | None = None
    """None: no baseline was trained."""
    reference: ReferenceScore | None = None
    """None: the runs have no reference (`train.reference: off`, or a backbone that is not pretrained)."""
