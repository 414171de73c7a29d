"""When all folds are trained: the step that suits all of them, one calibration, one table, one score.

Everything is computed from what the runs kept of all their evaluations, which is removed only after oof.json is there.
So whatever a kill leaves, it is done again with the same result.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ssl_mask.console import Console
from ssl_mask.data.predictions import PredictionTable, read_validation, write_table
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, MismatchError
from ssl_mask.evaluation.calibration import expected_calibration_error
from ssl_mask.evaluation.folds import (
    Calibrated,
    FoldTable,
    Point,
    Weights,
    best_point,
    calibrate,
    calibration_error,
    mean_curve,
    pool,
)
from ssl_mask.evaluation.metrics import accuracy, bootstrap, log_loss, macro_f1
from ssl_mask.files import storage, write_json, write_text
from ssl_mask.guard.lineage import mark_of
from ssl_mask.guard.status import worst_mark
from ssl_mask.reports import confusion_plot, fold_plots, plots
from ssl_mask.reports.reference import reference_sentence, score_against
from ssl_mask.reports.run_card import run_card
from ssl_mask.reports.study_card import study_card
from ssl_mask.runs.checkpoint import Checkpoint, load_checkpoint, read_metadata, write_checkpoint
from ssl_mask.runs.comparison import IntervalRecord, ReferenceScore
from ssl_mask.runs.folds import CurvePoint, FoldsRecord, FoldStudy, OwnBest
from ssl_mask.runs.records import BestScore, StudyScore
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest
from ssl_mask.studies.fold_checks import refuse_different_data


@dataclass(frozen=True)
class Results:
    """What a study of finished folds says."""

    points: list[Point]
    common: Point
    own_best: list[Point]
    """Of each run."""
    schema: LabelSchema
    calibrated: Calibrated
    oof: PredictionTable
    cross_fitted: PredictionTable
    raw: PredictionTable
    at_own_best: PredictionTable


def settle(folds: FoldStudy, console: Console) -> FoldsRecord:
    """Make each run one of the common step, and write the out-of-fold predictions; oof.json comes last.

    Raises:
        DataError: the runs are not of one data set, or share no evaluation.
    """
    refuse_different_data(folds)
    found = results_of(folds)
    score = bootstrap(found.oof.true, found.oof.predicted, found.oof.group, len(found.oof.classes))
    f1, right = (IntervalRecord(**score[key]._asdict()) for key in ("macro_f1", "accuracy"))
    part = StudyScore(study=str(folds.path), macro_f1=f1)
    for run, table in zip(folds.members(), found.calibrated.tables, strict=True):
        settle_run(run, found, table, part)
    write_table(folds.oof, found.oof)
    record = record_of(folds, found, f1, right)
    report(folds, record, found)
    write_json(folds.record_file, record.to_json())
    tell(record, console)
    return record


def report(folds: FoldStudy, record: FoldsRecord, found: Results) -> None:
    """The study's plots and its card."""
    evaluations = {run.name: [r for r in run.records() if r["kind"] == "val"] for run in folds.members()}
    fold_plots.write_folds(folds.plots / "folds.svg", record, evaluations)
    confusion_plot.write_confusion(folds.plots / "confusion.svg", folds.oof, found.schema, images="out-of-fold images")
    write_text(folds.card, study_card(str(folds.path), record, found.oof, evaluations))


def results_of(folds: FoldStudy) -> Results:
    """From the curves and the kept predictions of all runs; writes nothing."""
    runs, asked = folds.members(), folds.settings()
    curves = [curve_of(run) for run in runs]
    points = mean_curve(curves)
    if not points:
        raise DataError(f"The runs of {folds.path} share no evaluation.", hint="Begin a new study.")
    common, own_best = best_point(points), [max(curve, key=lambda p: p.macro_f1) for curve in curves]
    metadata = read_metadata(runs[0].kept(common.step, common.weights).weights)
    schema = metadata.label_schema

    def tables(chosen: Sequence[Point]) -> list[FoldTable]:
        pairs = zip(runs, chosen, strict=True)
        return [kept_table(r, p, schema, *divmod(i, asked.folds)) for i, (r, p) in enumerate(pairs)]

    def pooled(each: Sequence[PredictionTable]) -> PredictionTable:
        return pool([each[r * asked.folds : (r + 1) * asked.folds] for r in range(asked.repeats)])

    calibrated = calibrate(tables([common] * len(runs)), schema, metadata.target)
    return Results(
        points, common, own_best, schema, calibrated, pooled(calibrated.tables), pooled(calibrated.cross_fitted),
        pooled(calibrated.raw), pooled([own.table for own in tables(own_best)]),
    )  # fmt: skip


def curve_of(run: RunDir) -> list[Point]:
    """The evaluations of a run, in their order."""
    return [
        Point(int(r["step"]), cast(Weights, r["weights"]), float(r["macro_f1"]), float(r["nll"]))
        for r in run.records()
        if r["kind"] == "val"
    ]


def kept_table(run: RunDir, point: Point, schema: LabelSchema, repeat: int, fold: int) -> FoldTable:
    """What a run kept of one evaluation."""
    kept = run.kept(point.step, point.weights)
    metadata = read_metadata(kept.weights)
    if metadata.label_schema != schema:
        raise MismatchError(f"{run.path} was trained for other classes than the first run.", hint="Begin a new study.")
    return FoldTable(repeat, fold, read_validation(kept.validation, schema), metadata.temperatures)


def settle_run(run: RunDir, found: Results, table: PredictionTable, part: StudyScore) -> None:
    """Give a run the weights of the common step, with the temperatures that all runs share."""
    kept = load_checkpoint(run.kept(found.common.step, found.common.weights).weights)
    best = score_of(kept.metadata.best, table, found)
    metadata = kept.metadata.model_copy(update={"best": best, "temperatures": best.temperatures})
    write_checkpoint(run.best, Checkpoint(kept.weights, metadata))
    write_table(run.validation, table)
    run.update(best=best, study=part)
    plots.write_curves(run.plots / "curves.svg", run.records(), kept=(best.step, best.weights))
    confusion_plot.write_confusion(run.plots / "confusion.svg", run.validation, found.schema)
    write_text(run.card, run_card(run))


def score_of(then: BestScore | None, table: PredictionTable, found: Results) -> BestScore:
    """The scores of a run's validation images, with the temperatures that all runs share."""
    before = then.to_json() if then is not None else {}
    return BestScore.model_validate({
        **before,
        "macro_f1": macro_f1(table.true, table.predicted, len(table.classes)),
        "accuracy": accuracy(table.true, table.predicted),
        "nll": log_loss(table.true, table.probs),
        "ece": expected_calibration_error(table.probs, table.true),
        "temperatures": found.calibrated.temperatures,
    })  # fmt: skip


def record_of(folds: FoldStudy, found: Results, f1: IntervalRecord, right: IntervalRecord) -> FoldsRecord:
    """oof.json."""
    runs, oof, schema = folds.members(), found.oof, found.schema
    statuses = [run.status() for run in runs]
    mark = worst_mark(map(mark_of, statuses))
    true, predicted = schema.part(oof.true), schema.part(oof.predicted)
    return FoldsRecord(
        members=tuple(run.name for run in runs),
        step=found.common.step,
        weights=found.common.weights,
        curves=tuple(CurvePoint(**p._asdict()) for p in found.points),
        own_best={
            run.name: OwnBest(**{k: v for k, v in p._asdict().items() if k != "nll"})
            for run, p in zip(runs, found.own_best, strict=True)
        },
        temperatures=found.calibrated.temperatures,
        images=len(oof),
        groups=len(np.unique(oof.group)),
        grouped=runs[0].data().grouped,
        macro_f1=f1,
        accuracy=right,
        factors={name: accuracy(true[:, i], predicted[:, i]) for i, name in enumerate(schema.sizes)},
        macro_f1_own_best=macro_f1(found.at_own_best.true, found.at_own_best.predicted, len(oof.classes)),
        nll=log_loss(found.cross_fitted.true, found.cross_fitted.probs),
        ece=calibration_error(found.cross_fitted),
        ece_raw=calibration_error(found.raw),
        cpu_seconds=sum(run.cpu_seconds() for run in runs),
        reference=reference_of(folds, found),
        leakage=mark.status,
        leakage_reason=mark.reason,
        oof_sha256=file_digest(folds.oof),
    )


def reference_of(folds: FoldStudy, found: Results) -> ReferenceScore | None:
    """The study against its members' references, pooled as its own predictions are; None where one has none."""
    runs, asked = folds.members(), folds.settings()
    if not all(run.reference_file.exists() for run in runs):
        return None
    tables = [read_validation(run.reference, found.schema) for run in runs]
    reference = pool([tables[r * asked.folds : (r + 1) * asked.folds] for r in range(asked.repeats)])
    return score_against(reference, [found.oof])


def tell(record: FoldsRecord, console: Console) -> None:
    """The score, what it is worth, and what to do next."""
    f1, accurate = record.macro_f1, record.accuracy
    console.say(
        f"\nOOF    macro-F1 {f1.value:.4f} (95 % interval {f1.low:.3f} to {f1.high:.3f}), accuracy "
        f"{accurate.value:.4f}, on {record.images} images of {record.groups} groups, each predicted by a model that "
        "has not seen its group"
    )
    console.say(
        f"Step   {record.step} ({record.weights} weights) for all folds; each fold at its own best step: macro-F1 "
        f"{record.macro_f1_own_best:.4f} (optimistic)"
    )
    if record.reference is not None:
        console.say(f"Probe  {reference_sentence(record.reference, 'this study')}")
    console.say(f"Calib  error {record.ece:.3f} with temperatures of the other folds, {record.ece_raw:.3f} without any")
    console.say(f"Guard  {record.leakage} ({record.leakage_reason})")


def remove_kept(folds: FoldStudy) -> None:
    """Of a finished study: what its runs kept of the evaluations that are not used."""
    for run in folds.members():
        with storage(run.all_kept):
            if run.all_kept.is_dir():
                shutil.rmtree(run.all_kept)
