"""How good it is in one look: the score beside what it has to beat, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.evaluation.metrics import Interval, bootstrap
from ssl_mask.reports.html.report.cards import comparison_record
from ssl_mask.reports.html.subject import Subject
from ssl_mask.reports.reference import reference_score
from ssl_mask.runs.comparison import ComparisonRecord, IntervalRecord, ReferenceScore
from ssl_mask.runs.run import RunDir


class ScoreRow(NamedTuple):
    """A macro-F1 on the page's scale."""

    name: str
    value: float
    low: float
    high: float
    style: str
    """A class of the style sheet: `ours` or `other`."""


def scores_of(table: PredictionTable) -> dict[str, Interval]:
    """`macro_f1` and `accuracy` as the cards have them."""
    return bootstrap(table.true, table.predicted, table.group, len(table.classes))


def reference_of(subject: Subject) -> ReferenceScore | None:
    """The run or the study against a probe of its backbone; None where it has none."""
    if subject.source.kind == "run":
        return reference_score(RunDir(subject.source.path))
    if subject.folds is not None:
        return subject.folds.record().reference
    return comparison_record(subject.source.path).reference if subject.source.kind == "seeds" else None


def comparison_of(subject: Subject) -> ComparisonRecord | None:
    """The comparison with supervised baselines; None where none was trained."""
    if subject.source.kind == "seeds":
        return comparison_record(subject.source.path)
    return RunDir(subject.source.path).status().comparison if subject.source.kind == "run" else None


def score_rows(
    name: str, f1: Interval, reference: ReferenceScore | None, compared: ComparisonRecord | None,
    others: Sequence[tuple[str, Interval]],
) -> list[ScoreRow]:  # fmt: skip
    """This run first, then what it is measured against."""
    found = [ScoreRow(name, *f1, "ours")]
    found += [ScoreRow(name, *interval, "other") for name, interval in others]
    if reference is not None:
        found.append(ScoreRow("probe of the frozen backbone", *_ends(reference.macro_f1), "other"))
    rows = [] if compared is None else [r.labels_only.macro_f1 for r in compared.rows if r.labels_only is not None]
    if rows:
        mean = sum(rows) / len(rows)
        found.append(ScoreRow("supervised baseline (labels only)", mean, min(rows), max(rows), "other"))
    return found


def _ends(record: IntervalRecord) -> tuple[float, float, float]:
    return record.value, record.low, record.high
