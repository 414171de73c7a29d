"""Everything that a report says of a run or a study, as numbers and pictures; `page` and `text` put it into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import RunConfig
from ssl_mask.data.predictions import PredictionTable
from ssl_mask.evaluation.heat import Explained
from ssl_mask.evaluation.label_doubts import Doubt, label_doubts
from ssl_mask.evaluation.metrics import ClassScore, Interval, class_scores
from ssl_mask.guard.lineage import mark_of
from ssl_mask.guard.status import Mark, worst_mark
from ssl_mask.reports.html.advice import Step, next_steps
from ssl_mask.reports.html.album import Album, Picture
from ssl_mask.reports.html.charts import Chart
from ssl_mask.reports.html.conditions import MEASURES, Bin, Measure, binned, measure, sample
from ssl_mask.reports.html.pairs import Guarded, guarded
from ssl_mask.reports.html.report import mistakes
from ssl_mask.reports.html.report.cards import card_of
from ssl_mask.reports.html.report.curves import curve_charts
from ssl_mask.reports.html.report.pseudo import Examples, examples, round_run
from ssl_mask.reports.html.report.reliability import reliability_chart
from ssl_mask.reports.html.report.score_rows import ScoreRow, comparison_of, reference_of, score_rows, scores_of
from ssl_mask.reports.html.report.settings import Difference, differences
from ssl_mask.reports.html.report.versus import Versus, versus
from ssl_mask.reports.html.report.words import Card
from ssl_mask.reports.html.subject import Subject, picture_of, raw_probs, rows_of, true_probs

WORST, DOUBTS = 96, 15


@dataclass(frozen=True)
class Looks:
    """What the predictions say, image by image."""

    table: PredictionTable
    scores: dict[str, Interval]
    classes: dict[str, ClassScore]
    score_rows: list[ScoreRow]
    matrices: list[mistakes.Matrix]
    confusions: list[mistakes.Confusion]
    weakest: tuple[str, float] | None
    """The factor that is told worst, and its accuracy; None where there is one factor."""
    worst: list[int]
    """Rows of the table."""
    wrong: int
    groups: list[mistakes.GroupErrors]
    """Nothing where the data name no groups."""
    doubts: list[Doubt]
    calibration: Chart


@dataclass(frozen=True)
class Report:
    """What a page says."""

    subject: Subject
    card: Card
    leakage: Mark
    looks: Looks | None
    """None: the run has no validation of its own."""
    curves: list[Chart]
    examples: Examples | None
    guarded: Guarded | None
    versus: list[Versus]
    settings: list[Difference] | None
    config: RunConfig
    steps: list[Step]
    explained: Explained | None = None
    """None: it was not asked where the networks looked."""


def report_of(subject: Subject, others: Sequence[Subject] = ()) -> Report:
    """Gather what is known. Reads no image.

    Args:
        others: to compare with.

    Raises:
        DataError: a file is missing or damaged, or a run cannot be compared.
    """
    first = subject.runs[0]
    chosen = round_run(subject.source)
    looks = looks_of(subject, others) if subject.table is not None else None
    config, status = first.config(), first.status()
    own = [mark_of(subject.source.gallery.record())] if subject.source.kind == "gallery" else []
    mark = worst_mark([*own, *(mark_of(run.status()) for run in subject.runs)])
    f1, doubts = (None, 0) if looks is None else (looks.scores["macro_f1"], len(looks.doubts))
    compared = [versus(looks.table, o.table, o.name) for o in others if looks is not None and o.table is not None]
    return Report(
        subject, card_of(subject), mark, looks, curves_of(subject),
        None if chosen is None else examples(chosen, subject.schema, subject.root), guarded(first), compared,
        differences(config), config, next_steps(subject, status, mark, f1, reference_of(subject), doubts),
    )  # fmt: skip


def looks_of(subject: Subject, others: Sequence[Subject] = ()) -> Looks:
    """From the predictions table alone."""
    table, schema = subject.table, subject.schema
    assert table is not None
    scores, names = scores_of(table), schema.joint_classes
    known = [(o.name, scores_of(o.table)["macro_f1"]) for o in others if o.table is not None]
    return Looks(
        table, scores, class_scores(table.true, table.predicted, table.group, names),
        score_rows(subject.name, scores["macro_f1"], reference_of(subject), comparison_of(subject), known),
        mistakes.matrices(table, schema), mistakes.confusions(table, names), weakest_factor(subject),
        mistakes.worst_rows(table, WORST), int((table.true != table.predicted).sum()),
        mistakes.group_errors(table, names) if subject.grouped else [], label_doubts(table, schema),
        reliability_chart(table.probs, raw_probs(subject), table.true),
    )  # fmt: skip


def weakest_factor(subject: Subject) -> tuple[str, float] | None:
    """The factor with the lowest accuracy."""
    table, schema = subject.table, subject.schema
    if table is None or len(schema.factors) < 2:
        return None
    right = (schema.part(table.true) == schema.part(table.predicted)).mean(axis=0)
    return schema.factors[int(right.argmin())].name, float(right.min())


def curves_of(subject: Subject) -> list[Chart]:
    """Of the runs that are validated alike: all of a study, or those of one factor."""
    if subject.source.kind != "factors":
        return curve_charts(subject.runs)
    parts = zip(subject.schema.factors, subject.source.parts, strict=True)
    return [chart for factor, part in parts for chart in curve_charts(part.members, f"{factor.name}: ")[:1]]


def worst_pictures(report: Report, looks: Looks) -> list[Picture]:
    """The worst images, with what was explained."""
    heats = {} if report.explained is None else report.explained.heats
    return [replace(picture_of(report.subject, row), heats=tuple(heats.get(row, ()))) for row in looks.worst]


def fill_cells(album: Album, subject: Subject) -> None:
    """Add images of every cell of the confusion matrix until the page is full, the highest loss first; cells off the
    diagonal get some more."""
    table = subject.table
    assert table is not None
    for row in cell_order(table)[:MOST_TRIED]:
        if album.add(picture_of(subject, int(row))) is None:
            return


MOST_TRIED = 5000
AHEAD = 8
"""So many images of a wrong cell come before the first one of a right cell."""


def cell_order(table: PredictionTable) -> NDArray[np.int64]:
    """(n,) rows of the table, cell by cell in turn."""
    size = len(table.classes)
    cell = table.true * size + table.predicted
    order = np.lexsort((true_probs(table), cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    turn = rank + np.where(table.true[order] == table.predicted[order], AHEAD, 0)
    return order[np.argsort(turn, kind="stable")]


def conditions_of(subject: Subject, album: Album) -> list[tuple[Measure, list[Bin]]]:
    """Accuracy by what the images are like; decodes a sample of them."""
    assert subject.table is not None
    rows = sample(len(subject.table))
    table = rows_of(subject.table, rows)
    files = [subject.root / path for path in table.path.tolist()]
    values = measure(files, max_pixels=album.max_pixels, depth=album.depth)
    found = [(m, binned(values[:, i], table)) for i, m in enumerate(MEASURES)]
    return [(m, bins) for m, bins in found if bins]
