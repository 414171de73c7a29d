"""What rounds of folds show: a table and plots of the out-of-fold scores after every round, and the best round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ssl_mask.console import Console
from ssl_mask.data.predictions import read_predictions
from ssl_mask.evaluation.answers import read_answers
from ssl_mask.evaluation.metrics import bootstrap, paired_bootstrap
from ssl_mask.files import write_json, write_text
from ssl_mask.pseudo_labeling.audit import audit
from ssl_mask.pseudo_labeling.report import best_round, taught_by
from ssl_mask.pseudo_labeling.select import read_pool
from ssl_mask.reports import round_plots
from ssl_mask.reports.round_table import round_tables
from ssl_mask.reports.rounds_card import rounds_card
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.records import AuditRecord, AuditShares, HeadSummary, RoundSummary
from ssl_mask.runs.rounds import RoundsRecord, RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.selected import SelectionRecord


def report_round(whole: RoundStudy, number: int, answers: Path | None, console: Console) -> None:
    """Audit the round if answers are given, keep and print the rounds so far."""
    if number > 0 and answers is not None:
        for run in whole.round(number).members():
            metadata = read_metadata(run.best)
            schema = metadata.label_schema
            true = read_answers(answers, schema, metadata.submission).joint
            write_json(run.audit, audit(read_pool(run.pool, schema), true, schema))
    last, before = number, whole.record() if whole.record_file.is_file() else None
    while whole.round(last + 1).finished:  # a study that goes on has later rounds, which must not be lost
        last += 1
    rows = [row_of(whole, n) for n in range(last + 1)]
    finished, stopped = (before.finished, before.stopped) if before is not None else (False, "")
    write_rounds(whole, rows, finished=finished, stopped=stopped)
    for table in round_tables(rows[: number + 1], scored="Out-of-fold"):
        console.rich.print(table)


def row_of(whole: RoundStudy, number: int) -> RoundSummary:
    """A round: its out-of-fold scores, and the mean over its students of what they were given."""
    folds = whole.round(number)
    if number == 0 and not folds.finished:
        return row_of_teachers(whole)
    record, runs = folds.record(), folds.members()
    row: dict[str, Any] = {
        "round": number, "run": folds.path.as_posix(), "macro_f1": record.macro_f1, "accuracy": record.accuracy,
        "cpu_seconds": record.cpu_seconds,
    }  # fmt: skip
    if number == 0:
        row["taught_by"] = taught_by(runs[0])
    else:
        row |= mean_selection([run.selection_record() for run in runs])
        if all(run.audit.is_file() for run in runs):
            row["audit"] = mean_audit([run.audit_record() for run in runs])
    return RoundSummary.model_validate(row)


def row_of_teachers(whole: RoundStudy) -> RoundSummary:
    """The mean of the teachers in the place of round 0."""
    oof = read_predictions(whole.taught_as_mean)
    scores = bootstrap(oof.true, oof.predicted, oof.group, len(oof.classes))
    taught = {t.run for run in whole.round(1).members() for t in run.selection_record().teachers}
    row: dict[str, Any] = {key: interval._asdict() for key, interval in scores.items()}
    return RoundSummary.model_validate({
        "round": 0, "run": whole.taught_as_mean.parent.as_posix(), **row, "teachers": len(taught),
        "taught_by": f"mean of {len(taught)} teachers",
        "cpu_seconds": sum(RunDir(Path(run)).cpu_seconds() for run in taught),
    })  # fmt: skip


def mean_selection(records: Sequence[SelectionRecord]) -> dict[str, Any]:
    """Counts of the selections of a round, the mean over its students."""
    counts = {
        name: round(fmean(getattr(r, name) for r in records)) for name in ("pool", "selected", "whole", "flipped")
    }
    heads = {
        name: HeadSummary(
            selected=round(fmean(r.heads[name].selected for r in records)),
            val_precision=_mean(r.heads[name].val_precision for r in records),
        )
        for name in records[0].heads
    }
    return {**counts, "agreement": _mean(r.agreement for r in records), "rule": records[0].rule, "heads": heads}


def mean_audit(records: Sequence[AuditRecord]) -> AuditRecord:
    """How right the selections of a round are, the mean over its students."""

    def mean(part: Callable[[AuditRecord], AuditShares]) -> AuditShares:
        shares = [part(r) for r in records]
        return AuditShares(
            selected=round(fmean(s.selected for s in shares)), precision=_mean(s.precision for s in shares),
            recall=fmean(s.recall for s in shares),
        )  # fmt: skip

    factors = {name: mean(lambda r, n=name: r.factors[n]) for name in records[0].factors}  # type: ignore[misc]
    images = round(fmean(r.images for r in records))
    return AuditRecord(
        images=images, labels=mean(lambda r: r.labels), images_whole=mean(lambda r: r.images_whole), factors=factors
    )


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def write_rounds(whole: RoundStudy, rows: Sequence[RoundSummary], *, finished: bool, stopped: str) -> None:
    """rounds.json, plots and card."""
    best = best_round(rows)
    folds = whole.round(best).record()
    record = RoundsRecord(
        rounds=tuple(rows), best_round=best, finished=finished, stopped=stopped, leakage=folds.leakage,
        leakage_reason=folds.leakage_reason,
    )  # fmt: skip
    round_plots.write_rounds(whole.plots / "rounds.svg", rows, "Out-of-fold")
    write_text(whole.card, rounds_card(whole, record))
    write_json(whole.record_file, record.to_json())


def publish(whole: RoundStudy, stopped: str) -> None:
    """Say that no round is missing: from now on the best one predicts.

    Args:
        stopped: why there are fewer rounds than were asked for; empty where there are not.
    """
    write_rounds(whole, whole.record().rounds, finished=True, stopped=stopped)


def stopped_early(whole: RoundStudy, number: int) -> bool:
    """Whether a round's out-of-fold macro-F1 is below that of the best one before, beyond the interval by group."""
    rows = [row for row in whole.record().rounds if row.round < number and row.teachers is None]
    if not rows:
        return False
    best, own = (read_predictions(whole.round(n).oof) for n in (best_round(rows), number))
    difference = paired_bootstrap(own.true, best.predicted[None], own.predicted[None], own.group, len(own.classes))
    return bool(difference["macro_f1"].high < 0)
