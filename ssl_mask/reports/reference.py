"""What a run is worth against its reference: a probe of the backbone that it began with."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_mask.data.predictions import PredictionTable, read_validation
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.evaluation.reference import against
from ssl_mask.runs.comparison import DifferenceRecord, IntervalRecord, ReferenceScore
from ssl_mask.runs.run import RunDir

WHAT = "logistic regression on the frozen backbone"


def reference_score(run: RunDir) -> ReferenceScore | None:
    """A run against its reference; None where it has none. Raises DataError when a file of it is damaged."""
    if run.reference_record() is None:
        return None
    return score_against(read_validation(run.reference), [read_validation(run.validation)])


def score_against(reference: PredictionTable, runs: Sequence[PredictionTable]) -> ReferenceScore:
    """Predictions of the same images, as a record; those of several runs are averaged. Raises DataError."""
    found = against(reference, runs)
    return ReferenceScore(
        macro_f1=_interval(found.reference["macro_f1"]),
        difference=DifferenceRecord(**{key: _interval(found.difference[key]) for key in ("macro_f1", "accuracy")}),
    )


def _interval(score: Interval) -> IntervalRecord:
    return IntervalRecord(**score._asdict())


def reference_sentence(score: ReferenceScore, what: str) -> str:
    """Such as `logistic regression on the frozen backbone: macro-F1 0.4213; this run is 0.0522 above it (…)`.

    Args:
        what: is measured against it, such as `this run`.
    """
    return f"{WHAT}: macro-F1 {score.macro_f1.value:.4f}; {verdict_against(score.difference, what)}."


def reference_note(score: ReferenceScore, what: str) -> str:
    """For a card: the verdict first, in bold Markdown."""
    title = "Better than a probe" if score.difference.macro_f1.low > 0 else "Not shown to be better than a probe"
    return f"**{title}** ({reference_sentence(score, what)[:-1]}). Both learned from the same labels."


def verdict_against(difference: DifferenceRecord, what: str) -> str:
    """Whether it beats the reference, with the interval."""
    f1 = difference.macro_f1
    interval = f"95 % interval {f1.low:+.4f} to {f1.high:+.4f}"
    if f1.low > 0:
        return f"{what} is {f1.value:.4f} above it ({interval})"
    if f1.high < 0:
        return f"{what} is WORSE, by {-f1.value:.4f} ({interval}): train less, or use the probe"
    return f"{what} is NOT shown to be better: {f1.value:+.4f} ({interval}, which includes 0)"
